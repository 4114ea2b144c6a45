/* SPDX-License-Identifier: Apache-2.0 */
#include "data/upstream/pool.c"

#include "unit.h"

static int closed;

void upconn_close_begin(struct worker *worker, struct upconn *upconn)
{
    pool_remove(worker, upconn->server, upconn);
    pool_drop(upconn->server);
    closed++;
}

bool upconn_is_good(struct worker *worker, struct upconn *upconn)
{
    return !upconn->wire.eof;
}

void tls_resume_clear(struct tls_resume *keep)
{
    *keep = (struct tls_resume){0};
}

static bool has_room = true;

bool multi_has_room(const struct worker *worker, const struct upconn *upconn)
{
    return has_room;
}

/* Closes it, as when nobody uses it. */
void multi_retire(struct worker *worker, struct upconn *upconn)
{
    list_remove(&upconn->idle);
    pool_drop(upconn->server);
    closed++;
}

void dialers_adopt(struct dialers *set, const struct snapshot *s)
{
}

void dialers_clear(struct dialers *set)
{
}

static struct worker w;

static void conn_init(struct upconn *u, struct pool_server *server)
{
    *u = (struct upconn){.server = server};
    list_init(&u->idle);
    list_init(&u->kept);
    pool_hold(server);
}

struct plan {
    struct snapshot s;
    struct snap_service services[2];
    struct snap_server servers[4];
};

/* One service with these servers. */
static struct plan *plan_of(struct plan *p, const char *service, const char *const *urls)
{
    *p = (struct plan){0};
    for (; urls[p->s.server_count]; p->s.server_count++)
        p->servers[p->s.server_count].url = span_str(urls[p->s.server_count]);
    p->services[0] =
        (struct snap_service){.name = span_str(service), .server_count = p->s.server_count};
    p->s.services = p->services;
    p->s.servers = p->servers;
    p->s.service_count = 1;
    return p;
}

static void last_used_comes_first(void **state)
{
    struct plan p;
    pool_adopt(&w, &plan_of(&p, "web", (const char *[]){"http://a", NULL})->s);
    struct pool_server *a = w.pool.servers[0];
    struct upconn u[3];
    for (int i = 0; i < 3; i++)
        conn_init(&u[i], a);
    assert_null(pool_take(&w, a));
    assert_true(pool_put(&w, a, &u[0], 2));
    assert_true(pool_put(&w, a, &u[1], 2));
    assert_false(pool_put(&w, a, &u[2], 2));
    pool_drop(a); /* the third is gone */
    assert_ptr_equal(pool_take(&w, a), &u[1]);
    assert_true(pool_put(&w, a, &u[1], 2));
    u[1].wire.eof = true; /* ended meanwhile: it is closed and the next one given */
    closed = 0;
    assert_ptr_equal(pool_take(&w, a), &u[0]);
    assert_int_equal(closed, 1);
    assert_int_equal(a->idle_count, 0);
    pool_drop(a);
    pool_clear(&w);
}

static void servers_survive_a_new_snapshot(void **state)
{
    struct plan p;
    pool_adopt(&w, &plan_of(&p, "web", (const char *[]){"http://a", "http://b", NULL})->s);
    struct pool_server *a = w.pool.servers[0], *b = w.pool.servers[1];
    struct upconn ua, ub;
    conn_init(&ua, a);
    conn_init(&ub, b);
    assert_true(pool_put(&w, a, &ua, 8));
    assert_true(pool_put(&w, b, &ub, 8));
    closed = 0;
    pool_hold(a); /* an exchange still uses it */
    pool_adopt(&w, &plan_of(&p, "web", (const char *[]){"http://c", "http://b", NULL})->s);
    assert_int_equal(closed, 1);
    assert_true(a->retired);
    assert_ptr_equal(w.pool.servers[1], b);
    assert_int_equal(b->index, 1);
    assert_ptr_equal(pool_take(&w, b), &ub);
    assert_true(pool_put(&w, b, &ub, 8));
    struct upconn late;
    conn_init(&late, a);
    assert_false(pool_put(&w, a, &late, 8));
    pool_drop(a);
    pool_drop(a);
    /* The same URL in another service is another server. */
    pool_adopt(&w, &plan_of(&p, "we", (const char *[]){"bhttp://b", NULL})->s);
    assert_int_equal(closed, 2);
    pool_clear(&w);
}

static void same_url_twice_is_two_servers(void **state)
{
    struct plan p;
    const char *urls[] = {"http://a", "http://a", NULL};
    pool_adopt(&w, &plan_of(&p, "web", urls)->s);
    struct pool_server *first = w.pool.servers[0], *second = w.pool.servers[1];
    assert_ptr_not_equal(first, second);
    pool_adopt(&w, &plan_of(&p, "web", urls)->s);
    assert_true((w.pool.servers[0] == first && w.pool.servers[1] == second) ||
                (w.pool.servers[0] == second && w.pool.servers[1] == first));
    pool_clear(&w);
}

/* What was connected under one transport is not used under another. */
static void another_transport_is_another_server(void **state)
{
    struct plan p;
    struct snap_transport transport = {.id = 5};
    const char *urls[] = {"https://a", NULL};
    plan_of(&p, "web", urls)->servers[0].https = true;
    p.s.transports = &transport;
    p.s.transport_count = 1;
    pool_adopt(&w, &p.s);
    struct pool_server *a = w.pool.servers[0];
    assert_int_equal(a->transport_id, 5);
    struct upconn u;
    conn_init(&u, a);
    assert_true(pool_put(&w, a, &u, 8));
    closed = 0;
    pool_adopt(&w, &p.s);
    assert_ptr_equal(w.pool.servers[0], a);
    assert_int_equal(closed, 0);
    transport.id = 6;
    pool_adopt(&w, &p.s);
    assert_ptr_not_equal(w.pool.servers[0], a);
    assert_int_equal(closed, 1);
    pool_clear(&w);
}

static void shared_connections(void **state)
{
    struct plan p;
    pool_adopt(&w, &plan_of(&p, "web", (const char *[]){"h2c://a", NULL})->s);
    struct pool_server *a = w.pool.servers[0];
    struct upconn u;
    conn_init(&u, a);
    assert_null(pool_shared(&w, a));
    list_append(&a->shared, &u.idle);
    assert_ptr_equal(pool_shared(&w, a), &u);
    assert_ptr_equal(pool_shared(&w, a), &u); /* it stays there */
    has_room = false;
    assert_null(pool_shared(&w, a));
    has_room = true;
    closed = 0;
    pool_adopt(&w, &plan_of(&p, "web", (const char *[]){"h2c://b", NULL})->s);
    assert_int_equal(closed, 1);
    pool_clear(&w);
}

static void large_answers_are_remembered(void **state)
{
    struct pool_server s = {0};
    pool_note_body(&s, 1000000);
    assert_true(s.large < POOL_LARGE);
    pool_note_body(&s, 1000000);
    assert_true(s.large >= POOL_LARGE);
    for (int i = 0; i < 20; i++)
        pool_note_body(&s, 1000000);
    for (int i = 0; i < 9; i++)
        pool_note_body(&s, 64);
    assert_true(s.large < POOL_LARGE);
}

/* However many a server may keep, all together leave room for new connections. */
static void the_longest_idle_goes(void **state)
{
    struct plan p;
    pool_adopt(&w, &plan_of(&p, "web", (const char *[]){"http://a", "http://b", NULL})->s);
    struct pool_server *a = w.pool.servers[0], *b = w.pool.servers[1];
    struct upconn u[4];
    w.upconns.count = 4; /* three may be kept */
    for (int i = 0; i < 4; i++)
        conn_init(&u[i], i == 1 ? b : a);
    closed = 0;
    assert_true(pool_put(&w, a, &u[0], 100));
    assert_true(pool_put(&w, b, &u[1], 100));
    assert_true(pool_put(&w, a, &u[2], 100));
    assert_ptr_equal(pool_take(&w, a), &u[2]); /* used again: no longer the oldest */
    assert_ptr_equal(pool_take(&w, a), &u[0]);
    assert_true(pool_put(&w, a, &u[0], 100));
    assert_true(pool_put(&w, a, &u[2], 100));
    assert_int_equal(closed, 0);
    assert_true(pool_put(&w, a, &u[3], 100));
    assert_int_equal(closed, 1);
    assert_int_equal(b->idle_count, 0);
    assert_int_equal(a->idle_count, 3);
    w.upconns.count = 1000;
    pool_clear(&w);
    assert_int_equal(w.kept_count, 0);
}

static int setup(void **state)
{
    list_init(&w.kept);
    w.upconns.count = 1000;
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(last_used_comes_first),
        cmocka_unit_test(servers_survive_a_new_snapshot),
        cmocka_unit_test(same_url_twice_is_two_servers),
        cmocka_unit_test(another_transport_is_another_server),
        cmocka_unit_test(shared_connections),
        cmocka_unit_test(large_answers_are_remembered),
        cmocka_unit_test(the_longest_idle_goes),
    };
    return cmocka_run_group_tests(tests, setup, NULL);
}

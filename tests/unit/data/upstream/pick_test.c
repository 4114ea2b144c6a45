/* SPDX-License-Identifier: Apache-2.0 */
#include "data/upstream/pick.c"

#include "unit.h"

#include <stdio.h>

#define SERVERS 8

static struct server_state states[SERVERS];

const struct server_state *reader_server(struct bridge_reader *r, const struct snapshot *s,
                                         uint32_t server)
{
    return &states[server];
}

struct bench {
    struct snap_server servers[SERVERS];
    struct snap_service services[6];
    struct snap_member members[8];
    struct snapshot snapshot;
    struct pool_server *pool[SERVERS];
    int64_t turns[8];
    struct http_head head;
    uint8_t client[16];
    struct pick pick; /* the latest */
    struct worker w;
};

static struct pool_server pool_servers[SERVERS];
static struct bench b;

/* Service 0 has servers 0 to 3 of these weights; 1 has 4 and 5, 2 has 6 and 7. */
static void bench_init(const uint32_t weights[4])
{
    static const char *const urls[SERVERS] = {"http://a", "http://b", "http://c", "http://d",
                                              "http://e", "http://f", "http://g", "http://h"};
    static const char *const cookies[SERVERS] = {"ca", "cb", "cc", "cd", "ce", "cf", "cg", "ch"};
    static const char *const names[] = {"s0", "s1", "s2", "s3", "s4", "s5"};
    b = (struct bench){0};
    memset(pool_servers, 0, sizeof pool_servers);
    for (int i = 0; i < SERVERS; i++) {
        b.servers[i] = (struct snap_server){.url = span_str(urls[i]),
                                            .weight = i < 4 ? weights[i] : 1,
                                            .cookie = span_str(cookies[i])};
        b.pool[i] = &pool_servers[i];
        pool_servers[i].refs = 1;
        states[i] = (struct server_state){.addr_count = 1, .healthy = true};
    }
    for (int i = 0; i < 6; i++)
        b.services[i].name = span_str(names[i]);
    b.services[0].server_count = 4;
    b.services[1].first_server = 4;
    b.services[1].server_count = 2;
    b.services[2].first_server = 6;
    b.services[2].server_count = 2;
    b.snapshot = (struct snapshot){.servers = b.servers,
                                   .server_count = SERVERS,
                                   .services = b.services,
                                   .service_count = 6,
                                   .members = b.members,
                                   .member_count = 8};
    b.w.snapshot = &b.snapshot;
    b.w.pool = (struct pool){.servers = b.pool, .count = SERVERS, .member_turns = b.turns};
    b.w.now_ns = 1000;
}

/* Service `index` is above two others. */
static void bench_above(int index, enum snap_service_kind kind, int first, uint32_t first_weight,
                        int second, uint32_t second_weight)
{
    struct snap_service *s = &b.services[index];
    s->kind = (uint8_t)kind;
    s->level = (uint8_t)(b.services[first].level + 1);
    s->first_member = (uint32_t)(index - 3) * 2;
    s->member_count = 2;
    b.members[s->first_member] =
        (struct snap_member){(uint32_t)first, first_weight, SPAN_LITERAL("first")};
    b.members[s->first_member + 1] =
        (struct snap_member){(uint32_t)second, second_weight, SPAN_LITERAL("second")};
}

static uint32_t pick_of(int service)
{
    struct pick_request request = {&b.head, b.client};
    if (!pick_server(&b.w, &b.services[service], &request, &b.pick))
        return SNAP_NONE;
    return b.pick.server;
}

static void counts_of(int service, int rounds, int counts[SERVERS])
{
    memset(counts, 0, SERVERS * sizeof *counts);
    for (int i = 0; i < rounds; i++) {
        uint32_t server = pick_of(service);
        assert_in_range(server, 0, SERVERS - 1);
        counts[server]++;
    }
}

static void client(uint32_t number)
{
    memcpy(b.client + 12, &number, 4);
}

static void cookies(const char *first, const char *second)
{
    b.head.field_count = 0;
    b.head.fields[b.head.field_count++] =
        (struct http_field){.name = SPAN_LITERAL("cookie"), .value = span_str(first)};
    if (second)
        b.head.fields[b.head.field_count++] =
            (struct http_field){.name = SPAN_LITERAL("Cookie"), .value = span_str(second)};
}

static void weights_decide_shares(void **state)
{
    int counts[SERVERS];
    bench_init((uint32_t[]){0, 1, 2, 4});
    counts_of(0, 70, counts);
    assert_int_equal(counts[0], 0);
    assert_int_equal(counts[1], 10);
    assert_int_equal(counts[2], 20);
    assert_int_equal(counts[3], 40);
}

static void turns_are_smooth(void **state)
{
    bench_init((uint32_t[]){1, 1, 1, 1});
    uint32_t last = SNAP_NONE;
    for (int i = 0; i < 40; i++) {
        uint32_t server = pick_of(0);
        assert_int_not_equal(server, last);
        last = server;
    }
}

static void unfit_servers_are_left_out(void **state)
{
    int counts[SERVERS];
    for (uint8_t strategy = SNAP_STRATEGY_WRR; strategy <= SNAP_STRATEGY_LEAST_TIME; strategy++) {
        bench_init((uint32_t[]){1, 1, 1, 1});
        b.services[0].strategy = strategy;
        states[0].healthy = false;
        states[1].addr_count = 0;
        for (uint32_t i = 0; i < 20; i++) {
            client(i);
            assert_in_range(pick_of(0), 2, 3);
            struct pick was = b.pick;
            assert_true(pick_other(&b.w, &b.pick));
            assert_int_equal(b.pick.server, 5 - was.server);
        }
        pool_servers[3].rest_until_ns = 2000; /* could not be reached lately */
        counts_of(0, 20, counts);
        assert_int_equal(counts[2], 20);
        states[2].healthy = false;
        counts_of(0, 5, counts);
        assert_int_equal(counts[3], 5);
        assert_false(pick_other(&b.w, &b.pick));
        assert_int_equal(b.pick.server, 3);
        pool_servers[3].out_until_ns = 2000;
        assert_int_equal(pick_of(0), SNAP_NONE);
        b.w.now_ns = 2000;
        assert_int_equal(pick_of(0), 3);
    }
}

static void p2c_prefers_the_less_busy(void **state)
{
    int counts[SERVERS];
    bench_init((uint32_t[]){1, 1, 1, 1});
    b.services[0].strategy = SNAP_STRATEGY_P2C;
    pool_servers[1].refs = 50;
    pool_servers[2].refs = 50;
    pool_servers[2].idle_count = 49;
    counts_of(0, 4000, counts);
    assert_int_equal(counts[1], 0); /* against any other it loses */
    assert_in_range(counts[0], 1000, 1700);
    assert_in_range(counts[2], 1000, 1700);
    assert_in_range(counts[3], 1000, 1700);
}

static void hrw_keeps_clients(void **state)
{
    int counts[SERVERS] = {0};
    uint32_t before[6000];
    bench_init((uint32_t[]){1, 1, 2, 2});
    b.services[0].strategy = SNAP_STRATEGY_HRW;
    for (uint32_t i = 0; i < 6000; i++) {
        client(i);
        before[i] = pick_of(0);
        assert_int_equal(pick_of(0), before[i]);
        counts[before[i]]++;
    }
    assert_in_range(counts[0], 850, 1150);
    assert_in_range(counts[1], 850, 1150);
    assert_in_range(counts[2], 1800, 2200);
    assert_in_range(counts[3], 1800, 2200);
    states[0].healthy = false;
    for (uint32_t i = 0; i < 6000; i++) {
        client(i);
        uint32_t now = pick_of(0);
        assert_true(before[i] == 0 ? now != 0 : now == before[i]); /* only its clients move */
    }
}

static void least_time_prefers_the_quick(void **state)
{
    bench_init((uint32_t[]){1, 1, 1, 1});
    b.services[0].strategy = SNAP_STRATEGY_LEAST_TIME;
    for (uint32_t i = 0; i < 4; i++) { /* each is asked once */
        assert_int_equal(pick_of(0), i);
        pick_note_time(&pool_servers[i], 1000000 * (4 - i));
    }
    assert_int_equal(pick_of(0), 3);
    pool_servers[3].refs = 3; /* two are waiting: 3 ms against 2 ms */
    assert_int_equal(pick_of(0), 2);
    b.servers[3].weight = 2;
    assert_int_equal(pick_of(0), 3);
}

static void services_of_services(void **state)
{
    int counts[SERVERS];
    bench_init((uint32_t[]){1, 1, 1, 1});
    bench_above(3, SNAP_SERVICE_WEIGHTED, 1, 1, 2, 3);
    bench_above(4, SNAP_SERVICE_WEIGHTED, 0, 1, 3, 1);
    counts_of(4, 64, counts);
    assert_int_equal(counts[0] + counts[1] + counts[2] + counts[3], 32);
    assert_int_equal(counts[4], 4);
    assert_int_equal(counts[5], 4);
    assert_int_equal(counts[6], 12);
    assert_int_equal(counts[7], 12);
    states[6].healthy = states[7].healthy = false;
    counts_of(4, 20, counts); /* the service without servers is left out */
    assert_int_equal(counts[4] + counts[5], 10);
    states[4].healthy = states[5].healthy = false;
    counts_of(4, 20, counts);
    assert_int_equal(counts[0] + counts[1] + counts[2] + counts[3], 20);
    bench_above(3, SNAP_SERVICE_HASHED, 1, 1, 2, 1);
    states[4].healthy = states[6].healthy = true;
    uint32_t firsts = 0;
    for (uint32_t i = 0; i < 1000; i++) {
        client(i);
        uint32_t server = pick_of(3);
        firsts += server == 4;
        assert_int_equal(pick_of(3), server);
    }
    assert_in_range(firsts, 400, 600);
}

static void failover_goes_and_comes_back(void **state)
{
    bench_init((uint32_t[]){1, 1, 1, 1});
    bench_above(3, SNAP_SERVICE_FAILOVER, 1, 1, 2, 1);
    assert_in_range(pick_of(3), 4, 5);
    states[4].healthy = false;
    assert_int_equal(pick_of(3), 5);
    pool_servers[5].rest_until_ns = 2000;
    assert_in_range(pick_of(3), 6, 7);
    states[6].healthy = states[7].healthy = false; /* resting is better than nothing */
    assert_int_equal(pick_of(3), 5);
    states[5].healthy = false;
    assert_int_equal(pick_of(3), SNAP_NONE);
    states[4].healthy = true;
    assert_int_equal(pick_of(3), 4);
}

static void cookies_bring_clients_back(void **state)
{
    bench_init((uint32_t[]){1, 1, 1, 0});
    b.services[0].cookie_name = SPAN_LITERAL("stick");
    b.services[0].cookie_attributes = SPAN_LITERAL("; Path=/");
    pick_of(0);
    assert_int_equal(b.pick.cookie_count, 1);
    assert_true(span_eq(b.pick.cookies[0].value, b.servers[b.pick.server].cookie));
    static const char *const good[] = {"stick=cc", "a=b; stick=cc; c=d", "xstick=ca;stick=cc"};
    for (size_t i = 0; i < 3; i++) {
        cookies(good[i], NULL);
        for (int k = 0; k < 4; k++) {
            assert_int_equal(pick_of(0), 2);
            assert_int_equal(b.pick.cookie_count, 0);
        }
    }
    cookies("a=b", "stick=cd"); /* weight 0: by cookie alone */
    assert_int_equal(pick_of(0), 3);
    cookies("stick=unknown", NULL);
    assert_in_range(pick_of(0), 0, 2);
    assert_int_equal(b.pick.cookie_count, 1);
    cookies("stick=cc", NULL);
    states[2].healthy = false; /* moves, and the cookie follows */
    assert_in_range(pick_of(0), 0, 1);
    assert_int_equal(b.pick.cookie_count, 1);
    uint32_t other = 1 - b.pick.server;
    assert_true(pick_other(&b.w, &b.pick));
    assert_int_equal(b.pick.server, other);
    assert_int_equal(b.pick.cookie_count, 1);
    assert_true(span_eq(b.pick.cookies[0].value, b.servers[other].cookie));
}

static void cookies_of_two_levels(void **state)
{
    bench_init((uint32_t[]){1, 1, 1, 1});
    bench_above(3, SNAP_SERVICE_WEIGHTED, 1, 1, 2, 1);
    b.services[3].cookie_name = SPAN_LITERAL("up");
    b.services[1].cookie_name = b.services[2].cookie_name = SPAN_LITERAL("down");
    b.services[2].cookie_attributes = SPAN_LITERAL("; HttpOnly");
    cookies("up=second", NULL);
    assert_in_range(pick_of(3), 6, 7);
    assert_int_equal(b.pick.cookie_count, 1);
    static struct http_head response;
    char memory[64];
    struct writer out = writer_of(memory, sizeof memory);
    response.field_count = 0;
    assert_true(pick_set_cookies(&b.pick, &response, &out));
    assert_int_equal(response.field_count, 1);
    assert_true(span_eq(response.fields[0].name, SPAN_LITERAL("Set-Cookie")));
    assert_true(span_eq(response.fields[0].value, b.pick.server == 6
                                                      ? SPAN_LITERAL("down=cg; HttpOnly")
                                                      : SPAN_LITERAL("down=ch; HttpOnly")));
    out = writer_of(memory, 10);
    assert_false(pick_set_cookies(&b.pick, &response, &out));
    cookies("up=second; down=cg", NULL);
    assert_int_equal(pick_of(3), 6);
    assert_int_equal(b.pick.cookie_count, 0);
    cookies("", NULL);
    pick_of(3);
    assert_int_equal(b.pick.cookie_count, 2);
}

static void failures_take_a_server_out(void **state)
{
    bench_init((uint32_t[]){1, 1, 1, 1});
    struct snap_service *s = &b.services[0];
    struct pool_server *p = &pool_servers[1];
    pick_note(&b.w, s, p, false); /* no passive check */
    assert_int_equal(p->out_until_ns, 0);
    s->passive_failures = 3;
    s->passive_window_ms = 10;
    pick_note(&b.w, s, p, false);
    pick_note(&b.w, s, p, false);
    pick_note(&b.w, s, p, true);
    pick_note(&b.w, s, p, false);
    pick_note(&b.w, s, p, false);
    assert_int_equal(p->out_until_ns, 0);
    b.w.now_ns += 11000000; /* too long ago to count */
    pick_note(&b.w, s, p, false);
    assert_int_equal(p->out_until_ns, 0);
    b.w.now_ns += 5000000;
    pick_note(&b.w, s, p, false);
    pick_note(&b.w, s, p, false);
    assert_int_equal(p->out_until_ns, b.w.now_ns + 10000000);
    int counts[SERVERS];
    counts_of(0, 12, counts);
    assert_int_equal(counts[1], 0);
    b.w.now_ns = p->out_until_ns;
    counts_of(0, 12, counts);
    assert_int_not_equal(counts[1], 0);
}

UNIT_TESTS(cmocka_unit_test(weights_decide_shares), cmocka_unit_test(turns_are_smooth),
           cmocka_unit_test(unfit_servers_are_left_out),
           cmocka_unit_test(p2c_prefers_the_less_busy), cmocka_unit_test(hrw_keeps_clients),
           cmocka_unit_test(least_time_prefers_the_quick), cmocka_unit_test(services_of_services),
           cmocka_unit_test(failover_goes_and_comes_back),
           cmocka_unit_test(cookies_bring_clients_back), cmocka_unit_test(cookies_of_two_levels),
           cmocka_unit_test(failures_take_a_server_out))

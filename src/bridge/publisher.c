/* SPDX-License-Identifier: Apache-2.0 */
/* The publisher's side of publish.h: decodes, applies, frees. */
#include "bridge/publisher.h"

#include "base/clock.h"
#include "base/must.h"
#include "bridge/wire.h"

#include <stdlib.h>
#include <unistd.h>

/* Dead objects at which publisher_feed() waits for a grace period by itself, so that a long sync
 * does not keep two of everything. */
#define PEN_MAX 16384
/* Server states waiting for their snapshot: more is a broken control. */
#define EARLY_MAX (1u << 20)

struct result publisher_create(uint32_t workers, uint64_t expected_names, struct publisher **ret,
                               struct why *why)
{
    must(workers >= 1 && workers <= PUBLISH_WORKERS_MAX);
    struct publisher *p = mem_zalloc(sizeof *p);
    p->workers = workers;
    struct result r = table_create(expected_names, &p->table);
    if (!result_is_ok(r)) {
        free(p);
        return why_fail(why, r.code, "no memory for a certificate table of %llu names",
                        (unsigned long long)expected_names);
    }
    p->answers = answers_create();
    must(pthread_mutex_init(&p->lock, NULL) == 0);
    for (size_t i = 0; i < PUBLISH_WORKERS_MAX; i++)
        p->wake_fds[i] = -1;
    *ret = p;
    return r;
}

/* ---- snapshots ----------------------------------------------------------------------------- */

static void server_destroy(struct rcu_dead *dead)
{
    free((char *)dead - offsetof(struct server_slot, dead));
}

static void tickets_free(struct ticket_slot *t)
{
    if (!t)
        return;
    secret_wipe(t, sizeof *t);
    free(t);
}

static void tickets_destroy(struct rcu_dead *dead)
{
    tickets_free((struct ticket_slot *)((char *)dead - offsetof(struct ticket_slot, dead)));
}

static struct published *published_create(const struct publisher *p, struct snapshot *s)
{
    struct published *n = mem_zalloc(sizeof *n + s->server_count * sizeof n->servers[0]);
    n->magic = PUBLISHED_MAGIC;
    n->snapshot = s;
    n->stream = p->stream;
    n->server_count = s->server_count;
    n->pins = aligned_alloc(_Alignof(struct pin), p->workers * sizeof *n->pins);
    must(n->pins);
    memset(n->pins, 0, p->workers * sizeof *n->pins);
    s->owner = n;
    return n;
}

static void published_free(struct published *n)
{
    if (!n)
        return;
    for (uint32_t i = 0; i < n->server_count; i++)
        free(n->servers[i]);
    snapshot_free(n->snapshot);
    free(n->pins);
    n->magic = 0;
    free(n);
}

static bool is_pinned(const struct publisher *p, const struct published *n)
{
    for (uint32_t i = 0; i < p->workers; i++)
        if (__atomic_load_n(&n->pins[i].count, __ATOMIC_ACQUIRE))
            return true;
    return false;
}

static void published_destroy(struct rcu_dead *dead)
{
    published_free((struct published *)((char *)dead - offsetof(struct published, dead)));
}

/* Puts old snapshots that nobody pins into the pen. grace: one has passed since each of them was
 * replaced. */
static void sweep_old(struct publisher *p, bool grace)
{
    for (struct published **at = &p->old; *at;) {
        struct published *n = *at;
        n->grace_passed = n->grace_passed || grace;
        if (n->grace_passed && !is_pinned(p, n)) {
            *at = n->next;
            rcu_retire(&p->pen, &n->dead, published_destroy);
        } else {
            at = &n->next;
        }
    }
}

static struct published *find_version(struct publisher *p, uint64_t version)
{
    if (p->current && p->current->stream == p->stream && p->current->snapshot->version == version)
        return p->current;
    for (struct published *n = p->old; n; n = n->next)
        if (n->stream == p->stream && n->snapshot->version == version)
            return n;
    return NULL;
}

static void set_server(struct publisher *p, struct published *n, uint32_t server,
                       const struct server_state *state)
{
    struct server_slot *slot = mem_zalloc(sizeof *slot), *old = n->servers[server];
    slot->state = *state;
    rcu_store(&n->servers[server], slot);
    if (old)
        rcu_retire(&p->pen, &old->dead, server_destroy);
}

/* States that waited for this snapshot go in, those of later ones stay. */
static void take_early(struct publisher *p, struct published *n)
{
    size_t kept = 0;
    for (size_t i = 0; i < p->early_count; i++) {
        const struct early_server *e = &p->early[i];
        if (e->version == n->snapshot->version && e->server < n->server_count)
            set_server(p, n, e->server, &e->state);
        else if (e->version > n->snapshot->version)
            p->early[kept++] = *e;
    }
    p->early_count = kept;
}

/* ---- one function per message: reads all of it, then applies ------------------------------- */

/* The message was as long as its fields: nothing is missing, nothing is left. */
static bool is_whole(const struct reader *in)
{
    return !in->bad && in->left == 0;
}

static struct result apply_sync_begin(struct publisher *p, struct reader *in)
{
    if (!is_whole(in))
        return result_fail(ERR_FORMAT);
    table_mark_begin(p->table);
    answers_mark_begin(p->answers);
    p->in_sync = true;
    return result_ok();
}

static struct result apply_sync_end(struct publisher *p, struct reader *in)
{
    if (!p->in_sync || !is_whole(in))
        return result_fail(ERR_FORMAT);
    p->in_sync = false;
    table_sweep(p->table, &p->pen);
    answers_sweep(p->answers, &p->pen);
    __atomic_store_n(&p->ready, true, __ATOMIC_RELEASE);
    __atomic_store_n(&p->ask_stream, p->ask_stream + 1, __ATOMIC_RELEASE);
    p->wake_wanted = true;
    return result_ok();
}

static struct result apply_snapshot(struct publisher *p, struct reader *in)
{
    struct snapshot *s;
    TRY(snapshot_decode(reader_bytes(in, in->left), &s));
    if (s->version <= p->last_version) {
        snapshot_free(s);
        return result_fail(ERR_FORMAT);
    }
    p->last_version = s->version;
    table_keep_warm(p->table, s->store_keep ? s->store_keep : UINT32_MAX, &p->pen);
    struct published *n = published_create(p, s), *old = p->current;
    take_early(p, n);
    rcu_store(&p->current, n);
    if (old) {
        old->next = p->old;
        p->old = old;
    }
    p->wake_wanted = true;
    return result_ok();
}

/* Certificates behind 3-byte lengths, at least one, none empty. */
static bool chain_ok(struct span chain)
{
    struct reader r = reader_of(chain);
    do {
        if (reader_bytes(&r, reader_be(&r, 3)).len == 0)
            r.bad = true;
    } while (!r.bad && r.left);
    return !r.bad;
}

static struct result apply_cert(struct publisher *p, struct reader *in)
{
    struct publish_cert c = {.id = reader_u64(in)};
    c.is_rsa = wire_get_bool(in);
    c.not_after_s = (int64_t)reader_u64(in);
    c.chain = wire_get_span(in);
    c.key = wire_get_span(in);
    if (!is_whole(in) || c.id == 0 || c.key.len == 0 || !chain_ok(c.chain) ||
        c.chain.len + c.key.len > PUBLISH_CERT_BYTES_MAX)
        return result_fail(ERR_FORMAT);
    table_put_cert(p->table, &c, &p->pen);
    return result_ok();
}

static struct result apply_staple(struct publisher *p, struct reader *in)
{
    uint64_t id = reader_u64(in);
    int64_t until_s = (int64_t)reader_u64(in);
    struct span response = wire_get_span(in);
    if (!is_whole(in) || id == 0 || response.len > PUBLISH_STAPLE_MAX)
        return result_fail(ERR_FORMAT);
    table_put_staple(p->table, id, response, until_s, &p->pen);
    return result_ok();
}

static struct result apply_name(struct publisher *p, struct reader *in)
{
    uint64_t ecdsa = reader_u64(in), rsa = reader_u64(in);
    uint32_t flags = reader_u32(in);
    struct span name = wire_get_span(in);
    if (!is_whole(in) || name.len > PUBLISH_NAME_MAX || (!ecdsa && !rsa) || flags > 1 ||
        (name.len == 0) != (flags == PUBLISH_NAME_DEFAULT))
        return result_fail(ERR_FORMAT);
    struct result r = table_put_name(p->table, name, ecdsa, rsa, &p->pen);
    return result_is_ok(r) ? r : result_fail(ERR_FORMAT);
}

static struct result apply_warm_name(struct publisher *p, struct reader *in)
{
    uint64_t ecdsa = reader_u64(in), rsa = reader_u64(in), tag = reader_u64(in);
    struct span name = wire_get_span(in);
    if (!is_whole(in) || !name.len || name.len > PUBLISH_NAME_MAX || (!ecdsa && !rsa) || !tag)
        return result_fail(ERR_FORMAT);
    struct result r = table_put_warm(p->table, name, ecdsa, rsa, tag, &p->pen);
    return result_is_ok(r) ? r : result_fail(ERR_FORMAT);
}

static struct result apply_cold_name(struct publisher *p, struct reader *in)
{
    uint64_t tag = reader_u64(in);
    struct span name = wire_get_span(in);
    if (!is_whole(in) || !name.len || name.len > PUBLISH_NAME_MAX || !tag)
        return result_fail(ERR_FORMAT);
    table_put_cold(p->table, name, tag, &p->pen);
    return result_ok();
}

static struct result apply_name_remove(struct publisher *p, struct reader *in)
{
    struct span name = wire_get_span(in);
    if (!is_whole(in) || name.len > PUBLISH_NAME_MAX)
        return result_fail(ERR_FORMAT);
    table_remove(p->table, name, &p->pen);
    return result_ok();
}

static bool read_ticket_keys(struct reader *in, struct ticket_keys *ret)
{
    ret->count = reader_u8(in);
    if (ret->count > TICKET_KEY_COUNT)
        return false;
    for (uint32_t i = 0; i < ret->count; i++) {
        struct ticket_key *k = &ret->keys[i];
        struct span name = reader_bytes(in, sizeof k->name), aes = reader_bytes(in, sizeof k->aes);
        k->born_s = (int64_t)reader_u64(in);
        if (in->bad)
            return false;
        memcpy(k->name, name.ptr, sizeof k->name);
        memcpy(k->aes, aes.ptr, sizeof k->aes);
    }
    return is_whole(in);
}

static struct result apply_ticket_keys(struct publisher *p, struct reader *in)
{
    struct ticket_slot *slot = mem_zalloc(sizeof *slot), *old = p->tickets;
    if (!read_ticket_keys(in, &slot->keys)) {
        tickets_free(slot);
        return result_fail(ERR_FORMAT);
    }
    rcu_store(&p->tickets, slot);
    if (old)
        rcu_retire(&p->pen, &old->dead, tickets_destroy);
    return result_ok();
}

static struct result keep_early(struct publisher *p, const struct early_server *e)
{
    if (e->version <= p->last_version)
        return result_ok(); /* of a snapshot that is gone */
    if (p->early_count == EARLY_MAX)
        return result_fail(ERR_FORMAT);
    if (p->early_count == p->early_cap) {
        p->early_cap = p->early_cap ? 2 * p->early_cap : 16;
        p->early = mem_grow(p->early, p->early_cap * sizeof *p->early);
    }
    p->early[p->early_count++] = *e;
    return result_ok();
}

static struct result apply_server(struct publisher *p, struct reader *in)
{
    struct early_server e = {.version = reader_u64(in)};
    e.server = reader_u32(in);
    e.state.healthy = wire_get_bool(in);
    e.state.addr_count = reader_u8(in);
    if (e.state.addr_count > PUBLISH_ADDRS_MAX)
        return result_fail(ERR_FORMAT);
    for (uint32_t i = 0; i < e.state.addr_count; i++)
        e.state.addrs[i] = wire_get_addr(in);
    if (!is_whole(in))
        return result_fail(ERR_FORMAT);
    struct published *n = find_version(p, e.version);
    if (!n)
        return keep_early(p, &e);
    if (e.server >= n->server_count)
        return result_fail(ERR_FORMAT);
    set_server(p, n, e.server, &e.state);
    p->wake_wanted = true;
    return result_ok();
}

static struct result apply_http_challenge(struct publisher *p, struct reader *in)
{
    struct http_challenge c = {.entrypoint = wire_get_span(in)};
    struct span token = wire_get_span(in);
    c.answer = wire_get_span(in);
    if (!is_whole(in) || c.entrypoint.len > PUBLISH_ENTRYPOINT_MAX || !token.len ||
        token.len > PUBLISH_TOKEN_MAX || !c.answer.len || c.answer.len > PUBLISH_ANSWER_MAX)
        return result_fail(ERR_FORMAT);
    return answers_put_http(p->answers, token, &c, &p->pen) ? result_ok() : result_fail(ERR_FORMAT);
}

static struct result apply_http_challenge_remove(struct publisher *p, struct reader *in)
{
    struct span token = wire_get_span(in);
    if (!is_whole(in))
        return result_fail(ERR_FORMAT);
    answers_remove_http(p->answers, token, &p->pen);
    return result_ok();
}

static struct result apply_tls_challenge(struct publisher *p, struct reader *in)
{
    struct span name = wire_get_span(in), chain = wire_get_span(in), key = wire_get_span(in);
    if (!is_whole(in) || !name.len || name.len > PUBLISH_NAME_MAX || !key.len || !chain_ok(chain) ||
        chain.len + key.len > PUBLISH_TLS_ANSWER_BYTES)
        return result_fail(ERR_FORMAT);
    return answers_put_tls(p->answers, name, chain, key, &p->pen) ? result_ok()
                                                                  : result_fail(ERR_FORMAT);
}

static struct result apply_tls_challenge_remove(struct publisher *p, struct reader *in)
{
    struct span name = wire_get_span(in);
    if (!is_whole(in))
        return result_fail(ERR_FORMAT);
    answers_remove_tls(p->answers, name, &p->pen);
    return result_ok();
}

static struct result apply_fence(struct publisher *p, struct reader *in)
{
    uint64_t number = reader_u64(in);
    if (!is_whole(in) || number <= p->fence)
        return result_fail(ERR_FORMAT);
    p->fence = number;
    return result_ok();
}

static struct result apply(struct publisher *p, const struct wire_message *m)
{
    static struct result (*const appliers[])(struct publisher *, struct reader *) = {
        [WIRE_SYNC_BEGIN] = apply_sync_begin,
        [WIRE_SYNC_END] = apply_sync_end,
        [WIRE_SNAPSHOT] = apply_snapshot,
        [WIRE_CERT] = apply_cert,
        [WIRE_NAME] = apply_name,
        [WIRE_NAME_REMOVE] = apply_name_remove,
        [WIRE_TICKET_KEYS] = apply_ticket_keys,
        [WIRE_SERVER] = apply_server,
        [WIRE_HTTP_CHALLENGE] = apply_http_challenge,
        [WIRE_HTTP_CHALLENGE_REMOVE] = apply_http_challenge_remove,
        [WIRE_TLS_CHALLENGE] = apply_tls_challenge,
        [WIRE_TLS_CHALLENGE_REMOVE] = apply_tls_challenge_remove,
        [WIRE_FENCE] = apply_fence,
        [WIRE_STAPLE] = apply_staple,
        [WIRE_WARM_NAME] = apply_warm_name,
        [WIRE_COLD_NAME] = apply_cold_name,
        [WIRE_TYPE_END] = NULL,
    };
    struct reader in = reader_of(m->body);
    must(m->type < sizeof appliers / sizeof *appliers);
    if (!appliers[m->type]) /* one that only we say */
        return result_fail(ERR_FORMAT);
    bool was_online = rcu_is_online(); /* only where a test's one thread is everybody */
    rcu_online();
    struct result r = appliers[m->type](p, &in);
    if (!was_online)
        rcu_offline();
    return r;
}

/* ---- the publisher's loop ------------------------------------------------------------------ */

static void wake_all(struct publisher *p)
{
    pthread_mutex_lock(&p->lock);
    for (uint32_t i = 0; i < p->workers; i++) {
        uint64_t one = 1;
        /* A full counter (EAGAIN) means that the worker is being woken already. */
        if (p->wake_fds[i] >= 0)
            (void)!write(p->wake_fds[i], &one, sizeof one);
    }
    pthread_mutex_unlock(&p->lock);
    p->wake_wanted = false;
}

/* Applies messages until they end; ERR_AGAIN is the good end. */
static struct result feed(struct publisher *p, struct span in, size_t *done, struct why *why)
{
    for (;;) {
        struct wire_message m;
        size_t used;
        struct result r = wire_next(span_skip(in, *done), &m, &used);
        if (r.code == ERR_AGAIN)
            return result_ok();
        if (!result_is_ok(r))
            return why_fail(why, r.code, "control sent bytes that are no message of version %d",
                            WIRE_VERSION);
        r = apply(p, &m);
        if (!result_is_ok(r))
            return why_fail(why, r.code, "control sent a malformed message of type %d", m.type);
        *done += used;
        if (p->pen.count >= PEN_MAX)
            publisher_collect(p);
    }
}

/* Workers look again when a name that they wait for has changed. */
static void look_for_answers(struct publisher *p)
{
    uint32_t now = table_answers(p->table);
    if (now == p->answers_seen)
        return;
    p->answers_seen = now;
    __atomic_store_n(&p->answered, p->answered + 1, __ATOMIC_RELEASE);
    p->wake_wanted = true;
}

struct result publisher_feed(struct publisher *p, struct span in, size_t *ret_used, struct why *why)
{
    size_t done = 0;
    rcu_join();
    struct result r = feed(p, in, &done, why);
    rcu_leave();
    look_for_answers(p);
    if (p->wake_wanted)
        wake_all(p);
    *ret_used = done;
    return r;
}

/* ---- what workers ask for ------------------------------------------------------------------- */

static uint64_t now_ms(void)
{
    return clock_now_ns() / NS_PER_MS;
}

static void take_one(struct publisher *p, struct span name, struct buf *out)
{
    if (!out)
        return;
    enum table_ask what = table_ask(p->table, name, now_ms(), PUBLISH_ASK_AGAIN_MS);
    if (what == TABLE_ASK_NOW) {
        size_t mark = wire_begin(out, WIRE_WANTED);
        wire_put_span(out, name);
        wire_end(out, mark);
    } else if (what == TABLE_ASK_OVER) { /* between the lookup and the question */
        __atomic_store_n(&p->answered, p->answered + 1, __ATOMIC_RELEASE);
        p->wake_wanted = true;
    }
}

void publisher_take_asked(struct publisher *p, struct buf *out)
{
    bool joined = false, was_online = rcu_is_online(); /* as in apply() */
    pthread_mutex_lock(&p->lock);
    for (uint32_t i = 0; i < p->workers; i++) {
        struct asks *a = p->readers[i] ? &p->readers[i]->asks : NULL;
        uint32_t put = a ? __atomic_load_n(&a->put, __ATOMIC_ACQUIRE) : 0;
        if (!a || a->taken == put)
            continue;
        if (!joined) {
            rcu_join();
            rcu_online();
        }
        joined = true;
        for (uint32_t at = a->taken; at != put; at++)
            take_one(p, span_of(a->slots[at % ASKS_MAX].name, a->slots[at % ASKS_MAX].len), out);
        __atomic_store_n(&a->taken, put, __ATOMIC_RELEASE);
    }
    pthread_mutex_unlock(&p->lock);
    if (joined && !was_online)
        rcu_offline();
    if (joined)
        rcu_leave();
    if (p->wake_wanted)
        wake_all(p);
}

void publisher_reset_stream(struct publisher *p)
{
    table_forget_asks(p->table);
    p->stream++;
    p->last_version = p->fence = 0;
    p->in_sync = false;
    p->early_count = 0;
}

uint64_t publisher_fence(const struct publisher *p)
{
    return p->fence;
}

bool publisher_is_ready(const struct publisher *p)
{
    return __atomic_load_n(&p->ready, __ATOMIC_ACQUIRE);
}

const struct snapshot *publisher_snapshot(const struct publisher *p)
{
    return p->current ? p->current->snapshot : NULL;
}

void publisher_collect(struct publisher *p)
{
    bool waiting = false;
    for (const struct published *n = p->old; n; n = n->next)
        waiting = waiting || !n->grace_passed;
    bool grace = rcu_pen_empty(&p->pen);
    if (!grace && waiting) {
        rcu_wait();
        grace = true;
    }
    sweep_old(p, grace);
}

struct publisher_counts publisher_count(const struct publisher *p)
{
    struct publisher_counts c = {
        .names = table_names(p->table),
        .certs = table_certs(p->table),
        .warm = table_warm(p->table),
        .challenges = answers_count(p->answers),
        .dead = p->pen.count,
        .snapshots = p->current != NULL,
        .version = p->current ? p->current->snapshot->version : 0,
    };
    for (const struct published *n = p->old; n; n = n->next)
        c.snapshots++;
    return c;
}

void publisher_destroy(struct publisher *p)
{
    for (uint32_t i = 0; i < p->workers; i++)
        must(!p->readers[i]);
    rcu_pen_empty(&p->pen);
    table_destroy(p->table);
    answers_destroy(p->answers);
    published_free(p->current);
    while (p->old) {
        struct published *n = p->old;
        p->old = n->next;
        published_free(n);
    }
    tickets_free(p->tickets);
    free(p->early);
    pthread_mutex_destroy(&p->lock);
    free(p);
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "data/challenge.h"
#include "data/worker.h"

#include "base/clock.h"
#include "base/log.h"
#include "data/cold_wait.h"
#include "data/conn.h"
#include "data/exchange.h"
#include "data/h2_conn.h"
#include "data/held.h"
#include "data/handshake.h"
#include "data/tls/alloc.h"
#include "data/tls/session.h"
#include "data/upstream/multi.h"
#include "data/upstream/upconn.h"

#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

/* Provided buffers when the configuration does not say. */
#define RING_SMALL_DEFAULT 4096u
#define RING_LARGE_DEFAULT 512u
/* Of those, what the kernel sees at a time. A small buffer is hardly touched, so there may be many:
 * one for each of a thousand clients that speak at once. The large ones should stay in the cache.
 */
#define RING_SMALL_SHOWN 1024u
#define RING_LARGE_SHOWN 32u
#define SQ_ENTRIES       4096u
#define CQ_ENTRIES       32768u
/* A worker without anything to do looks around so often. */
#define LOOK_NS (10 * NS_PER_S)
/* Streams of HTTP/2 beside one for each connection. */
#define HTTP2_STREAMS 1024u
/* Parked receives are armed again when this share of their group is free. */
#define STARVED_SHARE 8

static const uint8_t allowed[WORKER_PHASES] = {
#define TO(phase) (1u << WORKER_PHASE_##phase)
    [WORKER_PHASE_WAITING] = TO(SERVING) | TO(CLOSING),
    [WORKER_PHASE_SERVING] = TO(DRAINING),
    [WORKER_PHASE_DRAINING] = TO(CLOSING),
    [WORKER_PHASE_CLOSING] = TO(DONE),
#undef TO
};

static void set_phase(struct worker *w, enum worker_phase to)
{
    must(allowed[w->phase] & 1u << to);
    w->phase = to;
}

static const struct op_id wake_id = {.op = OP_WAKE, .owner = OP_OWNER_WORKER};

/* ---- birth and death ------------------------------------------------------------------------ */

static struct result open_ring(struct worker *w, struct why *why)
{
    const struct worker_config *c = w->config;
    struct ring_config config = {
        .sq_entries = SQ_ENTRIES,
        .cq_entries = CQ_ENTRIES,
        .buffers = {c->ring_small ? c->ring_small : RING_SMALL_DEFAULT,
                    c->ring_large ? c->ring_large : RING_LARGE_DEFAULT},
        .shown = {RING_SMALL_SHOWN, RING_LARGE_SHOWN},
        .one_shot_accept = c->one_shot_accept,
        .one_shot_recv = c->one_shot_recv,
    };
    TRY(ring_open(&config, &w->ring, why));
    uint32_t counts[BLOCK_KINDS] = {
        config.buffers[RING_SMALL],
        config.buffers[RING_LARGE],
        c->blocks[BLOCK_HEAD] ? c->blocks[BLOCK_HEAD] : 8 * c->conns + 256,
        c->blocks[BLOCK_RECORD] ? c->blocks[BLOCK_RECORD] : c->conns / 4 + 64,
        c->blocks[BLOCK_BODY] ? c->blocks[BLOCK_BODY] : c->conns / 2 + 64,
    };
    return blocks_init(&w->blocks, w->ring, counts);
}

static void *map_scratch(size_t bytes)
{
    void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return p == MAP_FAILED ? NULL : p;
}

static struct result open_memory(struct worker *w)
{
    const struct worker_config *c = w->config;
    TRY(slab_init(&w->conns, c->conns, sizeof(struct conn)));
    uint32_t streams = c->conns + HTTP2_STREAMS;
    TRY(slab_init(&w->h2_conns, c->conns, sizeof(struct h2_conn)));
    TRY(slab_init(&w->streams, streams, sizeof(struct h2_stream)));
    TRY(slab_init(&w->exchanges, c->conns + streams, sizeof(struct exchange)));
    slab_clear_less(&w->exchanges, EXCHANGE_CLEAR_BYTES);
    TRY(middleware_tables_init(&w->middlewares, c->conns + streams));
    TRY(slab_init(&w->upconns, c->conns * 2 + streams + 64, sizeof(struct upconn)));
    TRY(slab_init(&w->multis, c->conns + 64, sizeof(struct multi)));
    TRY(slab_init(&w->leases, w->exchanges.count, sizeof(struct multi_lease)));
    shunt_init(w, c->pipes);
    w->stage = map_scratch(WORKER_STAGE_BYTES);
    w->flight = map_scratch(WORKER_FLIGHT_BYTES);
    w->lines = map_scratch(WORKER_LINES_BYTES);
    w->listeners = calloc(LISTENERS_MAX, sizeof *w->listeners);
    w->held = calloc(HELD_MAX, sizeof *w->held);
    w->cold.places = calloc(COLD_WAIT_MAX, sizeof *w->cold.places);
    if (!w->stage || !w->flight || !w->lines || !w->listeners || !w->held || !w->cold.places)
        return result_fail(ERR_NO_MEMORY);
    return result_ok();
}

static void wake_arm(struct worker *w)
{
    ring_wake_arm(w->ring, w->config->wake_fd, wake_id);
    w->waking = true;
    w->pending++;
}

struct result worker_open(const struct worker_config *config, struct worker **ret, struct why *why)
{
    must(config->conns > 0 && config->conns <= 1u << 22);
    struct worker *w = aligned_alloc(64, (sizeof *w + 63) & ~(size_t)63);
    if (!w)
        return why_fail(why, ERR_NO_MEMORY, "no memory for worker %u", config->index);
    memset(w, 0, sizeof *w);
    w->config = config;
    w->report = config->report;
    w->access = config->access;
    list_init(&w->ready);
    list_init(&w->hellos);
    list_init(&w->hungry);
    list_init(&w->kept);
    for (int g = 0; g < RING_GROUPS; g++)
        list_init(&w->starved[g]);
    limit_init(&w->grace, WORKER_LIMIT_GRACE);
    limit_init(&w->cold.limit, WORKER_LIMIT_COLD);
    struct result r = open_ring(w, why);
    if (result_is_ok(r) && !result_is_ok(r = open_memory(w)))
        (void)why_fail(why, r.code, "no memory for %u connections", config->conns);
    if (!result_is_ok(r)) {
        worker_close(w);
        return r;
    }
    w->now_ns = ring_now_ns(w->ring);
    timer_wheel_init(&w->wheel, w->now_ns);
    listener_look(w);
    w->reader = reader_join(config->publisher, config->index, config->wake_fd);
    wake_arm(w);
    *ret = w;
    return result_ok();
}

static void unmap(void *p, size_t bytes)
{
    if (p)
        munmap(p, bytes);
}

void worker_close(struct worker *w)
{
    bool clean = w->phase == WORKER_PHASE_DONE || !w->waking;
    for (uint32_t i = 0; i < w->listener_count; i++)
        listener_fini(&w->listeners[i]);
    policy_clear(&w->policies);
    challenge_fini(w);
    router_index_destroy(w->routes);
    middleware_set_destroy(w->middleware_set);
    middleware_tables_fini(&w->middlewares);
    free(w->held);
    free(w->cold.places);
    if (w->reader)
        reader_leave(w->reader);
    session_thread_end();
    if (w->ring && clean) { /* else requests point into the memory: it stays */
        pool_clear(w);
        shunt_fini(w);
        ring_close(w->ring);
        blocks_fini(&w->blocks);
        slab_fini(&w->conns);
        slab_fini(&w->h2_conns);
        slab_fini(&w->streams);
        slab_fini(&w->exchanges);
        slab_fini(&w->upconns);
        slab_fini(&w->multis);
        slab_fini(&w->leases);
    }
    unmap(w->stage, WORKER_STAGE_BYTES);
    unmap(w->flight, WORKER_FLIGHT_BYTES);
    unmap(w->lines, WORKER_LINES_BYTES);
    free(w->listeners);
    free(w);
}

/* ---- what handlers ask for ------------------------------------------------------------------ */

void worker_ready(struct worker *w, struct wire *wire)
{
    if (list_is_empty(&wire->ready))
        list_append(&w->ready, &wire->ready);
}

void worker_hungry(struct worker *w, struct wire *wire)
{
    if (list_is_empty(&wire->hungry))
        list_append(&w->hungry, &wire->hungry);
}

void worker_close_fd(struct worker *w, int fd)
{
    ring_close_fd(w->ring, fd, (struct op_id){.op = OP_CLOSE, .owner = OP_OWNER_WORKER});
    w->pending++;
}

/* ---- completions ---------------------------------------------------------------------------- */

static void conn_event(struct worker *w, const struct ring_event *ev)
{
    struct conn *conn = slab_get(&w->conns, ev->id.slot, ev->id.gen);
    must(conn); /* joined before its slot could be used again */
    uint32_t got = wire_event(w, &conn->wire, ev);
    if (got)
        report_add(w->report, REPORT_BYTES_IN, got);
    else if (ev->id.op == OP_SEND && ev->res > 0)
        report_add(w->report, REPORT_BYTES_OUT, (uint64_t)ev->res);
    worker_ready(w, &conn->wire);
}

static void upconn_completion(struct worker *w, const struct ring_event *ev)
{
    struct upconn *upconn = slab_get(&w->upconns, ev->id.slot, ev->id.gen);
    must(upconn);
    if (upconn_event(w, upconn, ev))
        worker_ready(w, &upconn->wire);
}

static void worker_event(struct worker *w, const struct ring_event *ev)
{
    must(w->pending > 0);
    w->pending--;
    if (ev->id.op != OP_WAKE)
        return;
    w->waking = false;
    if (w->phase != WORKER_PHASE_CLOSING)
        wake_arm(w);
}

static void drain_completions(struct worker *w)
{
    unsigned n = ring_drain(w->ring, w->events, WORKER_BATCH);
    for (unsigned i = 0; i < n; i++) {
        const struct ring_event *ev = &w->events[i];
        switch (ev->id.owner) {
        case OP_OWNER_CONN:
            conn_event(w, ev);
            break;
        case OP_OWNER_UPCONN:
            upconn_completion(w, ev);
            break;
        case OP_OWNER_LISTENER:
            must(ev->id.slot < w->listener_count);
            listener_event(w, &w->listeners[ev->id.slot], ev);
            break;
        case OP_OWNER_WORKER:
            worker_event(w, ev);
            break;
        default:
            never();
        }
    }
}

/* ---- handlers ------------------------------------------------------------------------------- */

static void run_ready(struct worker *w)
{
    struct list *node;
    while ((node = list_pop(&w->ready))) {
        struct wire *wire = LIST_ENTRY(node, struct wire, ready);
        if (wire->id.owner == OP_OWNER_CONN)
            conn_run(w, (struct conn *)wire);
        else
            upconn_run(w, (struct upconn *)wire);
    }
}

/* Handshakes come behind those who are connected, and in small helpings. */
static void run_hellos(struct worker *w)
{
    struct list *node;
    for (uint32_t begun = 0; begun < WORKER_HELLOS && (node = list_pop(&w->hellos));) {
        struct conn *conn = LIST_ENTRY(node, struct conn, hello);
        handshake_hello(w, conn);
        if (conn->phase == CONN_PHASE_HELLO) {
            conn_settle(w, conn, WIRE_WANT_SMALL);
        } else {
            begun++; /* a handshake, or a connection to a TCP server */
            worker_ready(w, &conn->wire);
        }
    }
    run_ready(w);
}

static void run_timers(struct worker *w)
{
    struct timer *t;
    while ((t = timer_pop(&w->wheel, w->now_ns))) {
        struct limit *l = LIST_ENTRY(t, struct limit, timer);
        if (!limit_check(&w->wheel, l, w->now_ns))
            continue;
        switch ((enum worker_limit)t->kind) {
        case WORKER_LIMIT_CONN_IN:
            conn_limit_in(w, LIST_ENTRY(l, struct conn, in));
            break;
        case WORKER_LIMIT_CONN_OUT:
            conn_limit_out(w, LIST_ENTRY(l, struct conn, out));
            break;
        case WORKER_LIMIT_STREAM_IN:
            h2_conn_limit_in(w, LIST_ENTRY(l, struct h2_stream, in_limit));
            break;
        case WORKER_LIMIT_STREAM_OUT:
            h2_conn_limit_out(w, LIST_ENTRY(l, struct h2_stream, out_limit));
            break;
        case WORKER_LIMIT_UPCONN:
            upconn_limit(w, LIST_ENTRY(l, struct upconn, limit));
            break;
        case WORKER_LIMIT_LEASE:
            multi_lease_limit(w, LIST_ENTRY(l, struct multi_lease, limit));
            break;
        case WORKER_LIMIT_EXCHANGE:
            exchange_again(w, LIST_ENTRY(l, struct exchange, again));
            break;
        case WORKER_LIMIT_LISTENER:
            listener_limit(w, LIST_ENTRY(l, struct listener, retry));
            break;
        case WORKER_LIMIT_GRACE:
            break; /* look_at_phase() sees that it is over */
        case WORKER_LIMIT_COLD:
            cold_wait_limit(w);
            break;
        }
    }
    run_ready(w);
}

/* Receives that found no buffer go on when enough have come back; owners that found no pool block
 * look again. */
static void feed_parked(struct worker *w)
{
    for (int g = 0; g < RING_GROUPS; g++) {
        unsigned free = ring_buffers_free(w->ring, (enum ring_group)g);
        unsigned least = w->blocks.pools[g].count / STARVED_SHARE;
        if (free < (least ? least : 1))
            continue;
        struct list *node;
        while (free-- > 0 && (node = list_pop(&w->starved[g]))) {
            struct wire *wire = LIST_ENTRY(node, struct wire, parked);
            wire->starved = false;
            wire_settle(w, wire);
        }
    }
    if (w->blocks_seen == w->blocks.given_back)
        return;
    w->blocks_seen = w->blocks.given_back;
    struct list *node;
    while ((node = list_pop(&w->hungry)))
        worker_ready(w, LIST_ENTRY(node, struct wire, hungry));
}

/* ---- the worker's own state ----------------------------------------------------------------- */

/* Calls `each` for every slot that is taken. */
static void each_slot(struct worker *w, struct slab *slab, void (*each)(struct worker *, void *))
{
    for (uint32_t i = 0; i < slab->high_water; i++)
        if (slab_gen(slab, i) & 1)
            each(w, slab_at(slab, i));
}

static void drain_if_gone(struct worker *w, void *conn)
{
    if (!conn_entrypoint(w, conn))
        conn_drain(w, conn);
}

/* The publisher thread has offered or recalled sockets. */
static void look_at_listeners(struct worker *w)
{
    uint32_t changes = w->config->shared->listener_changes;
    if (changes == w->listener_changes)
        return;
    w->listener_changes = changes;
    listener_look(w);
}

static void count_anew(struct worker *w, void *conn)
{
    conn_count_open(w, conn);
}

/* Has every listener look for its entry point; connections whose one is gone end when they are
 * idle, the others with their response. */
static void adopt_listeners(struct worker *w)
{
    bool lost, moved;
    look_at_listeners(w); /* a snapshot may name what was offered before it came */
    listener_adopt(w, &lost, &moved);
    if (lost)
        each_slot(w, &w->conns, drain_if_gone);
    if (moved)
        each_slot(w, &w->conns, count_anew);
}

static void adopt(struct worker *w, const struct snapshot *s)
{
    if (s == w->snapshot && (!s || s->version == w->snapshot_version))
        return;
    w->snapshot = s;
    w->snapshot_version = s->version;
    router_index_destroy(w->routes);
    w->routes = router_index_create(s);
    middleware_set_destroy(w->middleware_set);
    w->middleware_set = middleware_set_create(s);
    policy_adopt(&w->policies, s);
    pool_adopt(w, s);
    adopt_listeners(w);
}

void worker_notify(struct worker *w)
{
    if (w->config->shared->notify_fd < 0)
        return;
    uint64_t one = 1;
    if (write(w->config->shared->notify_fd, &one, sizeof one) < 0)
        log_warn("worker %u could not tell its publisher: %m", w->config->index);
}

static void settle_listeners(struct worker *w)
{
    for (uint32_t i = 0; i < w->listener_count; i++)
        listener_settle(w, &w->listeners[i]);
}

static void drain_conn(struct worker *w, void *conn)
{
    conn_drain(w, conn);
}

static void close_conn(struct worker *w, void *conn)
{
    conn_close_begin(w, conn);
}

static void close_upconn(struct worker *w, void *upconn)
{
    upconn_close_begin(w, upconn);
}

static uint32_t grace_ms_of(const struct worker *w)
{
    uint32_t grace_ms = 0;
    for (uint32_t i = 0; i < w->snapshot->entrypoint_count; i++)
        if (w->snapshot->entrypoints[i].grace_timeout_ms > grace_ms)
            grace_ms = w->snapshot->entrypoints[i].grace_timeout_ms;
    return grace_ms;
}

/* Also a second time, when what began without haste is to end now. */
static void begin_drain(struct worker *w)
{
    const struct worker_shared *shared = w->config->shared;
    w->retiring = !shared->drain;
    uint64_t grace_ms = w->retiring ? shared->retire_ms : grace_ms_of(w);
    if (w->phase == WORKER_PHASE_SERVING)
        set_phase(w, WORKER_PHASE_DRAINING);
    limit_set(&w->wheel, &w->grace, w->now_ns + grace_ms * NS_PER_MS);
    settle_listeners(w);
    pool_close_idle(w);
    each_slot(w, &w->conns, drain_conn);
}

static void begin_close(struct worker *w)
{
    set_phase(w, WORKER_PHASE_CLOSING);
    each_slot(w, &w->conns, close_conn);
    each_slot(w, &w->upconns, close_upconn);
    if (w->waking && !w->cancelling) {
        ring_cancel(w->ring, wake_id, (struct op_id){.op = OP_CANCEL, .owner = OP_OWNER_WORKER});
        w->cancelling = true;
        w->pending++;
    }
}

static bool is_deaf(const struct worker *w)
{
    for (uint32_t i = 0; i < w->listener_count; i++)
        if (!listener_is_deaf(w, &w->listeners[i]))
            return false;
    return true;
}

static bool is_empty(const struct worker *w)
{
    return is_deaf(w) && w->conns.used == 0 && w->upconns.used == 0 && w->pending == 0;
}

static void look_at_phase(struct worker *w)
{
    struct worker_shared *shared = w->config->shared;
    if (w->phase == WORKER_PHASE_WAITING) {
        if (shared->drain || shared->retire) {
            begin_close(w);
        } else if (shared->accept && w->snapshot) {
            set_phase(w, WORKER_PHASE_SERVING);
            settle_listeners(w);
            shared->accepting++;
            worker_notify(w);
        }
    }
    bool begins = w->phase == WORKER_PHASE_SERVING && (shared->drain || shared->retire);
    if (begins || (w->phase == WORKER_PHASE_DRAINING && w->retiring && shared->drain))
        begin_drain(w);
    if (w->phase > WORKER_PHASE_SERVING && !w->deaf && is_deaf(w)) {
        w->deaf = true;
        shared->deaf++;
        worker_notify(w);
    }
    if (w->phase == WORKER_PHASE_DRAINING &&
        ((w->deaf && w->conns.used == 0) || w->grace.at_ns == TIMER_NO_LIMIT))
        begin_close(w);
    if (w->phase == WORKER_PHASE_CLOSING && is_empty(w)) {
        set_phase(w, WORKER_PHASE_DONE);
        shared->finished++;
        worker_notify(w);
    }
}

static void report(struct worker *w)
{
    const struct slab *slabs[] = {&w->conns,   &w->exchanges, &w->upconns, &w->h2_conns,
                                  &w->streams, &w->multis,    &w->leases};
    uint64_t slots = 0;
    for (size_t i = 0; i < sizeof slabs / sizeof *slabs; i++)
        slots += slabs[i]->used;
    report_set(w->report, REPORT_SLOTS_NOW, slots);
    report_set(w->report, REPORT_BLOCKS_NOW, blocks_used(&w->blocks));
    report_set(w->report, REPORT_TLS_BLOCKS_NOW, alloc_used());
    report_add(w->report, REPORT_STEPS, 1);
    uint64_t overflows = ring_overflows(w->ring);
    if (overflows != w->overflows_seen) {
        report_add(w->report, REPORT_RING_OVERFLOWS, overflows - w->overflows_seen);
        w->overflows_seen = overflows;
    }
}

bool worker_step(struct worker *w, uint64_t deadline_ns)
{
    bool wait = list_is_empty(&w->ready) && list_is_empty(&w->hellos);
    uint64_t next = timer_next_ns(&w->wheel);
    reader_offline(w->reader);
    struct result r = ring_submit_wait(w->ring, wait, next < deadline_ns ? next : deadline_ns);
    reader_online(w->reader);
    if (!result_is_ok(r) && r.code != ERR_TIMEOUT) {
        log_error("worker %u: io_uring failed: %s (errno %d)", w->config->index,
                  err_meaning(r.code), r.sys);
        w->failed = true;
        return false;
    }
    w->now_ns = ring_now_ns(w->ring);
    adopt(w, reader_snapshot(w->reader)); /* before anything looks at the one of the last step */
    look_at_listeners(w);
    drain_completions(w);
    held_settle(w);
    cold_wait_settle(w);
    run_ready(w);
    run_hellos(w);
    run_timers(w);
    look_at_phase(w);
    feed_parked(w);
    report(w);
    return w->phase != WORKER_PHASE_DONE;
}

void worker_run(struct worker *w)
{
    while (worker_step(w, w->now_ns + LOOK_NS))
        ;
}

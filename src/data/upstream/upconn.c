/* SPDX-License-Identifier: Apache-2.0 */
#include "data/upstream/upconn.h"

#include "data/exchange.h"
#include "data/upstream/greet.h"
#include "data/upstream/multi.h"

static const uint8_t allowed[UPCONN_PHASES] = {
#define TO(phase) (1u << UPCONN_PHASE_##phase)
    [UPCONN_PHASE_FREE] = TO(CONNECTING),
    [UPCONN_PHASE_CONNECTING] = TO(GREETING) | TO(LEASED) | TO(SHARED) | TO(CLOSING),
    [UPCONN_PHASE_GREETING] = TO(LEASED) | TO(SHARED) | TO(CLOSING),
    [UPCONN_PHASE_SHARED] = TO(CLOSING),
    [UPCONN_PHASE_IDLE] = TO(LEASED) | TO(CLOSING),
    [UPCONN_PHASE_LEASED] = TO(IDLE) | TO(CLOSING),
    [UPCONN_PHASE_CLOSING] = TO(FREE),
#undef TO
};

static void set_phase(struct upconn *upconn, enum upconn_phase to)
{
    must(allowed[upconn->phase] & 1u << to);
    upconn->phase = (uint8_t)to;
}

static struct exchange *exchange_of(struct worker *w, const struct upconn *upconn)
{
    return slab_get(&w->exchanges, upconn->lease.exchange.index, upconn->lease.exchange.gen);
}

struct upconn *upconn_open(struct worker *w, struct pool_server *server,
                           const struct net_addr *address, struct handle exchange)
{
    uint32_t index;
    struct upconn *upconn = slab_take(&w->upconns, &index);
    if (!upconn)
        return NULL;
    int fd = ring_socket(w->ring, address->sa.sa_family);
    if (fd < 0) {
        slab_give_back(&w->upconns, index);
        return NULL;
    }
    ring_tune_tcp(w->ring, fd, server->keep_alive_ms);
    wire_open(&upconn->wire, fd,
              (struct op_id){
                  .owner = OP_OWNER_UPCONN, .slot = index, .gen = slab_gen(&w->upconns, index)});
    upconn->lease.exchange = exchange;
    upconn->server = server;
    pool_hold(server);
    list_init(&upconn->idle);
    list_init(&upconn->kept);
    list_init(&upconn->waiting);
    limit_init(&upconn->limit, WORKER_LIMIT_UPCONN);
    h1_init(&upconn->h1, H1_CLIENT, UPCONN_HEAD_MAX, &w->response);
    upconn->address = *address;
    set_phase(upconn, UPCONN_PHASE_CONNECTING);
    wire_connect(w, &upconn->wire, &upconn->address.sa, upconn->address.len);
    report_add(w->report, REPORT_UPSTREAM_CONNECTS, 1);
    report_add(w->report, REPORT_UPCONNS_NOW, 1);
    return upconn;
}

void upconn_lease(struct worker *w, struct upconn *upconn, struct handle exchange)
{
    must(upconn_is_good(w, upconn) && list_is_empty(&upconn->idle));
    set_phase(upconn, UPCONN_PHASE_LEASED);
    upconn->lease.exchange = exchange;
    limit_clear(&upconn->limit);
    h1_next(&upconn->h1);
    if (exchange_of(w, upconn)->retried) /* no turn of its client follows that would send it */
        worker_ready(w, &upconn->wire);
    report_add(w->report, REPORT_UPSTREAM_REUSED, 1);
}

/* What the codec has not looked at, encrypted or not. */
static bool has_input(const struct upconn *upconn)
{
    return upconn->wire.received.first || upconn->secure.plain.first || upconn->secure.pending;
}

/* The next connection to this server may resume this one's session. */
static void remember(struct upconn *upconn)
{
    if (upconn->secure.tls && !upconn->server->retired)
        session_remember(upconn->secure.tls, &upconn->server->resume);
}

/* Something stands in the socket behind a response, and no receive is armed that brings it: it
 * would be taken for the answer to the next request. With TLS it may be a ticket. */
static bool has_surplus(struct worker *w, const struct upconn *upconn)
{
    const struct wire *wire = &upconn->wire;
    bool receives = wire->armed == WIRE_WANT_SMALL || wire->armed == WIRE_WANT_LARGE;
    return !upconn->secure.tls && !receives && ring_has_waiting(w->ring, wire->fd);
}

void upconn_release(struct worker *w, struct upconn *upconn, bool reuse, uint32_t idle_ms,
                    uint32_t max)
{
    must(upconn->phase == UPCONN_PHASE_LEASED);
    upconn->lease.exchange = (struct handle){0};
    upconn_fill(w, upconn); /* a ticket may stand behind the response */
    if (!reuse || worker_is_draining(w) || !wire_send_is_empty(&upconn->wire) ||
        has_input(upconn) || upconn->wire.eof || upconn->wire.recv_failed ||
        has_surplus(w, upconn) || !pool_put(w, upconn->server, upconn, max)) {
        upconn_close_begin(w, upconn);
        return;
    }
    remember(upconn);
    set_phase(upconn, UPCONN_PHASE_IDLE);
    limit_set_ms(&w->wheel, &upconn->limit, w->now_ns, idle_ms);
    upconn->wire.want = upconn_want(upconn);
    wire_settle(w, &upconn->wire);
}

enum wire_want upconn_want(const struct upconn *upconn)
{
    uint8_t armed = upconn->wire.armed;
    if (armed != WIRE_WANT_NOTHING && armed != WIRE_WANT_POLL && !upconn->wire.cancelling)
        return (enum wire_want)armed;
    return upconn->server->large >= POOL_LARGE ? WIRE_WANT_LARGE : WIRE_WANT_SMALL;
}

void upconn_fill(struct worker *w, struct upconn *upconn)
{
    struct wire *wire = &upconn->wire;
    if (!upconn->secure.tls || wire->recv_failed)
        return;
    struct result r = decrypt_fill(w, &upconn->secure, wire, UPCONN_HEAD_MAX);
    if (!result_is_ok(r)) {
        const struct exchange *x = exchange_of(w, upconn);
        if (x && x->snapshot && r.code == ERR_PEER_TLS) /* a tunnel has none */
            greet_broke(w, upconn, x);
        wire->recv_failed = true;
        block_queue_clear(&w->blocks, &wire->received);
        upconn->secure.pending = false;
    }
}

bool upconn_is_over(const struct upconn *upconn)
{
    const struct wire *wire = &upconn->wire;
    bool more = upconn->secure.tls && decrypt_has_more(&upconn->secure, wire);
    return wire->recv_failed || (wire->eof && !more);
}

bool upconn_is_broken(const struct upconn *upconn)
{
    return upconn->wire.recv_failed ||
           (upconn->secure.tls && !upconn->tcp && upconn_is_over(upconn) && !upconn->secure.ended);
}

bool upconn_is_good(struct worker *w, struct upconn *upconn)
{
    const struct wire *wire = &upconn->wire;
    if (upconn->phase != UPCONN_PHASE_IDLE)
        return false;
    upconn_fill(w, upconn);
    return !wire->eof && !wire->recv_failed && !wire->send_failed && !has_input(upconn);
}

bool upconn_shut(struct worker *w, struct upconn *upconn)
{
    if (upconn->secure.tls && !upconn->said_bye) {
        struct writer flight = writer_of(w->flight, WORKER_FLIGHT_BYTES);
        if (result_is_ok(session_shutdown(upconn->secure.tls, &flight)))
            (void)wire_push_copy(w, &upconn->wire, writer_done(&flight));
        upconn->said_bye = true;
    }
    if (!wire_send_is_empty(&upconn->wire))
        return false;
    wire_shutdown(w, &upconn->wire);
    return true;
}

void upconn_close_begin(struct worker *w, struct upconn *upconn)
{
    if (upconn->phase == UPCONN_PHASE_CLOSING)
        return;
    bool stood = upconn->phase == UPCONN_PHASE_LEASED || upconn->phase == UPCONN_PHASE_SHARED;
    if (upconn->phase == UPCONN_PHASE_IDLE)
        pool_remove(w, upconn->server, upconn);
    list_remove(&upconn->idle);
    if (stood)
        remember(upconn);
    if (upconn->server->dialing == upconn)
        upconn->server->dialing = NULL;
    upconn->lease.exchange = (struct handle){0};
    set_phase(upconn, UPCONN_PHASE_CLOSING);
    limit_remove(&upconn->limit);
    decrypt_end(w, &upconn->secure);
    wire_close_begin(w, &upconn->wire);
    worker_ready(w, &upconn->wire);
    if (upconn->multi)
        multi_close(w, upconn);
}

static void close_join(struct worker *w, struct upconn *upconn)
{
    if (!wire_is_quiet(&upconn->wire))
        return;
    uint32_t index = upconn->wire.id.slot;
    struct pool_server *server = upconn->server;
    wire_close_finish(w, &upconn->wire, upconn->reset);
    set_phase(upconn, UPCONN_PHASE_FREE);
    slab_give_back(&w->upconns, index);
    pool_drop(server);
    report_sub(w->report, REPORT_UPCONNS_NOW, 1);
}

/* The exchange that waits first, or has it alone: any of them tells which server it is. */
static struct exchange *first_waiting(struct worker *w, const struct upconn *upconn)
{
    if (list_is_empty(&upconn->waiting))
        return exchange_of(w, upconn);
    const struct multi_lease *l = LIST_ENTRY(upconn->waiting.next, struct multi_lease, all);
    return slab_get(&w->exchanges, l->lease.exchange.index, l->lease.exchange.gen);
}

/* The first of those that wait gets no stream after all; it is returned. */
static struct exchange *pop_waiting(struct worker *w, struct upconn *upconn)
{
    struct exchange *x = first_waiting(w, upconn);
    struct multi_lease *l = LIST_ENTRY(list_pop(&upconn->waiting), struct multi_lease, all);
    l->upconn = NULL;
    multi_lease_free(w, l);
    x->lease = (struct lease_ref){0};
    return x;
}

/* Those for whom it was made go elsewhere.
 *   again   nothing speaks against the addresses that they have tried */
static void send_away(struct worker *w, struct upconn *upconn, bool again)
{
    while (!list_is_empty(&upconn->waiting)) {
        struct exchange *x = pop_waiting(w, upconn);
        if (again)
            x->addresses_tried = 0;
        exchange_connect_failed(w, x);
    }
}

static void failed(struct worker *w, struct upconn *upconn)
{
    struct exchange *x = exchange_of(w, upconn);
    upconn_close_begin(w, upconn);
    if (x)
        exchange_connect_failed(w, x);
    send_away(w, upconn, false);
}

/* All that wait for it get a stream, in their order. */
static void stands_shared(struct worker *w, struct upconn *upconn)
{
    struct pool_server *server = upconn->server;
    struct exchange *x = exchange_of(w, upconn);
    if (!multi_open(w, upconn)) {
        failed(w, upconn);
        return;
    }
    upconn->multi->idle_ms = first_waiting(w, upconn)->service->idle_timeout_ms;
    set_phase(upconn, UPCONN_PHASE_SHARED);
    server->speaks_h2 = true;
    list_append(&server->shared, &upconn->idle);
    limit_clear(&upconn->limit);
    upconn->lease.exchange = (struct handle){0};
    worker_ready(w, &upconn->wire);
    if (x && multi_take(w, upconn, x->self, &x->lease))
        exchange_connected(w, x);
    else if (x)
        exchange_connect_failed(w, x);
    while (!list_is_empty(&upconn->waiting)) {
        x = first_waiting(w, upconn);
        multi_join(w, LIST_ENTRY(upconn->waiting.next, struct multi_lease, all));
        exchange_connected(w, x);
    }
}

static void stands_alone(struct worker *w, struct upconn *upconn)
{
    struct exchange *x = exchange_of(w, upconn);
    upconn->server->speaks_h2 &= upconn->alone; /* then nobody asked */
    set_phase(upconn, UPCONN_PHASE_LEASED);
    limit_clear(&upconn->limit);
    if (!x) { /* HTTP/2 was expected: one can have it, the others need their own */
        x = pop_waiting(w, upconn);
        upconn->lease.exchange = x->self;
        x->lease = lease_ref_of(upconn);
        send_away(w, upconn, true);
    }
    exchange_connected(w, x);
}

/* It stands, TLS and all. */
static void stands(struct worker *w, struct upconn *upconn)
{
    const struct tls_session *tls = upconn->secure.tls;
    if (upconn->server->dialing == upconn)
        upconn->server->dialing = NULL;
    if (upconn->server->h2c || (tls && session_protocol(tls) == TLS_ALPN_H2))
        stands_shared(w, upconn);
    else
        stands_alone(w, upconn);
}

static void greeted(struct worker *w, struct upconn *upconn, enum greet_state state)
{
    if (state == GREET_DONE) {
        stands(w, upconn);
        return;
    }
    upconn->wire.want = WIRE_WANT_SMALL;
    wire_settle(w, &upconn->wire); /* an alert goes out before all is cancelled */
    if (state == GREET_FAILED)
        failed(w, upconn);
}

static void connect_turn(struct worker *w, struct upconn *upconn)
{
    if (upconn->wire.connect_failed) {
        failed(w, upconn);
    } else if (upconn->wire.connected && !exchange_introduce(w, first_waiting(w, upconn))) {
        failed(w, upconn);
    } else if (upconn->wire.connected && !upconn->server->transport_id) {
        stands(w, upconn);
    } else if (upconn->wire.connected) {
        set_phase(upconn, UPCONN_PHASE_GREETING);
        greeted(w, upconn, greet_begin(w, upconn, first_waiting(w, upconn)));
    }
}

bool upconn_event(struct worker *w, struct upconn *upconn, const struct ring_event *ev)
{
    (void)wire_event(w, &upconn->wire, ev);
    if (ev->id.op != OP_SEND || ev->res <= 0 || upconn->phase != UPCONN_PHASE_LEASED ||
        upconn->wire.sending.bytes > 0)
        return true;
    const struct exchange *x = exchange_of(w, upconn);
    return !x || !exchange_only_listens(x);
}

void upconn_run(struct worker *w, struct upconn *upconn)
{
    struct exchange *x = exchange_of(w, upconn);
    switch ((enum upconn_phase)upconn->phase) {
    case UPCONN_PHASE_CONNECTING:
        connect_turn(w, upconn);
        break;
    case UPCONN_PHASE_GREETING:
        greeted(w, upconn, greet_turn(w, upconn, first_waiting(w, upconn)));
        break;
    case UPCONN_PHASE_SHARED:
        multi_turn(w, upconn);
        break;
    case UPCONN_PHASE_LEASED:
        must(x);
        exchange_turn(w, x);
        break;
    case UPCONN_PHASE_IDLE:
        if (upconn_is_good(w, upconn))
            wire_settle(w, &upconn->wire);
        else
            upconn_close_begin(w, upconn);
        break;
    case UPCONN_PHASE_CLOSING:
        close_join(w, upconn);
        break;
    default:
        never();
    }
}

void upconn_limit(struct worker *w, struct upconn *upconn)
{
    struct exchange *x = exchange_of(w, upconn);
    if (upconn->phase == UPCONN_PHASE_SHARED)
        multi_limit(w, upconn);
    else if (x)
        exchange_upstream_timeout(w, x);
    else
        upconn_close_begin(w, upconn);
}

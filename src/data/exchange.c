/* SPDX-License-Identifier: Apache-2.0 */
#include "data/exchange.h"

#include "data/conn.h"
#include "data/held.h"
#include "data/log/access.h"
#include "data/http/rules.h"
#include "data/passage.h"
#include "data/shunt.h"
#include "data/tcp.h"
#include "data/upstream/dial.h"

/* How long a piece of a body may take where the entry point has no idle limit. */
#define STALL_MS 180000u

static const uint8_t allowed[EXCHANGE_PHASES] = {
#define TO(phase) (1u << EXCHANGE_PHASE_##phase)
    [EXCHANGE_PHASE_FREE] = TO(HELD) | TO(CONNECT),
    [EXCHANGE_PHASE_HELD] = TO(CONNECT) | TO(FREE),
    [EXCHANGE_PHASE_CONNECT] = TO(WAIT) | TO(TUNNEL) /* TCP */ | TO(FREE),
    [EXCHANGE_PHASE_WAIT] = TO(RELAY) | TO(TUNNEL) | TO(CONNECT) /* the second try */ | TO(FREE),
    [EXCHANGE_PHASE_RELAY] = TO(FREE),
    [EXCHANGE_PHASE_TUNNEL] = TO(FREE),
#undef TO
};

static void set_phase(struct exchange *x, enum exchange_phase to)
{
    must(allowed[x->phase] & 1u << to);
    x->phase = (uint8_t)to;
}

static struct stream *stream_of(struct worker *w, const struct exchange *x)
{
    struct stream *s = stream_get(w, x->stream);
    must(s->exchange.gen == x->self.gen);
    return s;
}

static struct lease *lease_of(struct worker *w, const struct exchange *x)
{
    return lease_get(w, x->lease);
}

static void drop_head(struct worker *w, struct exchange *x)
{
    if (x->head)
        block_give_back(&w->blocks, x->head);
    x->head = NULL;
}

/* What every exchange begins with; NULL: no slot is free. */
static struct exchange *take_slot(struct worker *w, struct stream *s,
                                  const struct snap_router *router)
{
    uint32_t index;
    struct exchange *x = slab_take(&w->exchanges, &index);
    if (!x)
        return NULL;
    x->self = (struct handle){index, slab_gen(&w->exchanges, index)};
    x->stream = stream_ref_of(w, s);
    s->exchange = x->self;
    x->snapshot = w->snapshot;
    reader_pin(w->reader, x->snapshot);
    x->router = router;
    x->service = &w->snapshot->services[router->service];
    x->request.begun_ns = w->now_ns;
    limit_init(&x->again, WORKER_LIMIT_EXCHANGE);
    return x;
}

struct exchange *exchange_open_tcp(struct worker *w, struct stream *s,
                                   const struct snap_router *router, const struct pick *pick)
{
    struct exchange *x = take_slot(w, s, router);
    if (!x)
        return NULL;
    x->tcp = true;
    report_add(w->report, REPORT_TCP_CONNS, 1);
    exchange_bind(w, x, pick);
    x->can_move = true; /* nothing was sent yet */
    return x;
}

struct exchange *exchange_open(struct worker *w, struct stream *s, const struct http_head *head,
                               const struct snap_router *router, const struct pick *pick)
{
    struct exchange *x = take_slot(w, s, router);
    if (!x)
        return NULL;
    x->request.method = (uint8_t)head->method;
    x->has_body = head->body == HTTP_BODY_CHUNKED || head->content_length > 0;
    x->body_bytes = head->body == HTTP_BODY_LENGTH ? head->content_length : UINT64_MAX;
    x->idempotent = head->method == HTTP_GET || head->method == HTTP_HEAD ||
                    head->method == HTTP_PUT || head->method == HTTP_DELETE ||
                    head->method == HTTP_OPTIONS || head->method == HTTP_TRACE;
    relay_init(&x->up, head->body);
    if (pick)
        exchange_bind(w, x, pick);
    else
        set_phase(x, EXCHANGE_PHASE_HELD);
    return x;
}

void exchange_bind(struct worker *w, struct exchange *x, const struct pick *pick)
{
    must(!x->server && x->snapshot == w->snapshot);
    x->pick = *pick;
    x->service = pick->service;
    x->server = w->pool.servers[pick->server];
    x->server_index = pick->server;
    x->can_move = x->service->pass_host_header;
    pool_hold(x->server);
    set_phase(x, EXCHANGE_PHASE_CONNECT);
}

/* ---- the end -------------------------------------------------------------------------------- */

static void close_upstream(struct worker *w, struct exchange *x)
{
    if (exchange_is_cut(x) && !x->tunnel.up_shut)
        lease_reset(lease_of(w, x));
    lease_cancel(w, lease_of(w, x));
    x->lease = (struct lease_ref){0};
}

/* Gives everything back but the lease. */
static void release(struct worker *w, struct exchange *x)
{
    if (x->log && x->tcp)
        access_end_tcp(w, x);
    else if (x->log)
        access_end(w, x);
    if (x->tcp && x->phase == EXCHANGE_PHASE_TUNNEL) {
        report_add(w->report, REPORT_TCP_BYTES_UP, x->tunnel.up.bytes);
        report_add(w->report, REPORT_TCP_BYTES_DOWN, x->tunnel.down.bytes);
    }
    metrics_end(w, x);
    drop_head(w, x);
    held_drop(w, x);
    limit_remove(&x->again);
    middleware_end(&w->middlewares, &x->notes);
    relay_fini(&x->up, &w->blocks);
    relay_fini(&x->down, &w->blocks);
    if (x->snapshot)
        reader_unpin(w->reader, x->snapshot);
    if (x->phase == EXCHANGE_PHASE_TUNNEL)
        report_sub(w->report, REPORT_TUNNELS_NOW, 1);
    if (x->server)
        pool_drop(x->server);
    set_phase(x, EXCHANGE_PHASE_FREE);
    slab_give_back(&w->exchanges, x->self.index);
}

void exchange_cancel(struct worker *w, struct exchange *x)
{
    close_upstream(w, x);
    release(w, x);
}

/* Ends it with an answer of our own while that is possible, else with an abort.
 *   whole   the request is received to its end, or has none to receive */
static void give_up(struct worker *w, struct exchange *x, uint16_t status, bool whole)
{
    struct stream *s = stream_of(w, x);
    bool passed = x->phase == EXCHANGE_PHASE_RELAY || x->phase == EXCHANGE_PHASE_TUNNEL;
    bool tcp = x->tcp;
    const struct snapshot *snapshot = x->snapshot; /* this step still sees it */
    struct middleware_notes notes = x->notes;
    s->exchange = (struct handle){0};
    if (!passed)
        x->status = status;
    exchange_cancel(w, x);
    if (passed)
        stream_abort(w, s);
    else if (tcp)
        stream_hang_up(w, s);
    else
        passage_answer(w, s, snapshot, &notes, status, whole);
}

/* The upstream failed. */
static void fail(struct worker *w, struct exchange *x, uint16_t status)
{
    report_add(w->report, REPORT_UPSTREAM_FAILED, 1);
    if (x->tcp && x->phase == EXCHANGE_PHASE_CONNECT)
        report_add(w->report, REPORT_TCP_FAILED, 1);
    if (status != 503 && x->service) /* 503: we were short of something; a tunnel has none */
        pick_note(w, x->service, x->server, false);
    give_up(w, x, status, x->request_done || !x->has_body);
}

/* The upstream broke a rule. */
static void fail_bad(struct worker *w, struct exchange *x, const struct lease *l)
{
    rules_count(w->report, lease_broken_rule(l), true);
    fail(w, x, 502);
}

/* The client broke a rule, or was too slow. */
static void fail_client(struct worker *w, struct exchange *x, uint16_t status)
{
    give_up(w, x, status, false);
}

static void finish(struct worker *w, struct exchange *x, struct stream *s, struct lease *l)
{
    bool whole = x->request_done;
    const struct snap_service *service = x->service;
    struct block *trailers = relay_trailers(&x->down);
    pool_note_body(x->server, x->down.bytes);
    lease_release(w, l, x->upstream_keeps && whole, service->idle_timeout_ms,
                  service->max_idle_per_server);
    x->lease = (struct lease_ref){0};
    release(w, x);
    stream_done(w, s, whole, trailers);
}

static void finish_tunnel(struct worker *w, struct exchange *x)
{
    struct stream *s = stream_of(w, x);
    struct lease *l = lease_of(w, x);
    if (l && !l->shared && x->tunnel.up_over && !x->tunnel.up_shut) /* it has not got all */
        lease_reset(l);
    exchange_cancel(w, x);
    stream_done(w, s, false, NULL); /* what comes of it still must not undo what is sent */
}

/* Neither side has ended: both are let see that it was cut. */
static void cut_tunnel(struct worker *w, struct exchange *x)
{
    struct stream *s = stream_of(w, x);
    struct lease *l = lease_of(w, x);
    s->exchange = (struct handle){0};
    if (l && !l->shared)
        lease_reset(l);
    exchange_cancel(w, x);
    stream_abort(w, s);
}

void exchange_client_timeout(struct worker *w, struct exchange *x)
{
    if (x->phase != EXCHANGE_PHASE_TUNNEL)
        fail_client(w, x, 408);
    else if (x->tunnel.up_over || x->tunnel.down_over)
        finish_tunnel(w, x); /* the side that has ended already still gets what is queued for it */
    else
        cut_tunnel(w, x);
}

/* ---- the upstream's connection -------------------------------------------------------------- */

/* As far as the middleware `retry` goes. */
static bool may_try_again(const struct exchange *x)
{
    return x->tries + 1 < x->notes.attempts;
}

/* The request is out: from here on the upstream's time runs. */
static void limit_answer(struct worker *w, const struct exchange *x, struct lease *l)
{
    lease_limit(w, l, x->service->response_header_timeout_ms);
}

/* Queues the head for the connection that now stands. A second reference keeps it for a second
 * try. */
static void send_head(struct worker *w, struct exchange *x, struct lease *l)
{
    set_phase(x, EXCHANGE_PHASE_WAIT);
    x->asked_ns = w->now_ns;
    bool again = ((x->reused || l->shared) && !x->retried) || may_try_again(x);
    bool keep = again && (x->idempotent || l->shared);
    if (keep)
        x->head->refs++;
    x->up.framing = (uint8_t)lease_framing(l, (enum http_body)x->up.framing);
    lease_send_head(w, l, (enum http_method)x->request.method, x->head, x->request_done);
    if (!keep)
        x->head = NULL;
    if (x->request_done)
        limit_answer(w, x, l);
}

/* One more try. True: at once; else exchange_again() follows. */
static bool start_over(struct worker *w, struct exchange *x)
{
    x->tries++;
    report_add(w->report, REPORT_UPSTREAM_RETRIES, 1);
    dial_restart(w, x);
    uint32_t ms = middleware_retry_pause(&x->notes, x->tries);
    limit_set_ms(&w->wheel, &x->again, w->now_ns, ms);
    return ms == 0;
}

static void dial(struct worker *w, struct exchange *x)
{
    for (;;) {
        struct result r = dial_start(w, x);
        if (result_is_ok(r))
            return;
        if (r.code == ERR_NO_SLOT || !may_try_again(x)) {
            fail(w, x, r.code == ERR_NO_SLOT ? 503 : 502);
            return;
        }
        if (!start_over(w, x))
            return;
    }
}

void exchange_again(struct worker *w, struct exchange *x)
{
    must(x->phase == EXCHANGE_PHASE_CONNECT);
    dial(w, x);
}

void exchange_upstream_timeout(struct worker *w, struct exchange *x)
{
    if (x->phase == EXCHANGE_PHASE_CONNECT)
        x->server->rest_until_ns = w->now_ns + DIAL_REST_NS;
    if (x->phase != EXCHANGE_PHASE_CONNECT || !may_try_again(x)) {
        fail(w, x, 504);
        return;
    }
    close_upstream(w, x);
    if (start_over(w, x))
        dial(w, x);
}

/* Nothing was sent yet: the next address of the server, or another server, may do. */
void exchange_connect_failed(struct worker *w, struct exchange *x)
{
    x->lease = (struct lease_ref){0};
    dial(w, x);
}

/* A place on a connection that stands. */
static bool take_lease(struct worker *w, struct exchange *x)
{
    return lease_take(w, x->server, x->self, dial_is_alone(x), &x->lease);
}

void exchange_start(struct worker *w, struct exchange *x, struct block *head)
{
    must(x->phase == EXCHANGE_PHASE_CONNECT && !x->head);
    x->head = head;
    x->head_start = head->start;
    if (!take_lease(w, x)) {
        dial(w, x);
        return;
    }
    x->reused = true;
    send_head(w, x, lease_of(w, x));
}

void exchange_start_tcp(struct worker *w, struct exchange *x)
{
    must(x->phase == EXCHANGE_PHASE_CONNECT && x->tcp);
    dial(w, x);
}

/* From here on it is a tunnel. What that needs is its own by now: the snapshot may go. */
static void become_tunnel(struct worker *w, struct exchange *x, struct stream *s, struct lease *l)
{
    set_phase(x, EXCHANGE_PHASE_TUNNEL);
    drop_head(w, x);
    tunnel_begin(w, &x->tunnel, s, l);
    if (x->log && x->tcp) /* while the names are there */
        access_tunnel(w, x);
    else if (x->log)
        access_end(w, x);
    reader_unpin(w->reader, x->snapshot);
    x->snapshot = NULL;
    x->router = NULL;
    x->service = NULL;
    report_add(w->report, REPORT_TUNNELS, 1);
    report_add(w->report, REPORT_TUNNELS_NOW, 1);
}

static void begin_tcp(struct worker *w, struct exchange *x, struct lease *l)
{
    struct stream *s = stream_of(w, x);
    const struct snap_entrypoint *ep = conn_entrypoint(w, stream_conn(w, s));
    x->tunnel.idle_ms = ep ? ep->tunnel_timeout_ms : 0;
    x->tunnel.end_ms = x->service->termination_ms;
    pick_note(w, x->service, x->server, true);
    become_tunnel(w, x, s, l);
}

bool exchange_introduce(struct worker *w, struct exchange *x)
{
    struct lease *l = x->tcp ? lease_of(w, x) : NULL;
    if (!l)
        return true;
    struct sink sink = lease_sink(w, l);
    tcp_introduce(w, stream_conn(w, stream_of(w, x)), x->service->proxy_version, &sink);
    sink_flush(&sink);
    return !sink.failed;
}

void exchange_connected(struct worker *w, struct exchange *x)
{
    struct lease *l = lease_of(w, x);
    must(l && x->phase == EXCHANGE_PHASE_CONNECT);
    if (x->tcp)
        begin_tcp(w, x, l);
    else
        send_head(w, x, l);
    exchange_turn(w, x);
}

/* The connection ended before anything came back, or the server has refused the request untouched.
 * A connection that was kept may have been dead when the request went out: once more on a fresh
 * one; else the middleware `retry` may ask for it. Nothing of a body may be gone. False: not for
 * this request. */
static bool retry(struct worker *w, struct exchange *x, const struct lease *l)
{
    bool refused = lease_is_refused(l) && !x->retried;
    bool stale = x->reused && !x->retried && x->idempotent && lease_is_lost(l);
    bool wanted = may_try_again(x) && x->idempotent;
    bool body_gone = x->up.bytes > 0 || (x->has_body && x->request_done); /* its end is, too */
    if (!x->head || lease_has_input(l) || body_gone || (!refused && !stale && !wanted))
        return false;
    close_upstream(w, x);
    /* The closing connection may have it with the kernel: the bytes stay, the cursor does not. */
    struct block *copy = block_take(&w->blocks, x->head->end - x->head_start, false);
    if (!copy) {
        fail(w, x, 502);
        return true;
    }
    block_append(copy, x->head->data + x->head_start, x->head->end - x->head_start);
    drop_head(w, x);
    x->head = copy;
    x->head_start = copy->start;
    x->reused = false;
    x->retried = true;
    if (refused) /* nothing speaks against the address that it was dialled for */
        x->addresses_tried = 0;
    set_phase(x, EXCHANGE_PHASE_CONNECT);
    if (refused || stale)
        report_add(w->report, REPORT_UPSTREAM_RETRIES, 1);
    if (refused && take_lease(w, x))
        send_head(w, x, lease_of(w, x));
    else if (refused || stale || start_over(w, x))
        dial(w, x);
    return true;
}

/* ---- request: client to upstream ------------------------------------------------------------ */

/* False when the exchange has ended. */
static bool pump_request(struct worker *w, struct exchange *x, struct stream *s, struct lease *l)
{
    if (x->request_done || lease_is_deaf(l))
        return true;
    struct sink sink = lease_sink(w, l);
    enum relay_state state;
    uint64_t passed = x->up.bytes;
    struct source from;
    uint32_t before, after;
    do { /* filling stops at a bound, so there may be more behind what was used up */
        if (!stream_fill(w, s))
            return false; /* closing the conn cancelled the exchange */
        from = stream_source(w, s);
        before = from.in->bytes;
        state = relay_pump(&x->up, &from, &sink);
        after = from.in->bytes;
    } while (state == RELAY_MORE && after != before && stream_fills_again(s));
    if (state == RELAY_MORE && shunt_body(w, &x->up, &from, stream_wire(s), lease_wire(l)))
        state = relay_pump(&x->up, &from, &sink);
    sink_flush(&sink);
    if (x->up.bytes != passed)
        stream_took(w, s, x->up.bytes - passed);
    switch (state) {
    case RELAY_END:
        x->request_done = true;
        lease_request_done(w, l, relay_trailers(&x->up));
        stream_limit_in(w, s, 0);
        if (x->phase == EXCHANGE_PHASE_WAIT)
            limit_answer(w, x, l);
        return true;
    case RELAY_BAD:
        rules_count(w->report, stream_broken_rule(s), false);
        fail_client(w, x, stream_broken_rule(s)->status);
        return false;
    case RELAY_FAILED:
        fail(w, x, 503);
        return false;
    default:
        return true;
    }
}

/* ---- response: upstream to client ----------------------------------------------------------- */

/* The final head: from here on only the upstream can complete the response. */
static bool pass_head(struct worker *w, struct exchange *x, struct stream *s, struct lease *l,
                      struct http_head *head, struct sink *sink)
{
    enum http_body framing = stream_framing(s, head);
    char memory[SNAP_SERVICE_LEVELS * 800];
    struct writer cookies = writer_of(memory, sizeof memory);
    pick_note(w, x->service, x->server, head->status < 500);
    pick_note_time(x->server, w->now_ns - x->asked_ns);
    if (!pick_set_cookies(&x->pick, head, &cookies))
        return false;
    middleware_response(x->snapshot, &x->notes, head);
    if (!stream_respond(w, s, head, framing, x->request_done, sink))
        return false;
    relay_init(&x->down, framing);
    x->answer_bytes = head->body == HTTP_BODY_LENGTH ? head->content_length : UINT64_MAX;
    x->upstream_keeps = head->keep_alive;
    x->status = head->status;
    if (x->log)
        access_head(w, x, head);
    set_phase(x, EXCHANGE_PHASE_RELAY);
    drop_head(w, x);
    lease_limit_clear(l);
    conn_count_status(w, head->status);
    return true;
}

/* The upstream's 101. False: it cannot be passed on. */
static bool begin_tunnel(struct worker *w, struct exchange *x, struct stream *s, struct lease *l,
                         struct http_head *head, struct sink *sink)
{
    if (x->log)
        access_head(w, x, head);
    enum http_body framing = stream_switch(s, head);
    if (!stream_respond(w, s, head, framing, true, sink))
        return false;
    x->status = head->status;
    conn_count_status(w, head->status);
    if (s->version == STREAM_HTTP2)
        report_add(w->report, REPORT_TUNNELS_H2, 1);
    become_tunnel(w, x, s, l);
    return true;
}

/* A head of 100 to 199. */
static bool pass_interim(struct worker *w, struct exchange *x, struct stream *s, struct lease *l,
                         struct http_head *head, struct sink *sink)
{
    drop_head(w, x); /* something came back: no second try */
    if (head->status == 101)
        return begin_tunnel(w, x, s, l, head, sink);
    return stream_respond(w, s, head, HTTP_BODY_NONE, x->request_done, sink);
}

enum head_state {
    HEAD_MORE,
    HEAD_DONE,
    HEAD_BAD,
    HEAD_UNASKED,  /* a 101 to something else than was asked for */
    HEAD_DECLINED, /* success, and no tunnel, for a client to whom success is one */
    HEAD_FAILED,   /* it cannot be passed on */
};

/* Reads response heads until the final one; those of 100 to 199 are passed on (RFC 9110 section
 * 15.2). */
static enum head_state read_heads(struct worker *w, struct exchange *x, struct stream *s,
                                  struct lease *l, struct sink *sink)
{
    for (;;) {
        struct http_head *head;
        enum http_event_kind kind = lease_head(w, l, &head);
        if (kind != HTTP_EVENT_HEAD)
            return kind == HTTP_EVENT_MORE ? HEAD_MORE : HEAD_BAD;
        bool ok, last = head->status >= 200 || head->status == 101;
        if (head->status == 101 && !tunnel_agrees(&x->tunnel, head))
            return HEAD_UNASKED;
        if (x->tunnel.connect && head->status >= 200 && head->status < 300)
            return HEAD_DECLINED;
        if (head->status >= 200)
            ok = pass_head(w, x, s, l, head, sink);
        else
            ok = pass_interim(w, x, s, l, head, sink);
        lease_head_taken(w, l);
        if (last || !ok)
            return ok ? HEAD_DONE : HEAD_FAILED;
    }
}

/* The response's head ends the exchange. */
static void fail_head(struct worker *w, struct exchange *x, const struct lease *l,
                      enum head_state state)
{
    if (state == HEAD_BAD) {
        fail_bad(w, x, l);
        return;
    }
    if (state == HEAD_UNASKED)
        rules_count(w->report, rules_reject(HTTP_RULE_switch_unasked), true);
    else if (state == HEAD_DECLINED)
        rules_count(w->report, rules_reject(HTTP_RULE_switch_declined), true);
    fail(w, x, 502);
}

/* The upstream's side is at its end, and all that it sent was looked at. False: the exchange has
 * ended. */
static bool upstream_ended(struct worker *w, struct exchange *x, struct lease *l,
                           const struct source *from)
{
    if (!lease_is_over(l))
        return true;
    if (x->phase == EXCHANGE_PHASE_WAIT) {
        if (lease_has_input(l))
            fail_bad(w, x, l);
        else if (!retry(w, x, l))
            fail(w, x, 502);
        return false;
    }
    x->upstream_keeps = false;
    if (!lease_is_broken(l) && relay_eof(&x->down, from))
        return true;
    if (lease_is_broken(l))
        fail(w, x, 502);
    else
        fail_bad(w, x, l);
    return false;
}

/* False when the exchange has ended. */
static bool pump_response(struct worker *w, struct exchange *x, struct stream *s, struct lease *l)
{
    struct sink sink = stream_sink(w, s);
    lease_fill(w, l);
    if (x->phase == EXCHANGE_PHASE_WAIT) {
        if (lease_has_input(l) && sink_room(&sink, 1) == 0)
            return true; /* the client is slow with what it got before, or no block is free */
        enum head_state heads = read_heads(w, x, s, l, &sink);
        if (heads >= HEAD_BAD) {
            fail_head(w, x, l, heads);
            return false;
        }
        if (x->phase == EXCHANGE_PHASE_TUNNEL) {
            sink_flush(&sink);
            exchange_turn(w, x); /* what came with the head */
            return false;
        }
    }
    struct source from = lease_source(l);
    enum relay_state state = RELAY_MORE;
    uint64_t passed = x->down.bytes;
    while (x->phase == EXCHANGE_PHASE_RELAY) { /* filling stops at a bound, as with the request */
        state = relay_pump(&x->down, &from, &sink);
        uint32_t left = from.in->bytes;
        if (state != RELAY_MORE || !lease_fills_again(l))
            break;
        lease_fill(w, l);
        if (from.in->bytes == left)
            break;
    }
    if (state == RELAY_MORE) {
        bool was_relay = x->phase == EXCHANGE_PHASE_RELAY;
        bool moved = was_relay && shunt_body(w, &x->down, &from, lease_wire(l), stream_wire(s));
        if (!upstream_ended(w, x, l, &from))
            return false;
        if (was_relay && (x->down.ended || moved))
            state = relay_pump(&x->down, &from, &sink);
    }
    if (x->down.bytes != passed)
        lease_took(w, l, x->down.bytes - passed);
    if (state != RELAY_BAD)
        sink_flush(&sink);
    if (state == RELAY_BAD || sink.failed) {
        if (state == RELAY_BAD)
            fail_bad(w, x, l);
        else
            fail(w, x, 502);
        return false;
    }
    if (state == RELAY_END) {
        finish(w, x, s, l);
        return false;
    }
    return true;
}

/* ---- both ----------------------------------------------------------------------------------- */

static enum stream_want want_of_client(const struct exchange *x, struct stream *s,
                                       const struct lease *l)
{
    if (x->request_done || x->phase <= EXCHANGE_PHASE_CONNECT)
        return STREAM_WANT_WATCH;
    if (x->up.full || lease_is_full(l) || lease_is_deaf(l))
        return STREAM_WANT_NOTHING;
    if (x->up.shunted)
        return shunt_waits(stream_wire(s)) ? STREAM_WANT_NOTHING : STREAM_WANT_POLL;
    return relay_is_large(&x->up, x->body_bytes) ? STREAM_WANT_LARGE : STREAM_WANT_SMALL;
}

static enum wire_want want_of_upstream(struct worker *w, const struct exchange *x, struct stream *s,
                                       struct lease *l)
{
    if (x->phase == EXCHANGE_PHASE_WAIT)
        return lease_want_head(l);
    if (x->down.full || stream_is_full(w, s))
        return WIRE_WANT_NOTHING;
    if (x->down.shunted)
        return shunt_waits(lease_wire(l)) ? WIRE_WANT_NOTHING : WIRE_WANT_POLL;
    bool large = x->server->large >= POOL_LARGE || relay_is_large(&x->down, x->answer_bytes);
    return large ? WIRE_WANT_LARGE : WIRE_WANT_SMALL;
}

/* The client sends nothing more. Behind a whole request that may be a half-close: its answer is
 * still wanted, for a while. Bytes that the codec has looked at and left are the begin of a trailer
 * section without end. */
static bool client_may_wait(struct worker *w, const struct exchange *x, struct stream *s)
{
    bool untouched = x->phase <= EXCHANGE_PHASE_CONNECT || x->up.full;
    if (x->has_body && !x->request_done && !stream_may_hold_more(w, s, untouched))
        return false;
    /* Each turn of the response counts as getting on. */
    stream_await(w, s, x->phase == EXCHANGE_PHASE_RELAY);
    return true;
}

/* While the client takes more, the upstream has to get on: with its response, or with the request.
 * Its time for a head begins anew with each piece that it takes of a request's end in a pipe. */
static void limit_progress(struct worker *w, const struct exchange *x, struct lease *l,
                           uint64_t moved, enum wire_want want)
{
    if (x->phase == EXCHANGE_PHASE_WAIT && x->request_done && shunt_takes_rest(lease_wire(l)))
        limit_answer(w, x, l);
    if (x->phase != EXCHANGE_PHASE_RELAY)
        return;
    bool known = x->answer_bytes != UINT64_MAX;
    uint32_t ms = known ? x->service->body_timeout_ms : x->service->stream_timeout_ms;
    if (want == WIRE_WANT_NOTHING)
        lease_limit_clear(l);
    else if (moved != x->up.bytes + x->down.bytes || !lease_is_limited(l))
        lease_limit(w, l, ms);
}

/* Where the whole request has no limit, each piece of its body has the idle time to come while it
 * is waited for. Once the upstream answers, the two may talk as slowly as they like. */
static void limit_body(struct worker *w, const struct exchange *x, struct stream *s, uint64_t moved,
                       enum stream_want want)
{
    const struct snap_entrypoint *ep = conn_entrypoint(w, stream_conn(w, s));
    if (x->request_done || !ep || ep->read_timeout_ms)
        return;
    if (want == STREAM_WANT_NOTHING || x->phase != EXCHANGE_PHASE_WAIT)
        stream_limit_in(w, s, 0);
    else if (moved != x->up.bytes || !stream_is_limited_in(s))
        stream_limit_in(w, s, ep->idle_timeout_ms ? ep->idle_timeout_ms : STALL_MS);
}

static void turn_tunnel(struct worker *w, struct exchange *x)
{
    switch (tunnel_turn(w, &x->tunnel, stream_of(w, x), lease_of(w, x))) {
    case TUNNEL_GOES_ON:
    case TUNNEL_GONE:
        break;
    case TUNNEL_OVER:
        finish_tunnel(w, x);
        break;
    case TUNNEL_BROKEN:
        fail(w, x, 502);
        break;
    }
}

void exchange_turn(struct worker *w, struct exchange *x)
{
    if (x->phase == EXCHANGE_PHASE_TUNNEL) {
        turn_tunnel(w, x);
        return;
    }
    struct stream *s = stream_of(w, x);
    struct lease *l = NULL;
    enum wire_want want = WIRE_WANT_NOTHING;
    uint64_t moved_up = x->up.bytes, moved = moved_up + x->down.bytes;
    if (x->phase > EXCHANGE_PHASE_CONNECT) {
        l = lease_of(w, x);
        must(l);
        if (!pump_request(w, x, s, l) || !pump_response(w, x, s, l))
            return;
        want = want_of_upstream(w, x, s, l);
        limit_progress(w, x, l, moved, want);
    }
    enum stream_want want_up = want_of_client(x, s, l);
    limit_body(w, x, s, moved_up, want_up);
    if (stream_is_half_closed(w, s) && !client_may_wait(w, x, s)) {
        rules_count(w->report, rules_reject(HTTP_RULE_truncated), false);
        stream_hang_up(w, s);
        return;
    }
    stream_settle(w, s, want_up);
    if (l)
        lease_settle(w, l, want);
}

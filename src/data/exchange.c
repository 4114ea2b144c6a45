/* SPDX-License-Identifier: Apache-2.0 */
#include "data/exchange.h"

#include "data/upstream/dial.h"

/* A body of which more than this is to come is received into large buffers. */
#define LARGE_REST 32768u
/* How long nothing may come of an answer whose client has closed its side. */
#define HALF_CLOSED_MS 30000u
/* A body of unknown length counts as large from here on. */
#define LARGE_SO_FAR 16384u

static const uint8_t allowed[EXCHANGE_PHASES] = {
#define TO(phase) (1u << EXCHANGE_PHASE_##phase)
    [EXCHANGE_PHASE_FREE] = TO(CONNECT),
    [EXCHANGE_PHASE_CONNECT] = TO(WAIT) | TO(FREE),
    [EXCHANGE_PHASE_WAIT] = TO(RELAY) | TO(CONNECT) /* the second try */ | TO(FREE),
    [EXCHANGE_PHASE_RELAY] = TO(FREE),
#undef TO
};

static void set_phase(struct exchange *x, enum exchange_phase to)
{
    must(allowed[x->phase] & 1u << to);
    x->phase = (uint8_t)to;
}

static struct conn *conn_of(struct worker *w, const struct exchange *x)
{
    struct conn *conn = slab_get(&w->conns, x->conn.index, x->conn.gen);
    must(conn && conn->exchange.gen == x->self.gen);
    return conn;
}

static struct upconn *upconn_of(struct worker *w, const struct exchange *x)
{
    return slab_get(&w->upconns, x->upconn.index, x->upconn.gen);
}

static void drop_head(struct worker *w, struct exchange *x)
{
    if (x->head)
        block_give_back(&w->blocks, x->head);
    x->head = NULL;
}

struct exchange *exchange_open(struct worker *w, struct conn *conn, const struct http_head *head,
                               uint32_t server)
{
    uint32_t index;
    struct exchange *x = slab_take(&w->exchanges, &index);
    if (!x)
        return NULL;
    x->self = (struct handle){index, slab_gen(&w->exchanges, index)};
    x->conn = (struct handle){conn->wire.id.slot, conn->wire.id.gen};
    conn->exchange = x->self;
    x->snapshot = w->snapshot;
    reader_pin(w->reader, x->snapshot);
    x->server = w->pool.servers[server];
    x->server_index = server;
    pool_hold(x->server);
    x->method = (uint8_t)head->method;
    x->client_minor = head->minor;
    x->has_body = head->body == HTTP_BODY_CHUNKED || head->content_length > 0;
    x->body_bytes = head->body == HTTP_BODY_LENGTH ? head->content_length : UINT64_MAX;
    x->idempotent = head->method == HTTP_GET || head->method == HTTP_HEAD ||
                    head->method == HTTP_PUT || head->method == HTTP_DELETE ||
                    head->method == HTTP_OPTIONS || head->method == HTTP_TRACE;
    relay_init(&x->up, head->body);
    set_phase(x, EXCHANGE_PHASE_CONNECT);
    return x;
}

/* ---- the end -------------------------------------------------------------------------------- */

static void close_upstream(struct worker *w, struct exchange *x)
{
    struct upconn *upconn = upconn_of(w, x);
    if (upconn)
        upconn_close_begin(w, upconn);
    x->upconn = (struct handle){0};
}

/* Gives everything back but the upstream's connection. */
static void release(struct worker *w, struct exchange *x)
{
    drop_head(w, x);
    relay_fini(&x->up, &w->blocks);
    relay_fini(&x->down, &w->blocks);
    reader_unpin(w->reader, x->snapshot);
    pool_drop(x->server);
    set_phase(x, EXCHANGE_PHASE_FREE);
    slab_give_back(&w->exchanges, x->self.index);
}

void exchange_cancel(struct worker *w, struct exchange *x)
{
    close_upstream(w, x);
    release(w, x);
}

/* The upstream failed: an answer of our own while that is possible, else an abort. */
static void fail(struct worker *w, struct exchange *x, uint16_t status)
{
    struct conn *conn = conn_of(w, x);
    bool passed = x->phase == EXCHANGE_PHASE_RELAY, whole = x->request_done || !x->has_body;
    report_add(w->report, REPORT_UPSTREAM_FAILED, 1);
    conn->exchange = (struct handle){0};
    exchange_cancel(w, x);
    if (passed)
        conn_abort(w, conn);
    else
        conn_reply(w, conn, status, (struct span){0}, whole);
}

/* The client broke the protocol, or was too slow. */
static void fail_client(struct worker *w, struct exchange *x, uint16_t status)
{
    struct conn *conn = conn_of(w, x);
    bool passed = x->phase == EXCHANGE_PHASE_RELAY;
    conn->exchange = (struct handle){0};
    exchange_cancel(w, x);
    if (passed)
        conn_abort(w, conn);
    else
        conn_reply(w, conn, status, (struct span){0}, false);
}

static void finish(struct worker *w, struct exchange *x)
{
    struct conn *conn = conn_of(w, x);
    struct upconn *upconn = upconn_of(w, x);
    bool whole = x->request_done;
    const struct snap_service *service = x->service;
    pool_note_body(x->server, x->down.bytes);
    upconn_release(w, upconn, x->upstream_keeps && whole, service->idle_timeout_ms,
                   service->max_idle_per_server);
    x->upconn = (struct handle){0};
    release(w, x);
    conn_response_done(w, conn, whole);
}

void exchange_client_timeout(struct worker *w, struct exchange *x)
{
    fail_client(w, x, 408);
}

void exchange_upstream_timeout(struct worker *w, struct exchange *x)
{
    if (x->phase == EXCHANGE_PHASE_CONNECT)
        x->server->rest_until_ns = w->now_ns + DIAL_REST_NS;
    fail(w, x, 504);
}

/* ---- the upstream's connection -------------------------------------------------------------- */

/* The request is out: from here on the upstream's time runs. */
static void limit_answer(struct worker *w, const struct exchange *x, struct upconn *upconn)
{
    limit_set_ms(&w->wheel, &upconn->limit, w->now_ns, x->service->response_header_timeout_ms);
}

/* Queues the head for the connection that now stands. A second reference keeps it for a second
 * try. */
static void send_head(struct worker *w, struct exchange *x, struct upconn *upconn)
{
    set_phase(x, EXCHANGE_PHASE_WAIT);
    h1_expect(&upconn->h1, (enum http_method)x->method);
    bool keep = x->reused && x->idempotent && !x->has_body && !x->retried;
    if (keep)
        x->head->refs++;
    wire_push(&upconn->wire, x->head);
    if (!keep)
        x->head = NULL;
    upconn->wire.want = upconn_want(upconn);
    if (x->request_done)
        limit_answer(w, x, upconn);
}

static void dial(struct worker *w, struct exchange *x)
{
    struct result r = dial_start(w, x);
    if (!result_is_ok(r))
        fail(w, x, r.code == ERR_NO_SLOT ? 503 : 502);
}

/* Nothing was sent yet: the next address of the server, or another server, may do. */
void exchange_connect_failed(struct worker *w, struct exchange *x)
{
    x->upconn = (struct handle){0};
    dial(w, x);
}

void exchange_start(struct worker *w, struct exchange *x, struct block *head)
{
    must(x->phase == EXCHANGE_PHASE_CONNECT && !x->head);
    x->head = head;
    x->head_start = head->start;
    struct upconn *upconn = pool_take(w, x->server);
    if (!upconn) {
        dial(w, x);
        return;
    }
    x->reused = true;
    x->upconn = (struct handle){upconn->wire.id.slot, upconn->wire.id.gen};
    upconn_lease(w, upconn, x->self);
    send_head(w, x, upconn);
}

void exchange_connected(struct worker *w, struct exchange *x)
{
    struct upconn *upconn = upconn_of(w, x);
    must(upconn && x->phase == EXCHANGE_PHASE_CONNECT);
    send_head(w, x, upconn);
    exchange_turn(w, x);
}

/* The kept connection turned out to be dead before anything came back: once more on a fresh one.
 * False: not for this request. */
static bool retry(struct worker *w, struct exchange *x, struct upconn *upconn)
{
    if (!x->head || !x->reused || x->retried || upconn->wire.received.first)
        return false;
    report_add(w->report, REPORT_UPSTREAM_RETRIES, 1);
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
    set_phase(x, EXCHANGE_PHASE_CONNECT);
    dial(w, x);
    return true;
}

/* ---- request: client to upstream ------------------------------------------------------------ */

/* False when the exchange has ended. */
static bool pump_request(struct worker *w, struct exchange *x, struct conn *conn,
                         struct upconn *upconn)
{
    if (x->request_done || upconn->wire.send_failed)
        return true;
    struct sink sink = sink_of(w, &upconn->wire, NULL);
    enum relay_state state;
    uint32_t before, after;
    do { /* decryption stops at a bound, so there may be more behind what was used up */
        if (!conn_fill(w, conn))
            return false; /* closing the conn cancelled the exchange */
        before = conn_input(conn)->bytes;
        state = relay_pump(&x->up, &conn->h1, conn_input(conn), &sink);
        after = conn_input(conn)->bytes;
    } while (state == RELAY_MORE && conn->tls && after != before);
    sink_flush(&sink);
    switch (state) {
    case RELAY_END:
        x->request_done = true;
        limit_clear(&conn->in);
        if (x->phase == EXCHANGE_PHASE_WAIT)
            limit_answer(w, x, upconn);
        return true;
    case RELAY_BAD:
        report_add(w->report, REPORT_REQUESTS_BAD, 1);
        fail_client(w, x, 400);
        return false;
    case RELAY_FAILED:
        fail(w, x, 503);
        return false;
    default:
        return true;
    }
}

/* ---- response: upstream to client ----------------------------------------------------------- */

static enum http_body framing_for(const struct http_head *head, uint8_t client_minor)
{
    if (head->body == HTTP_BODY_NONE || head->body == HTTP_BODY_LENGTH)
        return head->body;
    return client_minor == 0 ? HTTP_BODY_UNTIL_CLOSE : HTTP_BODY_CHUNKED;
}

/* Writes a response head with as much room as it needs. */
static bool put_head(struct sink *sink, struct exchange *x, const struct http_head *head,
                     enum http_body framing, bool keep)
{
    static const uint32_t rooms[] = {2048, BLOCK_RECORD_BYTES - 4096, WORKER_STAGE_BYTES - 4096};
    for (size_t i = 0; i < sizeof rooms / sizeof *rooms; i++) {
        struct writer out = sink_writer(sink, rooms[i]);
        if (out.bad)
            return false;
        if (result_is_ok(
                h1_write_response(head, x->client_minor, framing, keep, (struct span){0}, &out))) {
            sink_commit(sink, &out);
            return true;
        }
    }
    return false;
}

/* The final head: from here on only the upstream can complete the response. */
static bool pass_head(struct worker *w, struct exchange *x, struct conn *conn,
                      struct upconn *upconn, const struct http_head *head, struct sink *sink)
{
    enum http_body framing = framing_for(head, x->client_minor);
    if (framing == HTTP_BODY_UNTIL_CLOSE || !x->request_done || worker_is_draining(w))
        conn->close_after = true;
    if (!put_head(sink, x, head, framing, !conn->close_after))
        return false;
    relay_init(&x->down, framing);
    x->answer_bytes = head->body == HTTP_BODY_LENGTH ? head->content_length : UINT64_MAX;
    x->upstream_keeps = head->keep_alive;
    set_phase(x, EXCHANGE_PHASE_RELAY);
    drop_head(w, x);
    limit_clear(&upconn->limit);
    conn_count_status(w, head->status);
    return true;
}

enum head_state { HEAD_MORE, HEAD_DONE, HEAD_BAD };

/* Reads response heads until the final one; those of 100 to 199 are passed on (RFC 9110 section
 * 15.2). */
static enum head_state read_heads(struct worker *w, struct exchange *x, struct conn *conn,
                                  struct upconn *upconn, struct sink *sink)
{
    struct block_queue *in = &upconn->wire.received;
    while (in->first) {
        size_t used = 0;
        struct http_event ev = h1_feed(&upconn->h1, block_span(in->first), &used);
        if (ev.kind == HTTP_EVENT_HEAD && ev.head->status >= 200) {
            bool ok = pass_head(w, x, conn, upconn, ev.head, sink);
            block_queue_take(&w->blocks, in, (uint32_t)used);
            return ok ? HEAD_DONE : HEAD_BAD;
        }
        if (ev.kind == HTTP_EVENT_HEAD) {
            bool switches = ev.head->status == 101; /* nobody asked for it */
            drop_head(w, x);                        /* something came back: no second try */
            bool ok = !switches &&
                      (x->client_minor == 0 || put_head(sink, x, ev.head, HTTP_BODY_NONE, true));
            block_queue_take(&w->blocks, in, (uint32_t)used);
            if (!ok)
                return HEAD_BAD;
            continue;
        }
        if (ev.kind == HTTP_EVENT_END) { /* of an interim response */
            block_queue_take(&w->blocks, in, (uint32_t)used);
            h1_next(&upconn->h1);
            h1_expect(&upconn->h1, (enum http_method)x->method);
            continue;
        }
        if (ev.kind != HTTP_EVENT_MORE)
            return HEAD_BAD;
        bool more = in->first->next;
        if ((more || block_is_lent(in->first)) &&
            !result_is_ok(block_queue_gather(&w->blocks, in, UPCONN_HEAD_MAX)))
            return HEAD_BAD;
        if (!more)
            return HEAD_MORE;
    }
    return HEAD_MORE;
}

/* The upstream's side is at its end, and all that it sent was looked at. False: the exchange has
 * ended. */
static bool upstream_ended(struct worker *w, struct exchange *x, struct upconn *upconn)
{
    if (!upconn->wire.eof && !upconn->wire.recv_failed)
        return true;
    if (x->phase == EXCHANGE_PHASE_WAIT) {
        if (!retry(w, x, upconn))
            fail(w, x, 502);
        return false;
    }
    x->upstream_keeps = false;
    if (upconn->wire.recv_failed || !relay_eof(&x->down, &upconn->h1)) {
        fail(w, x, 502);
        return false;
    }
    return true;
}

/* False when the exchange has ended. */
static bool pump_response(struct worker *w, struct exchange *x, struct conn *conn,
                          struct upconn *upconn)
{
    struct sink sink = conn_sink(w, conn);
    if (x->phase == EXCHANGE_PHASE_WAIT) {
        if (upconn->wire.received.first && sink_room(&sink, 1) == 0)
            return true; /* the client is slow with what it got before, or no block is free */
        enum head_state heads = read_heads(w, x, conn, upconn, &sink);
        if (heads == HEAD_BAD) {
            fail(w, x, 502);
            return false;
        }
    }
    enum relay_state state = RELAY_MORE;
    if (x->phase == EXCHANGE_PHASE_RELAY)
        state = relay_pump(&x->down, &upconn->h1, &upconn->wire.received, &sink);
    if (state == RELAY_MORE) {
        bool was_relay = x->phase == EXCHANGE_PHASE_RELAY;
        if (!upstream_ended(w, x, upconn))
            return false;
        if (was_relay && x->down.ended)
            state = relay_pump(&x->down, &upconn->h1, &upconn->wire.received, &sink);
    }
    if (state != RELAY_BAD)
        sink_flush(&sink);
    if (state == RELAY_BAD || sink.failed) {
        fail(w, x, 502);
        return false;
    }
    if (state == RELAY_END) {
        finish(w, x);
        return false;
    }
    return true;
}

/* ---- both ----------------------------------------------------------------------------------- */

static enum wire_want want_of_client(const struct exchange *x, struct conn *conn,
                                     const struct upconn *upconn)
{
    uint32_t waiting = conn->wire.received.bytes + conn->plain.bytes;
    if (x->request_done || x->phase == EXCHANGE_PHASE_CONNECT)
        return waiting > WIRE_RECV_HIGH ? WIRE_WANT_NOTHING : WIRE_WANT_SMALL;
    if (x->up.full || wire_send_is_full(&upconn->wire) || upconn->wire.send_failed ||
        waiting > CONN_HEAD_MAX) /* what nobody takes must not pile up */
        return WIRE_WANT_NOTHING;
    uint64_t rest = x->body_bytes == UINT64_MAX ? x->up.bytes > LARGE_SO_FAR ? UINT64_MAX : 0
                                                : x->body_bytes - x->up.bytes;
    return rest > LARGE_REST ? WIRE_WANT_LARGE : WIRE_WANT_SMALL;
}

static enum wire_want want_of_upstream(const struct exchange *x, const struct conn *conn,
                                       const struct upconn *upconn)
{
    if (x->phase == EXCHANGE_PHASE_WAIT)
        return (enum wire_want)upconn->wire.want;
    if (x->down.full || wire_send_is_full(&conn->wire))
        return WIRE_WANT_NOTHING;
    if (x->server->large >= POOL_LARGE)
        return WIRE_WANT_LARGE;
    uint64_t rest = x->answer_bytes == UINT64_MAX ? x->down.bytes > LARGE_SO_FAR ? UINT64_MAX : 0
                                                  : x->answer_bytes - x->down.bytes;
    return rest > LARGE_REST ? WIRE_WANT_LARGE : WIRE_WANT_SMALL;
}

/* Whether what the client sent may hold the rest of its request. Bytes that the codec has looked at
 * and left are the begin of a trailer section without end. */
static bool rest_may_be_here(const struct exchange *x, struct conn *conn)
{
    bool waits = x->phase == EXCHANGE_PHASE_CONNECT || x->up.full;
    return (waits && conn_input(conn)->bytes > 0) || (conn->tls && conn->wire.received.first);
}

/* The client sends nothing more. Behind a whole request that may be a half-close: its answer is
 * still wanted, for a while. */
static bool client_may_wait(struct worker *w, const struct exchange *x, struct conn *conn)
{
    if (x->has_body && !x->request_done && !rest_may_be_here(x, conn))
        return false;
    /* Each turn of the response counts as getting on. */
    if (x->phase == EXCHANGE_PHASE_RELAY || conn->in.at_ns == TIMER_NO_LIMIT)
        limit_set_ms(&w->wheel, &conn->in, w->now_ns, HALF_CLOSED_MS);
    conn->close_after = true;
    return true;
}

void exchange_turn(struct worker *w, struct exchange *x)
{
    struct conn *conn = conn_of(w, x);
    struct upconn *upconn = NULL;
    if (x->phase != EXCHANGE_PHASE_CONNECT) {
        upconn = upconn_of(w, x);
        must(upconn);
        if (!pump_request(w, x, conn, upconn) || !pump_response(w, x, conn, upconn))
            return;
        upconn->wire.want = (uint8_t)want_of_upstream(x, conn, upconn);
    }
    if (conn->wire.eof && !client_may_wait(w, x, conn)) {
        conn_close_begin(w, conn);
        return;
    }
    conn_settle(w, conn, want_of_client(x, conn, upconn));
    if (upconn)
        wire_settle(w, &upconn->wire);
}

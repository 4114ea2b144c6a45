/* SPDX-License-Identifier: Apache-2.0 */
#include "data/conn.h"

#include "base/clock.h"
#include "data/cold_wait.h"
#include "data/exchange.h"
#include "data/h2_conn.h"
#include "data/handshake.h"
#include "data/http/rules.h"
#include "data/request.h"
#include "data/tcp.h"
#include "data/tls/session.h"

/* How long a client may go on sending after our last byte. */
#define LINGER_MS 2000
/* How long a send may make no progress where the entry point has no idle limit. */
#define STALL_MS 180000ull
/* While draining: how long a client that has not asked yet may take to. Its request may be under
 * way already, and it could not know whether it was served. */
#define FIRST_REQUEST_MS 1000u

static const uint16_t allowed[CONN_PHASES] = {
#define TO(phase) (1u << CONN_PHASE_##phase)
    [CONN_PHASE_FREE] = TO(PROXY) | TO(HELLO) | TO(IDLE),
    [CONN_PHASE_PROXY] = TO(HELLO) | TO(IDLE) | TO(CLOSING),
    [CONN_PHASE_HELLO] = TO(HANDSHAKE) | TO(IDLE) | TO(EXCHANGE) | TO(FLUSH) | TO(CLOSING),
    [CONN_PHASE_HANDSHAKE] = TO(IDLE) | TO(EXCHANGE) | TO(FLUSH) | TO(CLOSING),
    [CONN_PHASE_IDLE] = TO(HEAD) | TO(H2) | TO(EXCHANGE) | TO(FLUSH) | TO(CLOSING),
    [CONN_PHASE_HEAD] = TO(H2) | TO(EXCHANGE) | TO(FLUSH) | TO(CLOSING),
    [CONN_PHASE_EXCHANGE] = TO(FLUSH) | TO(CLOSING),
    [CONN_PHASE_H2] = TO(FLUSH) | TO(CLOSING),
    [CONN_PHASE_FLUSH] = TO(IDLE) | TO(LINGER) | TO(CLOSING),
    [CONN_PHASE_LINGER] = TO(CLOSING),
    [CONN_PHASE_CLOSING] = TO(FREE),
#undef TO
};

static void set_phase(struct conn *conn, enum conn_phase to)
{
    must(allowed[conn->phase] & 1u << to);
    conn->phase = (uint8_t)to;
}

const struct snap_entrypoint *conn_entrypoint(const struct worker *w, const struct conn *conn)
{
    return w->listeners[conn->listener].entrypoint;
}

/* One of the entry point's limits, from the present moment. */
static void limit_in(struct worker *w, struct conn *conn, uint32_t ms)
{
    limit_set_ms(&w->wheel, &conn->in, w->now_ns, ms);
}

static void become_idle(struct worker *w, struct conn *conn)
{
    const struct snap_entrypoint *ep = conn_entrypoint(w, conn);
    set_phase(conn, CONN_PHASE_IDLE);
    limit_in(w, conn, ep ? ep->idle_timeout_ms : 1000);
}

static uint32_t head_max_of(const struct snap_entrypoint *ep)
{
    uint32_t max = ep->head_max_bytes;
    return max > CONN_HEAD_MAX ? CONN_HEAD_MAX : max < CONN_HEAD_MIN ? CONN_HEAD_MIN : max;
}

/* ---- whose it is ----------------------------------------------------------------------------- */

/* Its exchange takes it. */
static void start_tcp(struct worker *w, struct conn *conn)
{
    struct exchange *x =
        slab_get(&w->exchanges, conn->stream.exchange.index, conn->stream.exchange.gen);
    must(x);
    set_phase(conn, CONN_PHASE_EXCHANGE);
    limit_clear(&conn->in);
    exchange_start_tcp(w, x);
}

void conn_tcp_begin(struct worker *w, struct conn *conn, const struct snap_router *router,
                    struct span name)
{
    if (tcp_open(w, conn, router, name))
        start_tcp(w, conn);
    else
        conn_close_begin(w, conn);
}

void conn_is_plain(struct worker *w, struct conn *conn)
{
    const struct snap_entrypoint *ep = conn_entrypoint(w, conn);
    const struct snap_router *router = tcp_route(w, conn, NULL);
    conn->is_tls = false;
    if (router)
        conn_tcp_begin(w, conn, router, (struct span){0});
    else if (ep && !ep->tls)
        become_idle(w, conn);
    else
        conn_close_begin(w, conn);
}

/* The connection's own bytes begin. */
static void begin(struct worker *w, struct conn *conn, const struct snap_entrypoint *ep)
{
    if (ep->tls || ep->tcp_tls) {
        conn->is_tls = true;
        set_phase(conn, CONN_PHASE_HELLO);
        limit_in(w, conn, ep->handshake_timeout_ms);
        return;
    }
    become_idle(w, conn);
    /* Without any TLS there is nothing to wait for: the server may be the one to speak first. */
    const struct snap_router *router = tcp_route(w, conn, NULL);
    if (router)
        conn_tcp_begin(w, conn, router, (struct span){0});
}

static void count_in(struct conn *conn, struct series_cell *open)
{
    if (conn->open)
        series_add(&conn->open->buckets[0], (uint64_t)-1);
    if (open)
        series_add(&open->buckets[0], 1);
    conn->open = open;
}

void conn_count_open(struct worker *w, struct conn *conn)
{
    count_in(conn, w->listeners[conn->listener].open);
}

bool conn_open(struct worker *w, const struct listener *l, int fd)
{
    const struct snap_entrypoint *ep = l->entrypoint;
    uint32_t index;
    struct conn *conn = slab_take(&w->conns, &index);
    if (!conn)
        return false;
    wire_open(
        &conn->wire, fd,
        (struct op_id){.owner = OP_OWNER_CONN, .slot = index, .gen = slab_gen(&w->conns, index)});
    conn->listener = (uint16_t)l->index;
    conn->opened_ns = w->now_ns;
    conn->stream.version = STREAM_HTTP1;
    conn->send_limit_ns = TIMER_NO_LIMIT;
    list_init(&conn->hello);
    limit_init(&conn->in, WORKER_LIMIT_CONN_IN);
    limit_init(&conn->out, WORKER_LIMIT_CONN_OUT);
    h1_init(&conn->h1, H1_SERVER, head_max_of(ep), &w->request);
    report_add(w->report, REPORT_CONNS_ACCEPTED, 1);
    report_add(w->report, REPORT_CONNS_NOW, 1);
    count_in(conn, l->open);
    if (tcp_is_proxied(w, conn, ep)) {
        set_phase(conn, CONN_PHASE_PROXY);
        limit_in(w, conn, ep->handshake_timeout_ms);
    } else {
        begin(w, conn, ep);
    }
    worker_ready(w, &conn->wire);
    return true;
}

/* ---- input and output ----------------------------------------------------------------------- */

struct block_queue *conn_input(struct conn *conn)
{
    return conn->secure.tls ? &conn->secure.plain : &conn->wire.received;
}

bool conn_fill(struct worker *w, struct conn *conn)
{
    /* A head or trailer section of any allowed size has to fit: less would never be complete. */
    if (!conn->secure.tls ||
        result_is_ok(decrypt_fill(w, &conn->secure, &conn->wire, CONN_HEAD_MAX)))
        return true;
    wire_settle(w, &conn->wire); /* the alert goes out before all is cancelled */
    conn_close_begin(w, conn);
    return false;
}

struct sink conn_sink(struct worker *w, struct conn *conn)
{
    return sink_of(w, &conn->wire, conn->secure.tls);
}

void conn_settle(struct worker *w, struct conn *conn, enum wire_want want)
{
    const struct snap_entrypoint *ep = conn_entrypoint(w, conn);
    if (conn->cold_at && conn->wire.received.first->next)
        want = WIRE_WANT_NOTHING; /* nothing follows a hello: it would keep the kernel's buffers */
    conn->wire.want = (uint8_t)want;
    wire_settle(w, &conn->wire);
    /* Each send has the idle time to get on; the whole response may have its own limit. */
    uint64_t at = TIMER_NO_LIMIT;
    if (conn->wire.send_busy)
        at = conn->wire.send_at_ns +
             (ep && ep->idle_timeout_ms ? ep->idle_timeout_ms : STALL_MS) * 1000000ull;
    limit_set(&w->wheel, &conn->out, at < conn->send_limit_ns ? at : conn->send_limit_ns);
}

struct span conn_ip(struct worker *w, struct conn *conn)
{
    if (conn->ip_len == 0) {
        if (!result_is_ok(ring_address(w->ring, conn->wire.fd, true, &conn->peer))) {
            conn->peer = (struct net_addr){.in = {.sin_family = AF_INET}, .len = 16};
            memcpy(conn->ip, "unknown", 8);
        } else {
            net_addr_print_ip(&conn->peer, conn->ip);
        }
        conn->ip_len = (uint8_t)strlen(conn->ip);
    }
    return span_of(conn->ip, conn->ip_len);
}

void conn_set_peer(struct conn *conn, const struct net_addr *peer)
{
    conn->peer = *peer;
    net_addr_print_ip(&conn->peer, conn->ip);
    conn->ip_len = (uint8_t)strlen(conn->ip);
}

/* ---- responses ------------------------------------------------------------------------------ */

void conn_count_status(struct worker *w, uint16_t status)
{
    if (status >= 200 && status < 600)
        report_add(w->report, (enum report_counter)(REPORT_RESPONSES_2XX + status / 100 - 2), 1);
}

void conn_reply(struct worker *w, struct conn *conn, const struct http_answer *answer, bool keep)
{
    struct sink sink = conn_sink(w, conn);
    size_t used = 0;
    if (!keep || worker_is_draining(w))
        conn->close_after = true;
    else /* nothing follows the head: the codec gets to its end */
        (void)h1_feed(&conn->h1, (struct span){0}, &used);
    uint32_t room = h1_answer_room(answer);
    struct writer out =
        room > WORKER_STAGE_BYTES ? (struct writer){.bad = true} : sink_writer(&sink, room);
    if (out.bad ||
        !result_is_ok(h1_write_answer(answer, !conn->close_after, conn->stream.is_head, &out))) {
        conn_close_begin(w, conn);
        return;
    }
    sink_commit(&sink, &out);
    sink_flush(&sink);
    conn_count_status(w, answer->status);
    if (sink.failed)
        conn_close_begin(w, conn);
    else
        conn_response_done(w, conn, keep);
}

/* Our side is over: close_notify goes with the last bytes. */
static void end_tls(struct worker *w, struct conn *conn)
{
    if (conn->said_bye)
        return;
    conn->said_bye = true;
    struct writer flight = writer_of(w->flight, WORKER_FLIGHT_BYTES);
    if (result_is_ok(session_shutdown(conn->secure.tls, &flight)))
        (void)wire_push_copy(w, &conn->wire, writer_done(&flight));
}

static void shut(struct worker *w, struct conn *conn)
{
    if (!conn->shut)
        wire_shutdown(w, &conn->wire);
    conn->shut = true;
}

bool conn_shut(struct worker *w, struct conn *conn)
{
    if (conn->secure.tls)
        end_tls(w, conn);
    if (wire_send_is_empty(&conn->wire))
        shut(w, conn);
    return conn->shut;
}

void conn_response_done(struct worker *w, struct conn *conn, bool whole)
{
    conn->stream.exchange = (struct handle){0};
    conn->served = true;
    if (!whole)
        conn->close_after = conn->linger = true;
    if (conn->close_after && conn->secure.tls)
        end_tls(w, conn);
    set_phase(conn, CONN_PHASE_FLUSH);
    limit_clear(&conn->in);
    conn_settle(w, conn, WIRE_WANT_SMALL);
    if (wire_send_is_empty(&conn->wire))
        worker_ready(w, &conn->wire);
}

void conn_abort(struct worker *w, struct conn *conn)
{
    report_add(w->report, REPORT_ABORTED, 1);
    conn->reset = true;
    conn_close_begin(w, conn);
}

/* Nothing follows what is queued. */
static void end_here(struct worker *w, struct conn *conn)
{
    conn->close_after = conn->linger = true;
    if (conn->secure.tls)
        end_tls(w, conn);
    set_phase(conn, CONN_PHASE_FLUSH);
    limit_clear(&conn->in);
    conn_settle(w, conn, WIRE_WANT_SMALL);
    if (wire_send_is_empty(&conn->wire))
        worker_ready(w, &conn->wire);
}

void conn_h2_over(struct worker *w, struct conn *conn)
{
    h2_conn_close(w, conn->h2);
    conn->h2 = NULL;
    end_here(w, conn);
}

void conn_refuse(struct worker *w, struct conn *conn)
{
    conn->stream.exchange = (struct handle){0};
    end_here(w, conn);
}

/* From the client's preface on, or by ALPN. */
static bool become_h2(struct worker *w, struct conn *conn)
{
    if (!h2_conn_open(w, conn)) {
        conn_close_begin(w, conn);
        return false;
    }
    set_phase(conn, CONN_PHASE_H2);
    if (worker_is_draining(w))
        h2_conn_drain(w, conn);
    return true;
}

/* ---- close ---------------------------------------------------------------------------------- */

void conn_close_begin(struct worker *w, struct conn *conn)
{
    if (conn->phase == CONN_PHASE_CLOSING)
        return;
    struct exchange *x =
        slab_get(&w->exchanges, conn->stream.exchange.index, conn->stream.exchange.gen);
    conn->stream.exchange = (struct handle){0};
    /* A response whose end only the close tells must not look whole when it is not. */
    if ((x && (x->phase == EXCHANGE_PHASE_RELAY || exchange_is_cut(x))) ||
        (conn->phase == CONN_PHASE_FLUSH && !wire_send_is_empty(&conn->wire)))
        conn->reset = true;
    if (x)
        exchange_cancel(w, x);
    if (conn->h2)
        h2_conn_close(w, conn->h2);
    conn->h2 = NULL;
    set_phase(conn, CONN_PHASE_CLOSING);
    limit_remove(&conn->in);
    limit_remove(&conn->out);
    list_remove(&conn->hello);
    cold_wait_end(w, conn);
    decrypt_end(w, &conn->secure);
    wire_close_begin(w, &conn->wire);
    worker_ready(w, &conn->wire);
}

static void close_join(struct worker *w, struct conn *conn)
{
    if (!wire_is_quiet(&conn->wire))
        return;
    uint32_t index = conn->wire.id.slot;
    wire_close_finish(w, &conn->wire, conn->reset);
    set_phase(conn, CONN_PHASE_FREE);
    count_in(conn, NULL);
    slab_give_back(&w->conns, index);
    report_sub(w->report, REPORT_CONNS_NOW, 1);
}

/* An idle connection ends: a client that speaks TLS is told so (RFC 8446 section 6.1). */
static void end_idle(struct worker *w, struct conn *conn)
{
    if (!conn->secure.tls) {
        conn_close_begin(w, conn);
        return;
    }
    conn->close_after = true;
    end_tls(w, conn);
    set_phase(conn, CONN_PHASE_FLUSH);
    conn_settle(w, conn, WIRE_WANT_SMALL);
    if (wire_send_is_empty(&conn->wire)) /* no block was free for it */
        worker_ready(w, &conn->wire);
}

void conn_count_request(struct worker *w, struct conn *conn, const struct snap_entrypoint *ep)
{
    conn->requests++;
    bool last = ep->keep_alive_requests && conn->requests >= ep->keep_alive_requests;
    bool old =
        ep->keep_alive_ms && w->now_ns - conn->opened_ns >= ep->keep_alive_ms * (uint64_t)NS_PER_MS;
    if (!last && !old)
        return;
    if (conn->h2)
        h2_conn_drain(w, conn);
    else
        conn->close_after = true;
}

void conn_drain(struct worker *w, struct conn *conn)
{
    if (conn->phase == CONN_PHASE_H2) {
        h2_conn_drain(w, conn);
        return;
    }
    if (conn->phase != CONN_PHASE_IDLE || conn_input(conn)->first)
        return;
    const struct snap_entrypoint *ep = conn_entrypoint(w, conn);
    uint32_t rest_ms = conn->served ? 0 : FIRST_REQUEST_MS;
    if (w->retiring && ep) /* whose next request may be under way */
        rest_ms = ep->grace_timeout_ms > rest_ms ? ep->grace_timeout_ms : rest_ms;
    if (!rest_ms)
        end_idle(w, conn);
    else if (conn->in.at_ns > w->now_ns + rest_ms * NS_PER_MS)
        limit_in(w, conn, rest_ms);
}

/* ---- handshake ------------------------------------------------------------------------------ */

static bool proxy_turn(struct worker *w, struct conn *conn)
{
    const struct snap_entrypoint *ep = conn_entrypoint(w, conn);
    struct result r = tcp_read_proxy(w, conn);
    if (r.code == ERR_AGAIN)
        return false;
    if (result_is_ok(r) && ep)
        begin(w, conn, ep);
    else
        conn_close_begin(w, conn);
    return conn->phase != CONN_PHASE_CLOSING;
}

static bool hello_turn(struct worker *w, struct conn *conn)
{
    if (conn->wire.received.first) {
        if (list_is_empty(&conn->hello) && !conn->cold_at)
            list_append(&w->hellos, &conn->hello);
    } else if (conn->wire.eof) {
        conn_close_begin(w, conn);
    }
    return false;
}

void conn_handshake_begin(struct worker *w, struct conn *conn)
{
    set_phase(conn, CONN_PHASE_HANDSHAKE);
}

void conn_handshake_done(struct worker *w, struct conn *conn)
{
    const char *protocol = session_alpn(conn->secure.tls);
    if (conn->stream.exchange.gen) { /* a TCP router's */
        start_tcp(w, conn);
        return;
    }
    become_idle(w, conn);
    if (protocol && strcmp(protocol, "h2") == 0)
        (void)become_h2(w, conn);
}

void conn_handshake_failed(struct worker *w, struct conn *conn)
{
    conn->close_after = conn->linger = true;
    set_phase(conn, CONN_PHASE_FLUSH);
    limit_clear(&conn->in);
}

/* ---- requests ------------------------------------------------------------------------------- */

static void head_is_bad(struct worker *w, struct conn *conn, const struct http_reject *reject)
{
    rules_count(w->report, reject, false);
    conn->stream.is_head = false;
    stream_reply_status(w, &conn->stream, reject->status, false);
}

/* The head is incomplete. A lent buffer goes back to the kernel: a slow client must not keep it. */
static bool head_is_partial(struct worker *w, struct conn *conn, struct block_queue *in)
{
    const struct snap_entrypoint *ep = conn_entrypoint(w, conn);
    bool more = in->first->next;
    if (conn->wire.eof && !more) {
        rules_count(w->report, rules_reject(HTTP_RULE_truncated), false);
        conn_close_begin(w, conn);
        return false;
    }
    if (conn->phase == CONN_PHASE_IDLE) {
        set_phase(conn, CONN_PHASE_HEAD);
        limit_in(w, conn, ep ? ep->head_timeout_ms : 1000);
    }
    if (!more && !block_is_lent(in->first))
        return false;
    struct result r = block_queue_gather(&w->blocks, in, CONN_HEAD_MAX);
    if (r.code == ERR_TOO_LARGE) {
        head_is_bad(w, conn, rules_reject(HTTP_RULE_head_too_large));
        return false;
    }
    if (r.code == ERR_NO_SLOT)
        worker_hungry(w, &conn->wire);
    return more && result_is_ok(r);
}

/* HTTP/2 by prior knowledge (RFC 9113 section 3.3): a connection without TLS that begins with its
 * preface. *ret_more: what is there may become one. */
static bool begins_h2(struct conn *conn, bool *ret_more)
{
    *ret_more = false;
    if (conn->is_tls || conn->served || !conn->wire.received.first)
        return false;
    int is = h2_is_preface(block_span(conn->wire.received.first));
    *ret_more = is < 0;
    return is > 0;
}

static bool head_turn(struct worker *w, struct conn *conn)
{
    for (;;) {
        if (!conn_fill(w, conn))
            return false;
        struct block_queue *in = conn_input(conn);
        if (!in->first) {
            if (conn->wire.eof)
                conn_close_begin(w, conn);
            else if (worker_is_draining(w))
                conn_drain(w, conn);
            return false;
        }
        bool more;
        if (begins_h2(conn, &more))
            return become_h2(w, conn);
        size_t used = 0;
        struct http_event ev = {.kind = HTTP_EVENT_MORE};
        if (!more)
            ev = h1_feed(&conn->h1, block_span(in->first), &used);
        if (ev.kind == HTTP_EVENT_MORE) {
            if (used) /* empty lines before a request */
                block_queue_take(&w->blocks, in, (uint32_t)used);
            else if (!head_is_partial(w, conn, in))
                return false;
            continue;
        }
        if (ev.kind != HTTP_EVENT_HEAD) {
            head_is_bad(w, conn, ev.reject);
            return conn->phase != CONN_PHASE_CLOSING;
        }
        set_phase(conn, CONN_PHASE_EXCHANGE);
        request_begin(w, &conn->stream, &w->request);
        if (conn->phase == CONN_PHASE_CLOSING)
            return false;
        /* The head's spans point into the block until here. */
        block_queue_take(&w->blocks, conn_input(conn), (uint32_t)used);
        return true;
    }
}

static bool exchange_phase_turn(struct worker *w, struct conn *conn)
{
    struct exchange *x =
        slab_get(&w->exchanges, conn->stream.exchange.index, conn->stream.exchange.gen);
    must(x);
    exchange_turn(w, x);
    return conn->phase == CONN_PHASE_FLUSH;
}

static bool h2_phase_turn(struct worker *w, struct conn *conn)
{
    h2_conn_turn(w, conn);
    return false;
}

static bool flush_turn(struct worker *w, struct conn *conn)
{
    if (!wire_send_is_empty(&conn->wire))
        return false;
    conn->send_limit_ns = TIMER_NO_LIMIT;
    /* Without haste, a client that was not told of the end keeps its connection for one more. */
    bool ends = conn->close_after || (worker_is_draining(w) && !w->retiring);
    if (ends || !conn_entrypoint(w, conn)) {
        bool more = conn->linger || conn_input(conn)->bytes > 0;
        if (more && !conn->wire.eof) {
            set_phase(conn, CONN_PHASE_LINGER);
            shut(w, conn);
            limit_in(w, conn, LINGER_MS);
            return true;
        }
        conn_close_begin(w, conn);
        return false;
    }
    h1_next(&conn->h1);
    become_idle(w, conn);
    return true;
}

static bool linger_turn(struct worker *w, struct conn *conn)
{
    block_queue_clear(&w->blocks, &conn->wire.received);
    block_queue_clear(&w->blocks, &conn->secure.plain);
    if (conn->wire.eof)
        conn_close_begin(w, conn);
    return false;
}

/* What to receive in a phase without exchange (that one decides for itself). */
static enum wire_want want_of(const struct conn *conn)
{
    bool gathers = conn->phase == CONN_PHASE_HEAD || conn->phase == CONN_PHASE_HELLO;
    uint32_t enough = gathers ? CONN_HEAD_MAX : WIRE_RECV_HIGH;
    bool waits = conn->wire.received.bytes + conn->secure.plain.bytes > enough;
    return waits ? WIRE_WANT_NOTHING : WIRE_WANT_SMALL;
}

void conn_run(struct worker *w, struct conn *conn)
{
    static bool (*const turns[CONN_PHASES])(struct worker *, struct conn *) = {
        [CONN_PHASE_PROXY] = proxy_turn,         [CONN_PHASE_HELLO] = hello_turn,
        [CONN_PHASE_HANDSHAKE] = handshake_turn, [CONN_PHASE_IDLE] = head_turn,
        [CONN_PHASE_HEAD] = head_turn,           [CONN_PHASE_EXCHANGE] = exchange_phase_turn,
        [CONN_PHASE_H2] = h2_phase_turn,         [CONN_PHASE_FLUSH] = flush_turn,
        [CONN_PHASE_LINGER] = linger_turn,
    };
    if (conn->phase != CONN_PHASE_CLOSING && (conn->wire.recv_failed || conn->wire.send_failed))
        conn_close_begin(w, conn);
    if (conn->phase == CONN_PHASE_CLOSING) {
        close_join(w, conn);
        return;
    }
    while (turns[conn->phase](w, conn))
        must(conn->phase != CONN_PHASE_CLOSING && conn->phase != CONN_PHASE_FREE);
    if (conn->phase != CONN_PHASE_CLOSING && conn->phase != CONN_PHASE_EXCHANGE &&
        conn->phase != CONN_PHASE_H2)
        conn_settle(w, conn, want_of(conn));
}

void conn_limit_in(struct worker *w, struct conn *conn)
{
    struct exchange *x;
    if (conn->phase == CONN_PHASE_H2) {
        h2_conn_limit(w, conn);
        return;
    }
    report_add(w->report, REPORT_TIMEOUTS, 1);
    switch ((enum conn_phase)conn->phase) {
    case CONN_PHASE_HEAD:
        conn->stream.is_head = false;
        stream_reply_status(w, &conn->stream, 408, false);
        break;
    case CONN_PHASE_EXCHANGE:
        x = slab_get(&w->exchanges, conn->stream.exchange.index, conn->stream.exchange.gen);
        must(x);
        if (conn->wire.eof && x->phase != EXCHANGE_PHASE_TUNNEL)
            conn_close_begin(w, conn);
        else /* a tunnel's client still gets what is queued for it */
            exchange_client_timeout(w, x);
        break;
    case CONN_PHASE_IDLE:
        end_idle(w, conn);
        break;
    default:
        conn_close_begin(w, conn);
    }
}

void conn_limit_out(struct worker *w, struct conn *conn)
{
    report_add(w->report, REPORT_TIMEOUTS, 1);
    conn->reset = true;
    conn_close_begin(w, conn);
}

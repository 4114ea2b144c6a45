/* SPDX-License-Identifier: Apache-2.0 */
#include "data/h2_conn.h"

#include "data/conn.h"
#include "data/exchange.h"
#include "data/h2_stream.h"
#include "data/http/rules.h"
#include "data/request.h"

/* The first GOAWAY lets through what the client has sent meanwhile; then comes the second. */
#define NOTICE_MS 1000u
/* A turn's input from which on large buffers pay. */
#define LARGE_INPUT 8192u

static struct h2_conn *h2_conn_of(struct h2 *h2)
{
    return (struct h2_conn *)(void *)h2;
}

static void stream_ready(struct h2_stream *s)
{
    if (list_is_empty(&s->ready))
        list_append(&s->owner->ready, &s->ready);
}

static bool leaves(const struct worker *w, const struct h2_conn *h)
{
    return worker_is_draining(w) || h->leaving;
}

/* ---- what the codec tells ------------------------------------------------------------------- */

static void *on_open(struct h2 *h2, int32_t id)
{
    struct h2_conn *h = h2_conn_of(h2);
    struct worker *w = h->w;
    uint32_t slot;
    struct h2_stream *s = h->ending ? NULL : slab_take(&w->streams, &slot);
    if (!s)
        return NULL;
    s->stream.version = STREAM_HTTP2;
    s->stream.minor = 1;
    s->owner = h;
    s->id = id;
    s->slot = slot;
    s->out_until_ns = TIMER_NO_LIMIT;
    list_init(&s->all);
    list_init(&s->ready);
    list_append(&h->streams, &s->all);
    limit_init(&s->in_limit, WORKER_LIMIT_STREAM_IN);
    limit_init(&s->out_limit, WORKER_LIMIT_STREAM_OUT);
    h->open++;
    const struct snap_entrypoint *ep = conn_entrypoint(w, h->conn);
    limit_set_ms(&w->wheel, &s->in_limit, w->now_ns, ep ? ep->head_timeout_ms : 1000);
    if (!leaves(w, h))
        limit_clear(&h->conn->in);
    report_add(w->report, REPORT_STREAMS_OPENED, 1);
    report_add(w->report, REPORT_STREAMS_NOW, 1);
    return s;
}

/* Nobody waits for the exchange any more. */
static void cancel_exchange(struct worker *w, struct h2_stream *s)
{
    struct exchange *x = slab_get(&w->exchanges, s->stream.exchange.index, s->stream.exchange.gen);
    s->stream.exchange = (struct handle){0};
    if (x)
        exchange_cancel(w, x);
}

/* What came and nobody will read. */
static void drop_input(struct worker *w, struct h2_stream *s)
{
    if (s->in.queue.bytes)
        h2_drop(&s->owner->h2, s->in.queue.bytes);
    block_queue_clear(&w->blocks, &s->in.queue);
}

/* Gives the slot back; the codec knows the stream no more. */
static void stream_free(struct worker *w, struct h2_stream *s)
{
    struct h2_conn *h = s->owner;
    cancel_exchange(w, s);
    limit_remove(&s->in_limit);
    limit_remove(&s->out_limit);
    block_queue_clear(&w->blocks, &s->in.queue);
    block_queue_clear(&w->blocks, &s->out);
    if (s->in.trailers)
        block_give_back(&w->blocks, s->in.trailers);
    if (s->trailers)
        block_give_back(&w->blocks, s->trailers);
    list_remove(&s->all);
    list_remove(&s->ready);
    h->open--;
    report_sub(w->report, REPORT_STREAMS_NOW, 1);
    slab_give_back(&w->streams, s->slot);
}

/* From here on no stream is taken. */
static void end(struct h2_conn *h)
{
    if (!h->ending)
        h2_end(&h->h2);
    h->ending = true;
}

static void on_close(struct h2 *h2, void *stream)
{
    struct h2_conn *h = h2_conn_of(h2);
    struct h2_stream *s = stream;
    struct worker *w = h->w;
    drop_input(w, s);
    stream_free(w, s);
    if (h->open > 0)
        return;
    const struct snap_entrypoint *ep = conn_entrypoint(w, h->conn);
    if (leaves(w, h))
        end(h);
    else
        limit_set_ms(&w->wheel, &h->conn->in, w->now_ns, ep ? ep->idle_timeout_ms : 1000);
}

static void on_head(struct h2 *h2, void *stream, struct http_head *head)
{
    struct h2_conn *h = h2_conn_of(h2);
    struct h2_stream *s = stream;
    request_begin(h->w, &s->stream, head);
    if (s->stream.exchange.gen)
        stream_ready(s);
}

static void on_reject(struct h2 *h2, void *stream, const struct http_reject *reject)
{
    struct h2_conn *h = h2_conn_of(h2);
    struct h2_stream *s = stream;
    rules_count(h->w->report, reject, false);
    h2_stream_reply(h->w, s, &(struct http_answer){.status = reject->status});
}

/* A part of the request has no memory. Until the reset is sent the codec still tells of what comes
 * after the gap: without its exchange the stream takes none of it. The reset needs a block as well:
 * the stream gives up its own. */
static void short_of_memory(struct h2_conn *h, struct h2_stream *s)
{
    report_add(h->w->report, REPORT_H2_NO_BLOCK, 1);
    cancel_exchange(h->w, s);
    drop_input(h->w, s);
    h2_reset(&h->h2, s->id, H2_INTERNAL_ERROR);
}

static void on_data(struct h2 *h2, void *stream, struct span bytes)
{
    struct h2_conn *h = h2_conn_of(h2);
    struct h2_stream *s = stream;
    bool beyond = s->in.queue.bytes + bytes.len > h2->bounds.stream_window;
    if (beyond || !s->stream.exchange.gen) { /* reset already, or answered: nobody wants it */
        h2_drop(h2, (uint32_t)bytes.len);
        return;
    }
    uint32_t before = s->in.queue.bytes;
    if (!block_queue_copy(&h->w->blocks, &s->in.queue, bytes)) {
        h2_drop(h2, (uint32_t)bytes.len - (s->in.queue.bytes - before));
        short_of_memory(h, s);
        return;
    }
    stream_ready(s);
}

static void on_trailers(struct h2 *h2, void *stream, struct http_head *fields)
{
    struct h2_conn *h = h2_conn_of(h2);
    struct h2_stream *s = stream;
    if (s->stream.exchange.gen && !s->in.trailers)
        s->in.trailers = relay_keep_fields(&h->w->blocks, fields);
}

static void on_end(struct h2 *h2, void *stream)
{
    struct h2_stream *s = stream;
    s->in_done = s->in.ended = true;
    if (s->stream.exchange.gen)
        stream_ready(s);
}

/* The client may stop to send what nobody reads (RFC 9113 section 8.1). */
static void on_sent(struct h2 *h2, void *stream)
{
    struct h2_stream *s = stream;
    s->told = true;
    if (!s->in_done && !s->stream.exchange.gen) /* a tunnel goes on with the other half */
        h2_reset(h2, s->id, H2_NO_ERROR);
}

static uint32_t on_waiting(struct h2_sender *sender, void *stream, bool *ret_last)
{
    const struct h2_stream *s = stream;
    *ret_last = s->out_last;
    return s->out.bytes;
}

static void on_move(struct h2_sender *sender, void *stream, uint32_t n, struct writer *to)
{
    struct h2_stream *s = stream;
    struct h2_conn *h = s->owner;
    while (n) {
        struct span part = span_first(block_span(s->out.first), n);
        writer_span(to, part);
        n -= (uint32_t)part.len;
        block_queue_take(&h->w->blocks, &s->out, (uint32_t)part.len);
    }
    h2_stream_moved(h->w, s);
    if (s->refill && !h2_stream_is_full(s))
        stream_ready(s);
}

static struct span on_lines(struct h2_sender *sender, void *stream)
{
    const struct h2_stream *s = stream;
    return s->trailers ? block_span(s->trailers) : (struct span){0};
}

static const struct h2_handler handler = {
    .open = on_open,
    .head = on_head,
    .reject = on_reject,
    .data = on_data,
    .trailers = on_trailers,
    .end = on_end,
    .sent = on_sent,
    .close = on_close,
    .payload = {.waiting = on_waiting, .move = on_move, .lines = on_lines},
};

/* ---- birth and end -------------------------------------------------------------------------- */

static struct h2_bounds bounds_of(const struct snap_entrypoint *ep)
{
    return (struct h2_bounds){
        .streams_max = ep->h2.streams_max,
        .stream_window = ep->h2.stream_window_bytes,
        .conn_window = ep->h2.conn_window_bytes,
        .head_max = ep->head_max_bytes,
        .head_frames = ep->h2.head_frames,
        .resets = ep->h2.resets,
        .control_frames = ep->h2.control_frames,
        .empty_frames = ep->h2.empty_frames,
        .glitches = ep->h2.glitches,
    };
}

bool h2_conn_open(struct worker *w, struct conn *conn)
{
    const struct snap_entrypoint *ep = conn_entrypoint(w, conn);
    uint32_t index;
    struct h2_conn *h = ep && ep->h2.streams_max ? slab_take(&w->h2_conns, &index) : NULL;
    if (!h)
        return false;
    struct h2_bounds bounds = bounds_of(ep);
    h->w = w;
    h->conn = conn;
    h->index = index;
    list_init(&h->streams);
    list_init(&h->ready);
    if (!result_is_ok(h2_init(&h->h2, &handler, &bounds, &w->blocks, &w->request))) {
        slab_give_back(&w->h2_conns, index);
        return false;
    }
    conn->h2 = h;
    report_add(w->report, REPORT_H2_CONNS, 1);
    return true;
}

void h2_conn_close(struct worker *w, struct h2_conn *h)
{
    while (!list_is_empty(&h->streams))
        stream_free(w, LIST_ENTRY(h->streams.next, struct h2_stream, all));
    h2_fini(&h->h2);
    slab_give_back(&w->h2_conns, h->index);
}

void h2_conn_drain(struct worker *w, struct conn *conn)
{
    if (conn->h2->ending || conn->h2->leaving)
        return;
    conn->h2->leaving = true;
    h2_announce_end(&conn->h2->h2);
    limit_set_ms(&w->wheel, &conn->in, w->now_ns, NOTICE_MS);
    worker_ready(w, &conn->wire);
}

void h2_conn_limit(struct worker *w, struct conn *conn)
{
    struct h2_conn *h = conn->h2;
    if (leaves(w, h) && !h->ending) {
        end(h);
    } else {
        report_add(w->report, REPORT_TIMEOUTS, 1);
        h->ending = true;
        h2_terminate(&h->h2);
    }
    worker_ready(w, &conn->wire);
}

void h2_conn_limit_in(struct worker *w, struct h2_stream *s)
{
    struct exchange *x = slab_get(&w->exchanges, s->stream.exchange.index, s->stream.exchange.gen);
    report_add(w->report, REPORT_TIMEOUTS, 1);
    if (x) {
        exchange_client_timeout(w, x);
    } else if (!s->answered) { /* its head did not come to its end: it blocks all others */
        s->owner->ending = true;
        h2_terminate(&s->owner->h2);
        worker_ready(w, &s->owner->conn->wire);
    }
}

void h2_conn_limit_out(struct worker *w, struct h2_stream *s)
{
    report_add(w->report, REPORT_TIMEOUTS, 1);
    report_add(w->report, REPORT_H2_STALLED, 1);
    h2_reset(&s->owner->h2, s->id, H2_CANCEL);
    worker_ready(w, &s->owner->conn->wire);
}

/* ---- turns ---------------------------------------------------------------------------------- */

/* Feeds the codec. False: the connection ends. */
static bool receive(struct worker *w, struct conn *conn, uint32_t *ret_bytes)
{
    struct h2_conn *h = conn->h2;
    *ret_bytes = 0;
    do {
        if (!conn_fill(w, conn))
            return false;
        struct block_queue *in = conn_input(conn);
        if (!in->first)
            break;
        while (in->first) {
            struct span bytes = block_span(in->first);
            if (!h2_receive(&h->h2, bytes, w->now_ns)) {
                h->ending = true;
                block_queue_clear(&w->blocks, in);
                return true;
            }
            *ret_bytes += (uint32_t)bytes.len;
            block_queue_take(&w->blocks, in, (uint32_t)bytes.len);
        }
    } while (conn->secure.tls);
    return true;
}

/* The conn was woken because a block is free: it does not say which stream waited for one. */
static void feed_hungry(struct h2_conn *h)
{
    if (!h->hungry || !list_is_empty(&h->conn->wire.hungry))
        return;
    h->hungry = false;
    for (struct list *node = h->streams.next; node != &h->streams; node = node->next) {
        struct h2_stream *s = LIST_ENTRY(node, struct h2_stream, all);
        if (s->stream.exchange.gen)
            stream_ready(s);
    }
}

static void run_streams(struct worker *w, struct h2_conn *h)
{
    struct list *node;
    while ((node = list_pop(&h->ready))) {
        struct h2_stream *s = LIST_ENTRY(node, struct h2_stream, ready);
        struct exchange *x =
            slab_get(&w->exchanges, s->stream.exchange.index, s->stream.exchange.gen);
        if (x)
            exchange_turn(w, x);
    }
}

static void count_excess(struct worker *w, struct h2_conn *h)
{
    static const enum report_counter counters[H2_EXCESSES] = {
        [H2_EXCESS_RESETS] = REPORT_H2_RESETS,
        [H2_EXCESS_CONTROL] = REPORT_H2_CONTROL_FRAMES,
        [H2_EXCESS_EMPTY] = REPORT_H2_EMPTY_FRAMES,
        [H2_EXCESS_GLITCHES] = REPORT_H2_GLITCHES,
        [H2_EXCESS_HEAD_FRAMES] = REPORT_H2_HEAD_FRAMES,
        [H2_EXCESS_HEAD_BYTES] = REPORT_H2_HEAD_BYTES,
    };
    if (!h->h2.excess || h->excess_counted)
        return;
    h->excess_counted = true;
    report_add(w->report, counters[h->h2.excess], 1);
}

/* Sends until nothing is left or nothing more is taken. False: a failure. */
static bool send_all(struct worker *w, struct conn *conn)
{
    struct h2_conn *h = conn->h2;
    do {
        run_streams(w, h);
        struct sink sink = conn_sink(w, conn);
        bool ok = h2_send(&h->h2, &sink);
        sink_flush(&sink);
        if (!ok || sink.failed)
            return false;
    } while (!list_is_empty(&h->ready));
    return true;
}

static void settle(struct worker *w, struct conn *conn, uint32_t received)
{
    enum wire_want want = received > LARGE_INPUT ? WIRE_WANT_LARGE : WIRE_WANT_SMALL;
    if (conn->wire.armed != WIRE_WANT_NOTHING && !conn->wire.cancelling && received == 0)
        want = (enum wire_want)conn->wire.armed;
    /* Whoever does not take our answers is not heard: nothing they cause may pile up. */
    if (wire_send_is_full(&conn->wire) || conn->wire.received.bytes > CONN_HEAD_MAX)
        want = WIRE_WANT_NOTHING;
    conn_settle(w, conn, want);
}

void h2_conn_turn(struct worker *w, struct conn *conn)
{
    struct h2_conn *h = conn->h2;
    uint32_t received = 0;
    h->running = true;
    if (!h->ending || h->open > 0) {
        if (!receive(w, conn, &received))
            return;
    } else {
        block_queue_clear(&w->blocks, conn_input(conn));
    }
    feed_hungry(h);
    bool sent = send_all(w, conn);
    h->running = false;
    count_excess(w, h);
    if (!sent) {
        conn_close_begin(w, conn);
        return;
    }
    bool over = h2_is_over(&h->h2) || (h->ending && h->open == 0 && !h2_wants_send(&h->h2));
    if (over)
        conn_h2_over(w, conn);
    else if (conn->wire.eof)
        conn_close_begin(w, conn);
    else
        settle(w, conn, received);
}

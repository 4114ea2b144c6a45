/* SPDX-License-Identifier: Apache-2.0 */
#include "data/stream.h"

#include "data/conn.h"
#include "data/h2_stream.h"
#include "data/http/rules.h"

/* How long nothing may come of an answer whose client has closed its side. */
#define HALF_CLOSED_MS 30000u

static bool is_h2(const struct stream *s)
{
    return s->version == STREAM_HTTP2;
}

static struct conn *conn_of(const struct stream *s)
{
    must(s->version == STREAM_HTTP1);
    return LIST_ENTRY(s, struct conn, stream);
}

struct stream_ref stream_ref_of(struct worker *w, const struct stream *s)
{
    if (is_h2(s)) {
        const struct h2_stream *h2 = (const struct h2_stream *)(const void *)s;
        return (struct stream_ref){.slot = {h2->slot, slab_gen(&w->streams, h2->slot)},
                                   .version = s->version};
    }
    const struct conn *conn = conn_of(s);
    return (struct stream_ref){.slot = {conn->wire.id.slot, conn->wire.id.gen},
                               .version = s->version};
}

struct stream *stream_get(struct worker *w, struct stream_ref ref)
{
    if (ref.version == STREAM_HTTP2) {
        struct h2_stream *h2 = slab_get(&w->streams, ref.slot.index, ref.slot.gen);
        must(h2);
        return &h2->stream;
    }
    struct conn *conn = slab_get(&w->conns, ref.slot.index, ref.slot.gen);
    must(conn);
    return &conn->stream;
}

struct conn *stream_conn(struct worker *w, struct stream *s)
{
    return is_h2(s) ? h2_stream_of(s)->owner->conn : conn_of(s);
}

/* ---- request -------------------------------------------------------------------------------- */

void stream_take_end(struct worker *w, struct stream *s)
{
    if (is_h2(s)) /* what follows, if anything, has no bytes */
        return;
    size_t used = 0;
    struct http_event ev = h1_feed(&conn_of(s)->h1, (struct span){0}, &used);
    must(ev.kind == HTTP_EVENT_END && used == 0);
}

void stream_limit_in(struct worker *w, struct stream *s, uint32_t ms)
{
    if (is_h2(s))
        h2_stream_limit_in(w, h2_stream_of(s), ms);
    else
        limit_set_ms(&w->wheel, &conn_of(s)->in, w->now_ns, ms);
}

bool stream_is_limited_in(const struct stream *s)
{
    const struct limit *in =
        is_h2(s) ? &((const struct h2_stream *)(const void *)s)->in_limit : &conn_of(s)->in;
    return in->at_ns != TIMER_NO_LIMIT;
}

void stream_limit_out(struct worker *w, struct stream *s, uint32_t ms)
{
    if (is_h2(s))
        h2_stream_limit_out(w, h2_stream_of(s), ms);
    else
        conn_of(s)->send_limit_ns = ms ? w->now_ns + ms * 1000000ull : TIMER_NO_LIMIT;
}

void stream_close_after(struct worker *w, struct stream *s)
{
    if (!is_h2(s))
        conn_of(s)->close_after = true;
}

bool stream_fill(struct worker *w, struct stream *s)
{
    return is_h2(s) || conn_fill(w, conn_of(s));
}

/* Only a trailer section can be too large for the codec to see. */
const struct http_reject *stream_broken_rule(const struct stream *s)
{
    const struct http_reject *broken = is_h2(s) ? NULL : conn_of(s)->h1.reject;
    return broken ? broken : rules_reject(HTTP_RULE_trailers_too_large);
}

struct source stream_source(struct worker *w, struct stream *s)
{
    if (is_h2(s)) {
        struct body *body = &h2_stream_of(s)->in;
        return (struct source){.in = &body->queue, .body = body};
    }
    struct conn *conn = conn_of(s);
    return (struct source){.h1 = &conn->h1, .in = conn_input(conn)};
}

struct wire *stream_wire(struct stream *s)
{
    return is_h2(s) || conn_of(s)->secure.tls ? NULL : &conn_of(s)->wire;
}

/* Decryption stops at a bound. */
bool stream_fills_again(const struct stream *s)
{
    return !is_h2(s) && conn_of(s)->secure.tls;
}

void stream_took(struct worker *w, struct stream *s, uint64_t bytes)
{
    if (is_h2(s)) /* TCP has its own window */
        h2_stream_took(w, h2_stream_of(s), bytes);
}

bool stream_is_half_closed(struct worker *w, struct stream *s)
{
    return !is_h2(s) && conn_of(s)->wire.eof;
}

bool stream_may_hold_more(struct worker *w, struct stream *s, bool untouched)
{
    struct conn *conn = conn_of(s);
    return (untouched && conn_input(conn)->bytes > 0) ||
           (conn->secure.tls && decrypt_has_more(&conn->secure, &conn->wire));
}

void stream_await(struct worker *w, struct stream *s, bool anew)
{
    struct conn *conn = conn_of(s);
    if (anew || conn->in.at_ns == TIMER_NO_LIMIT)
        limit_set_ms(&w->wheel, &conn->in, w->now_ns, HALF_CLOSED_MS);
    conn->close_after = true;
}

/* ---- response ------------------------------------------------------------------------------- */

void stream_reply(struct worker *w, struct stream *s, const struct http_answer *answer, bool whole)
{
    if (is_h2(s))
        h2_stream_reply(w, h2_stream_of(s), answer);
    else
        conn_reply(w, conn_of(s), answer, whole);
}

void stream_reply_status(struct worker *w, struct stream *s, uint16_t status, bool whole)
{
    stream_reply(w, s, &(struct http_answer){.status = status}, whole);
}

void stream_refuse(struct worker *w, struct stream *s)
{
    if (is_h2(s))
        h2_reset(&h2_stream_of(s)->owner->h2, h2_stream_of(s)->id, H2_REFUSED_STREAM);
    else
        conn_refuse(w, conn_of(s));
}

struct sink stream_sink(struct worker *w, struct stream *s)
{
    return is_h2(s) ? h2_stream_sink(w, h2_stream_of(s)) : conn_sink(w, conn_of(s));
}

enum http_body stream_framing(const struct stream *s, const struct http_head *head)
{
    if (head->body == HTTP_BODY_NONE || head->body == HTTP_BODY_LENGTH)
        return head->body;
    if (is_h2(s))
        return HTTP_BODY_FRAMES;
    return s->minor == 0 ? HTTP_BODY_UNTIL_CLOSE : HTTP_BODY_CHUNKED;
}

/* With as much room as the head needs. */
static bool put_head(struct sink *sink, const struct stream *s, const struct http_head *head,
                     enum http_body framing, bool keep)
{
    static const uint32_t rooms[] = {2048, BLOCK_RECORD_BYTES - 4096, WORKER_STAGE_BYTES - 4096};
    for (size_t i = 0; i < sizeof rooms / sizeof *rooms; i++) {
        struct writer out = sink_writer(sink, rooms[i]);
        if (out.bad)
            return false;
        if (result_is_ok(h1_write_response(head, s->minor, framing, keep, &out))) {
            sink_commit(sink, &out);
            return true;
        }
    }
    sink_flush(sink); /* gives back what the last try took */
    return false;
}

bool stream_respond(struct worker *w, struct stream *s, const struct http_head *head,
                    enum http_body framing, bool whole, struct sink *sink)
{
    if (is_h2(s))
        return h2_stream_respond(w, h2_stream_of(s), head, framing);
    struct conn *conn = conn_of(s);
    if (head->status < 200) /* HTTP/1.0 knows none */
        return s->minor == 0 || put_head(sink, s, head, HTTP_BODY_NONE, true);
    if (framing == HTTP_BODY_UNTIL_CLOSE || !whole || worker_is_draining(w))
        conn->close_after = true;
    return put_head(sink, s, head, framing, !conn->close_after);
}

enum http_body stream_switch(struct stream *s, struct http_head *head)
{
    if (is_h2(s))
        return h2_stream_switch(h2_stream_of(s), head);
    rules_pass_upgrade(head);
    return HTTP_BODY_NONE;
}

bool stream_shut(struct worker *w, struct stream *s)
{
    return is_h2(s) ? h2_stream_shut(w, h2_stream_of(s)) : conn_shut(w, conn_of(s));
}

bool stream_is_full(struct worker *w, struct stream *s)
{
    return is_h2(s) ? h2_stream_is_full(h2_stream_of(s)) : wire_send_is_full(&conn_of(s)->wire);
}

void stream_settle(struct worker *w, struct stream *s, enum stream_want want)
{
    if (is_h2(s)) {
        h2_stream_settle(w, h2_stream_of(s));
        return;
    }
    struct conn *conn = conn_of(s);
    uint32_t waiting = conn->wire.received.bytes + conn->secure.plain.bytes;
    uint32_t enough = want == STREAM_WANT_WATCH ? WIRE_RECV_HIGH : CONN_HEAD_MAX;
    if (want == STREAM_WANT_NOTHING || waiting > enough)
        conn_settle(w, conn, WIRE_WANT_NOTHING);
    else if (want == STREAM_WANT_POLL)
        conn_settle(w, conn, WIRE_WANT_POLL);
    else
        conn_settle(w, conn, want == STREAM_WANT_LARGE ? WIRE_WANT_LARGE : WIRE_WANT_SMALL);
}

void stream_done(struct worker *w, struct stream *s, bool whole, struct block *trailers)
{
    if (is_h2(s)) {
        h2_stream_done(w, h2_stream_of(s), trailers);
        return;
    }
    must(!trailers); /* the sink took them */
    conn_response_done(w, conn_of(s), whole);
}

void stream_abort(struct worker *w, struct stream *s)
{
    if (is_h2(s))
        h2_stream_abort(w, h2_stream_of(s),
                        h2_stream_of(s)->tunnel ? H2_CANCEL : H2_INTERNAL_ERROR);
    else
        conn_abort(w, conn_of(s));
}

void stream_hang_up(struct worker *w, struct stream *s)
{
    conn_close_begin(w, conn_of(s));
}

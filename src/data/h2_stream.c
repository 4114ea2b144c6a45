/* SPDX-License-Identifier: Apache-2.0 */
#include "data/h2_stream.h"

#include "data/conn.h"
#include "data/http/h1.h"
#include "data/http/websocket.h"

#include <stdio.h>

/* Payload that may wait for one client: enough to keep a fast one busy. */
#define OUT_HIGH 65536u
/* How long a client's window may stay shut where the entry point has no idle limit. */
#define STALL_MS 60000ull

/* The conn sends in its own turn, once for all its streams. */
static void wake(struct worker *w, struct h2_stream *s)
{
    if (!s->owner->running)
        worker_ready(w, &s->owner->conn->wire);
}

/* ---- limits --------------------------------------------------------------------------------- */

void h2_stream_limit_in(struct worker *w, struct h2_stream *s, uint32_t ms)
{
    limit_set_ms(&w->wheel, &s->in_limit, w->now_ns, ms);
}

void h2_stream_limit_out(struct worker *w, struct h2_stream *s, uint32_t ms)
{
    s->out_until_ns = ms ? w->now_ns + ms * 1000000ull : TIMER_NO_LIMIT;
    limit_set(&w->wheel, &s->out_limit, s->out_until_ns);
}

/* Something waits for the client: it has the idle time to take some of it. A tunnel has its own.
 */
static void limit_stall(struct worker *w, struct h2_stream *s)
{
    if (s->tunnel)
        return;
    const struct snap_entrypoint *ep = conn_entrypoint(w, s->owner->conn);
    uint64_t ms = ep && ep->idle_timeout_ms ? ep->idle_timeout_ms : STALL_MS;
    uint64_t at = w->now_ns + (ms < STALL_MS ? ms : STALL_MS) * 1000000ull;
    limit_set(&w->wheel, &s->out_limit, at < s->out_until_ns ? at : s->out_until_ns);
}

/* ---- response ------------------------------------------------------------------------------- */

struct sink h2_stream_sink(struct worker *w, struct h2_stream *s)
{
    return sink_into(w, &s->owner->conn->wire, &s->out, OUT_HIGH);
}

bool h2_stream_is_full(const struct h2_stream *s)
{
    return s->out.bytes >= OUT_HIGH || s->out.count >= WIRE_SEND_BLOCKS;
}

bool h2_stream_respond(struct worker *w, struct h2_stream *s, const struct http_head *head,
                       enum http_body framing)
{
    bool final = head->status >= 200;
    bool more = final && (framing == HTTP_BODY_FRAMES ||
                          (framing == HTTP_BODY_LENGTH && head->content_length > 0));
    if (!result_is_ok(h2_respond(&s->owner->h2, s->id, head, s, more)))
        return false;
    s->answered |= final;
    s->out_last = final && !more;
    wake(w, s);
    return true;
}

enum http_body h2_stream_switch(struct h2_stream *s, struct http_head *head)
{
    websocket_drop_accept(head);
    head->status = 200;
    s->tunnel = true;
    return HTTP_BODY_FRAMES;
}

/* The end goes out behind what is queued. */
bool h2_stream_shut(struct worker *w, struct h2_stream *s)
{
    if (!s->out_last) {
        s->out_last = true;
        h2_resume(&s->owner->h2, s->id);
        wake(w, s);
    }
    return s->told;
}

void h2_stream_settle(struct worker *w, struct h2_stream *s)
{
    s->refill = h2_stream_is_full(s);
    s->owner->hungry |= !list_is_empty(&s->owner->conn->wire.hungry);
    if (s->out.bytes == 0)
        return;
    if (s->out_limit.at_ns == s->out_until_ns)
        limit_stall(w, s);
    h2_resume(&s->owner->h2, s->id);
    wake(w, s);
}

void h2_stream_moved(struct worker *w, struct h2_stream *s)
{
    if (s->out.bytes)
        limit_stall(w, s);
    else
        limit_set(&w->wheel, &s->out_limit, s->out_until_ns);
}

void h2_stream_took(struct worker *w, struct h2_stream *s, uint64_t bytes)
{
    h2_took(&s->owner->h2, s->id, (uint32_t)bytes);
    wake(w, s);
}

void h2_stream_done(struct worker *w, struct h2_stream *s, struct block *trailers)
{
    s->stream.exchange = (struct handle){0};
    s->trailers = trailers;
    s->out_last = true;
    s->refill = s->tunnel = false;
    limit_clear(&s->in_limit);
    if (s->told && !s->in_done)
        h2_reset(&s->owner->h2, s->id, H2_NO_ERROR);
    limit_stall(w, s);
    h2_resume(&s->owner->h2, s->id);
    wake(w, s);
}

void h2_stream_abort(struct worker *w, struct h2_stream *s, enum h2_error error)
{
    report_add(w->report, REPORT_ABORTED, 1);
    s->stream.exchange = (struct handle){0};
    h2_reset(&s->owner->h2, s->id, error);
    wake(w, s);
}

/* ---- answers of our own --------------------------------------------------------------------- */

/* Body of an answer that has none of its own. */
static struct span status_line(uint16_t status, char *memory, size_t room)
{
    int n = snprintf(memory, room, "%u %s\n", status, h1_reason(status));
    return span_of(memory, n > 0 && (size_t)n < room ? (size_t)n : 0);
}

/* The answer's fields may be those of w->response itself: they only move to the front. */
void h2_stream_reply(struct worker *w, struct h2_stream *s, const struct http_answer *answer)
{
    struct http_head *head = &w->response;
    char text[80];
    struct span body = answer->body;
    bool has_body = answer->status >= 200 && answer->status != 204 && answer->status != 304;
    memset(head, 0, offsetof(struct http_head, fields));
    head->is_response = true;
    head->status = answer->status;
    bool fits = true;
    for (uint32_t i = 0; i < answer->field_count; i++)
        if (!answer->fields[i].drop)
            fits &= http_head_add(head, answer->fields[i].name, answer->fields[i].value);
    if (has_body && !answer->bare && body.len == 0) {
        body = status_line(answer->status, text, sizeof text);
        fits &= http_head_add(head, SPAN_LITERAL("content-type"),
                              SPAN_LITERAL("text/plain; charset=utf-8"));
    }
    head->body = has_body ? HTTP_BODY_LENGTH : HTTP_BODY_NONE;
    head->content_length = body.len;
    bool sends = has_body && !s->stream.is_head && body.len;
    struct sink sink = h2_stream_sink(w, s);
    if (sends && body.len <= WORKER_STAGE_BYTES)
        sink_copy(&sink, body);
    sink_flush(&sink);
    conn_count_status(w, answer->status);
    if (!fits || sink.failed || body.len > WORKER_STAGE_BYTES ||
        !result_is_ok(h2_respond(&s->owner->h2, s->id, head, s, sends))) {
        h2_stream_abort(w, s, H2_INTERNAL_ERROR);
        return;
    }
    s->answered = true;
    h2_stream_done(w, s, NULL);
}

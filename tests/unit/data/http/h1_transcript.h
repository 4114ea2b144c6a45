/* SPDX-License-Identifier: Apache-2.0 */
/* tests/unit/data/http/h1_transcript.h - events of a codec as one line of text, however the input
 * was cut.
 * Thread: the test's.   Owns: nothing.   Never: included by product code. */
#pragma once

#include "base/buf.h"
#include "data/http/h1.h"
#include "data/http/rules.h"

#include <assert.h>
#include <stdio.h>

static void put_fields(struct buf *t, const struct http_head *head)
{
    for (unsigned i = 0; i < head->field_count; i++) {
        const struct http_field *f = &head->fields[i];
        buf_printf(t, "%s%.*s=%.*s", f->drop ? " -" : " ", SPAN_FMT(f->name), SPAN_FMT(f->value));
    }
}

/* "GET /a h:80 1.1 chunked ka Field=value -Dropped=value" */
static void put_head(struct buf *t, const struct http_head *head)
{
    static const char *const bodies[] = {"none", "length", "chunked", "to-close"};
    if (head->is_response)
        buf_printf(t, "%u '%.*s'", head->status, SPAN_FMT(head->reason));
    else
        buf_printf(t, "%.*s %.*s %.*s", SPAN_FMT(head->method_text), SPAN_FMT(head->path),
                   SPAN_FMT(head->authority));
    buf_printf(t, " 1.%u %s", head->minor, bodies[head->body]);
    if (head->body == HTTP_BODY_LENGTH)
        buf_printf(t, "=%llu", (unsigned long long)head->content_length);
    buf_printf(t, "%s%s%s%s", head->keep_alive ? " ka" : "", head->upgrade ? " up" : "",
               head->expect_continue ? " 100" : "", head->has_trailer ? " tr" : "");
    put_fields(t, head);
}

/* Feeds pieces of `in` that end at the given offsets (the last is in.len), keeping what was not
 * taken; after END the next message begins. `eof`: the transport ends behind them. Body spans that
 * follow each other become one. */
static void transcript(struct buf *t, enum h1_role role, enum http_method method, struct span in,
                       const size_t *cuts, size_t cut_count, bool eof)
{
    static struct http_head head;
    struct h1 h1;
    h1_init(&h1, role, 2048, &head);
    h1_expect(&h1, method);
    size_t done = 0;
    bool body = false;
    t->len = 0;
    for (size_t i = 0; i < cut_count + eof; i++) {
        for (;;) {
            size_t used = 0, end = i < cut_count ? cuts[i] : in.len;
            struct span part = {in.ptr + done, end - done};
            struct http_event e =
                i == cut_count && eof ? h1_feed_eof(&h1) : h1_feed(&h1, part, &used);
            assert(used <= part.len);
            done += used;
            if (e.kind == HTTP_EVENT_MORE)
                break;
            if (e.kind == HTTP_EVENT_BODY) {
                assert(e.body.len > 0 && e.body.ptr >= in.ptr);
                buf_printf(t, "%s%.*s", body ? "" : " [", SPAN_FMT(e.body));
                body = true;
                continue;
            }
            buf_put_str(t, body ? "]" : "");
            body = false;
            buf_put_str(t, t->len && t->ptr[t->len - 1] != ' ' ? " " : "");
            if (e.kind == HTTP_EVENT_BAD) {
                buf_printf(t, "BAD %s", e.reject->id);
                return;
            }
            if (e.kind == HTTP_EVENT_HEAD)
                put_head(t, e.head);
            if (e.kind == HTTP_EVENT_TRAILERS) {
                buf_put_str(t, "trailers");
                put_fields(t, e.head);
            }
            if (e.kind == HTTP_EVENT_END) {
                buf_put_str(t, "END");
                if (i == cut_count)
                    return;
                h1_next(&h1);
            }
        }
    }
    buf_put_str(t, body ? "]" : "");
}

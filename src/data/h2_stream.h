/* SPDX-License-Identifier: Apache-2.0 */
/* data/h2_stream.h - what data/stream.h promises, for a stream of HTTP/2.
 * Thread: the worker's.   Owns: nothing.   Never: sends; the conn's turn does. */
#pragma once

#include "data/h2_conn.h"

static inline struct h2_stream *h2_stream_of(struct stream *s)
{
    return (struct h2_stream *)(void *)s;
}

void h2_stream_reply(struct worker *w, struct h2_stream *s, const struct http_answer *answer);
void h2_stream_limit_in(struct worker *w, struct h2_stream *s, uint32_t ms);
void h2_stream_limit_out(struct worker *w, struct h2_stream *s, uint32_t ms);
struct sink h2_stream_sink(struct worker *w, struct h2_stream *s);
bool h2_stream_respond(struct worker *w, struct h2_stream *s, const struct http_head *head,
                       enum http_body framing);
/* The stream becomes a tunnel: changes the 101 that says so into HTTP/2's 200. */
enum http_body h2_stream_switch(struct h2_stream *s, struct http_head *head);
bool h2_stream_shut(struct worker *w, struct h2_stream *s);
bool h2_stream_is_full(const struct h2_stream *s);
void h2_stream_settle(struct worker *w, struct h2_stream *s);
/* Some of what waited is sent. */
void h2_stream_moved(struct worker *w, struct h2_stream *s);
void h2_stream_took(struct worker *w, struct h2_stream *s, uint64_t bytes);
/* trailers: taken. */
void h2_stream_done(struct worker *w, struct h2_stream *s, struct block *trailers);
void h2_stream_abort(struct worker *w, struct h2_stream *s, enum h2_error error);

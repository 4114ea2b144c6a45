/* SPDX-License-Identifier: Apache-2.0 */
/* data/stream.h - one request as its codec sees it, on the client's side: what exchange, request
 * and relay know of a client. HTTP/1's lies in its conn, one at a time; HTTP/2's are slots of their
 * own. Thread: the worker's.   Owns: nothing; its conn or slot is whoever made it. Never: lives
 * longer than its conn, routes, speaks to an upstream. */
#pragma once

#include "data/http/message.h"
#include "data/relay.h"
#include "data/worker.h"

struct conn;

enum stream_version { STREAM_HTTP1 = 1, STREAM_HTTP2 = 2 };

struct stream {
    uint8_t version; /* enum stream_version */
    uint8_t minor;   /* HTTP/1.minor of the present request; 1 for HTTP/2 */
    bool is_head;    /* the present request is HEAD */
    struct handle exchange;
};

/* A stream across steps: the slot of its conn (HTTP/1), or its own. */
struct stream_ref {
    struct handle slot;
    uint8_t version;
};

/* What an exchange wants of the client's side until its next turn. */
enum stream_want {
    STREAM_WANT_WATCH, /* the request is in, or nobody takes it yet: notice when the client goes */
    STREAM_WANT_NOTHING, /* what nobody takes must not pile up */
    STREAM_WANT_SMALL,
    STREAM_WANT_LARGE, /* much of the body is still to come */
    STREAM_WANT_POLL,  /* WIRE_WANT_POLL */
};

struct stream_ref stream_ref_of(struct worker *w, const struct stream *s);
/* The stream must be there: a stream that ends cancels its exchange. */
struct stream *stream_get(struct worker *w, struct stream_ref ref);
/* Its connection. */
struct conn *stream_conn(struct worker *w, struct stream *s);

/* Answers the request with a response of our own and ends the stream; the conn may be closing
 * afterwards. `answer` and what it points to are used up.
 *   whole   the request was received to its end */
void stream_reply(struct worker *w, struct stream *s, const struct http_answer *answer, bool whole);
/* The same with nothing but a status. */
void stream_reply_status(struct worker *w, struct stream *s, uint16_t status, bool whole);

/* The request is not served, and its client is let see that it may ask again on another connection:
 * HTTP/1 ends without an answer, HTTP/2 refuses the stream (RFC 9113 section 8.7). */
void stream_refuse(struct worker *w, struct stream *s);

/* The request as announced by its head is in: its codec gets to the end without more bytes. */
void stream_take_end(struct worker *w, struct stream *s);
/* Sets the limit for the rest of the request; 0: none. */
void stream_limit_in(struct worker *w, struct stream *s, uint32_t ms);
bool stream_is_limited_in(const struct stream *s);
/* Sets the time by which the response must be out; 0: no limit from here on. */
void stream_limit_out(struct worker *w, struct stream *s, uint32_t ms);
/* No other request may follow on the connection. In HTTP/2 that is for the connection to say. */
void stream_close_after(struct worker *w, struct stream *s);

/* Makes more of the body ready to be read. False: the connection broke and is closing; the exchange
 * was cancelled. */
bool stream_fill(struct worker *w, struct stream *s);
/* The rule that the body broke; to be asked when it did. */
const struct http_reject *stream_broken_rule(const struct stream *s);
/* Where the body is read from, for this turn. */
struct source stream_source(struct worker *w, struct stream *s);
/* Its own socket, when nothing stands between that and the bytes of messages; else NULL. */
struct wire *stream_wire(struct stream *s);
/* Whether stream_fill() may give more after the source was emptied. */
bool stream_fills_again(const struct stream *s);
/* Bytes of the body were passed on: the client may send as many more. */
void stream_took(struct worker *w, struct stream *s, uint64_t bytes);
/* The client sends nothing more on this connection. */
bool stream_is_half_closed(struct worker *w, struct stream *s);
/* What was received and not looked at may hold the rest of the request.
 *   untouched   the codec has not seen what waits in the source */
bool stream_may_hold_more(struct worker *w, struct stream *s, bool untouched);
/* A half-closed client: the answer is still wanted, for a while, or once more that long. */
void stream_await(struct worker *w, struct stream *s, bool anew);

/* Where the response's body goes, for this turn; sink_flush() before the turn ends. */
struct sink stream_sink(struct worker *w, struct stream *s);
/* How a body with this head is framed towards the client. */
enum http_body stream_framing(const struct stream *s, const struct http_head *head);
/* Queues a response head, final or interim; `sink` is stream_sink()'s.
 *   framing   as stream_framing() said
 *   whole     the request was received to its end
 * False: it cannot be sent. */
bool stream_respond(struct worker *w, struct stream *s, const struct http_head *head,
                    enum http_body framing, bool whole, struct sink *sink);
/* The upstream has switched to another protocol: changes its 101 into what tells the client so
 * (HTTP/2: a 200, RFC 8441 section 5) and returns the framing for stream_respond(). From here on
 * the stream is a tunnel. */
enum http_body stream_switch(struct stream *s, struct http_head *head);
/* A tunnel's other side has ended: tells the client once all that is queued was sent. False: not
 * yet; to be called again in the turns that follow. */
bool stream_shut(struct worker *w, struct stream *s);
/* The client's side takes no more at present. */
bool stream_is_full(struct worker *w, struct stream *s);
/* Sends what is queued and receives as `want` says. */
void stream_settle(struct worker *w, struct stream *s, enum stream_want want);

/* The exchange is over and its whole response is queued.
 *   whole      the request was received to its end
 *   trailers   lines of a trailer section that the sink did not take (HTTP_BODY_FRAMES), or NULL;
 *              taken */
void stream_done(struct worker *w, struct stream *s, bool whole, struct block *trailers);
/* The client holds a part of a response that will never be whole: it is made to see that. */
void stream_abort(struct worker *w, struct stream *s);
/* Nobody is there any more to answer. */
void stream_hang_up(struct worker *w, struct stream *s);

/* SPDX-License-Identifier: Apache-2.0 */
/* data/upstream/lease.h - one request's place upstream: what an exchange knows of the connection
 * that its request goes out on. An HTTP/1 upconn is leased whole and holds the one lease it can
 * give. Thread: the worker's.   Owns: nothing; its upconn does. Never: dials (dial.c does), decides
 * whether a request is sent again. */
#pragma once

#include "data/http/message.h"
#include "data/relay.h"
#include "data/worker.h"

struct pool_server;
struct upconn;

struct lease {
    struct handle exchange;
    bool shared; /* a stream of an HTTP/2 connection (multi.h) */
};

/* A lease across steps: the slot of its upconn, or its own when it is a stream. */
struct lease_ref {
    struct handle slot;
    bool shared;
};

/* NULL: there is none. */
struct lease *lease_get(struct worker *w, struct lease_ref ref);
/* The lease of a connection that is being made or was taken from its pool. */
struct lease_ref lease_ref_of(const struct upconn *upconn);
/* A place on a kept connection of this server, for the exchange; false: there is none.
 *   alone   on one that nobody shares */
bool lease_take(struct worker *w, struct pool_server *server, struct handle exchange, bool alone,
                struct lease_ref *ret);

/* Queues the request's head: in HTTP/1 form, whatever the connection speaks. Takes a reference.
 *   whole   no body follows */
void lease_send_head(struct worker *w, struct lease *l, enum http_method method, struct block *head,
                     bool whole);
/* How a body is framed that HTTP/1 would frame so. */
enum http_body lease_framing(const struct lease *l, enum http_body framing);
/* The whole connection ended, not the one request on it. */
bool lease_is_lost(const struct lease *l);
/* The server has done nothing with the request: it may be sent again, whatever it asks for. */
bool lease_is_refused(const struct lease *l);
/* Until when the upstream must get on; ms 0 or clear: no limit. */
void lease_limit(struct worker *w, struct lease *l, uint32_t ms);
void lease_limit_clear(struct lease *l);
bool lease_is_limited(struct lease *l);

/* Where the request's body goes, for this turn; sink_flush() before the turn ends. */
struct sink lease_sink(struct worker *w, struct lease *l);
/* The request is passed on whole.
 *   trailers   as for stream_done() */
void lease_request_done(struct worker *w, struct lease *l, struct block *trailers);
/* A tunnel's client has ended its side: tells the upstream once all that is queued was sent. False:
 * not yet; to be called again in the turns that follow. */
bool lease_shut(struct worker *w, struct lease *l);
/* The upstream takes no more at present. */
bool lease_is_full(const struct lease *l);
/* The upstream takes nothing any more; it may have answered all the same. */
bool lease_is_deaf(const struct lease *l);

/* Makes more of what was received ready to be read; lease_is_over() tells what it cannot say. */
void lease_fill(struct worker *w, struct lease *l);
/* Whether lease_fill() may give more after the source was emptied. */
bool lease_fills_again(const struct lease *l);
/* Something came that was not looked at. */
bool lease_has_input(const struct lease *l);
/* The next response head, interim or final:
 *   HTTP_EVENT_HEAD   `*ret` until lease_head_taken(), which has to follow
 *   HTTP_EVENT_MORE   not yet
 *   HTTP_EVENT_BAD    the upstream broke the protocol, or its head is too large */
enum http_event_kind lease_head(struct worker *w, struct lease *l, struct http_head **ret);
void lease_head_taken(struct worker *w, struct lease *l);
/* The rule that the response broke; to be asked when it did, or when it ended too early. */
const struct http_reject *lease_broken_rule(const struct lease *l);
/* Where the response's body is read from, for this turn. */
struct source lease_source(struct lease *l);
/* Its own socket, when nothing stands between that and the bytes of messages; else NULL. */
struct wire *lease_wire(struct lease *l);
/* Bytes of it were passed on. */
void lease_took(struct worker *w, struct lease *l, uint64_t bytes);
/* The upstream sends nothing more: it ended its side, or broke. */
bool lease_is_over(const struct lease *l);
bool lease_is_broken(const struct lease *l);
/* All that it will ever send is here, with its proper end, though the connection, or its stream,
 * may live no more. */
bool lease_has_rest(const struct lease *l);

/* What to receive while the head is awaited. */
enum wire_want lease_want_head(const struct lease *l);
/* Sends what is queued and receives as `want` says. */
void lease_settle(struct worker *w, struct lease *l, enum wire_want want);

/* The exchange is over.
 *   reuse     the connection may serve another request
 *   idle_ms   how long it may wait for one, 0: no limit; max: how many the pool may hold */
void lease_release(struct worker *w, struct lease *l, bool reuse, uint32_t idle_ms, uint32_t max);
/* Its end, which follows, must not look like one to the upstream. A connection of its own. */
void lease_reset(struct lease *l);
/* The request or its response will not be completed. NULL is fine. */
void lease_cancel(struct worker *w, struct lease *l);

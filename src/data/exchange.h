/* SPDX-License-Identifier: Apache-2.0 */
/* data/exchange.h - one request and its response: a client's stream bound to an upstream's lease.
 * Thread: the worker's.   Owns: its lease, a pin on its snapshot, the request head in wire form
 * while a second try is possible.
 * Never: completes a response that its upstream did not complete; sends a request a second time
 * unless nothing of its body was passed on, nothing came back, and either the upstream says that it
 * has not touched it, or it is idempotent and was sent on a kept connection or its router's
 * middleware `retry` asks for it. */
#pragma once

#include "data/log/metrics.h"
#include "data/relay.h"
#include "data/route/middleware.h"
#include "data/stream.h"
#include "data/tunnel.h"
#include "data/upstream/lease.h"
#include "data/upstream/pick.h"

enum exchange_phase {
    EXCHANGE_PHASE_FREE = 0,
    EXCHANGE_PHASE_HELD,    /* held back before it has a server: see held.h */
    EXCHANGE_PHASE_CONNECT, /* waits for a connection to the upstream */
    EXCHANGE_PHASE_WAIT,    /* the request is going out; no final response head yet */
    EXCHANGE_PHASE_RELAY,   /* the response head was passed on */
    EXCHANGE_PHASE_TUNNEL,  /* a 101 was: no HTTP any more, nor a snapshot */
    EXCHANGE_PHASES,
};

/* What was asked for, as it was before anything changed it. */
struct exchange_request {
    uint64_t begun_ns;
    uint8_t method; /* enum http_method */
};

struct exchange {
    uint8_t phase; /* enum exchange_phase; changed by set_phase() alone */
    struct handle self;
    struct stream_ref stream;
    struct lease_ref lease;          /* slot.gen 0: none */
    const struct snapshot *snapshot; /* pinned; NULL, as what points into it, in a tunnel */
    const struct snap_router *router;
    const struct snap_service *service;
    struct pick pick;           /* how it came to its server */
    struct pool_server *server; /* held; NULL before there is one */
    uint32_t server_index;      /* in its snapshot */
    uint64_t asked_ns;          /* when the request's head went out */
    struct block *head;         /* the request head as it is sent */
    uint32_t head_start;        /* where it starts: sending moves block->start */
    uint64_t dial_until_ns;
    uint64_t body_bytes;   /* of the request, with Content-Length */
    uint64_t answer_bytes; /* of the response, with Content-Length, else UINT64_MAX */
    uint8_t addresses_tried, servers_tried;
    uint8_t tries;   /* that failed, as the middleware `retry` counts */
    uint8_t held;    /* its place among those held back, from 1; 0: none */
    uint16_t status; /* of the final response, ours or the upstream's; 0: none yet */
    bool can_move;   /* the head does not depend on the server */
    bool idempotent, has_body;
    bool tcp;    /* a TCP connection: a tunnel from the start, and no request */
    bool reused; /* the lease is a kept connection */
    bool retried;
    bool request_done;   /* received and passed on whole */
    bool upstream_keeps; /* the upstream allows another request */
    struct metrics_marks marks;
    struct block *log;  /* the access log's notes; NULL: there will be no line */
    struct limit again; /* the next try */
    struct relay up, down;
    struct tunnel tunnel; /* what was asked for, then the tunnel itself */
    struct exchange_request request;
    struct middleware_notes notes; /* last: their text is not cleared for a new exchange */
};
#define EXCHANGE_CLEAR_BYTES offsetof(struct exchange, notes.origin)

/* A slot for a request whose head was just read, bound to a router and to one of its servers,
 * picked from the present snapshot; pick NULL: it is held back until exchange_bind(). NULL: none is
 * free. */
struct exchange *exchange_open(struct worker *w, struct stream *s, const struct http_head *head,
                               const struct snap_router *router, const struct pick *pick);
/* The same for a connection that is passed on as it is; its notes are the caller's to fill. It has
 * to be started with exchange_start_tcp(). */
struct exchange *exchange_open_tcp(struct worker *w, struct stream *s,
                                   const struct snap_router *router, const struct pick *pick);
/* Finds it a connection. May end the exchange, and the client's connection with it. */
void exchange_start_tcp(struct worker *w, struct exchange *x);
/* It has a server now. */
void exchange_bind(struct worker *w, struct exchange *x, const struct pick *pick);
/* Finds it a connection. Takes `head`, the request's head in wire form. May end the exchange. */
void exchange_start(struct worker *w, struct exchange *x, struct block *head);
/* Whether it waits for nothing but its answer: the request is out whole. That the last of it was
 * sent is nothing that it has to look at. */
static inline bool exchange_only_listens(const struct exchange *x)
{
    return x->request_done && (x->phase == EXCHANGE_PHASE_WAIT || x->phase == EXCHANGE_PHASE_RELAY);
}
/* A TCP connection whose sides have not both ended: where an end counts, neither may see one. */
static inline bool exchange_is_cut(const struct exchange *x)
{
    return x->tcp && x->phase == EXCHANGE_PHASE_TUNNEL &&
           !(x->tunnel.up_shut && x->tunnel.down_over);
}
/* Moves what can be moved in both directions. May end the exchange. */
void exchange_turn(struct worker *w, struct exchange *x);
/* The transport to the server stands: queues what that hears before all else, TLS included. False:
 * there was no room. */
bool exchange_introduce(struct worker *w, struct exchange *x);
/* The connection that was being made stands; or could not be made. */
void exchange_connected(struct worker *w, struct exchange *x);
void exchange_connect_failed(struct worker *w, struct exchange *x);
/* The pause before another try is over. */
void exchange_again(struct worker *w, struct exchange *x);
/* The upstream was too slow: to connect, or to answer. */
void exchange_upstream_timeout(struct worker *w, struct exchange *x);
/* The client was too slow to send its request. */
void exchange_client_timeout(struct worker *w, struct exchange *x);
/* The client is gone. The stream forgets the exchange itself. */
void exchange_cancel(struct worker *w, struct exchange *x);

/* SPDX-License-Identifier: Apache-2.0 */
/* data/exchange.h - one request and its response: a conn's stream bound to an upstream's lease.
 * Thread: the worker's.   Owns: its lease, a pin on its snapshot, the request head in wire form
 * while a second try is possible.
 * Never: completes a response that its upstream did not complete; sends a request a second time
 * unless it is idempotent, without body, was sent on a kept connection and nothing came back. */
#pragma once

#include "data/conn.h"
#include "data/relay.h"
#include "data/upstream/upconn.h"

enum exchange_phase {
    EXCHANGE_PHASE_FREE = 0,
    EXCHANGE_PHASE_CONNECT, /* waits for a connection to the upstream */
    EXCHANGE_PHASE_WAIT,    /* the request is going out; no final response head yet */
    EXCHANGE_PHASE_RELAY,   /* the response head was passed on */
    EXCHANGE_PHASES,
};

struct exchange {
    uint8_t phase; /* enum exchange_phase; changed by set_phase() alone */
    struct handle self, conn, upconn;
    const struct snapshot *snapshot; /* pinned */
    const struct snap_service *service;
    struct pool_server *server; /* held */
    uint32_t server_index;      /* in its snapshot */
    struct block *head;         /* the request head as it is sent */
    uint32_t head_start;        /* where it starts: sending moves block->start */
    uint64_t dial_until_ns;
    uint64_t body_bytes;   /* of the request, with Content-Length */
    uint64_t answer_bytes; /* of the response, with Content-Length, else UINT64_MAX */
    uint8_t addresses_tried, servers_tried;
    uint8_t method;       /* enum http_method */
    uint8_t client_minor; /* HTTP/1.minor of the client */
    bool can_move;        /* the head does not depend on the server */
    bool idempotent, has_body;
    bool reused; /* the lease is a kept connection */
    bool retried;
    bool request_done;   /* received and passed on whole */
    bool upstream_keeps; /* the upstream allows another request */
    struct relay up, down;
};

/* A slot for the request whose head conn has just read, bound to a server of the present snapshot.
 * NULL: none is free. */
struct exchange *exchange_open(struct worker *w, struct conn *conn, const struct http_head *head,
                               uint32_t server);
/* Finds it a connection. Takes `head`, the request's head in wire form. May end the exchange. */
void exchange_start(struct worker *w, struct exchange *x, struct block *head);
/* Moves what can be moved in both directions. May end the exchange. */
void exchange_turn(struct worker *w, struct exchange *x);
/* The connection that was being made stands; or could not be made. */
void exchange_connected(struct worker *w, struct exchange *x);
void exchange_connect_failed(struct worker *w, struct exchange *x);
/* The upstream was too slow: to connect, or to answer. */
void exchange_upstream_timeout(struct worker *w, struct exchange *x);
/* The client was too slow to send its request. */
void exchange_client_timeout(struct worker *w, struct exchange *x);
/* The client is gone. The conn forgets the exchange itself. */
void exchange_cancel(struct worker *w, struct exchange *x);

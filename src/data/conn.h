/* SPDX-License-Identifier: Apache-2.0 */
/* data/conn.h - one client connection, from accept to slot reuse.
 * Thread: the worker that accepted it; it never moves.
 * Owns: its socket (as a wire), TLS session, request codec, decrypted input.
 * Never: blocks, allocates from the heap (wolfSSL does, for the session), touches another worker.
 * Close is begin -> join -> finish: conn_close_begin() may be called by any handler at any time;
 * the slot is given back by conn_run() when the kernel has nothing of it any more. */
#pragma once

#include "base/net.h"
#include "data/decrypt.h"
#include "data/http/h1.h"
#include "data/sink.h"
#include "data/stream.h"
#include "data/worker.h"

enum conn_phase {
    CONN_PHASE_FREE = 0,
    CONN_PHASE_PROXY,     /* the PROXY header is incomplete */
    CONN_PHASE_HELLO,     /* TLS, or perhaps: the ClientHello is incomplete */
    CONN_PHASE_HANDSHAKE, /* TLS: the handshake goes on */
    CONN_PHASE_IDLE,      /* between requests */
    CONN_PHASE_HEAD,      /* a request head is incomplete */
    CONN_PHASE_EXCHANGE,  /* a request is with its exchange, or the whole connection is */
    CONN_PHASE_H2,        /* HTTP/2: any number of requests */
    CONN_PHASE_FLUSH,     /* the whole response is queued and being sent */
    CONN_PHASE_LINGER,    /* everything is sent and our side shut; the client still sends */
    CONN_PHASE_CLOSING,   /* begun: waits until the kernel has nothing of it */
    CONN_PHASES,
};

/* The entry point's limit for a request head is brought into this range. */
#define CONN_HEAD_MAX 65536u
#define CONN_HEAD_MIN 1024u

struct conn {
    struct wire wire; /* first: a ready wire is its conn */
    uint8_t phase;    /* enum conn_phase; changed by set_phase() alone */
    bool is_tls;
    bool close_after; /* the connection ends with this response */
    bool linger;      /* the client may still be sending when the response is out */
    bool reset;       /* close with RST: the client must not take what it got for whole */
    bool trusted;     /* its X-Forwarded-* are kept */
    bool served;      /* has had a response */
    bool said_bye;    /* TLS: close_notify is queued */
    bool shut;        /* our side is shut */
    uint8_t ip_len;   /* 0 = the address was not asked for yet */
    char ip[NET_ADDR_TEXT_MAX];
    uint16_t listener;
    uint32_t requests; /* begun */
    uint64_t opened_ns;
    uint32_t policy_tag;      /* TLS: of the policy that the session was made with */
    uint64_t trusted_version; /* snapshot for which `trusted` holds, + 1; 0 = none */
    struct stream stream;     /* HTTP/1: the present request */
    struct h1 h1;
    struct h2_conn *h2;       /* HTTP/2, else NULL */
    struct decrypt secure;    /* TLS: the session, and what came through it */
    struct limit in;          /* handshake, idle, head, whole request, linger */
    struct limit out;         /* the client takes what we send */
    uint64_t send_limit_ns;   /* when the present response must be out; TIMER_NO_LIMIT = never */
    struct list hello;        /* in worker.hellos */
    uint64_t cold_until_ns;   /* how long it may wait for a cold name; 0 = it has not */
    uint16_t cold_at;         /* its place while it waits, + 1 */
    struct series_cell *open; /* where it is counted as open, or NULL */
    struct net_addr peer;
};

static_assert(offsetof(struct conn, wire) == 0, "a ready wire is its conn");

/* Ends our side when all that is queued was sent; false: not yet. */
bool conn_shut(struct worker *w, struct conn *conn);
/* Gives an accepted socket a slot. False: none is free, the fd is still the caller's. */
bool conn_open(struct worker *w, const struct listener *l, int fd);
/* One turn: looks at everything that happened to it since the last. It may be gone afterwards. */
void conn_run(struct worker *w, struct conn *conn);
/* The wheel's timers of it. */
void conn_limit_in(struct worker *w, struct conn *conn);
void conn_limit_out(struct worker *w, struct conn *conn);

/* Starts closing: cancels what is in the kernel, gives up the exchange. Safe to call twice and
 * from any handler of this connection; cannot fail. */
void conn_close_begin(struct worker *w, struct conn *conn);
/* The worker drains: idle connections close, new ones soon, others end with their response. */
void conn_drain(struct worker *w, struct conn *conn);

/* Bytes that the codec reads next: of the wire, or decrypted. */
struct block_queue *conn_input(struct conn *conn);
/* TLS: decrypts what is there, until more than CONN_HEAD_MAX bytes wait. False: the session is
 * broken and closing has begun. Plain connections: true. */
bool conn_fill(struct worker *w, struct conn *conn);
/* Where bytes for the client go in this turn; sink_flush() before the turn ends. */
struct sink conn_sink(struct worker *w, struct conn *conn);
/* Sends what is queued, receives as `want` says, watches the client's pace. */
void conn_settle(struct worker *w, struct conn *conn, enum wire_want want);
/* Counts it as open where its listener says by now. */
void conn_count_open(struct worker *w, struct conn *conn);
/* A request begins; it may be the last that the entry point allows on one connection. */
void conn_count_request(struct worker *w, struct conn *conn, const struct snap_entrypoint *ep);
/* The client's address as text. */
struct span conn_ip(struct worker *w, struct conn *conn);
/* What the PROXY header says of it; before anybody has asked for more than whether to trust it. */
void conn_set_peer(struct conn *conn, const struct net_addr *peer);
/* Entry point of the present snapshot; NULL when it is gone. */
const struct snap_entrypoint *conn_entrypoint(const struct worker *w, const struct conn *conn);

/* HTTP/1: answers the present request with a response of our own and ends it.
 *   keep   the request was received whole: another may follow */
void conn_reply(struct worker *w, struct conn *conn, const struct http_answer *answer, bool keep);
/* HTTP/1: the exchange is over and its whole response is queued.
 *   whole   the request was received to its end */
void conn_response_done(struct worker *w, struct conn *conn, bool whole);
/* HTTP/1: the client holds a part of a response that will never be whole: ends with RST. */
void conn_abort(struct worker *w, struct conn *conn);
/* HTTP/1: the request is not looked at, and the connection ends without an answer. */
void conn_refuse(struct worker *w, struct conn *conn);
/* HTTP/2: the codec is at its end; closes when everything is sent. */
void conn_h2_over(struct worker *w, struct conn *conn);
/* For handshake.c: no TLS comes: a TCP router takes it as it is, or it is HTTP, or nobody's. */
void conn_is_plain(struct worker *w, struct conn *conn);
/* A TCP router takes the connection, with what was received so far. It may be closing then.
 *   name   as for tcp_open() */
void conn_tcp_begin(struct worker *w, struct conn *conn, const struct snap_router *router,
                    struct span name);
/* For handshake.c: the handshake is over, or nothing follows what is queued: an alert, or the
 * end of a handshake that was all. */
void conn_handshake_begin(struct worker *w, struct conn *conn);
void conn_handshake_done(struct worker *w, struct conn *conn);
void conn_handshake_failed(struct worker *w, struct conn *conn);
/* Counts a response's status. */
void conn_count_status(struct worker *w, uint16_t status);

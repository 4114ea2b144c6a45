/* SPDX-License-Identifier: Apache-2.0 */
/* data/upstream/upconn.h - one connection to an upstream server, from connect to slot reuse.
 * Thread: the worker's.   Owns: its socket (as a wire), its TLS session, the response codec.
 * Never: is leased to two exchanges at once unless it speaks HTTP/2 (multi.h), is used again after
 * anything unexpected came on it. Close is begin -> join -> finish, as with conn. */
#pragma once

#include "data/decrypt.h"
#include "data/http/h1.h"
#include "data/upstream/lease.h"
#include "data/worker.h"

enum upconn_phase {
    UPCONN_PHASE_FREE = 0,
    UPCONN_PHASE_CONNECTING,
    UPCONN_PHASE_GREETING, /* the TLS handshake goes on */
    UPCONN_PHASE_IDLE,     /* in its server's pool */
    UPCONN_PHASE_LEASED,   /* one exchange has it */
    UPCONN_PHASE_SHARED,   /* HTTP/2: any number of exchanges have streams of it */
    UPCONN_PHASE_CLOSING,
    UPCONN_PHASES,
};

/* Bytes of a response head. */
#define UPCONN_HEAD_MAX 65536u

struct upconn {
    struct wire wire;    /* first: a ready wire is its upconn */
    uint8_t phase;       /* enum upconn_phase; changed by set_phase() alone */
    struct lease lease;  /* the one that it can give */
    uint32_t head_bytes; /* of the response head being looked at */
    struct pool_server *server;
    struct list idle;    /* in server->idle, or in server->shared */
    struct list kept;    /* in worker.kept */
    struct list waiting; /* multi_leases for which it is being made */
    uint32_t waiting_count;
    bool alone;          /* its exchange cannot share it: HTTP/1 is asked for */
    bool tcp;            /* its end needs no close_notify: what it carries has an end of its own */
    struct multi *multi; /* HTTP/2: what it has more */
    struct limit limit;  /* connect, response head, idle in the pool */
    struct h1 h1;
    bool reset;              /* close with RST: the server must not take what it got for whole */
    bool said_bye;           /* TLS: close_notify is queued */
    struct decrypt secure;   /* TLS: the session, and what came through it */
    struct net_addr address; /* stays while the kernel connects */
};

/* Starts connecting for an exchange, which is told by exchange_connected() or
 * exchange_connect_failed(). NULL: no slot, or no socket. */
struct upconn *upconn_open(struct worker *w, struct pool_server *server,
                           const struct net_addr *address, struct handle exchange);
/* Leases a kept connection, just taken from its pool. */
void upconn_lease(struct worker *w, struct upconn *upconn, struct handle exchange);
/* The exchange is over. With reuse it goes back to the pool, else it is closed.
 *   idle_ms   how long it may wait there, 0 = no limit; max: how many the pool may hold */
void upconn_release(struct worker *w, struct upconn *upconn, bool reuse, uint32_t idle_ms,
                    uint32_t max);
/* What to receive next: what is armed, else as the server's latest answers make likely. */
enum wire_want upconn_want(const struct upconn *upconn);
/* Takes one completion in. False: it calls for no turn. */
bool upconn_event(struct worker *w, struct upconn *upconn, const struct ring_event *ev);
/* One turn. It may be gone afterwards. */
void upconn_run(struct worker *w, struct upconn *upconn);
void upconn_limit(struct worker *w, struct upconn *upconn);
/* Ends our side when all that is queued was sent; false: not yet. */
bool upconn_shut(struct worker *w, struct upconn *upconn);
/* Starts closing; safe to call twice. The exchange, if any, must know already. */
void upconn_close_begin(struct worker *w, struct upconn *upconn);
/* An idle connection on which nothing has happened but what TLS does by itself. */
bool upconn_is_good(struct worker *w, struct upconn *upconn);
/* Bytes that the codec reads next: of the wire, or decrypted. */
static inline struct block_queue *upconn_input(struct upconn *upconn)
{
    return upconn->secure.tls ? &upconn->secure.plain : &upconn->wire.received;
}
/* TLS: decrypts what is there, up to a bound. A broken session counts as a failed receive. */
void upconn_fill(struct worker *w, struct upconn *upconn);
/* All that was received was looked at, and no more comes. */
bool upconn_is_over(const struct upconn *upconn);
/* The same, and not in an orderly way: something may be missing. */
bool upconn_is_broken(const struct upconn *upconn);

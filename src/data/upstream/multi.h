/* SPDX-License-Identifier: Apache-2.0 */
/* data/upstream/multi.h - an HTTP/2 connection to a server, which many exchanges share: each has a
 * stream of it for a lease.
 * Thread: the worker's.   Owns: the codec, the leases' slots.
 * Never: sends outside its upconn's turn (what all leases have to say in one turn goes out
 * together), lets a lease that broke, or one whose client does not read, harm another. */
#pragma once

#include "data/http/h2_client.h"
#include "data/upstream/lease.h"

struct upconn;

/* What an upconn that speaks HTTP/2 has more. */
struct multi {
    struct h2_client codec; /* first: the codec's handlers get its address */
    struct worker *w;
    struct upconn *upconn;
    uint32_t slot;
    uint32_t open;       /* leases that have a stream */
    uint32_t idle_ms;    /* how long it is kept without any; 0 = no limit */
    uint32_t owed;       /* payload that the connection has no credit for yet */
    uint64_t unread;     /* payload of all leases that their exchanges have not taken */
    bool running;        /* it has its turn */
    bool hungry;         /* some lease waits for a pool block */
    bool paused;         /* nothing is read: the pools are short */
    bool pinged;         /* a PING waits for its answer */
    uint64_t heard_ns;   /* when the server was last heard of */
    uint64_t idle_at_ns; /* when the last lease ended; 0 = there are some */
    struct list leases;  /* with a stream */
    struct list ready;   /* those whose exchange has something to do */
};

/* A stream, or the wait for a connection that is being made. */
struct multi_lease {
    struct lease lease;    /* first: exchanges get its address */
    struct upconn *upconn; /* NULL: the connection is gone */
    int32_t id;            /* 0: the request is not sent yet */
    uint32_t slot;
    uint32_t unread;                  /* payload that its exchange has not taken */
    uint8_t method;                   /* enum http_method */
    bool closed;                      /* the stream is; nothing comes or goes any more */
    bool refused;                     /* the server has done nothing with the request */
    bool out_last;                    /* nothing follows behind `out` but trailers */
    bool connect;                     /* a WebSocket: asks by CONNECT, a 2xx is its 101 */
    bool shutting, told;              /* a tunnel's end follows behind `out`, and is sent */
    struct block *head;               /* a request that waits for the server's SETTINGS, or NULL */
    bool refill;                      /* `out` had no room for what its exchange has */
    struct body in;                   /* received, not yet taken */
    struct block_queue heads;         /* received, one in each block, behind its status */
    struct block_queue out;           /* payload to be sent */
    struct block *trailers;           /* lines to be sent behind it, or NULL */
    struct list all;                  /* in multi.leases, or in upconn.waiting */
    struct list ready;                /* in multi.ready */
    struct limit limit;               /* as the exchange set it */
    const struct http_reject *reject; /* the rule that its head broke, or NULL */
};

static_assert(offsetof(struct multi, codec) == 0, "a codec is its multi");
static_assert(offsetof(struct multi_lease, lease) == 0, "a lease is its multi_lease");

static inline struct multi_lease *multi_lease_of(const struct lease *l)
{
    return (struct multi_lease *)(uintptr_t)l;
}

/* The server speaks HTTP/2 on this connection, which stands. False: no memory. */
bool multi_open(struct worker *w, struct upconn *upconn);
/* Gives up the codec. Leases are told: what they have received stays theirs. The upconn is closing
 * already. */
void multi_close(struct worker *w, struct upconn *upconn);
/* One turn: reads all there is, runs exchanges, sends. The upconn may be closing afterwards. */
void multi_turn(struct worker *w, struct upconn *upconn);
/* The upconn's limit is reached: it was idle too long, or the server is not heard any more. */
void multi_limit(struct worker *w, struct upconn *upconn);
/* May take one more request. */
bool multi_has_room(const struct worker *w, const struct upconn *upconn);
/* Closes when nobody uses it. */
void multi_retire(struct worker *w, struct upconn *upconn);

/* A lease that waits for the connection which is being made; false: no slot. */
bool multi_wait(struct worker *w, struct upconn *upconn, struct handle exchange,
                struct lease_ref *ret);
/* The same on a connection that stands. */
bool multi_take(struct worker *w, struct upconn *upconn, struct handle exchange,
                struct lease_ref *ret);
/* A lease that waited has a connection now. */
void multi_join(struct worker *w, struct multi_lease *l);
/* Gives the slot back; the stream is reset when it is not at its end. */
void multi_lease_free(struct worker *w, struct multi_lease *l);
/* The lease's own limit. */
void multi_lease_limit(struct worker *w, struct multi_lease *l);

/* What data/upstream/lease.h promises. */
void multi_send_head(struct worker *w, struct multi_lease *l, enum http_method method,
                     struct block *head, bool whole);
struct sink multi_sink(struct worker *w, struct multi_lease *l);
void multi_request_done(struct worker *w, struct multi_lease *l, struct block *trailers);
bool multi_shut(struct worker *w, struct multi_lease *l);
bool multi_is_full(const struct multi_lease *l);
enum http_event_kind multi_head(struct worker *w, struct multi_lease *l, struct http_head **ret);
void multi_head_taken(struct worker *w, struct multi_lease *l);
void multi_took(struct worker *w, struct multi_lease *l, uint64_t bytes);
void multi_settle(struct worker *w, struct multi_lease *l);

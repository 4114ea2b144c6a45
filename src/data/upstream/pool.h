/* SPDX-License-Identifier: Apache-2.0 */
/* data/upstream/pool.h - the upstream servers of the present snapshot as one worker sees them:
 * kept-alive connections, balancing state, how the latest attempts went.
 * Thread: the worker's.   Owns: its pool_servers; an upconn or exchange holds a reference.
 * Never: shares a connection with another worker, keeps one of a server that is no longer
 * configured. Memory is allocated when a snapshot is adopted, only then. */
#pragma once

#include "base/list.h"
#include "base/result.h"
#include "bridge/snapshot.h"
#include "data/tls/dialer.h"
#include "data/upstream/dialers.h"

struct worker;
struct upconn;

struct pool_server {
    struct list idle;       /* upconns, the latest used first */
    struct list shared;     /* upconns that speak HTTP/2 */
    struct upconn *dialing; /* one that is expected to, being made; NULL = none */
    bool h2c;               /* it speaks HTTP/2 without TLS */
    bool speaks_h2;         /* it did so the last time */
    bool takes_connect;     /* it said then that it takes WebSockets on streams (RFC 8441) */
    uint32_t read_idle_ms, ping_ms; /* HTTP/2: as its transport says */
    uint32_t keep_alive_ms;         /* TCP: as its service says */
    uint32_t idle_count;
    uint32_t refs;          /* the pool's own, and one per upconn and exchange */
    uint32_t index;         /* in the present snapshot's servers */
    bool retired;           /* not configured any more */
    uint8_t large;          /* 0..16: how much its latest answers were large */
    int64_t turn;           /* smooth weighted round robin */
    uint64_t rest_until_ns; /* an attempt to connect failed: others first until then */
    uint64_t transport_id;  /* what its connections were made under; 0 = plain */
    uint64_t told_ns;       /* when a TLS failure of it was last logged; 0 = never */
    struct tls_resume resume;
    uint64_t answer_ns; /* from a request to the head of its answer, of late; 0 = never asked */
    uint32_t failures;  /* since failed_ns, for the passive health check */
    uint64_t failed_ns;
    uint64_t out_until_ns; /* the passive health check has taken it out until then */
    size_t service_len, url_len;
    char key[]; /* service name, then URL */
};

struct pool {
    struct pool_server **servers; /* by index in snapshot.servers */
    uint32_t count;
    struct dialers dialers;
    int64_t *member_turns; /* by index in snapshot.members: smooth weighted round robin */
};

/* Answers from here on are expected to be large: they are received into large buffers at once. */
#define POOL_LARGE 8

/* Makes the pool follow a new snapshot: servers that stay keep connections and state, those of
 * servers that went are closed. */
void pool_adopt(struct worker *w, const struct snapshot *s);
/* Closes all kept connections. */
void pool_close_idle(struct worker *w);
/* Gives up all servers. */
void pool_clear(struct worker *w);

void pool_hold(struct pool_server *server);
void pool_drop(struct pool_server *server);
/* An HTTP/2 connection that takes one more request, or NULL. */
struct upconn *pool_shared(struct worker *w, struct pool_server *server);
/* A kept connection that is still good, or NULL. It is no longer in the pool. */
struct upconn *pool_take(struct worker *w, struct pool_server *server);
/* Takes a connection back; false: the server has `max` already, or is retired. Where all servers
 * together keep so many that new connections would find no slot, the longest idle one is closed. */
bool pool_put(struct worker *w, struct pool_server *server, struct upconn *upconn, uint32_t max);
/* The upconn leaves the pool by itself (closed, timed out). */
void pool_remove(struct worker *w, struct pool_server *server, struct upconn *upconn);
/* Remembers how large an answer's body was. */
void pool_note_body(struct pool_server *server, uint64_t bytes);

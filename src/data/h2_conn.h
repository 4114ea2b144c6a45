/* SPDX-License-Identifier: Apache-2.0 */
/* data/h2_conn.h - what a conn needs to speak HTTP/2: the codec and the streams that are open.
 * Thread: the worker's.   Owns: its codec and its streams' slots.
 * Never: sends outside its conn's turn: what all streams have to say in one turn goes out together.
 */
#pragma once

#include "data/http/h2.h"
#include "data/stream.h"

struct conn;

struct h2_conn {
    struct h2 h2; /* first: the codec's handlers get its address */
    struct worker *w;
    struct conn *conn;
    uint32_t index;      /* its slot */
    uint32_t open;       /* streams */
    bool hungry;         /* some stream waits for a pool block */
    bool running;        /* its conn has its turn */
    bool leaving;        /* the client was told that the end is near */
    bool ending;         /* no new streams: the last GOAWAY is queued */
    bool excess_counted; /* the bound that was exceeded is in the report */
    struct list streams; /* all of them */
    struct list ready;   /* those whose exchange has something to do */
};

struct h2_stream {
    struct stream stream; /* first: exchanges get its address */
    struct h2_conn *owner;
    int32_t id;
    uint32_t slot;
    bool in_done;           /* the client has said all */
    bool out_last;          /* nothing follows behind `out` but trailers */
    bool answered;          /* the final head is queued */
    bool tunnel;            /* what follows it is no HTTP, both ways */
    bool told;              /* the end of what we send is sent */
    bool refill;            /* `out` had no room for what its exchange has */
    struct body in;         /* received, not yet taken */
    struct block_queue out; /* payload to be sent */
    struct block *trailers; /* lines to be sent behind it, or NULL */
    struct list all;        /* in owner->streams */
    struct list ready;      /* in owner->ready */
    struct limit in_limit;  /* the whole request */
    struct limit out_limit; /* the whole response, or the next piece of it */
    uint64_t out_until_ns;  /* the whole response; TIMER_NO_LIMIT = never */
};

static_assert(offsetof(struct h2_conn, h2) == 0, "a codec is its h2_conn");
static_assert(offsetof(struct h2_stream, stream) == 0, "a stream is its h2_stream");

/* The client speaks HTTP/2 on this conn. False: no memory. */
bool h2_conn_open(struct worker *w, struct conn *conn);
/* Gives up all streams and their exchanges. */
void h2_conn_close(struct worker *w, struct h2_conn *h);
/* One turn: reads all there is, runs exchanges, sends. The conn may be closing afterwards. */
void h2_conn_turn(struct worker *w, struct conn *conn);
/* No new streams; the conn closes when those that are open have ended. */
void h2_conn_drain(struct worker *w, struct conn *conn);
/* The conn's limit is reached: it was idle too long, or a head did not come to its end. */
void h2_conn_limit(struct worker *w, struct conn *conn);
/* The limits of one stream. */
void h2_conn_limit_in(struct worker *w, struct h2_stream *s);
void h2_conn_limit_out(struct worker *w, struct h2_stream *s);

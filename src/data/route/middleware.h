/* SPDX-License-Identifier: Apache-2.0 */
/* data/route/middleware.h - what stands between a router and its service: changes requests, answers
 * some of them itself, changes responses. A router's list is flat and in its snapshot.
 * Thread: the worker's.   Owns: its tables (limits, known passwords) and compiled expressions.
 * Never: allocates for a request (RE2 does, within its bound), does I/O, waits: where a password
 * has to be judged, the caller is told to come again. */
#pragma once

#include "base/net.h"
#include "base/siphash.h"
#include "bridge/snapshot.h"
#include "data/http/message.h"
#include "data/route/bucket.h"
#include "data/route/known.h"
#include "data/route/tally.h"

#include <stddef.h>
#include <string.h>

/* Origins longer than this are nobody's: scheme, the longest host name, and a port. */
#define MIDDLEWARE_ORIGIN_MAX 272

/* What the response and the end of the request need; kept beside the exchange. Zero-initialised up
 * to `origin` is valid and means: nothing. Bits: step of the list. */
struct middleware_notes {
    struct snap_range steps; /* those that see the response */
    uint64_t origin_echo;    /* headers: the client's origin is allowed */
    uint64_t origin_any;     /* headers: every origin is, as "*" */
    uint64_t by_tls;         /* headers: the client came by TLS, itself or by its proxy's word */
    uint64_t in_flight[SNAP_IN_FLIGHT_MAX]; /* keys to give back */
    uint8_t in_flight_count;
    bool hide_client; /* X-Forwarded-For was removed: our own entry is not added either */
    uint8_t attempts; /* retry: tries in all; 0 = no such middleware */
    uint32_t retry_ms;
    uint16_t received; /* fields of the head that are not ours */
    uint16_t origin_len;
    char origin[MIDDLEWARE_ORIGIN_MAX]; /* undefined behind origin_len */
};

/* Most requests have nothing to note: they neither clear nor copy the text. */
static inline void middleware_notes_init(struct middleware_notes *notes)
{
    memset(notes, 0, offsetof(struct middleware_notes, origin));
}

/* What is to be given back at the request's end goes to `to`. */
static inline void middleware_notes_move(struct middleware_notes *to, struct middleware_notes *from)
{
    memcpy(to, from, offsetof(struct middleware_notes, origin));
    memcpy(to->origin, from->origin, from->origin_len);
    from->in_flight_count = 0;
}

/* State of one worker that outlives snapshots. */
struct middleware_tables {
    struct siphash_key secret;
    struct bucket_table buckets;
    struct tally tally;
    struct known_table known;
};

/* The expressions of one snapshot, compiled for one worker. */
struct middleware_set;

/* A request on its way through the list. */
struct middleware_run {
    const struct snapshot *snapshot;
    const struct middleware_set *set; /* of that snapshot */
    struct middleware_tables *tables;
    struct http_head *head;   /* changed in place; not yet told who the client is in
                                 X-Forwarded-For */
    struct http_head *answer; /* filled for MIDDLEWARE_ANSWER: status and fields */
    struct span body;         /* of that answer, empty: the status as text */
    bool bare;                /* that answer has no body */
    struct span peer_text;    /* the client's address */
    const struct net_addr *peer;
    bool tls; /* the client came by TLS */
    uint64_t now_ns;
    struct writer *text; /* memory for new values; must live until head and answer are written */
    struct middleware_notes *notes;
    struct known_question question; /* filled for MIDDLEWARE_WAIT */
};

enum middleware_verdict {
    MIDDLEWARE_PASS = 0, /* on to the service */
    MIDDLEWARE_ANSWER,   /* `answer` is the response; middleware_response() was not run over it */
    MIDDLEWARE_WAIT,     /* `question` has to be answered first, then come again at *step */
};

/* count: exchanges that a worker can have at once. ERR_NO_MEMORY. */
struct result middleware_tables_init(struct middleware_tables *t, uint32_t count);
void middleware_tables_fini(struct middleware_tables *t);

/* When a snapshot is adopted. An expression that does not compile (control refuses those) matches
 * nothing. */
struct middleware_set *middleware_set_create(const struct snapshot *s);
/* NULL is fine. */
void middleware_set_destroy(struct middleware_set *set);

/* Runs the steps of a router from *step on (0 at first). Fills run->notes, whose `steps` are those
 * that see the response whatever happens next. */
enum middleware_verdict middleware_request(struct middleware_run *run, struct snap_range steps,
                                           uint32_t *step);
/* The way back, the last step first.
 *   response   its head; fields are dropped and added
 *   notes      of its request; what is added points into it and into the snapshot */
void middleware_response(const struct snapshot *s, const struct middleware_notes *notes,
                         struct http_head *response);
/* How long the middleware `retry` waits behind the `tries`th failure (1 to attempts - 1), in ms:
 * from the plain interval to twice that, spread by half either way. */
uint32_t middleware_retry_pause(const struct middleware_notes *notes, uint32_t tries);
/* Gives back what the request holds; every request that had notes ends with this, once. */
void middleware_end(struct middleware_tables *t, struct middleware_notes *notes);

/* SPDX-License-Identifier: Apache-2.0 */
/* data/request.h - what becomes of a request whose head was read: an answer of our own
 * (redirection, no route, no server), or an exchange. Thread: the worker's.   Owns: nothing. Never:
 * waits; the head's spans are used up when it returns. */
#pragma once

#include "bridge/snapshot.h"
#include "data/log/metrics.h"
#include "data/route/middleware.h"
#include "data/stream.h"

/* A request on its way from its head to an exchange, for those who look at it or change it: valid
 * within request_begin() alone. */
struct request {
    struct stream *stream;
    struct conn *conn;
    const struct snap_entrypoint *entrypoint;
    const struct snap_router *router; /* NULL until one is found */
    struct http_head *head;           /* its fields and path may be changed and added to */
    struct writer text;               /* memory for values that have to be put together */
    bool whole;                       /* no body follows */
    struct block *log;                /* the access log's, until an exchange takes it over */
    struct exchange *exchange;        /* in which it was held back, or NULL */
    struct metrics_marks marks;       /* what it is counted by */
    bool has_exchange;                /* had one: it is counted when that ends */
    uint32_t step;                    /* of the router's middlewares, the next to run */
    struct middleware_notes *notes;   /* until an exchange takes them over */
};

/* s is new. Afterwards it has an exchange, or was answered; its conn may be closing. */
void request_begin(struct worker *w, struct stream *s, struct http_head *head);
/* Goes on with one that was held back; not `good`: with a 503. */
void request_resume(struct worker *w, struct request *rq, bool good);

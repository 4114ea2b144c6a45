/* SPDX-License-Identifier: Apache-2.0 */
/* data/log/metrics.h - counts requests and connections by entry point, router and service.
 * Thread: the worker's.   Owns: nothing.
 * Never: costs more than a few branches while nothing is to be counted; counts a request twice. */
#pragma once

#include "bridge/report.h"
#include "data/worker.h"

struct conn;
struct exchange;

/* What a request is counted by; ids outlive their snapshot, 0: not so. */
struct metrics_marks {
    uint64_t entrypoint, router, service;
    uint8_t method, protocol;
    uint16_t suite; /* 0: not over TLS */
    bool tls13;
    bool on;
};

/* A request begins; of what is counted by the entry point alone, too. */
void metrics_begin(struct worker *w, const struct conn *conn, const struct snap_entrypoint *ep,
                   const struct http_head *head, struct metrics_marks *ret);
/* Its router is found, which may not want it counted. */
void metrics_route(struct metrics_marks *m, const struct snap_router *router);
/* An exchange is over, well or not. */
void metrics_end(struct worker *w, const struct exchange *x);
/* A request was answered without an exchange.
 *   bytes   of the answer's body */
void metrics_reply(struct worker *w, const struct metrics_marks *m, uint16_t status,
                   uint64_t bytes);
/* Where connections of an entry point are counted; NULL: nowhere. */
struct series_cell *metrics_open_cell(struct worker *w, const struct snap_entrypoint *ep);

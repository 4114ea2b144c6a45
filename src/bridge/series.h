/* SPDX-License-Identifier: Apache-2.0 */
/* bridge/series.h - what one worker counts by entry point, router and service, in the report's
 * memory. Whose a cell is says an id that control makes of names and puts into the snapshot:
 * workers know no names, and control needs no memory of what it named before.
 * Thread: the worker changes its own; anyone reads.   Owns: nothing.
 * Never: locks, blocks, allocates; gives a cell to another id while the process lives. */
#pragma once

#include "base/result.h"

/* Bounds of a histogram, and what lies above the last. */
#define SERIES_BOUNDS_MAX 18u
#define SERIES_CELLS      8192u /* power of two */

enum series_kind {
    SERIES_REQUESTS = 0, /* all of a cell */
    SERIES_OPEN,         /* buckets[0]: connections open, a gauge */
    SERIES_RETRIES,      /* buckets[0]: tries that were made again */
    SERIES_TLS,          /* buckets[0]: requests over TLS, by suite, in the place of the status, and
                            version, in that of the protocol: 0 = 1.2, 1 = 1.3 */
};

enum series_protocol { SERIES_HTTP = 0, SERIES_WEBSOCKET, SERIES_EVENTS };

struct series_cell {
    _Alignas(64) uint64_t id; /* 0: free; set last, and once */
    uint64_t labels;          /* series_labels() */
    uint64_t in_bytes, out_bytes, sum_ns;
    uint64_t buckets[SERIES_BOUNDS_MAX + 1]; /* each without those below */
};

struct series_table {
    _Alignas(64) uint64_t used; /* cells; where it is 0, no page behind it is touched */
    struct series_cell cells[SERIES_CELLS];
};

/* method: a number below 16; status: 0 to 999, or the number of a cipher suite. */
static inline uint64_t series_labels(enum series_kind kind, enum series_protocol protocol,
                                     uint8_t method, uint16_t status)
{
    return (uint64_t)kind << 24 | (uint64_t)protocol << 20 | (uint64_t)method << 16 | status;
}

static inline enum series_kind series_kind_of(uint64_t labels)
{
    return (enum series_kind)(labels >> 24 & 15);
}

static inline enum series_protocol series_protocol_of(uint64_t labels)
{
    return (enum series_protocol)(labels >> 20 & 15);
}

static inline uint8_t series_method_of(uint64_t labels)
{
    return (uint8_t)(labels >> 16 & 15);
}

static inline uint16_t series_status_of(uint64_t labels)
{
    return (uint16_t)labels;
}

/* For the worker whose table it is. id not 0. NULL: the table is full. */
struct series_cell *series_find(struct series_table *t, uint64_t id, uint64_t labels);
/* A worker begins: gauges are 0, and a table that is nearly full of names from before is emptied.
 */
void series_start(struct series_table *t);
/* The cell, copied; false: it is free. For any thread; values may be of one moment apart. */
bool series_read(const struct series_table *t, uint32_t index, struct series_cell *ret);

/* Worker side: relaxed, so that readers see whole values. */
static inline void series_add(uint64_t *value, uint64_t n)
{
    __atomic_store_n(value, *value + n, __ATOMIC_RELAXED);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* data/route/bucket.h - token buckets of one worker, one per rate limit and source, in a table of a
 * fixed size.
 * Thread: the worker's.   Owns: its memory, from bucket_table_init() on.
 * Never: grows. When a place is needed, the bucket of its neighbourhood that has been idle for
 * longest is forgotten; its source then starts with a full bucket. */
#pragma once

#include "base/result.h"

#define BUCKET_COUNT 65536u
#define BUCKET_WAYS  8u

struct bucket {
    uint64_t key;     /* of limit and source, hashed; 0 = free */
    uint64_t seen_ns; /* when `tokens` held */
    double tokens;    /* may be below 0: let through early, to be made up for */
};

struct bucket_table {
    struct bucket *slots;
};

/* ERR_NO_MEMORY. Untouched parts cost no memory. */
struct result bucket_table_init(struct bucket_table *t);
void bucket_table_fini(struct bucket_table *t);

/* Takes a token: true. Tokens come at average/period_ns, up to `burst` (at least 1) of them. A
 * request that comes less than half a token (half a second, for rates below one a second) too early
 * is let through on credit. False: *ret_wait_ns is when there would be a token.
 *   average   at least 1
 *   key       not 0 */
bool bucket_take(struct bucket_table *t, uint64_t key, uint64_t average, uint64_t period_ns,
                 uint64_t burst, uint64_t now_ns, uint64_t *ret_wait_ns);

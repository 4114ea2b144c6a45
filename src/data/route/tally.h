/* SPDX-License-Identifier: Apache-2.0 */
/* data/route/tally.h - how many requests are under way, per limit and source, on one worker.
 * Thread: the worker's.   Owns: its memory, from tally_init() on.
 * Never: grows, forgets a count: what was added is taken off again. */
#pragma once

#include "base/result.h"

struct tally_row {
    uint64_t key; /* of limit and source, hashed; 0 = free */
    uint64_t count;
};

struct tally {
    struct tally_row *rows;
    uint32_t mask, used, max;
};

/* For at most `max` keys at a time (1..2^24). ERR_NO_MEMORY. Untouched parts cost no memory. */
struct result tally_init(struct tally *t, uint32_t max);
void tally_fini(struct tally *t);
/* Counts one more; ERR_LIMIT: there are `limit` already. ERR_FULL: `max` keys are in use.
 *   key   not 0 */
struct result tally_add(struct tally *t, uint64_t key, uint64_t limit);
/* One less of what was added. */
void tally_drop(struct tally *t, uint64_t key);

/* SPDX-License-Identifier: Apache-2.0 */
/* control/turns.h - how long the turns of control's loop take: while one lasts nothing else is
 * answered.
 * Thread: control's main thread.   Owns: one descriptor.
 * Never: counts the time between turns, in which there was nothing to do. */
#pragma once

#include <stdint.h>

#define TURNS_BOUNDS 10

/* Upper bounds of the buckets, ns, ascending; what is longer than all goes into one more. */
extern const uint64_t turns_bounds_ns[TURNS_BOUNDS];

struct turns_histogram {
    uint64_t buckets[TURNS_BOUNDS + 1]; /* not added up */
    uint64_t sum_ns, max_ns;
};

/* wall: as the clock goes. own: without the time in which the thread could have run but other
 * threads had the processor, and, in a turn that never waited for anything, without what the
 * machine's host took: what the turn is to blame for. */
struct turns {
    struct turns_histogram wall, own;
    /* Of the turn that runs. */
    uint64_t began_ns, cpu_ns, delay_ns;
    long waits;
    int schedstat_fd; /* -1: the kernel does not say how long a thread waits for a processor */
};

void turns_init(struct turns *t);
void turns_fini(struct turns *t);
/* Around each turn, in the same thread; began_ns: monotonic. Says so in the log when a turn held
 * everything up for longer than 250 ms of its own. */
void turns_begin(struct turns *t, uint64_t began_ns);
void turns_end(struct turns *t);

uint64_t turns_count(const struct turns_histogram *h);
/* Turns that took longer than the bound of this index. */
uint64_t turns_over(const struct turns_histogram *h, uint32_t bound);

/* SPDX-License-Identifier: Apache-2.0 */
/* ring/bufring.h - one group of provided buffers, shared with the kernel; private to ring/.
 * Thread: the ring's.   Owns: the buffers and the ring of descriptors that the kernel reads.
 * Never: grows. liburing 2.3 lacks io_uring_setup_buf_ring(), so the descriptors are kept here.
 *
 * The kernel takes buffers in the order in which it got them, so a group that it has whole passes
 * through the cache from end to end. It therefore gets only about as many as it takes between two
 * publications, those given back last first; when it runs out it gets more. */
#pragma once

#include "base/result.h"

#include <liburing.h>

struct bufring {
    struct io_uring_buf_ring *ring; /* page-aligned; the kernel reads descriptors and tail */
    uint8_t *mem;                   /* count * bytes */
    uint8_t *lent;                  /* one byte per buffer: 1 while the caller has it */
    uint16_t *shelf;                /* free and not with the kernel; last in, first out */
    unsigned shelved;               /* on the shelf */
    unsigned offered;               /* with the kernel, as far as completions were drained */
    unsigned count;                 /* power of two, or 0: the group is not used */
    unsigned bytes;                 /* of one buffer */
    unsigned target;                /* how many the kernel is to have, least..count */
    unsigned least;
    unsigned taken;  /* by the kernel since the latest publication */
    unsigned peak;   /* the largest `taken` of this window */
    unsigned window; /* publications until `target` is judged */
    uint16_t tail;
    uint16_t first_id; /* buffer ids on the wire are first_id + index */
    uint16_t group;
};

/* Maps the memory, registers group `group` with the kernel and publishes the first buffers.
 *   count  power of two 1..32768
 *   least  how many the kernel has when it takes few, or count when that is smaller
 * ERR_NO_MEMORY; ERR_IO_URING with errno of the registration. */
struct result bufring_init(struct bufring *b, struct io_uring *uring, uint16_t group,
                           uint16_t first_id, unsigned count, unsigned bytes, unsigned least);
/* Unregisters and unmaps. A zero-initialised one is fine. */
void bufring_fini(struct bufring *b, struct io_uring *uring);
/* Notes that the kernel picked `index`. */
void bufring_lend(struct bufring *b, uint16_t index);
/* Puts a lent buffer on the shelf. */
void bufring_give_back(struct bufring *b, uint16_t index);
/* Gives the kernel as many from the shelf as it lacks. */
void bufring_publish(struct bufring *b);
/* Buffers that are not lent. */
static inline unsigned bufring_free(const struct bufring *b)
{
    return b->offered + b->shelved;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* ring/bufring.h - one group of provided buffers, shared with the kernel; private to ring/.
 * Thread: the ring's.   Owns: the buffers and the ring of descriptors that the kernel reads.
 * Never: grows. liburing 2.3 lacks io_uring_setup_buf_ring(), so the descriptors are kept here. */
#pragma once

#include "base/result.h"

#include <liburing.h>

struct bufring {
    struct io_uring_buf_ring *ring; /* page-aligned; the kernel reads descriptors and tail */
    uint8_t *mem;                   /* count * bytes */
    uint8_t *lent;                  /* one byte per buffer: 1 while the caller has it */
    unsigned count;                 /* power of two, or 0: the group is not used */
    unsigned bytes;                 /* of one buffer */
    unsigned free;                  /* not lent */
    unsigned shown;                 /* of those, what the kernel may pick */
    unsigned shown_max;
    uint16_t *spare; /* of those, the others: the last given back is shown first, for its bytes
                      * are still in the cache */
    unsigned spare_count;
    uint16_t tail;
    uint16_t first_id; /* buffer ids on the wire are first_id + index */
    uint16_t group;
};

/* Maps the memory, registers group `group` with the kernel and publishes buffers.
 * count: power of two 1..32768; shown_max: how many the kernel sees at a time, 0 = all.
 * ERR_NO_MEMORY; ERR_IO_URING with errno of the registration. */
struct result bufring_init(struct bufring *b, struct io_uring *uring, uint16_t group,
                           uint16_t first_id, unsigned count, unsigned shown_max, unsigned bytes);
/* Unregisters and unmaps. A zero-initialised one is fine. */
void bufring_fini(struct bufring *b, struct io_uring *uring);
/* Notes that the kernel picked `index`. */
void bufring_lend(struct bufring *b, uint16_t index);
/* Takes a lent buffer back. */
void bufring_give_back(struct bufring *b, uint16_t index);
/* Fills up what the kernel sees. */
void bufring_publish(struct bufring *b);

/* SPDX-License-Identifier: Apache-2.0 */
/* data/log/access_ring.h - bytes from one worker to the thread that writes the access log.
 * Thread: one that puts, one that takes.   Owns: its memory, which costs nothing until it is used.
 * Never: blocks, locks; takes a part of a line: what does not fit is refused whole. */
#pragma once

#include "base/result.h"
#include "base/span.h"

#include <stdatomic.h>
#include <sys/uio.h>

#define ACCESS_RING_BYTES (4u << 20) /* power of two */

struct access_ring {
    _Alignas(64) _Atomic uint64_t head; /* bytes put so far; the worker's */
    _Alignas(64) _Atomic uint64_t tail; /* bytes taken so far; the writer's */
    uint8_t *bytes;
};

/* ERR_NO_MEMORY. */
struct result access_ring_init(struct access_ring *r);
void access_ring_fini(struct access_ring *r);
/* False: there is no room for all of it. */
bool access_ring_put(struct access_ring *r, struct span line);
/* What waits, in one or two pieces; returns how many. */
int access_ring_peek(const struct access_ring *r, struct iovec ret[2]);
/* So many bytes of it were used. */
void access_ring_taken(struct access_ring *r, size_t bytes);

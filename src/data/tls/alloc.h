/* SPDX-License-Identifier: Apache-2.0 */
/* data/tls/alloc.h - memory for wolfSSL: per-thread lists of freed blocks in front of malloc, for
 * the sizes that malloc does not keep per thread itself, so that handshakes and records neither
 * lock nor search.
 * Thread: any; a thread sees only its own lists, and may free what another has taken.
 * Owns: the blocks that wait in the lists. Blocks are malloc's own, so any can be freed with free()
 * and any of malloc's be given back here.
 * Never: keeps more of a size than ALLOC_KEEP_BYTES; gives memory a new life under a sanitizer
 * (there it is malloc and free). */
#pragma once

#include "base/result.h"

/* malloc keeps freed blocks of up to 1,032 bytes per thread; larger ones it takes from an arena
 * under a lock. A session's own object is 2 KB, a record's buffer up to 17 KB. */
#define ALLOC_SMALL_MAX  1024        /* these go to malloc, */
#define ALLOC_BLOCK_MAX  (20 * 1024) /* and so do larger than these */
#define ALLOC_KEEP_BYTES (64 * 1024) /* of each size, per thread */

/* Makes wolfSSL use this allocator, in all threads. ERR_CRYPTO. */
struct result alloc_init(void);
/* How many pieces of memory this thread has taken and not given back; less what it has given back
 * for others. 0 under a sanitizer. */
uint64_t alloc_used(void);
/* Gives back to malloc what waits in this thread's lists. Before a thread ends. */
void alloc_release(void);

/* SPDX-License-Identifier: Apache-2.0 */
/* data/tls/alloc.h - memory for wolfSSL: per-thread free lists in front of malloc, so that
 * handshakes and records neither lock nor search. Blocks come from malloc one by one; a freed one
 * waits in its size's list of the thread that freed it.
 * Thread: any; a thread sees only its own lists.   Owns: the blocks that wait in the lists.
 * Never: keeps more per size than ALLOC_KEEP_BYTES; gives memory a new life under AddressSanitizer
 * (there it is malloc and free). */
#pragma once

#include "base/result.h"

/* A session's memory after its handshake is some 5 KB in blocks below 3 KB; a record takes one
 * block of up to 17 KB while it is worked on. */
#define ALLOC_BLOCK_MAX  (20 * 1024) /* larger ones go to malloc */
#define ALLOC_KEEP_BYTES (64 * 1024) /* of each size, per thread */

/* Makes wolfSSL use this allocator, in all threads. Once, before any other call of wolfSSL.
 * ERR_CRYPTO. */
struct result alloc_init(void);
/* Gives back to malloc what waits in this thread's lists. Before a thread ends. */
void alloc_release(void);

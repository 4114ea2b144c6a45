/* SPDX-License-Identifier: Apache-2.0 */
/* data/tls/random.h - random bytes for keys and nonces without a system call each: one generator
 * per thread, seeded by the kernel. wolfSSL asks it for every random byte (its own generator is
 * made anew for each session and costs 13 % of a handshake).
 * Thread: any; every thread has its own generator.   Owns: that generator's state.
 * Never: hands out a byte twice, neither in two threads nor after a fork; keeps what would tell
 * an intruder the bytes handed out before (the key is replaced with each refill). */
#pragma once

#include "base/result.h"

#include <stddef.h>

/* Once per process, before threads start: from then on a forked child draws other bytes than its
 * parent. Generators work without it, in processes that never fork. */
struct result random_init(void);

/* Fills `ret` with n random bytes. ERR_SYSTEM: the kernel gave no seed, and `ret` must not be
 * used. */
struct result random_fill(void *ret, size_t n);

/* The name wolfSSL was built to call. 0 = good, negative = no bytes. */
int ferrule_rand_block(unsigned char *output, unsigned int size);

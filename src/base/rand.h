/* SPDX-License-Identifier: Apache-2.0 */
/* base/rand.h - random numbers that are not secrets: jitter, balancing, hash seeds.
 * Thread: any; every thread has its own state.   Owns: nothing.
 * Never: used for keys, tokens or nonces (those come from crypto/). */
#pragma once

#include <stdint.h>

uint64_t rand_u64(void);
/* 0..below-1; below > 0. */
uint64_t rand_below(uint64_t below);

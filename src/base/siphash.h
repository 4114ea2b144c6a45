/* SPDX-License-Identifier: Apache-2.0 */
/* base/siphash.h - SipHash-2-4: a hash for tables whose keys strangers choose. Who does not know
 * the secret can neither make keys meet in one place nor guess whether two of them do. Thread: any.
 * Owns: nothing.   Never: used as a signature. */
#pragma once

#include "base/span.h"

struct siphash_key {
    uint64_t words[2];
};

/* Two parts are hashed as if the length of the first stood between them. */
uint64_t siphash(const struct siphash_key *key, struct span first, struct span second);

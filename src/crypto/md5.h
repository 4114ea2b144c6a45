/* SPDX-License-Identifier: Apache-2.0 */
/* crypto/md5.h - MD5 (RFC 1321), for one thing alone: the password hashes that Apache's htpasswd
 * makes by default. The TLS library is built without it.
 * Thread: any.   Owns: nothing.   Never: used where a collision matters. */
#pragma once

#include "base/span.h"

#define MD5_BYTES 16

struct md5 {
    uint32_t state[4];
    uint64_t bytes;
    uint8_t block[64];
};

void md5_begin(struct md5 *m);
void md5_add(struct md5 *m, struct span in);
void md5_end(struct md5 *m, uint8_t out[MD5_BYTES]);

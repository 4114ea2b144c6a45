/* SPDX-License-Identifier: Apache-2.0 */
/* crypto/digest.h - digests, HMAC, base64, secure random bytes.
 * Thread: any.   Owns: nothing.
 * Never: fails for a supported algorithm (a library failure there is a bug: must). */
#pragma once

#include "base/buf.h"
#include "base/result.h"

enum digest { DIGEST_SHA1 = 1, DIGEST_SHA224, DIGEST_SHA256, DIGEST_SHA384, DIGEST_SHA512 };
#define DIGEST_BYTES_MAX 64

size_t digest_bytes(enum digest algorithm);
/* Writes digest_bytes(algorithm) bytes to out. */
void digest_once(enum digest algorithm, struct span in, uint8_t *out);
/* RFC 2104; writes digest_bytes(algorithm) bytes to out. */
void digest_hmac(enum digest algorithm, struct span key, struct span in, uint8_t *out);

/* RFC 4648 section 5, no padding. */
void base64url_put(struct buf *out, struct span in);
/* Strict: no padding, no white space, canonical. ERR_FORMAT. */
struct result base64url_get(struct span text, struct buf *out);
/* RFC 4648 section 4 with padding. */
void base64_put(struct buf *out, struct span in);
/* Takes padding or none, ignores white space. ERR_FORMAT. */
struct result base64_get(struct span text, struct buf *out);
void hex_put(struct buf *out, struct span in);

/* Cryptographic random bytes from the kernel. */
void random_bytes(void *out, size_t len);

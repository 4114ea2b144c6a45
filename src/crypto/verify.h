/* SPDX-License-Identifier: Apache-2.0 */
/* crypto/verify.h - is a signature of X.509 kind good? (RFC 5280 section 4.1.1)
 * Thread: any.   Owns: nothing.
 * Never: accepts SHA-1, MD5 or RSA keys below 2048 bits; judges whose key it is. Private to
 * src/crypto. */
#pragma once

#include "base/result.h"
#include "base/span.h"

/* spki: SubjectPublicKeyInfo, algorithm: content of the AlgorithmIdentifier; any bytes are safe.
 * Knows RSA (PKCS#1 v1.5) and ECDSA with SHA-256, SHA-384 and SHA-512, and Ed25519.
 * ERR_FORMAT: an algorithm or key that it does not know; ERR_MISMATCH: not this key's signature
 * of this message. */
struct result verify_signature(struct span spki, struct span algorithm, struct span message,
                               struct span signature);

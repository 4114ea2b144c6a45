/* SPDX-License-Identifier: Apache-2.0 */
/* control/acme/jws.h - signed requests: JSON Web Signatures in the flattened form that ACME takes
 * (RFC 7515 section 7.2.2, RFC 8555 section 6.2).
 * Thread: any, one at a time per key.   Owns: nothing.
 * Never: puts a private key or an HMAC key into its output. */
#pragma once

#include "base/buf.h"
#include "base/result.h"
#include "crypto/key.h"

/* Appends {"protected","payload","signature"}.
 *   kid      account URL; NULL puts the public key (jwk) instead, for newAccount (section 6.2)
 *   nonce    anti-replay nonce (section 6.5); NULL leaves it out (inner JWS of a key change)
 *   payload  {NULL, 0} is POST-as-GET (section 6.3)
 * ERR_CRYPTO. */
struct result jws_sign(const struct key *key, const char *kid, const char *nonce, const char *url,
                       struct span payload, struct buf *out);
/* Appends the externalAccountBinding object (RFC 8555 section 7.3.4): HS256 over the account's
 * public key. hmac is base64url. ERR_CONFIG when it is not. */
struct result jws_bind_external(const struct key *account, const char *kid, const char *hmac,
                                const char *url, struct buf *out, struct why *why);
/* Appends the base64url SHA-256 of the public key (RFC 7638). */
struct result jws_thumbprint(const struct key *key, struct buf *out);
/* Appends a JSON string with quotes; control bytes are escaped, UTF-8 passes. */
void jws_quote(struct buf *out, const char *text);

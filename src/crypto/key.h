/* SPDX-License-Identifier: Apache-2.0 */
/* crypto/key.h - private keys: making, reading, signing, printing their public half as a JWK.
 * Thread: any, one at a time per key.   Owns: the key object; DER outputs are the caller's.
 * Never: prints key material; blocks longer than key generation takes (RSA: seconds; control
 * makes those in its helper thread). */
#pragma once

#include "base/buf.h"
#include "base/result.h"
#include "base/secret.h"

enum key_type {
    KEY_EC256 = 1,
    KEY_EC384,
    KEY_RSA2048,
    KEY_RSA4096,
    KEY_RSA8192,
    KEY_ED25519, /* this and KEY_EC521 only as a person's own keys; Traefik has no name for them */
    KEY_EC521,
};

struct key; /* opaque */

/* Traefik's spelling: "EC256", "EC384", "RSA2048", "RSA4096", "RSA8192"; case-insensitive.
 * ERR_FORMAT. */
struct result key_type_parse(struct span text, enum key_type *ret);
const char *key_type_name(enum key_type type);

/* Makes a key. ERR_CRYPTO. */
struct result key_generate(enum key_type type, struct key **ret, struct why *why);
/* Reads PKCS#8, SEC 1 or PKCS#1 DER (RFC 5958, 5915, 8017). The public half is computed from the
 * private one, and has to be equal where the DER brings it along. RSA: 2048 to 8192 bits.
 * ERR_FORMAT. */
struct result key_from_der(struct span der, struct key **ret, struct why *why);
/* The first private key of a PEM text; other blocks (certificates, EC PARAMETERS) are passed over.
 * ERR_FORMAT (also for an encrypted key), ERR_NOT_FOUND. */
struct result key_from_pem(struct span pem, struct key **ret, struct why *why);
void key_free(struct key *key);
enum key_type key_type_of(const struct key *key); /* RSA of other sizes: the next larger name */
bool key_is_rsa(const struct key *key);

/* Appends DER: SEC 1 for EC, PKCS#1 for RSA, PKCS#8 for Ed25519 (what Traefik's store holds). */
struct result key_to_der(const struct key *key, struct buf *out);
/* As key_to_der in PEM. */
struct result key_to_pem(const struct key *key, struct buf *out);
/* Appends the SubjectPublicKeyInfo in DER. */
struct result key_public_der(const struct key *key, struct buf *out);

/* Signs for X.509 (RFC 5280 4.1.1, RFC 2986 4.2). key_signature_alg appends the
 * AlgorithmIdentifier; key_sign_der appends the same and the BIT STRING of the signature: what
 * stands behind the signed part of a certificate or request. ERR_CRYPTO. */
void key_signature_alg(const struct key *key, struct buf *out);
struct result key_sign_der(const struct key *key, struct span message, struct buf *out);

/* JWK of the public half with members in the order of RFC 7638 section 3.2 (so its SHA-256 is
 * the thumbprint). ERR_CRYPTO. */
struct result key_jwk(const struct key *key, struct buf *out);
/* "ES256", "ES384", "ES512", "RS256" or "EdDSA" (RFC 7518 section 3.1, RFC 8037). */
const char *key_jws_alg(const struct key *key);
/* Signs the message for a JWS: ECDSA as r||s of fixed length, RSA as PKCS#1 v1.5. ERR_CRYPTO. */
struct result key_jws_sign(const struct key *key, struct span message, struct buf *out);

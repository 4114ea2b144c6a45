/* SPDX-License-Identifier: Apache-2.0 */
/* crypto/password.h - passwords against the hashes that htpasswd makes.
 * Thread: any; password_holds() takes tens of milliseconds, so never a worker's.
 * Owns: nothing.   Never: compares in a time that depends on where the difference is; takes
 * passwords in plain text or DES hashes. */
#pragma once

#include "base/result.h"
#include "base/span.h"

/* Longer hashes than this are of no known kind. */
#define PASSWORD_HASH_MAX 128
#define PASSWORD_MAX      512

/* Is it in the form of bcrypt ($2a$, $2b$, $2y$), Apache's MD5 ($apr1$), MD5-crypt ($1$),
 * SHA-256-crypt ($5$), SHA-512-crypt ($6$) or SHA-1 ({SHA})? */
bool password_is_hash(struct span hash);
/* Does the password have this hash? False also for a hash of no known kind, and for a password that
 * is longer than PASSWORD_MAX or holds a NUL. */
bool password_holds(struct span hash, struct span password);

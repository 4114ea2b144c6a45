/* SPDX-License-Identifier: Apache-2.0 */
/* data/route/known.h - passwords that were judged lately, on one worker: judging one takes tens of
 * milliseconds by design, so it happens once and elsewhere.
 * Thread: the worker's.   Owns: its memory. Only keyed digests are kept, never a password.
 * Never: grows, judges by itself. */
#pragma once

#include "base/result.h"
#include "base/span.h"

#define KNOWN_DIGEST_BYTES 32
#define KNOWN_GOOD_COUNT   1024u
#define KNOWN_BAD_COUNT    64u
#define KNOWN_HASH_MAX     128
#define KNOWN_PASSWORD_MAX 512

struct known_row {
    uint8_t digest[KNOWN_DIGEST_BYTES];
    uint64_t used; /* 0 = free */
};

struct known_table {
    uint8_t secret[KNOWN_DIGEST_BYTES];
    uint64_t clock;
    struct known_row *good, *bad; /* bad ones apart: guesses must not push the good ones out */
};

/* A password that has to be judged by somebody who may take time. */
struct known_question {
    uint8_t digest[KNOWN_DIGEST_BYTES];
    uint8_t hash_len;
    uint16_t password_len;
    bool no_user; /* the hash is somebody else's, so that an unknown name takes as long */
    char hash[KNOWN_HASH_MAX];
    char password[KNOWN_PASSWORD_MAX];
};

enum known_answer { KNOWN_UNKNOWN = 0, KNOWN_GOOD, KNOWN_BAD };

/* ERR_NO_MEMORY. */
struct result known_init(struct known_table *t);
void known_fini(struct known_table *t);
/* The digest under which a user's password is remembered; depends on the hash, so that a changed
 * password is a new one. */
void known_digest(const struct known_table *t, struct span user, struct span hash,
                  struct span password, uint8_t out[KNOWN_DIGEST_BYTES]);
enum known_answer known_look_up(struct known_table *t, const uint8_t digest[KNOWN_DIGEST_BYTES]);
/* In place of the one that was not used for longest. */
void known_remember(struct known_table *t, const uint8_t digest[KNOWN_DIGEST_BYTES], bool good);

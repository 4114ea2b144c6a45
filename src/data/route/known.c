/* SPDX-License-Identifier: Apache-2.0 */
#include "data/route/known.h"

#include "base/secret.h"
#include "crypto/digest.h"

#include <stdlib.h>

/* Good ones lie in sets of this many. */
#define WAYS 8u

struct result known_init(struct known_table *t)
{
    t->clock = 0;
    t->good = calloc(KNOWN_GOOD_COUNT, sizeof *t->good);
    t->bad = calloc(KNOWN_BAD_COUNT, sizeof *t->bad);
    random_bytes(t->secret, sizeof t->secret);
    return t->good && t->bad ? result_ok() : result_fail(ERR_NO_MEMORY);
}

void known_fini(struct known_table *t)
{
    secret_wipe(t->secret, sizeof t->secret);
    free(t->good);
    free(t->bad);
    t->good = t->bad = NULL;
}

void known_digest(const struct known_table *t, struct span user, struct span hash,
                  struct span password, uint8_t out[KNOWN_DIGEST_BYTES])
{
    uint8_t parts[3 * KNOWN_DIGEST_BYTES];
    struct span key = span_of(t->secret, sizeof t->secret);
    digest_hmac(DIGEST_SHA256, key, user, parts);
    digest_hmac(DIGEST_SHA256, key, hash, parts + KNOWN_DIGEST_BYTES);
    digest_hmac(DIGEST_SHA256, key, password, parts + 2 * KNOWN_DIGEST_BYTES);
    digest_hmac(DIGEST_SHA256, key, span_of(parts, sizeof parts), out);
    secret_wipe(parts, sizeof parts);
}

static struct known_row *good_set(const struct known_table *t, const uint8_t *digest)
{
    uint32_t at = ((uint32_t)digest[0] << 8 | digest[1]) % (KNOWN_GOOD_COUNT / WAYS);
    return t->good + at * WAYS;
}

static struct known_row *find(struct known_row *rows, uint32_t count, const uint8_t *digest)
{
    for (uint32_t i = 0; i < count; i++)
        if (rows[i].used && memcmp(rows[i].digest, digest, KNOWN_DIGEST_BYTES) == 0)
            return &rows[i];
    return NULL;
}

enum known_answer known_look_up(struct known_table *t, const uint8_t digest[KNOWN_DIGEST_BYTES])
{
    struct known_row *row = find(good_set(t, digest), WAYS, digest);
    bool good = row != NULL;
    if (!row)
        row = find(t->bad, KNOWN_BAD_COUNT, digest);
    if (!row)
        return KNOWN_UNKNOWN;
    row->used = ++t->clock;
    return good ? KNOWN_GOOD : KNOWN_BAD;
}

void known_remember(struct known_table *t, const uint8_t digest[KNOWN_DIGEST_BYTES], bool good)
{
    struct known_row *rows = good ? good_set(t, digest) : t->bad, *oldest = rows;
    uint32_t count = good ? WAYS : KNOWN_BAD_COUNT;
    for (uint32_t i = 1; i < count; i++)
        if (rows[i].used < oldest->used)
            oldest = &rows[i];
    memcpy(oldest->digest, digest, KNOWN_DIGEST_BYTES);
    oldest->used = ++t->clock;
}

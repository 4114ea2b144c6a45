/* SPDX-License-Identifier: Apache-2.0 */
/* config/pair.h - reads a certificate with its private key, puts the chain in order, and says what
 * is wrong or weak about them.
 * Thread: any.   Owns: what pair_free() frees; the key is wiped.
 * Never: prints key material; asks whether anybody trusts the issuer. */
#pragma once

#include "base/buf.h"
#include "crypto/x509.h"

/* The largest file that is read. */
#define PAIR_BYTES_MAX (1u << 20)

enum pair_part { PAIR_CERT = 0, PAIR_KEY = 1 };

struct pair_source {
    const char *text[2]; /* by enum pair_part: a path, or PEM text itself */
    const char *name[2]; /* for messages */
    int64_t now_s;
    /* Called with each finding, a sentence that names the files. May be NULL. */
    void (*say)(void *arg, enum pair_part about, bool warning, const char *text);
    void *arg;
};

/* How a file looked before it was read. Zeroed: not known, or it could have changed unseen. */
struct pair_look {
    uint64_t dev, ino, size;
    int64_t mtime_ns, ctime_ns;
};

/* When and from what a pair was read, and what there was to say of it. */
struct pair_record {
    struct pair_look look[2]; /* by enum pair_part */
    /* Wall clock: from the one to before the other the same is to be said. */
    int64_t read_s, until_s;
    char *findings; /* lines, each behind 'C' or 'K' for its part: warnings; NULL = none */
};

struct pair {
    struct pair_record record;
    struct buf chain; /* DER, each behind a 3-byte length: the key's own, then each one's issuer */
    struct buf key;   /* DER */
    struct x509 leaf;
};

/* What is known of a pair without its bytes. */
struct pair_facts {
    struct x509 leaf; /* without its public key and what only its CA is asked about */
    uint64_t id;      /* x509_chain_id() */
    struct pair_record record;
};

/* False: there is no such file. */
bool pair_look_at(const char *path, struct pair_look *ret);
bool pair_look_eq(const struct pair_look *a, const struct pair_look *b);
bool pair_look_is_known(const struct pair_look *look);
/* Says again what was found then. */
void pair_record_tell(const struct pair_record *record, const struct pair_source *source);
void pair_record_free(struct pair_record *record);
/* Takes what is in pair->leaf and pair->record; the rest stays. */
void pair_facts_take(struct pair *pair, struct pair_facts *ret);
/* Zero-initialised facts are fine. */
void pair_facts_free(struct pair_facts *facts);
/* Can it be served without being in memory all the time? Not when its OCSP responder is asked.
 * ocsp: that of all is, where the certificate names one. */
bool pair_may_be_cold(const struct x509 *leaf, bool ocsp);
/* Whether an option's value is PEM text and not a path. */
bool pair_is_text(const char *value);
/* False when the pair cannot be used; then something was said, and there is nothing to free. */
bool pair_read(const struct pair_source *source, struct pair *ret);
/* A zero-initialised pair is fine. */
void pair_free(struct pair *pair);

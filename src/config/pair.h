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

struct pair {
    struct buf chain; /* DER, each behind a 3-byte length: the key's own, then each one's issuer */
    struct buf key;   /* DER */
    struct x509 leaf;
};

/* What is known of a pair without its bytes. */
struct pair_facts {
    struct x509 leaf; /* without its public key and what only its CA is asked about */
    uint64_t id;      /* x509_chain_id() */
};

/* Takes what is in pair->leaf; the rest stays. */
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

/* SPDX-License-Identifier: Apache-2.0 */
/* control/order_journal.h - what an order leaves on disk so that a crash at any moment loses no
 * certificate and leaves no TXT value.
 * Thread: control.   Owns: a record's texts, until order_record_free().
 * Never: is written after the side effect that it announces. */
#pragma once

#include "base/buf.h"
#include "base/result.h"
#include "control/store/state.h"

#define ORDER_NAMES_MAX 100
#define ORDER_TXTS_MAX  256
#define ORDER_ID_LEN    32 /* hex */

enum order_txt_phase {
    ORDER_TXT_PLANNED = 0, /* nobody was asked to make it */
    ORDER_TXT_PRESENTING,  /* it may exist */
    ORDER_TXT_PRESENT,     /* the provider said that it exists */
};

/* How a name is proven. */
enum order_challenge {
    ORDER_CHALLENGE_DNS = 0,
    ORDER_CHALLENGE_HTTP,
    ORDER_CHALLENGE_TLS,
    ORDER_CHALLENGES,
};

/* "dns-01", "http-01", "tls-alpn-01". */
const char *order_challenge_name(enum order_challenge challenge);
bool order_challenge_find(const char *name, enum order_challenge *ret);

/* One answer to a challenge: a TXT value, or what the workers answer. */
struct order_txt {
    uint8_t challenge;      /* enum order_challenge */
    char *domain;           /* identifier without "*." */
    char *fqdn, *zone;      /* with final dot; NULL before the place is known, and without DNS */
    char *value;            /* 43 characters */
    char *token, *key_auth; /* for providers that want them */
    struct buf state;       /* the provider's own, for removal */
    uint8_t phase;          /* enum order_txt_phase; without DNS always PLANNED */
    bool leftover;          /* of an earlier order: only to be removed */
};

struct order_record {
    char id[ORDER_ID_LEN + 1];
    char *resolver, *ca;
    char **names; /* main first */
    uint32_t name_count;
    uint32_t step;    /* enum order_step */
    bool failed;      /* only the clean-up is left */
    bool trial;       /* a rehearsal: it ends when the order is ready */
    bool keep;        /* failed for now: the CA may still hold or make the certificate */
    uint32_t resumes; /* times that it went on after a death */
    int64_t started_s;
    char *failed_challenges[ORDER_CHALLENGES]; /* tried in vain, with the reason; NULL = not */
    char *order_url, *finalize_url, *certificate_url; /* NULL = not known */
    char *replaces;     /* id of the certificate that the order replaces (RFC 9773); NULL = none */
    struct buf key_der; /* the certificate's private key, before the CA sees its public half */
    struct order_txt *txts;
    uint32_t txt_count;
};

/* Identity of "these names from this CA through this resolver": order and case do not matter. */
void order_id_make(const char *resolver, const char *ca, const char *const *names, uint32_t count,
                   char ret[ORDER_ID_LEN + 1]);

/* On its way to the disk: state_wait() tells when it is there. */
void order_journal_put(struct state *state, const struct order_record *record);
/* ERR_NOT_FOUND, ERR_FORMAT (a record that this version cannot read). */
struct result order_journal_get(struct state *state, const char *id, struct order_record *ret);
void order_journal_remove(struct state *state, const char *id);
/* Ids of all records, each ORDER_ID_LEN characters behind the other, appended to `ret`. */
struct result order_journal_ids(struct state *state, struct buf *ret, struct why *why);

/* Adds an entry; the record grows. The pointer is valid until the next one. */
struct order_txt *order_record_add_txt(struct order_record *record, const char *domain,
                                       const char *value);
void order_record_drop_txt(struct order_record *record, uint32_t index);
/* Wipes the key. */
void order_record_free(struct order_record *record);

/* The stored form (JSON), for tests. */
void order_record_encode(const struct order_record *record, struct buf *out);
struct result order_record_decode(struct span in, struct order_record *ret);

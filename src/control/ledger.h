/* SPDX-License-Identifier: Apache-2.0 */
/* control/ledger.h - what was asked of each CA and how it went, so that a crash loop or a restart
 * never meets a CA's limits.
 * Thread: control.   Owns: nothing but the records in the state directory (STATE_LEDGER).
 * Never: forgets an order before its 168 hours are over; is written after the request. */
#pragma once

#include "control/acme/problem.h"
#include "control/store/state.h"

#define LEDGER_WINDOW_S    (168 * 3600) /* Let's Encrypt's window for duplicates */
#define LEDGER_TIMES_MAX   64           /* times kept per kind; older ones are forgotten first */
#define LEDGER_CAP_S       86400u       /* longest back-off of our own */
#define LEDGER_RETRY_MAX_S (8 * 86400)  /* a longer Retry-After counts as this */
#define LEDGER_FORGET_S    (30 * 86400) /* a failure that old is of no use */
#define LEDGER_TEXT_MAX    512
#define LEDGER_TYPE_MAX    128
#define LEDGER_ORDER_LEN   16 /* hex digits that tell orders apart */

struct ledger;

/* Who the entry is about. Borrowed. */
struct ledger_key {
    const char *id;          /* order_id_make() */
    const char *resolver;    /* for people */
    const char *names;       /* for people: "a.test, *.a.test" */
    const char *fingerprint; /* of the resolver's settings: a change ends a back-off */
};

struct ledger_entry {
    uint32_t failures;     /* in a row */
    int64_t next_s;        /* not before; 0 = at once. Wall seconds */
    int64_t retry_until_s; /* the CA's own Retry-After; not ended by a change of settings */
    int64_t orders[LEDGER_TIMES_MAX]; /* newOrder requests in the window, oldest first */
    uint32_t order_count;
    int64_t certs[LEDGER_TIMES_MAX]; /* finalize requests in the window, oldest first */
    uint32_t cert_count;
    bool is_of_ca;    /* the last failure: another CA might do better */
    int64_t failed_s; /* time of the last failure, 0 = none since the last success */
    char text[LEDGER_TEXT_MAX];
    char type[LEDGER_TYPE_MAX]; /* problem type, "" when it was not the CA's */
    char class[32];             /* problem_class_name() */
    char fingerprint[33];
    char asked[LEDGER_ORDER_LEN + 1]; /* which order's certificate was asked for last */
};

struct ledger_failure {
    enum acme_class class;
    const char *type, *text;
    uint32_t retry_after_s; /* 0 = none */
    uint32_t cap_s;         /* longest own back-off; 0 = LEDGER_CAP_S */
    bool is_of_ca;          /* another CA might do better */
};

struct ledger *ledger_create(struct state *state);
void ledger_destroy(struct ledger *ledger);

/* Removes entries that say nothing any more: of names that are long gone. */
void ledger_prune(struct ledger *ledger, int64_t now_s);

/* The entry as of now_s: what is older than the window is left out, a back-off of other settings
 * is over. An unknown id gives an empty entry. Times that a clock gave which has been set back
 * since are written down as now, so that they grow old. */
void ledger_read(struct ledger *ledger, const struct ledger_key *key, int64_t now_s,
                 struct ledger_entry *ret);
/* May a new order start? False with a reason for people and the time from which it may. budget:
 * certificates for one set of names in the window. */
bool ledger_allows(const struct ledger_entry *entry, uint32_t budget, int64_t now_s,
                   int64_t *ret_at_s, struct why *why);

/* Each is on its way to the disk when it returns; state_wait() tells when it is there, and before
 * that no request goes out. */
void ledger_order_begins(struct ledger *ledger, const struct ledger_key *key, int64_t now_s);
/* order_url: the same order counts once, however often its request is sent. counts: false for one
 * that replaces a certificate by the CA's own suggestion (RFC 9773): it costs no budget. */
void ledger_certificate_asked(struct ledger *ledger, const struct ledger_key *key,
                              const char *order_url, bool counts, int64_t now_s);
void ledger_failed(struct ledger *ledger, const struct ledger_key *key, int64_t now_s,
                   const struct ledger_failure *failure);
void ledger_succeeded(struct ledger *ledger, const struct ledger_key *key, int64_t now_s);

/* Own back-off after the n-th failure in a row (n >= 1), without jitter: 1 min, 10 min, 1 h, 6 h,
 * 24 h. */
uint32_t ledger_backoff_s(uint32_t failures);
/* The stored form (JSON), for tests and the fuzzer of the state directory. */
void ledger_encode(const struct ledger_key *key, const struct ledger_entry *e, struct buf *out);
struct result ledger_decode(struct span in, struct ledger_entry *ret);

/* SPDX-License-Identifier: Apache-2.0 */
/* control/wants.h - the certificates that the configuration asks for: one per resolver and set of
 * names, however many routers ask.
 * Thread: control.   Owns: the list; names belong to the configuration.
 * Never: changes after it is made, but for the state that the scheduler keeps in each. */
#pragma once

#include "control/ari.h"
#include "control/order.h"
#include "control/renewal.h"

struct want {
    char id[ORDER_ID_LEN + 1];
    struct resolver *resolver;
    const char **names; /* main first, no duplicates */
    uint32_t count;
    char *label; /* all names, for people */

    /* The scheduler's. */
    bool have; /* a certificate is in the store */
    int64_t not_before_s, not_after_s;
    uint64_t seed;
    struct renewal renewal; /* when have */
    struct ari *ari;        /* what the CA suggests; NULL = not asked for */
    struct order *order;    /* running */
    int64_t next_s;         /* nothing to do before this wall time */
    int64_t hold_s;         /* no order before this wall time, whatever the ledger says */
    struct why waiting;     /* "" or why nothing is done before next_s */
    uint32_t ca;            /* which of the resolver's CAs the order is for */
    bool trial;             /* ... which is a rehearsal */
    bool rehearsed;         /* ... which went well */
    bool asked;             /* a person wants a certificate now */
    bool forced;            /* ... whatever the ledger says */
    bool revoked;           /* the CA has revoked the certificate that we have */
    bool unfinished;        /* the last order is to be taken up again, whatever `have` says */
    bool leftovers;         /* TXT values to remove */
    int64_t cleanup_s;      /* ... not before this wall time */
};

struct wants {
    struct want *items;
    uint32_t count;
};

/* Collects from tls.domains, rules and [[acme.domains]]. A set that another one of the same
 * resolver covers (by name or wildcard) is left out. Logs what is not possible. */
void wants_collect(const struct config *config, struct resolver_set *resolvers, struct wants *ret);
void wants_free(struct wants *wants);
/* By order id; NULL when not wanted. */
struct want *wants_find(struct wants *wants, const char *id);

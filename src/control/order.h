/* SPDX-License-Identifier: Apache-2.0 */
/* control/order.h - one certificate being obtained: a table of steps (order.def), each journalled
 * before it acts.
 * Thread: control.   Owns: its CA call, its DNS questions, its record in the journal.
 * Never: waits; asks a CA for a second certificate when the first may exist; ends with the answer
 * to a challenge left with the workers, or with a TXT value left behind unless the provider refuses
 * to remove it (then the journal keeps it). */
#pragma once

#include "control/challenges.h"
#include "control/ledger.h"
#include "control/loop.h"
#include "control/order_journal.h"
#include "control/resolver.h"

enum order_step {
#define ORDER_STEP(step, handler, deadline_s, next, on_error, text) ORDER_##step,
#include "control/order.def"
#undef ORDER_STEP
    ORDER_STEPS
};

/* How an order ended. Borrowed during the callback. */
struct order_result {
    bool ok;           /* a certificate is stored and published */
    bool cleanup_only; /* there was nothing to obtain, only values to remove */
    bool leftovers;    /* TXT values could not be removed; the journal keeps them */
    bool unfinished; /* the CA may hold the certificate still: start again to fetch and store it */
    bool rehearsed;  /* a trial went well: the order itself may follow at once */
    bool disk;       /* the state directory took no record: nothing was asked of the CA */
};

/* What an order uses of its surroundings; borrowed for its life. */
struct order_env {
    struct loop *loop;
    struct state *state;
    struct ledger *ledger;
    struct challenges *challenges;
    uint32_t ca;          /* which of the resolver's CAs a new order goes to */
    bool trial;           /* ... or to that for rehearsals, until its order is ready */
    const char *replaces; /* id of the certificate to be replaced (RFC 9773), NULL = none */
    uint32_t budget;      /* duplicates that may be asked for when nothing is replaced; 0 = any */
    uint32_t retry_cap_s; /* longest back-off after a failure; 0 = the ledger's */
    /* A certificate is on disk: hand it to the workers. */
    void (*publish)(void *arg, const struct store_cert *cert);
    /* The order is over; it frees itself after this. */
    void (*finished)(void *arg, const struct order_result *result);
    void *arg;
};

struct order;

enum order_mode {
    ORDER_MODE_OBTAIN = 0, /* a new order, or the journalled one resumed */
    ORDER_MODE_CLEAN,      /* only remove the TXT values of the journalled order */
    ORDER_MODE_ABANDON,    /* the same, and forget the order: its names are not configured */
};

/* Starts; takes up what the journal has under `id` (order_id_make()). resolver borrowed. The first
 * step runs from the loop, not from inside. */
struct order *order_start(const struct order_env *env, struct resolver *resolver,
                          const char *const *names, uint32_t count, const char *id,
                          enum order_mode mode);
/* Has the workers answer, before they begin, the challenges of all orders in the journal that are
 * not over: a CA may be about to look. */
void order_answer_restore(struct challenges *challenges, struct resolver_set *resolvers,
                          struct state *state);
/* The challenge that proves a name, for an order of the resolver that begins now. False: none. */
bool order_challenge_of(struct resolver *resolver, struct state *state, const char *name,
                        enum order_challenge *ret);
/* Stops without a trace: the journal stays as it is. Provider calls must be over (the host is
 * destroyed first). */
void order_destroy(struct order *order);

/* For people. Borrowed. */
enum order_step order_at(const struct order *order);
const char *order_progress(const struct order *order);
int64_t order_started_s(const struct order *order);

/* Is it up to a person to make the TXT values (provider_info.by_person)? */
bool order_waits_for_person(const struct order *order);
/* One of the values that it waits for; false when there are not so many. Borrowed. */
bool order_awaited(const struct order *order, uint32_t index, const char **ret_fqdn,
                   const char **ret_value);
/* A person says that the values are there: the name servers are asked at once, or the CA is told
 * to look where nobody is asked. False: it does not wait for that. */
bool order_continue(struct order *order);

const char *order_step_name(enum order_step step);
const char *order_step_text(enum order_step step);
bool order_step_find(const char *name, enum order_step *ret);

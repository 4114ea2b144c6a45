/* SPDX-License-Identifier: Apache-2.0 */
/* control/scheduler.h - which certificate is obtained or renewed when; runs a bounded number of
 * orders.
 * Thread: control.   Owns: the wants, running orders.
 * Never: lets a CA, a provider or a disk keep ferrule from starting; renews a name that is not
 * configured; starts an order that the ledger does not allow. */
#pragma once

#include "control/wants.h"

struct scheduler;

struct scheduler_options {
    struct loop *loop;
    const struct config *config;
    struct resolver_set *resolvers;
    struct state *state;
    struct ledger *ledger;
    struct challenges *challenges;
    /* A certificate was obtained and is on disk. */
    void (*publish)(void *arg, const struct store_cert *cert);
    void *arg;
};

/* Everything borrowed for its life. Starts nothing before scheduler_start(). */
struct scheduler *scheduler_create(const struct scheduler_options *options);
/* Stops running orders; their journal stays. The provider host must be gone already. */
void scheduler_destroy(struct scheduler *s);

/* Another configuration and its resolvers hold from now on. Orders of names that are still wanted
 * go on, also by the resolvers of before; those of other names end by themselves and are not
 * started again. Wants that are new know nothing: see scheduler_know_want(). */
void scheduler_reload(struct scheduler *s, const struct config *config,
                      struct resolver_set *resolvers);
/* After scheduler_reload() and scheduler_know_want(): starts what is due. */
void scheduler_wake(struct scheduler *s);

/* A certificate that the store holds, told before scheduler_start() and after each order.
 * ari_id: ari_id_make(), "" = none. */
void scheduler_know(struct scheduler *s, const struct store_cert *cert, int64_t not_before_s,
                    int64_t not_after_s, uint64_t seed, const char *ari_id);
/* The same for a want of scheduler_wants(). */
void scheduler_know_want(struct scheduler *s, const struct want *want, int64_t not_before_s,
                         int64_t not_after_s, uint64_t seed, const char *ari_id);
/* Its CA says that a want's certificate, the one that begins then, is revoked: another one is
 * obtained at once, as far as the ledger allows. Ones that are revoked soon after they were
 * obtained are replaced later and later. */
void scheduler_revoked(struct scheduler *s, const char *resolver, const char *const *names,
                       uint32_t count, int64_t not_before_s);
/* Its certificate is in no store any more. */
void scheduler_forget_want(struct scheduler *s, const struct want *want);
/* Takes up what the journal has, then whatever is due. */
void scheduler_start(struct scheduler *s);

/* What would be done for a want, and what is left of its budget. */
struct scheduler_plan {
    const char *ca; /* URL of the CA that is asked; borrowed */
    uint32_t ca_index;
    int64_t at_s;   /* 0 = at once, or at work already */
    bool due;       /* there is something to do at at_s; else a certificate is valid for longer */
    bool suggested; /* at_s is the CA's own suggestion (RFC 9773) */
    bool rehearsal; /* it is rehearsed first */
    uint32_t used, budget; /* certificates in the last 168 hours; budget 0 = any */
    struct why waiting;    /* "" or why it is not done at once */
};
void scheduler_plan(struct scheduler *s, const struct want *want, struct scheduler_plan *ret);
/* Obtains a certificate anew now. Within the ledger's rules, unless forced: then back-off and
 * budget of our own do not count. False with the reason. */
bool scheduler_renew(struct scheduler *s, const struct want *want, bool force, struct why *why);

/* For the admin socket. Borrowed. */
const struct wants *scheduler_wants(const struct scheduler *s);
uint32_t scheduler_running(const struct scheduler *s);
/* When a certificate that we have is to be renewed: by the CA's word, else by the time table. */
int64_t scheduler_due_s(const struct want *w);
/* The ledger's view of one want, now. */
void scheduler_ledger(const struct scheduler *s, const struct want *w, struct ledger_entry *ret);

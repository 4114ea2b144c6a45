/* SPDX-License-Identifier: Apache-2.0 */
/* control/cert_admin.h - what a person has done with certificates and accounts: plan, renew,
 * import, export, revoke, roll an account key over.
 * Thread: control.   Owns: requests to CAs that are under way.
 * Never: answers for a name that no certificate has; hands out a private key but to `cert-export`.
 */
#pragma once

#include "control/publish_state.h"
#include "control/scheduler.h"

#include <jansson.h>

struct cert_admin;

struct cert_admin_options {
    struct loop *loop;
    struct state *state;
    struct scheduler *scheduler;
    struct publish_state *certificates;
    /* A certificate was imported and is on disk. */
    struct result (*put)(void *arg, const struct store_cert *cert, struct why *why);
    /* The answer to a request that had to wait; takes `answer`. */
    void (*done)(void *arg, uint64_t task, json_t *answer);
    void *arg;
};

/* All borrowed. */
struct cert_admin *cert_admin_create(const struct cert_admin_options *options);
/* Forgets what is under way. NULL is fine. */
void cert_admin_destroy(struct cert_admin *a);
/* The resolvers of the configuration that is in use; borrowed until the next call. */
void cert_admin_use(struct cert_admin *a, struct resolver_set *resolvers);

/* The answer comes through `done`. */
void cert_admin_plan(struct cert_admin *a, uint64_t *ret_task);
/* Each returns an answer, the caller's; NULL with *ret_task set: it comes through `done`. */
json_t *cert_admin_renew(struct cert_admin *a, const char *name, bool force);
/* A person has made the TXT values that the order of this name waits for; "" = that of the only
 * order that waits. */
json_t *cert_admin_continue(struct cert_admin *a, const char *name);
/* The same by Enter on the terminal; the answer goes to the log. */
void cert_admin_enter(struct cert_admin *a);
/* resolver: NULL or "" when there is only one. PEM texts. */
json_t *cert_admin_import(struct cert_admin *a, const char *resolver, const char *chain,
                          const char *key);
json_t *cert_admin_export(struct cert_admin *a, const char *name);
/* reason: a word of RFC 5280 section 5.3.1, "" = unspecified. Afterwards another one is obtained.
 */
json_t *cert_admin_revoke(struct cert_admin *a, const char *name, const char *reason,
                          uint64_t *ret_task);
json_t *cert_admin_roll_key(struct cert_admin *a, const char *resolver, uint64_t *ret_task);

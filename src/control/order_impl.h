/* SPDX-License-Identifier: Apache-2.0 */
/* control/order_impl.h - what the files of an order share: order.c (the machine), order_ca.c,
 * order_dns.c and order_issue.c (the steps' handlers). No other file includes it.
 * Thread: control.   Owns: struct order's fields, as order.h says.
 * Never: changes record.step but in order.c. */
#pragma once

#include "control/acme/http_client.h"
#include "control/learnt.h"
#include "control/order.h"
#include "control/preflight.h"

/* What the CA wants proven for one identifier. */
struct order_authz {
    char *url;
    char *domain; /* NULL until read */
    bool wildcard;
    enum document_status status;
    enum order_challenge challenge; /* the one that is used, */
    char *challenge_url;            /* and what the CA says of it */
    enum document_status challenge_status;
    char *token;
};

struct order_keygen;

struct order {
    struct order_env env;
    struct resolver *resolver;
    struct resolver_ca *ca;           /* of the resolver */
    char ledger_id[ORDER_ID_LEN + 1]; /* of these names at this CA */
    struct order_record record;
    enum order_mode mode;
    bool journalled;    /* the record is from disk */
    bool provider_busy; /* the host will call back; cannot be cancelled */

    bool asked_staple;    /* the last request had must-staple in it; */
    bool without_staple;  /* asked again without, as the CA has refused it */
    bool other_challenge; /* after the clean-up another one is tried */

    struct loop_timer deadline, pause;
    void (*after_pause)(struct order *o);
    struct acme_call *call;
    struct propagation *dns;
    struct preflight *preflight;
    uint8_t *challenges; /* of each name, as long as the preflight looks */
    struct order_keygen *keygen;
    struct challenges_wait answered;
    struct state_wait disk;
    void (*after_disk)(struct order *o);
    struct store_put put;

    struct order_authz *authz;
    uint32_t authz_count;
    uint32_t index;       /* which authorization, TXT value or name the step is at */
    uint32_t tries;       /* within the step */
    uint32_t polls;       /* within the step */
    uint32_t finalizes;   /* within the order */
    bool holds;           /* has names to itself, at a provider of single values */
    bool value_is_first;  /* nobody tried to add the TXT value at `index` before */
    bool leftovers;       /* a value could not be removed */
    bool disk_failed;     /* failed because the state directory takes no record */
    bool lost;            /* failed because the answer to newOrder was lost in a death */
    uint64_t step_ns;     /* when the step began */
    uint64_t begun_ns;    /* when this process began with the order */
    struct buf chain_pem; /* downloaded */
    char *alternates[HTTP_ALTERNATES_MAX]; /* URLs of other chains */
    uint32_t alternate_count;
    char progress[512];
};

/* ---- order.c: the machine -------------------------------------------------------------------- */

/* The step is done: on to the next one of the table. The caller returns at once. */
void order_next(struct order *o);
/* To another step that the table of jumps allows. The caller returns at once. */
void order_goto(struct order *o, enum order_step step);
/* The order fails with this reason: clean up, then wait out the back-off. The caller returns at
 * once. */
void order_fail(struct order *o, enum acme_class class, const char *type, uint32_t retry_after_s,
                const char *fmt, ...) __attribute__((format(printf, 5, 6)));
/* As order_fail, because this challenge could not be met: when every name can be proven by another
 * one that the resolver allows, the order begins again with those after the clean-up. */
void order_fail_challenge(struct order *o, enum order_challenge challenge, enum acme_class class,
                          const char *type, uint32_t retry_after_s, const char *fmt, ...)
    __attribute__((format(printf, 6, 7)));
/* As order_fail, with what the CA said. */
void order_fail_answer(struct order *o, const struct acme_answer *answer);
/* Writes the record, soon: for what nothing has to wait for. */
void order_save(struct order *o);
/* Goes on with `then` when what was written until now, here and in the ledger, is on disk; the
 * order fails when it cannot be written. The caller returns at once. */
void order_on_disk(struct order *o, void (*then)(struct order *o));
/* One log line "NAME: text", kept as progress. */
void order_say(struct order *o, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* Goes on with `then` after a while. */
void order_pause(struct order *o, uint64_t wait_ns, void (*then)(struct order *o));
/* Ends the pause if it is one before `then`; the caller goes on instead. */
bool order_end_pause(struct order *o, void (*then)(struct order *o));
/* Seconds to wait before the next poll: what the CA says, else 1 s growing to 5 s. */
uint64_t order_poll_wait_ns(struct order *o, uint32_t retry_after_s);
/* The CA's answer is no ACME document (a page of some proxy before it, perhaps): asks again with
 * `then` after a wait that doubles from 2 s to a minute. The step's deadline ends it, as if the CA
 * had not answered. */
void order_ask_again(struct order *o, const char *text, void (*then)(struct order *o));
/* Moves the step's deadline. */
void order_set_deadline(struct order *o, uint32_t seconds);
/* The name in messages: the main one. */
const char *order_label(const struct order *o);
/* For the ledger; `names` is the caller's. */
struct ledger_key order_ledger_key(const struct order *o, struct buf *names);
void order_clear_authz(struct order *o);
/* Since the step began, and since this process began with the order. */
double order_step_seconds(const struct order *o);
double order_seconds(const struct order *o);

/* ---- order_answer.c: challenges ----------------------------------------------------------------
 */

/* The best challenge for one of the order's names ("*." in front of wildcards): allowed by the
 * resolver, able to prove such a name, offered by the CA (offer NULL: not known yet), not tried in
 * vain before. False: there is none. */
bool order_answer_choose(const struct order *o, const char *name,
                         const struct document_authorization *offer, enum order_challenge *ret);
/* The resolver allows several. */
bool order_answer_has_choice(const struct order *o);
/* A name that no challenge can prove, or NULL. */
const char *order_answer_unprovable(const struct order *o);
/* True when some name's best challenge is this one. */
bool order_answer_uses(const struct order *o, enum order_challenge challenge);
/* "dns-01, http-01": those that the resolver allows. */
void order_answer_list(const struct order *o, struct buf *out);
/* Takes one from the workers; its place in the record is the caller's to drop. */
void order_answer_withdraw(struct order *o, const struct order_txt *t);
/* The CA has accepted the challenge. */
void order_answer_proven(struct order *o, const struct order_authz *a);

/* ---- order_dns.c: values one after the other ---------------------------------------------------
 */

/* A provider that holds one value at a name: this authorization's has to wait for another one's. */
bool order_dns_waits(const struct order *o, const struct order_authz *a);
/* The CA has accepted this authorization: its value is only to be removed. */
void order_dns_proven(struct order *o, const struct order_authz *a);
/* Some value still has to be added. */
bool order_dns_is_left(const struct order *o);

/* ---- handlers of the steps (order.def) ------------------------------------------------------- */

void order_dns_prepare(struct order *o);
void order_dns_place(struct order *o);
void order_dns_present(struct order *o);
void order_dns_propagate(struct order *o);
void order_dns_cleanup(struct order *o);
void order_answer_give(struct order *o);
void order_ca_account(struct order *o);
void order_ca_new_order(struct order *o);
void order_ca_resume(struct order *o);
void order_ca_authorizations(struct order *o);
void order_ca_respond(struct order *o);
void order_ca_validate(struct order *o);
void order_ca_ready(struct order *o);
void order_issue_key(struct order *o);
void order_issue_finalize(struct order *o);
void order_issue_poll(struct order *o);
void order_issue_download(struct order *o);
void order_issue_store(struct order *o);
void order_issue_publish(struct order *o);
void order_ca_give_up(struct order *o);
void order_check(struct order *o);
/* The order stops while a key is being made in the helper thread. */
void order_issue_forget_key(struct order *o);
/* Writes the ledger, drops or keeps the journal entry, tells the scheduler, frees the order. */
void order_finish(struct order *o);

/* SPDX-License-Identifier: Apache-2.0 */
/* control/acme/acme_impl.h - what acme.c, directory.c and account.c share; no other file includes
 * it. Thread: control.   Owns: struct acme's fields, as acme.h says. Never: seen outside this
 * folder. */
#pragma once

#include "control/acme/acme.h"
#include "control/acme/http_client.h"
#include "crypto/key.h"

#define ACME_NONCES_MAX 16

enum acme_target {
    ACME_TARGET_URL = 0,
    ACME_TARGET_NONE,
    ACME_TARGET_ORDER,
    ACME_TARGET_ACCOUNT,
    ACME_TARGET_RENEWAL,
    ACME_TARGET_REVOKE,
    ACME_TARGET_KEY_CHANGE
};

enum acme_phase {
    ACME_PHASE_IDLE = 0,
    ACME_PHASE_DIRECTORY, /* waits for the directory */
    ACME_PHASE_ACCOUNT,   /* waits for the account */
    ACME_PHASE_NONCE,     /* HEAD newNonce is under way */
    ACME_PHASE_SENT,
    ACME_PHASE_PAUSE, /* before another attempt */
};

struct acme_call {
    struct list node;
    struct acme *acme;
    enum acme_target target;
    enum acme_phase phase;
    char *url;
    struct buf payload;
    bool once;
    bool account_retried;
    uint32_t attempts, nonce_tries;
    struct http_call *http;
    struct loop_timer timer;
    acme_done *done;
    void *arg;
};

enum account_phase { ACCOUNT_PHASE_NONE = 0, ACCOUNT_PHASE_BUSY, ACCOUNT_PHASE_READY };

struct account_keygen;
struct key_change;

/* Every CA must take ES256 (RFC 8555 section 6.2), whatever the certificates' keyType is. */
#define ACCOUNT_KEY_TYPE KEY_EC256

struct acme {
    struct loop *loop;
    const struct config_resolver *resolver;
    const char *ca;     /* URL of the directory */
    char *account_name; /* in the store */
    struct store *store;
    struct http_client *http;
    struct list calls;

    struct document_directory directory;
    bool have_directory;
    int64_t skew_s; /* of the CA's clock against ours */
    uint64_t directory_at_ns;
    uint32_t directory_attempts;
    struct http_call *directory_call;
    struct loop_timer directory_timer;

    char *nonces[ACME_NONCES_MAX]; /* newest last */
    uint32_t nonce_count;

    enum account_phase account_phase;
    struct key *key;
    char *account_url; /* NULL = not registered as far as we know */
    char *thumbprint;
    bool has_settled; /* it is known which of two stored keys is in force */
    struct account_keygen *keygen;
    struct acme_call *register_call;
    struct key_change *key_change; /* at work; NULL = none */
};

/* Starts fetching the directory unless it is under way; then acme_wake(ACME_PHASE_DIRECTORY). */
void directory_ensure(struct acme *acme);
bool directory_is_fresh(const struct acme *acme);
void directory_fini(struct acme *acme);

/* Starts loading, making or registering the account unless under way; then
 * acme_wake(ACME_PHASE_ACCOUNT). The directory must be there. */
void account_ensure(struct acme *acme);
/* The CA does not know the account URL: register the same key again. */
void account_forget_url(struct acme *acme);
void account_fini(struct acme *acme);
/* The account's next key goes to the store, and no other request of the account goes out before one
 * of the next three is called. ERR_STORE. */
struct result account_announce_key(struct acme *acme, const struct key *key, struct why *why);
/* The CA has taken it: takes `key`. ERR_STORE: it is used, and both are in the store still. */
struct result account_adopt_key(struct acme *acme, struct key *key, struct why *why);
/* It has not. */
void account_keep_key(struct acme *acme);
/* Nobody knows: the next request asks. */
void account_doubt_key(struct acme *acme);

/* Ends a change of the key that is under way, without a word to its caller. */
void key_change_fini(struct acme *acme);

/* Calls that wait in `phase` go on, or fail with `failure` when it is not NULL. */
void acme_wake(struct acme *acme, enum acme_phase phase, const struct acme_answer *failure);
struct acme_call *acme_call_start(struct acme *acme, enum acme_target target, const char *url,
                                  struct span payload, acme_done *done, void *arg);
void acme_save_nonce(struct acme *acme, const char *nonce);
void acme_save_date(struct acme *acme, const struct http_reply *reply);
/* Fills an answer that says why there is none from the CA. `text` is borrowed. */
struct acme_answer acme_failure(enum acme_class class, const char *text);
/* Turns a refusal into an answer: class, and a sentence in `text`. Both texts are borrowed by it.
 */
struct acme_answer acme_refusal(const struct http_reply *reply, struct document_problem *problem,
                                struct why *text);

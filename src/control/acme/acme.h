/* SPDX-License-Identifier: Apache-2.0 */
/* control/acme/acme.h - one account at one CA: signed requests with their nonces, retries and
 * refusals (RFC 8555).
 * Thread: control.   Owns: the directory, nonces, the account key in memory, calls until their
 * callback.
 * Never: waits; repeats a request that may have had an effect when told to send it once; asks a CA
 * for anything before somebody calls. */
#pragma once

#include "config/config.h"
#include "control/acme/document.h"
#include "control/acme/problem.h"
#include "control/loop.h"
#include "control/store/store.h"

struct acme;
struct acme_call;

/* Borrowed during the callback. Texts are "" when absent, never NULL. */
struct acme_answer {
    enum acme_class class; /* ACME_OK: status 200..299 */
    bool may_have_arrived; /* no answer, but the CA may have acted */
    uint32_t status;
    struct span body;
    const char *location;
    const char *const *alternates;
    uint32_t alternate_count;
    uint32_t retry_after_s; /* 0 = absent */
    const char *type;       /* problem type URN */
    const char *text;       /* one sentence for a person, when class is not ACME_OK */
};
typedef void acme_done(void *arg, const struct acme_answer *answer);

/* resolver, ca (URL of its directory) and store are borrowed for the life of the client. account:
 * the name that the account has in the store; copied. ERR_CONFIG (a CA file). */
struct result acme_create(struct loop *loop, const struct config_resolver *resolver, const char *ca,
                          const char *account, struct store *store, struct acme **ret,
                          struct why *why);
/* Cancels every call; no callback is called. */
void acme_destroy(struct acme *acme);

/* Fetches the directory and makes sure that the account exists (sections 7.1.1, 7.3): key from the
 * store, else a new one, stored before the CA sees it. */
struct acme_call *acme_ready(struct acme *acme, acme_done *done, void *arg);
/* POSTs to a URL of the CA, signed by the account; payload {NULL, 0} is POST-as-GET. */
struct acme_call *acme_post(struct acme *acme, const char *url, struct span payload,
                            acme_done *done, void *arg);
/* POSTs to newOrder (section 7.4), once: what may have arrived is not sent again. */
struct acme_call *acme_new_order(struct acme *acme, struct span payload, acme_done *done,
                                 void *arg);
/* POST that is not repeated when the CA may have seen it (finalize). */
struct acme_call *acme_post_once(struct acme *acme, const char *url, struct span payload,
                                 acme_done *done, void *arg);
/* Fetches the renewal information of a certificate (RFC 9773 section 4.1: its id), unsigned.
 * ACME_OK with status 0: the CA offers none. */
struct acme_call *acme_renewal_info(struct acme *acme, const char *id, acme_done *done, void *arg);
/* Revokes a certificate (section 7.6; DER; reason as in RFC 5280 section 5.3.1, without 7).
 * ACME_REJECTED when the CA offers no revocation. */
struct acme_call *acme_revoke(struct acme *acme, struct span cert, uint32_t reason, acme_done *done,
                              void *arg);
/* Gives the account another key (section 7.3.5). False: that is under way already. Running orders
 * would fail: their challenges are answered by the old key. */
bool acme_roll_key(struct acme *acme, acme_done *done, void *arg);
/* Drops a call; its callback is not called. NULL is fine. */
void acme_call_cancel(struct acme_call *call);

/* How much the CA's clock is ahead of ours, in seconds, when it answered last; 0 = not known. */
int64_t acme_clock_skew_s(const struct acme *acme);
/* Host (with port) of a URL, for messages and for matching accounts to CAs. Borrowed from url. */
struct span acme_url_host(const char *url);
/* After acme_ready() said ACME_OK: the directory, and the account key's thumbprint (section 8.1).
 */
const struct document_directory *acme_directory(const struct acme *acme);
const char *acme_thumbprint(const struct acme *acme);

/* SPDX-License-Identifier: Apache-2.0 */
/* control/staples.h - what OCSP responders say of our certificates (RFC 6960): asked for in time,
 * kept in the state directory, handed to the workers, who show it to clients.
 * Thread: control.   Owns: a record per certificate that names a responder; running questions.
 * Never: hands on an answer that is not verified, is stale, or says anything but good; lets a
 * responder that does not answer keep others waiting. */
#pragma once

#include "config/config.h"
#include "control/loop.h"
#include "control/publish_state.h"
#include "control/store/state.h"

#define STAPLES_CALLS_MAX     16 /* questions at once; */
#define STAPLES_HOST_MAX      4  /* to one host; to one that did not answer the last, one */
#define STAPLES_TIMEOUT_MS    15000
#define STAPLES_BACKOFF_S     30 /* after the first failure, then twice as long each time */
#define STAPLES_BACKOFF_MAX_S 3600
#define STAPLES_RETRY_MAX_S   21600 /* a longer Retry-After is taken as this */
#define STAPLES_WAIT_MIN_S    5
#define STAPLES_FIRST_S       60 /* what has to be stapled waits so long for its first answer */

struct staples;

struct staples_options {
    struct loop *loop;
    struct state *state;
    struct publish_state *certificates; /* no certificate is in it yet */
    const struct config *config;
    void (*send)(void *arg, struct span messages); /* to the workers */
    /* A certificate that another one was kept for (`before`) need not wait any more. */
    void (*ready)(void *arg, struct publish_candidate *cert);
    /* Its CA says that it is revoked; told again whenever it says so. */
    void (*revoked)(void *arg, const struct publish_candidate *cert);
    void *arg;
};

/* Everything is borrowed. Watches `certificates` until the end. ERR_CONFIG. */
struct result staples_create(const struct staples_options *options, struct staples **ret,
                             struct why *why);
/* Before the certificates go. NULL is fine. */
void staples_destroy(struct staples *s);
/* Another configuration: which certificates are stapled, and who is asked. */
void staples_use(struct staples *s, const struct config *config);

/* When to ask again for an answer of these times, wall seconds: when half of its time is over;
 * where responders hand out old answers, after a quarter of what is left. by_chance: 0..15, spreads
 * the questions of many certificates. */
int64_t staples_due_s(int64_t this_update_s, int64_t until_s, int64_t now_s, uint32_t by_chance);
/* How long to wait after that many failures in a row, seconds. */
uint32_t staples_backoff_s(uint32_t failures);

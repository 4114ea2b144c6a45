/* SPDX-License-Identifier: Apache-2.0 */
/* control/ari.h - when the CA itself suggests to renew a certificate (RFC 9773): asked for, kept on
 * disk, and turned into one time.
 * Thread: control.   Owns: running questions; the records in the state directory (STATE_ARI).
 * Never: asks for one certificate more often than every minute; holds a suggestion that was for
 * another certificate (records are bound to the serial number); renews later than the time table
 * would at the latest. */
#pragma once

#include "control/acme/acme.h"
#include "control/renewal.h"
#include "control/store/state.h"
#include "crypto/x509.h"

#define ARI_ID_MAX      128
#define ARI_URL_MAX     200
#define ARI_CALLS_MAX   4  /* questions at once */
#define ARI_POLL_MIN_S  60 /* RFC 9773 section 4.3.2 */
#define ARI_POLL_MAX_S  86400
#define ARI_POLL_S      (6 * 3600)  /* when the CA does not say */
#define ARI_YOUNG_MAX_S (12 * 3600) /* a certificate younger than this is not replaced at once */

/* What is known of one certificate. */
struct ari {
    char id[ARI_ID_MAX + 1]; /* section 4.1 */
    int64_t start_s, end_s;  /* the suggested window; 0 = none is known */
    int64_t chosen_s;        /* in the window, by chance, once */
    int64_t poll_s;          /* ask again then */
    uint8_t ca;              /* which of the resolver's CAs is asked */
    char url[ARI_URL_MAX];   /* explanationURL, "" = none */
};

/* base64url(authority key id) "." base64url(serial); false when the certificate lacks one. */
bool ari_id_make(const struct x509 *leaf, char ret[ARI_ID_MAX + 1]);
/* When the certificate is due by the CA's word: a time not after the table's latest, or 0 when the
 * CA has said nothing that can be followed. */
int64_t ari_due_s(const struct ari *ari, int64_t not_before_s, int64_t not_after_s,
                  const struct renewal *table);
/* Takes an answer of the CA. True when the window is another one than before. ERR_FORMAT leaves
 * all but poll_s as it was. */
struct result ari_take(struct ari *ari, struct span json, uint32_t retry_after_s, int64_t now_s,
                       bool *ret_changed, struct why *why);

/* The record of a want, when it is about this certificate; else an empty one, to be asked for now.
 * The state directory's failures are not told: the CA is asked again. */
void ari_load(struct state *state, const char *want_id, const char *ari_id, struct ari *ret);
void ari_save(struct state *state, const char *want_id, const struct ari *ari);
void ari_forget(struct state *state, const char *want_id);

struct ari_poller;
/* `told` gets the updated record; it may call ari_poller_ask(). state borrowed. */
struct ari_poller *ari_poller_create(struct state *state,
                                     void (*told)(void *arg, const char *want_id,
                                                  const struct ari *ari, bool changed),
                                     void *arg);
/* Drops the questions. NULL is fine. */
void ari_poller_destroy(struct ari_poller *p);
/* Drops the questions: their clients are about to go. */
void ari_poller_stop(struct ari_poller *p);
/* Asks the CA unless it is asked already. False when too many questions run. label: for the log. */
bool ari_poller_ask(struct ari_poller *p, struct acme *acme, const char *want_id, const char *label,
                    const struct ari *ari);

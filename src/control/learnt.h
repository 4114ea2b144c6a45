/* SPDX-License-Identifier: Apache-2.0 */
/* control/learnt.h - what past orders have taught: which challenge a CA accepted for a name, and
 * which CAs refuse must-staple.
 * Thread: control.   Owns: nothing but the records in the state directory (STATE_LEARNT).
 * Never: matters for whether an order may be made; a record that cannot be read or written costs a
 * try, no more. */
#pragma once

#include "control/order_journal.h"

#define LEARNT_CHALLENGE_S (400 * 86400) /* for how long the challenge of a name is remembered */
#define LEARNT_STAPLE_S    (30 * 86400)  /* ... and a refusal of must-staple: CAs change */

/* The CA accepted this challenge for one of the names ("*." in front of wildcards) of a resolver.
 */
void learnt_challenge(struct state *state, const char *resolver, const char *name,
                      enum order_challenge challenge, int64_t now_s);
/* False: nothing is known. */
bool learnt_find_challenge(struct state *state, const char *resolver, const char *name,
                           int64_t now_s, enum order_challenge *ret);
/* The CA with this directory refuses requests with must-staple; or, after all, does not. */
void learnt_staple(struct state *state, const char *ca, bool refuses, int64_t now_s);
bool learnt_staple_is_refused(struct state *state, const char *ca, int64_t now_s);
/* Removes what is too old to matter. */
void learnt_prune(struct state *state, int64_t now_s);

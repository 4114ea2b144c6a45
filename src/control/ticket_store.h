/* SPDX-License-Identifier: Apache-2.0 */
/* control/ticket_store.h - the keys of session tickets: made, rotated and kept in the state
 * directory, so that tickets survive a restart.
 * Thread: control.   Owns: the keys in memory (wiped).
 * Never: seals with a key older than TICKET_ROTATE_S; keeps more than TICKET_KEY_COUNT. */
#pragma once

#include "bridge/publish.h"
#include "control/store/state.h"

#define TICKET_ROTATE_S (12 * 3600)

struct ticket_store {
    struct state *state;
    struct ticket_keys keys;
};

/* Reads the keys; what cannot be read is replaced. */
void ticket_store_open(struct ticket_store *t, struct state *state, int64_t now_s);
void ticket_store_close(struct ticket_store *t);
/* Makes a key when the newest is too old, forgets those that no ticket can carry any more. True
 * when something changed: publish t->keys. */
bool ticket_store_rotate(struct ticket_store *t, int64_t now_s);
/* When to call ticket_store_rotate() again, wall seconds. */
int64_t ticket_store_due_s(const struct ticket_store *t);

/* SPDX-License-Identifier: Apache-2.0 */
/* control/store/state.h - the state directory: an LMDB environment with one database per kind of
 * record: journal (orders in progress, TXT values to remove), ledger (orders, failures, when the
 * next may start), ticket keys, ARI (when CAs suggest to renew), OCSP (what
 * responders say of certificates).
 * Thread: control.   Owns: the environment.
 * Never: keeps a read transaction open between calls; loses a record that was put and returned
 * ok (fsync per put). Keys and values are copied out. */
#pragma once

#include "base/buf.h"
#include "base/result.h"

struct state;

enum state_table {
    STATE_JOURNAL = 0,
    STATE_LEDGER,
    STATE_KEYS,
    STATE_ARI,
    STATE_OCSP,
    STATE_TABLES
};

/* Opens or creates `directory` (mode 0700; its owner must be us). ERR_PERMISSION, ERR_STORE (full
 * disk, damaged), each with the remedy in `why`. The caller holds the directory's lock file. */
struct result state_open(const char *directory, struct state **ret, struct why *why);
void state_close(struct state *state);
/* Durable when it returns ok. ERR_STORE. */
struct result state_put(struct state *state, enum state_table table, struct span key,
                        struct span value, struct why *why);
/* Harmless when absent. */
struct result state_remove(struct state *state, enum state_table table, struct span key,
                           struct why *why);
/* Appends the value to *ret. ERR_NOT_FOUND. */
struct result state_get(struct state *state, enum state_table table, struct span key,
                        struct buf *ret);
/* Calls each record, in key order, copied out first; `each` may put and remove. */
struct result state_each(struct state *state, enum state_table table,
                         void (*each)(void *arg, struct span key, struct span value), void *arg,
                         struct why *why);
/* Removes each record of which `gone` says so, all with one write to the disk. Records are borrowed
 * for the call, in which `gone` leaves the state alone. */
struct result state_prune(struct state *state, enum state_table table,
                          bool (*gone)(void *arg, struct span key, struct span value), void *arg,
                          struct why *why);
/* Takes <directory>/lock (creating the directory, 0700). *ret_fd holds the lock until it is closed
 * by every process that inherited it. ERR_BUSY names the other process's id. */
struct result state_lock(const char *directory, int *ret_fd, struct why *why);

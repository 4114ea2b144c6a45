/* SPDX-License-Identifier: Apache-2.0 */
/* control/store/state.h - the state directory: an LMDB environment with one database per kind of
 * record: journal (orders in progress, TXT values to remove), ledger (orders, failures, when the
 * next may start), ticket keys, ARI (when CAs suggest to renew), OCSP (what
 * responders say of certificates), what past orders have taught.
 * Thread: control's main thread; the disk's helper thread writes.   Owns: the environment.
 * Never: keeps a read transaction open between calls; says of a record that it is there before it
 * is on disk. Keys and values are copied out.
 *
 * Records of orders are written in batches, so that the loop does not wait for the disk: whoever
 * must not go on before waits by state_wait(). What is on its way is read as if it were there. A
 * batch comes to the disk as a whole or not at all, and in the order of the calls. */
#pragma once

#include "base/buf.h"
#include "base/result.h"
#include "control/loop.h"

struct state;

enum state_table {
    STATE_JOURNAL = 0,
    STATE_LEDGER,
    STATE_KEYS,
    STATE_ARI,
    STATE_OCSP,
    STATE_LEARNT,
    STATE_TABLES
};

/* Opens or creates `directory` (mode 0700; its owner must be us). ERR_PERMISSION, ERR_STORE (full
 * disk, damaged), each with the remedy in `why`. The caller holds the directory's lock file. */
struct result state_open(const char *directory, struct state **ret, struct why *why);
/* What is on its way is written first. NULL is fine. */
void state_close(struct state *state);
/* Batches are written from this loop on; before, and without one, each record at once. */
void state_use_loop(struct state *state, struct loop *loop);

/* Embedded in its owner; zeroed memory is one that waits for nothing. */
struct state_wait {
    struct list node;
    /* failure: why it is not on disk; NULL = it is. */
    void (*done)(struct state_wait *wait, const struct why *failure);
};
/* Puts the record, with others, soon. What cannot be written is dropped with a line in the log, and
 * those that wait are told. */
void state_put_soon(struct state *state, enum state_table table, struct span key,
                    struct span value);
void state_remove_soon(struct state *state, enum state_table table, struct span key);
/* Calls `done` from the loop when all that was put soon before this is on disk, or was dropped. */
void state_wait(struct state *state, struct state_wait *wait,
                void (*done)(struct state_wait *wait, const struct why *failure));
/* `done` is not called any more. Harmless when it waits for nothing. */
void state_wait_cancel(struct state_wait *wait);

/* At once: durable when it returns ok. ERR_STORE. */
struct result state_put(struct state *state, enum state_table table, struct span key,
                        struct span value, struct why *why);
/* Harmless when absent. */
struct result state_remove(struct state *state, enum state_table table, struct span key,
                           struct why *why);
/* Appends the value to *ret. ERR_NOT_FOUND. */
struct result state_get(struct state *state, enum state_table table, struct span key,
                        struct buf *ret);
/* Calls each record, copied out first; `each` may put and remove. */
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

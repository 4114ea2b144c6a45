/* SPDX-License-Identifier: Apache-2.0 */
/* data/cold_wait.h - clients whose ClientHello asks for a cold name: control reads its certificate
 * from a store meanwhile.
 * Thread: the worker's.   Owns: the places; the hello stays where it was received.
 * Never: lets more than COLD_WAIT_MAX wait, or one for longer than the snapshot says: for those
 * the name counts as one that is not there. */
#pragma once

#include "data/worker.h"

#define COLD_WAIT_MAX 512u

struct conn;

struct cold_place {
    struct handle conn;
    uint8_t len;
    uint8_t name[PUBLISH_NAME_MAX]; /* in the table */
};

/* Lets a connection wait for a cold name (its name in the table); again for one that waits already
 * is harmless. False: it is not to wait, or not any longer. */
bool cold_wait_begin(struct worker *w, struct conn *conn, struct span name);
/* It waits no more, for whatever reason. */
void cold_wait_end(struct worker *w, struct conn *conn);
/* Has those looked at again whose name has changed. Once per step. */
void cold_wait_settle(struct worker *w);
/* The time of some of them may be over. */
void cold_wait_limit(struct worker *w);

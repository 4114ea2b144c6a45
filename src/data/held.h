/* SPDX-License-Identifier: Apache-2.0 */
/* data/held.h - requests that wait in the middle of their middlewares until a password was judged
 * elsewhere. Each is an exchange without a server, so that a client that goes, or is too slow with
 * its body, ends it like any other.
 * Thread: the worker's.   Owns: a copy of each request's head.
 * Never: holds more than HELD_MAX, decides on a password. */
#pragma once

#include "data/request.h"

#define HELD_MAX 64u

struct held {
    struct handle exchange; /* gen 0: the place is free */
    uint8_t digest[KNOWN_DIGEST_BYTES];
    bool whole;
    uint32_t step;
    struct block *block; /* what the spans of the others point into */
    struct http_head head;
};

/* Holds a request back and has the question judged. False: it cannot be held, and was not changed.
 */
bool held_begin(struct worker *w, struct request *rq, const struct known_question *q);
/* The exchange ends, or goes on. */
void held_drop(struct worker *w, struct exchange *x);
/* Takes verdicts and lets those go on who waited for them. Once per step. */
void held_settle(struct worker *w);

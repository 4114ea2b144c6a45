/* SPDX-License-Identifier: Apache-2.0 */
/* data/upstream/greet.h - the TLS handshake with a server, from the standing TCP connection to a
 * session that was verified.
 * Thread: the worker's.   Owns: nothing; the session is the upconn's.
 * Never: waits (the dial's time limit runs on), lets bytes of a request out before its end. */
#pragma once

#include "base/result.h"

struct worker;
struct upconn;
struct exchange;

enum greet_state {
    GREET_MORE = 0, /* the server's next bytes are awaited */
    GREET_DONE,
    GREET_FAILED, /* logged; an alert may be queued */
};

/* Begins; `x` says which server it is. The first flight is queued. */
enum greet_state greet_begin(struct worker *w, struct upconn *upconn, const struct exchange *x);
/* Goes on with what was received. */
enum greet_state greet_turn(struct worker *w, struct upconn *upconn, const struct exchange *x);
/* An established session broke; in TLS 1.3 the server's judgement of our certificate comes so late.
 */
void greet_broke(struct worker *w, struct upconn *upconn, const struct exchange *x);

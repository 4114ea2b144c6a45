/* SPDX-License-Identifier: Apache-2.0 */
/* control/propagation/ask.h - one DNS question to the first of several servers that answers it.
 * Thread: control.   Owns: a c-ares channel while the question is open.
 * Never: calls back from inside ask_start(); asks two servers at once. Each server gets its own
 * channel: UDP with EDNS, TCP when the answer is truncated or UDP stays silent. */
#pragma once

#include "control/propagation/dnsmsg.h"
#include "control/propagation/channel.h"

#define ASK_SERVERS_MAX 16

struct ask;

struct ask_answer {
    bool ok;               /* a server answered, with whatever rcode */
    struct dnsmsg message; /* when ok; valid during the callback */
    struct net_addr server;
    const char *text; /* when not ok: "127.0.0.1:53 did not answer" */
};
typedef void ask_done(void *arg, const struct ask_answer *answer);

/* recursive: the servers are resolvers; RD is set, and SERVFAIL or REFUSED of one makes the next be
 * asked (its answer is reported when it was the last). count 1..ASK_SERVERS_MAX. name with or
 * without final dot. */
struct ask *ask_start(struct loop *loop, const struct net_addr *servers, uint32_t count,
                      bool recursive, const char *name, uint16_t type, ask_done *done, void *arg);
/* Ends it without a callback. NULL is harmless. Not for a question whose callback was called. */
void ask_cancel(struct ask *a);

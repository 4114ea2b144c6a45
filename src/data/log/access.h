/* SPDX-License-Identifier: Apache-2.0 */
/* data/log/access.h - what the data plane tells the access log about its requests.
 * Thread: the worker's.   Owns: one block of notes for each exchange while the log is on.
 * Never: waits for a disk; costs more than one branch while the log is off; keeps a request from
 * being served: a line for which there is no room is dropped and counted (access_dropped). */
#pragma once

#include "data/worker.h"

struct exchange;
struct request;

static inline bool access_is_on(const struct worker *w)
{
    return w->snapshot->access.on && w->access;
}

/* An exchange begins: keeps what will be gone at its end. Nothing of the head was changed yet. */
void access_begin(struct worker *w, struct exchange *x, const struct http_head *head);
/* Its final response head came. */
void access_head(struct worker *w, struct exchange *x, const struct http_head *head);
/* It is over, well or not: writes its line. Status 0 stands for a client that left: 499. */
void access_end(struct worker *w, struct exchange *x);
/* A request that never had an exchange was answered.
 *   bytes   of the answer's body */
void access_reply(struct worker *w, const struct request *rq, uint16_t status, uint64_t bytes);

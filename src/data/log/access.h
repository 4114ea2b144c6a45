/* SPDX-License-Identifier: Apache-2.0 */
/* data/log/access.h - what the data plane tells the access log about its requests.
 * Thread: the worker's.   Owns: one block of notes for each exchange while the log is on.
 * Never: waits for a disk; costs more than one branch while the log is off; keeps a request from
 * being served: a line for which there is no room is dropped and counted (access_dropped). */
#pragma once

#include "data/worker.h"

struct conn;
struct exchange;
struct request;

static inline bool access_is_on(const struct worker *w)
{
    return w->snapshot->access.on && w->access;
}

/* A request begins: keeps what will be gone at its end. Nothing of the head was changed yet. NULL:
 * no block is free, there will be no line. */
struct block *access_begin(struct worker *w, struct conn *conn, const struct http_head *head);
/* The final response head of an exchange with a log came. */
void access_head(struct worker *w, struct exchange *x, const struct http_head *head);
/* An exchange with a log is over, well or not: writes its line. Status 0 stands for a client that
 * left: 499. */
void access_end(struct worker *w, struct exchange *x);
/* A request with a log was answered without an exchange: writes its line.
 *   bytes   of the answer's body */
void access_reply(struct worker *w, struct request *rq, uint16_t status, uint64_t bytes);
/* A TCP router took a connection, whose client asked for the server name `name` or for none. NULL:
 * as above. */
struct block *access_begin_tcp(struct worker *w, struct conn *conn, struct span name);
/* Its tunnel stands: keeps the names of what it goes by, which its snapshot takes with it. */
void access_tunnel(struct worker *w, struct exchange *x);
/* It is over, or there was none: writes its line. */
void access_end_tcp(struct worker *w, struct exchange *x);
/* It got no exchange: writes its line, with a status as HTTP has them. */
void access_refuse_tcp(struct worker *w, struct block *log, const struct snap_router *router,
                       uint16_t status);
/* There will be no line. */
void access_drop(struct worker *w, struct block *log);

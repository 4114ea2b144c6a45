/* SPDX-License-Identifier: Apache-2.0 */
/* data/passage.h - a request's way through the middlewares of its router, and the way back of what
 * ferrule answers itself. Thread: the worker's.   Owns: nothing. Never: routes, speaks to an
 * upstream. */
#pragma once

#include "data/request.h"

/* Whether the connection's client may say for whom it asks (X-Forwarded-*). */
bool passage_is_trusted(struct worker *w, struct conn *conn, const struct snap_entrypoint *ep);
/* Tells the request who its client is, as upstreams are told, and runs it through the middlewares
 * of its router. False: it was answered, or is held back; its notes are given back or taken. */
bool passage_go(struct worker *w, struct request *rq);
/* Answers with a status, after the way back. The notes are of a request for `s`, of that snapshot;
 * they are not given back. */
void passage_answer(struct worker *w, struct stream *s, const struct snapshot *snapshot,
                    const struct middleware_notes *notes, uint16_t status, bool whole);
/* Answers a request with a text of ferrule's own, which must last; gives back as
 * passage_refuse(). */
void passage_reply(struct worker *w, struct request *rq, uint16_t status, struct span body);
/* The same for a request that has no upstream: gives back its notes, and the exchange in which it
 * was held back. */
void passage_refuse(struct worker *w, struct request *rq, uint16_t status);

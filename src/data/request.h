/* SPDX-License-Identifier: Apache-2.0 */
/* data/request.h - what becomes of a request whose head was read: an answer of our own
 * (redirection, no route, no server), or an exchange. Thread: the worker's.   Owns: nothing. Never:
 * waits; the head's spans are used up when it returns. */
#pragma once

#include "data/conn.h"

/* conn is in CONN_PHASE_EXCHANGE and stays there, or is in FLUSH or CLOSING afterwards. */
void request_begin(struct worker *w, struct conn *conn, struct http_head *head);

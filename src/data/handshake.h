/* SPDX-License-Identifier: Apache-2.0 */
/* data/handshake.h - from a connection's first bytes to an established TLS session.
 * Thread: the worker's.   Owns: nothing; the session is the conn's.
 * Never: makes TLS state before a whole ClientHello was read and a certificate found. */
#pragma once

#include "data/conn.h"

/* Looks at the first bytes; called from the worker's list of hellos. A bounded number of conns
 * leaves CONN_PHASE_HELLO per step. */
void handshake_hello(struct worker *w, struct conn *conn);
/* A turn in CONN_PHASE_HANDSHAKE. True when the phase changed and the conn goes on. */
bool handshake_turn(struct worker *w, struct conn *conn);

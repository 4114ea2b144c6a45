/* SPDX-License-Identifier: Apache-2.0 */
/* data/upstream/dial.h - opens a connection to an upstream for an exchange: the server's addresses
 * one after another, then other servers, within one time limit.
 * Thread: the worker's.   Owns: nothing.
 * Never: asks DNS (control resolves), goes on once bytes of the request were sent. */
#pragma once

#include "base/result.h"

struct worker;
struct exchange;

/* After a failed attempt a server comes behind the others for so long. */
#define DIAL_REST_NS 2000000000ull

/* Needs an HTTP/1 connection for itself: asks for a tunnel that no stream of the server's can be.
 */
bool dial_is_alone(const struct exchange *x);
/* Starts the next attempt; the exchange is told how it went. Fails when nothing is left to try:
 * ERR_REMOTE; ERR_NO_SLOT: too many connections. */
struct result dial_start(struct worker *w, struct exchange *x);
/* For another try from the start: with another server where there is one, and the whole time. */
void dial_restart(struct worker *w, struct exchange *x);

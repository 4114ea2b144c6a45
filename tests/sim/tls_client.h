/* SPDX-License-Identifier: Apache-2.0 */
/* tests/sim/tls_client.h - the TLS side of a played client: wolfSSL's own client over memory.
 * Thread: the test's.   Owns: its session and the bytes on their way.
 * Never: touches the scripted kernel. Keys are random, so a run with TLS is the same only up to the
 * lengths of signatures. */
#pragma once

#include "base/buf.h"

struct tls_client;

/* tls12: does not offer 1.3. */
struct tls_client *tls_client_create(bool tls12);
/* NULL is fine. */
void tls_client_free(struct tls_client *t);
/* Bytes from and to the wire; the caller consumes `out` and appends to `in`. */
struct buf *tls_client_in(struct tls_client *t);
struct buf *tls_client_out(struct tls_client *t);
/* Goes on: the handshake, then takes `plain_out` in and appends to `plain_in`. False: the session
 * failed. */
bool tls_client_turn(struct tls_client *t, struct buf *plain_out, struct buf *plain_in);
/* close_notify has come. */
bool tls_client_is_closed(const struct tls_client *t);

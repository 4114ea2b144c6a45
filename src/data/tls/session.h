/* SPDX-License-Identifier: Apache-2.0 */
/* data/tls/session.h - one TLS connection over memory: wire bytes in, plaintext out, and back.
 * Thread: the worker that made the policy context.   Owns: the WOLFSSL object.
 * Never: does I/O, keeps wire or plaintext bytes between calls (wolfSSL itself keeps the bytes
 * of an incomplete record), shares a context with another worker. */
#pragma once

#include "bridge/publish.h"
#include "data/tls/hello.h"

struct tls_policy;  /* one WOLFSSL_CTX: per worker and TLS policy */
struct tls_session; /* one connection */

/* Largest plaintext of one record, and what encrypting it can add. */
#define TLS_RECORD_PLAIN_MAX 16384
#define TLS_RECORD_OVERHEAD  64
/* Room that session_write() needs for n bytes of plaintext. */
#define TLS_WIRE_ROOM(n) ((n) + ((n) / TLS_RECORD_PLAIN_MAX + 1) * TLS_RECORD_OVERHEAD)
/* Room that session_feed() needs for what it may answer with: a server flight with chain. */
#define TLS_FLIGHT_ROOM 24576

/* Once per process, before any policy; installs the allocators and the random number source. */
struct result session_library_init(struct why *why);

/* options: from the snapshot, borrowed for the call. reader: for ticket keys. ERR_CRYPTO. */
struct result tls_policy_create(const struct snap_tls *options, struct tls_policy **ret,
                                struct why *why);
void tls_policy_destroy(struct tls_policy *policy);

/* Makes a session for a parsed hello with the chosen certificate (borrowed for the call: DER is
 * loaded into the session). `keys` are the ticket keys of this step. ERR_NO_SLOT, ERR_CRYPTO. */
struct result session_open(struct tls_policy *policy, const struct hello *hello,
                           const struct table_cert *cert, const struct ticket_keys *keys,
                           struct tls_session **ret);
/* Frees it at once; sends nothing. NULL is fine. */
void session_close(struct tls_session *s);

struct session_io {
    struct span in;     /* wire bytes; what was taken is cut off its front */
    struct writer *out; /* wire bytes to send are appended; room as above */
};

/* Goes on with the handshake. ERR_AGAIN: needs more input (output may have been made).
 * ERR_PEER_TLS: failed; an alert may be in `out`. ok: established. */
struct result session_handshake(struct tls_session *s, struct session_io *io);
/* Decrypts into `plain` until input or room is used up. Bytes are appended to plain.
 * ERR_AGAIN: input used up. ERR_FULL: plain is full, call again. ERR_PEER_CLOSED: close_notify.
 * ERR_PEER_TLS: bad record, alert queued. */
struct result session_read(struct tls_session *s, struct session_io *io, struct writer *plain);
/* Encrypts all of `plain` into `out` (room: TLS_WIRE_ROOM). ERR_PEER_TLS, ERR_FULL (no room:
 * nothing was taken). */
struct result session_write(struct tls_session *s, struct span plain, struct writer *out);
/* Queues close_notify. */
struct result session_shutdown(struct tls_session *s, struct writer *out);

bool session_resumed(const struct tls_session *s);
/* "h2", "http/1.1" or "". */
const char *session_alpn(const struct tls_session *s);
/* "TLSv1.3", cipher suite, key exchange group. Static or session memory. */
const char *session_version(const struct tls_session *s);

/* SPDX-License-Identifier: Apache-2.0 */
/* data/tls/session.h - one TLS connection over memory: wire bytes in, plaintext out, and back.
 * Thread: the worker that made the policy.   Owns: the WOLFSSL object.
 * Never: does I/O, keeps wire or plaintext bytes between calls (wolfSSL itself keeps the bytes
 * of an incomplete record), shares a context with another worker.
 *
 *   session_open -> session_handshake until ok -> session_read, session_write in any order
 *   -> session_shutdown -> session_close
 *
 * The first call of session_handshake() gets all bytes from the start of the connection, those
 * that hello_parse() has looked at included. */
#pragma once

#include "bridge/publish.h"
#include "data/tls/hello.h"
#include "data/tls/policy.h"

struct tls_session; /* one connection */

/* Largest plaintext of one record, and what encrypting it can add (header, nonce, type, tag, and
 * a KeyUpdate before it). */
#define TLS_RECORD_PLAIN_MAX 16384
#define TLS_RECORD_OVERHEAD  64
/* Room that session_write() needs for n bytes of plaintext. */
#define TLS_WIRE_ROOM(n) ((n) + ((n) / TLS_RECORD_PLAIN_MAX + 1) * TLS_RECORD_OVERHEAD)
/* A server's flight fits in this with a chain of usual length; with less room the handshake takes
 * more calls. */
#define TLS_FLIGHT_ROOM 24576
/* Room that session_read() needs in `out` for what it may have to answer (alert, KeyUpdate). */
#define TLS_ANSWER_ROOM 256

/* Once per process, before any other use of wolfSSL that outlives a call: installs the allocators
 * and the random number source. */
struct result session_library_init(struct why *why);
/* Before a thread that had sessions ends: gives up what it keeps for the next ones. */
void session_thread_end(void);

/* Makes a session for a parsed hello with the chosen certificate (borrowed for the call: DER is
 * loaded into the session). keys: of this step; NULL or without a key: no tickets.
 * ERR_NO_MEMORY, ERR_CRYPTO (the certificate or key cannot be loaded), ERR_PEER_TLS (no key
 * exchange group in common: the alert handshake_failure is the caller's). */
struct result session_open(struct tls_policy *policy, const struct hello *hello,
                           const struct table_cert *cert, const struct ticket_keys *keys,
                           struct tls_session **ret);
/* Before the handshake: what the client gets to see of an OCSP responder together with the
 * certificate, in TLS 1.2 and 1.3 (RFC 6066 section 8, RFC 8446 section 4.4.2.1), if it asks for
 * that. Copied. ERR_NO_MEMORY. */
struct result session_staple(struct tls_session *s, struct span response);
/* Frees it at once; sends nothing. NULL is fine. */
void session_close(struct tls_session *s);

struct session_io {
    struct span in;                 /* wire bytes; what was taken is cut off its front */
    struct writer *out;             /* wire bytes to send are appended */
    const struct ticket_keys *keys; /* of this step, for session_handshake(); as session_open() */
};

/* Goes on with the handshake. ok: established; `in` may hold the first application data.
 * ERR_AGAIN: needs more input, `in` is used up (output may have been made). ERR_FULL: needs more
 * room in `out`: send what it holds, then call again. ERR_PEER_TLS: failed; the alert is in `out`
 * if there was room. */
struct result session_handshake(struct tls_session *s, struct session_io *io);
/* Decrypts into `plain` until input or room is used up. Bytes are appended to plain, which must
 * have room for one byte at least; records go there whole when it has TLS_RECORD_PLAIN_MAX.
 * ERR_AGAIN: input used up, nothing decrypted is left behind.
 * ERR_FULL: `plain` is full (or `out` has less than TLS_ANSWER_ROOM): make room, call again, with
 * empty input too.
 * ERR_PEER_CLOSED: close_notify; what came before it is in `plain`. Writing still works.
 * ERR_PEER_TLS: bad record or the peer's alert; ours may be in `out`. */
struct result session_read(struct tls_session *s, struct session_io *io, struct writer *plain);
/* Plaintext bytes that session_read() could not put anywhere yet. */
size_t session_pending(const struct tls_session *s);
/* Encrypts all of `plain` into `out` (room: TLS_WIRE_ROOM). ERR_FULL: no room, nothing was taken.
 * ERR_PEER_TLS: the session has failed or was shut down. */
struct result session_write(struct tls_session *s, struct span plain, struct writer *out);
/* Queues close_notify (once; more calls do nothing). Only for an established session that has not
 * failed, else nothing is sent. ERR_FULL: needs TLS_ANSWER_ROOM. */
struct result session_shutdown(struct tls_session *s, struct writer *out);

bool session_resumed(const struct tls_session *s);
/* "h2", "http/1.1", "acme-tls/1" or "". */
const char *session_alpn(const struct tls_session *s);
/* "TLSv1.3", "TLS_AES_128_GCM_SHA256", "X25519MLKEM768". Static memory; "" when not known. */
const char *session_version(const struct tls_session *s);
const char *session_suite(const struct tls_session *s);
/* The suite's number at IANA, and whether the version is TLS 1.3. */
uint16_t session_suite_number(const struct tls_session *s);
bool session_is_tls13(const struct tls_session *s);
const char *session_group(const struct tls_session *s);
/* wolfSSL's number of the error that ended the session, 0 = none. For counters and debugging. */
int session_failure(const struct tls_session *s);

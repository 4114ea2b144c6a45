/* SPDX-License-Identifier: Apache-2.0 */
/* data/tls/dialer.h - how one worker speaks TLS to servers under one serversTransport: versions,
 * suites, the CAs that it trusts, the certificate that it shows.
 * Thread: the worker that made it; sessions of other threads never use it.
 * Owns: its context. A session holds a reference of its own, so a dialer may be destroyed while its
 * sessions live on.
 * Never: reads a file (control published what is in them), lets a server pass whose certificate was
 * not verified unless the transport says so.
 *
 *   session_dial -> session_handshake until ok -> session_read, session_write in any order */
#pragma once

#include "base/result.h"
#include "bridge/snapshot.h"
#include "data/tls/policy.h"

struct tls_session;
struct tls_dialer;

/* What is kept of a session for the next one with the same server. Zero-initialised is valid. */
struct tls_resume {
    struct WOLFSSL_SESSION *session; /* NULL = nothing */
    uint64_t transport_id;           /* that it was made under */
    uint64_t verified_ns;            /* when the server's certificate was verified */
};

/* transport: of the snapshot, borrowed for the call. Costs a few milliseconds where it trusts the
 * system's CAs. ERR_CRYPTO, ERR_NO_MEMORY. */
struct result tls_dialer_create(const struct snapshot *s, const struct snap_transport *transport,
                                struct tls_dialer **ret, struct why *why);
/* NULL is fine. */
void tls_dialer_destroy(struct tls_dialer *dialer);
/* Protocols that later sessions offer, enum tls_alpn bits; until then both, or "http/1.1"
 * alone, or none, where the transport says so. */
void tls_dialer_offer(struct tls_dialer *dialer, uint32_t alpn);

/* Makes a session to a server. session_handshake() says ERR_PEER_TLS when the server's certificate
 * is not good for the name, session_explain() says why.
 *   http1    HTTP/2 is not offered
 *   host     of the server's URL: name or IP address, 1..255 bytes; the transport's serverName wins
 *   resume   of the same server; ignored when it is of another transport or too old
 * ERR_NO_MEMORY, ERR_CRYPTO. */
struct result session_dial(struct tls_dialer *dialer, struct span host, bool http1,
                           const struct tls_resume *resume, uint64_t now_ns,
                           struct tls_session **ret);
/* Keeps what an established session made by session_dial() allows to resume, instead of what `keep`
 * held. Nothing happens when it allows nothing (its ticket did not come yet), but that `keep` is
 * emptied when the server did not take it. */
void session_remember(struct tls_session *s, struct tls_resume *keep);
void tls_resume_clear(struct tls_resume *keep);
/* Which protocol the server chose; TLS_ALPN_NONE: none. Of an established session. */
enum tls_alpn session_protocol(const struct tls_session *s);
/* Why the handshake failed, as a part of a sentence about the server: "its certificate has
 * expired". Puts it into text, cut to size. */
#define SESSION_EXPLAIN_MAX 160
void session_explain(const struct tls_session *s, char text[SESSION_EXPLAIN_MAX]);

/* For session.c: after wolfSSL's handshake ended well. False: the server was not verified. */
bool dialer_accepts(struct tls_session *s);
/* For session.c: gives up what only the handshake needs. */
void dialer_forget(struct tls_session *s);

/* SPDX-License-Identifier: Apache-2.0 */
#include "data/tls/dialer.h"

#include "base/buf.h"
#include "base/must.h"
#include "base/secret.h"
#include "crypto/identity.h"
#include "data/tls/aead.h"
#include "data/tls/session_io.h"

#include <wolfssl/options.h>
#include <wolfssl/ssl.h>

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>

/* How long a session may be resumed without a new look at the server's certificate. */
#define RESUME_MAX_NS (3600ull * 1000000000ull)

/* A name that is in no certificate (RFC 6761 section 6.4). wolfSSL calls the verify callback only
 * for errors, and its own check refuses names of one label: so it is made to fail on this name, and
 * the callback, which is asked about that error alone when all else is good, looks at the real one.
 */
#define NOBODY "nobody.invalid"

#define SUITES                                                                                     \
    "TLS13-AES128-GCM-SHA256:TLS13-AES256-GCM-SHA384:TLS13-CHACHA20-POLY1305-SHA256:"              \
    "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:"                                   \
    "ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-RSA-AES256-GCM-SHA384:"                                   \
    "ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-RSA-CHACHA20-POLY1305"

struct tls_dialer {
    WOLFSSL_CTX *ctx;
    uint64_t id; /* the transport's */
    bool verify;
    uint32_t alpn; /* enum tls_alpn bits */
    char name[256], *uri;
};

/* What a session needs during its handshake only. */
struct dialing {
    bool checked; /* the callback looked at the leaf's names */
    struct identity wanted;
    char texts[]; /* what it points to */
};

/* ---- contexts ------------------------------------------------------------------------------- */

/* A root that cannot be used (expired, an algorithm that wolfSSL does not have) vouches for nobody;
 * the others do. */
static void load_roots(WOLFSSL_CTX *ctx, struct span certs)
{
    struct reader r = reader_of(certs);
    while (r.left && !r.bad) {
        struct span der = reader_bytes(&r, reader_be(&r, 3));
        if (der.len)
            (void)wolfSSL_CTX_load_verify_buffer(ctx, der.ptr, (long)der.len,
                                                 WOLFSSL_FILETYPE_ASN1);
    }
}

/* wolfSSL takes certificates in DER one after the other; a snapshot has each behind its length. */
static bool load_pair(WOLFSSL_CTX *ctx, struct span chain, struct span key)
{
    struct reader r = reader_of(chain);
    struct buf joined = {0};
    if (chain.len == 0)
        return true;
    while (r.left && !r.bad)
        buf_put_span(&joined, reader_bytes(&r, reader_be(&r, 3)));
    bool good = !r.bad &&
                wolfSSL_CTX_use_certificate_chain_buffer_format(
                    ctx, joined.ptr, (long)joined.len, WOLFSSL_FILETYPE_ASN1) == WOLFSSL_SUCCESS &&
                wolfSSL_CTX_use_PrivateKey_buffer(ctx, key.ptr, (long)key.len,
                                                  WOLFSSL_FILETYPE_ASN1) == WOLFSSL_SUCCESS;
    buf_free(&joined);
    return good;
}

/* Asked about errors only; arg is the session. The one about NOBODY stands for "all is good but the
 * name", which is decided here. */
static int verify(int good, WOLFSSL_X509_STORE_CTX *store)
{
    struct tls_session *s = store->userCtx;
    if (!s || !s->dialing || store->error != DOMAIN_NAME_MISMATCH || store->error_depth != 0 ||
        store->totalCerts < 1)
        return 0;
    struct span leaf = span_of(store->certs[0].buffer, store->certs[0].length);
    s->fault = (uint8_t)identity_check(leaf, &s->dialing->wanted);
    s->dialing->checked = true;
    return s->fault == IDENTITY_GOOD;
}

static bool fill(WOLFSSL_CTX *ctx, const struct snapshot *s, const struct snap_transport *t)
{
    int groups[] = {WOLFSSL_ECC_X25519, WOLFSSL_ECC_SECP256R1, WOLFSSL_ECC_SECP384R1};
    bool good = wolfSSL_CTX_SetMinVersion(ctx, WOLFSSL_TLSV1_2) == WOLFSSL_SUCCESS &&
                wolfSSL_CTX_set_cipher_list(ctx, SUITES) == WOLFSSL_SUCCESS &&
                wolfSSL_CTX_set_groups(ctx, groups, 3) == WOLFSSL_SUCCESS &&
                wolfSSL_CTX_UseSessionTicket(ctx) == WOLFSSL_SUCCESS &&
                wolfSSL_CTX_SetDevId(ctx, aead_device()) == WOLFSSL_SUCCESS;
    wolfSSL_CTX_set_session_cache_mode(ctx, WOLFSSL_SESS_CACHE_OFF);
    wolfSSL_CTX_set_verify(ctx, t->insecure ? WOLFSSL_VERIFY_NONE : WOLFSSL_VERIFY_PEER,
                           t->insecure ? NULL : verify);
    wolfSSL_CTX_SetIORecv(ctx, session_io_receive);
    wolfSSL_CTX_SetIOSend(ctx, session_io_send);
    if (t->roots != SNAP_NONE && !t->insecure)
        load_roots(ctx, s->roots[t->roots].certs);
    return good && load_pair(ctx, t->chain, t->key);
}

struct result tls_dialer_create(const struct snapshot *s, const struct snap_transport *transport,
                                struct tls_dialer **ret, struct why *why)
{
    struct tls_dialer *d = mem_zalloc(sizeof *d);
    must(transport->server_name.len < sizeof d->name);
    d->id = transport->id;
    d->verify = !transport->insecure;
    if (!transport->no_alpn)
        d->alpn = transport->no_http2 ? TLS_ALPN_HTTP11 : TLS_ALPN_H2 | TLS_ALPN_HTTP11;
    if (transport->server_name.len)
        memcpy(d->name, transport->server_name.ptr, transport->server_name.len);
    d->uri = mem_strndup(transport->peer_uri.ptr, transport->peer_uri.len);
    d->ctx = wolfSSL_CTX_new(wolfSSLv23_client_method());
    if (!d->ctx || !fill(d->ctx, s, transport)) {
        tls_dialer_destroy(d);
        return why_fail(why, ERR_CRYPTO, "wolfSSL refuses its TLS settings or its certificate");
    }
    *ret = d;
    return result_ok();
}

void tls_dialer_destroy(struct tls_dialer *dialer)
{
    if (!dialer)
        return;
    wolfSSL_CTX_free(dialer->ctx);
    free(dialer->uri);
    free(dialer);
}

void tls_dialer_offer(struct tls_dialer *dialer, uint32_t alpn)
{
    must((alpn & ~(uint32_t)(TLS_ALPN_HTTP11 | TLS_ALPN_H2)) == 0);
    dialer->alpn = alpn;
}

/* ---- sessions ------------------------------------------------------------------------------- */

static bool is_address(const char *text)
{
    uint8_t ip[16];
    return inet_pton(AF_INET, text, ip) == 1 || inet_pton(AF_INET6, text, ip) == 1;
}

/* Name to ask for (RFC 6066 section 3: never an address), names to expect. */
static struct result set_names(struct tls_session *s, const struct tls_dialer *d, struct span host)
{
    size_t uri_len = strlen(d->uri);
    struct span name = *d->name ? span_str(d->name) : host;
    must(name.len > 0 && name.len < 256);
    if (name.len > 1 && name.ptr[name.len - 1] == '.')
        name.len--;
    s->dialing =
        XMALLOC(sizeof *s->dialing + name.len + 1 + uri_len, NULL, DYNAMIC_TYPE_TMP_BUFFER);
    if (!s->dialing)
        return result_fail(ERR_NO_MEMORY);
    struct dialing *dialing = s->dialing;
    *dialing = (struct dialing){.checked = !d->verify};
    memcpy(dialing->texts, name.ptr, name.len);
    dialing->texts[name.len] = 0;
    memcpy(dialing->texts + name.len + 1, d->uri, uri_len);
    dialing->wanted.host = span_of(dialing->texts, name.len);
    dialing->wanted.uri = span_of(dialing->texts + name.len + 1, uri_len);
    if (!is_address(dialing->texts) && wolfSSL_UseSNI(s->ssl, WOLFSSL_SNI_HOST_NAME, name.ptr,
                                                      (word16)name.len) != WOLFSSL_SUCCESS)
        return result_fail(ERR_CRYPTO);
    if (d->verify && wolfSSL_check_domain_name(s->ssl, NOBODY) != WOLFSSL_SUCCESS)
        return result_fail(ERR_CRYPTO);
    return result_ok();
}

static struct result set_protocols(struct tls_session *s, uint32_t alpn)
{
    static char both[] = "h2,http/1.1", h2[] = "h2", http11[] = "http/1.1";
    char *list = alpn == TLS_ALPN_HTTP11 ? http11 : alpn == TLS_ALPN_H2 ? h2 : both;
    if (alpn && wolfSSL_UseALPN(s->ssl, list, (unsigned)strlen(list),
                                WOLFSSL_ALPN_CONTINUE_ON_MISMATCH) != WOLFSSL_SUCCESS)
        return result_fail(ERR_CRYPTO);
    return result_ok();
}

/* Of a copy: another connection may still get new tickets for the kept one. */
static void resume_with(struct tls_session *s, const struct tls_dialer *d,
                        const struct tls_resume *resume, uint64_t now_ns)
{
    s->verified_ns = now_ns;
    if (!resume->session || resume->transport_id != d->id ||
        now_ns - resume->verified_ns > RESUME_MAX_NS)
        return;
    WOLFSSL_SESSION *copy = wolfSSL_SESSION_dup(resume->session);
    if (copy && wolfSSL_set_session(s->ssl, copy) == WOLFSSL_SUCCESS)
        s->resumed_ns = resume->verified_ns;
    wolfSSL_SESSION_free(copy);
}

/* Called by wolfSSL when a ticket came; it is in the session by itself. */
static int take_ticket(WOLFSSL *ssl, const unsigned char *ticket, int len, void *arg)
{
    struct tls_session *s = arg;
    s->has_ticket = len > 0;
    return 0;
}

struct result session_dial(struct tls_dialer *dialer, struct span host, bool http1,
                           const struct tls_resume *resume, uint64_t now_ns,
                           struct tls_session **ret)
{
    struct tls_session *s = XMALLOC(sizeof *s, NULL, DYNAMIC_TYPE_TMP_BUFFER);
    if (!s)
        return result_fail(ERR_NO_MEMORY);
    *s = (struct tls_session){.phase = SESSION_PHASE_HANDSHAKE, .is_client = true};
    s->transport_id = dialer->id;
    s->authorities = wolfSSL_CTX_GetCertManager(dialer->ctx);
    s->ssl = wolfSSL_new(dialer->ctx);
    struct result r = s->ssl ? result_ok() : result_fail(ERR_NO_MEMORY);
    if (result_is_ok(r))
        r = set_names(s, dialer, host);
    if (result_is_ok(r))
        r = set_protocols(s, http1 && dialer->alpn ? TLS_ALPN_HTTP11 : dialer->alpn);
    if (!result_is_ok(r)) {
        session_close(s);
        return r;
    }
    resume_with(s, dialer, resume, now_ns);
    wolfSSL_SetIOReadCtx(s->ssl, s);
    wolfSSL_SetIOWriteCtx(s->ssl, s);
    wolfSSL_SetCertCbCtx(s->ssl, s);
    (void)wolfSSL_set_SessionTicket_cb(s->ssl, take_ticket, s);
    *ret = s;
    return r;
}

bool dialer_accepts(struct tls_session *s)
{
    must(s->dialing);
    /* A resumed session was verified when it was made. */
    bool resumed = wolfSSL_session_reused(s->ssl) == 1;
    return resumed || (s->dialing->checked && s->fault == IDENTITY_GOOD);
}

void dialer_forget(struct tls_session *s)
{
    XFREE(s->dialing, NULL, DYNAMIC_TYPE_TMP_BUFFER);
    s->dialing = NULL;
}

void session_remember(struct tls_session *s, struct tls_resume *keep)
{
    must(s->is_client);
    WOLFSSL_SESSION *now = wolfSSL_get_session(s->ssl);
    bool reused = wolfSSL_session_reused(s->ssl) == 1;
    if (s->resumed_ns && !reused) /* the server has forgotten what was kept */
        tls_resume_clear(keep);
    if (s->phase == SESSION_PHASE_FAILED || !s->has_ticket || !now)
        return;
    if (reused)
        s->verified_ns = s->resumed_ns;
    WOLFSSL_SESSION *copy = wolfSSL_SESSION_dup(now);
    if (!copy)
        return;
    tls_resume_clear(keep);
    *keep = (struct tls_resume){copy, s->transport_id, s->verified_ns};
    s->has_ticket = false;
}

void tls_resume_clear(struct tls_resume *keep)
{
    wolfSSL_SESSION_free(keep->session);
    *keep = (struct tls_resume){0};
}

enum tls_alpn session_protocol(const struct tls_session *s)
{
    char *name = NULL;
    word16 len = 0;
    if (wolfSSL_ALPN_GetProtocol(s->ssl, &name, &len) != WOLFSSL_SUCCESS || !name)
        return TLS_ALPN_NONE;
    struct span chosen = span_of(name, len);
    return span_eq(chosen, SPAN_LITERAL("h2"))         ? TLS_ALPN_H2
           : span_eq(chosen, SPAN_LITERAL("http/1.1")) ? TLS_ALPN_HTTP11
                                                       : TLS_ALPN_NONE;
}

/* ---- reasons -------------------------------------------------------------------------------- */

static const char *fault_text(enum identity_fault fault)
{
    switch (fault) {
    case IDENTITY_NAME:
        return "its certificate is for other names";
    case IDENTITY_USE:
        return "its certificate is not for TLS servers";
    case IDENTITY_URI:
        return "its certificate does not have the URI of peerCertURI";
    default:
        return "its certificate is malformed";
    }
}

static const char *error_text(int error)
{
    switch (error) {
    case DOMAIN_NAME_MISMATCH:
        return fault_text(IDENTITY_NAME);
    case ASN_AFTER_DATE_E:
        return "its certificate, or one of its CA's, has expired";
    case ASN_BEFORE_DATE_E:
        return "its certificate, or one of its CA's, is not valid yet";
    case ASN_NO_SIGNER_E:
        return "its certificate comes from an unknown CA";
    case ASN_SELF_SIGNED_E:
        return "its certificate is signed by itself and not among the trusted ones";
    case ASN_SIG_CONFIRM_E:
        return "a signature in its certificate chain is wrong";
    case SOCKET_ERROR_E:
    case SOCKET_PEER_CLOSED_E:
        return "it closed the connection during the handshake";
    case VERSION_ERROR:
        return "it speaks no TLS version from 1.2 on";
    case MATCH_SUITE_ERROR:
        return "it has no cipher suite in common";
    default:
        return NULL;
    }
}

/* Alerts (RFC 8446 section 6.2) that a person can act on; the others by number. */
static const char *alert_text(int code)
{
    switch (code) {
    case 40:
        return "handshake_failure: no common cipher suite, or it wants a client certificate";
    case 42:
        return "bad_certificate: it refuses our certificate";
    case 45:
        return "certificate_expired: our certificate has expired";
    case 48:
        return "unknown_ca: it does not know the CA of our certificate";
    case 70:
        return "protocol_version: no common TLS version";
    case 112:
        return "unrecognized_name: it does not have this name";
    case 116:
        return "certificate_required: it wants a client certificate";
    case 120:
        return "no_application_protocol: it does not speak the HTTP version offered";
    default:
        return NULL;
    }
}

void session_explain(const struct tls_session *s, char text[SESSION_EXPLAIN_MAX])
{
    WOLFSSL_ALERT_HISTORY alerts;
    const char *known = error_text(s->failure);
    if (s->fault != IDENTITY_GOOD) {
        (void)snprintf(text, SESSION_EXPLAIN_MAX, "%s", fault_text((enum identity_fault)s->fault));
    } else if (known) {
        (void)snprintf(text, SESSION_EXPLAIN_MAX, "%s", known);
    } else if (wolfSSL_get_alert_history(s->ssl, &alerts) == WOLFSSL_SUCCESS &&
               alerts.last_rx.level == alert_fatal) {
        const char *alert = alert_text(alerts.last_rx.code);
        (void)snprintf(text, SESSION_EXPLAIN_MAX,
                       alert ? "it sent the alert %s" : "it sent alert %s%d", alert ? alert : "",
                       alerts.last_rx.code);
    } else {
        (void)snprintf(text, SESSION_EXPLAIN_MAX, "the handshake failed: %s (%d)",
                       wolfSSL_ERR_reason_error_string((unsigned long)s->failure), s->failure);
    }
}

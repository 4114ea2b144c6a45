/* SPDX-License-Identifier: Apache-2.0 */
#include "data/tls/session.h"

#include "base/must.h"
#include "base/secret.h"
#include "data/tls/aead.h"
#include "data/tls/alloc.h"
#include "data/tls/client_auth.h"
#include "data/tls/dialer.h"
#include "data/tls/random.h"
#include "data/tls/session_io.h"

#include <wolfssl/options.h>
#include <wolfssl/ssl.h>
#include <wolfssl/wolfcrypt/sha256.h>
#include <wolfssl_write_side.h>

/* ---- phases --------------------------------------------------------------------------------- */

static const bool allowed[SESSION_PHASE_COUNT][SESSION_PHASE_COUNT] = {
    [SESSION_PHASE_HANDSHAKE] = {[SESSION_PHASE_OPEN] = true, [SESSION_PHASE_FAILED] = true},
    [SESSION_PHASE_OPEN] = {[SESSION_PHASE_READ_END] = true, [SESSION_PHASE_FAILED] = true},
    [SESSION_PHASE_READ_END] = {[SESSION_PHASE_FAILED] = true},
};

static void set_phase(struct tls_session *s, enum session_phase to)
{
    must(s->phase < SESSION_PHASE_COUNT && allowed[s->phase][to]);
    s->phase = (uint8_t)to;
}

static struct result session_fail(struct tls_session *s, int error)
{
    s->failure = error ? error : WOLFSSL_FATAL_ERROR;
    set_phase(s, SESSION_PHASE_FAILED);
    return result_fail(ERR_PEER_TLS);
}

/* ---- making and freeing --------------------------------------------------------------------- */

struct result session_library_init(struct why *why)
{
    struct result r = random_init();
    if (result_is_ok(r))
        r = alloc_init();
    if (!result_is_ok(r))
        return why_fail(why, r.code, "the TLS library's memory or random source cannot be set up");
    if (wolfSSL_Init() != WOLFSSL_SUCCESS)
        return why_fail(why, ERR_CRYPTO, "wolfSSL cannot be initialised");
    aead_init();
    return r;
}

void session_thread_end(void)
{
    alloc_release();
}

/* What a ticket of this session is good for: RFC 6066 section 3 wants the name compared, and a
 * session must not go on under another policy or protocol. */
static void bind_ticket(struct tls_session *s, const struct tls_policy *policy,
                        const struct hello *hello)
{
    wc_Sha256 sha;

    must(wc_InitSha256(&sha) == 0);
    must(wc_Sha256Update(&sha, policy->binding, sizeof policy->binding) == 0);
    must(wc_Sha256Update(&sha, &s->alpn, sizeof s->alpn) == 0);
    if (hello->name_len)
        must(wc_Sha256Update(&sha, (const byte *)hello->name, hello->name_len) == 0);
    must(wc_Sha256Final(&sha, s->binding) == 0);
    wc_Sha256Free(&sha);
}

/* wolfSSL takes certificates in DER one after the other; the table has each behind its length. */
static struct result join_chain(struct tls_policy *policy, struct span chain, struct span *ret)
{
    struct reader r = reader_of(chain);
    struct writer w = writer_of(policy->chain, sizeof policy->chain);
    struct span first = reader_bytes(&r, reader_be(&r, 3));

    if (!r.bad && r.left == 0 && first.len) {
        *ret = first;
        return result_ok();
    }
    writer_span(&w, first);
    while (r.left && !r.bad)
        writer_span(&w, reader_bytes(&r, reader_be(&r, 3)));
    if (r.bad || w.bad || first.len == 0)
        return result_fail(ERR_CRYPTO);
    *ret = writer_done(&w);
    return result_ok();
}

static struct result load_certificate(struct tls_policy *policy, WOLFSSL *ssl,
                                      const struct table_cert *cert)
{
    struct span chain;

    TRY(join_chain(policy, cert->chain, &chain));
    if (wolfSSL_use_certificate_chain_buffer_format(ssl, chain.ptr, (long)chain.len,
                                                    WOLFSSL_FILETYPE_ASN1) != WOLFSSL_SUCCESS)
        return result_fail(ERR_CRYPTO);
    if (wolfSSL_use_PrivateKey_buffer(ssl, cert->key.ptr, (long)cert->key.len,
                                      WOLFSSL_FILETYPE_ASN1) != WOLFSSL_SUCCESS)
        return result_fail(ERR_CRYPTO);
    return result_ok();
}

static const char *alpn_text(uint32_t kind)
{
    return kind == TLS_ALPN_H2       ? "h2"
           : kind == TLS_ALPN_HTTP11 ? "http/1.1"
           : kind == TLS_ALPN_ACME   ? "acme-tls/1"
                                     : "";
}

/* The list is what the alert no_application_protocol is about when nothing in it was offered. */
static struct result set_alpn(const struct tls_policy *policy, const struct hello *hello,
                              struct tls_session *s)
{
    s->alpn = (uint8_t)tls_policy_choose(policy, hello);
    if (!hello->has_alpn || policy->alpn == 0)
        return result_ok();
    uint32_t kind = s->alpn ? s->alpn : policy->alpn & -policy->alpn; /* the lowest */
    const char *protocol = alpn_text(kind);
    if (wolfSSL_UseALPN(s->ssl, (char *)(uintptr_t)protocol, (unsigned)strlen(protocol),
                        WOLFSSL_ALPN_FAILED_ON_MISMATCH) != WOLFSSL_SUCCESS)
        return result_fail(ERR_CRYPTO);
    return result_ok();
}

struct result session_open(struct tls_policy *policy, const struct hello *hello,
                           const struct table_cert *cert, const struct ticket_keys *keys,
                           struct tls_session **ret)
{
    bool tickets = policy->tickets && keys && keys->count && hello->ticket_len <= TICKET_WIRE_MAX;
    /* In TLS 1.2 wolfSSL does not look at a ticket's age. */
    if (policy->verifies && !(hello->tls13 && policy->max_version > 0x0303))
        tickets = false;
    uint16_t temp_bytes;
    if (!tls_policy_agrees(policy, hello, &temp_bytes))
        return result_fail(ERR_PEER_TLS);
    struct tls_session *s = XMALLOC(sizeof *s, NULL, DYNAMIC_TYPE_TMP_BUFFER);

    if (!s)
        return result_fail(ERR_NO_MEMORY);
    *s = (struct tls_session){.phase = SESSION_PHASE_HANDSHAKE};
    WOLFSSL_CTX *ctx = tickets ? policy->tickets : policy->plain;
    s->ssl = wolfSSL_new(ctx);
    s->authorities = policy->asks ? wolfSSL_CTX_GetCertManager(ctx) : NULL;
    struct result r = s->ssl ? result_ok() : result_fail(ERR_NO_MEMORY);
    if (result_is_ok(r))
        r = load_certificate(policy, s->ssl, cert);
    if (result_is_ok(r) && temp_bytes &&
        wolfSSL_SetTmpEC_DHE_Sz(s->ssl, temp_bytes) != WOLFSSL_SUCCESS)
        r = result_fail(ERR_CRYPTO);
    if (result_is_ok(r))
        r = set_alpn(policy, hello, s);
    if (result_is_ok(r) && hello->has_early_data && !(s->early = early_create(s->ssl)))
        r = result_fail(ERR_NO_MEMORY);
    if (!result_is_ok(r)) {
        session_close(s);
        return r;
    }
    bind_ticket(s, policy, hello);
    wolfSSL_SetIOReadCtx(s->ssl, s);
    wolfSSL_SetIOWriteCtx(s->ssl, s);
    *ret = s;
    return r;
}

struct result session_staple(struct tls_session *s, struct span response)
{
    must(s->phase == SESSION_PHASE_HANDSHAKE && !s->is_client && response.len &&
         response.len <= PUBLISH_STAPLE_MAX);
    uint8_t *copy = XMALLOC(response.len, NULL, 0);
    if (!copy)
        return result_fail(ERR_NO_MEMORY);
    memcpy(copy, response.ptr, response.len);
    must(wolfSSL_set_tlsext_status_ocsp_resp(s->ssl, copy, (int)response.len) == WOLFSSL_SUCCESS);
    s->has_staple = true;
    return result_ok();
}

/* wolfSSL promises a TLS 1.2 client a response as soon as its context may show some, whether there
 * is one or not; a context serves one worker, so it is told anew for each session. */
static void allow_staple(struct tls_session *s)
{
    WOLFSSL_CTX *ctx = wolfSSL_get_SSL_CTX(s->ssl);
    must((s->has_staple ? wolfSSL_CTX_EnableOCSPStapling(ctx)
                        : wolfSSL_CTX_DisableOCSPStapling(ctx)) == WOLFSSL_SUCCESS);
}

void session_close(struct tls_session *s)
{
    if (!s)
        return;
    early_destroy(s->early);
    dialer_forget(s);
    wolfSSL_free(s->ssl);
    XFREE(s, NULL, DYNAMIC_TYPE_TMP_BUFFER);
}

/* ---- bytes ---------------------------------------------------------------------------------- */

struct result session_handshake(struct tls_session *s, struct session_io *io)
{
    if (s->phase == SESSION_PHASE_FAILED)
        return result_fail(ERR_PEER_TLS);
    must(s->phase == SESSION_PHASE_HANDSHAKE);
    s->io = io;
    if (!s->is_client)
        allow_staple(s);
    int done = s->is_client ? wolfSSL_connect(s->ssl) : wolfSSL_accept(s->ssl);
    s->io = NULL;
    if (s->authorities)
        client_auth_forget(s->authorities);
    if (done == WOLFSSL_SUCCESS && s->is_client && !dialer_accepts(s))
        return session_fail(s, DOMAIN_NAME_MISMATCH);
    if (done == WOLFSSL_SUCCESS) {
        dialer_forget(s);
        early_destroy(s->early);
        s->early = NULL;
        set_phase(s, SESSION_PHASE_OPEN);
        return result_ok();
    }
    int error = wolfSSL_get_error(s->ssl, done);
    if (error == WOLFSSL_ERROR_WANT_READ)
        return result_fail(ERR_AGAIN);
    if (error == WOLFSSL_ERROR_WANT_WRITE)
        return result_fail(ERR_FULL);
    return session_fail(s, error);
}

/* Why wolfSSL_read() gave no bytes. */
static struct result read_stopped(struct tls_session *s, int got)
{
    int error = wolfSSL_get_error(s->ssl, got);

    if (error == WOLFSSL_ERROR_WANT_READ)
        return result_fail(s->starved ? ERR_FULL : ERR_AGAIN);
    if (error == WOLFSSL_ERROR_ZERO_RETURN) {
        set_phase(s, SESSION_PHASE_READ_END);
        return result_fail(ERR_PEER_CLOSED);
    }
    return session_fail(s, error);
}

struct result session_read(struct tls_session *s, struct session_io *io, struct writer *plain)
{
    struct result r = result_ok();

    if (s->phase == SESSION_PHASE_FAILED)
        return result_fail(ERR_PEER_TLS);
    if (s->phase == SESSION_PHASE_READ_END)
        return result_fail(ERR_PEER_CLOSED);
    must(s->phase == SESSION_PHASE_OPEN && plain->len < plain->cap);
    s->io = io;
    s->starved = false;
    while (result_is_ok(r)) {
        size_t room = plain->cap - plain->len;
        if (room == 0)
            r = result_fail(io->in.len || wolfSSL_pending(s->ssl) ? ERR_FULL : ERR_AGAIN);
        else {
            int got = wolfSSL_read(s->ssl, plain->ptr + plain->len,
                                   room < INT32_MAX ? (int)room : INT32_MAX);
            if (got > 0)
                plain->len += (size_t)got;
            else
                r = read_stopped(s, got);
        }
    }
    s->io = NULL;
    return r;
}

size_t session_pending(const struct tls_session *s)
{
    int n = wolfSSL_pending(s->ssl);
    return n > 0 ? (size_t)n : 0;
}

static_assert(AEAD_PLAIN_MAX == TLS_RECORD_PLAIN_MAX, "records of one length, whoever seals them");

/* wolfSSL would copy the plaintext into memory of its own, seal it there, and have the records
 * copied from there. False: it has to, all the same. */
static bool seal(struct tls_session *s, struct span plain, struct writer *out)
{
    uint32_t records = (uint32_t)AEAD_RECORDS(plain.len);
    struct wolfssl_write_side side;

    if (plain.len < AEAD_BYTES_MIN || aead_device() == INVALID_DEVID ||
        !wolfssl_write_side_get(s->ssl, records, &side))
        return false;
    struct aead_records as = {span_of(side.key, side.key_bytes), side.iv, side.sequence};
    aead_seal_records(&as, plain, out);
    wolfssl_write_side_advance(s->ssl, records);
    return true;
}

struct result session_write(struct tls_session *s, struct span plain, struct writer *out)
{
    struct session_io io = {.out = out};

    if (s->phase == SESSION_PHASE_FAILED || s->closed)
        return result_fail(ERR_PEER_TLS);
    must(s->phase == SESSION_PHASE_OPEN || s->phase == SESSION_PHASE_READ_END);
    if (out->cap - out->len < TLS_WIRE_ROOM(plain.len))
        return result_fail(ERR_FULL);
    if (plain.len == 0)
        return result_ok();
    must(plain.len <= INT32_MAX);
    if (seal(s, plain, out))
        return result_ok();
    s->io = &io;
    int put = wolfSSL_write(s->ssl, plain.ptr, (int)plain.len);
    s->io = NULL;
    if (put != (int)plain.len)
        return session_fail(s, wolfSSL_get_error(s->ssl, put));
    return result_ok();
}

struct result session_shutdown(struct tls_session *s, struct writer *out)
{
    struct session_io io = {.out = out};

    if (s->closed || s->phase == SESSION_PHASE_FAILED || s->phase == SESSION_PHASE_HANDSHAKE)
        return result_ok();
    if (out->cap - out->len < TLS_ANSWER_ROOM)
        return result_fail(ERR_FULL);
    s->io = &io;
    int done = wolfSSL_shutdown(s->ssl);
    s->io = NULL;
    if (done < 0)
        return session_fail(s, wolfSSL_get_error(s->ssl, done));
    s->closed = true;
    return result_ok();
}

/* ---- questions ------------------------------------------------------------------------------ */

bool session_resumed(const struct tls_session *s)
{
    return wolfSSL_session_reused(s->ssl) == 1;
}

const char *session_alpn(const struct tls_session *s)
{
    return alpn_text(s->alpn);
}

const char *session_version(const struct tls_session *s)
{
    const char *text = wolfSSL_get_version(s->ssl);
    return text ? text : "";
}

const char *session_suite(const struct tls_session *s)
{
    int suite = wolfSSL_get_current_cipher_suite(s->ssl);
    const char *text =
        wolfSSL_get_cipher_name_iana_from_suite((uint8_t)(suite >> 8), (uint8_t)suite);
    return text ? text : "";
}

uint16_t session_suite_number(const struct tls_session *s)
{
    return (uint16_t)wolfSSL_get_current_cipher_suite(s->ssl);
}

bool session_is_tls13(const struct tls_session *s)
{
    return wolfSSL_version(s->ssl) == TLS1_3_VERSION;
}

const char *session_group(const struct tls_session *s)
{
    const char *text = wolfSSL_get_curve_name(s->ssl);
    return text ? text : "";
}

int session_failure(const struct tls_session *s)
{
    return s->failure;
}

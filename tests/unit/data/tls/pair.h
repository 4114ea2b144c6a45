/* SPDX-License-Identifier: Apache-2.0 */
/* tests/unit/data/tls/pair.h - a wolfSSL client and a session of ours, joined by memory; and
 * certificates to serve.
 * Thread: the test's.   Owns: what the tests free with *_free.   Never: included by product code.
 */
#pragma once

#include "base/buf.h"
#include "data/tls/session.h"

#include <wolfssl/options.h>
#include <wolfssl/ssl.h>
#include <wolfssl/wolfcrypt/asn_public.h>
#include <wolfssl/wolfcrypt/ecc.h>
#include <wolfssl/wolfcrypt/rsa.h>
#include <wolfssl/wolfcrypt/random.h>

#include "unit.h"

/* ---- certificates --------------------------------------------------------------------------- */

enum pair_key { PAIR_P256, PAIR_P384, PAIR_RSA };

struct pair_issuer {
    enum pair_key type;
    ecc_key ecc;
    RsaKey rsa;
    uint8_t der[4096]; /* its certificate */
    int der_len;
};

struct pair_cert {
    struct table_cert table;
    struct buf chain, key;
    struct pair_issuer root;
};

static WC_RNG pair_rng;

static inline void pair_make_key(struct pair_issuer *k, enum pair_key type)
{
    k->type = type;
    if (type == PAIR_RSA) {
        assert_int_equal(wc_InitRsaKey(&k->rsa, NULL), 0);
        assert_int_equal(wc_MakeRsaKey(&k->rsa, 2048, WC_RSA_EXPONENT, &pair_rng), 0);
    } else {
        assert_int_equal(wc_ecc_init(&k->ecc), 0);
        assert_int_equal(wc_ecc_make_key(&pair_rng, type == PAIR_P256 ? 32 : 48, &k->ecc), 0);
    }
}

/* A certificate of key `k`, signed by `by` (itself for a root). */
static inline void pair_sign(struct pair_issuer *k, const char *name, bool is_ca,
                             struct pair_issuer *by)
{
    static Cert c;
    bool rsa = k->type == PAIR_RSA;
    assert_int_equal(wc_InitCert(&c), 0);
    snprintf(c.subject.commonName, sizeof c.subject.commonName, "%s", name);
    c.isCA = is_ca;
    c.sigType = by->type == PAIR_RSA ? CTC_SHA256wRSA : CTC_SHA256wECDSA;
    if (by != k)
        assert_int_equal(wc_SetIssuerBuffer(&c, by->der, by->der_len), 0);
    if (!is_ca) {
        c.altNames[0] = 0x30;
        c.altNames[1] = (byte)(strlen(name) + 2);
        c.altNames[2] = 0x82;
        c.altNames[3] = (byte)strlen(name);
        memcpy(c.altNames + 4, name, strlen(name));
        c.altNamesSz = (int)strlen(name) + 4;
    }
    int n = wc_MakeCert(&c, k->der, sizeof k->der, rsa ? &k->rsa : NULL, rsa ? NULL : &k->ecc,
                        &pair_rng);
    assert_true(n > 0);
    bool by_rsa = by->type == PAIR_RSA;
    n = wc_SignCert(c.bodySz, c.sigType, k->der, sizeof k->der, by_rsa ? &by->rsa : NULL,
                    by_rsa ? NULL : &by->ecc, &pair_rng);
    assert_true(n > 0);
    k->der_len = n;
}

static inline void pair_key_free(struct pair_issuer *k)
{
    if (k->type == PAIR_RSA)
        wc_FreeRsaKey(&k->rsa);
    else
        wc_ecc_free(&k->ecc);
}

/* A chain for `name`: leaf, then `middles` intermediates; the root stays out of it. Roots of one
 * name would be told apart by key identifiers only, which these do not have. */
static inline void pair_cert_make_under(struct pair_cert *ret, const char *root, enum pair_key type,
                                        const char *name, int middles)
{
    static struct pair_issuer issuers[4], leaf;
    uint8_t key[4096];
    assert_true(middles < 4);
    memset(ret, 0, sizeof *ret);
    pair_make_key(&ret->root, PAIR_P256);
    pair_sign(&ret->root, root, true, &ret->root);
    struct pair_issuer *by = &ret->root;
    for (int i = 0; i < middles; i++) {
        pair_make_key(&issuers[i], PAIR_P256);
        pair_sign(&issuers[i], i ? "middle B" : "middle A", true, by);
        by = &issuers[i];
    }
    pair_make_key(&leaf, type);
    pair_sign(&leaf, name, false, by);
    buf_put_be(&ret->chain, (uint64_t)leaf.der_len, 3);
    buf_put(&ret->chain, leaf.der, (size_t)leaf.der_len);
    for (int i = middles - 1; i >= 0; i--) {
        buf_put_be(&ret->chain, (uint64_t)issuers[i].der_len, 3);
        buf_put(&ret->chain, issuers[i].der, (size_t)issuers[i].der_len);
    }
    int n = type == PAIR_RSA ? wc_RsaKeyToDer(&leaf.rsa, key, sizeof key)
                             : wc_EccKeyToDer(&leaf.ecc, key, sizeof key);
    assert_true(n > 0);
    buf_put(&ret->key, key, (size_t)n);
    for (int i = 0; i < middles; i++)
        pair_key_free(&issuers[i]);
    pair_key_free(&leaf);
    ret->table = (struct table_cert){.id = 1,
                                     .is_rsa = type == PAIR_RSA,
                                     .chain = buf_span(&ret->chain),
                                     .key = buf_span(&ret->key)};
}

static inline void pair_cert_make(struct pair_cert *ret, enum pair_key type, const char *name,
                                  int middles)
{
    pair_cert_make_under(ret, "root", type, name, middles);
}

static inline void pair_cert_free(struct pair_cert *c)
{
    pair_key_free(&c->root);
    buf_free(&c->chain);
    buf_free(&c->key);
}

/* ---- the two ends --------------------------------------------------------------------------- */

struct pair {
    WOLFSSL_CTX *client_ctx;
    WOLFSSL *client;
    struct buf to_server, to_client; /* on the wire */
    size_t client_sent;              /* all bytes the client ever sent */
    struct tls_policy *policy;       /* borrowed */
    const struct table_cert *cert;   /* borrowed */
    const struct ticket_keys *keys;  /* borrowed */
    struct hello hello;
    struct tls_session *session; /* NULL until the hello is complete */
    struct result server;        /* last of parse, open or handshake */
    int client_error;            /* 0 = fine so far */
    bool client_done, server_done;
    size_t feed_max; /* bytes the server is given at once, 0 = all */
    size_t room_max; /* room for output at once, 0 = TLS_FLIGHT_ROOM */
};

static inline int pair_client_receive(WOLFSSL *ssl, char *out, int size, void *arg)
{
    struct pair *p = arg;
    size_t n = p->to_client.len < (size_t)size ? p->to_client.len : (size_t)size;
    if (n == 0)
        return WOLFSSL_CBIO_ERR_WANT_READ;
    memcpy(out, p->to_client.ptr, n);
    buf_consume(&p->to_client, n);
    return (int)n;
}

static inline int pair_client_send(WOLFSSL *ssl, char *in, int size, void *arg)
{
    struct pair *p = arg;
    buf_put(&p->to_server, in, (size_t)size);
    p->client_sent += (size_t)size;
    return size;
}

struct pair_options {
    uint16_t only;               /* version; 0 = TLS 1.2 or 1.3 */
    const char *suites, *groups; /* wolfSSL's lists; NULL = its own */
    const char *name;            /* SNI, NULL = none */
    const char *alpn;            /* comma list, NULL = none */
    WOLFSSL_SESSION *resume;
    const struct pair_cert *trust; /* verify against its root; NULL = do not verify */
    const struct pair_cert *show;  /* the client's own certificate; NULL = none */
    bool leaf_only;                /* shown without what stands between it and its root */
};

/* Gives the client a certificate of its own. */
static inline void pair_show(WOLFSSL_CTX *ctx, const struct pair_cert *cert, bool leaf_only)
{
    struct buf joined = {0};
    struct reader r = reader_of(buf_span(&cert->chain));
    do
        buf_put_span(&joined, reader_bytes(&r, reader_be(&r, 3)));
    while (r.left && !leaf_only);
    assert_int_equal(wolfSSL_CTX_use_certificate_chain_buffer_format(
                         ctx, joined.ptr, (long)joined.len, WOLFSSL_FILETYPE_ASN1),
                     WOLFSSL_SUCCESS);
    assert_int_equal(wolfSSL_CTX_use_PrivateKey_buffer(ctx, cert->key.ptr, (long)cert->key.len,
                                                       WOLFSSL_FILETYPE_ASN1),
                     WOLFSSL_SUCCESS);
    buf_free(&joined);
}

static inline void pair_open(struct pair *p, struct tls_policy *policy,
                             const struct table_cert *cert, const struct ticket_keys *keys,
                             const struct pair_options *o)
{
    *p = (struct pair){.policy = policy, .cert = cert, .keys = keys};
    p->client_ctx = wolfSSL_CTX_new(o->only == 0x0304   ? wolfTLSv1_3_client_method()
                                    : o->only == 0x0303 ? wolfTLSv1_2_client_method()
                                                        : wolfSSLv23_client_method());
    assert_non_null(p->client_ctx);
    wolfSSL_CTX_SetMinVersion(p->client_ctx, WOLFSSL_TLSV1_2);
    wolfSSL_CTX_SetIORecv(p->client_ctx, pair_client_receive);
    wolfSSL_CTX_SetIOSend(p->client_ctx, pair_client_send);
    wolfSSL_CTX_UseSessionTicket(p->client_ctx);
    if (o->trust)
        assert_int_equal(wolfSSL_CTX_load_verify_buffer(p->client_ctx, o->trust->root.der,
                                                        o->trust->root.der_len,
                                                        WOLFSSL_FILETYPE_ASN1),
                         WOLFSSL_SUCCESS);
    else
        wolfSSL_CTX_set_verify(p->client_ctx, WOLFSSL_VERIFY_NONE, NULL);
    if (o->show)
        pair_show(p->client_ctx, o->show, o->leaf_only);
    if (o->suites)
        assert_int_equal(wolfSSL_CTX_set_cipher_list(p->client_ctx, o->suites), WOLFSSL_SUCCESS);
    p->client = wolfSSL_new(p->client_ctx);
    assert_non_null(p->client);
    wolfSSL_SetIOReadCtx(p->client, p);
    wolfSSL_SetIOWriteCtx(p->client, p);
    if (o->name)
        wolfSSL_UseSNI(p->client, WOLFSSL_SNI_HOST_NAME, o->name, (word16)strlen(o->name));
    if (o->alpn) {
        char list[100];
        snprintf(list, sizeof list, "%s", o->alpn);
        wolfSSL_UseALPN(p->client, list, (unsigned)strlen(list), WOLFSSL_ALPN_CONTINUE_ON_MISMATCH);
    }
    if (o->resume)
        assert_int_equal(wolfSSL_set_session(p->client, o->resume), WOLFSSL_SUCCESS);
}

static inline void pair_close(struct pair *p)
{
    session_close(p->session);
    wolfSSL_free(p->client);
    wolfSSL_CTX_free(p->client_ctx);
    buf_free(&p->to_client);
    buf_free(&p->to_server);
}

/* One call of the server's handshake with what is on the wire. False: nothing more to do. */
static inline bool pair_serve(struct pair *p)
{
    static uint8_t room[TLS_FLIGHT_ROOM];
    if (!p->session) {
        size_t seen =
            p->feed_max && p->feed_max < p->to_server.len ? p->feed_max : p->to_server.len;
        while ((p->server = hello_parse(span_of(p->to_server.ptr, seen), &p->hello)).code ==
                   ERR_AGAIN &&
               seen < p->to_server.len)
            seen++;
        if (!result_is_ok(p->server))
            return false;
        p->server = session_open(p->policy, &p->hello, p->cert, p->keys, &p->session);
        if (!result_is_ok(p->server))
            return false;
    }
    size_t n = p->feed_max && p->to_server.len > p->feed_max ? p->feed_max : p->to_server.len;
    struct writer out = writer_of(room, p->room_max ? p->room_max : sizeof room);
    struct session_io io = {span_of(p->to_server.ptr, n), &out, p->keys};
    p->server = session_handshake(p->session, &io);
    buf_put(&p->to_client, out.ptr, out.len);
    bool full = p->server.code == ERR_FULL;
    bool took = n != io.in.len;
    if (p->server.code == ERR_AGAIN)
        assert_int_equal(io.in.len, 0);
    buf_consume(&p->to_server, n - io.in.len);
    p->server_done = result_is_ok(p->server);
    return !p->server_done && (full || (p->server.code == ERR_AGAIN && took && p->to_server.len));
}

/* Runs both until nothing moves. */
static inline void pair_handshake(struct pair *p)
{
    for (int round = 0; round < 10; round++) {
        if (!p->client_done && !p->client_error) {
            int r = wolfSSL_connect(p->client);
            int e = wolfSSL_get_error(p->client, r);
            p->client_done = r == WOLFSSL_SUCCESS;
            if (!p->client_done && e != WOLFSSL_ERROR_WANT_READ)
                p->client_error = e;
        }
        if (!p->server_done && (p->server.code == ERR_NONE || p->server.code == ERR_AGAIN))
            while (pair_serve(p))
                ;
    }
}

/* A handshake that must work at both ends. */
static inline void pair_establish(struct pair *p)
{
    pair_handshake(p);
    if (p->client_error || !p->server_done)
        print_message("client error %d, server %s, failure %d\n", p->client_error,
                      err_name(p->server.code), p->session ? session_failure(p->session) : 0);
    assert_int_equal(p->client_error, 0);
    assert_true(p->client_done && p->server_done);
}

/* What the client sent is decrypted by us and appended to `ret`. */
static inline struct result pair_server_read(struct pair *p, struct buf *ret, size_t room)
{
    static uint8_t answer[TLS_ANSWER_ROOM], mem[70000];
    struct result r;
    do {
        struct writer out = writer_of(answer, sizeof answer);
        struct writer plain = writer_of(mem, room < sizeof mem ? room : sizeof mem);
        size_t n = p->feed_max && p->to_server.len > p->feed_max ? p->feed_max : p->to_server.len;
        struct session_io io = {span_of(p->to_server.ptr, n), &out, NULL};
        r = session_read(p->session, &io, &plain);
        buf_consume(&p->to_server, n - io.in.len);
        buf_put(&p->to_client, out.ptr, out.len);
        buf_put(ret, plain.ptr, plain.len);
    } while (r.code == ERR_FULL || (r.code == ERR_AGAIN && p->to_server.len));
    return r;
}

static inline void pair_server_write(struct pair *p, struct span plain)
{
    size_t room = TLS_WIRE_ROOM(plain.len);
    struct writer out = writer_of(buf_reserve(&p->to_client, room), room);
    assert_int_equal(session_write(p->session, plain, &out).code, ERR_NONE);
    p->to_client.len += out.len;
}

/* What we sent is read by the client and appended to `ret`; its last error is returned. */
static inline int pair_client_read(struct pair *p, struct buf *ret)
{
    static uint8_t mem[16384];
    for (;;) {
        int n = wolfSSL_read(p->client, mem, sizeof mem);
        if (n <= 0)
            return wolfSSL_get_error(p->client, n);
        buf_put(ret, mem, (size_t)n);
    }
}

/* ---- what most tests share ------------------------------------------------------------------ */

#define NAME "www.a.test"

static struct pair_cert certs[3]; /* by enum pair_key; two intermediates in the first's chain */
static struct tls_policy *policy; /* defaults */
static struct ticket_keys keys = {.count = 2};

static inline struct tls_policy *make_policy(uint16_t min, uint16_t max)
{
    struct snap_tls o = {.name = SPAN_LITERAL("default"), .min_version = min, .max_version = max};
    struct tls_policy *ret;
    struct why why;
    struct result r = tls_policy_create(&o, &ret, &why);
    if (!result_is_ok(r))
        fail_msg("%s", why.text);
    return ret;
}

static inline int pair_setup(void **state)
{
    struct why why;
    assert_int_equal(session_library_init(&why).code, ERR_NONE);
    assert_int_equal(wc_InitRng(&pair_rng), 0);
    pair_cert_make(&certs[PAIR_P256], PAIR_P256, NAME, 2);
    pair_cert_make(&certs[PAIR_P384], PAIR_P384, NAME, 0);
    pair_cert_make(&certs[PAIR_RSA], PAIR_RSA, NAME, 0);
    policy = make_policy(0x0303, 0x0304);
    for (int i = 0; i < 2; i++) {
        memset(keys.keys[i].name, 'k' + i, sizeof keys.keys[i].name);
        memset(keys.keys[i].aes, 'K' + i, sizeof keys.keys[i].aes);
    }
    return 0;
}

static inline int pair_teardown(void **state)
{
    tls_policy_destroy(policy);
    for (int i = 0; i < 3; i++)
        pair_cert_free(&certs[i]);
    wc_FreeRng(&pair_rng);
    wolfSSL_Cleanup();
    session_thread_end();
    return 0;
}

/* Both directions carry some bytes. */
static inline void exchange(struct pair *p)
{
    struct buf got = {0};
    assert_int_equal(wolfSSL_write(p->client, "ping", 4), 4);
    assert_int_equal(pair_server_read(p, &got, 100).code, ERR_AGAIN);
    assert_true(span_eq(buf_span(&got), SPAN_LITERAL("ping")));
    buf_consume(&got, got.len);
    pair_server_write(p, SPAN_LITERAL("pong"));
    assert_int_equal(pair_client_read(p, &got), WOLFSSL_ERROR_WANT_READ);
    assert_true(span_eq(buf_span(&got), SPAN_LITERAL("pong")));
    buf_free(&got);
}

static inline uint16_t only(int tls13)
{
    return tls13 ? 0x0304 : 0x0303;
}

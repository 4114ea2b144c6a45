/* SPDX-License-Identifier: Apache-2.0 */
#include "data/tls/client_auth.c"

#include "pair.h"

/* certs[PAIR_P256] has two intermediates and a root that the policies know. */
static struct buf roots;
static struct pair_cert stranger;

static struct tls_policy *make(enum snap_client_auth type)
{
    struct snap_tls o = {.name = SPAN_LITERAL("default"),
                         .min_version = 0x0303,
                         .max_version = 0x0304,
                         .client_auth = (uint8_t)type,
                         .client_cas = buf_span(&roots)};
    struct tls_policy *ret;
    struct why why;
    if (!result_is_ok(tls_policy_create(&o, &ret, &why)))
        fail_msg("%s", why.text);
    return ret;
}

static int set_up(void **state)
{
    pair_setup(state);
    pair_cert_make_under(&stranger, "elsewhere", PAIR_RSA, NAME, 0);
    buf_put_be(&roots, (uint64_t)certs[PAIR_P256].root.der_len, 3);
    buf_put(&roots, certs[PAIR_P256].root.der, (size_t)certs[PAIR_P256].root.der_len);
    return 0;
}

static int tear_down(void **state)
{
    buf_free(&roots);
    pair_cert_free(&stranger);
    return pair_teardown(state);
}

/* Whether a client gets in. In TLS 1.3 it hears only after its own last message. */
static bool enters(struct tls_policy *with, uint16_t version, const struct pair_cert *show,
                   bool leaf_only)
{
    struct pair_options o = {.only = version, .name = NAME, .show = show, .leaf_only = leaf_only};
    struct pair p;
    pair_open(&p, with, &certs[PAIR_P384].table, &keys, &o);
    pair_handshake(&p);
    bool in = p.server_done;
    assert_true(in || p.server.code == ERR_PEER_TLS);
    assert_true(in || p.to_client.len || p.client_error); /* an alert says so */
    pair_close(&p);
    return in;
}

static void who_gets_in(void **state)
{
    static const struct {
        enum snap_client_auth type;
        bool none, stranger, good, leaf_only;
    } cases[] = {
        {SNAP_CLIENT_AUTH_NONE, true, true, true, true},
        {SNAP_CLIENT_AUTH_REQUEST, true, true, true, true},
        {SNAP_CLIENT_AUTH_REQUIRE_ANY, false, true, true, true},
        {SNAP_CLIENT_AUTH_VERIFY_IF_GIVEN, true, false, true, false},
        {SNAP_CLIENT_AUTH_VERIFY, false, false, true, false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct tls_policy *with = make(cases[i].type);
        for (uint16_t version = 0x0303; version <= 0x0304; version++) {
            assert_int_equal(enters(with, version, NULL, false), cases[i].none);
            assert_int_equal(enters(with, version, &stranger, false), cases[i].stranger);
            assert_int_equal(enters(with, version, &certs[PAIR_P256], false), cases[i].good);
            /* The intermediates that the good client has just shown are forgotten again. */
            assert_int_equal(enters(with, version, &certs[PAIR_P256], true), cases[i].leaf_only);
        }
        tls_policy_destroy(with);
    }
}

/* What an unverified client sends as its authorities must not stay. */
static void strangers_leave_nothing_behind(void **state)
{
    struct tls_policy *with = make(SNAP_CLIENT_AUTH_REQUIRE_ANY);
    WOLFSSL_CERT_MANAGER *manager = wolfSSL_CTX_GetCertManager(with->tickets);
    for (int i = 0; i < 3; i++)
        assert_true(enters(with, 0x0304, &certs[PAIR_P256], false));
    struct reader r = reader_of(buf_span(&certs[PAIR_P256].chain));
    struct span leaf = reader_bytes(&r, reader_be(&r, 3));
    assert_int_equal(
        wolfSSL_CertManagerVerifyBuffer(manager, leaf.ptr, (long)leaf.len, WOLFSSL_FILETYPE_ASN1),
        ASN_NO_SIGNER_E);
    tls_policy_destroy(with);
}

static bool resumes(struct tls_policy *first, struct tls_policy *second, uint16_t version,
                    const struct pair_cert *show, bool *ret_in)
{
    struct pair_options o = {.only = version, .name = NAME, .show = show};
    struct pair p;
    struct buf plain = {0};
    pair_open(&p, first, &certs[PAIR_P384].table, &keys, &o);
    pair_establish(&p);
    pair_client_read(&p, &plain); /* the ticket of TLS 1.3 */
    WOLFSSL_SESSION *session = wolfSSL_get1_session(p.client);
    assert_non_null(session);
    pair_close(&p);
    o.resume = session;
    o.show = NULL; /* the second time it has none */
    pair_open(&p, second, &certs[PAIR_P384].table, &keys, &o);
    pair_handshake(&p);
    *ret_in = p.server_done;
    bool resumed = p.server_done && session_resumed(p.session);
    pair_close(&p);
    wolfSSL_SESSION_free(session);
    buf_free(&plain);
    return resumed;
}

static void a_ticket_is_no_certificate(void **state)
{
    struct tls_policy *open = make(SNAP_CLIENT_AUTH_NONE);
    struct tls_policy *any = make(SNAP_CLIENT_AUTH_REQUIRE_ANY);
    struct tls_policy *closed = make(SNAP_CLIENT_AUTH_VERIFY);
    bool in;
    for (uint16_t version = 0x0303; version <= 0x0304; version++) {
        assert_false(resumes(open, closed, version, NULL, &in));
        assert_false(in);
        assert_false(resumes(any, closed, version, &stranger, &in));
        assert_false(in);
        /* Who was verified may come again for a while, but only where its age is looked at. */
        assert_int_equal(resumes(closed, closed, version, &certs[PAIR_P256], &in),
                         version == 0x0304);
        assert_int_equal(in, version == 0x0304);
    }
    buf_put_be(&roots, (uint64_t)stranger.root.der_len, 3);
    buf_put(&roots, stranger.root.der, (size_t)stranger.root.der_len);
    struct tls_policy *wider = make(SNAP_CLIENT_AUTH_VERIFY);
    assert_false(resumes(closed, wider, 0x0304, &certs[PAIR_P256], &in));
    assert_false(in);
    assert_true(enters(wider, 0x0304, &stranger, false));
    tls_policy_destroy(open);
    tls_policy_destroy(any);
    tls_policy_destroy(closed);
    tls_policy_destroy(wider);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(who_gets_in),
                                       cmocka_unit_test(strangers_leave_nothing_behind),
                                       cmocka_unit_test(a_ticket_is_no_certificate)};
    return cmocka_run_group_tests(tests, set_up, tear_down);
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "data/tls/policy.c"

#include "unit.h"

static struct snap_tls options(void)
{
    return (struct snap_tls){
        .name = SPAN_LITERAL("default"), .min_version = 0x0303, .max_version = 0x0304};
}

static struct result create(struct snap_tls o, struct why *why)
{
    struct tls_policy *p = NULL;
    struct result r = tls_policy_create(&o, &p, why);
    if (result_is_ok(r))
        assert_non_null(p);
    else
        assert_null(p);
    tls_policy_destroy(p);
    return r;
}

static void good_options(void **state)
{
    static const char *const groups[] = {"X25519MLKEM768:X25519", "X25519:P-256:P-384:P-521",
                                         "P-256:P-256"};
    static const char *const suites[] = {
        "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256", "TLS_CHACHA20_POLY1305_SHA256",
        "TLS_AES_256_GCM_SHA384:TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305"};
    struct why why;
    struct snap_tls o = options();
    assert_int_equal(create(o, &why).code, ERR_NONE);
    for (int i = 0; i < 3; i++) {
        o = options();
        o.groups = span_str(groups[i]);
        assert_int_equal(create(o, &why).code, ERR_NONE);
        o.ciphers = span_str(suites[i]);
        assert_int_equal(create(o, &why).code, ERR_NONE);
        o.no_tickets = true;
        assert_int_equal(create(o, &why).code, ERR_NONE);
        o.min_version = o.max_version = i == 1 ? 0x0304 : 0x0303;
        assert_int_equal(create(o, &why).code, ERR_NONE);
    }
}

static void bad_options(void **state)
{
    static const uint16_t versions[][2] = {
        {0x0302, 0x0304}, {0x0303, 0x0305}, {0x0304, 0x0303}, {0, 0}};
    struct why why;
    struct snap_tls o;
    for (int i = 0; i < 4; i++) {
        o = options();
        o.min_version = versions[i][0];
        o.max_version = versions[i][1];
        assert_int_equal(create(o, &why).code, ERR_CONFIG);
    }
    o = options();
    o.groups = span_str("X25519:P-255");
    assert_int_equal(create(o, &why).code, ERR_CONFIG);
    assert_non_null(strstr(why.text, "\"P-255\""));
    o.groups = span_str("X25519::P-256");
    assert_int_equal(create(o, &why).code, ERR_CONFIG);
    o = options();
    static const char *const refused[] = {"TLS_NO_SUCH", "TLS_RSA_WITH_AES_128_GCM_SHA256",
                                          "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA",
                                          "TLS_AES_128_GCM_SHA256:ECDHE-RSA-AES128-GCM-SHA256"};
    for (int i = 0; i < 4; i++) {
        o.ciphers = span_str(refused[i]);
        assert_int_equal(create(o, &why).code, ERR_CONFIG);
        assert_non_null(strstr(why.text, "is no cipher suite"));
    }
    o = options();
    o.client_auth = SNAP_CLIENT_AUTH_VERIFY;
    o.client_cas = SPAN_LITERAL("\0\0\3abc");
    assert_int_equal(create(o, &why).code, ERR_CONFIG);
    o.client_cas = SPAN_LITERAL("\0\0\4abc");
    assert_int_equal(create(o, &why).code, ERR_CONFIG);
    o = options();
    static char lots[SUITES_MAX + 10];
    memset(lots, 'x', sizeof lots);
    o.ciphers = span_of(lots, sizeof lots);
    assert_int_equal(create(o, &why).code, ERR_CONFIG);
}

/* Every option that matters to a resumed session changes the digest; nothing else does. */
static void digests(void **state)
{
    uint8_t base[TICKET_BINDING_BYTES], other[TICKET_BINDING_BYTES];
    struct snap_tls variants[9];
    for (int i = 0; i < 9; i++)
        variants[i] = options();
    variants[0].name = span_str("x");
    variants[1].min_version = 0x0304;
    variants[2].max_version = 0x0303;
    variants[3].sni_strict = true;
    variants[4].ciphers = span_str("a");
    variants[5].groups = span_str("a"); /* not the same as 4: fields have lengths */
    variants[6].client_auth = SNAP_CLIENT_AUTH_VERIFY;
    variants[7].client_cas = span_str("a");
    variants[8].no_tickets = true;
    struct snap_tls o = options();
    digest_options(&o, base);
    for (int i = 0; i < 8; i++) {
        digest_options(&variants[i], other);
        assert_memory_not_equal(base, other, sizeof base);
    }
    digest_options(&variants[8], other);
    assert_memory_equal(base, other, sizeof base);
    digest_options(&variants[4], base);
    digest_options(&variants[5], other);
    assert_memory_not_equal(base, other, sizeof base);
}

static enum tls_alpn chosen(const char *options_list, uint32_t spoken, const char *offered)
{
    struct snap_tls o = options();
    struct tls_policy *p = NULL;
    struct why why;
    struct hello hello = {.has_alpn = true,
                          .alpn_h2 = strstr(offered, "h2"),
                          .alpn_http11 = strstr(offered, "http/1.1")};
    o.alpn = span_str(options_list);
    assert_int_equal(tls_policy_create(&o, &p, &why).code, ERR_NONE);
    if (spoken)
        tls_policy_offer(p, spoken);
    enum tls_alpn choice = tls_policy_choose(p, &hello);
    tls_policy_destroy(p);
    return choice;
}

static void protocols_in_the_order_of_the_options(void **state)
{
    uint32_t both = TLS_ALPN_H2 | TLS_ALPN_HTTP11;
    assert_int_equal(chosen("", both, "http/1.1 h2"), TLS_ALPN_H2);
    assert_int_equal(chosen("", both, "http/1.1"), TLS_ALPN_HTTP11);
    assert_int_equal(chosen("", 0, "h2"), TLS_ALPN_NONE);
    assert_int_equal(chosen("http/1.1:h2", both, "http/1.1 h2"), TLS_ALPN_HTTP11);
    assert_int_equal(chosen("http/1.1:h2:http/1.1", both, "h2"), TLS_ALPN_H2);
    assert_int_equal(chosen("http/1.1", both, "h2 http/1.1"), TLS_ALPN_HTTP11);
    assert_int_equal(chosen("h2", both, "http/1.1"), TLS_ALPN_NONE);
}

/* A client of TLS 1.2 gets a certificate that some suite of the policy goes with. */
static void certificates_that_suites_go_with(void **state)
{
    struct why why;
    static const struct {
        const char *suites;
        uint16_t max;
        bool tls13, ecdsa, rsa;
    } cases[] = {
        {"", 0x0304, false, true, true},
        {"TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256", 0x0304, false, false, true},
        {"TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256", 0x0304, true, true, true},
        {"TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256", 0x0303, true, false, true},
        {"TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256", 0x0304, false, true, false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct snap_tls o = options();
        struct tls_policy *p = NULL;
        struct hello hello = {.tls13 = cases[i].tls13};
        bool ecdsa = true, rsa = true;
        o.ciphers = span_str(cases[i].suites);
        o.max_version = cases[i].max;
        assert_int_equal(tls_policy_create(&o, &p, &why).code, ERR_NONE);
        tls_policy_narrow(p, &hello, &ecdsa, &rsa);
        assert_int_equal(ecdsa, cases[i].ecdsa);
        assert_int_equal(rsa, cases[i].rsa);
        tls_policy_destroy(p);
    }
}

static int agreed(const char *list, uint16_t max, struct hello hello)
{
    struct snap_tls o = options();
    struct tls_policy *p = NULL;
    struct why why;
    uint16_t bytes;
    o.groups = span_str(list);
    o.max_version = max;
    assert_int_equal(tls_policy_create(&o, &p, &why).code, ERR_NONE);
    bool agrees = tls_policy_agrees(p, &hello, &bytes);
    tls_policy_destroy(p);
    return agrees ? bytes : -1;
}

static void groups_in_common(void **state)
{
    enum { X = HELLO_GROUP_X25519, P = HELLO_GROUP_P256, Q = HELLO_GROUP_P384 };
    struct hello tls13 = {.tls13 = true, .has_groups = true, .groups = P, .group32 = P};
    struct hello both = {.has_groups = true, .groups = X | P | Q, .group32 = P};
    struct hello silent = {0};
    assert_int_equal(agreed("", 0x0304, tls13), 0);
    assert_int_equal(agreed("X25519:P-384", 0x0304, tls13), -1);
    assert_int_equal(agreed("P-256", 0x0303, tls13), 32);
    assert_int_equal(agreed("X25519MLKEM768", 0x0303, tls13), -1);
    tls13.has_groups = false;
    assert_int_equal(agreed("X25519:P-384", 0x0304, tls13), 0);
    assert_int_equal(agreed("", 0x0304, both), 32);
    assert_int_equal(agreed("P-384:X25519", 0x0304, both), 48);
    assert_int_equal(agreed("P-521:P-384", 0x0304, both), 48);
    assert_int_equal(agreed("X25519:P-256", 0x0304, both), 32);
    assert_int_equal(agreed("P-256", 0x0304, both), 32);
    assert_int_equal(agreed("X25519:P-384", 0x0304, both), 48);
    assert_int_equal(agreed("X25519", 0x0304, both), -1); /* wolfSSL would take P-256 */
    assert_int_equal(agreed("P-521", 0x0304, both), -1);
    assert_int_equal(agreed("", 0x0304, silent), 32);
    assert_int_equal(agreed("X25519", 0x0304, silent), -1);
}

UNIT_TESTS(cmocka_unit_test(groups_in_common), cmocka_unit_test(good_options),
           cmocka_unit_test(bad_options), cmocka_unit_test(digests),
           cmocka_unit_test(protocols_in_the_order_of_the_options),
           cmocka_unit_test(certificates_that_suites_go_with))

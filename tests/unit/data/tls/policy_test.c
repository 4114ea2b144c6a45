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
    static const char *const groups[] = {"X25519MLKEM768:X25519",
                                         "x25519:curvep256:P-384:CurveP521", "secp256r1"};
    static const char *const suites[] = {"ECDHE-RSA-AES128-GCM-SHA256",
                                         "TLS13-CHACHA20-POLY1305-SHA256",
                                         "TLS13-AES256-GCM-SHA384:ECDHE-ECDSA-AES128-GCM-SHA256"};
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
        o.min_version = o.max_version = i ? 0x0304 : 0x0303;
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
    o.groups = span_str("P-256:P-256:P-256:P-256:P-256:P-256:P-256:P-256:P-256:P-256:P-256:P-256:"
                        "P-256:P-256:P-256:P-256:P-256:P-256:P-256:P-256:P-256:P-256:P-256:P-256:"
                        "P-256:P-256:P-256:P-256:P-256:P-256:P-256:P-256:P-256:P-256:P-256:P-256:"
                        "P-256");
    assert_int_equal(create(o, &why).code, ERR_CONFIG);
    o = options();
    o.ciphers = span_str("TLS13-NO-SUCH");
    assert_int_equal(create(o, &why).code, ERR_CONFIG);
    assert_non_null(strstr(why.text, "TLS13-NO-SUCH"));
    static char lots[SUITES_MAX + 10];
    memset(lots, 'x', sizeof lots);
    o.ciphers = span_of(lots, sizeof lots);
    assert_int_equal(create(o, &why).code, ERR_CONFIG);
}

/* Every option that matters to a resumed session changes the digest; nothing else does. */
static void digests(void **state)
{
    uint8_t base[TICKET_BINDING_BYTES], other[TICKET_BINDING_BYTES];
    struct snap_tls variants[7];
    for (int i = 0; i < 7; i++)
        variants[i] = options();
    variants[0].name = span_str("x");
    variants[1].min_version = 0x0304;
    variants[2].max_version = 0x0303;
    variants[3].sni_strict = true;
    variants[4].ciphers = span_str("a");
    variants[5].groups = span_str("a"); /* not the same as 4: fields have lengths */
    variants[6].no_tickets = true;
    struct snap_tls o = options();
    digest_options(&o, base);
    for (int i = 0; i < 6; i++) {
        digest_options(&variants[i], other);
        assert_memory_not_equal(base, other, sizeof base);
    }
    digest_options(&variants[6], other);
    assert_memory_equal(base, other, sizeof base);
    digest_options(&variants[4], base);
    digest_options(&variants[5], other);
    assert_memory_not_equal(base, other, sizeof base);
}

UNIT_TESTS(cmocka_unit_test(good_options), cmocka_unit_test(bad_options), cmocka_unit_test(digests))

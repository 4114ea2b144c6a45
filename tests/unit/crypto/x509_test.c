/* SPDX-License-Identifier: Apache-2.0 */
#include "crypto/x509.c"

#include "crypto/vectors.h"
#include "unit.h"

static struct key *load_key(const char *pem)
{
    struct key *key = NULL;
    assert_true(result_is_ok(key_from_pem(span_str(pem), &key, NULL)));
    return key;
}

static void reads_a_leaf(void **state)
{
    struct buf chain = {0}, hex = {0};
    struct x509 x;
    assert_true(result_is_ok(x509_chain_from_pem(
        span_str("text\r\n" PEM_LEAF "\n" PEM_EC384 PEM_CA), &chain, &x, NULL)));
    assert_int_equal(x.name_count, 4);
    assert_string_equal(x.names[0], "first.example.test");
    assert_string_equal(x.names[1], "*.example.test");
    assert_string_equal(x.names[2], "192.0.2.7");
    assert_string_equal(x.names[3], "2001:db8::1");
    assert_string_equal(x.subject, "C=DE, O=Umlaut \xc3\x84\\, Inc, CN=First.Example.test");
    assert_string_equal(x.issuer, "CN=Test CA X1, O=Test");
    assert_string_equal(x.issuer_cn, "Test CA X1");
    assert_string_equal(x.serial, "00f123456789");
    assert_int_equal(x.serial_der.len, 6);
    assert_int_equal(x.not_before_s, 1795343970);
    assert_int_equal(x.not_after_s, 3523343970);
    assert_false(x.is_rsa);
    assert_int_equal(x.key_bits, 256);
    assert_true(x.must_staple);
    assert_string_equal(x.ocsp_url, "http://ocsp.example.test/a");
    assert_int_equal(x.aki.len, 20);
    assert_memory_equal(x.aki.ptr, "\x0c\x17\xe6\x1c\x45\xc1\x83\x13", 8);
    hex_put(&hex, span_of(x.sha256, 32));
    assert_string_equal(buf_cstr(&hex),
                        "44eb015a92ab070107f99ec7f3611f12168d8ec34345ad314917f4572d90b0ef");
    x509_free(&x);

    struct buf pem = {0};
    assert_true(result_is_ok(x509_chain_to_pem(buf_span(&chain), &pem)));
    assert_string_equal(buf_cstr(&pem), PEM_LEAF PEM_CA);
    assert_false(
        result_is_ok(x509_chain_to_pem(span_first(buf_span(&chain), chain.len - 1), &pem)));
    assert_string_equal(buf_cstr(&pem), PEM_LEAF PEM_CA);
    buf_free(&chain);
    buf_free(&hex);
    buf_free(&pem);
}

static void refuses_chains(void **state)
{
    static const struct {
        const char *pem;
        enum err_code code;
    } cases[] = {
        {"", ERR_NOT_FOUND},
        {PEM_EC384, ERR_NOT_FOUND},
        {"-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n", ERR_FORMAT},
        {PEM_LEAF "-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n", ERR_FORMAT},
        {PEM_LEAF "-----BEGIN CERTIFICATE-----\n", ERR_FORMAT},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct buf chain = {0};
        struct x509 x;
        struct why why = {""};
        buf_put_str(&chain, "kept");
        assert_int_equal(x509_chain_from_pem(span_str(cases[i].pem), &chain, &x, &why).code,
                         cases[i].code);
        assert_true(why.text[0]);
        assert_int_equal(chain.len, 4);
        buf_free(&chain);
    }
}

static void key_belongs(void **state)
{
    struct buf chain = {0};
    struct x509 x;
    struct why why;
    assert_true(result_is_ok(x509_chain_from_pem(span_str(PEM_LEAF), &chain, &x, NULL)));
    struct key *mine = load_key(PEM_EC256_PKCS8), *other = load_key(PEM_RSA2048);
    assert_true(result_is_ok(x509_check_key(&x, mine, &why)));
    assert_int_equal(x509_check_key(&x, other, &why).code, ERR_MISMATCH);
    assert_non_null(strstr(why.text, "RSA2048"));
    assert_non_null(strstr(why.text, "first.example.test"));
    key_free(mine);
    key_free(other);
    x509_free(&x);
    buf_free(&chain);
}

static void survives_damage(void **state)
{
    struct buf chain = {0};
    struct x509 x;
    assert_true(result_is_ok(x509_chain_from_pem(span_str(PEM_LEAF), &chain, NULL, NULL)));
    struct span der = span_skip(buf_span(&chain), 3);
    for (size_t i = 0; i < der.len; i++) {
        static const uint8_t flips[] = {0x01, 0x20, 0x80, 0xff};
        assert_false(result_is_ok(x509_parse(span_first(der, i), &x, NULL)));
        for (size_t k = 0; k < sizeof flips; k++) {
            chain.ptr[3 + i] ^= flips[k];
            if (result_is_ok(x509_parse(der, &x, NULL)))
                x509_free(&x);
            chain.ptr[3 + i] ^= flips[k];
        }
    }
    buf_free(&chain);
}

static void times(void **state)
{
    static const struct {
        struct span der;
        int64_t want;
    } good[] = {
        {SPAN_LITERAL("\x17\x0d"
                      "700101000000Z"),
         0},
        {SPAN_LITERAL("\x17\x0d"
                      "491231235959Z"),
         2524607999},
        {SPAN_LITERAL("\x17\x0d"
                      "500101000000Z"),
         -631152000},
        {SPAN_LITERAL("\x18\x0f"
                      "20000229120000Z"),
         951825600},
        {SPAN_LITERAL("\x18\x0f"
                      "99991231235959Z"),
         253402300799},
    };
    int64_t t;
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        struct span in = good[i].der;
        assert_true(result_is_ok(der_get_time(&in, &t)));
        assert_int_equal(t, good[i].want);
    }
    static const struct span bad[] = {
        SPAN_LITERAL("\x17\x0b"
                     "7001010000Z"),
        SPAN_LITERAL("\x17\x0d"
                     "701301000000Z"),
        SPAN_LITERAL("\x17\x0d"
                     "700100000000Z"),
        SPAN_LITERAL("\x17\x0d"
                     "700101240000Z"),
        SPAN_LITERAL("\x17\x0d"
                     "7001010000000"),
        SPAN_LITERAL("\x17\x0d"
                     "7001010000/0Z"),
        SPAN_LITERAL("\x18\x0d"
                     "700101000000Z"),
        SPAN_LITERAL("\x04\x0d"
                     "700101000000Z"),
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct span in = bad[i];
        assert_false(result_is_ok(der_get_time(&in, &t)));
    }
}

static void covers(void **state)
{
    assert_true(x509_name_covers("a.test", "A.test"));
    assert_true(x509_name_covers("*.a.test", "b.A.test."));
    assert_true(x509_name_covers("localhost", "localhost"));
    assert_true(x509_name_covers("2001:db8::1", "2001:DB8:0:0::1"));
    assert_true(x509_name_covers("*.a.test", "*.a.test"));
    assert_false(x509_name_covers("*.a.test", "a.test"));
    assert_false(x509_name_covers("*.a.test", ".a.test"));
    assert_false(x509_name_covers("*.a.test", "c.b.a.test"));
    assert_false(x509_name_covers("*.0.0.1", "127.0.0.1"));
    assert_false(x509_name_covers("a.test", ""));
    assert_false(x509_name_covers("a.test", "b.test"));
}

/* Finds the SAN extension of a request by parsing it like a certificate's. */
static void request_san(struct span csr, struct x509 *x, bool *ret_cn)
{
    struct span all, info, name, attributes, attribute, set;
    memset(x, 0, sizeof *x);
    assert_true(result_is_ok(der_get(&csr, DER_SEQUENCE, &all)));
    assert_int_equal(csr.len, 0);
    assert_true(result_is_ok(der_get(&all, DER_SEQUENCE, &info)));
    assert_true(result_is_ok(der_get(&info, DER_INTEGER, NULL)));
    assert_true(result_is_ok(der_get(&info, DER_SEQUENCE, &name)));
    *ret_cn = name.len > 0;
    assert_true(result_is_ok(der_get(&info, DER_SEQUENCE, NULL)));
    assert_true(result_is_ok(der_get(&info, DER_CONSTRUCTED(0), &attributes)));
    assert_true(result_is_ok(der_get(&attributes, DER_SEQUENCE, &attribute)));
    assert_true(result_is_ok(der_get(&attribute, DER_OID, NULL)));
    assert_true(result_is_ok(der_get(&attribute, DER_SET, &set)));
    struct buf wrapped = {0};
    der_put(&wrapped, DER_CONSTRUCTED(3), set);
    assert_true(result_is_ok(read_extensions(buf_span(&wrapped), x)));
    buf_free(&wrapped);
}

static void requests_many_names(void **state)
{
    enum { COUNT = 100 };
    char names[COUNT][64];
    const char *list[COUNT];
    for (int i = 0; i < COUNT; i++) {
        snprintf(names[i], sizeof names[i], i ? "%sName-%d.example.test" : "%sExample.TEST",
                 i % 2 ? "*." : "", i);
        list[i] = names[i];
    }
    list[50] = "192.0.2.1";
    list[51] = "2001:db8::2";
    struct key *key = load_key(PEM_EC256_PKCS8);
    struct buf csr = {0};
    struct x509 x;
    bool cn;
    assert_true(result_is_ok(x509_request(key, list, COUNT, NULL, 0, true, true, &csr, NULL)));
    request_san(buf_span(&csr), &x, &cn);
    assert_true(cn);
    assert_true(x.must_staple);
    assert_int_equal(x.name_count, COUNT);
    assert_string_equal(x.names[0], "example.test");
    assert_string_equal(x.names[1], "*.name-1.example.test");
    assert_string_equal(x.names[50], "192.0.2.1");
    assert_string_equal(x.names[51], "2001:db8::2");
    x509_free(&x);
    csr.len = 0;
    assert_true(result_is_ok(x509_request(key, list + 50, 1, NULL, 0, true, false, &csr, NULL)));
    request_san(buf_span(&csr), &x, &cn);
    assert_false(cn);
    assert_false(x.must_staple);
    x509_free(&x);
    csr.len = 0;
    /* Mail addresses are names beside those of hosts; without a CN the names are critical. */
    static const char mail[] = "\x81\x0bhost@a.test";
    const char *emails[] = {mail + 2};
    assert_true(result_is_ok(x509_request(key, list, 1, emails, 1, false, false, &csr, NULL)));
    request_san(buf_span(&csr), &x, &cn);
    assert_false(cn);
    assert_int_equal(x.name_count, 1);
    assert_non_null(memmem(csr.ptr, csr.len, mail, sizeof mail - 1));
    x509_free(&x);
    key_free(key);
    buf_free(&csr);
}

static void refuses_names(void **state)
{
    static const char *const bad[] = {"",       ".",   "a..b", "a.test.", "*",         "a.*.test",
                                      "ä.test", "a b", "a/b",  "*a.test", "1.2.3.4:80"};
    struct key *key = load_key(PEM_EC256_PKCS8);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct buf out = {0};
        struct why why = {""};
        assert_int_equal(x509_request(key, bad + i, 1, NULL, 0, true, false, &out, &why).code,
                         ERR_FORMAT);
        assert_non_null(strstr(why.text, bad[i]));
        assert_int_equal(out.len, 0);
    }
    key_free(key);
}

static void signs_itself(void **state)
{
    static const char *const keys[] = {PEM_EC256_PKCS8, PEM_EC384, PEM_RSA2048, PEM_ED25519};
    static const uint32_t bits[] = {256, 384, 2048, 256};
    const char *names[] = {"a.test", "192.0.2.9"};
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        struct key *key = load_key(keys[i]);
        struct buf der = {0};
        struct x509 x;
        assert_true(result_is_ok(x509_self_signed(key, names, 2, 36500, &der, NULL)));
        assert_true(result_is_ok(x509_parse(buf_span(&der), &x, NULL)));
        assert_int_equal(x.name_count, 2);
        assert_string_equal(x.names[1], "192.0.2.9");
        assert_string_equal(x.issuer, "CN=a.test");
        assert_int_equal(x.not_after_s - x.not_before_s, 36500 * DAY_S);
        assert_true(x.not_before_s < clock_wall_s() && x.not_before_s > clock_wall_s() - 7200);
        assert_int_equal(x.key_bits, bits[i]);
        assert_true(result_is_ok(x509_check_key(&x, key, NULL)));
        x509_free(&x);
        der.len = 0;
        assert_true(result_is_ok(x509_self_signed(key, NULL, 0, 1, &der, NULL)));
        assert_true(result_is_ok(x509_parse(buf_span(&der), &x, NULL)));
        assert_string_equal(x.subject, "CN=ferrule");
        x509_free(&x);
        key_free(key);
        buf_free(&der);
    }
}

/* RFC 8737 section 3: the extension is critical and holds the digest as an OCTET STRING. */
static void proves(void **state)
{
    static const uint8_t extension[] = {0x30, 0x31, 0x06, 0x08, 0x2b, 0x06, 0x01, 0x05, 0x05, 0x07,
                                        0x01, 0x1f, 0x01, 0x01, 0xff, 0x04, 0x22, 0x04, 0x20};
    static const char *const names[] = {"a.test", "2001:db8::7"};
    struct key *key;
    uint8_t digest[32];
    memset(digest, 0x5a, sizeof digest);
    assert_true(result_is_ok(key_generate(KEY_EC256, &key, NULL)));
    for (size_t i = 0; i < 2; i++) {
        struct buf der = {0};
        struct x509 x;
        assert_true(result_is_ok(
            x509_acme_proof(key, names[i], span_of(digest, sizeof digest), 7, &der, NULL)));
        assert_true(result_is_ok(x509_parse(buf_span(&der), &x, NULL)));
        assert_int_equal(x.name_count, 1);
        assert_string_equal(x.names[0], names[i]);
        uint8_t *at = memmem(der.ptr, der.len, extension, sizeof extension);
        assert_non_null(at);
        assert_memory_equal(at + sizeof extension, digest, sizeof digest);
        x509_free(&x);
        buf_free(&der);
    }
    key_free(key);
}

UNIT_TESTS(cmocka_unit_test(reads_a_leaf), cmocka_unit_test(refuses_chains),
           cmocka_unit_test(key_belongs), cmocka_unit_test(survives_damage),
           cmocka_unit_test(times), cmocka_unit_test(covers), cmocka_unit_test(requests_many_names),
           cmocka_unit_test(refuses_names), cmocka_unit_test(signs_itself),
           cmocka_unit_test(proves))

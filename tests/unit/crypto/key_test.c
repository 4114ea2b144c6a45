/* SPDX-License-Identifier: Apache-2.0 */
#include "crypto/key.c"

#include "crypto/vectors.h"
#include "unit.h"

static struct key *load(const char *pem)
{
    struct key *key = NULL;
    struct why why;
    struct result r = key_from_pem(span_str(pem), &key, &why);
    if (!result_is_ok(r))
        fail_msg("%s", why.text);
    return key;
}

static void text_of(struct result (*put)(const struct key *, struct buf *), const struct key *key,
                    struct buf *out)
{
    out->len = 0;
    assert_true(result_is_ok(put(key, out)));
}

static void reads_every_form(void **state)
{
    static const struct {
        const char *pem;
        enum key_type type;
    } cases[] = {
        {PEM_EC256_PARAMETERS, KEY_EC256},
        {PEM_EC256_PKCS8, KEY_EC256},
        {PEM_EC384, KEY_EC384},
        {PEM_EC521, KEY_EC521},
        {PEM_RSA2048, KEY_RSA2048},
        {PEM_RSA2048_PKCS8, KEY_RSA2048},
        {PEM_ED25519, KEY_ED25519},
        {PEM_LEAF PEM_EC384 PEM_RSA2048, KEY_EC384},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct key *key = load(cases[i].pem), *again = NULL;
        struct buf der = {0}, a = {0}, b = {0};
        assert_int_equal(key_type_of(key), cases[i].type);
        assert_int_equal(key_is_rsa(key), cases[i].type == KEY_RSA2048);
        text_of(key_to_der, key, &der);
        assert_true(result_is_ok(key_from_der(buf_span(&der), &again, NULL)));
        text_of(key_public_der, key, &a);
        text_of(key_public_der, again, &b);
        assert_true(span_eq(buf_span(&a), buf_span(&b)));
        key_free(again);
        text_of(key_to_pem, key, &a);
        again = load(buf_cstr(&a));
        text_of(key_to_der, again, &b);
        assert_true(span_eq(buf_span(&der), buf_span(&b)));
        key_free(again);
        key_free(key);
        buf_free(&der);
        buf_free(&a);
        buf_free(&b);
    }
}

static void writes_traditional_pem(void **state)
{
    struct key *key = load("junk\n" PEM_EC384);
    struct buf b = {0};
    text_of(key_to_pem, key, &b);
    assert_string_equal(buf_cstr(&b), PEM_EC384);
    key_free(key);
    key = load(PEM_RSA2048_PKCS8);
    text_of(key_to_pem, key, &b);
    assert_string_equal(buf_cstr(&b), PEM_RSA2048);
    key_free(key);
    key = load(PEM_ED25519);
    text_of(key_to_pem, key, &b);
    assert_string_equal(buf_cstr(&b), PEM_ED25519);
    key_free(key);
    buf_free(&b);
}

static void takes_windows_line_ends(void **state)
{
    struct buf text = {0};
    for (const char *c = PEM_EC256_PARAMETERS; *c; c++)
        buf_put_str(&text, *c == '\n' ? "\r\n" : (char[]){*c, 0});
    struct key *key = load(buf_cstr(&text));
    assert_int_equal(key_type_of(key), KEY_EC256);
    key_free(key);
    buf_free(&text);
}

static void refuses_with_reasons(void **state)
{
    static const struct {
        const char *pem, *reason;
        enum err_code code;
    } cases[] = {
        {PEM_RSA1024, "1024 bits", ERR_FORMAT},
        {PEM_SECP256K1, "no supported curve", ERR_FORMAT},
        {PEM_LEAF, "no private key", ERR_NOT_FOUND},
        {"", "no private key", ERR_NOT_FOUND},
        {"-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n",
         "encrypted", ERR_FORMAT},
        {"-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\n-----END RSA PRIVATE KEY-----\n",
         "encrypted", ERR_FORMAT},
        {"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n", "PKCS#8", ERR_FORMAT},
        {"-----BEGIN PRIVATE KEY-----\nAA", "damaged", ERR_FORMAT},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct key *key = NULL;
        struct why why;
        struct result r = key_from_pem(span_str(cases[i].pem), &key, &why);
        assert_int_equal(r.code, cases[i].code);
        if (!strstr(why.text, cases[i].reason))
            fail_msg("'%s' does not say '%s'", why.text, cases[i].reason);
        assert_null(key);
    }
}

/* Every truncation and every one-byte change of a key is either refused or a consistent key. */
static void survives_damage(void **state)
{
    static const char *const pems[] = {PEM_EC256_PKCS8, PEM_EC384, PEM_ED25519, PEM_RSA2048_PKCS8};
    for (size_t i = 0; i < sizeof pems / sizeof *pems; i++) {
        struct span text = span_str(pems[i]);
        struct pem_block block;
        struct key *key;
        assert_true(result_is_ok(pem_next(&text, &block)));
        for (size_t n = 0; n < block.der.len; n++) {
            assert_false(
                result_is_ok(key_from_der(span_first(buf_span(&block.der), n), &key, NULL)));
            if (i == 1 && n % 4)
                continue; /* P-384 is slow */
            block.der.ptr[n] ^= 0x41;
            if (result_is_ok(key_from_der(buf_span(&block.der), &key, NULL)))
                key_free(key);
            block.der.ptr[n] ^= 0x41;
        }
        buf_free(&block.der);
    }
}

static void refuses_halves_that_differ(void **state)
{
    struct span text = span_str(PEM_EC256_PKCS8);
    struct pem_block block;
    struct key *key;
    struct why why;
    assert_true(result_is_ok(pem_next(&text, &block)));
    block.der.ptr[block.der.len - 1] ^= 1; /* in the point */
    assert_int_equal(key_from_der(buf_span(&block.der), &key, &why).code, ERR_FORMAT);
    assert_non_null(strstr(why.text, "do not match"));
    block.der.ptr[block.der.len - 1] ^= 1;
    memset(block.der.ptr + 36, 0, 32); /* the scalar */
    assert_int_equal(key_from_der(buf_span(&block.der), &key, &why).code, ERR_FORMAT);
    buf_free(&block.der);
}

static void type_names(void **state)
{
    enum key_type t;
    assert_true(result_is_ok(key_type_parse(span_str("ec384"), &t)));
    assert_int_equal(t, KEY_EC384);
    assert_true(result_is_ok(key_type_parse(span_str("RSA8192"), &t)));
    assert_string_equal(key_type_name(t), "RSA8192");
    assert_false(result_is_ok(key_type_parse(span_str("ED25519"), &t)));
    assert_false(result_is_ok(key_type_parse(span_str("EC25"), &t)));
}

static void generates(void **state)
{
    static const enum key_type types[] = {KEY_EC256, KEY_EC384, KEY_ED25519, KEY_RSA2048};
    for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
        struct key *a, *b;
        struct buf der = {0};
        assert_true(result_is_ok(key_generate(types[i], &a, NULL)));
        assert_int_equal(key_type_of(a), types[i]);
        text_of(key_to_der, a, &der);
        assert_true(result_is_ok(key_from_der(buf_span(&der), &b, NULL)));
        key_free(a);
        key_free(b);
        buf_free(&der);
    }
}

/* RFC 7638 section 3.1. */
static void thumbprint(void **state)
{
    struct key *key = key_alloc(KEY_RSA2048);
    struct buf n = {0}, jwk = {0}, text = {0};
    uint8_t hash[32];
    assert_true(result_is_ok(base64url_get(
        span_str("0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L"
                 "6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4Qy"
                 "Q5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbI"
                 "SD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-"
                 "kEgU8awapJzKnqDKgw"),
        &n)));
    static const uint8_t e[] = {1, 0, 1};
    assert_int_equal(wc_RsaPublicKeyDecodeRaw(n.ptr, (word32)n.len, e, 3, &key->rsa), 0);
    text_of(key_jwk, key, &jwk);
    digest_once(DIGEST_SHA256, buf_span(&jwk), hash);
    base64url_put(&text, span_of(hash, 32));
    assert_string_equal(buf_cstr(&text), "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs");
    assert_string_equal(key_jws_alg(key), "RS256");
    key_free(key);
    buf_free(&n);
    buf_free(&jwk);
    buf_free(&text);
}

static bool verify_raw(struct key *key, struct span message, struct span raw)
{
    uint8_t hash[64], der[160];
    word32 len = sizeof der;
    int ok = 0;
    enum digest digest = form_of(key->type)->digest;
    digest_once(digest, message, hash);
    assert_int_equal(wc_ecc_rs_raw_to_sig(raw.ptr, (word32)raw.len / 2, raw.ptr + raw.len / 2,
                                          (word32)raw.len / 2, der, &len),
                     0);
    return wc_ecc_verify_hash(der, len, hash, (word32)digest_bytes(digest), &ok, &key->ec) == 0 &&
           ok;
}

/* RFC 7515 appendix A.3. */
static void jws_es256(void **state)
{
    struct buf d = {0}, sec1 = {0}, jwk = {0}, sig = {0};
    struct key *key;
    struct span message =
        span_str("eyJhbGciOiJFUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogI"
                 "mh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ");
    assert_true(
        result_is_ok(base64url_get(span_str("jpsQnnGQmL-YBIffH1136cspYG6-0iY7X1fCE9-E9LI"), &d)));
    size_t mark = der_begin(&sec1, DER_SEQUENCE);
    der_put_unsigned(&sec1, SPAN_LITERAL("\x01"));
    der_put(&sec1, DER_OCTET_STRING, buf_span(&d));
    size_t params = der_begin(&sec1, DER_CONSTRUCTED(0));
    der_put(&sec1, DER_OID, form_of(KEY_EC256)->curve_oid);
    der_end(&sec1, params);
    der_end(&sec1, mark);
    assert_true(result_is_ok(key_from_der(buf_span(&sec1), &key, NULL)));
    text_of(key_jwk, key, &jwk);
    assert_string_equal(buf_cstr(&jwk), "{\"crv\":\"P-256\",\"kty\":\"EC\","
                                        "\"x\":\"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU\","
                                        "\"y\":\"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0\"}");
    assert_true(result_is_ok(
        base64url_get(span_str("DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-"
                               "F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q"),
                      &sig)));
    assert_true(verify_raw(key, message, buf_span(&sig)));
    for (int i = 0; i < 20; i++) {
        sig.len = 0;
        assert_true(result_is_ok(key_jws_sign(key, message, &sig)));
        assert_int_equal(sig.len, 64);
        assert_true(verify_raw(key, message, buf_span(&sig)));
        assert_false(verify_raw(key, SPAN_LITERAL("other"), buf_span(&sig)));
    }
    key_free(key);
    buf_free(&d);
    buf_free(&sec1);
    buf_free(&jwk);
    buf_free(&sig);
}

static void signs_with_other_curves(void **state)
{
    static const char *const pems[] = {PEM_EC384, PEM_EC521};
    static const size_t sizes[] = {96, 132};
    for (size_t i = 0; i < 2; i++) {
        struct key *key = load(pems[i]);
        struct buf sig = {0};
        assert_true(result_is_ok(key_jws_sign(key, SPAN_LITERAL("message"), &sig)));
        assert_int_equal(sig.len, sizes[i]);
        assert_true(verify_raw(key, SPAN_LITERAL("message"), buf_span(&sig)));
        key_free(key);
        buf_free(&sig);
    }
}

/* Both algorithms are deterministic; the values are the openssl command's. */
static void known_signatures(void **state)
{
    static const char *const pems[] = {PEM_RSA2048, PEM_ED25519};
    static const char *const want[] = {
        "SIAU4To_VPJRX_nRDdmEsuxXFJL2hupl8BNI-y6ESCILN_RCvwuFKtWp5yPUdLmbVnBRdmQ3ZILSrkrIq_"
        "7vLJvp1BjcGcTAx_l4MGGw5WqmMqU8mjnxWNU8Pjz57BheHn3pBOxyZKljzODhtuIloP79Xqt0jOHC6CN2-"
        "y3Sqlw314HoYhbFxBpFZOi_Kefv1WgvY1wjNatGCBRxjxdZbLAZXsQHwVtHd0kd2qhk5YtVT8X-"
        "PcanrDrRvCZooTWZ1-NBn0Z4L4o-"
        "YxJJVzZ6wYW549EUL1ajEWh49PZbxWr6RxTHPk7U0esXybznS8hdQzRzn0jOjDd98N0KcHcp8g",
        "BxfUGYOMqdmvjyo6fJcSxZl8wBKThkaLbU2sgUTHiWbVb90ore2wDLGScwduVunjmA-hKkDCz73e2zdTewnWBA",
    };
    static const char *const algs[] = {"RS256", "EdDSA"};
    for (size_t i = 0; i < 2; i++) {
        struct key *key = load(pems[i]);
        struct buf sig = {0}, text = {0};
        assert_true(result_is_ok(key_jws_sign(key, SPAN_LITERAL("message"), &sig)));
        base64url_put(&text, buf_span(&sig));
        assert_string_equal(buf_cstr(&text), want[i]);
        assert_string_equal(key_jws_alg(key), algs[i]);
        key_free(key);
        buf_free(&sig);
        buf_free(&text);
    }
}

UNIT_TESTS(cmocka_unit_test(reads_every_form), cmocka_unit_test(writes_traditional_pem),
           cmocka_unit_test(takes_windows_line_ends), cmocka_unit_test(refuses_with_reasons),
           cmocka_unit_test(survives_damage), cmocka_unit_test(refuses_halves_that_differ),
           cmocka_unit_test(type_names), cmocka_unit_test(generates), cmocka_unit_test(thumbprint),
           cmocka_unit_test(jws_es256), cmocka_unit_test(signs_with_other_curves),
           cmocka_unit_test(known_signatures))

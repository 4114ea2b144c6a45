/* SPDX-License-Identifier: Apache-2.0 */
#include "control/acme/jws.c"

#include "unit.h"
#include "vectors.h"

static struct key *load(void)
{
    struct key *key = NULL;
    struct why why;
    assert_true(result_is_ok(key_from_pem(span_str(rsa_key), &key, &why)));
    return key;
}

static void test_post_with_kid(void **state)
{
    struct key *key = load();
    struct buf out = {0};
    assert_true(result_is_ok(jws_sign(
        key, "https://ca.test/acct/1", "nonce-1", "https://ca.test/new-order",
        SPAN_LITERAL("{\"identifiers\":[{\"type\":\"dns\",\"value\":\"a.test\"}]}"), &out)));
    assert_string_equal(buf_cstr(&out), signed_with_kid);
    buf_free(&out);
    key_free(key);
}

static void test_post_as_get_with_jwk(void **state)
{
    struct key *key = load();
    struct buf out = {0};
    assert_true(result_is_ok(
        jws_sign(key, NULL, "nonce-2", "https://ca.test/new-account", span_of(NULL, 0), &out)));
    assert_string_equal(buf_cstr(&out), signed_with_jwk);
    buf_free(&out);
    key_free(key);
}

static void test_external_account(void **state)
{
    struct key *key = load();
    struct buf out = {0};
    struct why why;
    assert_true(result_is_ok(
        jws_bind_external(key, "kid-1", MAC, "https://ca.test/new-account", &out, &why)));
    assert_string_equal(buf_cstr(&out), bound);
    buf_free(&out);
    /* Padding, as some CAs print it, changes nothing. */
    assert_true(result_is_ok(
        jws_bind_external(key, "kid-1", MAC "==", "https://ca.test/new-account", &out, &why)));
    assert_string_equal(buf_cstr(&out), bound);
    buf_free(&out);
    static const char *const bad[] = {"", "c2hvcnQ", "not base64url!", "a+b/"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        assert_int_equal(jws_bind_external(key, "k", bad[i], "https://ca.test/", &out, &why).code,
                         ERR_CONFIG);
        assert_non_null(strstr(why.text, "eab.hmacEncoded"));
    }
    buf_free(&out);
    key_free(key);
}

static void test_thumbprint(void **state)
{
    struct key *key = load();
    struct buf out = {0};
    assert_true(result_is_ok(jws_thumbprint(key, &out)));
    assert_string_equal(buf_cstr(&out), thumbprint);
    buf_free(&out);
    key_free(key);
}

/* r and s have fixed length: 64 bytes are 86 characters. */
static void test_ec_signature_length(void **state)
{
    struct key *key = NULL;
    struct why why;
    assert_true(result_is_ok(key_generate(KEY_EC256, &key, &why)));
    for (int i = 0; i < 16; i++) {
        struct buf out = {0};
        assert_true(result_is_ok(
            jws_sign(key, "https://ca.test/a", "n", "https://ca.test/", SPAN_LITERAL("{}"), &out)));
        const char *signature = strstr(buf_cstr(&out), "\"signature\":\"");
        assert_non_null(signature);
        assert_int_equal(strcspn(signature + 13, "\""), 86);
        buf_free(&out);
    }
    key_free(key);
}

static void test_quote(void **state)
{
    struct buf out = {0};
    jws_quote(&out, "a\"b\\c\n\x7f\xc3\xa9");
    assert_string_equal(buf_cstr(&out), "\"a\\\"b\\\\c\\u000a\\u007f\xc3\xa9\"");
    buf_free(&out);
}

UNIT_TESTS(cmocka_unit_test(test_post_with_kid), cmocka_unit_test(test_post_as_get_with_jwk),
           cmocka_unit_test(test_external_account), cmocka_unit_test(test_thumbprint),
           cmocka_unit_test(test_ec_signature_length), cmocka_unit_test(test_quote))

/* SPDX-License-Identifier: Apache-2.0 */
#include "crypto/digest.c"

#include "unit.h"

static void hex_is(const uint8_t *bytes, size_t n, const char *want)
{
    struct buf b = {0};
    hex_put(&b, span_of(bytes, n));
    assert_string_equal(buf_cstr(&b), want);
    buf_free(&b);
}

static void known_digests(void **state)
{
    uint8_t out[DIGEST_BYTES_MAX];
    digest_once(DIGEST_SHA1, SPAN_LITERAL("abc"), out);
    hex_is(out, digest_bytes(DIGEST_SHA1), "a9993e364706816aba3e25717850c26c9cd0d89d");
    digest_once(DIGEST_SHA256, (struct span){NULL, 0}, out);
    hex_is(out, 32, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    assert_int_equal(digest_bytes(DIGEST_SHA512), 64);
}

/* RFC 4231 section 4.2 and 4.3, RFC 2202 case 2. */
static void known_hmacs(void **state)
{
    uint8_t key[20], out[DIGEST_BYTES_MAX];
    memset(key, 0x0b, sizeof key);
    struct span k = span_of(key, sizeof key), hi = SPAN_LITERAL("Hi There");
    digest_hmac(DIGEST_SHA224, k, hi, out);
    hex_is(out, 28, "896fb1128abbdf196832107cd49df33f47b4b1169912ba4f53684b22");
    digest_hmac(DIGEST_SHA256, k, hi, out);
    hex_is(out, 32, "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7");
    digest_hmac(DIGEST_SHA384, k, hi, out);
    hex_is(out, 48,
           "afd03944d84895626b0825f4ab46907f15f9dadbe4101ec682aa034c7cebc59c"
           "faea9ea9076ede7f4af152e8b2fa9cb6");
    digest_hmac(DIGEST_SHA512, k, hi, out);
    hex_is(out, 64,
           "87aa7cdea5ef619d4ff0b4241a1d6cb02379f4e2ce4ec2787ad0b30545e17cde"
           "daa833b7d6b8a702038b274eaea3f4e4be9d914eeb61f1702e696c203a126854");
    struct span what = SPAN_LITERAL("what do ya want for nothing?");
    digest_hmac(DIGEST_SHA256, SPAN_LITERAL("Jefe"), what, out);
    hex_is(out, 32, "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
    digest_hmac(DIGEST_SHA1, SPAN_LITERAL("Jefe"), what, out);
    hex_is(out, 20, "effcdf6ae5eb2fa2d27416d5f184df9c259a7c79");
    digest_hmac(DIGEST_SHA256, (struct span){NULL, 0}, (struct span){NULL, 0}, out);
    hex_is(out, 32, "b613679a0814d9ec772f95d778c35fc5ff1697c493715653c6c712144292c5ad");
}

static void base64_round_trip(void **state)
{
    uint8_t bytes[70];
    random_bytes(bytes, sizeof bytes);
    for (size_t n = 0; n <= sizeof bytes; n++) {
        struct buf text = {0}, back = {0};
        base64url_put(&text, span_of(bytes, n));
        assert_true(result_is_ok(base64url_get(buf_span(&text), &back)));
        assert_true(span_eq(buf_span(&back), span_of(bytes, n)));
        text.len = back.len = 0;
        base64_put(&text, span_of(bytes, n));
        assert_int_equal(text.len % 4, 0);
        assert_true(result_is_ok(base64_get(buf_span(&text), &back)));
        assert_true(span_eq(buf_span(&back), span_of(bytes, n)));
        buf_free(&text);
        buf_free(&back);
    }
}

/* RFC 4648 section 10, and what strictness means. */
static void base64_known_and_bad(void **state)
{
    struct buf b = {0};
    base64_put(&b, SPAN_LITERAL("fooba"));
    assert_string_equal(buf_cstr(&b), "Zm9vYmE=");
    b.len = 0;
    assert_true(result_is_ok(base64_get(SPAN_LITERAL("Zm9v\r\nYg ==\n"), &b)));
    assert_string_equal(buf_cstr(&b), "foob");
    b.len = 0;
    assert_true(result_is_ok(base64_get(SPAN_LITERAL("Zm9vYg"), &b)));
    assert_string_equal(buf_cstr(&b), "foob");
    static const char *const bad[] = {"Z",     "Zm9vYh", "Zm9vYg=", "Zm9vYg==x",
                                      "Zm9v=", "Zm-v",   "===="};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        b.len = 0;
        assert_false(result_is_ok(base64_get(span_str(bad[i]), &b)));
        assert_int_equal(b.len, 0);
    }
    static const char *const bad_url[] = {"Zg==", "Z g", "Zh", "+A", "Zm9vY"};
    for (size_t i = 0; i < sizeof bad_url / sizeof *bad_url; i++)
        assert_false(result_is_ok(base64url_get(span_str(bad_url[i]), &b)));
    buf_free(&b);
}

UNIT_TESTS(cmocka_unit_test(known_digests), cmocka_unit_test(known_hmacs),
           cmocka_unit_test(base64_round_trip), cmocka_unit_test(base64_known_and_bad))

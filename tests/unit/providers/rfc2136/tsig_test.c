/* SPDX-License-Identifier: Apache-2.0 */
#include "unit.h"

#include "rfc2136/tsig.c"

#include "fake_host.h"
#include "rfc2136/tsig_vectors.h"

#define NOW_S 1700000000

static struct tsig_key make_key(const char *algorithm)
{
    struct tsig_key key = {.secret_len = 32};
    assert_true(dns_name_parse(fake_str("Key.Example"), &key.name));
    key.digest = tsig_algorithm(fake_str(algorithm), &key.algorithm);
    assert_true(key.digest > 0);
    for (uint8_t i = 0; i < 32; i++)
        key.secret[i] = i;
    return key;
}

/* Takes the signature off a vector, signs again, and compares. */
static void check_signing(const char *algorithm, const char *vector, struct tsig_mac *mac)
{
    uint8_t expected[1024], made[1024];
    size_t len = fake_unhex(vector, expected, sizeof expected);
    struct tsig_key key = make_key(algorithm);
    size_t record =
        key.name.len + 10 + key.algorithm.len + 16 + digest_bytes((enum digest)key.digest);
    struct dns_writer w = {.ptr = made, .cap = sizeof made};
    dns_put(&w, expected, len - record);
    made[11] = 0;
    tsig_sign(&fake_host, &key, NOW_S, &w, mac);
    assert_false(w.bad);
    assert_int_equal(w.len, len);
    assert_memory_equal(made, expected, len);
}

static void test_signs_like_dnspython(void **state)
{
    struct tsig_mac mac;
    check_signing("hmac-sha1", request_hmac_sha1, &mac);
    check_signing("hmac-sha224.", request_hmac_sha224, &mac);
    check_signing("HMAC-SHA256", request_hmac_sha256, &mac);
    check_signing("hmac-sha384", request_hmac_sha384, &mac);
    check_signing("hmac-sha512.", request_hmac_sha512, &mac);
}

static struct tsig_answer check_bytes(uint8_t *bytes, size_t len, int64_t now_s)
{
    struct tsig_mac mac;
    check_signing("hmac-sha256", request_hmac_sha256, &mac);
    struct tsig_key key = make_key("hmac-sha256");
    struct dns_message m;
    struct ferrule_str view = {(const char *)bytes, len};
    assert_true(dns_message_read(view, &m));
    return tsig_check(&fake_host, &key, &mac, now_s, &m);
}

static struct tsig_answer check(const char *vector, int64_t now_s)
{
    uint8_t bytes[1024];
    size_t len = fake_unhex(vector, bytes, sizeof bytes);
    return check_bytes(bytes, len, now_s);
}

static void test_answers(void **state)
{
    assert_int_equal(check(answer_good, NOW_S).verdict, TSIG_GOOD);
    assert_int_equal(check(answer_good, NOW_S + 300).verdict, TSIG_GOOD);
    assert_int_equal(check(answer_good, NOW_S + 301).verdict, TSIG_CLOCK);
    assert_int_equal(check(answer_good, NOW_S - 301).verdict, TSIG_CLOCK);
    assert_int_equal(check(answer_late, NOW_S).verdict, TSIG_CLOCK);
    assert_int_equal(check(answer_late, NOW_S + 5).verdict, TSIG_GOOD);
    assert_int_equal(check(answer_other_secret, NOW_S).verdict, TSIG_FORGED);
}

static void test_server_errors(void **state)
{
    struct tsig_answer a = check(answer_badtime, NOW_S);
    assert_int_equal(a.verdict, TSIG_REFUSED);
    assert_int_equal(a.error, TSIG_ERROR_BADTIME);
    assert_int_equal(a.server_s, NOW_S - 3600);
    a = check(answer_badkey, NOW_S);
    assert_int_equal(a.verdict, TSIG_REFUSED);
    assert_int_equal(a.error, TSIG_ERROR_BADKEY);
}

/* No change of one byte of a good answer goes unseen. */
static void test_every_byte_counts(void **state)
{
    uint8_t bytes[1024];
    size_t len = fake_unhex(answer_good, bytes, sizeof bytes);
    for (size_t i = 0; i < len; i++) {
        if (i < 2)
            continue; /* the id is compared by the transport; the digest covers the original id */
        bytes[i] ^= 0x01;
        assert_int_not_equal(check_bytes(bytes, len, NOW_S).verdict, TSIG_GOOD);
        bytes[i] ^= 0x01;
    }
    for (size_t cut = 12; cut < len; cut++)
        assert_int_not_equal(check_bytes(bytes, cut, NOW_S).verdict, TSIG_GOOD);
}

static void test_unsigned_answer(void **state)
{
    uint8_t bytes[12] = {0x12, 0x34, 0xa8, 0};
    assert_int_equal(check_bytes(bytes, sizeof bytes, NOW_S).verdict, TSIG_ABSENT);
}

static void test_secrets(void **state)
{
    struct tsig_key key;
    assert_true(tsig_secret(fake_str("aGVsbG8="), &key));
    assert_int_equal(key.secret_len, 5);
    assert_memory_equal(key.secret, "hello", 5);
    assert_true(tsig_secret(fake_str("aGVsbG8"), &key));
    assert_false(tsig_secret(fake_str("aGVsbG9"), &key)); /* bits left over */
    assert_false(tsig_secret(fake_str("aGVsb"), &key));
    assert_false(tsig_secret(fake_str("a-_b"), &key));
    assert_false(tsig_secret(fake_str(""), &key));
    char text[1000];
    memset(text, 'A', sizeof text);
    assert_false(tsig_secret((struct ferrule_str){text, sizeof text}, &key));
}

static void test_algorithms(void **state)
{
    struct dns_name name;
    assert_int_equal(tsig_algorithm(fake_str("HMAC-sha384."), &name), FERRULE_SHA384);
    assert_int_equal(tsig_algorithm(fake_str("hmac-md5.sig-alg.reg.int."), &name), 0);
    assert_int_equal(tsig_algorithm(fake_str(""), &name), 0);
    assert_int_equal(tsig_algorithm(fake_str("hmac-sha2567"), &name), 0);
}

UNIT_TESTS(cmocka_unit_test(test_signs_like_dnspython), cmocka_unit_test(test_answers),
           cmocka_unit_test(test_server_errors), cmocka_unit_test(test_every_byte_counts),
           cmocka_unit_test(test_unsigned_answer), cmocka_unit_test(test_secrets),
           cmocka_unit_test(test_algorithms))

/* SPDX-License-Identifier: Apache-2.0 */
#include "unit.h"

#include "rfc2136/keyfile.c"

#include "fake_host.h"

static bool parse(const char *text, struct tsig_key *key, char why[160])
{
    memset(key, 0, sizeof *key);
    return keyfile_parse(fake_str(text), key, why);
}

static void test_file_of_tsig_keygen(void **state)
{
    struct tsig_key key;
    char why[160], text[DNS_TEXT_BYTES];
    assert_true(parse("key \"tsig-key\" {\n\talgorithm hmac-sha256;\n\tsecret \"aGVsbG8=\";\n};\n",
                      &key, why));
    assert_string_equal(dns_name_text(&key.name, text), "tsig-key.");
    assert_int_equal(key.digest, FERRULE_SHA256);
    assert_int_equal(key.secret_len, 5);
}

static void test_other_spellings(void **state)
{
    struct tsig_key key;
    char why[160];
    assert_true(
        parse("# c\n// c\n/* key \"x\" { */ options { };\nKEY a.b{secret aGVsbG8=;algorithm "
              "\"HMAC-SHA512\";};key second{};",
              &key, why));
    assert_int_equal(key.digest, FERRULE_SHA512);
}

static void test_refusals(void **state)
{
    static const struct {
        const char *text, *why;
    } cases[] = {
        {"", "has no key"},
        {"zone \"key\" {};", "has no key"},
        {"key a {", "without algorithm"},
        {"key a { algorithm hmac-sha1; };", "without secret"},
        {"key a { secret \"aGVsbG8=\"; };", "without algorithm"},
        {"key a { algorithm hmac-md5; secret \"aGVsbG8=\"; };", "has algorithm \"hmac-md5\""},
        {"key a { algorithm hmac-sha1; secret \"!\"; };", "not Base64"},
        {"key \"a..b\" { algorithm hmac-sha1; secret \"aGVsbG8=\"; };", "no DNS name"},
        {"key \"unclosed", "has no key"},
        {"/* unclosed", "has no key"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct tsig_key key;
        char why[160] = "";
        assert_false(parse(cases[i].text, &key, why));
        if (!strstr(why, cases[i].why))
            fail_msg("%s: \"%s\"", cases[i].text, why);
        assert_int_equal(key.secret_len, 0);
    }
}

static void test_missing_file(void **state)
{
    struct tsig_key key;
    char why[160];
    assert_false(keyfile_read("/nonexistent/key", &key, why));
    assert_non_null(strstr(why, "cannot be read"));
}

UNIT_TESTS(cmocka_unit_test(test_file_of_tsig_keygen), cmocka_unit_test(test_other_spellings),
           cmocka_unit_test(test_refusals), cmocka_unit_test(test_missing_file))

/* SPDX-License-Identifier: Apache-2.0 */
#include "crypto/password.c"

#include "unit.h"

#include <stdio.h>

/* Made by other programs. */
static const struct {
    const char *hash, *password;
} pairs[] = {
    {"$apr1$abcdefgh$ZAdX7G.l3eDbgTYbm5ePE0", "secret pass"},
    {"$apr1$x$tMwYqBfQwi3FYAr0aJc8M/", ""},
    {"$apr1$8sFt66rZ$0xUAbPdofusF1C7acteaj1", "a much longer password than sixteen bytes, really"},
    {"$1$abcd$ZxZeq65rYzBW8OZXL4RQd.", "pw"},
    {"$5$abcd$zZA/0qLgoSH67pe3824tVxM.c9kUup4SAH1VanH0FR.", "pw"},
    {"$6$abcd$uQZaz9xQBejvX2R1u2x93SXlAvfV3SAU2qoX20YNobk9HllUTM5ihgzh9nmhQnkHDvkSvQvuOa/"
     "KGMUZf6XR6/",
     "pw"},
    {"$2y$05$abcdefghijklmnopqrstuuHIrMEWpUCQe2YqFR3sXwQ75u4od..9q", "pw"},
    {"{SHA}GpHWL3ymc5liWkNopqtdSjuqYHM=", "pw"},
};

static void judges_what_others_made(void **state)
{
    for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++) {
        struct span hash = span_str(pairs[i].hash);
        char wrong[80];
        assert_true(password_is_hash(hash));
        assert_true(password_holds(hash, span_str(pairs[i].password)));
        snprintf(wrong, sizeof wrong, "%sx", pairs[i].password);
        assert_false(password_holds(hash, span_str(wrong)));
        assert_false(password_holds(hash, SPAN_LITERAL("PW")));
    }
}

static void takes_no_other_kinds(void **state)
{
    static const char *const bad[] = {
        "",
        "plain",
        "rl0uE2TXxDIJk", /* DES */
        "{SHA}GpHWL3ymc5liWkNopqtdSjuqYHM",
        "{SSHA}GpHWL3ymc5liWkNopqtdSjuqYHM=",
        "$apr1$abcdefghi$ZAdX7G.l3eDbgTYbm5ePE0",
        "$apr1$abcdefgh$ZAdX7G.l3eDbgTYbm5ePE",
        "$2y$05$abcdefghijklmnopqrstuuHIrMEWpUCQe2YqFR3sXwQ75u4od..9",
        "$2x$05$abcdefghijklmnopqrstuuHIrMEWpUCQe2YqFR3sXwQ75u4od..9q",
        "$y$j9T$abc$def",
        "$1$ab cd$ZxZeq65rYzBW8OZXL4RQd.",
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_false(password_is_hash(span_str(bad[i])));
        assert_false(password_holds(span_str(bad[i]), SPAN_LITERAL("pw")));
    }
    char big[PASSWORD_MAX + 2];
    memset(big, 'a', sizeof big);
    assert_false(password_holds(span_str(pairs[3].hash), span_of(big, sizeof big)));
    assert_false(password_holds(span_str(pairs[3].hash), SPAN_LITERAL("pw\0x")));
}

/* RFC 1321 appendix A.5, in pieces of every size. */
static void sums_as_the_rfc(void **state)
{
    static const char text[] =
        "12345678901234567890123456789012345678901234567890123456789012345678"
        "901234567890";
    static const uint8_t want[] = {0x57, 0xed, 0xf4, 0xa2, 0x2b, 0xe3, 0xc9, 0x55,
                                   0xac, 0x49, 0xda, 0x2e, 0x21, 0x07, 0xb6, 0x7a};
    for (size_t step = 1; step <= 80; step++) {
        struct md5 md5;
        uint8_t sum[MD5_BYTES];
        md5_begin(&md5);
        for (size_t at = 0; at < 80; at += step)
            md5_add(&md5, span_of(text + at, 80 - at < step ? 80 - at : step));
        md5_end(&md5, sum);
        assert_memory_equal(sum, want, MD5_BYTES);
    }
}

UNIT_TESTS(cmocka_unit_test(judges_what_others_made), cmocka_unit_test(takes_no_other_kinds),
           cmocka_unit_test(sums_as_the_rfc))

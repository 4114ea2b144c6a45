/* SPDX-License-Identifier: Apache-2.0 */
#include "unit.h"

#include "control/provider/redact.c"

#include <stdio.h>

static void check(const struct redact *r, const char *in, const char *expected)
{
    char text[128];
    snprintf(text, sizeof text, "%s", in);
    redact_text(r, text);
    assert_string_equal(text, expected);
}

static void test_values_disappear(void **state)
{
    struct redact r = {0};
    redact_add(&r, SPAN_LITERAL("secret"));
    redact_add(&r, SPAN_LITERAL("secret-longer"));
    redact_add(&r, SPAN_LITERAL("secret"));
    redact_add(&r, SPAN_LITERAL("abc")); /* too short to blot out */
    assert_int_equal(r.count, 2);
    check(&r, "", "");
    check(&r, "nothing abc", "nothing abc");
    check(&r, "secret", "***");
    check(&r, "a secret, secretsecret-longer.", "a ***, ******.");
    check(&r, "secretsecretsecret", "*********");
    redact_fini(&r);
}

static void test_cut_values(void **state)
{
    struct redact r = {0};
    redact_add(&r, SPAN_LITERAL("0123456789"));
    check(&r, "it was cut: 0123456", "it was cut: ***");
    check(&r, "it was cut: 012", "it was cut: 012");
    check(&r, "0123456 is not cut", "0123456 is not cut");
    redact_fini(&r);
}

static void test_text_that_was_cut(void **state)
{
    struct redact r = {0};
    char text[64];
    redact_add(&r, SPAN_LITERAL("0123456789"));
    for (size_t kept = 1; kept < 10; kept++) {
        snprintf(text, sizeof text, "token %.*s", (int)kept, "0123456789");
        redact_cut_text(&r, text);
        assert_null(strpbrk(text, "0123456789"));
        assert_memory_equal(text, "token *", 7);
        assert_true(strlen(text) <= 6 + kept);
    }
    redact_fini(&r);
}

static void test_lines_of_a_value(void **state)
{
    struct redact r = {0};
    redact_add(&r, SPAN_LITERAL("-----BEGIN KEY-----\nMIIBVQ==\n-----END KEY-----"));
    check(&r, "line: MIIBVQ==", "line: ***");
    redact_fini(&r);
}

UNIT_TESTS(cmocka_unit_test(test_values_disappear), cmocka_unit_test(test_cut_values),
           cmocka_unit_test(test_text_that_was_cut), cmocka_unit_test(test_lines_of_a_value))

/* SPDX-License-Identifier: Apache-2.0 */
/* Links the library: RE2's wrapper is C++. */
#include "base/regex.h"

#include "base/span.h"
#include "unit.h"

static struct regex *make(const char *pattern)
{
    struct regex_error error;
    struct regex *x = regex_create(pattern, strlen(pattern), &error);
    if (!x)
        fail_msg("%s: %s", pattern, error.text);
    return x;
}

static bool holds(const char *pattern, const char *text)
{
    struct regex *x = make(pattern);
    bool held = regex_holds(x, text, strlen(text));
    regex_destroy(x);
    return held;
}

static void holds_somewhere_unless_tied(void **state)
{
    assert_true(holds("b", "abc"));
    assert_false(holds("^b", "abc"));
    assert_true(holds("^a.c$", "abc"));
    assert_true(holds("", ""));
    assert_true(holds("^[a-z0-9-]+\\.(?i:TEST)$", "x-1.test"));
    assert_true(holds("\\d{3}", "ab123"));
    assert_false(holds("^\\d{3}$", "1234"));
    struct regex *x = make("^a\\x00b$");
    assert_true(regex_holds(x, "a\0b", 3));
    regex_destroy(x);
}

static void says_what_is_wrong_and_where(void **state)
{
    static const struct {
        const char *pattern;
        size_t at;
        const char *part;
    } cases[] = {
        {"a(b", 0, "missing )"},         {"a**", 1, "repetition"},
        {"x[a", 1, "missing ]"},         {"ab(?=c)", 2, "invalid perl operator"},
        {"(a)\\1", 3, "invalid escape"}, {"a{2000}", 1, "repetition"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct regex_error error = {0};
        assert_null(regex_create(cases[i].pattern, strlen(cases[i].pattern), &error));
        if (error.at != cases[i].at || !strstr(error.text, cases[i].part))
            fail_msg("%s: at %zu: %s", cases[i].pattern, error.at, error.text);
    }
}

/* A short pattern whose program would be huge. */
static void bounds_memory(void **state)
{
    struct regex_error error;
    const char *pattern = "((a{100}){100}){100}";
    assert_null(regex_create(pattern, strlen(pattern), &error));
}

/* Where a backtracking matcher needs 2^60 steps. */
static void takes_linear_time(void **state)
{
    char text[4096];
    memset(text, 'a', sizeof text);
    struct regex *x = make("^(a?a?a?a*)*(a+)+b$");
    assert_false(regex_holds(x, text, sizeof text));
    regex_destroy(x);
}

static void finds_groups(void **state)
{
    struct regex_group g[4];
    const char *text = "/v1/users/42";
    struct regex *x = make("/(?P<version>v\\d)/(\\w+)|(never)");
    assert_true(regex_find(x, text, strlen(text), 0, g, 4));
    assert_true(span_eq(span_of(g[0].ptr, g[0].len), SPAN_LITERAL("/v1/users")));
    assert_true(span_eq(span_of(g[1].ptr, g[1].len), SPAN_LITERAL("v1")));
    assert_true(span_eq(span_of(g[2].ptr, g[2].len), SPAN_LITERAL("users")));
    assert_null(g[3].ptr);
    assert_false(regex_find(x, text, strlen(text), 1, g, 4));
    assert_false(regex_find(x, text, strlen(text), 100, g, 4));
    assert_int_equal(regex_group_number(x, "version", 7), 1);
    assert_int_equal(regex_group_number(x, "versio", 6), -1);
    regex_destroy(x);
    x = make("a");
    assert_true(regex_find(x, "ba", 2, 0, g, 4));
    assert_null(g[1].ptr);
    regex_destroy(x);
}

UNIT_TESTS(cmocka_unit_test(holds_somewhere_unless_tied),
           cmocka_unit_test(says_what_is_wrong_and_where), cmocka_unit_test(bounds_memory),
           cmocka_unit_test(takes_linear_time), cmocka_unit_test(finds_groups))

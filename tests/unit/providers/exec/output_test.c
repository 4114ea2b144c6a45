/* SPDX-License-Identifier: Apache-2.0 */
#include "unit.h"

#include "exec/output.c"

static char logged[100000];
static unsigned lines;

static void take_log(const struct ferrule_host *host, int32_t level, struct ferrule_str text)
{
    snprintf(logged, sizeof logged, "%.*s", FERRULE_FMT(text));
    lines++;
}

static const struct ferrule_host host = {.size = sizeof host, .log = take_log};

static struct ferrule_str str(const char *s)
{
    return (struct ferrule_str){s, strlen(s)};
}

static void expect_last(const char *text, const char *last)
{
    struct ferrule_str have = output_last_line(str(text));
    assert_int_equal(have.len, strlen(last));
    if (have.len)
        assert_memory_equal(have.ptr, last, have.len);
}

static void test_last_line(void **state)
{
    expect_last("", "");
    expect_last(" \n\t\r\n", "");
    expect_last("one", "one");
    expect_last("one\n two \r\n\n", "two");
}

static void test_log(void **state)
{
    char text[4000];
    lines = 0;
    output_log(&host, FERRULE_LOG_INFO, str("a\n\n  \nlast"));
    assert_int_equal(lines, 2);
    assert_string_equal(logged, "last");
    for (size_t i = 0; i < sizeof text; i++)
        text[i] = i % 2 ? '\n' : 'x';
    lines = 0;
    output_log(&host, FERRULE_LOG_INFO, (struct ferrule_str){text, sizeof text});
    assert_int_equal(lines, OUTPUT_LINES_MAX + 1);
    assert_string_equal(logged, "(1950 more lines)");
}

UNIT_TESTS(cmocka_unit_test(test_last_line), cmocka_unit_test(test_log))

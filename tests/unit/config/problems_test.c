/* SPDX-License-Identifier: Apache-2.0 */
#include "config/problems.c"

#include "unit.h"

static void sorts_by_file_line_and_column(void **state)
{
    struct config_problems p = {0};
    static const char *const files[] = {"b", "a"};
    char volatile_name[] = "a";
    problems_error(&p, (struct config_where){NULL, 0, 0}, "nowhere");
    problems_error(&p, (struct config_where){"--x", 0, 1}, "second flag");
    problems_error(&p, (struct config_where){volatile_name, 3, 1}, "third");
    problems_error(&p, (struct config_where){"--y", 0, 0}, "first flag");
    problems_warn(&p, (struct config_where){"b", 9, 9}, "second of b");
    problems_error(&p, (struct config_where){"b", 9, 2}, "first of b");
    problems_error(&p, (struct config_where){"b", 9, 2}, "first of b too");
    volatile_name[0] = 'z'; /* names are copied */
    problems_sort(&p, files, 2);
    struct buf out = {0};
    for (uint32_t i = 0; i < p.count; i++) {
        config_problem_print(&p.items[i], &out);
        buf_put_str(&out, "\n");
    }
    assert_string_equal(buf_cstr(&out), "b:9:2: error: first of b\n"
                                        "b:9:2: error: first of b too\n"
                                        "b:9:9: warning: second of b\n"
                                        "a:3:1: error: third\n"
                                        "--y: error: first flag\n"
                                        "--x: error: second flag\n"
                                        "error: nowhere\n");
    assert_int_equal(p.errors, 6);
    buf_free(&out);
    config_problems_free(&p);
    assert_int_equal(p.count, 0);
    config_problems_free(&p);
}

static void counts_more_than_it_keeps(void **state)
{
    struct config_problems p = {0};
    for (uint32_t i = 0; i < PROBLEMS_MAX + 5; i++)
        problems_error(&p, (struct config_where){"f", i, 1}, "%u", i);
    assert_int_equal(p.count, PROBLEMS_MAX);
    assert_int_equal(p.errors, PROBLEMS_MAX + 5);
    config_problems_free(&p);
}

static void finds_the_nearest(void **state)
{
    static const char *const names[] = {"address", "addresses", "transport", "http", "to"};
    assert_string_equal(problems_nearest("adress", names, 5), "address");
    assert_string_equal(problems_nearest("ADDRESSS", names, 5), "address");
    assert_string_equal(problems_nearest("tranpsort", names, 5), "transport");
    assert_string_equal(problems_nearest("htpt", names, 5), "http");
    assert_null(problems_nearest("email", names, 5));
    assert_null(problems_nearest("", names, 5));
    assert_null(problems_nearest("x", names, 5));
    char endless[200];
    memset(endless, 'a', sizeof endless - 1);
    endless[199] = 0;
    assert_null(problems_nearest(endless, names, 5));
}

UNIT_TESTS(cmocka_unit_test(sorts_by_file_line_and_column),
           cmocka_unit_test(counts_more_than_it_keeps), cmocka_unit_test(finds_the_nearest))

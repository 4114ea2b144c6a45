/* SPDX-License-Identifier: Apache-2.0 */
#include "config/check.c"

#include "unit.h"

static struct check_args parse(int argc, char **argv, bool good)
{
    struct check_args args = {0};
    struct why why;
    assert_int_equal(result_is_ok(check_args_parse(argc, argv, &args, &why)), good);
    return args;
}

#define PARSE(good, ...)                                                                           \
    parse((int)(sizeof((const char *[]){__VA_ARGS__}) / sizeof(char *)),                           \
          (char **)(const char *[]){__VA_ARGS__}, good)

static void sorts_arguments(void **state)
{
    struct check_args a = PARSE(true, "-c", "f", "--a.b=c", "--fragment", "--d");
    assert_string_equal(a.file, "f");
    assert_true(a.fragment && !a.json && !a.help);
    assert_int_equal(a.flag_count, 2);
    assert_string_equal(a.flags[1], "--d");
    check_args_free(&a);
    a = PARSE(true, "--configfile=x.toml", "--json");
    assert_string_equal(a.file, "x.toml");
    assert_true(a.json);
    check_args_free(&a);
    a = PARSE(true, "--config", "y", "--config.z=1");
    assert_string_equal(a.file, "y");
    assert_int_equal(a.flag_count, 1);
    check_args_free(&a);
    a = parse(0, NULL, true);
    assert_string_equal(a.file, CONFIG_DEFAULT_FILE);
    check_args_free(&a);
    a = PARSE(true, "--a=b");
    assert_null(a.file);
    check_args_free(&a);
}

static void refuses_arguments(void **state)
{
    PARSE(false, "-c");
    PARSE(false, "--config=");
    PARSE(false, "file.toml");
    PARSE(false, "-x");
    PARSE(false, "--");
    PARSE(false, "--a=b", "c");
}

UNIT_TESTS(cmocka_unit_test(sorts_arguments), cmocka_unit_test(refuses_arguments))

/* SPDX-License-Identifier: Apache-2.0 */
#include "unit.h"

#include "control/provider/plugin_options.c"

#include <stdio.h>

static const char *const env_a[] = {"A_NAME", "A_ALIAS", NULL};
static const char *const env_n[] = {"A_NUMBER", NULL};
static const char *const env_s[] = {"A_SECONDS", NULL};
static const char *const env_b[] = {"A_BOOL", NULL};
static const char *const env_l[] = {"A_LIST", NULL};
static const char *const env_u[] = {"A_URL", NULL};
static const char *const env_x[] = {"A_PLAIN", NULL};

static const struct ferrule_option table[] = {
    {"a", env_a, NULL, "", FERRULE_STRING, FERRULE_OPTION_REQUIRED | FERRULE_OPTION_SECRET, 0, 0},
    {"n", env_n, "7", "", FERRULE_UINT, 0, 3, 9},
    {"s", env_s, "120", "", FERRULE_SECONDS, 0, 0, 0},
    {"b", env_b, NULL, "", FERRULE_BOOL, 0, 0, 0},
    {"l", env_l, NULL, "", FERRULE_LIST, 0, 0, 0},
    {"u", env_u, NULL, "", FERRULE_URL, 0, 0, 0},
    {"x", env_x, NULL, "", FERRULE_STRING, FERRULE_OPTION_NO_FILE, 0, 0},
};

static const struct ferrule_provider provider = {
    .option_bytes = sizeof(struct ferrule_option),
    .option_count = sizeof table / sizeof table[0],
    .options = table,
};

static struct plugin_options options;
static struct redact redact;
static struct why why;
static struct wire_list overlay, variables;

static int forget(void **state)
{
    plugin_options_fini(&options);
    redact_fini(&redact);
    overlay.count = variables.count = 0;
    why.text[0] = 0;
    return 0;
}

static void set(struct wire_list *list, const char *name, const char *value)
{
    assert_int_equal(wire_list_add(list, span_str(name)).code, ERR_NONE);
    assert_int_equal(wire_list_add(list, span_str(value)).code, ERR_NONE);
}

static enum err_code resolve(void)
{
    return plugin_options_resolve(&provider, &overlay, &variables, &options, &redact, &why).code;
}

static void expect(const char *name, const char *text)
{
    const struct option_value *v = plugin_options_find(&options, name);
    assert_non_null(v);
    assert_int_equal(v->set, text != NULL);
    if (text && !span_eq(buf_span(&v->text), span_str(text)))
        fail_msg("%s is %.*s, not %s", name, (int)v->text.len, (char *)v->text.ptr, text);
}

static void test_defaults(void **state)
{
    set(&overlay, "A_NAME", "value");
    assert_int_equal(resolve(), ERR_NONE);
    expect("a", "value");
    expect("n", "7");
    expect("s", "120");
    expect("b", NULL);
    assert_null(plugin_options_find(&options, "nosuch"));
    assert_int_equal(redact.count, 1);
}

static void test_order(void **state)
{
    set(&variables, "A_NAME", "main in environment");
    set(&overlay, "A_ALIAS", "alias in overlay");
    assert_int_equal(resolve(), ERR_NONE);
    expect("a", "alias in overlay");
    forget(NULL);
    set(&variables, "A_ALIAS", "alias");
    set(&variables, "A_NAME", "main");
    set(&overlay, "A_NAME", ""); /* empty is unset */
    assert_int_equal(resolve(), ERR_NONE);
    expect("a", "main");
}

static char *make_file(const char *content)
{
    static char path[64];
    snprintf(path, sizeof path, "/tmp/ferrule-options-XXXXXX");
    int fd = mkstemp(path);
    assert_true(fd >= 0 && write(fd, content, strlen(content)) == (ssize_t)strlen(content));
    close(fd);
    return path;
}

static void test_files(void **state)
{
    char *path = make_file("from a file\r\n\n");
    set(&variables, "A_NAME_FILE", path);
    set(&variables, "A_PLAIN_FILE", path);
    assert_int_equal(resolve(), ERR_NONE);
    unlink(path);
    expect("a", "from a file");
    expect("x", NULL); /* it says that it takes no file */
    forget(NULL);
    set(&variables, "A_NAME_FILE", "/nonexistent/file");
    assert_int_equal(resolve(), ERR_CONFIG);
    assert_non_null(strstr(why.text, "A_NAME_FILE names /nonexistent/file, which cannot be read"));
    forget(NULL);
    path = make_file("\n");
    set(&variables, "A_NAME_FILE", path);
    assert_int_equal(resolve(), ERR_CONFIG);
    unlink(path);
    assert_non_null(strstr(why.text, "which is empty"));
}

static void check_value(const char *env, const char *value, const char *name, const char *expected)
{
    forget(NULL);
    set(&overlay, "A_NAME", "value");
    set(&overlay, env, value);
    enum err_code code = resolve();
    assert_int_equal(code, expected ? ERR_NONE : ERR_CONFIG);
    if (expected)
        expect(name, expected);
    else
        assert_non_null(strstr(why.text, env));
}

static void test_types(void **state)
{
    check_value("A_NUMBER", "3", "n", "3");
    check_value("A_NUMBER", "09", "n", "9");
    check_value("A_NUMBER", "2", "n", NULL);
    check_value("A_NUMBER", "10", "n", NULL);
    check_value("A_NUMBER", "-3", "n", NULL);
    check_value("A_NUMBER", "18446744073709551619", "n", NULL);
    check_value("A_SECONDS", "90s", "s", "90");
    check_value("A_SECONDS", "2m", "s", "120");
    check_value("A_SECONDS", "1h", "s", "3600");
    check_value("A_SECONDS", "60", "s", "60");
    check_value("A_SECONDS", "1.5", "s", NULL);
    check_value("A_SECONDS", "s", "s", NULL);
    check_value("A_SECONDS", "99999999999999999999h", "s", NULL);
    check_value("A_BOOL", "True", "b", "true");
    check_value("A_BOOL", "0", "b", "false");
    check_value("A_BOOL", "maybe", "b", NULL);
    check_value("A_LIST", " a , ,b,", "l", "a,b");
    check_value("A_URL", "https://x", "u", "https://x");
    check_value("A_URL", "ftp://x", "u", NULL);
}

static void test_missing(void **state)
{
    assert_int_equal(resolve(), ERR_CONFIG);
    assert_non_null(strstr(why.text, "set A_NAME: "));
}

static void test_names(void **state)
{
    struct buf names = {0};
    struct wire_list list = {0};
    assert_int_equal(plugin_options_names(&provider, &names, &list).code, ERR_NONE);
    assert_int_equal(list.count, 2 * 8);
    assert_true(span_eq(list.items[0], SPAN_LITERAL("A_NAME")));
    assert_true(span_eq(list.items[3], SPAN_LITERAL("A_ALIAS_FILE")));
    buf_free(&names);
}

#define OPTIONS_TEST(f) cmocka_unit_test_setup_teardown(f, forget, forget)
UNIT_TESTS(OPTIONS_TEST(test_defaults), OPTIONS_TEST(test_order), OPTIONS_TEST(test_files),
           OPTIONS_TEST(test_types), OPTIONS_TEST(test_missing), OPTIONS_TEST(test_names))

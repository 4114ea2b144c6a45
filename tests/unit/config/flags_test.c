/* SPDX-License-Identifier: Apache-2.0 */
#include "config/flags.c"

#include "unit.h"

static struct arena *arena;
static struct node *root;
static struct config_problems problems;

static int set_up(void **state)
{
    arena = arena_create();
    root = tree_create(arena);
    return 0;
}

static int tear_down(void **state)
{
    config_problems_free(&problems);
    arena_destroy(arena);
    return 0;
}

static const struct node *get(const char *path)
{
    const struct node *n = root;
    char part[64];
    for (struct span rest = span_str(path); n && rest.len;) {
        size_t len = span_find(rest, '/');
        memcpy(part, rest.ptr, len);
        part[len] = 0;
        rest = span_skip(rest, len + 1);
        n = n->kind == TOML_ARRAY ? n->first : tree_child(n, part);
    }
    return n;
}

static void set(const char *flag)
{
    flags_set(arena, root, flag, 0, &problems);
}

static void sets_values(void **state)
{
    set("--entryPoints.web.address=:80");
    set("--entrypoints.web.asDefault");
    set("--a.b.resolvers:=\"1.1.1.1:53,8.8.8.8:53\"");
    set("--log.level='DEBUG'");
    set("--env.TOKEN=a=b");
    set("--http.routers.\"a.test\".rule=Host(`a`)");
    set("--empty=");
    assert_int_equal(problems.count, 0);
    assert_string_equal(get("entryPoints/web/address")->text, ":80");
    assert_string_equal(get("entryPoints/web/asDefault")->text, "true");
    assert_string_equal(get("a/b/resolvers")->text, "1.1.1.1:53,8.8.8.8:53");
    assert_string_equal(get("log/level")->text, "DEBUG");
    assert_string_equal(get("env/TOKEN")->text, "a=b");
    assert_string_equal(get("http/routers/a.test/rule")->text, "Host(`a`)");
    assert_string_equal(get("empty")->text, "");
    assert_true(get("empty")->flag);
    assert_string_equal(get("log/level")->at.file, "--log.level");
}

static void wins_over_what_was_there(void **state)
{
    root = tree_from_toml(arena, span_str("[a]\nx = 5\nl = [1, 2]\n[a.t]\n"), "f", &problems);
    set("--a.x=6");
    set("--A.L=7");
    set("--a.t=true");
    set("--a.t.y=1");
    set("--a.t=true");
    assert_int_equal(problems.count, 0);
    assert_string_equal(get("a/x")->text, "6");
    assert_int_equal(get("a")->count, 3);
    assert_int_equal(get("a/l")->kind, TOML_STRING);
    assert_int_equal(get("a/l")->count, 0);
    assert_string_equal(get("a/t/y")->text, "1");
}

static void indexes_lists(void **state)
{
    set("--tls.certificates[0].certFile=a");
    set("--tls.certificates[1].certFile=b");
    set("--tls.certificates[0].keyFile=c");
    assert_int_equal(problems.count, 0);
    assert_int_equal(get("tls/certificates")->count, 2);
    assert_string_equal(get("tls/certificates/x/keyFile")->text, "c");
    set("--tls.certificates[3].certFile=b");
    set("--tls.certificates[x].certFile=b");
    set("--tls.certificates[0]certFile=b");
    set("--tls.certificates[-1].certFile=b");
    assert_int_equal(problems.count, 4);
}

static void refuses(void **state)
{
    static const char *const bad[] = {"",        "-",          "--",      "x=1",
                                      "--=1",    "--a..b=1",   "--.a=1",  "--a.=1",
                                      "--\"a=1", "--\"\".a=1", "--[0]=1", "--a[=1"};
    for (uint32_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        set(bad[i]);
        if (problems.count != i + 1)
            fail_msg("%s was taken", bad[i]);
    }
}

static void shows_no_value(void **state)
{
    set("--a[x].token=secret");
    struct buf out = {0};
    config_problem_print(&problems.items[0], &out);
    assert_null(strstr(buf_cstr(&out), "secret"));
    buf_free(&out);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
UNIT_TESTS(TEST(sets_values), TEST(wins_over_what_was_there), TEST(indexes_lists), TEST(refuses),
           TEST(shows_no_value))

/* SPDX-License-Identifier: Apache-2.0 */
#include "data/route/target.c"

#include "unit.h"

#include <stdlib.h>

/* NULL: ERR_FORMAT is expected. */
static void expect(enum target_form form, const char *path, const char *want)
{
    size_t len = strlen(path);
    uint8_t *memory = malloc(len ? len : 1); /* ASan sees a byte too many */
    struct span got;
    struct result r = target_normal(span_str(path), form, memory, len, &got);
    if (!want && r.code != ERR_FORMAT)
        fail_msg("%s passed", path);
    if (want && (!result_is_ok(r) || !span_eq(got, span_str(want))))
        fail_msg("%s: %s %.*s", path, err_name(r.code), result_is_ok(r) ? (int)got.len : 0,
                 result_is_ok(r) ? (const char *)got.ptr : "");
    free(memory);
}

static void parts(void **state)
{
    assert_true(span_eq(target_path(SPAN_LITERAL("/a?b?c")), SPAN_LITERAL("/a")));
    assert_true(span_eq(target_query(SPAN_LITERAL("/a?b?c")), SPAN_LITERAL("b?c")));
    assert_true(span_eq(target_path(SPAN_LITERAL("*")), SPAN_LITERAL("*")));
    assert_int_equal(target_query(SPAN_LITERAL("/a")).len, 0);
    assert_int_equal(target_query(SPAN_LITERAL("/a?")).len, 0);
}

static void normal_paths(void **state)
{
    static const struct {
        const char *path, *clean, *route;
    } cases[] = {
        {"/", "/", "/"},
        {"*", "*", "*"},
        {"/a/b", "/a/b", "/a/b"},
        {"/.well-known/x", "/.well-known/x", "/.well-known/x"},
        {"/a//b///c/", "/a/b/c/", "/a/b/c/"},
        {"/./a/./b/.", "/a/b/", "/a/b/"},
        {"/a/../b", "/b", "/b"},
        {"/a/b/..", "/a/", "/a/"},
        {"/../../a", "/a", "/a"},
        {"/a/b/../../..", "/", "/"},
        {"/a/...", "/a/...", "/a/..."},
        {"/a/..b/.c", "/a/..b/.c", "/a/..b/.c"},
        {"/%7euser/%41", "/~user/A", "/~user/A"},
        {"/a/%2e%2E/b", "/b", "/b"},
        {"/a/%2e./b/", "/b/", "/b/"},
        {"/a%20b", "/a%20b", "/a b"},
        {"/%c3%bc", "/%C3%BC", "/\xc3\xbc"},
        {"/a%2fb", "/a%2Fb", "/a%2Fb"},
        {"/a%3ab%40", "/a%3Ab%40", "/a%3Ab%40"},
        {"/%2541", "/%2541", "/%2541"},
        {"/a%2f%2fb", "/a%2F%2Fb", "/a%2F%2Fb"},
        {"/a%2f...%2f", "/a%2F...%2F", "/a%2F...%2F"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        expect(TARGET_CLEAN, cases[i].path, cases[i].clean);
        expect(TARGET_ROUTE, cases[i].path, cases[i].route);
    }
}

static void refused_paths(void **state)
{
    static const char *const bad[] = {
        "/%",         "/%4",        "/%zz",        "/a%2",    "/..%2fa",   "/a/..%2Fb/c", "/a%2f..",
        "/a%2f..%2f", "/a%2f.%2fb", "/%2e%2e%2fa", "/..%5ca", "/a\\..\\b", "/..\\admin",  "/a/.%5c",
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        expect(TARGET_CLEAN, bad[i], NULL);
        expect(TARGET_ROUTE, bad[i], NULL);
    }
}

static void room(void **state)
{
    uint8_t memory[8];
    struct span got;
    struct result r = target_normal(SPAN_LITERAL("/12345678"), TARGET_ROUTE, memory, 8, &got);
    assert_true(result_is_ok(r)); /* nothing to change */
    r = target_normal(SPAN_LITERAL("//2345678"), TARGET_ROUTE, memory, 8, &got);
    assert_int_equal(r.code, ERR_TOO_LARGE);
    assert_int_equal(target_param_decode(SPAN_LITERAL("a+b+c+d+e"), memory, 8, &got).code,
                     ERR_TOO_LARGE);
}

static void params(void **state)
{
    struct span q = SPAN_LITERAL("a=1&&b&=c&d=e=f&g%=1&h=1;i=2&j=%6A+k");
    static const char *const want[][2] = {
        {"a", "1"}, {"b", ""}, {"", "c"}, {"d", "e=f"}, {"j", "j k"}};
    struct target_param p;
    for (size_t i = 0; i < sizeof want / sizeof *want; i++) {
        uint8_t memory[16];
        struct span plain;
        assert_true(target_next_param(&q, &p));
        assert_true(target_param_is(p.name, span_str(want[i][0])));
        assert_true(target_param_is(p.value, span_str(want[i][1])));
        assert_false(target_param_is(p.value, SPAN_LITERAL("other")));
        assert_true(result_is_ok(target_param_decode(p.value, memory, sizeof memory, &plain)));
        assert_true(span_eq(plain, span_str(want[i][1])));
    }
    assert_false(target_next_param(&q, &p));
    assert_false(target_param_is(SPAN_LITERAL("ab"), SPAN_LITERAL("a")));
    assert_false(target_param_is(SPAN_LITERAL("a"), SPAN_LITERAL("ab")));
}

UNIT_TESTS(cmocka_unit_test(parts), cmocka_unit_test(normal_paths), cmocka_unit_test(refused_paths),
           cmocka_unit_test(room), cmocka_unit_test(params))

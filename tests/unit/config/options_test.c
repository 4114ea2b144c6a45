/* SPDX-License-Identifier: Apache-2.0 */
#include "config/options.c"

#include "config/judge.h"
#include "unit.h"

/* Every default that is a literal value is a good value of its own option. */
static void defaults_are_allowed(void **state)
{
    struct arena *arena = arena_create();
    struct schema *root = options_schema(arena);
    for (uint32_t i = 0; i < option_count; i++) {
        const struct option *o = &option_table[i];
        if (!*o->preset || o->preset[0] == '(')
            continue;
        struct schema s = {.name = "x", .option = o};
        struct schema top = {.name = "", .first = &s};
        struct config_problems problems = {0};
        struct node *tree = tree_create(arena), *n = tree_add(arena, tree, "x");
        n->kind = TOML_STRING;
        n->flag = true;
        n->text = o->preset;
        n->text_len = strlen(o->preset);
        judge_tree(arena, tree, &top, CONFIG_FRAGMENT, &problems);
        if (problems.count)
            fail_msg("%s: %s", o->path, problems.items[0].text);
        config_problems_free(&problems);
    }
    assert_non_null(root);
    arena_destroy(arena);
}

static void ranges_are_ranges(void **state)
{
    for (uint32_t i = 0; i < option_count; i++) {
        const struct option *o = &option_table[i];
        int64_t low, high;
        if (o->type == OPTION_INT || o->type == OPTION_DURATION) {
            if (!options_range(o, &low, &high) || low >= high)
                fail_msg("%s: %s", o->path, o->allowed);
        }
        if (o->type == OPTION_ENUM || o->type == OPTION_URL)
            assert_true(*o->allowed);
        assert_true(*o->doc);
    }
}

static void finds_children(void **state)
{
    struct arena *arena = arena_create();
    const struct schema *root = options_schema(arena);
    const struct schema *s = options_at(root, "ENTRYPOINTS.anything.Address");
    assert_string_equal(s->option->path, "entryPoints.<name>.address");
    assert_true(options_at(root, "tls.certificates")->list);
    assert_null(options_child(root, "entryPoint"));
    assert_true(options_at(root, "http.services.<name>.loadBalancer.servers.preservePath")->later);
    assert_false(options_at(root, "ocsp")->later);
    assert_false(options_at(root, "http.middlewares")->later);
    assert_false(options_at(root, "http")->later);
    assert_false(options_at(root, "http.services.x.loadBalancer")->later);
    assert_false(options_at(root, "tls.stores.x.defaultGeneratedCert")->later);
    arena_destroy(arena);
}

static void says_what_is_expected(void **state)
{
    static const struct option port = {"x", OPTION_INT, "", "1..65535", 0, 0, ""};
    static const struct option pick = {"x", OPTION_ENUM, "", "a|B", 0, 0, ""};
    struct buf out = {0};
    struct arena *arena = arena_create();
    options_expected(&port, &out);
    assert_string_equal(buf_cstr(&out), "1 to 65535");
    out.len = 0;
    options_expected(&pick, &out);
    assert_string_equal(buf_cstr(&out), "one of \"a\", \"B\"");
    assert_string_equal(options_choice(arena, &pick, "b"), "B");
    assert_null(options_choice(arena, &pick, "c"));
    assert_null(options_choice(arena, &pick, ""));
    buf_free(&out);
    arena_destroy(arena);
}

UNIT_TESTS(cmocka_unit_test(defaults_are_allowed), cmocka_unit_test(ranges_are_ranges),
           cmocka_unit_test(finds_children), cmocka_unit_test(says_what_is_expected))

/* SPDX-License-Identifier: Apache-2.0 */
#include "config/tree.c"

#include "unit.h"

static struct config_problems problems;

static struct node *read_text(struct arena *a, const char *text)
{
    return tree_from_toml(a, span_str(text), "f", &problems);
}

static void keeps_the_order_of_the_file(void **state)
{
    struct arena *a = arena_create();
    struct node *root = read_text(a, "z = 1\n[b.c]\nx = 'y'\n[a]\n[b.a]\n[[l]]\nk = 2\n[[l]]\n");
    assert_non_null(root);
    static const char *const want[] = {"z", "b", "a", "l"};
    struct node *n = root->first;
    for (size_t i = 0; i < 4; i++, n = n->next)
        assert_string_equal(n->key, want[i]);
    assert_null(n);
    struct node *b = tree_child(root, "B");
    assert_string_equal(b->first->key, "c");
    assert_string_equal(b->first->next->key, "a");
    struct node *x = tree_child(b->first, "x");
    assert_string_equal(x->text, "y");
    assert_true(x->plain);
    assert_int_equal(x->at.line, 3);
    assert_int_equal(x->at.column, 5);
    assert_int_equal(x->key_at.column, 1);
    struct node *k = tree_child(root, "l")->first->first;
    assert_string_equal(tree_path(a, k), "l[0].k");
    assert_string_equal(tree_path(a, x), "b.c.x");
    assert_int_equal(k->integer, 2);
    arena_destroy(a);
}

static void knows_plain_strings(void **state)
{
    struct arena *a = arena_create();
    struct node *root = read_text(a, "a = \"x\\ty\"\nb = '''x'''\nc = \"xy\"\nd = \"x\\u0000y\"\n");
    assert_false(tree_child(root, "a")->plain);
    assert_false(tree_child(root, "b")->plain);
    assert_true(tree_child(root, "c")->plain);
    assert_int_equal(tree_child(root, "d")->text_len, 3);
    arena_destroy(a);
}

static void reports_syntax_with_its_place(void **state)
{
    struct arena *a = arena_create();
    assert_null(read_text(a, "a = 1\nb = \n"));
    assert_int_equal(problems.count, 1);
    assert_int_equal(problems.items[0].where.line, 2);
    config_problems_free(&problems);
    arena_destroy(a);
}

static void refuses_depth_without_end(void **state)
{
    struct arena *a = arena_create();
    struct buf text = {0};
    for (int i = 0; i < 200000; i++)
        buf_put_str(&text, "a.");
    buf_put_str(&text, "a = 1\n");
    assert_null(read_text(a, buf_cstr(&text)));
    text.len = 0;
    for (int i = 0; i < 100; i++)
        buf_put_str(&text, i ? "{a=" : "a=");
    buf_put_str(&text, "1");
    for (int i = 0; i < 99; i++)
        buf_put_str(&text, "}");
    assert_null(read_text(a, buf_cstr(&text)));
    assert_int_equal(problems.count, 2);
    config_problems_free(&problems);
    buf_free(&text);
    struct node *good = read_text(a, "s = \"one. two. three. four\"\na.b . c.'d.e' = 1\n");
    assert_non_null(good);
    arena_destroy(a);
}

static void merges(void **state)
{
    struct arena *a = arena_create();
    struct node *into = read_text(a, "[h.r.one]\nx = 1\n[[t.c]]\nk = 1\n");
    struct node *from = read_text(a, "[h.r.two]\n[h.r.one]\n[h.s.three]\n[[t.c]]\nk = 2\n[u]\n");
    tree_merge(into, from, 2, &problems);
    struct node *h = tree_child(into, "h");
    assert_int_equal(tree_child(h, "r")->count, 2);
    assert_non_null(tree_child(h, "s"));
    assert_non_null(tree_child(into, "u"));
    assert_int_equal(tree_child(tree_child(into, "t"), "c")->count, 2);
    assert_int_equal(problems.count, 1); /* h.r.one */
    assert_string_equal(problems.items[0].text, "one is given twice: also at f:1:6");
    assert_int_equal(problems.items[0].where.line, 2);
    config_problems_free(&problems);
    arena_destroy(a);
}

UNIT_TESTS(cmocka_unit_test(keeps_the_order_of_the_file), cmocka_unit_test(knows_plain_strings),
           cmocka_unit_test(reports_syntax_with_its_place),
           cmocka_unit_test(refuses_depth_without_end), cmocka_unit_test(merges))

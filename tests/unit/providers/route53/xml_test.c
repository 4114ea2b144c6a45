/* SPDX-License-Identifier: Apache-2.0 */
#include "unit.h"

#include "route53/xml.c"

static struct ferrule_str str(const char *s)
{
    return (struct ferrule_str){s, strlen(s)};
}

static bool is(struct ferrule_str have, const char *want)
{
    return have.len == strlen(want) && memcmp(have.ptr, want, have.len) == 0;
}

static void test_root(void **state)
{
    struct ferrule_str root;
    assert_true(xml_root(str("<?xml version=\"1.0\"?>\n<!-- <x> --><a b=\"1>2\">text<c/></a>\n"),
                         "a", &root));
    assert_true(is(root, "text<c/>"));
    assert_true(xml_root(str("<n:a xmlns:n='x'/>"), "a", &root) && root.len == 0);
    assert_true(xml_root(str("<a><a>x</a></a>"), NULL, &root) && is(root, "<a>x</a>"));
    assert_false(xml_root(str("<b>x</b>"), "a", &root));
    assert_false(xml_root(str(""), NULL, &root));
    assert_false(xml_root(str("</a>"), NULL, &root));
}

/* Nothing that is cut anywhere is taken for whole. */
static void test_cut(void **state)
{
    static const char document[] = "<?xml?><a x='y'><b>1</b><!-- c --><b>2</b></a>";
    struct ferrule_str root;
    for (size_t len = 0; len < sizeof document - 1; len++) {
        char *copy = malloc(len + 1); /* so that a reader behind the end is seen */
        memcpy(copy, document, len);
        assert_false(xml_root((struct ferrule_str){copy, len}, NULL, &root));
        free(copy);
    }
    assert_true(xml_root(str(document), "a", &root));
}

static void test_elements(void **state)
{
    struct ferrule_str rest = str("<l><m>1</m><m/><o><m> 3 </m></o></l><m>4"), one;
    assert_true(xml_next(&rest, "m", &one) && is(one, "1"));
    assert_true(xml_next(&rest, "m", &one) && is(one, ""));
    assert_true(xml_next(&rest, "m", &one) && is(one, " 3 "));
    assert_false(xml_next(&rest, "m", &one));
}

static void test_text(void **state)
{
    char text[12];
    assert_true(xml_text(str("<v>\n a&#34;b&quot;&#x3c;&amp;lt; </v>"), "v", text, sizeof text));
    assert_string_equal(text, "a\"b\"<&lt;");
    assert_true(xml_text(str("<v>&#233;&nope;&</v>"), "v", text, sizeof text) == false);
    assert_true(xml_text(str("<v>&no;&</v>"), "v", text, sizeof text));
    assert_string_equal(text, "&no;&");
    assert_false(xml_text(str("<v>123456789012</v>"), "v", text, sizeof text));
    assert_string_equal(text, "");
    assert_false(xml_text(str("<w>1</w>"), "v", text, sizeof text));
}

UNIT_TESTS(cmocka_unit_test(test_root), cmocka_unit_test(test_cut), cmocka_unit_test(test_elements),
           cmocka_unit_test(test_text))

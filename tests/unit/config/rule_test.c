/* SPDX-License-Identifier: Apache-2.0 */
#include "config/rule.c"

#include "unit.h"

/* The program as text: operands by kind and name, "&", "|", "!". */
static void print_program(const struct rule *rule, struct buf *out)
{
    static const char *const kinds[] = {"?", "host:", "path:", "prefix:", "&", "|", "!", "any"};
    for (uint32_t i = 0; i < rule->node_count; i++)
        buf_printf(out, "%s%s%s", i ? " " : "", kinds[rule->nodes[i].op],
                   rule->nodes[i].text ? rule->nodes[i].text : "");
}

static void expect(const char *text, const char *program)
{
    struct rule rule = {0};
    struct buf out = {0};
    struct why why;
    uint32_t column;
    if (!result_is_ok(rule_parse(text, &rule, &column, &why)))
        fail_msg("%s: %s", text, why.text);
    print_program(&rule, &out);
    assert_string_equal(buf_cstr(&out), program);
    assert_string_equal(rule.text, text);
    buf_free(&out);
    rule_free(&rule);
}

static void expect_error(const char *text, uint32_t at, const char *part)
{
    struct rule rule;
    struct why why;
    uint32_t column = UINT32_MAX;
    assert_false(result_is_ok(rule_parse(text, &rule, &column, &why)));
    if (column != at || !strstr(why.text, part))
        fail_msg("%s: at %u: %s", text, column, why.text);
}

static void parses(void **state)
{
    expect("Host(`a.test`)", "host:a.test");
    expect("Host(\"A.Test\")", "host:a.test");
    expect("host(`a.test.`)", "host:a.test");
    expect("Host(`a`, `b`,`c`)", "host:a host:b | host:c |");
    expect("Host(a.test,b.test)", "host:a.test host:b.test |");
    expect("Host(`[::1]`)", "host:[::1]");
    expect("Host(`192.0.2.1`)", "host:192.0.2.1");
    expect("Path(`/a(b),c`)", "path:/a(b),c");
    expect("Path(\"/a\\\"b\\\\c\")", "path:/a\"b\\c");
    expect(" PathPrefix ( `/` ) ", "prefix:/");
    expect("\tHost(`a`)\n&& Path(`/`)", "host:a path:/ &");
}

static void binds_as_traefik_does(void **state)
{
    expect("Host(`a`) || Host(`b`) && Path(`/`)", "host:a host:b path:/ & |");
    expect("Host(`a`) && Host(`b`) || Path(`/`)", "host:a host:b & path:/ |");
    expect("(Host(`a`) || Host(`b`)) && Path(`/`)", "host:a host:b | path:/ &");
    expect("!Host(`a`) && Path(`/`)", "host:a ! path:/ &");
    expect("!(Host(`a`) && Path(`/`))", "host:a path:/ & !");
    expect("!!Host(`a`)", "host:a ! !");
    expect("Host(`a`)||Host(`b`)||Host(`c`)", "host:a host:b | host:c |");
}

static void says_what_is_wrong_and_where(void **state)
{
    expect_error("", 0, "is expected");
    expect_error("Host", 4, "opening parenthesis");
    expect_error("Host(", 5, "argument");
    expect_error("Host()", 5, "argument");
    expect_error("Host(`a`", 8, "comma or a closing");
    expect_error("Host(`a", 5, "not closed");
    expect_error("Host(`a`) Host(`b`)", 10, "&&, ||");
    expect_error("Host(`a`) &&", 12, "is expected");
    expect_error("Host(`a`) & Path(`/`)", 10, "&&, ||");
    expect_error("(Host(`a`)", 0, "not closed");
    expect_error("Host(`a`))", 9, "&&, ||");
    expect_error("Hosts(`a`)", 0, "did you mean Host?");
    expect_error("Zzzzzzzz(`a`)", 0, "there are Host, Path and PathPrefix");
    expect_error("Path(`a`)", 5, "slash");
    expect_error("Path(``)", 5, "slash");
    expect_error("Host(`*.a.test`)", 5, "wildcard");
    expect_error("Host(`a:80`)", 5, "without port");
    expect_error("Host(`b\xc3\xbc.test`)", 5, "xn--");
    expect_error("Path(\"/\\n\")", 7, "back-quotes");
    expect_error("Host('a')", 5, "argument");
}

static void knows_what_it_does_not_have(void **state)
{
    static const char *const later[] = {
        "Method(`GET`)",         "Header(`A`, `b`)",      "HostRegexp(`.+`)",  "Query(`a`, `b`)",
        "ClientIP(`::1/128`)",   "HostSNI(`*`)",          "Headers(`A`, `b`)", "PathRegexp(`\\d`)",
        "QueryRegexp(`a`, `b`)", "HeaderRegexp(`a`, `b`)"};
    uint32_t column;
    struct why why;
    for (size_t i = 0; i < sizeof later / sizeof *later; i++) {
        expect_error(later[i], 0, "is known, but not available");
        assert_true(result_is_ok(rule_check(later[i], &column, &why)));
    }
    assert_true(result_is_ok(rule_check("Host(`a`) && Method(`GET`)", &column, &why)));
    assert_false(result_is_ok(rule_check("Host(`a`) && Methd(`GET`)", &column, &why)));
}

static void bounds_depth(void **state)
{
    struct buf text = {0};
    for (int i = 0; i < 2000; i++)
        buf_put_str(&text, i ? " && Path(`/`)" : "Path(`/`)");
    struct rule rule;
    uint32_t column;
    struct why why;
    assert_true(result_is_ok(rule_parse(buf_cstr(&text), &rule, &column, &why)));
    assert_int_equal(rule.node_count, 3999);
    rule_free(&rule);
    buf_free(&text);
    for (int open = 1; open < 64; open++) {
        text.len = 0;
        for (int i = 0; i < open; i++)
            buf_put_str(&text, "Path(`/`) || Path(`/`) && !(");
        buf_put_str(&text, "Path(`/`)");
        for (int i = 0; i < open; i++)
            buf_put_str(&text, ")");
        bool good = result_is_ok(rule_parse(buf_cstr(&text), &rule, &column, &why));
        assert_int_equal(good, open < RULE_DEPTH_MAX / 2);
        if (good) {
            rule_hosts(&rule, NULL, NULL);
            rule_free(&rule);
        }
    }
    buf_free(&text);
}

static void add_host(void *arg, const char *host)
{
    buf_printf(arg, "%s ", host);
}

static void expect_hosts(const char *text, const char *want)
{
    struct rule rule;
    struct buf out = {0};
    uint32_t column;
    struct why why;
    assert_true(result_is_ok(rule_parse(text, &rule, &column, &why)));
    rule_hosts(&rule, add_host, &out);
    assert_string_equal(buf_cstr(&out), want);
    buf_free(&out);
    rule_free(&rule);
}

static void finds_hosts(void **state)
{
    expect_hosts("Host(`b`) || Host(`a`, `b`)", "b a ");
    expect_hosts("Host(`a`) && !Host(`b`)", "a ");
    expect_hosts("!(Host(`a`) || Path(`/`) && Host(`b`)) && Host(`c`)", "c ");
    expect_hosts("!!Host(`a`)", "a ");
    expect_hosts("!(Host(`a`) && !Host(`b`)) || Host(`a`)", "b a ");
    expect_hosts("Path(`/`)", "");
}

static void compares(void **state)
{
    struct rule a, b, c;
    uint32_t column;
    struct why why;
    assert_true(result_is_ok(rule_parse("Host(`a`)&&Path(`/`)", &a, &column, &why)));
    assert_true(result_is_ok(rule_parse(" Host(\"A\") && Path(\"/\")", &b, &column, &why)));
    assert_true(result_is_ok(rule_parse("Host(`a`)&&Path(`/x`)", &c, &column, &why)));
    assert_int_equal(rule_compare(&a, &b), 0);
    assert_true(rule_compare(&a, &c) < 0 && rule_compare(&c, &a) > 0);
    rule_free(&a);
    rule_free(&b);
    rule_free(&c);
    rule_free(&c);
}

UNIT_TESTS(cmocka_unit_test(parses), cmocka_unit_test(binds_as_traefik_does),
           cmocka_unit_test(says_what_is_wrong_and_where),
           cmocka_unit_test(knows_what_it_does_not_have), cmocka_unit_test(bounds_depth),
           cmocka_unit_test(finds_hosts), cmocka_unit_test(compares))

/* SPDX-License-Identifier: Apache-2.0 */
#include "config/rule.c"

#include "unit.h"

/* The program as text: operands by kind, name and text, "&", "|", "!". */
static void print_program(const struct rule *rule, struct buf *out)
{
    static const char *const kinds[] = {
        "?",     "host:",   "path:",  "prefix:", "&",      "|",      "!",   "any",  "host~",
        "path~", "method:", "field:", "field:",  "query:", "query:", "ip:", "alpn:"};
    for (uint32_t i = 0; i < rule->node_count; i++) {
        const struct rule_node *n = &rule->nodes[i];
        bool pattern = n->op == RULE_HEADER_REGEXP || n->op == RULE_QUERY_REGEXP;
        buf_printf(out, "%s%s%s%s%s", i ? " " : "", kinds[n->op], n->name ? n->name : "",
                   n->name ? pattern ? "~" : "=" : "", n->text ? n->text : "");
    }
}

static void expect_in(enum rule_syntax syntax, const char *text, const char *program)
{
    struct rule rule = {0};
    struct buf out = {0};
    struct why why;
    uint32_t column;
    if (!result_is_ok(rule_parse(text, syntax, &rule, &column, &why)))
        fail_msg("%s: %s", text, why.text);
    print_program(&rule, &out);
    assert_string_equal(buf_cstr(&out), program);
    assert_string_equal(rule.text, text);
    buf_free(&out);
    rule_free(&rule);
}

static void expect(const char *text, const char *program)
{
    expect_in(RULE_V3, text, program);
}

static void expect_error_in(enum rule_syntax syntax, const char *text, uint32_t at,
                            const char *part)
{
    struct rule rule;
    struct why why;
    uint32_t column = UINT32_MAX;
    assert_false(result_is_ok(rule_parse(text, syntax, &rule, &column, &why)));
    if (column != at || !strstr(why.text, part))
        fail_msg("%s: at %u: %s", text, column, why.text);
}

static void expect_error(const char *text, uint32_t at, const char *part)
{
    expect_error_in(RULE_V3, text, at, part);
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
    expect_error("Zzzzzzzz(`a`)", 0, "there are Host, HostRegexp, Path");
    expect_error("Path(`a`)", 5, "slash");
    expect_error("Path(``)", 5, "slash");
    expect_error("Host(`*.a.test`)", 5, "wildcard");
    expect_error("Host(`a:80`)", 5, "without port");
    expect_error("Host(`b\xc3\xbc.test`)", 5, "xn--");
    expect_error("Path(\"/\\n\")", 7, "back-quotes");
    expect_error("Host('a')", 5, "argument");
}

static void knows_every_matcher(void **state)
{
    expect("HostRegexp(`^[a-z]+\\.a\\.test$`)", "host~^[a-z]+\\.a\\.test$");
    expect("PathRegexp(`\\.(jpe?g|png)$`)", "path~\\.(jpe?g|png)$");
    expect("Method(`get`)", "method:GET");
    expect("Method(`GET`, `POST`)", "method:GET method:POST |");
    expect("Header(`X-A`, `b c`)", "field:X-A=b c");
    expect("HeaderRegexp(`X-A`, `^b+$`)", "field:X-A~^b+$");
    expect("Query(`a`)", "query:a=");
    expect("Query(`a`, `b=c`)", "query:a=b=c");
    expect("QueryRegexp(`a`)", "query:a=");
    expect("QueryRegexp(`a`, `^\\d+$`)", "query:a~^\\d+$");
    expect("ClientIP(`10.0.0.0/8`, `::1`)", "ip:10.0.0.0/8 ip:::1 |");
    expect("Host(`a`) && !(Method(`PUT`) || Query(`x`, `y`))", "host:a method:PUT query:x=y | ! &");
}

static void knows_the_second_syntax(void **state)
{
    static const struct {
        const char *text, *program;
    } good[] = {
        {"Host(`a`,`B`) || HostHeader(`c`)", "host:a host:b | host:c |"},
        {"HostRegexp(`A.test`, `{sub:[a-z]{2,3}}.a.test`)",
         "host:a.test host~(?i)^(?:[a-z]{2,3})\\.a\\.test$ |"},
        {"HostRegexp(`{any}.a.test`)", "host~(?i)^(?:[^.]+)\\.a\\.test$"},
        {"Path(`/a`, `/b/{id:[0-9]+}/c`)", "path:/a path~^\\/b\\/(?:[0-9]+)\\/c$ |"},
        {"PathPrefix(`/a/{rest}`)", "path~^\\/a\\/(?:[^/]+)"},
        {"PathPrefix(`/a`)", "prefix:/a"},
        {"Method(`GET`, `post`)", "method:GET method:POST |"},
        {"Headers(`X-A`, `b`)", "field:X-A=b"},
        {"Headers(`X-A`, ``)", "field:X-A~"},
        {"HeadersRegexp(`X-A`, `b|c`)", "field:X-A~b|c"},
        {"Query(`a=b`, `c=`)", "query:a=b query:c~ &"},
        {"Query(`a={n:[0-9]+}`)", "query:a~^(?:[0-9]+)$"},
        {"ClientIP(`192.0.2.0/24`)", "ip:192.0.2.0/24"},
    };
    for (size_t i = 0; i < sizeof good / sizeof *good; i++)
        expect_in(RULE_V2, good[i].text, good[i].program);
    expect_error_in(RULE_V2, "Query(`a`)", 6, "name=value");
    expect_error_in(RULE_V2, "Path(`/{`)", 7, "a placeholder is written");
    expect_error_in(RULE_V2, "Path(`/a{:x}`)", 8, "a placeholder is written");
    expect_error_in(RULE_V2, "Path(`/}`)", 7, "a placeholder is written");
    expect_error_in(RULE_V2, "Path(`/{a:(}`)", 5, "this is no regular expression");
    expect_error_in(RULE_V2, "Path(`a{b}`)", 5, "slash");
    expect_error_in(RULE_V2, "Header(`a`, `b`)", 0, "version 2: write Headers");
    expect_error_in(RULE_V2, "PathRegexp(`a`)", 0, "version 2: write Path(");
    expect_error("Headers(`a`, `b`)", 0, "version 3: write Header");
    expect_error("HostHeader(`a`)", 0, "version 3: write Host");
}

static void knows_the_oldest_forms(void **state)
{
    expect("Host:a.test", "host:a.test");
    expect("Host: a.test, b.test", "host:a.test host:b.test |");
    expect("Host:a.test,b.test;PathPrefix:/x,/y",
           "host:a.test host:b.test | prefix:/x prefix:/y | &");
    expect("HostRegexp:{sub:[a-z]{1,3}}.a.test;Method:GET",
           "host~(?i)^(?:[a-z]{1,3})\\.a\\.test$ method:GET &");
    expect("Headers:X-A,b", "field:X-A=b");
    expect_error("Host(`a`);Path(`/`)", 9, "&&, ||");
    expect_error("Host:a;PathPrefixStrip:/x", 7, "middleware");
    expect_error("Host:", 5, "argument");
    expect_error("Host:a,", 7, "argument");
    expect_error_in(RULE_TCP, "ClientIP:::1", 8, "parenthesis");
}

static void knows_tcp(void **state)
{
    expect_in(RULE_TCP, "HostSNI(`*`)", "any");
    expect_in(RULE_TCP, "HostSNI(`A.test`, `*.b.test`)", "host:a.test host:*.b.test |");
    expect_in(RULE_TCP, "HostSNIRegexp(`^.+$`) && ClientIP(`::/0`)", "host~^.+$ ip:::/0 &");
    expect_in(RULE_TCP, "HostSNI(`*`) && ALPN(`h2`)", "any alpn:h2 &");
    expect_error_in(RULE_TCP, "Host(`a`)", 0, "write HostSNI");
    expect_error_in(RULE_TCP, "ALPN(`acme-tls/1`)", 5, "no protocol");
    expect_error("HostSNI(`a`)", 0, "tcp.routers; write Host");
}

static void judges_operands(void **state)
{
    expect_error("HostRegexp(`a(b`)", 12, "missing )");
    expect_error("PathRegexp(`/x[a`)", 14, "missing ]");
    expect_error("PathRegexp(\"/\\\\d[a\")", 11, "missing ]");
    expect_error("HeaderRegexp(`A`, `b**`)", 20, "repetition");
    expect_error("HostRegexp(`b\xc3\xbc`)", 11, "ASCII");
    expect_error("Method(``)", 7, "no method");
    expect_error("Method(`GE T`)", 7, "no method");
    expect_error("Header(`A`)", 0, "two arguments");
    expect_error("Header(`A`, `b`, `c`)", 0, "two arguments");
    expect_error("Header(`A b`, `c`)", 7, "no name of a header field");
    expect_error("Header(`host`, `c`)", 7, "matched with Host()");
    expect_error("Query(`a`, `b`, `c`)", 0, "one or two");
    expect_error("Query(``)", 6, "name of a parameter");
    expect_error("ClientIP(`10.0.0.0/33`)", 9, "CIDR");
    expect_error("ClientIP(`::1`, `host`)", 16, "CIDR");
}

/* Where nobody knows yet which version is meant. */
static void checks_either_version(void **state)
{
    uint32_t column;
    struct why why;
    assert_true(result_is_ok(rule_check("Headers(`A`, `b`)", RULE_V3, &column, &why)));
    assert_true(result_is_ok(rule_check("Header(`A`, `b`)", RULE_V3, &column, &why)));
    assert_true(result_is_ok(rule_check("Path(`/{a}`)", RULE_V3, &column, &why)));
    assert_false(result_is_ok(rule_check("Host(`a`) && Methd(`GET`)", RULE_V3, &column, &why)));
    assert_int_equal(column, 13);
    assert_non_null(strstr(why.text, "did you mean Method?"));
    assert_true(result_is_ok(rule_check("HostSNI(`a`)", RULE_TCP, &column, &why)));
    assert_false(result_is_ok(rule_check("Host(`a`)", RULE_TCP, &column, &why)));
}

static void bounds_depth(void **state)
{
    struct buf text = {0};
    for (int i = 0; i < 2000; i++)
        buf_put_str(&text, i ? " && Path(`/`)" : "Path(`/`)");
    struct rule rule;
    uint32_t column;
    struct why why;
    assert_true(result_is_ok(rule_parse(buf_cstr(&text), RULE_V3, &rule, &column, &why)));
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
        bool good = result_is_ok(rule_parse(buf_cstr(&text), RULE_V3, &rule, &column, &why));
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
    assert_true(result_is_ok(rule_parse(text, RULE_V3, &rule, &column, &why)));
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
    assert_true(result_is_ok(rule_parse("Host(`a`)&&Path(`/`)", RULE_V3, &a, &column, &why)));
    assert_true(
        result_is_ok(rule_parse(" Host(\"A\") && Path(\"/\")", RULE_V3, &b, &column, &why)));
    assert_true(result_is_ok(rule_parse("Host(`a`)&&Path(`/x`)", RULE_V3, &c, &column, &why)));
    assert_int_equal(rule_compare(&a, &b), 0);
    assert_true(rule_compare(&a, &c) < 0 && rule_compare(&c, &a) > 0);
    rule_free(&a);
    rule_free(&b);
    rule_free(&c);
    assert_true(result_is_ok(rule_parse("Header(`A`,`b`)", RULE_V3, &a, &column, &why)));
    assert_true(result_is_ok(rule_parse("Header(`a`,`b`)", RULE_V3, &b, &column, &why)));
    assert_true(result_is_ok(rule_parse("Header(`c`,`b`)", RULE_V3, &c, &column, &why)));
    assert_int_equal(rule_compare(&a, &b), 0);
    assert_true(rule_compare(&a, &c) < 0);
    rule_free(&a);
    rule_free(&b);
    rule_free(&c);
    rule_free(&c);
}

UNIT_TESTS(cmocka_unit_test(parses), cmocka_unit_test(binds_as_traefik_does),
           cmocka_unit_test(says_what_is_wrong_and_where), cmocka_unit_test(knows_every_matcher),
           cmocka_unit_test(knows_the_second_syntax), cmocka_unit_test(knows_the_oldest_forms),
           cmocka_unit_test(knows_tcp), cmocka_unit_test(judges_operands),
           cmocka_unit_test(checks_either_version), cmocka_unit_test(bounds_depth),
           cmocka_unit_test(finds_hosts), cmocka_unit_test(compares))

/* SPDX-License-Identifier: Apache-2.0 */
/* What the rules say of heads that no HTTP/1 codec made; the rest is in h1_test.c. */
#include "data/http/rules.c"

#include "unit.h"

static void every_rule_has_a_row(void **state)
{
    for (int i = 0; i < HTTP_RULE_COUNT; i++) {
        const struct http_reject *r = rules_reject((enum http_rule)i);
        assert_true(strlen(r->id) > 0 && strlen(r->text) > 10);
        assert_true(r->status >= 400 && r->status <= 505);
    }
    assert_string_equal(rules_reject(HTTP_RULE_length_and_coding)->id, "length_and_coding");
}

static void each_rule_is_counted_on_its_own(void **state)
{
    static struct report_page page;
    rules_count(&page, rules_reject(HTTP_RULE_host_bad), false);
    rules_count(&page, rules_reject(HTTP_RULE_expectation), true);
    rules_count(&page, rules_reject(HTTP_RULE_truncated), false); /* left, was not refused */
    for (int c = 0; c < REPORT_COUNT; c++)
        assert_int_equal(page.values[c], c == REPORT_RULE_host_bad || c == REPORT_REQUESTS_BAD ||
                                             c == REPORT_UPSTREAM_RULE_expectation ||
                                             c == REPORT_UPSTREAM_BAD ||
                                             c == REPORT_RULE_truncated);
}

static void authorities(void **state)
{
    static const struct {
        const char *text;
        bool good;
    } rows[] = {
        {"a", true},
        {"A.example-1.test.", true},
        {"_x.y~z:0", true},
        {"1.2.3.4:65535", true},
        {"h:", true},
        {"[::]", true},
        {"[::1]:443", true},
        {"[2001:db8::1.2.3.4]", true},
        {"", false},
        {":80", false},
        {"h:65536", false},
        {"h:000080", false},
        {"h:8a", false},
        {"h:-1", false},
        {"h:80:80", false},
        {"u@h", false},
        {"a/b", false},
        {"a,b", false},
        {"a%41", false},
        {"a b", false},
        {"a\tb", false},
        {"\xc3\xa9", false},
        {"[]", false},
        {"[", false},
        {"[::1", false},
        {"[::1]x", false},
        {"[::1]:", true},
        {"[:::]", false},
        {"[fe80::1%25eth0]", false},
        {"[1.2.3.4]", false},
        {"::1", false},
        {"[0000:0000:0000:0000:0000:0000:0000:0000:0000:0000]", false},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        if (rules_is_authority(span_str(rows[i].text)) != rows[i].good)
            fail_msg("%s", rows[i].text);
    assert_false(rules_is_authority(SPAN_LITERAL("a\0b")));
    assert_false(rules_is_authority(SPAN_LITERAL("[::1\0]")));
    char longest[262];
    memset(longest, 'a', sizeof longest);
    assert_true(rules_is_authority(span_of(longest, 261)));
    assert_false(rules_is_authority(span_of(longest, 262)));
}

static struct http_head h2_head(const char *authority)
{
    struct http_head head = {.major = 2, .minor = 1, .field_count = 0};
    head.method_text = SPAN_LITERAL("GET");
    head.path = SPAN_LITERAL("/");
    head.authority = span_str(authority);
    return head;
}

static void an_authority_stands_for_host(void **state)
{
    struct http_head head = h2_head("h.test");
    assert_null(rules_request(&head));
    assert_int_equal(head.method, HTTP_GET);
    assert_true(head.keep_alive);
    head = h2_head("");
    assert_string_equal(rules_request(&head)->id, "host_missing");
    head.fields[head.field_count++] =
        (struct http_field){.name = SPAN_LITERAL("host"), .value = SPAN_LITERAL("other")};
    assert_null(rules_request(&head));
    assert_true(span_eq(head.authority, SPAN_LITERAL("other")));
    head.authority = SPAN_LITERAL("a b");
    assert_string_equal(rules_request(&head)->id, "host_bad");
}

/* The parser of HTTP/1 refuses these as well; the rules must not count on that. */
static void framing_is_judged_here(void **state)
{
    static const struct {
        const char *names[2], *values[2], *rule;
    } rows[] = {
        {{"Content-Length", "Content-Length"}, {"5", "5"}, "length_twice"},
        {{"Content-Length", "content-length"}, {"5", "6"}, "length_twice"},
        {{"Content-Length", "Transfer-Encoding"}, {"5", "chunked"}, "length_and_coding"},
        {{"Transfer-Encoding", "Content-Length"}, {"chunked", "0"}, "length_and_coding"},
        {{"Transfer-Encoding", "X"}, {"chunked, gzip", ""}, "coding_bad"},
        {{"Content-Length", "X"}, {"5,5", ""}, "length_bad"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        for (int response = 0; response < 2; response++) {
            struct http_head head = h2_head("h");
            head.major = 1;
            head.fields[0] =
                (struct http_field){.name = SPAN_LITERAL("Host"), .value = SPAN_LITERAL("h")};
            for (int f = 0; f < 2; f++)
                head.fields[1 + f] = (struct http_field){.name = span_str(rows[i].names[f]),
                                                         .value = span_str(rows[i].values[f])};
            head.field_count = 3;
            head.is_response = response;
            head.status = response ? 200 : 0;
            const struct http_reject *bad =
                response ? rules_response(&head, HTTP_GET) : rules_request(&head);
            assert_non_null(bad);
            assert_string_equal(bad->id, rows[i].rule);
        }
    }
}

static void names_are_found_whatever_their_case(void **state)
{
    static const struct {
        const char *name;
        int known;
    } rows[] = {
        {"host", HTTP_NAME_HOST},
        {"HOST", HTTP_NAME_HOST},
        {"te", HTTP_NAME_TE},
        {"Expect", HTTP_NAME_EXPECT},
        {"Upgrade", HTTP_NAME_UPGRADE},
        {"Trailer", HTTP_NAME_TRAILER},
        {"X-Real-Ip", HTTP_NAME_X_REAL_IP},
        {"Connection", HTTP_NAME_CONNECTION},
        {"Keep-Alive", HTTP_NAME_KEEP_ALIVE},
        {"CONTENT-length", HTTP_NAME_CONTENT_LENGTH},
        {"X-Forwarded-For", HTTP_NAME_X_FORWARDED_FOR},
        {"Proxy-Connection", HTTP_NAME_PROXY_CONNECTION},
        {"X-Forwarded-Host", HTTP_NAME_X_FORWARDED_HOST},
        {"X-Forwarded-Port", HTTP_NAME_X_FORWARDED_PORT},
        {"Transfer-Encoding", HTTP_NAME_TRANSFER_ENCODING},
        {"X-Forwarded-Proto", HTTP_NAME_X_FORWARDED_PROTO},
        {"X-Forwarded-Server", HTTP_NAME_X_FORWARDED_SERVER},
        {"x_real_ip", -1},
        {"Content_Length", -1},
        {"X_Forwarded-Port", -1},
        {"X-Forwarded_Server", -1},
        {"hos", HTTP_NAME_OTHER},
        {"hosts", HTTP_NAME_OTHER},
        {"hot!", HTTP_NAME_OTHER},
        {"x-forwarded-fort", HTTP_NAME_OTHER},
        {"x_forwarded_fort", HTTP_NAME_OTHER},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        if (find_name(span_str(rows[i].name)) != rows[i].known)
            fail_msg("%s", rows[i].name);
}

static void methods_are_found(void **state)
{
    assert_int_equal(find_method(SPAN_LITERAL("GET")), HTTP_GET);
    assert_int_equal(find_method(SPAN_LITERAL("HEAD")), HTTP_HEAD);
    assert_int_equal(find_method(SPAN_LITERAL("POST")), HTTP_POST);
    assert_int_equal(find_method(SPAN_LITERAL("PUT")), HTTP_PUT);
    assert_int_equal(find_method(SPAN_LITERAL("DELETE")), HTTP_DELETE);
    assert_int_equal(find_method(SPAN_LITERAL("OPTIONS")), HTTP_OPTIONS);
    assert_int_equal(find_method(SPAN_LITERAL("PATCH")), HTTP_PATCH);
    assert_int_equal(find_method(SPAN_LITERAL("TRACE")), HTTP_TRACE);
    assert_int_equal(find_method(SPAN_LITERAL("CONNECT")), HTTP_CONNECT);
    assert_int_equal(find_method(SPAN_LITERAL("get")), HTTP_OTHER);
    assert_int_equal(find_method(SPAN_LITERAL("PROPFIND")), HTTP_OTHER);
    assert_int_equal(find_method(SPAN_LITERAL("")), HTTP_OTHER);
}

static void an_upgrade_is_passed_only_when_asked_for(void **state)
{
    struct http_head head = h2_head("h");
    head.major = 1;
    head.fields[0] = (struct http_field){.name = SPAN_LITERAL("Host"), .value = SPAN_LITERAL("h")};
    head.fields[1] =
        (struct http_field){.name = SPAN_LITERAL("Upgrade"), .value = SPAN_LITERAL("websocket")};
    head.fields[2] =
        (struct http_field){.name = SPAN_LITERAL("Connection"), .value = SPAN_LITERAL("upgrade")};
    head.field_count = 3;
    assert_null(rules_request(&head));
    assert_true(head.upgrade && head.fields[1].drop && head.fields[2].drop);
    rules_pass_upgrade(&head);
    assert_true(!head.fields[1].drop && head.fields[2].drop);
}

static struct span upgrade_of(const char *value, const char *second, uint8_t minor,
                              enum http_body body)
{
    static struct http_head head;
    head = h2_head("h");
    head.major = 1;
    head.minor = minor;
    head.upgrade = true;
    head.body = body;
    head.content_length = body == HTTP_BODY_LENGTH ? 5 : 0;
    head.fields[0] = (struct http_field){
        .name = SPAN_LITERAL("Upgrade"), .value = span_str(value), .known = HTTP_NAME_UPGRADE};
    head.fields[1] = (struct http_field){
        .name = SPAN_LITERAL("Upgrade"), .value = span_str(second), .known = HTTP_NAME_UPGRADE};
    head.field_count = second[0] ? 2 : 1;
    return rules_upgrade(&head);
}

static void only_one_protocol_without_body_may_be_switched_to(void **state)
{
    static const char *const refused[] = {"",      "websocket, x", "web socket",    "h2c",
                                          "H2",    "HTTP/2.0",     "tls/1.0",       "x;y",
                                          "\"x\"", "x\ty",         "websocket\x80", "a,b"};
    assert_true(span_eq(upgrade_of("websocket", "", 1, HTTP_BODY_NONE), SPAN_LITERAL("websocket")));
    assert_true(
        span_eq(upgrade_of("A-b.c_d+e/1", "", 1, HTTP_BODY_NONE), SPAN_LITERAL("A-b.c_d+e/1")));
    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++)
        assert_int_equal(upgrade_of(refused[i], "", 1, HTTP_BODY_NONE).len, 0);
    assert_int_equal(upgrade_of("websocket", "websocket", 1, HTTP_BODY_NONE).len, 0);
    assert_int_equal(upgrade_of("websocket", "", 0, HTTP_BODY_NONE).len, 0);
    assert_int_equal(upgrade_of("websocket", "", 1, HTTP_BODY_LENGTH).len, 0);
    assert_int_equal(upgrade_of("websocket", "", 1, HTTP_BODY_CHUNKED).len, 0);
}

UNIT_TESTS(cmocka_unit_test(every_rule_has_a_row),
           cmocka_unit_test(each_rule_is_counted_on_its_own), cmocka_unit_test(authorities),
           cmocka_unit_test(an_authority_stands_for_host), cmocka_unit_test(framing_is_judged_here),
           cmocka_unit_test(names_are_found_whatever_their_case),
           cmocka_unit_test(methods_are_found),
           cmocka_unit_test(only_one_protocol_without_body_may_be_switched_to),
           cmocka_unit_test(an_upgrade_is_passed_only_when_asked_for))

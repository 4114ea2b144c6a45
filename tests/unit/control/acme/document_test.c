/* SPDX-License-Identifier: Apache-2.0 */
#include "control/acme/document.c"

#include "unit.h"

static struct why why;

static void test_directory(void **state)
{
    struct document_directory d;
    assert_true(result_is_ok(document_directory_parse(
        SPAN_LITERAL("{\"newNonce\":\"https://ca/n\",\"newAccount\":\"https://ca/a\","
                     "\"newOrder\":\"https://ca/o\",\"keyChange\":\"https://ca/k\","
                     "\"meta\":{\"termsOfService\":\"https://ca/tos\","
                     "\"externalAccountRequired\":true,\"profiles\":{\"short\":\"x\"}}}"),
        &d, &why)));
    assert_string_equal(d.new_order, "https://ca/o");
    assert_null(d.revoke_cert);
    assert_string_equal(d.terms, "https://ca/tos");
    assert_true(d.external_account_required);
    assert_int_equal(d.profile_count, 1);
    assert_string_equal(d.profiles[0], "short");
    document_directory_free(&d);
}

static void test_bad_directories(void **state)
{
    static const char *const bad[] = {
        "",
        "[]",
        "null",
        "<html>",
        "{\"newNonce\":\"https://ca/n\",\"newAccount\":\"https://ca/a\"}",
        "{\"newNonce\":1,\"newAccount\":\"https://ca/a\",\"newOrder\":\"https://ca/o\"}",
        "{\"newNonce\":\"ftp://ca/n\",\"newAccount\":\"https://ca/a\",\"newOrder\":\"https://ca/"
        "o\"}",
        "{\"newNonce\":\"https://ca/\\u0000n\",\"newAccount\":\"https://ca/"
        "a\",\"newOrder\":\"https://ca/o\"}",
        "{\"newNonce\":\"https://ca/n\",\"newNonce\":\"https://ca/m\",\"newAccount\":\"https://ca/"
        "a\",\"newOrder\":\"https://ca/o\"}",
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct document_directory d;
        why.text[0] = 0;
        assert_int_equal(document_directory_parse(span_str(bad[i]), &d, &why).code, ERR_FORMAT);
        assert_true(why.text[0] != 0);
    }
}

static void test_order(void **state)
{
    struct document_order o;
    assert_true(result_is_ok(document_order_parse(
        SPAN_LITERAL("{\"status\":\"invalid\",\"authorizations\":[\"https://ca/z/1\",\"https://ca/"
                     "z/2\"],\"finalize\":\"https://ca/f\",\"error\":{\"type\":"
                     "\"urn:ietf:params:acme:error:caa\",\"detail\":\"no\\u0007\",\"subproblems\":"
                     "[{\"detail\":\"policy\",\"identifier\":{\"value\":\"a.test\"}}]}}"),
        &o, &why)));
    assert_int_equal(o.status, DOCUMENT_STATUS_INVALID);
    assert_int_equal(o.authorization_count, 2);
    assert_null(o.certificate);
    assert_string_equal(o.problem.type, "urn:ietf:params:acme:error:caa");
    assert_string_equal(o.problem.detail, "no?; a.test: policy");
    document_order_free(&o);
}

static void test_bad_orders(void **state)
{
    static const char *const bad[] = {
        "{}",
        "{\"status\":\"pending\",\"finalize\":\"https://ca/f\"}",
        "{\"status\":\"pending\",\"authorizations\":[],\"finalize\":\"https://ca/f\"}",
        "{\"status\":\"odd\",\"authorizations\":[\"https://ca/z\"],\"finalize\":\"https://ca/f\"}",
        "{\"status\":\"pending\",\"authorizations\":[3],\"finalize\":\"https://ca/f\"}",
        "{\"status\":\"pending\",\"authorizations\":[\"https://ca/z\"]}",
        ("{\"status\":\"valid\",\"authorizations\":[\"https://ca/z\"],"
         "\"finalize\":\"https://ca/f\"}"),
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct document_order o;
        assert_int_equal(document_order_parse(span_str(bad[i]), &o, &why).code, ERR_FORMAT);
    }
    struct buf many = {0};
    buf_put_str(&many, "{\"status\":\"pending\",\"finalize\":\"https://ca/f\","
                       "\"authorizations\":[\"https://ca/0\"");
    for (int i = 0; i < DOCUMENT_AUTHORIZATIONS_MAX; i++)
        buf_put_str(&many, ",\"https://ca/1\"");
    buf_put_str(&many, "]}");
    struct document_order o;
    assert_int_equal(document_order_parse(buf_span(&many), &o, &why).code, ERR_FORMAT);
    buf_free(&many);
}

#define CHALLENGE(type, token)                                                                     \
    "{\"type\":\"" type "\",\"url\":\"https://ca/c\",\"status\":\"pending\",\"token\":\"" token    \
    "\"}"
#define AUTHORIZATION(name, challenges)                                                            \
    "{\"status\":\"pending\",\"identifier\":{\"type\":\"dns\",\"value\":\"" name                   \
    "\"},\"wildcard\":true,\"challenges\":[" challenges "]}"

static void test_authorization(void **state)
{
    struct document_authorization a;
    assert_true(result_is_ok(document_authorization_parse(
        SPAN_LITERAL(
            AUTHORIZATION("A.Test", CHALLENGE("odd-01", "!!") "," CHALLENGE("dns-01", "abc_-9"))),
        &a, &why)));
    assert_string_equal(a.identifier, "a.test");
    assert_true(a.wildcard);
    assert_int_equal(a.challenge_count, 1); /* the odd one is passed over */
    assert_string_equal(a.challenges[0].token, "abc_-9");
    document_authorization_free(&a);
}

static void test_bad_authorizations(void **state)
{
    static const char *const bad[] = {
        AUTHORIZATION("a.test", CHALLENGE("dns-01", "a b")),
        AUTHORIZATION("a.test", CHALLENGE("http-01", "../../etc/passwd")),
        AUTHORIZATION("a.test", "{\"type\":\"dns-01\",\"token\":\"x\"}"),
        AUTHORIZATION("a test", ""),
        AUTHORIZATION("", ""),
        "{\"status\":\"pending\"}",
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct document_authorization a;
        assert_int_equal(document_authorization_parse(span_str(bad[i]), &a, &why).code, ERR_FORMAT);
    }
}

static void test_problem(void **state)
{
    struct document_problem p;
    document_problem_parse(SPAN_LITERAL("{\"type\":\"about:blank\",\"detail\":\"d\"}"), &p);
    assert_string_equal(p.type, "about:blank");
    document_problem_parse(SPAN_LITERAL("no json"), &p);
    assert_string_equal(p.type, "");
    assert_string_equal(p.detail, "");
}

static void test_urls(void **state)
{
    assert_true(document_is_url("https://ca.test:14000/dir?x=1", false));
    assert_true(document_is_url("http://ca.test/", true));
    assert_false(document_is_url("http://ca.test/", false));
    static const char *const bad[] = {
        "", "https://", "https:///x", "file:///x", "https://a b/", "https://a\"b/", "//a/"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_false(document_is_url(bad[i], true));
}

static void test_times(void **state)
{
    static const struct {
        const char *text;
        int64_t at_s;
    } good[] = {
        {"1970-01-01T00:00:00Z", 0},
        {"2025-01-02T04:00:00Z", 1735790400},
        {"2025-01-02t04:00:00.999z", 1735790400},
        {"2025-01-02T05:30:00+01:30", 1735790400},
        {"2025-01-01T22:00:00-06:00", 1735790400},
        {"2100-02-28T23:59:60Z", 4107542400},
    };
    static const char *const bad[] = {
        "",
        "2025",
        "2025-01-02",
        "2025-01-02T04:00:00",
        "2025-01-02 04:00:00Z",
        "2025-13-02T04:00:00Z",
        "2025-01-32T04:00:00Z",
        "2025-01-02T24:00:00Z",
        "2025-01-02T04:00:00+1",
        "2025-01-02T04:00:00Zx",
        "1900-01-02T04:00:00Z",
        "2025-01-02T04:00:00+01-00",
    };
    int64_t at_s;
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        assert_true(result_is_ok(document_time_parse(good[i].text, &at_s)));
        assert_int_equal(at_s, good[i].at_s);
    }
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_int_equal(document_time_parse(bad[i], &at_s).code, ERR_FORMAT);
}

UNIT_TESTS(cmocka_unit_test(test_times), cmocka_unit_test(test_directory),
           cmocka_unit_test(test_bad_directories), cmocka_unit_test(test_order),
           cmocka_unit_test(test_bad_orders), cmocka_unit_test(test_authorization),
           cmocka_unit_test(test_bad_authorizations), cmocka_unit_test(test_problem),
           cmocka_unit_test(test_urls))

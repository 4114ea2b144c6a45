/* SPDX-License-Identifier: Apache-2.0 */
#include "unit.h"

#include "cloudflare/answer.c"
#include "fake_host.h"

static struct answer read_text(const char *text)
{
    return answer_read(fake_str(text));
}

static void test_no_object(void **state)
{
    static const char *const texts[] = {"", "[]", "1", "{", "{\"success\":true", "<html>", "{} {}"};
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        struct answer a = read_text(texts[i]);
        char text[ANSWER_TEXT_BYTES], id[ANSWER_ID_BYTES];
        assert_null(a.root);
        assert_false(answer_is_success(&a) || answer_is_list(&a) || answer_has_more(&a, 1));
        assert_false(answer_record_id(&a, id));
        assert_int_equal(answer_zones(&a, fake_str("a"), id), 0);
        assert_string_equal(answer_errors(&a, text), "");
        answer_free(&a);
    }
}

static void test_errors(void **state)
{
    struct answer a = read_text("{\"success\":false,\"errors\":[{\"code\":6003,\"message\":\"Bad\","
                                "\"error_chain\":[{\"code\":6111,\"message\":\"Worse\"}]},"
                                "{\"code\":7},{\"code\":1,\"message\":\"Last\"}, 5, null]}");
    char text[ANSWER_TEXT_BYTES];
    assert_string_equal(answer_errors(&a, text), "6003: Bad; 6111: Worse; 1: Last");
    assert_true(answer_has_code(&a, (int[]){1, 2, 0}) && answer_has_code(&a, (int[]){6111, 0}));
    assert_false(answer_has_code(&a, (int[]){6112, 0}) || answer_is_success(&a));
    answer_free(&a);
}

static void test_many_errors(void **state)
{
    struct buf body = {0};
    buf_put_str(&body, "{\"errors\":[");
    for (int i = 0; i < 100; i++)
        buf_printf(&body, "%s{\"code\":%d,\"message\":\"some words\"}", i ? "," : "", i);
    buf_put_str(&body, "]}");
    struct answer a = read_text(buf_cstr(&body));
    char text[ANSWER_TEXT_BYTES];
    assert_int_equal(strlen(answer_errors(&a, text)), ANSWER_TEXT_BYTES - 1);
    answer_free(&a);
    buf_free(&body);
}

static void test_zones(void **state)
{
    struct answer a = read_text(
        "{\"result\":[{\"id\":\"no/id\",\"name\":\"a.test\"},{\"id\":\"1\",\"name\":\"ba.test\"},"
        "{\"id\":\"2\",\"name\":\"A.test\"},{\"id\":\"3\",\"name\":\"a.test\"},{\"name\":\"a."
        "test\"},"
        "{\"id\":\"4\",\"name\":\"\\u00e4.test\"},{\"id\":5,\"name\":\"a.test\"}]}");
    char id[ANSWER_ID_BYTES];
    assert_int_equal(answer_zones(&a, fake_str("a.test"), id), 3);
    assert_string_equal(id, "2");
    assert_int_equal(answer_zones(&a, fake_str("xn--4ca.test"), id), 1);
    assert_string_equal(id, "4");
    answer_free(&a);
}

static bool is_value(const char *content, const char *value)
{
    return content_is(content, fake_str(value));
}

static void test_content(void **state)
{
    assert_true(is_value("v", "v") && is_value("\"v\"", "v") && is_value("\"v\" \"w\"", "vw"));
    assert_true(is_value("\"a\\\"b\\\\\"", "a\"b\\") && is_value("\"\\118\"", "v"));
    assert_true(is_value("", "") && is_value("\"\"", "") && is_value("a\\b", "a\\b"));
    assert_false(is_value("v", "vv") || is_value("vv", "v") || is_value("\"v", "v"));
    assert_false(is_value("V", "v") || is_value("\"v\\", "v") || is_value("\"", ""));
}

static void test_records(void **state)
{
    struct answer a = read_text(
        "{\"result\":[{\"id\":\"1\",\"type\":\"A\",\"name\":\"n.test\",\"content\":\"v\"},"
        "{\"id\":\"2\",\"type\":\"TXT\",\"name\":\"m.test\",\"content\":\"v\"},"
        "{\"id\":\"3\",\"type\":\"TXT\",\"name\":\"n.test\",\"content\":\"w\"},"
        "{\"id\":\"../4\",\"type\":\"TXT\",\"name\":\"n.test\",\"content\":\"v\"},"
        "{\"id\":\"5\",\"type\":\"TXT\",\"name\":\"N.test\",\"content\":\"\\\"v\\\"\"}],"
        "\"result_info\":{\"total_pages\":3}}");
    char id[ANSWER_ID_BYTES];
    assert_true(answer_find_txt(&a, fake_str("n.test"), fake_str("v"), id));
    assert_string_equal(id, "5");
    assert_false(answer_find_txt(&a, fake_str("n.test"), fake_str("x"), id));
    assert_true(answer_is_list(&a) && answer_has_more(&a, 2) && !answer_has_more(&a, 3));
    answer_free(&a);
}

UNIT_TESTS(cmocka_unit_test(test_no_object), cmocka_unit_test(test_errors),
           cmocka_unit_test(test_many_errors), cmocka_unit_test(test_zones),
           cmocka_unit_test(test_content), cmocka_unit_test(test_records))

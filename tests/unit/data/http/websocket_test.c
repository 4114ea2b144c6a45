/* SPDX-License-Identifier: Apache-2.0 */
#include "data/http/websocket.c"

#include "unit.h"

/* RFC 6455 section 1.3. */
static void the_answer_to_a_key(void **state)
{
    char accept[WEBSOCKET_ACCEPT_LEN];
    assert_true(websocket_accept(SPAN_LITERAL("dGhlIHNhbXBsZSBub25jZQ=="), accept));
    assert_memory_equal(accept, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=", sizeof accept);
    assert_false(websocket_accept(SPAN_LITERAL("dGhlIHNhbXBsZSBub25jZQ="), accept));
    assert_false(websocket_accept((struct span){0}, accept));
}

/* RFC 4648 section 10. */
static void base64(void **state)
{
    static const char *const rows[][2] = {{"f", "Zg=="},         {"fo", "Zm8="},
                                          {"foo", "Zm9v"},       {"foob", "Zm9vYg=="},
                                          {"fooba", "Zm9vYmE="}, {"foobar", "Zm9vYmFy"}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char text[16] = "";
        encode((const uint8_t *)rows[i][0], strlen(rows[i][0]), text);
        assert_string_equal(text, rows[i][1]);
    }
}

static void keys_differ(void **state)
{
    char one[WEBSOCKET_KEY_LEN], other[WEBSOCKET_KEY_LEN];
    assert_int_equal(websocket_key(one).code, ERR_NONE);
    assert_int_equal(websocket_key(other).code, ERR_NONE);
    assert_memory_not_equal(one, other, sizeof one);
    assert_memory_equal(one + sizeof one - 2, "==", 2);
}

static void fields(void **state)
{
    static struct http_head head;
    head.field_count = 0;
    assert_int_equal(websocket_key_of(&head).len, 0);
    assert_true(http_head_add(&head, SPAN_LITERAL("Sec-WebSocket-Key"), SPAN_LITERAL("k")));
    assert_true(http_head_add(&head, SPAN_LITERAL("SEC-websocket-ACCEPT"), SPAN_LITERAL("a")));
    assert_true(http_head_add(&head, SPAN_LITERAL("sec-websocket-accept"), SPAN_LITERAL("b")));
    assert_true(span_eq(websocket_key_of(&head), SPAN_LITERAL("k")));
    assert_true(span_eq(websocket_accept_of(&head), SPAN_LITERAL("a")));
    websocket_drop_accept(&head);
    assert_true(!head.fields[0].drop && head.fields[1].drop && head.fields[2].drop);
    assert_int_equal(websocket_accept_of(&head).len, 0);
    websocket_drop_key(&head);
    assert_true(head.fields[0].drop);
}

static void names(void **state)
{
    assert_true(websocket_is(SPAN_LITERAL("websocket")) && websocket_is(SPAN_LITERAL("WebSocket")));
    assert_false(websocket_is(SPAN_LITERAL("websocket2")) || websocket_is((struct span){0}));
}

UNIT_TESTS(cmocka_unit_test(the_answer_to_a_key), cmocka_unit_test(base64),
           cmocka_unit_test(keys_differ), cmocka_unit_test(fields), cmocka_unit_test(names))

/* SPDX-License-Identifier: Apache-2.0 */
#include "unit.h"

#include "control/provider/wire.c"

static struct wire_message m, back;

static void round_trip(void)
{
    struct buf bytes = {0};
    assert_int_equal(wire_encode(&m, &bytes).code, ERR_NONE);
    assert_int_equal(wire_decode(buf_span(&bytes), &back).code, ERR_NONE);
    assert_int_equal(back.kind, m.kind);
    /* Every shorter message is refused, and so is one with a byte too many. */
    for (size_t cut = 0; cut < bytes.len; cut++)
        assert_int_equal(wire_decode(span_of(bytes.ptr, cut), &(struct wire_message){0}).code,
                         ERR_FORMAT);
    struct buf longer = {0};
    buf_put_span(&longer, buf_span(&bytes));
    buf_put(&longer, "x", 1);
    assert_int_equal(wire_decode(buf_span(&longer), &(struct wire_message){0}).code, ERR_FORMAT);
    buf_free(&longer);
    buf_free(&bytes);
}

static void test_call(void **state)
{
    memset(&m, 0, sizeof m);
    m.kind = WIRE_CALL;
    m.call = (struct wire_call){.id = 7,
                                .operation = WIRE_CLEANUP,
                                .deadline_ns = 1ull << 60,
                                .fqdn = SPAN_LITERAL("_acme-challenge.a.test."),
                                .value = SPAN_LITERAL("v"),
                                .state = span_of("a\0b", 3)};
    struct buf bytes = {0};
    assert_int_equal(wire_encode(&m, &bytes).code, ERR_NONE);
    assert_int_equal(wire_decode(buf_span(&bytes), &back).code, ERR_NONE);
    assert_int_equal(back.call.id, 7);
    assert_int_equal(back.call.operation, WIRE_CLEANUP);
    assert_true(back.call.deadline_ns == 1ull << 60);
    assert_true(span_eq(back.call.fqdn, m.call.fqdn));
    assert_true(span_eq(back.call.state, m.call.state));
    assert_int_equal(back.call.zone.len, 0);
    buf_free(&bytes);
    round_trip();
}

static void test_hello_and_ready(void **state)
{
    memset(&m, 0, sizeof m);
    m.kind = WIRE_HELLO;
    m.hello.code = SPAN_LITERAL("rfc2136");
    m.hello.path = SPAN_LITERAL("/x.so");
    m.hello.log_level = LOG_LEVEL_DEBUG;
    assert_int_equal(wire_list_add(&m.hello.env, SPAN_LITERAL("NAME")).code, ERR_NONE);
    assert_int_equal(wire_list_add(&m.hello.env, SPAN_LITERAL("value")).code, ERR_NONE);
    round_trip();
    memset(&m, 0, sizeof m);
    m.kind = WIRE_READY;
    m.ready.name = SPAN_LITERAL("rfc2136");
    m.ready.ttl_s = 120;
    round_trip();
}

static void test_lists(void **state)
{
    memset(&m, 0, sizeof m);
    m.kind = WIRE_NAMES;
    for (int i = 0; i < WIRE_LIST_MAX; i++)
        assert_int_equal(wire_list_add(&m.names, SPAN_LITERAL("N")).code, ERR_NONE);
    assert_int_equal(wire_list_add(&m.names, SPAN_LITERAL("N")).code, ERR_TOO_LARGE);
    struct buf bytes = {0};
    assert_int_equal(wire_encode(&m, &bytes).code, ERR_NONE);
    assert_int_equal(wire_decode(buf_span(&bytes), &back).code, ERR_NONE);
    assert_int_equal(back.names.count, WIRE_LIST_MAX);
    bytes.len = 0;
    m.kind = WIRE_ENVIRON;
    m.variables.count = 3; /* names and values come in pairs */
    assert_int_equal(wire_encode(&m, &bytes).code, ERR_TOO_LARGE);
    buf_free(&bytes);
}

static void test_limits(void **state)
{
    static uint8_t large[WIRE_BYTES_MAX];
    struct buf bytes = {0};
    memset(&m, 0, sizeof m);
    m.kind = WIRE_CALL;
    m.call = (struct wire_call){.id = 1, .operation = WIRE_PRESENT};
    m.call.state = span_of(large, PROVIDER_STATE_MAX);
    assert_int_equal(wire_encode(&m, &bytes).code, ERR_NONE);
    bytes.len = 0;
    m.call.state.len++;
    assert_int_equal(wire_encode(&m, &bytes).code, ERR_TOO_LARGE);
    bytes.len = 0;
    memset(&m, 0, sizeof m);
    m.kind = WIRE_NAMES;
    assert_int_equal(wire_list_add(&m.names, span_of(large, sizeof large)).code, ERR_NONE);
    assert_int_equal(wire_encode(&m, &bytes).code, ERR_TOO_LARGE);
    buf_free(&bytes);
}

static void test_enumerators_are_checked(void **state)
{
    static const struct {
        const char *bytes;
        size_t len;
    } bad[] = {
        {"\0", 1},
        {"\10", 1},
        {"\7\4\0\0\0\0", 6},                                  /* log level 4 */
        {"\6\0\0\0\0\0\0\0\1\7\0\0\0\0\0\0\0\0\0\0\0\0", 22}, /* verdict 7 */
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_int_equal(wire_decode(span_of(bad[i].bytes, bad[i].len), &back).code, ERR_FORMAT);
    assert_int_equal(
        wire_decode(span_of("\6\0\0\0\0\0\0\0\1\6\0\0\0\0\0\0\0\0\0\0\0\0", 22), &back).code,
        ERR_NONE);
    assert_int_equal(back.answer.verdict, PROVIDER_GONE);
}

UNIT_TESTS(cmocka_unit_test(test_call), cmocka_unit_test(test_hello_and_ready),
           cmocka_unit_test(test_lists), cmocka_unit_test(test_limits),
           cmocka_unit_test(test_enumerators_are_checked))

/* SPDX-License-Identifier: Apache-2.0 */
#include "bridge/wire.c"

#include "unit.h"

static void frames_round_trip(void **state)
{
    struct buf b = {0};
    size_t mark = wire_begin(&b, WIRE_NAME);
    wire_put_span(&b, SPAN_LITERAL("hello"));
    wire_end(&b, mark);
    wire_end(&b, wire_begin(&b, WIRE_SYNC_END));

    struct wire_message m;
    size_t used;
    for (size_t n = 0; n < WIRE_HEADER_BYTES + 9; n++)
        assert_int_equal(wire_next(span_first(buf_span(&b), n), &m, &used).code, ERR_AGAIN);
    assert_true(result_is_ok(wire_next(buf_span(&b), &m, &used)));
    assert_int_equal(m.type, WIRE_NAME);
    assert_int_equal(used, WIRE_HEADER_BYTES + 9);
    struct reader r = reader_of(m.body);
    assert_true(span_eq(wire_get_span(&r), SPAN_LITERAL("hello")));
    assert_true(!r.bad && !r.left);
    assert_true(result_is_ok(wire_next(span_skip(buf_span(&b), used), &m, &used)));
    assert_int_equal(m.type, WIRE_SYNC_END);
    assert_int_equal(m.body.len, 0);
    buf_free(&b);
}

static void refuses(void **state)
{
    struct buf b = {0};
    struct wire_message m;
    size_t used;
    wire_end(&b, wire_begin(&b, WIRE_SYNC_END));
    static const struct {
        size_t at;
        uint8_t value;
        enum err_code code;
    } cases[] = {
        {0, 'f', ERR_FORMAT},
        {3, 0, ERR_FORMAT},
        {4, 2, ERR_VERSION},
        {5, 0, ERR_FORMAT},
        {5, WIRE_TYPE_END, ERR_FORMAT},
        {6, 1, ERR_FORMAT},
        {7, 1, ERR_FORMAT},
        {8, 2, ERR_FORMAT}, /* 32 MB */
        {11, 1, ERR_AGAIN},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        uint8_t was = b.ptr[cases[i].at];
        b.ptr[cases[i].at] = cases[i].value;
        assert_int_equal(wire_next(buf_span(&b), &m, &used).code, cases[i].code);
        b.ptr[cases[i].at] = was;
    }
    assert_int_equal(wire_next(SPAN_LITERAL("G"), &m, &used).code, ERR_FORMAT);
    assert_int_equal(wire_next((struct span){NULL, 0}, &m, &used).code, ERR_AGAIN);
    buf_free(&b);
}

static void addresses_round_trip(void **state)
{
    static const char *const texts[] = {"192.0.2.1:80", "[2001:db8::1]:65535", "[::]:1"};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        struct net_addr a, back;
        struct buf b = {0};
        assert_true(result_is_ok(net_addr_parse(span_str(texts[i]), 0, &a)));
        wire_put_addr(&b, &a);
        for (size_t n = 0; n < b.len; n++) {
            struct reader cut = reader_of(span_first(buf_span(&b), n));
            wire_get_addr(&cut);
            assert_true(cut.bad);
        }
        struct reader r = reader_of(buf_span(&b));
        back = wire_get_addr(&r);
        assert_true(!r.bad && !r.left);
        assert_true(net_addr_eq(&a, &back));
        buf_free(&b);
    }
    struct reader bad = reader_of(SPAN_LITERAL("\5\0\1\1\2\3\4"));
    wire_get_addr(&bad);
    assert_true(bad.bad);
}

UNIT_TESTS(cmocka_unit_test(frames_round_trip), cmocka_unit_test(refuses),
           cmocka_unit_test(addresses_round_trip))

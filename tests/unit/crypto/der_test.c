/* SPDX-License-Identifier: Apache-2.0 */
#include "crypto/der.c"

#include "unit.h"

static void lengths_round_trip(void **state)
{
    static const size_t lens[] = {0, 1, 127, 128, 255, 256, 65535, 65536, 70000};
    for (size_t i = 0; i < sizeof lens / sizeof *lens; i++) {
        struct buf b = {0}, content = {0};
        memset(buf_reserve(&content, lens[i] + 1), 7, lens[i] + 1);
        content.len = lens[i];
        der_put(&b, DER_OCTET_STRING, buf_span(&content));
        struct span in = buf_span(&b), value, whole;
        uint8_t tag;
        assert_true(result_is_ok(der_any(&in, &tag, &value, &whole)));
        assert_int_equal(tag, DER_OCTET_STRING);
        assert_true(span_eq(value, buf_span(&content)));
        assert_int_equal(whole.len, b.len);
        assert_int_equal(in.len, 0);
        buf_free(&b);
        buf_free(&content);
    }
}

static void refuses(void **state)
{
    static const struct span bad[] = {
        {NULL, 0},
        SPAN_LITERAL("\x30"),
        SPAN_LITERAL("\x30\x80\x00\x00"),         /* indefinite */
        SPAN_LITERAL("\x30\x81\x01\x00"),         /* not minimal */
        SPAN_LITERAL("\x30\x82\x00\x80"),         /* not minimal */
        SPAN_LITERAL("\x30\x84\xff\xff\xff\xff"), /* past the end */
        SPAN_LITERAL("\x30\x85\x00\x00\x00\x00\x01"),
        SPAN_LITERAL("\x1f\x01\x00"), /* long tag */
        SPAN_LITERAL("\x30\x02\x00"),
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct span in = bad[i];
        assert_false(result_is_ok(der_any(&in, NULL, NULL, NULL)));
        assert_int_equal(in.len, bad[i].len);
    }
}

static void integers(void **state)
{
    uint32_t n;
    struct span in = SPAN_LITERAL("\x02\x01\x05"), v;
    assert_true(result_is_ok(der_get_small(&in, &n)));
    assert_int_equal(n, 5);
    in = SPAN_LITERAL("\x02\x01\x80"); /* negative */
    assert_false(result_is_ok(der_get_small(&in, &n)));
    in = SPAN_LITERAL("\x02\x00");
    assert_false(result_is_ok(der_get_unsigned(&in, &v)));
    in = SPAN_LITERAL("\x02\x05\x01\x00\x00\x00\x00");
    assert_false(result_is_ok(der_get_small(&in, &n)));
    struct buf b = {0};
    der_put_unsigned(&b, SPAN_LITERAL("\x00\x00\x80\x01"));
    assert_true(span_eq(buf_span(&b), SPAN_LITERAL("\x02\x03\x00\x80\x01")));
    in = buf_span(&b);
    assert_true(result_is_ok(der_get_unsigned(&in, &v)));
    assert_true(span_eq(v, SPAN_LITERAL("\x80\x01")));
    buf_free(&b);
}

UNIT_TESTS(cmocka_unit_test(lengths_round_trip), cmocka_unit_test(refuses),
           cmocka_unit_test(integers))

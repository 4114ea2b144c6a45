/* SPDX-License-Identifier: Apache-2.0 */
#include "base/span.h"

#include "unit.h"

static void reader_stops_at_the_end(void **state)
{
    struct reader r = reader_of(SPAN_LITERAL("\x01\x02\x03\x04\x05"));
    assert_int_equal(reader_u8(&r), 1);
    assert_int_equal(reader_u16(&r), 0x0203);
    assert_int_equal(reader_u32(&r), 0);
    assert_true(r.bad);
    assert_int_equal(reader_u8(&r), 0);
}

static void writer_stops_at_the_end(void **state)
{
    uint8_t mem[4] = {0};
    struct writer w = writer_of(mem, 3);
    writer_be(&w, 0x0102, 2);
    writer_be(&w, 0x0304, 2);
    assert_true(w.bad);
    assert_int_equal(w.len, 2);
    assert_memory_equal(mem, "\x01\x02\x00\x00", 4);
}

static void comparisons(void **state)
{
    assert_true(span_eq_nocase(span_str("Host"), span_str("hOST")));
    assert_false(span_eq(span_str("a"), span_str("ab")));
    assert_true(span_starts_with(span_str("/api/x"), span_str("/api")));
    assert_int_equal(span_find(span_str("a:b"), ':'), 1);
    assert_int_equal(span_find(span_str("ab"), ':'), 2);
    assert_int_equal(span_skip(span_str("ab"), 9).len, 0);
}

UNIT_TESTS(cmocka_unit_test(reader_stops_at_the_end), cmocka_unit_test(writer_stops_at_the_end),
           cmocka_unit_test(comparisons))

/* SPDX-License-Identifier: Apache-2.0 */
#include "base/buf.c"

#include "unit.h"

static void copies_have_no_room_to_spare(void **state)
{
    struct buf empty = buf_copy(span_of(NULL, 0)), b = buf_copy(SPAN_LITERAL("abc"));
    assert_int_equal(empty.len, 0);
    assert_int_equal(b.cap, 3);
    assert_memory_equal(b.ptr, "abc", 3);
    buf_put_str(&b, "def");
    assert_string_equal(buf_cstr(&b), "abcdef");
    buf_free(&b);
    buf_free(&empty);
}

static void gives_back_what_is_not_used(void **state)
{
    struct buf b = {0};
    buf_fit(&b);
    assert_null(b.ptr);
    buf_put_str(&b, "text");
    assert_true(b.cap > 4);
    buf_fit(&b);
    assert_int_equal(b.cap, 4);
    buf_fit(&b);
    buf_put_str(&b, " and more");
    assert_string_equal(buf_cstr(&b), "text and more");
    b.len = 0;
    buf_fit(&b);
    assert_null(b.ptr);
}

static void prints_texts_of_any_length(void **state)
{
    char *text = mem_printf("%s%u", "x", 7u), *wide = mem_printf("%*s", 1000, "y");
    assert_string_equal(text, "x7");
    assert_int_equal(strlen(wide), 1000);
    free(text);
    free(wide);
}

UNIT_TESTS(cmocka_unit_test(copies_have_no_room_to_spare),
           cmocka_unit_test(gives_back_what_is_not_used),
           cmocka_unit_test(prints_texts_of_any_length))

/* SPDX-License-Identifier: Apache-2.0 */
#include "base/siphash.c"

#include "unit.h"

static const struct siphash_key key = {{1, 2}}, other = {{1, 3}};

static uint64_t hash(const char *a, const char *b)
{
    return siphash(&key, span_str(a), span_str(b));
}

static void parts_are_parts(void **state)
{
    assert_true(hash("ab", "c") == hash("ab", "c"));
    assert_true(hash("ab", "c") != hash("a", "bc"));
    assert_true(hash("", "abc") != hash("abc", ""));
    assert_true(hash("a", "") != hash("", ""));
    assert_true(siphash(&key, SPAN_LITERAL("a"), SPAN_LITERAL("\0")) != hash("a", ""));
    assert_true(siphash(&other, SPAN_LITERAL("a"), SPAN_LITERAL("b")) != hash("a", "b"));
}

/* Each bit of the input changes about half of the output. */
static void every_bit_counts(void **state)
{
    uint8_t text[40] = {0};
    uint64_t was = siphash(&key, span_of(text, 17), span_of(text + 17, 23));
    for (int bit = 0; bit < 320; bit++) {
        text[bit / 8] ^= (uint8_t)(1 << bit % 8);
        uint64_t now = siphash(&key, span_of(text, 17), span_of(text + 17, 23));
        assert_in_range(__builtin_popcountll(was ^ now), 10, 54);
        text[bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
}

UNIT_TESTS(cmocka_unit_test(parts_are_parts), cmocka_unit_test(every_bit_counts))

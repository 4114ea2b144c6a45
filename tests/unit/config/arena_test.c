/* SPDX-License-Identifier: Apache-2.0 */
#include "config/arena.c"

#include "unit.h"

static void blocks_do_not_overlap(void **state)
{
    struct arena *a = arena_create();
    uint8_t *blocks[300];
    for (size_t i = 0; i < 300; i++) {
        size_t n = i * 977 % 40000 + 1;
        blocks[i] = arena_alloc(a, n);
        assert_int_equal((uintptr_t)blocks[i] % alignof(max_align_t), 0);
        for (size_t k = 0; k < n; k++)
            assert_int_equal(blocks[i][k], 0);
        memset(blocks[i], (int)(i % 251 + 1), n);
    }
    for (size_t i = 0; i < 300; i++) {
        size_t n = i * 977 % 40000 + 1;
        for (size_t k = 0; k < n; k++)
            assert_int_equal(blocks[i][k], i % 251 + 1);
    }
    arena_destroy(a);
    arena_destroy(NULL);
}

static void small_blocks_share_a_chunk_after_a_large_one(void **state)
{
    struct arena *a = arena_create();
    char *first = arena_strdup(a, "x");
    arena_alloc(a, CHUNK_BYTES * 3);
    char *second = arena_strdup(a, "y");
    assert_true(second > first && second - first <= 64);
    arena_destroy(a);
}

static void prints(void **state)
{
    struct arena *a = arena_create();
    assert_string_equal(arena_printf(a, "%s-%05d", "long", 7), "long-00007");
    assert_string_equal(arena_strndup(a, "abcdef", 3), "abc");
    assert_string_equal(arena_strndup(a, NULL, 0), "");
    assert_memory_equal(arena_dup(a, "a\0b", 3), "a\0b", 3);
    arena_destroy(a);
}

UNIT_TESTS(cmocka_unit_test(blocks_do_not_overlap),
           cmocka_unit_test(small_blocks_share_a_chunk_after_a_large_one), cmocka_unit_test(prints))

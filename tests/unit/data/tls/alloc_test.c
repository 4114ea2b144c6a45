/* SPDX-License-Identifier: Apache-2.0 */
#include "data/tls/alloc.c"

#include "unit.h"

static void sizes_fit(void **state)
{
    assert_int_equal(size_bytes(SIZE_COUNT - 1), ALLOC_BLOCK_MAX);
    for (size_t n = ALLOC_SMALL_MAX + 1; n <= ALLOC_BLOCK_MAX; n++) {
        size_t i = size_for(n);
        assert_true(i < SIZE_COUNT && size_bytes(i) >= n);
        if (i)
            assert_true(size_bytes(i - 1) < n);
    }
    for (size_t n = 0; n < 30000; n++) {
        size_t i = size_within(n);
        if (i == SIZE_COUNT) {
            assert_true(n < size_bytes(0) || n >= ALLOC_BLOCK_MAX + COARSE_STEP);
            continue;
        }
        assert_true(size_bytes(i) <= n);
        if (i + 1 < SIZE_COUNT)
            assert_true(size_bytes(i + 1) > n);
    }
}

static void blocks_come_back(void **state)
{
    void *a = alloc_take(2000), *b = alloc_take(2000);
    assert_true(a != b);
    memset(a, 1, 2000);
    memset(b, 2, 2000);
    alloc_give_back(a);
    assert_ptr_equal(alloc_take(1930), a);
    void *c = alloc_take(2000);
    assert_true(c != a && c != b);
    alloc_give_back(NULL);
    alloc_give_back(a);
    alloc_give_back(b);
    alloc_give_back(c);
    alloc_release();
    free(alloc_take(2000));
    alloc_give_back(malloc(2000)); /* malloc's own are welcome */
    alloc_release();
}

static void counts_what_is_in_use(void **state)
{
    uint64_t before = alloc_used();
    void *small = alloc_take(100), *block = alloc_take(2000), *huge = alloc_take(100000);
    assert_int_equal(alloc_used(), before + 3);
    block = alloc_grow(block, 4000);
    small = alloc_grow(small, 50);
    void *fresh = alloc_grow(NULL, 10);
    assert_int_equal(alloc_used(), before + 4);
    alloc_give_back(NULL);
    alloc_give_back(small);
    alloc_give_back(block);
    alloc_give_back(huge);
    alloc_give_back(fresh);
    assert_int_equal(alloc_used(), before);
    alloc_release();
}

static void lists_are_bounded(void **state)
{
    static void *many[200];
    size_t i = size_for(4096);
    for (int k = 0; k < 200; k++)
        many[k] = alloc_take(4096);
    for (int k = 0; k < 200; k++)
        alloc_give_back(many[k]);
    assert_int_equal(lists.count[i], ALLOC_KEEP_BYTES / 4096);
    alloc_release();
    assert_int_equal(lists.count[i], 0);
    assert_null(lists.first[i]);
}

static void growing_keeps_the_content(void **state)
{
    uint8_t *p = NULL;
    size_t have = 0;
    for (size_t n = 1; n < 100000; n = n * 3 / 2 + 1) {
        p = alloc_grow(p, n);
        assert_non_null(p);
        for (size_t i = 0; i < have; i++)
            assert_int_equal(p[i], (uint8_t)i);
        for (size_t i = have; i < n; i++)
            p[i] = (uint8_t)i;
        have = n;
    }
    assert_ptr_equal(alloc_grow(p, 5), p);
    alloc_give_back(p);
    alloc_release();
}

UNIT_TESTS(cmocka_unit_test(sizes_fit), cmocka_unit_test(blocks_come_back),
           cmocka_unit_test(counts_what_is_in_use), cmocka_unit_test(lists_are_bounded),
           cmocka_unit_test(growing_keeps_the_content))

/* SPDX-License-Identifier: Apache-2.0 */
#include "data/tls/alloc.c"

#include "unit.h"

static void classes_fit(void **state)
{
    for (size_t n = 1; n <= ALLOC_BLOCK_MAX; n++) {
        size_t c = class_of(n);
        assert_true(c < CLASS_COUNT);
        assert_true(class_bytes(c) >= n);
        if (c)
            assert_true(class_bytes(c - 1) < n);
    }
    assert_int_equal(class_of(0), 0);
    assert_int_equal(class_of(ALLOC_BLOCK_MAX), CLASS_COUNT - 1);
    assert_int_equal(class_of(ALLOC_BLOCK_MAX + 1), CLASS_LARGE);
    assert_int_equal(class_of(SIZE_MAX), CLASS_LARGE);
}

static void blocks_come_back(void **state)
{
    void *a = alloc_take(1000), *b = alloc_take(1000);
    assert_true(a != b);
    assert_int_equal((uintptr_t)a % 16, 0);
    memset(a, 1, 1000);
    memset(b, 2, 1000);
    alloc_give_back(a);
    assert_ptr_equal(alloc_take(900), a);
    void *c = alloc_take(900);
    assert_true(c != a && c != b);
    alloc_give_back(NULL);
    alloc_give_back(a);
    alloc_give_back(b);
    alloc_give_back(c);
    alloc_release();
}

static void lists_are_bounded(void **state)
{
    static void *many[2000];
    for (int i = 0; i < 2000; i++)
        many[i] = alloc_take(4096);
    for (int i = 0; i < 2000; i++)
        alloc_give_back(many[i]);
    assert_int_equal(lists.count[class_of(4096)], ALLOC_KEEP_BYTES / 4096);
    alloc_release();
    assert_int_equal(lists.count[class_of(4096)], 0);
    assert_null(lists.free[class_of(4096)]);
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

static void too_much_is_refused(void **state)
{
    volatile size_t huge = SIZE_MAX - 3;
    assert_null(alloc_take(huge));
}

UNIT_TESTS(cmocka_unit_test(classes_fit), cmocka_unit_test(blocks_come_back),
           cmocka_unit_test(lists_are_bounded), cmocka_unit_test(growing_keeps_the_content),
           cmocka_unit_test(too_much_is_refused))

/* SPDX-License-Identifier: Apache-2.0 */
#include "base/slab.c"

#include "unit.h"

static void handles_die_with_their_slot(void **state)
{
    struct slab s;
    assert_true(result_is_ok(slab_init(&s, 3, 100)));
    uint32_t a, b, c, d;
    char *first = slab_take(&s, &a);
    uint32_t gen = slab_gen(&s, a);
    first[5] = 'x';
    assert_ptr_equal(slab_get(&s, a, gen), first);
    assert_non_null(slab_take(&s, &b));
    assert_non_null(slab_take(&s, &c));
    assert_null(slab_take(&s, &d));
    slab_give_back(&s, a);
    assert_null(slab_get(&s, a, gen));
    char *again = slab_take(&s, &d);
    assert_int_equal(d, a);
    assert_int_equal(again[5], 0);
    assert_null(slab_get(&s, a, gen));
    assert_ptr_equal(slab_get(&s, d, slab_gen(&s, d)), again);
    assert_null(slab_get(&s, 77, gen));
    assert_int_equal(s.used, 3);
    slab_fini(&s);
}

static void a_tail_may_stay_as_it_was(void **state)
{
    struct slab s;
    uint32_t i;
    assert_true(result_is_ok(slab_init(&s, 1, 100)));
    slab_clear_less(&s, 10);
    char *first = slab_take(&s, &i);
    memset(first, 'x', 100);
    slab_give_back(&s, i);
    char *again = slab_take(&s, &i);
    assert_int_equal(again[9], 0);
    assert_int_equal(again[10], 'x');
    slab_fini(&s);
}

UNIT_TESTS(cmocka_unit_test(handles_die_with_their_slot),
           cmocka_unit_test(a_tail_may_stay_as_it_was))

/* SPDX-License-Identifier: Apache-2.0 */
#include "data/route/bucket.c"

#include "unit.h"

#define SECOND 1000000000ull

static void keeps_the_rate(void **state)
{
    struct bucket_table t;
    uint64_t wait, now = SECOND, passed = 0;
    assert_true(result_is_ok(bucket_table_init(&t)));
    for (int i = 0; i < 100000; i++, now += SECOND / 1000) /* 1,000 a second for 100 s */
        passed += bucket_take(&t, 7, 50, SECOND, 10, now, &wait);
    assert_in_range(passed, 10 + 50 * 100 - 2, 10 + 50 * 100 + 2);
    bucket_table_fini(&t);
}

static void waits_are_true(void **state)
{
    struct bucket_table t;
    uint64_t wait = 0;
    assert_true(result_is_ok(bucket_table_init(&t)));
    assert_true(bucket_take(&t, 7, 1, 10 * SECOND, 1, 0, &wait));
    assert_false(bucket_take(&t, 7, 1, 10 * SECOND, 1, SECOND, &wait));
    assert_int_equal(wait, 9 * SECOND);
    assert_false(bucket_take(&t, 7, 1, 10 * SECOND, 1, 9 * SECOND, &wait));
    assert_true(bucket_take(&t, 7, 1, 10 * SECOND, 1, 10 * SECOND, &wait));
    /* rates above one per nanosecond, bursts of a thousand million */
    for (int i = 0; i < 1000; i++)
        assert_true(bucket_take(&t, 8, 1000000000, 1000000, 1000000000, 5, &wait));
    bucket_table_fini(&t);
}

/* A flood of sources makes the table forget those that are idle for longest, nobody else. */
static void forgets_the_idle(void **state)
{
    struct bucket_table t;
    uint64_t wait, set = BUCKET_COUNT / BUCKET_WAYS;
    assert_true(result_is_ok(bucket_table_init(&t)));
    for (uint64_t i = 0; i < BUCKET_WAYS; i++) /* all of one set */
        assert_true(bucket_take(&t, 1 + i * set, 1, 3600 * SECOND, 1, SECOND + i, &wait));
    assert_false(bucket_take(&t, 1, 1, 3600 * SECOND, 1, 2 * SECOND, &wait));
    assert_true(bucket_take(&t, 1 + BUCKET_WAYS * set, 1, 3600 * SECOND, 1, 3 * SECOND, &wait));
    assert_false(bucket_take(&t, 1, 1, 3600 * SECOND, 1, 4 * SECOND, &wait));
    assert_true(bucket_take(&t, 1 + set, 1, 3600 * SECOND, 1, 5 * SECOND, &wait)); /* forgotten */
    bucket_table_fini(&t);
}

UNIT_TESTS(cmocka_unit_test(keeps_the_rate), cmocka_unit_test(waits_are_true),
           cmocka_unit_test(forgets_the_idle))

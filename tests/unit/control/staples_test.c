/* SPDX-License-Identifier: Apache-2.0 */
#include "control/staples.c"

#include "unit.h"

#define DAY 86400

static const int64_t now = 1800000000;

static void test_asks_at_half_time(void **state)
{
    assert_int_equal(staples_due_s(now, now + 4 * DAY, now, 0), now + 2 * DAY);
    int64_t early = staples_due_s(now, now + 4 * DAY, now, CHANCES - 1);
    assert_in_range(early, now + 2 * DAY - DAY / 4, now + 2 * DAY - DAY / 8);
    /* Made long ago: a quarter of what is left. */
    assert_int_equal(staples_due_s(now - 7 * DAY, now + DAY, now, 0), now + DAY / 4);
    assert_int_equal(staples_due_s(now - DAY, now + 8, now, 0), now + STAPLES_WAIT_MIN_S);
    /* Of a clock that is ahead. */
    assert_int_equal(staples_due_s(now + 100, now + 300, now, 0), now + 200);
}

static void test_backs_off(void **state)
{
    assert_int_equal(staples_backoff_s(1), STAPLES_BACKOFF_S);
    assert_int_equal(staples_backoff_s(2), 2 * STAPLES_BACKOFF_S);
    assert_int_equal(staples_backoff_s(3), 4 * STAPLES_BACKOFF_S);
    assert_int_equal(staples_backoff_s(8), STAPLES_BACKOFF_MAX_S);
    assert_int_equal(staples_backoff_s(UINT32_MAX), STAPLES_BACKOFF_MAX_S);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_asks_at_half_time),
        cmocka_unit_test(test_backs_off),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

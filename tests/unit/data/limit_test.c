/* SPDX-License-Identifier: Apache-2.0 */
#include "data/limit.h"

#include "unit.h"

#define S 1000000000ull

static struct timer_wheel wheel;
static struct limit limit;

/* Whether it is reached at this moment. */
static bool reached(uint64_t now_ns)
{
    struct timer *t;
    bool ret = false;
    while ((t = timer_pop(&wheel, now_ns))) {
        assert_ptr_equal(LIST_ENTRY(t, struct limit, timer), &limit);
        ret |= limit_check(&wheel, &limit, now_ns);
    }
    return ret;
}

static int setup(void **state)
{
    timer_wheel_init(&wheel, 1000 * S);
    limit_init(&limit, 7);
    return 0;
}

static void moved_later_fires_once_and_late(void **state)
{
    limit_set(&wheel, &limit, 1010 * S);
    uint64_t in_wheel = limit.timer.at_ns;
    limit_set(&wheel, &limit, 1020 * S);
    assert_int_equal(limit.timer.at_ns, in_wheel); /* the wheel was not touched */
    assert_false(reached(1011 * S));
    assert_false(reached(1019 * S));
    assert_true(reached(1021 * S));
    assert_false(reached(1100 * S));
}

static void moved_earlier_fires_early(void **state)
{
    limit_set(&wheel, &limit, 1020 * S);
    limit_set(&wheel, &limit, 1005 * S);
    assert_false(reached(1004 * S));
    assert_true(reached(1006 * S));
    assert_false(reached(1030 * S));
}

static void cleared_does_not_fire_and_can_be_set_again(void **state)
{
    limit_set_ms(&wheel, &limit, 1000 * S, 5000);
    limit_clear(&limit);
    limit_set_ms(&wheel, &limit, 1000 * S, 0); /* 0 is off */
    assert_false(reached(1006 * S));
    limit_set(&wheel, &limit, 1010 * S);
    assert_true(reached(1011 * S));
    limit_set(&wheel, &limit, 1020 * S);
    limit_remove(&limit);
    assert_false(timer_is_set(&limit.timer));
    assert_false(reached(1030 * S));
}

#define CASE(f) cmocka_unit_test_setup(f, setup)
UNIT_TESTS(CASE(moved_later_fires_once_and_late), CASE(moved_earlier_fires_early),
           CASE(cleared_does_not_fire_and_can_be_set_again))

/* SPDX-License-Identifier: Apache-2.0 */
#include "unit.h"

#include "control/provider/pace.c"

#define SECOND_NS ((int64_t)1000000000)

/* Sends n requests as early as allowed from now_ns on; returns when the last one goes. */
static int64_t send(struct pace *p, int64_t now_ns, int n)
{
    for (int i = 0; i < n; i++) {
        now_ns = pace_when(p, now_ns);
        pace_take(p, now_ns);
    }
    return now_ns;
}

static void test_no_limit(void **state)
{
    struct pace p;
    pace_init(&p, 0, 0);
    assert_int_equal(send(&p, 7, 1000), 7);
}

static void test_one_at_a_time(void **state)
{
    struct pace p;
    pace_init(&p, 60, 0);
    assert_int_equal(send(&p, 5 * SECOND_NS, 4), 8 * SECOND_NS);
    /* What was not used for a while is not saved up beyond the burst. */
    assert_int_equal(send(&p, 100 * SECOND_NS, 2), 101 * SECOND_NS);
}

static void test_burst(void **state)
{
    struct pace p;
    pace_init(&p, 60, 10);
    assert_int_equal(send(&p, SECOND_NS, 10), SECOND_NS);
    assert_int_equal(send(&p, SECOND_NS, 1), 2 * SECOND_NS);
    assert_int_equal(send(&p, 2 * SECOND_NS, 1), 3 * SECOND_NS);
    assert_int_equal(send(&p, 60 * SECOND_NS, 10), 60 * SECOND_NS);
    /* In five minutes: the burst and 300 more. */
    pace_init(&p, 60, 10);
    assert_int_equal(send(&p, 0, 310), 300 * SECOND_NS);
}

static void test_closed_by_the_service(void **state)
{
    struct pace p;
    pace_init(&p, 0, 0);
    pace_close(&p, 30 * SECOND_NS);
    pace_close(&p, 20 * SECOND_NS);
    assert_int_equal(pace_when(&p, 10 * SECOND_NS), 30 * SECOND_NS);
    assert_int_equal(pace_when(&p, 31 * SECOND_NS), 31 * SECOND_NS);
    pace_init(&p, 60, 5);
    pace_close(&p, 30 * SECOND_NS);
    assert_int_equal(send(&p, 10 * SECOND_NS, 6), 31 * SECOND_NS);
}

UNIT_TESTS(cmocka_unit_test(test_no_limit), cmocka_unit_test(test_one_at_a_time),
           cmocka_unit_test(test_burst), cmocka_unit_test(test_closed_by_the_service))

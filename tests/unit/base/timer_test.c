/* SPDX-License-Identifier: Apache-2.0 */
#include "base/timer.c"

#include "base/rand.h"

#include "unit.h"

#define COUNT 2000

/* Every timer fires exactly once, never early, and at most one tick plus the step late. */
static void fires_once_and_in_time(void **state)
{
    static struct timer timers[COUNT];
    static uint64_t at[COUNT];
    struct timer_wheel wheel;
    uint64_t now = 1234567890123ull, end = now;
    timer_wheel_init(&wheel, now);
    for (int i = 0; i < COUNT; i++) {
        static const uint64_t reach[] = {1, 9, 700, 40000, 3000000, 400000000};
        at[i] = now + rand_below(reach[i % 6] * 1000000ull);
        end = at[i] > end ? at[i] : end;
        timer_init(&timers[i], 1);
        timer_set(&wheel, &timers[i], at[i]);
    }
    int fired = 0;
    while (fired < COUNT) {
        uint64_t next = timer_next_ns(&wheel);
        assert_true(next != TIMER_NO_LIMIT);
        assert_true(next >= now);
        now = next;
        assert_true(now <= end + 2 * TIMER_TICK_NS);
        struct timer *t;
        while ((t = timer_pop(&wheel, now))) {
            int i = (int)(t - timers);
            assert_true(at[i] <= now);
            assert_true(now - at[i] <= TIMER_TICK_NS);
            assert_false(timer_is_set(t));
            fired++;
        }
    }
    assert_true(timer_next_ns(&wheel) == TIMER_NO_LIMIT);
}

static void cancelled_and_moved_timers(void **state)
{
    struct timer_wheel wheel;
    struct timer a, b;
    timer_wheel_init(&wheel, 0);
    timer_init(&a, 1);
    timer_init(&b, 2);
    timer_set(&wheel, &a, 100 * 1000000ull);
    timer_set(&wheel, &b, 100 * 1000000ull);
    timer_cancel(&a);
    timer_cancel(&a);
    timer_set(&wheel, &b, 5000 * 1000000ull);
    assert_null(timer_pop(&wheel, 4990 * 1000000ull));
    assert_ptr_equal(timer_pop(&wheel, 5008 * 1000000ull), &b);
    assert_null(timer_pop(&wheel, 9000 * 1000000ull));
}

/* A loop that slept past many deadlines gets them all. */
static void late_loop_catches_up(void **state)
{
    struct timer_wheel wheel;
    struct timer timers[100];
    timer_wheel_init(&wheel, 0);
    for (int i = 0; i < 100; i++) {
        timer_init(&timers[i], 0);
        timer_set(&wheel, &timers[i], (uint64_t)i * 977 * 1000000ull);
    }
    int n = 0;
    while (timer_pop(&wheel, 100 * 1000 * 1000000ull))
        n++;
    assert_int_equal(n, 100);
}

UNIT_TESTS(cmocka_unit_test(fires_once_and_in_time), cmocka_unit_test(cancelled_and_moved_timers),
           cmocka_unit_test(late_loop_catches_up))

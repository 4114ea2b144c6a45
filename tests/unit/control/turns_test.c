/* SPDX-License-Identifier: Apache-2.0 */
/* The clocks are the kernel's: what is told here is what must hold on any machine. */
#include "control/turns.c"

#include "unit.h"

static void counts_by_bounds(void **state)
{
    struct turns_histogram h = {0};
    count(&h, 0);
    count(&h, 50 * NS_PER_MS);
    count(&h, 50 * NS_PER_MS + 1);
    count(&h, 10 * NS_PER_S);
    assert_int_equal(turns_count(&h), 4);
    assert_int_equal(turns_over(&h, 0), 3);
    assert_int_equal(turns_over(&h, 4), 2); /* longer than 50 ms */
    assert_int_equal(turns_over(&h, TURNS_BOUNDS - 1), 1);
    assert_int_equal(h.max_ns, 10 * NS_PER_S);
    for (uint32_t i = 1; i < TURNS_BOUNDS; i++)
        assert_true(turns_bounds_ns[i - 1] < turns_bounds_ns[i]);
}

/* A turn that waits for something is to blame for all of its time, ... */
static void waiting_is_its_own(void **state)
{
    struct turns t;
    turns_init(&t);
    turns_begin(&t, clock_now_ns());
    assert_int_equal(usleep(30000), 0);
    turns_end(&t);
    assert_in_range(t.wall.max_ns, 30 * NS_PER_MS, 3600 * NS_PER_S);
    assert_true(t.own.max_ns <= t.wall.max_ns);
    if (t.schedstat_fd != -1) /* else the wait for a processor is in it, too */
        assert_true(t.own.max_ns >= 25 * NS_PER_MS);
    turns_fini(&t);
}

/* ... one that only computes for what it computed. */
static void computing_is_its_own(void **state)
{
    struct turns t;
    turns_init(&t);
    turns_begin(&t, clock_now_ns());
    uint64_t until = cpu_now_ns() + 5 * NS_PER_MS;
    while (cpu_now_ns() < until) {
    }
    turns_end(&t);
    assert_true(t.own.max_ns >= 5 * NS_PER_MS && t.own.max_ns <= t.wall.max_ns);
    assert_int_equal(turns_count(&t.own), 1);
    turns_fini(&t);
}

UNIT_TESTS(cmocka_unit_test(counts_by_bounds), cmocka_unit_test(waiting_is_its_own),
           cmocka_unit_test(computing_is_its_own))

/* SPDX-License-Identifier: Apache-2.0 */
#include "control/renewal.c"

#include "unit.h"

#include <string.h>

static const int64_t from = 1700000000;
static struct why warning;

static struct renewal plan(int64_t lifetime_s, uint64_t duration_h)
{
    return renewal_plan(from, from + lifetime_s - 1, duration_h, 0, &warning);
}

/* The specification's table, with the row for 6 days. */
static void test_table(void **state)
{
    static const struct {
        int64_t lifetime_s, period_s, interval_s;
    } rows_wanted[] = {
        {398ll * DAY, 120ll * DAY, 7 * DAY}, {365ll * DAY, 120ll * DAY, 7 * DAY},
        {364ll * DAY, 30 * DAY, DAY},        {90 * DAY, 30 * DAY, DAY},
        {90 * DAY - 1, 10 * DAY, 12 * HOUR}, {30 * DAY, 10 * DAY, 12 * HOUR},
        {30 * DAY - 1, DAY, HOUR},           {7 * DAY, DAY, HOUR},
        {7 * DAY - 1, 2 * DAY, 2 * HOUR},    {160 * HOUR, 2 * DAY, 2 * HOUR},
        {6 * DAY, 2 * DAY, 2 * HOUR},        {6 * DAY - 1, 6 * HOUR, 10 * MINUTE},
        {DAY, 6 * HOUR, 10 * MINUTE},        {DAY - 1, 20 * MINUTE, MINUTE},
        {2 * HOUR, 20 * MINUTE, MINUTE},
    };
    for (size_t i = 0; i < sizeof rows_wanted / sizeof rows_wanted[0]; i++) {
        struct renewal r = plan(rows_wanted[i].lifetime_s, 0);
        assert_int_equal(r.lifetime_s, rows_wanted[i].lifetime_s);
        assert_int_equal(r.period_s, rows_wanted[i].period_s);
        assert_int_equal(r.interval_s, rows_wanted[i].interval_s);
        assert_int_equal(r.due_s, from + r.lifetime_s - 1 - r.period_s);
        assert_string_equal(warning.text, "");
    }
}

static void test_jitter_stays_within_one_interval(void **state)
{
    for (uint64_t seed = 0; seed < 100000; seed += 777) {
        struct renewal r = renewal_plan(from, from + 90 * DAY - 1, 0, seed * 2654435761u, &warning);
        assert_in_range(r.due_s - (from + 60 * DAY - 1), 0, DAY - 1);
    }
}

/* A lifetime of minutes is not due the moment it begins. */
static void test_short_lives(void **state)
{
    static const int64_t lives[] = {1, 2, 60, 300, 20 * MINUTE, 39 * MINUTE};
    for (size_t i = 0; i < sizeof lives / sizeof lives[0]; i++) {
        struct renewal r = plan(lives[i], 0);
        assert_true(r.interval_s > 0);
        assert_true(r.due_s >= from - 1);
        assert_true(lives[i] < 60 || r.due_s > from + lives[i] / 3);
    }
}

static void test_given_duration_wins(void **state)
{
    struct renewal r = plan(90 * DAY, 2160);
    assert_string_equal(warning.text, "");
    r = plan(90 * DAY, 24 * 365);
    assert_int_equal(r.period_s, 30 * DAY); /* four months would never end */
    assert_non_null(strstr(warning.text, "real lifetime"));
    r = plan(398ll * DAY, 2160);
    assert_int_equal(r.period_s, 30 * DAY);
    assert_non_null(strstr(warning.text, "follows the setting"));
    r = plan(160 * HOUR, 2160);
    assert_int_equal(r.period_s, 2 * DAY);
    assert_true(warning.text[0] != 0);
}

UNIT_TESTS(cmocka_unit_test(test_table), cmocka_unit_test(test_jitter_stays_within_one_interval),
           cmocka_unit_test(test_short_lives), cmocka_unit_test(test_given_duration_wins))

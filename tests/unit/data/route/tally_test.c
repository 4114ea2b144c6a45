/* SPDX-License-Identifier: Apache-2.0 */
#include "data/route/tally.c"

#include "base/rand.h"
#include "unit.h"

static void counts_up_to_the_limit(void **state)
{
    struct tally t;
    assert_true(result_is_ok(tally_init(&t, 2)));
    assert_true(result_is_ok(tally_add(&t, 5, 2)));
    assert_true(result_is_ok(tally_add(&t, 5, 2)));
    assert_int_equal(tally_add(&t, 5, 2).code, ERR_LIMIT);
    assert_true(result_is_ok(tally_add(&t, 6, 1)));
    assert_int_equal(tally_add(&t, 7, 1).code, ERR_FULL);
    tally_drop(&t, 5);
    assert_true(result_is_ok(tally_add(&t, 5, 2)));
    tally_drop(&t, 6);
    assert_true(result_is_ok(tally_add(&t, 7, 1)));
    tally_fini(&t);
}

/* Against plain counters, with keys that all meet in a few places. */
static void agrees_with_plain_counters(void **state)
{
    enum { KEYS = 40, MAX = 16 };
    struct tally t;
    uint64_t counts[KEYS] = {0};
    uint32_t used = 0;
    assert_true(result_is_ok(tally_init(&t, MAX)));
    for (int i = 0; i < 200000; i++) {
        uint64_t k = rand_below(KEYS), key = (k % 5 + 29) + (k / 5 + 1) * 0x100000000ull;
        if (rand_below(2)) {
            struct result r = tally_add(&t, key, 3);
            assert_int_equal(r.code, counts[k] == 3                  ? ERR_LIMIT
                                     : counts[k] == 0 && used == MAX ? ERR_FULL
                                                                     : ERR_NONE);
            used += result_is_ok(r) && counts[k] == 0;
            counts[k] += result_is_ok(r);
        } else if (counts[k]) {
            tally_drop(&t, key);
            used -= --counts[k] == 0;
        }
        assert_int_equal(t.used, used);
    }
    tally_fini(&t);
}

UNIT_TESTS(cmocka_unit_test(counts_up_to_the_limit), cmocka_unit_test(agrees_with_plain_counters))

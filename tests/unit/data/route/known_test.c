/* SPDX-License-Identifier: Apache-2.0 */
#include "data/route/known.c"

#include "unit.h"

static void remembers(void **state)
{
    struct known_table t;
    uint8_t a[KNOWN_DIGEST_BYTES], b[KNOWN_DIGEST_BYTES];
    assert_true(result_is_ok(known_init(&t)));
    known_digest(&t, SPAN_LITERAL("jo"), SPAN_LITERAL("hash"), SPAN_LITERAL("pw"), a);
    assert_int_equal(known_look_up(&t, a), KNOWN_UNKNOWN);
    known_remember(&t, a, true);
    assert_int_equal(known_look_up(&t, a), KNOWN_GOOD);
    static const char *const others[][3] = {
        {"j", "ohash", "pw"}, {"jo", "hashp", "w"}, {"jo", "hash2", "pw"}, {"jo", "hash", ""}};
    for (size_t i = 0; i < 4; i++) {
        known_digest(&t, span_str(others[i][0]), span_str(others[i][1]), span_str(others[i][2]), b);
        assert_int_equal(known_look_up(&t, b), KNOWN_UNKNOWN);
        known_remember(&t, b, false);
        assert_int_equal(known_look_up(&t, b), KNOWN_BAD);
    }
    known_fini(&t);
}

static void guesses_do_not_push_out_the_good(void **state)
{
    struct known_table t;
    uint8_t good[KNOWN_DIGEST_BYTES] = {1}, guess[KNOWN_DIGEST_BYTES] = {1};
    assert_true(result_is_ok(known_init(&t)));
    known_remember(&t, good, true);
    for (uint32_t i = 1; i < 5000; i++) {
        memcpy(guess + 8, &i, sizeof i);
        known_remember(&t, guess, false);
    }
    assert_int_equal(known_look_up(&t, good), KNOWN_GOOD);
    assert_int_equal(known_look_up(&t, guess), KNOWN_BAD);
    guess[8] = 1;
    guess[9] = guess[10] = 0;
    assert_int_equal(known_look_up(&t, guess), KNOWN_UNKNOWN);
    known_fini(&t);
}

UNIT_TESTS(cmocka_unit_test(remembers), cmocka_unit_test(guesses_do_not_push_out_the_good))

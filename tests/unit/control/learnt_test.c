/* SPDX-License-Identifier: Apache-2.0 */
#include "control/learnt.c"

#include "unit.h"

#include <stdlib.h>
#include <unistd.h>

#define DAY 86400

static const int64_t now = 1800000000;
static char directory[64];
static struct state *state;

static int set_up(void **unused)
{
    struct why why;
    strncpy(directory, "/tmp/ferrule-learnt-XXXXXX", sizeof directory - 1);
    return mkdtemp(directory) && result_is_ok(state_open(directory, &state, &why)) ? 0 : -1;
}

static int tear_down(void **unused)
{
    static const char *const files[] = {"data.mdb", "lock.mdb"};
    char path[128];
    state_close(state);
    for (int i = 0; i < 2; i++) {
        snprintf(path, sizeof path, "%s/%s", directory, files[i]);
        unlink(path);
    }
    return rmdir(directory);
}

static void count(void *arg, struct span key, struct span value)
{
    ++*(int *)arg;
}

static int record_count(void)
{
    int n = 0;
    struct why why;
    assert_true(result_is_ok(state_each(state, STATE_LEARNT, count, &n, &why)));
    return n;
}

static void test_challenges(void **unused)
{
    enum order_challenge found = ORDER_CHALLENGES;
    assert_false(learnt_find_challenge(state, "r", "a.test", now, &found));
    learnt_challenge(state, "r", "a.test", ORDER_CHALLENGE_TLS, now);
    learnt_challenge(state, "r", "*.a.test", ORDER_CHALLENGE_DNS, now);
    assert_true(learnt_find_challenge(state, "r", "a.test", now + 399 * DAY, &found));
    assert_int_equal(found, ORDER_CHALLENGE_TLS);
    assert_true(learnt_find_challenge(state, "r", "*.a.test", now, &found));
    assert_int_equal(found, ORDER_CHALLENGE_DNS);
    assert_false(learnt_find_challenge(state, "q", "a.test", now, &found));
    assert_false(learnt_find_challenge(state, "r", "a.test", now + 401 * DAY, &found));
    learnt_challenge(state, "r", "a.test", ORDER_CHALLENGE_HTTP, now + DAY);
    /* ... also by a clock that was set back since */
    assert_true(learnt_find_challenge(state, "r", "a.test", now - 1000 * DAY, &found));
    assert_int_equal(found, ORDER_CHALLENGE_HTTP);
    assert_int_equal(record_count(), 2);
}

/* The same again is not written again, but before it is forgotten. */
static void test_old_records_go(void **unused)
{
    enum order_challenge found;
    learnt_challenge(state, "r", "a.test", ORDER_CHALLENGE_TLS, now);
    learnt_challenge(state, "r", "b.test", ORDER_CHALLENGE_TLS, now);
    learnt_challenge(state, "r", "a.test", ORDER_CHALLENGE_TLS, now + 20 * DAY);
    assert_false(learnt_find_challenge(state, "r", "a.test", now + 410 * DAY, &found));
    learnt_challenge(state, "r", "a.test", ORDER_CHALLENGE_TLS, now + 40 * DAY);
    assert_true(learnt_find_challenge(state, "r", "a.test", now + 410 * DAY, &found));
    learnt_prune(state, now + 399 * DAY);
    assert_int_equal(record_count(), 2);
    learnt_prune(state, now + 410 * DAY);
    assert_int_equal(record_count(), 1);
}

static void test_staple(void **unused)
{
    assert_false(learnt_staple_is_refused(state, "https://ca/dir", now));
    learnt_staple(state, "https://ca/dir", true, now);
    assert_true(learnt_staple_is_refused(state, "https://ca/dir", now + 29 * DAY));
    assert_false(learnt_staple_is_refused(state, "https://ca/dir", now + 31 * DAY));
    assert_false(learnt_staple_is_refused(state, "https://other/dir", now));
    learnt_staple(state, "https://ca/dir", false, now);
    learnt_staple(state, "https://ca/dir", false, now);
    assert_false(learnt_staple_is_refused(state, "https://ca/dir", now));
}

static void test_damaged_record(void **unused)
{
    char hex[KEY_LEN + 1];
    struct why why;
    enum order_challenge found;
    struct span key = key_of("challenge", "r", "a.test", hex);
    assert_true(result_is_ok(state_put(state, STATE_LEARNT, key, SPAN_LITERAL("xyz"), &why)));
    assert_false(learnt_find_challenge(state, "r", "a.test", now, &found));
    learnt_prune(state, now);
    assert_int_equal(record_count(), 0);
    learnt_challenge(state, "r", "a.test", ORDER_CHALLENGE_TLS, now);
    assert_true(learnt_find_challenge(state, "r", "a.test", now, &found));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
UNIT_TESTS(TEST(test_challenges), TEST(test_old_records_go), TEST(test_staple),
           TEST(test_damaged_record))

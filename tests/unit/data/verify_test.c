/* SPDX-License-Identifier: Apache-2.0 */
#include "data/verify.c"

#include "unit.h"

#define HASH "$2y$05$abcdefghijklmnopqrstuuHIrMEWpUCQe2YqFR3sXwQ75u4od..9q" /* of "pw" */

static struct known_question question(uint8_t id, const char *password)
{
    struct known_question q = {.digest = {id}, .hash_len = sizeof HASH - 1};
    memcpy(q.hash, HASH, sizeof HASH - 1);
    q.password_len = (uint16_t)strlen(password);
    memcpy(q.password, password, q.password_len);
    return q;
}

static void wait_for(struct verify_lane *lane, uint8_t digest[KNOWN_DIGEST_BYTES], bool *good)
{
    uint64_t count;
    while (!verify_verdict(lane, digest, good))
        assert_int_equal(read(lane->wake_fd, &count, sizeof count), sizeof count);
}

static void judges_for_each_worker(void **state)
{
    struct verify *v;
    uint8_t digest[KNOWN_DIGEST_BYTES];
    bool good;
    assert_true(result_is_ok(verify_create(2, &v, NULL)));
    struct verify_lane *lanes[2];
    for (uint32_t i = 0; i < 2; i++)
        lanes[i] = verify_lane(v, i, eventfd(0, EFD_CLOEXEC));
    for (uint8_t i = 0; i < 10; i++) {
        struct known_question q = question(i, i % 3 ? "wrong" : "pw");
        q.no_user = i == 9;
        assert_true(verify_ask(lanes[i % 2], &q));
    }
    for (uint8_t i = 0; i < 10; i++) { /* in the order of the questions */
        wait_for(lanes[i % 2], digest, &good);
        assert_int_equal(digest[0], i);
        assert_int_equal(good, i % 3 == 0 && i != 9);
    }
    assert_false(verify_verdict(lanes[0], digest, &good));
    for (uint32_t i = 0; i < VERIFY_WAITING; i++) /* no password is left */
        assert_true(lanes[0]->questions[i].password[0] == 0);
    verify_destroy(v);
}

static void takes_no_more_than_it_can_hold(void **state)
{
    struct verify *v;
    uint8_t digest[KNOWN_DIGEST_BYTES];
    bool good;
    assert_true(result_is_ok(verify_create(1, &v, NULL)));
    struct verify_lane *lane = verify_lane(v, 0, eventfd(0, EFD_CLOEXEC));
    struct known_question q = question(1, "pw");
    for (uint32_t round = 0; round < 3; round++) {
        for (uint32_t i = 0; i < VERIFY_WAITING; i++)
            assert_true(verify_ask(lane, &q));
        assert_false(verify_ask(lane, &q)); /* judged or not: the verdicts were not taken */
        for (uint32_t i = 0; i < VERIFY_WAITING; i++)
            wait_for(lane, digest, &good);
    }
    verify_destroy(v);
    verify_destroy(NULL);
}

UNIT_TESTS(cmocka_unit_test(judges_for_each_worker),
           cmocka_unit_test(takes_no_more_than_it_can_hold))

/* SPDX-License-Identifier: Apache-2.0 */
/* The table of steps; orders at work are in scheduler_test.c. */
#include "control/order.c"

#include "unit.h"

static void test_the_good_way_passes_every_step_but_resume(void **state)
{
    bool seen[ORDER_STEPS] = {false};
    enum order_step at = ORDER_PREPARE;
    for (int i = 0; i < ORDER_STEPS && at != ORDER_DONE; i++) {
        assert_false(seen[at]);
        seen[at] = true;
        at = steps[at].next;
    }
    assert_int_equal(at, ORDER_DONE);
    for (int i = 0; i < ORDER_STEPS; i++)
        assert_int_equal(seen[i], i != ORDER_RESUME && i != ORDER_DONE);
}

/* Whatever fails, TXT values are removed before the order ends. */
static void test_every_failure_cleans_up(void **state)
{
    for (int i = 0; i < ORDER_STEPS; i++) {
        if (i == ORDER_CLEANUP || i == ORDER_GIVE_UP || i == ORDER_DONE)
            assert_int_equal(steps[i].on_error, ORDER_DONE);
        else
            assert_int_equal(steps[i].on_error, ORDER_CLEANUP);
    }
}

static void test_names_and_texts(void **state)
{
    enum order_step found;
    for (int i = 0; i < ORDER_STEPS; i++) {
        assert_non_null(steps[i].run);
        assert_true(strlen(steps[i].text) > 3);
        assert_true(order_step_find(order_step_name((enum order_step)i), &found));
        assert_int_equal(found, i);
    }
    assert_false(order_step_find("prepare", &found));
    assert_false(order_step_find("", &found));
}

/* Before the values stand in DNS there is no way to the steps behind. */
static void test_moves(void **state)
{
    assert_true(is_allowed(ORDER_RESUME, ORDER_DOWNLOAD));
    assert_true(is_allowed(ORDER_POLL, ORDER_FINALIZE));
    assert_false(is_allowed(ORDER_PREPARE, ORDER_NEW_ORDER));
    assert_false(is_allowed(ORDER_NEW_ORDER, ORDER_PRESENT));
    assert_false(is_allowed(ORDER_PRESENT, ORDER_RESPOND));
    assert_false(is_allowed(ORDER_CLEANUP, ORDER_PREPARE));
    assert_false(is_allowed(ORDER_FINALIZE, ORDER_STORE));
    for (int i = 0; i < ORDER_STEPS; i++)
        assert_int_equal(is_allowed((enum order_step)i, ORDER_FINALIZE),
                         i == ORDER_KEY || i == ORDER_POLL);
}

static void test_poll_waits(void **state)
{
    struct order o = {0};
    assert_true(order_poll_wait_ns(&o, 0) < NS_PER_S);
    assert_in_range(order_poll_wait_ns(&o, 0), 2 * NS_PER_S, 2 * NS_PER_S + NS_PER_S / 4);
    for (int i = 0; i < 10; i++)
        assert_true(order_poll_wait_ns(&o, 0) <= POLL_MAX_S * NS_PER_S + NS_PER_S / 4);
    assert_in_range(order_poll_wait_ns(&o, 17), 17 * NS_PER_S, 18 * NS_PER_S);
    assert_in_range(order_poll_wait_ns(&o, 86400), POLL_RETRY_MAX_S * NS_PER_S,
                    (POLL_RETRY_MAX_S + 1) * NS_PER_S);
}

static void test_when_a_certificate_may_exist(void **state)
{
    struct order o = {.record = {.step = ORDER_POLL}};
    assert_false(may_have_certificate(&o, ACME_NETWORK)); /* no order, no key */
    o.record.order_url = (char *)"https://ca/o/1";
    assert_false(may_have_certificate(&o, ACME_NETWORK));
    o.record.key_der.len = 1;
    assert_true(may_have_certificate(&o, ACME_NETWORK));
    assert_true(may_have_certificate(&o, ACME_SERVER));
    assert_false(may_have_certificate(&o, ACME_CAA)); /* the CA has decided */
    o.record.step = ORDER_STORE;
    assert_true(may_have_certificate(&o, ACME_PROTOCOL));
}

UNIT_TESTS(cmocka_unit_test(test_the_good_way_passes_every_step_but_resume),
           cmocka_unit_test(test_every_failure_cleans_up), cmocka_unit_test(test_names_and_texts),
           cmocka_unit_test(test_moves), cmocka_unit_test(test_poll_waits),
           cmocka_unit_test(test_when_a_certificate_may_exist))

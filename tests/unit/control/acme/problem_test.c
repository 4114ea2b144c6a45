/* SPDX-License-Identifier: Apache-2.0 */
#include "control/acme/problem.c"

#include "unit.h"

static void test_types(void **state)
{
    assert_int_equal(problem_class(URN "rateLimited", 429), ACME_RATE);
    assert_int_equal(problem_class(URN "badNonce", 400), ACME_NONCE);
    assert_int_equal(problem_class(URN "userActionRequired", 403), ACME_USER_ACTION);
    assert_int_equal(problem_class(URN "accountDoesNotExist", 400), ACME_ACCOUNT);
    assert_int_equal(problem_class(URN "caa", 403), ACME_CAA);
    assert_true(strlen(problem_advice(URN "caa")) > 0);
}

static void test_by_status(void **state)
{
    assert_int_equal(problem_class("", 503), ACME_SERVER);
    assert_int_equal(problem_class(URN "somethingNew", 500), ACME_SERVER);
    assert_int_equal(problem_class("", 429), ACME_RATE);
    assert_int_equal(problem_class("", 403), ACME_UNAUTHORIZED);
    assert_int_equal(problem_class("about:blank", 404), ACME_MALFORMED);
    assert_int_equal(problem_class("rateLimited", 302), ACME_PROTOCOL);
    assert_string_equal(problem_advice("rateLimited"), "");
}

static void test_every_class_has_a_name(void **state)
{
    for (int c = 0; c < ACME_CLASSES; c++)
        assert_true(strlen(problem_class_name((enum acme_class)c)) > 0);
}

UNIT_TESTS(cmocka_unit_test(test_types), cmocka_unit_test(test_by_status),
           cmocka_unit_test(test_every_class_has_a_name))

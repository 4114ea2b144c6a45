/* SPDX-License-Identifier: Apache-2.0 */
#include "control/ledger.c"

#include "unit.h"

#include <stdio.h>
#include <unistd.h>

static const int64_t now = 1800000000;
static const struct ledger_key key = {"0123", "le", "a.test, b.test", "f1"};
static char folder[64];
static struct state *disk;
static struct ledger *ledger;
static struct why why;

static int set_up(void **state)
{
    snprintf(folder, sizeof folder, "/tmp/ledger-test-XXXXXX");
    assert_non_null(mkdtemp(folder));
    assert_true(result_is_ok(state_open(folder, &disk, &why)));
    ledger = ledger_create(disk);
    return 0;
}

static int tear_down(void **state)
{
    char *command = mem_printf("rm -rf %s", folder);
    ledger_destroy(ledger);
    state_close(disk);
    assert_int_equal(system(command), 0);
    free(command);
    return 0;
}

static const char *order_url(int number)
{
    static char url[64];
    snprintf(url, sizeof url, "https://ca/o/%d", number);
    return url;
}

static void fail_at(int64_t at_s, uint32_t retry_after_s, uint32_t cap_s)
{
    struct ledger_failure f = {ACME_RATE, "urn:x", "the CA said no", retry_after_s, cap_s};
    ledger_failed(ledger, &key, at_s, &f);
}

static bool allowed(int64_t at_s, uint32_t budget, int64_t *ret_at)
{
    struct ledger_entry e;
    ledger_read(ledger, &key, at_s, &e);
    return ledger_allows(&e, budget, at_s, ret_at, &why);
}

static void test_unknown_is_allowed(void **state)
{
    int64_t at;
    assert_true(allowed(now, 5, &at));
    assert_int_equal(at, now);
}

static void test_backoff_grows_to_its_cap(void **state)
{
    static const uint32_t steps[] = {60, 600, 3600, 21600, 86400, 86400, 86400};
    int64_t t = now, at;
    for (size_t i = 0; i < sizeof steps / sizeof steps[0]; i++) {
        fail_at(t, 0, 0);
        assert_false(allowed(t, 5, &at));
        assert_in_range(at - t, steps[i], steps[i] + steps[i] / 5);
        assert_non_null(strstr(why.text, "the CA said no"));
        assert_true(allowed(at, 5, &at));
        t = at;
    }
    ledger_succeeded(ledger, &key, t);
    assert_true(allowed(t, 5, &at));
    fail_at(t, 0, 0);
    assert_false(allowed(t, 5, &at));
    assert_in_range(at - t, 60, 72);
}

static void test_cap_and_retry_after(void **state)
{
    int64_t at;
    for (int i = 0; i < 6; i++)
        fail_at(now, 0, 600);
    assert_false(allowed(now, 5, &at));
    assert_in_range(at - now, 600, 720);
    fail_at(now, 7200, 600);
    assert_false(allowed(now, 5, &at));
    assert_int_equal(at, now + 7200);
    fail_at(now, UINT32_MAX, 0); /* nonsense is bounded */
    assert_false(allowed(now, 5, &at));
    assert_int_equal(at, now + LEDGER_RETRY_MAX_S);
}

/* The point of it all: another process on the same directory sees the same. */
static void test_survives_a_restart(void **state)
{
    int64_t before, after;
    fail_at(now, 0, 0);
    ledger_order_begins(ledger, &key, now);
    assert_false(allowed(now, 5, &before));
    ledger_destroy(ledger);
    state_close(disk);
    assert_true(result_is_ok(state_open(folder, &disk, &why)));
    ledger = ledger_create(disk);
    assert_false(allowed(now, 5, &after));
    assert_int_equal(before, after);
    struct ledger_entry e;
    ledger_read(ledger, &key, now, &e);
    assert_int_equal(e.order_count, 1);
    assert_string_equal(e.type, "urn:x");
    assert_string_equal(e.class, "rate limit");
}

static void test_duplicate_budget(void **state)
{
    int64_t at;
    for (int i = 0; i < 5; i++) {
        assert_true(allowed(now + i * 3600, 5, &at));
        ledger_certificate_asked(ledger, &key, order_url(i), true, now + i * 3600);
    }
    assert_false(allowed(now + 5 * 3600, 5, &at));
    assert_int_equal(at, now + LEDGER_WINDOW_S);
    assert_non_null(strstr(why.text, "duplicate budget"));
    assert_true(allowed(now + 5 * 3600, 6, &at));
    assert_true(allowed(now + 5 * 3600, 0, &at)); /* 0 = none */
    assert_true(allowed(now + LEDGER_WINDOW_S, 5, &at));
}

/* A request that is sent again after a crash asks for no second certificate. */
static void test_same_order_counts_once(void **state)
{
    struct ledger_entry e;
    for (int i = 0; i < 3; i++)
        ledger_certificate_asked(ledger, &key, "https://ca/o/1", true, now + i);
    ledger_read(ledger, &key, now + 10, &e);
    assert_int_equal(e.cert_count, 1);
    ledger_certificate_asked(ledger, &key, "https://ca/o/2", true, now + 20);
    ledger_read(ledger, &key, now + 30, &e);
    assert_int_equal(e.cert_count, 2);
}

/* Requests of a clock that was years ahead grow old from the moment when that is seen, and stay
 * in order with those before. */
static void test_requests_of_a_future_clock_grow_old(void **state)
{
    int64_t at;
    struct ledger_entry e;
    const int64_t year = 365ll * 86400;
    for (int i = 0; i < 2; i++)
        ledger_certificate_asked(ledger, &key, order_url(i), true, now + year + i);
    assert_false(allowed(now, 2, &at));
    assert_int_equal(at, now + LEDGER_WINDOW_S);
    assert_false(allowed(now + 86400, 2, &at));
    assert_int_equal(at, now + LEDGER_WINDOW_S); /* not a day later */
    ledger_order_begins(ledger, &key, now + 86400);
    ledger_read(ledger, &key, now + 86400, &e);
    assert_int_equal(e.certs[0], now);
    assert_true(allowed(now + LEDGER_WINDOW_S, 2, &at));
}

/* A person repaired the settings: try at once, but never against the CA's own Retry-After. */
static void test_changed_settings(void **state)
{
    struct ledger_key other = key;
    struct ledger_entry e;
    other.fingerprint = "f2";
    fail_at(now, 0, 0);
    ledger_read(ledger, &other, now, &e);
    assert_int_equal(e.next_s, 0);
    fail_at(now, 7200, 0);
    ledger_read(ledger, &other, now, &e);
    assert_int_equal(e.next_s, now + 7200);
}

static void test_clock_set_back(void **state)
{
    int64_t at;
    const int64_t year = 365ll * 86400;
    fail_at(now + year, 86400, 0);
    assert_true(allowed(now, 1, &at)); /* else it would be refused for a year */
    fail_at(now, 0, 0);
    assert_false(allowed(now - 30, 1, &at));
    assert_in_range(at - now, 0, 750);
    ledger_certificate_asked(ledger, &key, "https://ca/o/1", true, now + year);
    assert_false(allowed(now, 1, &at));
    assert_in_range(at - now, 0, LEDGER_RETRY_MAX_S);
}

static void test_many_times_stay_bounded(void **state)
{
    struct ledger_entry e;
    for (int i = 0; i < LEDGER_TIMES_MAX + 10; i++)
        ledger_order_begins(ledger, &key, now + i);
    ledger_read(ledger, &key, now + 100, &e);
    assert_int_equal(e.order_count, LEDGER_TIMES_MAX);
    assert_int_equal(e.orders[0], now + 10);
}

static bool is_stored(void)
{
    struct buf text = {0};
    bool found = result_is_ok(state_get(disk, STATE_LEDGER, span_str(key.id), &text));
    buf_free(&text);
    return found;
}

static void test_prune(void **state)
{
    fail_at(now, 0, 0);
    ledger_order_begins(ledger, &key, now);
    ledger_prune(ledger, now + LEDGER_WINDOW_S - 1);
    assert_true(is_stored());
    ledger_prune(ledger, now + LEDGER_FORGET_S - 1);
    assert_true(is_stored());
    ledger_prune(ledger, now + LEDGER_FORGET_S);
    assert_false(is_stored());
}

static void test_damaged_record(void **state)
{
    int64_t at;
    assert_true(result_is_ok(
        state_put(disk, STATE_LEDGER, span_str(key.id), SPAN_LITERAL("{\"fail"), &why)));
    assert_true(allowed(now, 5, &at));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
UNIT_TESTS(TEST(test_unknown_is_allowed), TEST(test_backoff_grows_to_its_cap),
           TEST(test_cap_and_retry_after), TEST(test_survives_a_restart),
           TEST(test_duplicate_budget), TEST(test_changed_settings), TEST(test_clock_set_back),
           TEST(test_same_order_counts_once), TEST(test_requests_of_a_future_clock_grow_old),
           TEST(test_many_times_stay_bounded), TEST(test_damaged_record), TEST(test_prune))

/* SPDX-License-Identifier: Apache-2.0 */
#include "control/challenges.c"

#include "unit.h"

static struct challenges *challenges;
static struct buf sent;
static int done_count;

static void take(void *arg, struct span messages)
{
    buf_put_span(&sent, messages);
}

static int set_up(void **state)
{
    challenges = challenges_create(take, NULL);
    done_count = 0;
    return 0;
}

static int tear_down(void **state)
{
    challenges_destroy(challenges);
    buf_free(&sent);
    return 0;
}

static void put_http(const char *token, const char *key_auth)
{
    struct why why;
    assert_true(result_is_ok(challenges_put_http(challenges, "web", token, key_auth, &why)));
}

static void test_server_names(void **state)
{
    static const struct {
        const char *identifier, *name;
    } cases[] = {
        {"a.test", "a.test"},
        {"192.0.2.17", "17.2.0.192.in-addr.arpa"},
        {"2001:db8::1", "1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char *name = challenges_server_name(cases[i].identifier);
        assert_string_equal(name, cases[i].name);
        free(name);
    }
}

static void test_the_same_again_says_nothing(void **state)
{
    put_http("t1", "t1.thumb");
    size_t len = sent.len;
    assert_true(len > 0);
    put_http("t1", "t1.thumb");
    assert_int_equal(sent.len, len);
    challenges_drop_http(challenges, "t2.thumb");
    challenges_drop_tls(challenges, "t1.thumb");
    assert_int_equal(sent.len, len);
    challenges_drop_http(challenges, "t1.thumb");
    assert_true(sent.len > len);
    assert_int_equal(challenges_count(challenges), 0);
}

static void test_one_certificate_for_a_name(void **state)
{
    struct why why;
    assert_true(result_is_ok(challenges_put_tls(challenges, "a.test", "x.thumb", &why)));
    assert_true(result_is_ok(challenges_put_tls(challenges, "a.test", "x.thumb", &why)));
    assert_int_equal(challenges_put_tls(challenges, "a.test", "y.thumb", &why).code, ERR_LIMIT);
    assert_true(result_is_ok(challenges_put_tls(challenges, "192.0.2.1", "y.thumb", &why)));
    challenges_drop_tls(challenges, "x.thumb");
    assert_true(result_is_ok(challenges_put_tls(challenges, "a.test", "z.thumb", &why)));
    assert_int_equal(challenges_count(challenges), 2);
    assert_int_equal(challenges_put_tls(challenges, "no name", "w.thumb", &why).code, ERR_FORMAT);
    assert_int_equal(challenges_count(challenges), 2);
}

static void test_bounded(void **state)
{
    struct why why;
    for (int i = 0; i < PUBLISH_CHALLENGES_MAX; i++) {
        char *token = mem_printf("t%d", i);
        put_http(token, token);
        free(token);
    }
    assert_int_equal(challenges_put_http(challenges, "web", "more", "more", &why).code, ERR_LIMIT);
    challenges_drop_http(challenges, "t7");
    put_http("more", "more");
}

static void done(struct challenges_wait *wait)
{
    done_count++;
}

static void test_waits_end_in_order(void **state)
{
    struct challenges_wait a = {0}, b = {0}, c = {0};
    challenges_wait_cancel(&a); /* not in use */
    challenges_wait(challenges, &a, done);
    challenges_wait(challenges, &b, done);
    challenges_wait(challenges, &c, done);
    challenges_wait_cancel(&b);
    challenges_fenced(challenges, 1);
    assert_int_equal(done_count, 1);
    challenges_fenced(challenges, 2);
    assert_int_equal(done_count, 1);
    challenges_fenced(challenges, 3);
    assert_int_equal(done_count, 2);
    challenges_wait_cancel(&c); /* over */
}

/* Another data process: all answers again, and the fence that those who wait stand behind. */
static void test_sync(void **state)
{
    struct buf all = {0}, end = {0};
    struct challenges_wait wait = {0};
    challenges_sync_end(challenges, &end);
    assert_int_equal(end.len, 0); /* nobody waits for one */
    put_http("t1", "t1.thumb");
    challenges_wait(challenges, &wait, done);
    challenges_sync(challenges, &all);
    challenges_sync_end(challenges, &end);
    assert_true(all.len > 0 && end.len > 0);
    assert_int_equal(sent.len, all.len + end.len);
    assert_memory_equal(sent.ptr, all.ptr, all.len);
    assert_memory_equal(sent.ptr + all.len, end.ptr, end.len);
    buf_free(&all);
    buf_free(&end);
    challenges_wait_cancel(&wait);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
UNIT_TESTS(TEST(test_server_names), TEST(test_the_same_again_says_nothing),
           TEST(test_one_certificate_for_a_name), TEST(test_bounded), TEST(test_waits_end_in_order),
           TEST(test_sync))

/* SPDX-License-Identifier: Apache-2.0 */
#include "config/plan.c"

#include "unit.h"

static struct plan sample(struct plan_listener listeners[2])
{
    listeners[0] = (struct plan_listener){"web", ":80", {{{0}}}};
    listeners[1] = (struct plan_listener){"websecure", "[::1]:443", {{{0}}}};
    return (struct plan){.log_level = "WARN",
                         .grace_ms = 10000,
                         .accept_ms = 20,
                         .drain_ms = 3600000,
                         .listeners = listeners,
                         .count = 2};
}

static void test_there_and_back(void **state)
{
    struct plan_listener listeners[2];
    struct plan in = sample(listeners), out;
    struct buf wire = {0};
    plan_encode(&in, &wire);
    assert_true(result_is_ok(plan_decode(buf_span(&wire), &out)));
    memset(wire.ptr, 0xee, wire.len);
    buf_free(&wire); /* it was copied */
    assert_string_equal(out.log_level, "WARN");
    assert_int_equal(out.grace_ms, 10000);
    assert_int_equal(out.accept_ms, 20);
    assert_int_equal(out.drain_ms, 3600000);
    assert_int_equal(out.count, 2);
    assert_string_equal(out.listeners[0].entrypoint, "web");
    assert_string_equal(out.listeners[1].address, "[::1]:443");
    assert_int_equal(net_addr_port(&out.listeners[0].socket), 80);
    assert_int_equal(net_addr_port(&out.listeners[1].socket), 443);
    plan_free(&out);
    assert_null(out.memory);
}

static void test_broken_messages(void **state)
{
    struct plan_listener listeners[2];
    struct plan in = sample(listeners), out;
    struct buf wire = {0};
    plan_encode(&in, &wire);
    for (size_t len = 0; len < wire.len; len++)
        assert_int_equal(plan_decode(span_of(wire.ptr, len), &out).code, ERR_FORMAT);
    buf_put_str(&wire, "x");
    assert_int_equal(plan_decode(buf_span(&wire), &out).code, ERR_FORMAT);
    wire.len--;
    wire.ptr[4] = 0; /* a NUL inside a text */
    assert_int_equal(plan_decode(buf_span(&wire), &out).code, ERR_FORMAT);
    buf_free(&wire);

    listeners[1].address = "nowhere";
    plan_encode(&in, &wire);
    assert_int_equal(plan_decode(buf_span(&wire), &out).code, ERR_FORMAT);
    buf_free(&wire);
}

static void test_of_a_configuration(void **state)
{
    const char *one[] = {"127.0.0.1:1"}, *two[] = {":2", "[::1]:3"};
    struct net_addr sockets[2] = {{.len = 1}, {.len = 2}};
    struct config_entrypoint entries[] = {
        {.name = "a",
         .addresses = one,
         .sockets = sockets,
         .address_count = 1,
         .grace_timeout_ms = 5,
         .accept_grace_ms = 4},
        {.name = "b",
         .addresses = two,
         .sockets = sockets,
         .address_count = 2,
         .grace_timeout_ms = 7},
    };
    struct config config = {
        .entrypoints = entries, .entrypoint_count = 2, .log_level = "INFO", .drain_timeout_ms = 11};
    struct plan plan;
    plan_of_config(&config, &plan);
    assert_int_equal(plan.count, 3);
    assert_string_equal(plan.listeners[2].entrypoint, "b");
    assert_string_equal(plan.listeners[2].address, "[::1]:3");
    assert_int_equal(plan.grace_ms, 7);
    assert_int_equal(plan.accept_ms, 4);
    assert_int_equal(plan.drain_ms, 11);
    plan_free(&plan);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_there_and_back),
        cmocka_unit_test(test_broken_messages),
        cmocka_unit_test(test_of_a_configuration),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

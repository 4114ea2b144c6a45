/* SPDX-License-Identifier: Apache-2.0 */
#include "base/net.c"

#include "unit.h"

static void round_trip(const char *in, uint16_t port, const char *want)
{
    struct net_addr a;
    char text[NET_ADDR_TEXT_MAX];
    assert_true(result_is_ok(net_addr_parse(span_str(in), port, &a)));
    assert_string_equal(net_addr_print(&a, text), want);
}

static void parses_what_it_prints(void **state)
{
    round_trip("1.2.3.4:80", 0, "1.2.3.4:80");
    round_trip("1.2.3.4", 53, "1.2.3.4:53");
    round_trip("[::1]:443", 0, "[::1]:443");
    round_trip("::1", 53, "[::1]:53");
    round_trip(":8080", 0, "[::]:8080");
    round_trip("[::ffff:9.8.7.6]:1", 0, "9.8.7.6:1");
}

static void refuses(void **state)
{
    static const char *const bad[] = {
        "",       "1.2.3.4",       "host:80",  "[::1",      "[::1]x:80",
        "1.2:80", "1.2.3.4:65536", "1.2.3.4:", "1.2.3.4:8a"};
    struct net_addr a;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_false(result_is_ok(net_addr_parse(span_str(bad[i]), 0, &a)));
}

UNIT_TESTS(cmocka_unit_test(parses_what_it_prints), cmocka_unit_test(refuses))

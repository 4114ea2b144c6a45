/* SPDX-License-Identifier: Apache-2.0 */
#include "config/value.c"

#include "unit.h"

static void durations(void **state)
{
    static const struct {
        const char *text;
        int64_t ms; /* -1: refused */
    } cases[] = {
        {"10s", 10000},
        {"1m30s", 90000},
        {"2h", 7200000},
        {"250ms", 250},
        {"1.5s", 1500},
        {"0.25h", 900000},
        {"10", 10000},
        {"0", 0},
        {"1.5", 1500},
        {"999us", 0},
        {"1500us", 1},
        {"1000000ns", 1},
        {"1500\u00b5s", 1},
        {"0.0015s", 1},
        {"1h2m3s4ms", 3723004},
        {"0.33333333333333333333s", 333},
        {"", -1},
        {"s", -1},
        {"10x", -1},
        {"10 s", -1},
        {"-1s", -1},
        {"+1s", -1},
        {"1m30", -1},
        {"1.2.3s", -1},
        {".s", -1},
        {"9223372036854775807", -1},
        {"9999999999h", -1},
        {"2562047h2562047h2562047h", -1},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        int64_t ms = -1;
        bool good = result_is_ok(value_duration_ms(span_str(cases[i].text), &ms));
        if (good != (cases[i].ms >= 0) || (good && ms != cases[i].ms))
            fail_msg("\"%s\" gave %lld", cases[i].text, good ? (long long)ms : -1ll);
    }
}

static void integers(void **state)
{
    static const char *const bad[] = {"",
                                      "-",
                                      "+",
                                      "1 ",
                                      " 1",
                                      "0x1",
                                      "1e3",
                                      "9223372036854775808",
                                      "--1",
                                      "1-",
                                      "-9223372036854775809"};
    int64_t v;
    assert_true(result_is_ok(value_int(span_str("-9223372036854775808"), &v)));
    assert_true(v == INT64_MIN);
    assert_true(result_is_ok(value_int(span_str("9223372036854775807"), &v)));
    assert_true(v == INT64_MAX);
    assert_true(result_is_ok(value_int(span_str("+007"), &v)));
    assert_int_equal(v, 7);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_false(result_is_ok(value_int(span_str(bad[i]), &v)));
}

static void booleans(void **state)
{
    bool v = false;
    assert_true(result_is_ok(value_bool(span_str("True"), &v)) && v);
    assert_true(result_is_ok(value_bool(span_str("0"), &v)) && !v);
    assert_false(result_is_ok(value_bool(span_str("yes"), &v)));
    assert_false(result_is_ok(value_bool(span_str(""), &v)));
}

static void cpus(void **state)
{
    uint32_t list[64], count;
    assert_true(result_is_ok(value_cpus(span_str("0, 2-5,63"), 64, list, &count)));
    static const uint32_t want[] = {0, 2, 3, 4, 5, 63};
    assert_int_equal(count, 6);
    assert_memory_equal(list, want, sizeof want);
    static const char *const bad[] = {"",     ",",  "1,", "1,1", "3-2", "64",
                                      "0-64", "1-", "-1", "2,1", "a",   "1-3,2"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_false(result_is_ok(value_cpus(span_str(bad[i]), 64, list, &count)));
}

static void names(void **state)
{
    static const char *const good[] = {"a", "a.test", "A-1.b_c.test.", "xn--bcher-kva.example",
                                       "1.2.3.4"};
    static const char *const bad[] = {"",     ".",   "a..b", "-a",        "a-",
                                      "a-.b", "a b", "*.a",  "b\xc3\xbc", "a/b"};
    for (size_t i = 0; i < sizeof good / sizeof *good; i++)
        assert_true(value_is_name(span_str(good[i]), false));
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_false(value_is_name(span_str(bad[i]), false));
    assert_true(value_is_name(span_str("*.a.test"), true));
    assert_false(value_is_name(span_str("*.*.a.test"), true));
    assert_false(value_is_name(span_str("*."), true));
    char label[66], name[260];
    memset(label, 'a', sizeof label);
    assert_true(value_is_name(span_of(label, 63), false));
    assert_false(value_is_name(span_of(label, 64), false));
    memset(name, 'a', sizeof name);
    for (size_t i = 50; i < sizeof name; i += 51)
        name[i] = '.';
    assert_true(value_is_name(span_of(name, 253), false));
    assert_false(value_is_name(span_of(name, 254), false));
}

static void nets(void **state)
{
    static const char *const good[] = {"10.0.0.0/8", "1.2.3.4", "::1", "2001:db8::/32",
                                       "0.0.0.0/0"};
    static const char *const bad[] = {"",     "10.0.0.0/33", "::/129",     "10.0.0.0/",
                                      "host", "10.0.0/8",    "1.2.3.4/-1", "1.2.3.4/+8"};
    for (size_t i = 0; i < sizeof good / sizeof *good; i++)
        assert_true(value_is_net(span_str(good[i])));
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_false(value_is_net(span_str(bad[i])));
    assert_true(value_is_ip(span_str("::ffff:1.2.3.4")));
    assert_false(value_is_ip(span_str("[::1]")));
}

static void urls(void **state)
{
    struct value_url u;
    assert_true(result_is_ok(value_url(span_str("http://[::1]:8080/x?y"), &u)));
    assert_true(span_eq(u.scheme, SPAN_LITERAL("http")) && span_eq(u.host, SPAN_LITERAL("::1")));
    assert_true(u.port == 8080 && span_eq(u.path, SPAN_LITERAL("/x?y")));
    assert_true(result_is_ok(value_url(span_str("https://a.test"), &u)));
    assert_true(u.port == 0 && u.path.len == 0);
    static const char *const bad[] = {
        "",           "http:/a",      "://a",        "http://",
        "http://a b", "http://u@a",   "http://a:0x", "http://a:",
        "http://a#f", "http://[::1",  "1http://a",   "http://[a]",
        "http://::1", "http://a\\b/", "http:///x",   "http://a:99999"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        if (result_is_ok(value_url(span_str(bad[i]), &u)))
            fail_msg("%s was taken", bad[i]);
}

UNIT_TESTS(cmocka_unit_test(durations), cmocka_unit_test(integers), cmocka_unit_test(booleans),
           cmocka_unit_test(cpus), cmocka_unit_test(names), cmocka_unit_test(nets),
           cmocka_unit_test(urls))

/* SPDX-License-Identifier: Apache-2.0 */
#include "unit.h"

#include "rfc2136/dns.c"

#include "fake_host.h"

static struct dns_name name_of(const char *text)
{
    struct dns_name n;
    if (!dns_name_parse(fake_str(text), &n))
        fail_msg("%s is a name", text);
    return n;
}

static void test_names(void **state)
{
    char text[DNS_TEXT_BYTES];
    struct dns_name a = name_of("_Acme.Example.ORG"), b = name_of("_acme.example.org."),
                    root = name_of(".");
    assert_true(dns_name_eq(&a, &b));
    assert_string_equal(dns_name_text(&a, text), "_acme.example.org.");
    assert_string_equal(dns_name_text(&root, text), ".");
    assert_int_equal(dns_name_labels(&a), 3);
    assert_int_equal(root.len, 1);
    static const char *const bad[] = {"a..b", "a..", "..", "a b", "a\\.b", ".a"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_false(dns_name_parse(fake_str(bad[i]), &a));
}

static void test_name_lengths(void **state)
{
    char label[65], long_name[300] = "";
    struct dns_name n;
    memset(label, 'a', 64);
    label[64] = 0;
    assert_false(dns_name_parse(fake_str(label), &n));
    label[63] = 0;
    assert_true(dns_name_parse(fake_str(label), &n));
    /* 3 x 64 + 62 + 1 = 255 bytes, the most there may be */
    snprintf(long_name, sizeof long_name, "%s.%s.%s.%.61s", label, label, label, label);
    assert_true(dns_name_parse(fake_str(long_name), &n));
    assert_int_equal(n.len, DNS_NAME_BYTES);
    snprintf(long_name, sizeof long_name, "%s.%s.%s.%.62s", label, label, label, label);
    assert_false(dns_name_parse(fake_str(long_name), &n));
}

static void test_zones_match_on_labels(void **state)
{
    struct dns_name name = name_of("_acme-challenge.badexample.com");
    struct dns_name zone = name_of("example.com"), parent = name_of("com"), root = name_of(".");
    assert_false(dns_name_is_in(&name, &zone));
    assert_true(dns_name_is_in(&name, &parent));
    assert_true(dns_name_is_in(&name, &name));
    assert_true(dns_name_is_in(&name, &root));
    assert_false(dns_name_is_in(&zone, &name));
    assert_true(dns_name_parent(&zone));
    assert_true(dns_name_eq(&zone, &parent));
    assert_false(dns_name_parent(&root));
}

static void test_update(void **state)
{
    /* RFC 2136: zone section, then one record; class NONE and TTL 0 delete one value (2.5.4). */
    static const uint8_t expected[] = "\x12\x34\x28\x00\0\1\0\0\0\1\0\0"
                                      "\4edge\4test\0\0\6\0\1"
                                      "\1a\4edge\4test\0\0\x10\0\1\0\0\0\x78\0\6\5value";
    uint8_t bytes[512];
    struct dns_writer w = {.ptr = bytes, .cap = sizeof bytes};
    struct dns_name zone = name_of("edge.test"), name = name_of("a.edge.test");
    dns_put_update(&w, 0x1234, &zone, 1);
    size_t change = w.len + name.len;
    dns_put_change(&w, &name, fake_str("value"), 120, true);
    assert_false(w.bad);
    assert_int_equal(w.len, sizeof expected - 1);
    assert_memory_equal(bytes, expected, w.len);
    w.len = change - name.len;
    dns_put_change(&w, &name, fake_str("value"), 120, false);
    assert_memory_equal(bytes + change, "\0\x10\0\xfe\0\0\0\0\0\6\5value", 16);
    char long_value[257];
    memset(long_value, 'v', sizeof long_value);
    dns_put_change(&w, &name, (struct ferrule_str){long_value, 256}, 120, true);
    assert_true(w.bad);
}

static void test_writer_is_bounded(void **state)
{
    uint8_t bytes[20];
    struct dns_name name = name_of("edge.test");
    struct dns_writer w = {.ptr = bytes, .cap = sizeof bytes};
    dns_put_query(&w, 1, &name, DNS_TYPE_SOA);
    assert_true(w.bad);
    assert_true(w.len <= sizeof bytes);
}

static struct dns_message message_of(const void *bytes, size_t len)
{
    struct dns_message m;
    assert_true(dns_message_read((struct ferrule_str){bytes, len}, &m));
    return m;
}

static void test_compressed_answer(void **state)
{
    static const uint8_t bytes[] = "\0\1\x84\0\0\1\0\1\0\0\0\0"
                                   "\4Edge\4test\0\0\6\0\1"
                                   "\xc0\x0c\0\6\0\1\0\0\0\x3c\0\2\xc0\x0c";
    struct dns_message m = message_of(bytes, sizeof bytes - 1);
    size_t at = dns_skip_questions(&m);
    struct dns_record r;
    struct dns_name edge = name_of("edge.test");
    assert_int_equal(at, 27);
    assert_true(dns_read_record(&m, &at, &r));
    assert_true(dns_name_eq(&r.name, &edge));
    assert_int_equal(r.type, DNS_TYPE_SOA);
    assert_int_equal(r.ttl_s, 60);
    assert_int_equal(at, m.len);
    assert_false(dns_read_record(&m, &at, &r));
}

static void test_pointers_do_not_loop(void **state)
{
    static const struct {
        const char *name;
        size_t len;
    } bad[] = {
        {"\xc0\x0c", 2},         /* to itself */
        {"\xc0\x0e\xc0\x0c", 4}, /* forwards */
        {"\1a\xc0\x0c", 4},      /* to the beginning of the name that it is in */
        {"\xc0", 1},
        {"\3ab", 3},
        {"\x40", 1},
        {"", 0},
        {"\1a", 2},
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        uint8_t bytes[32] = {0};
        memcpy(bytes + 12, bad[i].name, bad[i].len);
        struct dns_message m = message_of(bytes, 12 + bad[i].len);
        struct dns_name n;
        size_t at = 12;
        assert_false(dns_read_name(&m, &at, &n));
    }
}

static void test_rcodes(void **state)
{
    char text[DNS_RCODE_BYTES];
    assert_string_equal(dns_rcode_text(5, text), "REFUSED");
    assert_string_equal(dns_rcode_text(10, text), "NOTZONE");
    assert_string_equal(dns_rcode_text(11, text), "rcode 11");
}

UNIT_TESTS(cmocka_unit_test(test_names), cmocka_unit_test(test_name_lengths),
           cmocka_unit_test(test_zones_match_on_labels), cmocka_unit_test(test_update),
           cmocka_unit_test(test_writer_is_bounded), cmocka_unit_test(test_compressed_answer),
           cmocka_unit_test(test_pointers_do_not_loop), cmocka_unit_test(test_rcodes))

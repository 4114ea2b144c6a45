/* SPDX-License-Identifier: Apache-2.0 */
#include "data/proxy.c"

#include "unit.h"

#define V2 "\r\n\r\n\0\r\nQUIT\n"

static struct net_addr addr(const char *text)
{
    struct net_addr a;
    assert_true(result_is_ok(net_addr_parse(span_str(text), 0, &a)));
    return a;
}

static void assert_addr(const struct net_addr *a, const char *text)
{
    char got[NET_ADDR_TEXT_MAX];
    assert_string_equal(net_addr_print(a, got), text);
}

static enum err_code code_of(const void *bytes, size_t len)
{
    struct proxy_header h;
    return proxy_parse(span_of(bytes, len), &h).code;
}

/* Good with what follows, and ERR_AGAIN for every part of it. */
static struct proxy_header good(const char *bytes, size_t len)
{
    char more[512];
    struct proxy_header h;
    for (size_t n = 0; n < len; n++)
        assert_int_equal(code_of(bytes, n), ERR_AGAIN);
    memcpy(more, bytes, len);
    memcpy(more + len, "GET / HTTP/1.1\r\n", 16);
    assert_true(result_is_ok(proxy_parse(span_of(more, len + 16), &h)));
    assert_int_equal(h.len, len);
    assert_true(result_is_ok(proxy_parse(span_of(more, len), &h)));
    return h;
}
#define GOOD(text) good(text, sizeof(text) - 1)
#define BAD(text)  assert_int_equal(code_of(text, sizeof(text) - 1), ERR_FORMAT)

static void test_v1(void **state)
{
    struct proxy_header h = GOOD("PROXY TCP4 192.0.2.1 198.51.100.7 56324 443\r\n");
    assert_true(h.known);
    assert_addr(&h.client, "192.0.2.1:56324");
    assert_addr(&h.server, "198.51.100.7:443");
    h = GOOD("PROXY TCP6 2001:db8::1 ::1 0 65535\r\n");
    assert_addr(&h.client, "[2001:db8::1]:0");
    assert_addr(&h.server, "[::1]:65535");
    assert_false(GOOD("PROXY UNKNOWN\r\n").known);
    assert_false(GOOD("PROXY UNKNOWN ffff:f 1 2 3 4 5\r\n").known);
}

static void test_v1_bad(void **state)
{
    BAD("GET / HTTP/1.1\r\n");
    BAD("PROXY\r\n");
    BAD("PROXY \r\n");
    BAD("Proxy TCP4 192.0.2.1 192.0.2.2 1 2\r\n");
    BAD("PROXY TCP4 192.0.2.1 192.0.2.2 1 2\n");
    BAD("PROXY TCP4 192.0.2.1 192.0.2.2 1\r\n");
    BAD("PROXY TCP4 192.0.2.1 192.0.2.2 1 2 \r\n");
    BAD("PROXY TCP4  192.0.2.1 192.0.2.2 1 2\r\n");
    BAD("PROXY TCP4 192.0.2.1 192.0.2.2 1 65536\r\n");
    BAD("PROXY TCP4 192.0.2.1 192.0.2.2 01 2\r\n");
    BAD("PROXY TCP4 192.0.2.1 192.0.2.2 +1 2\r\n");
    BAD("PROXY TCP4 192.0.2.01 192.0.2.2 1 2\r\n");
    BAD("PROXY TCP4 192.0.2 192.0.2.2 1 2\r\n");
    BAD("PROXY TCP4 ::1 ::1 1 2\r\n");
    BAD("PROXY TCP6 192.0.2.1 192.0.2.2 1 2\r\n");
    BAD("PROXY TCP5 192.0.2.1 192.0.2.2 1 2\r\n");
    BAD("PROXY TCP4 192.0.2.1 192.0.2.2 1 \0\r\n");
    char line[PROXY_V1_MAX + 1];
    memset(line, 'x', sizeof line);
    memcpy(line, "PROXY UNKNOWN ", 14);
    assert_int_equal(code_of(line, PROXY_V1_MAX - 1), ERR_AGAIN);
    assert_int_equal(code_of(line, PROXY_V1_MAX), ERR_FORMAT);
    line[PROXY_V1_MAX - 1] = '\r';
    line[PROXY_V1_MAX] = '\n';
    assert_int_equal(code_of(line, sizeof line), ERR_FORMAT);
    memcpy(line + PROXY_V1_MAX - 2, "\r\n", 2);
    assert_int_equal(code_of(line, PROXY_V1_MAX), ERR_NONE);
}

static void test_v2(void **state)
{
    struct proxy_header h = GOOD(V2 "\x21\x11\0\x0c\xc0\0\x02\x01\xc0\0\x02\x02\xdc\x04\x01\xbb");
    assert_true(h.known);
    assert_addr(&h.client, "192.0.2.1:56324");
    assert_addr(&h.server, "192.0.2.2:443");
    /* with extensions */
    h = GOOD(V2 "\x21\x11\0\x10\xc0\0\x02\x01\xc0\0\x02\x02\xdc\x04\x01\xbb\x04\0\x01\0");
    assert_addr(&h.client, "192.0.2.1:56324");
    h = GOOD(V2 "\x21\x21\0\x24\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x01"
                "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x01\0\x01\0\x02");
    assert_addr(&h.client, "[2001:db8::1]:1");
    assert_addr(&h.server, "[::1]:2");
    assert_false(GOOD(V2 "\x20\x11\0\x02xx").known);
    assert_false(GOOD(V2 "\x20\0\0\0").known);
    assert_false(GOOD(V2 "\x21\0\0\0").known);
    assert_false(GOOD(V2 "\x21\x31\0\x01x").known);
}

static void test_v2_bad(void **state)
{
    BAD("\r\n\r\n\0\r\nQUIX\n\x21\0\0\0");
    BAD(V2 "\x11\0\0\0");
    BAD(V2 "\x22");
    BAD(V2 "\x21\x12\0\x0c");
    BAD(V2 "\x21\x41\0\x0c");
    BAD(V2 "\x21\x11\0\x0b");
    BAD(V2 "\x21\x21\0\x23");
    static const char large[] = V2 "\x21\x11\x0f\xf1";
    assert_int_equal(code_of(large, sizeof large - 1), ERR_TOO_LARGE);
    static const char most[] = V2 "\x21\x11\x0f\xf0";
    assert_int_equal(code_of(most, sizeof most - 1), ERR_AGAIN);
}

static struct span written(uint32_t version, const char *client, const char *server, char *memory)
{
    struct writer out = writer_of(memory, PROXY_WRITE_MAX);
    struct net_addr none = {0}, a = client ? addr(client) : none, b = server ? addr(server) : none;
    proxy_write(version, &a, &b, &out);
    assert_false(out.bad);
    return writer_done(&out);
}

static void test_write(void **state)
{
    static const char *const pairs[][2] = {
        {"192.0.2.1:1", "198.51.100.7:65535"},
        {"[2001:db8::1]:65535", "[::1]:443"},
        {"[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]:65535",
         "[ffff:ffff:ffff:ffff:ffff:ffff:ffff:fffe]:65535"},
    };
    char memory[PROXY_WRITE_MAX];
    for (uint32_t version = 1; version <= 2; version++) {
        for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++) {
            struct proxy_header h;
            struct span s = written(version, pairs[i][0], pairs[i][1], memory);
            assert_true(result_is_ok(proxy_parse(s, &h)));
            assert_int_equal(h.len, s.len);
            assert_true(h.known);
            assert_addr(&h.client, pairs[i][0]);
            assert_addr(&h.server, pairs[i][1]);
        }
    }
}

static void test_write_families(void **state)
{
    char memory[PROXY_WRITE_MAX];
    struct proxy_header h;
    struct span s = written(1, "[::ffff:192.0.2.1]:1", "192.0.2.2:2", memory);
    assert_memory_equal(s.ptr, "PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n", s.len);
    s = written(1, "[2001:db8::1]:1", "192.0.2.2:2", memory);
    assert_memory_equal(s.ptr, "PROXY TCP6 2001:db8::1 ::ffff:192.0.2.2 1 2\r\n", s.len);
    s = written(2, "[2001:db8::1]:1", "192.0.2.2:2", memory);
    assert_true(result_is_ok(proxy_parse(s, &h)));
    assert_addr(&h.client, "[2001:db8::1]:1");
    for (uint32_t version = 1; version <= 2; version++) {
        s = written(version, NULL, "192.0.2.2:2", memory);
        assert_true(result_is_ok(proxy_parse(s, &h)));
        assert_false(h.known);
    }
}

UNIT_TESTS(cmocka_unit_test(test_v1), cmocka_unit_test(test_v1_bad), cmocka_unit_test(test_v2),
           cmocka_unit_test(test_v2_bad), cmocka_unit_test(test_write),
           cmocka_unit_test(test_write_families))

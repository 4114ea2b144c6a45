/* SPDX-License-Identifier: Apache-2.0 */
#include "data/forward.c"

#include "unit.h"

static struct http_head head_with(const char *const (*fields)[2], const enum http_name *known,
                                  uint32_t count)
{
    struct http_head h = {.authority = SPAN_LITERAL("a.test:8443")};
    for (uint32_t i = 0; i < count; i++)
        h.fields[h.field_count++] = (struct http_field){
            .name = span_str(fields[i][0]), .value = span_str(fields[i][1]), .known = known[i]};
    return h;
}

/* The fields behind the first `from`, as lines. */
static void assert_added(const struct http_head *h, uint32_t from, const char *lines)
{
    char memory[1024];
    struct writer w = writer_of(memory, sizeof memory);
    for (uint32_t i = from; i < h->field_count; i++) {
        writer_span(&w, h->fields[i].name);
        writer_bytes(&w, ": ", 2);
        writer_span(&w, h->fields[i].value);
        writer_bytes(&w, "\r\n", 2);
    }
    if (!span_eq(writer_done(&w), span_str(lines)))
        fail_msg("added\n%.*s\ninstead of\n%s", SPAN_FMT(writer_done(&w)), lines);
}

static const char *const sent[][2] = {
    {"Accept", "*/*"},
    {"X-Forwarded-For", "9.9.9.9"},
    {"x-forwarded-for", "8.8.8.8"},
    {"X-Forwarded-Proto", "https"},
    {"X-Forwarded-Tls-Client-Cert", "forged"},
    {"X-Real-Ip", "7.7.7.7"},
    {"X-Forwarded-Server", "other"},
};
static const enum http_name sent_known[] = {
    HTTP_NAME_OTHER,
    HTTP_NAME_X_FORWARDED_FOR,
    HTTP_NAME_X_FORWARDED_FOR,
    HTTP_NAME_X_FORWARDED_PROTO,
    HTTP_NAME_OTHER,
    HTTP_NAME_X_REAL_IP,
    HTTP_NAME_X_FORWARDED_SERVER,
};

static void untrusted_fields_are_replaced(void **state)
{
    struct http_head h = head_with(sent, sent_known, 7);
    char memory[512];
    struct writer lines = writer_of(memory, sizeof memory);
    struct forward_client c = {.ip = SPAN_LITERAL("1.2.3.4"), .server = SPAN_LITERAL("edge")};
    assert_true(result_is_ok(forward_apply(&h, &c)));
    assert_true(result_is_ok(forward_add_client(&h, c.ip, &lines)));
    assert_added(&h, 7,
                 "X-Forwarded-Host: a.test:8443\r\n"
                 "X-Forwarded-Port: 8443\r\n"
                 "X-Forwarded-Proto: http\r\n"
                 "X-Forwarded-Server: edge\r\n"
                 "X-Real-Ip: 1.2.3.4\r\n"
                 "X-Forwarded-For: 1.2.3.4\r\n");
    assert_false(h.fields[0].drop);
    for (int i = 1; i < 7; i++)
        assert_true(h.fields[i].drop);
}

static void trusted_fields_are_kept_and_added_to(void **state)
{
    struct http_head h = head_with(sent, sent_known, 7);
    h.authority = SPAN_LITERAL("a.test");
    char memory[512];
    struct writer lines = writer_of(memory, sizeof memory);
    struct forward_client c = {
        .ip = SPAN_LITERAL("1.2.3.4"), .server = SPAN_LITERAL("edge"), .trusted = true};
    assert_true(result_is_ok(forward_apply(&h, &c)));
    assert_false(h.fields[1].drop); /* middlewares still see it */
    assert_true(result_is_ok(forward_add_client(&h, c.ip, &lines)));
    assert_added(&h, 7,
                 "X-Forwarded-Host: a.test\r\n"
                 "X-Forwarded-Port: 443\r\n"
                 "X-Forwarded-Server: edge\r\n"
                 "X-Forwarded-For: 9.9.9.9, 8.8.8.8, 1.2.3.4\r\n");
    bool dropped[] = {false, true, true, false, false, false, true};
    for (int i = 0; i < 7; i++)
        assert_int_equal(h.fields[i].drop, dropped[i]);
}

static void websockets_have_schemes_of_their_own(void **state)
{
    for (int tls = 0; tls < 2; tls++) {
        struct http_head h = {0};
        struct forward_client c = {.ip = SPAN_LITERAL("1.2.3.4"),
                                   .server = SPAN_LITERAL("e"),
                                   .tls = tls,
                                   .websocket = true};
        assert_true(result_is_ok(forward_apply(&h, &c)));
        assert_added(&h, 0,
                     tls ? "X-Forwarded-Port: 443\r\nX-Forwarded-Proto: wss\r\n"
                           "X-Forwarded-Server: e\r\nX-Real-Ip: 1.2.3.4\r\n"
                         : "X-Forwarded-Port: 80\r\nX-Forwarded-Proto: ws\r\n"
                           "X-Forwarded-Server: e\r\nX-Real-Ip: 1.2.3.4\r\n");
    }
}

static void no_room_is_an_error(void **state)
{
    struct http_head h = head_with(sent, sent_known, 7);
    char memory[16];
    struct writer lines = writer_of(memory, sizeof memory);
    struct forward_client c = {.ip = SPAN_LITERAL("1.2.3.4"), .trusted = true};
    assert_int_equal(forward_add_client(&h, c.ip, &lines).code, ERR_TOO_LARGE);
    h.field_count = sizeof h.fields / sizeof *h.fields;
    assert_int_equal(forward_apply(&h, &c).code, ERR_TOO_LARGE);
}

static void prefixes(void **state)
{
    struct snap_prefix p[] = {
        {.address = {[10] = 0xff, [11] = 0xff, [12] = 10, [13] = 64}, .bits = 96 + 10},
        {.address = {0x20, 0x01, 0x0d, 0xb8}, .bits = 32},
    };
    struct snapshot s = {.prefixes = p, .prefix_count = 2};
    struct snap_entrypoint ep = {.trusted_count = 2};
    static const struct {
        const char *text;
        bool trusted;
    } rows[] = {
        {"10.64.0.1:1", true},          {"10.127.255.255:1", true}, {"10.128.0.0:1", false},
        {"10.63.0.1:1", false},         {"[2001:db8::7]:1", true},  {"[2001:db9::7]:1", false},
        {"[::ffff:10.65.0.1]:1", true},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct net_addr a;
        assert_true(result_is_ok(net_addr_parse(span_str(rows[i].text), 0, &a)));
        assert_int_equal(forward_is_trusted(&s, &ep, &a), rows[i].trusted);
    }
    struct net_addr any = {.in = {.sin_family = AF_INET}, .len = sizeof any.in};
    struct snap_entrypoint insecure = {.forwarded_insecure = true}, none = {0};
    assert_true(forward_is_trusted(&s, &insecure, &any));
    assert_false(forward_is_trusted(&s, &none, &any));
}

UNIT_TESTS(cmocka_unit_test(untrusted_fields_are_replaced),
           cmocka_unit_test(trusted_fields_are_kept_and_added_to),
           cmocka_unit_test(websockets_have_schemes_of_their_own),
           cmocka_unit_test(no_room_is_an_error), cmocka_unit_test(prefixes))

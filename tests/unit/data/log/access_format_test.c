/* SPDX-License-Identifier: Apache-2.0 */
#include "data/log/access_format.c"

#include "unit.h"

static struct snapshot snapshot;
static struct access_record record;
static char line[8192];

static int set_up(void **state)
{
    snapshot = (struct snapshot){.access = {.on = true, .header_mode = SNAP_ACCESS_DROP}};
    record = (struct access_record){
        .start_s = 1800000000, /* Fri Jan 15 08:00:00 UTC 2027 */
        .start_ns = 5,
        .duration_ns = 12345678,
        .origin_ns = 12000000,
        .client_ip = SPAN_LITERAL("192.0.2.1"),
        .client_port = 4711,
        .method = SPAN_LITERAL("GET"),
        .target = SPAN_LITERAL("/a?b=c"),
        .host = SPAN_LITERAL("example.test:8080"),
        .protocol = SPAN_LITERAL("HTTP/1.1"),
        .entrypoint = SPAN_LITERAL("web"),
        .router = SPAN_LITERAL("all"),
        .service = SPAN_LITERAL("origins"),
        .server_url = SPAN_LITERAL("http://10.0.0.1:80"),
        .status = 200,
        .origin_status = 200,
        .response_bytes = 64,
        .number = 7,
    };
    return 0;
}

static const char *formatted(void)
{
    struct writer out = writer_of(line, sizeof line - 1);
    assert_true(access_format(&snapshot.access, &record, &out));
    line[out.len] = 0;
    return line;
}

static void test_common(void **state)
{
    assert_string_equal(formatted(),
                        "192.0.2.1 - - [15/Jan/2027:08:00:00 +0000] \"GET /a?b=c HTTP/1.1\" 200 64 "
                        "\"-\" \"-\" 7 \"all\" \"http://10.0.0.1:80\" 12ms\n");
    record.referer = SPAN_LITERAL("http://from/");
    record.user_agent = SPAN_LITERAL("agent \"x\"");
    record.router = record.server_url = (struct span){0};
    record.status = 404;
    assert_string_equal(formatted(),
                        "192.0.2.1 - - [15/Jan/2027:08:00:00 +0000] \"GET /a?b=c HTTP/1.1\" 404 64 "
                        "\"http://from/\" \"agent \\\"x\\\"\" 7 \"-\" \"-\" 12ms\n");
}

/* One line stays one line, and a reader finds its fields. */
static void test_hostile_bytes(void **state)
{
    record.target = SPAN_LITERAL("/\x01\r\n\"\\\x7f\xff\xc3\xa4\xed\xa0\x80\xc3");
    assert_non_null(strstr(
        formatted(), "GET /\\x01\\x0d\\x0a\\\"\\\\\\x7f\\xff\xc3\xa4\\xed\\xa0\\x80\\xc3 HTTP"));
    snapshot.access.json = true;
    assert_non_null(strstr(formatted(),
                           "\"RequestPath\":\"/\\u0001\\u000d\\u000a\\\"\\\\\\u007f\\ufffd"
                           "\xc3\xa4\\ufffd\\ufffd\\ufffd\\ufffd\""));
}

static void test_json(void **state)
{
    snapshot.access.json = true;
    record.headers = SPAN_LITERAL(",\"request_X\":\"y\"");
    record.tls = true;
    record.tls_version = SPAN_LITERAL("1.3");
    formatted();
    static const char *const parts[] = {
        "{\"level\":\"info\",\"msg\":\"\",",
        "\"ClientAddr\":\"192.0.2.1:4711\"",
        "\"ClientHost\":\"192.0.2.1\"",
        "\"ClientPort\":\"4711\"",
        "\"ClientUsername\":\"-\"",
        "\"RequestAddr\":\"example.test:8080\"",
        "\"RequestHost\":\"example.test\"",
        "\"RequestPort\":\"8080\"",
        "\"RequestMethod\":\"GET\"",
        "\"RequestScheme\":\"https\"",
        "\"RouterName\":\"all\"",
        "\"ServiceAddr\":\"10.0.0.1:80\"",
        "\"OriginStatus\":200",
        "\"DownstreamStatus\":200",
        "\"DownstreamContentSize\":64",
        "\"Duration\":12345678",
        "\"OriginDuration\":12000000",
        "\"Overhead\":345678",
        "\"RetryAttempts\":0",
        "\"TLSVersion\":\"1.3\"",
        "\"entryPointName\":\"web\"",
        "\"RequestCount\":7",
        "\"StartUTC\":\"2027-01-15T08:00:00.000000005Z\"",
        ",\"request_X\":\"y\"",
        "\"time\":\"2027-01-15T08:00:00.000000000Z\"}\n",
    };
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++)
        if (!strstr(line, parts[i]))
            fail_msg("%s is not in %s", parts[i], line);
    assert_null(strstr(line, "TLSCipher")); /* not known */
}

/* A connection has no request: what stands in a request's place is the server name. */
static void test_tcp(void **state)
{
    record.tcp = record.tls = true;
    record.method = record.target = (struct span){0};
    record.host = SPAN_LITERAL("a.test");
    record.protocol = SPAN_LITERAL("TCP");
    record.server_url = SPAN_LITERAL("10.0.0.1:993");
    assert_string_equal(formatted(),
                        "192.0.2.1 - - [15/Jan/2027:08:00:00 +0000] \"- a.test TCP\" 200 64 "
                        "\"-\" \"-\" 7 \"all\" \"10.0.0.1:993\" 12ms\n");
    snapshot.access.json = true;
    formatted();
    static const char *const parts[] = {
        "\"RequestHost\":\"a.test\"", "\"RequestProtocol\":\"TCP\"", "\"RequestScheme\":\"tls\"",
        "\"ServiceAddr\":\"10.0.0.1:993\"", "\"DownstreamContentSize\":64"};
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++)
        if (!strstr(line, parts[i]))
            fail_msg("%s is not in %s", parts[i], line);
    static const char *const none[] = {"RequestMethod", "RequestPath", "RequestPort", "ServiceURL"};
    for (size_t i = 0; i < sizeof none / sizeof *none; i++)
        if (strstr(line, none[i]))
            fail_msg("%s is in %s", none[i], line);
}

static void test_dropped_fields(void **state)
{
    snapshot.access.dropped = (1ull << ACCESS_FIELDS) - 1;
    assert_string_equal(formatted(), "- - - [-] \"- - -\" - - \"-\" \"-\" - \"-\" \"-\" -ms\n");
    snapshot.access.json = true;
    snapshot.access.dropped &= ~(1ull << ACCESS_FIELD_REQUEST_METHOD);
    assert_non_null(strstr(formatted(), "{\"level\":\"info\",\"msg\":\"\",\"RequestMethod\":\"GET\""
                                        ",\"time\""));
}

static void test_filters(void **state)
{
    struct snap_access_status ranges[] = {{404, 404}, {500, 599}};
    assert_true(access_passes(&snapshot, &record)); /* none */
    snapshot.access_statuses = ranges;
    snapshot.access_status_count = 2;
    assert_false(access_passes(&snapshot, &record));
    record.status = 502;
    assert_true(access_passes(&snapshot, &record));
    record.status = 200;
    snapshot.access.only_retried = true;
    assert_false(access_passes(&snapshot, &record));
    record.retries = 1;
    assert_true(access_passes(&snapshot, &record));
    record.retries = 0;
    snapshot.access.min_ms = 12;
    assert_true(access_passes(&snapshot, &record));
    snapshot.access.min_ms = 13;
    assert_false(access_passes(&snapshot, &record));
}

static void test_header_modes(void **state)
{
    struct snap_access_header modes[] = {{SPAN_LITERAL("User-Agent"), SNAP_ACCESS_KEEP},
                                         {SPAN_LITERAL("Cookie"), SNAP_ACCESS_REDACT}};
    snapshot.access_headers = modes;
    snapshot.access_header_count = 2;
    assert_int_equal(access_header_mode(&snapshot, SPAN_LITERAL("user-agent")), SNAP_ACCESS_KEEP);
    assert_int_equal(access_header_mode(&snapshot, SPAN_LITERAL("COOKIE")), SNAP_ACCESS_REDACT);
    assert_int_equal(access_header_mode(&snapshot, SPAN_LITERAL("Cookie2")), SNAP_ACCESS_DROP);
    struct writer out = writer_of(line, 40);
    assert_true(
        access_header(SPAN_LITERAL("request_"), SPAN_LITERAL("A"), SPAN_LITERAL("b"), &out));
    assert_memory_equal(line, ",\"request_A\":\"b\"", out.len);
    size_t before = out.len;
    assert_false(access_header(SPAN_LITERAL("request_"), SPAN_LITERAL("Long"),
                               SPAN_LITERAL("longer than the room"), &out));
    assert_int_equal(out.len, before);
    assert_false(out.bad);
}

static void test_no_room(void **state)
{
    for (size_t room = 0; room < 100; room++) {
        struct writer out = writer_of(line, room);
        assert_false(access_format(&snapshot.access, &record, &out));
        assert_true(out.len <= room);
    }
}

static void test_addresses(void **state)
{
    struct span host, port;
    split_host(SPAN_LITERAL("[::1]:80"), &host, &port);
    assert_true(span_eq(host, SPAN_LITERAL("::1")) && span_eq(port, SPAN_LITERAL("80")));
    split_host(SPAN_LITERAL("[::1]"), &host, &port);
    assert_true(span_eq(host, SPAN_LITERAL("::1")) && port.len == 0);
    split_host(SPAN_LITERAL("["), &host, &port);
    assert_true(host.len == 0 && port.len == 0);
    split_host(SPAN_LITERAL(""), &host, &port);
    assert_true(host.len == 0 && port.len == 0);
    snapshot.access.json = true;
    record.client_ip = SPAN_LITERAL("::1");
    assert_non_null(strstr(formatted(), "\"ClientAddr\":\"[::1]:4711\""));
}

#define TEST(f) cmocka_unit_test_setup(f, set_up)
UNIT_TESTS(TEST(test_common), TEST(test_hostile_bytes), TEST(test_json), TEST(test_tcp),
           TEST(test_dropped_fields), TEST(test_filters), TEST(test_header_modes),
           TEST(test_no_room), TEST(test_addresses))

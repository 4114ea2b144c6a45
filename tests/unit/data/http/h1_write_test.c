/* SPDX-License-Identifier: Apache-2.0 */
/* What is written, and that the codec reads it back as the same message. */
#include "data/http/h1_write.c"

#include "unit.h"

#include "data/http/h1_transcript.h"

static uint8_t memory[8192];

/* The head that `text` holds; spans point into it. */
static const struct http_head *parse(enum h1_role role, enum http_method method, const char *text)
{
    static struct http_head head;
    static struct h1 h1;
    size_t used;
    h1_init(&h1, role, 8192, &head);
    h1_expect(&h1, method);
    struct http_event e = h1_feed(&h1, span_str(text), &used);
    assert_int_equal(e.kind, HTTP_EVENT_HEAD);
    return e.head;
}

static void assert_written(const struct writer *w, const char *text)
{
    if (!span_eq(writer_done(w), span_str(text)))
        fail_msg("wrote\n%.*s\ninstead of\n%s", SPAN_FMT(writer_done(w)), text);
}

static void requests(void **state)
{
    static const struct {
        const char *in, *target, *client, *out;
    } rows[] = {
        {"GET /a?b HTTP/1.1\r\nhost: h:80\r\nX:  y \r\nConnection: close, drop\r\nDrop: 1\r\n\r\n",
         "/a?b", "1.2.3.4",
         "GET /a?b HTTP/1.1\r\nHost: h:80\r\nX: y\r\nX-Forwarded-For: 1.2.3.4\r\n\r\n"},
        {"POST http://a/x HTTP/1.1\r\nHost: b\r\ncontent-length: 005\r\nE:\r\n\r\n", "/new", "",
         "POST /new HTTP/1.1\r\nHost: a\r\nE: \r\nContent-Length: 5\r\n\r\n"},
        {"PUT / HTTP/1.1\r\nHost: b\r\nTransfer-Encoding: CHUNKED\r\nTE: trailers, x\r\n\r\n", "/",
         "",
         "PUT / HTTP/1.1\r\nHost: b\r\nTE: trailers\r\nTransfer-Encoding: chunked\r\n"
         "Connection: TE\r\n\r\n"},
        {"POST / HTTP/1.1\r\nHost: b\r\nContent-Length: 0\r\n\r\n", "/", "",
         "POST / HTTP/1.1\r\nHost: b\r\nContent-Length: 0\r\n\r\n"},
        {"GET / HTTP/1.0\r\n\r\n", "/", "", "GET / HTTP/1.1\r\nHost: \r\n\r\n"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        static struct http_head own;
        struct http_head *head = &own;
        own = *parse(H1_SERVER, HTTP_OTHER, rows[i].in);
        struct writer w = writer_of(memory, sizeof memory);
        struct span target = span_str(rows[i].target), client = span_str(rows[i].client);
        if (client.len)
            assert_true(http_head_add(head, SPAN_LITERAL("X-Forwarded-For"), client));
        assert_true(result_is_ok(h1_write_request(head, target, &w)));
        assert_written(&w, rows[i].out);
        for (size_t cap = 0; cap < strlen(rows[i].out); cap++) {
            w = writer_of(memory, cap);
            memory[cap] = 0xee;
            assert_int_equal(h1_write_request(head, target, &w).code, ERR_TOO_LARGE);
            assert_int_equal(memory[cap], 0xee);
        }
    }
}

static void an_upgrade(void **state)
{
    struct http_head head = *parse(H1_SERVER, HTTP_OTHER,
                                   "GET /ws HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\n"
                                   "Upgrade: websocket\r\n\r\n");
    struct writer w = writer_of(memory, sizeof memory);
    assert_true(result_is_ok(h1_write_request(&head, head.path, &w)));
    assert_written(&w, "GET /ws HTTP/1.1\r\nHost: h\r\n\r\n");
    rules_pass_upgrade(&head);
    w = writer_of(memory, sizeof memory);
    assert_true(result_is_ok(h1_write_request(&head, head.path, &w)));
    assert_written(
        &w, "GET /ws HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n");
}

static void responses(void **state)
{
    static const struct {
        const char *in;
        enum http_method method;
        uint8_t minor;
        enum http_body body;
        bool keep_alive;
        const char *out;
    } rows[] = {
        {"HTTP/1.0 200 Fine\r\nServer: x\r\nContent-Length: 64\r\nKeep-Alive: 5\r\n\r\n", HTTP_GET,
         1, HTTP_BODY_LENGTH, true, "HTTP/1.1 200 Fine\r\nServer: x\r\nContent-Length: 64\r\n\r\n"},
        {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", HTTP_GET, 1, HTTP_BODY_CHUNKED,
         false, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n"},
        {"HTTP/1.1 200\r\n\r\n", HTTP_GET, 0, HTTP_BODY_UNTIL_CLOSE, false,
         "HTTP/1.1 200 \r\nConnection: close\r\n\r\n"},
        {"HTTP/1.1 404 No\r\nContent-Length: 1\r\n\r\n", HTTP_GET, 0, HTTP_BODY_LENGTH, true,
         "HTTP/1.1 404 No\r\nContent-Length: 1\r\nConnection: keep-alive\r\n\r\n"},
        {"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n", HTTP_HEAD, 1, HTTP_BODY_NONE, true,
         "HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n"},
        {"HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\nETag: x\r\n\r\n", HTTP_GET, 1,
         HTTP_BODY_NONE, true, "HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\nETag: x\r\n\r\n"},
        {"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n", HTTP_GET, 1, HTTP_BODY_NONE, false,
         "HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        const struct http_head *head = parse(H1_CLIENT, rows[i].method, rows[i].in);
        for (size_t cap = sizeof memory - 1;; cap = strlen(rows[i].out) - 1) {
            struct writer w = writer_of(memory, cap);
            struct result r =
                h1_write_response(head, rows[i].minor, rows[i].body, rows[i].keep_alive, &w);
            if (cap < sizeof memory - 1) {
                assert_int_equal(r.code, ERR_TOO_LARGE);
                break;
            }
            assert_true(result_is_ok(r));
            assert_written(&w, rows[i].out);
        }
    }
}

static void what_is_written_reads_the_same(void **state)
{
    static const char *const texts[] = {
        "GET /x?y=z HTTP/1.1\r\nHost: h:81\r\nAccept: */*\r\nX: \r\n\r\n",
        "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 18446744073709\r\n\r\n",
        "PATCH / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\nTE: trailers\r\n\r\n",
    };
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        struct buf first = {0}, second = {0};
        struct http_head head = *parse(H1_SERVER, HTTP_OTHER, texts[i]);
        struct writer w = writer_of(memory, sizeof memory - 1);
        assert_true(result_is_ok(h1_write_request(&head, head.path, &w)));
        memory[w.len] = 0;
        const struct http_head *again = parse(H1_SERVER, HTTP_OTHER, (char *)memory);
        assert_int_equal(again->body, head.body);
        assert_int_equal(again->content_length, head.content_length);
        assert_true(span_eq(again->authority, SPAN_LITERAL("h")) ||
                    span_eq(again->authority, SPAN_LITERAL("h:81")));
        buf_put(&first, memory, w.len);
        w = writer_of(memory + 4096, 4096);
        assert_true(result_is_ok(h1_write_request(again, again->path, &w)));
        assert_true(span_eq(writer_done(&w), buf_span(&first))); /* a fixed point */
        buf_free(&first);
        buf_free(&second);
    }
}

static void small_responses(void **state)
{
    struct http_field location = {SPAN_LITERAL("Location"), SPAN_LITERAL("https://h/"), 0, false};
    struct http_answer moved = {.status = 301, .fields = &location, .field_count = 1};
    struct writer w = writer_of(memory, sizeof memory);
    assert_true(
        result_is_ok(h1_write_answer(&(struct http_answer){.status = 404}, true, false, &w)));
    assert_written(&w, "HTTP/1.1 404 Not Found\r\nContent-Type: text/plain; charset=utf-8\r\n"
                       "Content-Length: 14\r\n\r\n404 Not Found\n");
    w = writer_of(memory, sizeof memory);
    assert_true(result_is_ok(h1_write_answer(&moved, false, true, &w)));
    assert_written(&w, "HTTP/1.1 301 Moved Permanently\r\nLocation: https://h/\r\n"
                       "Content-Type: text/plain; charset=utf-8\r\nContent-Length: 22\r\n"
                       "Connection: close\r\n\r\n");
    w = writer_of(memory, sizeof memory);
    assert_true(
        result_is_ok(h1_write_answer(&(struct http_answer){.status = 100}, true, false, &w)));
    assert_written(&w, "HTTP/1.1 100 Continue\r\n\r\n");
    for (unsigned i = 0; i < HTTP_RULE_COUNT;
         i++) /* every refusal has its phrase and is read back */
    {
        uint16_t status = rules_reject((enum http_rule)i)->status;
        assert_true(strlen(h1_reason(status)) > 0);
        w = writer_of(memory, sizeof memory);
        assert_true(result_is_ok(
            h1_write_answer(&(struct http_answer){.status = status}, false, false, &w)));
        size_t len = w.len;
        struct buf t = {0};
        transcript(&t, H1_CLIENT, HTTP_GET, writer_done(&w), &len, 1, true);
        assert_non_null(strstr(buf_cstr(&t), "] END"));
        buf_free(&t);
    }
    struct http_answer own = {
        .status = 200, .fields = &location, .field_count = 1, .body = SPAN_LITERAL("own body")};
    w = writer_of(memory, sizeof memory);
    assert_true(result_is_ok(h1_write_answer(&own, true, false, &w)));
    assert_true(w.len <= h1_answer_room(&own));
    assert_written(&w,
                   "HTTP/1.1 200 OK\r\nLocation: https://h/\r\nContent-Length: 8\r\n\r\nown body");
    w = writer_of(memory, sizeof memory);
    own = (struct http_answer){.status = 200, .bare = true};
    assert_true(result_is_ok(h1_write_answer(&own, true, false, &w)));
    assert_written(&w, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    w = writer_of(memory, 60);
    assert_int_equal(h1_write_answer(&(struct http_answer){.status = 404}, true, false, &w).code,
                     ERR_TOO_LARGE);
    assert_string_equal(h1_reason(299), "");
}

static void chunks(void **state)
{
    static const struct {
        uint64_t len;
        const char *line;
    } rows[] = {{1, "1\r\n"},
                {15, "f\r\n"},
                {16, "10\r\n"},
                {65536, "10000\r\n"},
                {UINT64_MAX, "ffffffffffffffff\r\n"}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        uint8_t line[H1_CHUNK_HEAD_MAX];
        size_t n = h1_chunk_head(rows[i].len, line);
        assert_int_equal(n, strlen(rows[i].line));
        assert_memory_equal(line, rows[i].line, n);
    }
    struct http_head trailers = {.field_count = 2};
    trailers.fields[0] = (struct http_field){SPAN_LITERAL("X"), SPAN_LITERAL("y"), 0, false};
    trailers.fields[1] = (struct http_field){SPAN_LITERAL("Cookie"), SPAN_LITERAL("y"), 0, true};
    struct writer w = writer_of(memory, sizeof memory);
    assert_true(result_is_ok(h1_write_fields(&trailers, &w)));
    assert_written(&w, "X: y\r\n");
    w = writer_of(memory, 5);
    assert_int_equal(h1_write_fields(&trailers, &w).code, ERR_TOO_LARGE);
}

UNIT_TESTS(cmocka_unit_test(requests), cmocka_unit_test(an_upgrade), cmocka_unit_test(responses),
           cmocka_unit_test(what_is_written_reads_the_same), cmocka_unit_test(small_responses),
           cmocka_unit_test(chunks))

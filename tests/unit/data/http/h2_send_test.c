/* SPDX-License-Identifier: Apache-2.0 */
#include "data/http/h2_send.c"

#include "unit.h"

/* ---- a sink that the tests look into -------------------------------------------------------- */

static uint8_t sent[65536];
static size_t sent_bytes, room = sizeof sent;

uint32_t sink_room(struct sink *s, uint32_t want)
{
    return sent_bytes < room ? want : 0;
}

void sink_copy(struct sink *s, struct span bytes)
{
    assert_true(bytes.len <= sizeof sent - sent_bytes);
    memcpy(sent + sent_bytes, bytes.ptr, bytes.len);
    sent_bytes += bytes.len;
}

struct writer sink_writer(struct sink *s, uint32_t need)
{
    assert_true(need <= sizeof sent - sent_bytes);
    return writer_of(sent + sent_bytes, need);
}

void sink_commit(struct sink *s, const struct writer *w)
{
    sent_bytes += w->len;
}

/* ---- one stream ----------------------------------------------------------------------------- */

static struct h2_sender sender;
static struct span waiting;
static bool last;
static struct span trailer_lines;

static uint32_t on_waiting(struct h2_sender *s, void *stream, bool *ret_last)
{
    *ret_last = last;
    return (uint32_t)waiting.len;
}

static void on_move(struct h2_sender *s, void *stream, uint32_t n, struct writer *to)
{
    writer_span(to, span_first(waiting, n));
    waiting = span_skip(waiting, n);
}

static struct span on_lines(struct h2_sender *s, void *stream)
{
    return trailer_lines;
}

static const struct h2_payload payload = {on_waiting, on_move, on_lines};
static int32_t id;

/* A client that has begun a request with payload; the preface and SETTINGS are out. */
static int setup(void **state)
{
    nghttp2_session_callbacks *callbacks;
    nghttp2_nv nv[] = {h2_send_nv(SPAN_LITERAL(":method"), SPAN_LITERAL("POST")),
                       h2_send_nv(SPAN_LITERAL(":scheme"), SPAN_LITERAL("https")),
                       h2_send_nv(SPAN_LITERAL(":authority"), SPAN_LITERAL("a")),
                       h2_send_nv(SPAN_LITERAL(":path"), SPAN_LITERAL("/"))};
    struct sink sink = {0};
    sender = (struct h2_sender){.payload = &payload};
    waiting = trailer_lines = (struct span){0};
    last = false;
    sent_bytes = 0;
    room = sizeof sent;
    if (nghttp2_session_callbacks_new(&callbacks))
        return -1;
    h2_send_callbacks(callbacks);
    int rv = nghttp2_session_client_new(&sender.session, callbacks, &sender);
    nghttp2_session_callbacks_del(callbacks);
    nghttp2_data_provider from = h2_send_provider(&id);
    id = rv ? -1 : nghttp2_submit_request(sender.session, NULL, nv, 4, &from, &id);
    bool good = id > 0 && h2_send_all(&sender, &sink);
    sent_bytes = 0;
    return good ? 0 : -1;
}

static int teardown(void **state)
{
    nghttp2_session_del(sender.session);
    return 0;
}

static void send_now(void)
{
    struct sink sink = {0};
    h2_send_resume(&sender, id);
    assert_true(h2_send_all(&sender, &sink));
    assert_null(sender.out);
}

static void payload_goes_when_it_is_there(void **state)
{
    send_now();
    assert_int_equal(sent_bytes, 0);
    waiting = SPAN_LITERAL("hello");
    send_now();
    static const uint8_t frame[] = {0, 0, 5, 0, 0, 0, 0, 0, 1, 'h', 'e', 'l', 'l', 'o'};
    assert_int_equal(sent_bytes, sizeof frame);
    assert_memory_equal(sent, frame, sizeof frame);
    sent_bytes = 0;
    last = true;
    send_now();
    static const uint8_t end[] = {0, 0, 0, 0, 1, 0, 0, 0, 1};
    assert_int_equal(sent_bytes, sizeof end);
    assert_memory_equal(sent, end, sizeof end);
}

/* They end the stream in place of the last DATA; their names are those of HTTP/2. */
static void trailers_end_it(void **state)
{
    waiting = SPAN_LITERAL("x");
    last = true;
    trailer_lines = SPAN_LITERAL("X-Trailer: 1\r\n");
    send_now();
    assert_true(sent_bytes > 10 + 9);
    assert_int_equal(sent[4], 0);      /* DATA without END_STREAM */
    assert_int_equal(sent[10 + 3], 1); /* HEADERS */
    assert_int_equal(sent[10 + 4], NGHTTP2_FLAG_END_STREAM | NGHTTP2_FLAG_END_HEADERS);
}

static void a_full_sink_holds_it_back(void **state)
{
    room = 0;
    waiting = SPAN_LITERAL("hello");
    send_now();
    assert_int_equal(sent_bytes, 0);
    assert_int_equal(waiting.len, 5);
    room = sizeof sent;
    send_now();
    assert_int_equal(sent_bytes, 14);
}

/* Nobody asks whoever had it: that may be gone. */
static void a_forgotten_stream_sends_nothing(void **state)
{
    waiting = SPAN_LITERAL("hello");
    assert_int_equal(nghttp2_session_set_stream_user_data(sender.session, id, NULL), 0);
    send_now();
    assert_int_equal(sent_bytes, 0);
    assert_int_equal(waiting.len, 5);
}

static void lines(void **state)
{
    struct span rest = SPAN_LITERAL("A: 1\r\nb: \r\n"), name, value;
    assert_true(h2_send_line(&rest, &name, &value));
    assert_true(span_eq(name, SPAN_LITERAL("A")) && span_eq(value, SPAN_LITERAL("1")));
    assert_true(h2_send_line(&rest, &name, &value));
    assert_true(span_eq(name, SPAN_LITERAL("b")) && value.len == 0);
    assert_false(h2_send_line(&rest, &name, &value));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
UNIT_TESTS(TEST(payload_goes_when_it_is_there), TEST(trailers_end_it),
           TEST(a_full_sink_holds_it_back), TEST(a_forgotten_stream_sends_nothing),
           cmocka_unit_test(lines))

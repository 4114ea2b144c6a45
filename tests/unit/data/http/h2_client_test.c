/* SPDX-License-Identifier: Apache-2.0 */
#include "data/http/h2_client.c"
#include "data/http/h2_send.c"

#include "unit.h"

/* ---- a sink that the tests look into, and blocks that nobody asks for ------------------------ */

static uint8_t sent[65536];
static size_t sent_bytes;

uint32_t sink_room(struct sink *s, uint32_t want)
{
    return want;
}

void sink_copy(struct sink *s, struct span bytes)
{
    assert_true(bytes.len <= sizeof sent - sent_bytes);
    memcpy(sent + sent_bytes, bytes.ptr, bytes.len);
    sent_bytes += bytes.len;
}

struct writer sink_writer(struct sink *s, uint32_t need)
{
    return writer_of(sent + sent_bytes, need);
}

void sink_commit(struct sink *s, const struct writer *w)
{
    sent_bytes += w->len;
}

struct block *block_take(struct blocks *b, uint32_t room, bool may_fail)
{
    return NULL;
}

void block_give_back(struct blocks *b, struct block *block)
{
    fail();
}

/* ---- a server that floods -------------------------------------------------------------------- */

static void on_settings(struct h2_client *c)
{
}

static const struct h2_client_handler handler = {.settings = on_settings};
static struct h2_client client;

static int setup(void **state)
{
    struct sink sink = {0};
    sent_bytes = 0;
    if (!result_is_ok(h2_client_init(&client, &handler, NULL)))
        return -1;
    bool good = h2_client_send(&client, &sink);
    sent_bytes = 0;
    return good ? 0 : -1;
}

static int teardown(void **state)
{
    h2_client_fini(&client);
    return 0;
}

/* Error code of a GOAWAY at the end of what was sent, or -1. */
static int last_goaway(void)
{
    int code = -1;
    for (size_t at = 0; at + 9 <= sent_bytes;) {
        size_t len = (size_t)sent[at] << 16 | sent[at + 1] << 8 | sent[at + 2];
        bool is = sent[at + 3] == NGHTTP2_GOAWAY && at + 9 + len <= sent_bytes && len >= 8;
        code = is ? sent[at + 9 + 7] : -1;
        at += 9 + len;
    }
    return code;
}

/* A thousand pings, none of which was answered yet, are more than nghttp2 keeps answers for. */
static void flood_is_told(void **state)
{
    static const uint8_t settings[9] = {0, 0, 0, NGHTTP2_SETTINGS};
    static const uint8_t ping[17] = {0, 0, 8, NGHTTP2_PING};
    struct sink sink = {0};
    bool good = h2_client_receive(&client, span_of(settings, sizeof settings));
    assert_true(good);
    for (int i = 0; i < 5000 && good; i++)
        good = h2_client_receive(&client, span_of(ping, sizeof ping));
    assert_false(good);
    assert_true(h2_client_send(&client, &sink));
    assert_int_equal(last_goaway(), NGHTTP2_ENHANCE_YOUR_CALM);
}

/* What nghttp2 finds by itself it tells by itself. */
static void wrong_frame_is_told(void **state)
{
    static const uint8_t bad[] = {0, 0, 0, NGHTTP2_SETTINGS, 0, 0, 0, 0, 1};
    struct sink sink = {0};
    (void)h2_client_receive(&client, span_of(bad, sizeof bad));
    assert_true(h2_client_send(&client, &sink));
    assert_int_equal(last_goaway(), NGHTTP2_PROTOCOL_ERROR);
    assert_true(h2_client_is_over(&client));
}

UNIT_TESTS(cmocka_unit_test_setup_teardown(flood_is_told, setup, teardown),
           cmocka_unit_test_setup_teardown(wrong_frame_is_told, setup, teardown))

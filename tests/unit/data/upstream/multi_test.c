/* SPDX-License-Identifier: Apache-2.0 */
#include "data/upstream/multi.c"

#include "unit.h"

#include "data/sink.c"

/* ---- what is around it ---------------------------------------------------------------------- */

static struct worker w;
static struct exchange *turned[8];
static uint32_t turns;

uint8_t *ring_buffer(struct ring *ring, enum ring_group group, uint16_t buffer)
{
    return NULL;
}

void ring_give_back(struct ring *ring, enum ring_group group, uint16_t buffer)
{
}

void worker_ready(struct worker *worker, struct wire *wire)
{
    if (list_is_empty(&wire->ready))
        list_append(&worker->ready, &wire->ready);
}

void worker_hungry(struct worker *worker, struct wire *wire)
{
    if (list_is_empty(&wire->hungry))
        list_append(&worker->hungry, &wire->hungry);
}

void exchange_turn(struct worker *worker, struct exchange *x)
{
    turned[turns++ % 8] = x;
}

void exchange_upstream_timeout(struct worker *worker, struct exchange *x)
{
}

void upconn_fill(struct worker *worker, struct upconn *upconn)
{
}

bool upconn_is_over(const struct upconn *upconn)
{
    return upconn->wire.eof;
}

static bool closed;

void upconn_close_begin(struct worker *worker, struct upconn *upconn)
{
    closed = true;
}

void wire_settle(struct worker *worker, struct wire *wire)
{
}

struct result session_write(struct tls_session *s, struct span plain, struct writer *out)
{
    return result_ok();
}

struct block *relay_keep_fields(struct blocks *blocks, const struct http_head *fields)
{
    return NULL;
}

void websocket_drop_accept(struct http_head *head)
{
}

/* ---- one connection ------------------------------------------------------------------------- */

static struct upconn upconn;
static struct pool_server server;
static struct lease_ref ref; /* of the latest lease */
static struct block *hoard[64];
static uint32_t hoarded;

static int setup(void **state)
{
    static const uint32_t counts[BLOCK_KINDS] = {1, 1, 32, 16, 16};
    w = (struct worker){0};
    list_init(&w.ready);
    list_init(&w.hungry);
    upconn = (struct upconn){.server = &server};
    list_init(&upconn.wire.ready);
    list_init(&upconn.wire.hungry);
    list_init(&upconn.waiting);
    turns = hoarded = 0;
    closed = false;
    return !result_is_ok(blocks_init(&w.blocks, NULL, counts)) ||
           !result_is_ok(slab_init(&w.multis, 1, sizeof(struct multi))) ||
           !result_is_ok(slab_init(&w.leases, 4, sizeof(struct multi_lease))) ||
           !result_is_ok(slab_init(&w.exchanges, 4, sizeof(struct exchange))) ||
           !multi_open(&w, &upconn);
}

static void give_hoard_back(void)
{
    while (hoarded)
        block_give_back(&w.blocks, hoard[--hoarded]);
}

static int teardown(void **state)
{
    give_hoard_back();
    struct multi *m = upconn.multi;
    while (!list_is_empty(&m->leases))
        multi_lease_free(&w, LIST_ENTRY(m->leases.next, struct multi_lease, all));
    multi_close(&w, &upconn);
    block_queue_clear(&w.blocks, &upconn.wire.sending);
    block_queue_clear(&w.blocks, &upconn.wire.received);
    slab_fini(&w.exchanges);
    slab_fini(&w.leases);
    slab_fini(&w.multis);
    blocks_fini(&w.blocks);
    return 0;
}

/* All blocks but `left` are somewhere else. */
static void take_blocks(uint32_t left)
{
    struct block *block;
    while ((block = block_take(&w.blocks, 1, false)))
        hoard[hoarded++] = block;
    while (left--)
        block_give_back(&w.blocks, hoard[--hoarded]);
}

static struct multi_lease *lease(struct exchange **ret)
{
    uint32_t slot;
    *ret = slab_take(&w.exchanges, &slot);
    assert_non_null(*ret);
    assert_true(multi_take(&w, &upconn, (struct handle){slot, slab_gen(&w.exchanges, slot)}, &ref));
    return multi_lease_of(slab_get(&w.leases, ref.slot.index, ref.slot.gen));
}

/* ---- tests ---------------------------------------------------------------------------------- */

/* What is received is owed to the connection, whether there was a block for it or not. */
static void all_payload_is_credited(void **state)
{
    static const uint8_t bytes[16384];
    struct exchange *x;
    struct multi *m = upconn.multi;
    struct multi_lease *l = lease(&x);
    on_data(&m->codec, l, span_of(bytes, sizeof bytes));
    assert_int_equal(m->owed, sizeof bytes);
    assert_false(l->closed);
    take_blocks(0);
    on_data(&m->codec, l, span_of(bytes, sizeof bytes));
    assert_true(l->closed);
    assert_int_equal(m->owed, 2 * sizeof bytes);
    give_hoard_back();
    multi_turn(&w, &upconn);
    assert_int_equal(m->owed, 0);
    assert_int_equal(m->unread, 2 * sizeof bytes);
    multi_lease_free(&w, l);
    assert_int_equal(m->unread, 0);
}

/* Short pools hold the credit back; a block that is free wakes the connection to give it. */
static void credit_waits_for_blocks(void **state)
{
    static const uint8_t bytes[1000];
    struct exchange *x;
    struct multi *m = upconn.multi;
    struct multi_lease *l = lease(&x);
    on_data(&m->codec, l, span_of(bytes, sizeof bytes));
    take_blocks(2);
    multi_turn(&w, &upconn);
    assert_int_equal(m->owed, sizeof bytes);
    assert_false(list_is_empty(&upconn.wire.hungry));
    give_hoard_back();
    list_remove(&upconn.wire.hungry);
    multi_turn(&w, &upconn);
    assert_int_equal(m->owed, 0);
    assert_true(list_is_empty(&upconn.wire.hungry));
}

/* While payload waits and the pools are short, what came stays where it is, also behind an end. */
static void reading_waits_for_blocks(void **state)
{
    static const uint8_t settings[9] = {0, 0, 0, 4};
    struct exchange *x;
    struct multi *m = upconn.multi;
    struct multi_lease *l = lease(&x);
    struct block *input = block_take(&w.blocks, sizeof settings, false);
    block_append(input, settings, sizeof settings);
    block_queue_push(&upconn.wire.received, input);
    on_data(&m->codec, l, span_of(settings, sizeof settings));
    take_blocks(2);
    upconn.wire.eof = true;
    multi_turn(&w, &upconn);
    assert_true(m->paused && upconn.wire.want == WIRE_WANT_NOTHING && !closed);
    assert_int_equal(upconn.wire.received.bytes, sizeof settings);
    assert_false(list_is_empty(&upconn.wire.hungry));
    give_hoard_back();
    list_remove(&upconn.wire.hungry);
    multi_turn(&w, &upconn);
    assert_true(!m->paused && closed);
    assert_int_equal(upconn.wire.received.bytes, 0);
}

/* An upload that found no block has nothing queued, and gets its turn when the upconn is woken. */
static void paused_uploads_are_woken(void **state)
{
    struct exchange *x, *other;
    struct multi_lease *l = lease(&x);
    (void)lease(&other);
    take_blocks(0);
    struct sink sink = multi_sink(&w, l);
    assert_int_equal(sink_room(&sink, 1000), 0);
    multi_settle(&w, l);
    give_hoard_back();
    multi_turn(&w, &upconn);
    assert_int_equal(turns, 0);
    list_remove(&upconn.wire.hungry); /* as the worker does */
    multi_turn(&w, &upconn);
    assert_int_equal(turns, 2);
    assert_true(turned[0] == x && turned[1] == other);
    multi_turn(&w, &upconn);
    assert_int_equal(turns, 2);
}

/* What begins a server's side of a connection. */
static void receive_settings(const uint8_t *frame, size_t len)
{
    assert_true(h2_client_receive(&upconn.multi->codec, span_of(frame, len)));
}

static struct multi_lease *ask_for_websocket(void)
{
    static const char text[] = "GET / HTTP/1.1\r\nHost: a\r\nSec-WebSocket-Key: k\r\n\r\n";
    struct exchange *x;
    struct multi_lease *l = lease(&x);
    struct block *head = block_take(&w.blocks, sizeof text, false);
    block_append(head, text, sizeof text - 1);
    x->tunnel.has_accept = true;
    multi_send_head(&w, l, HTTP_GET, head, true);
    return l;
}

/* RFC 8441 section 3: nobody asks for a tunnel before the server has said that it takes them. */
static void websockets_wait_for_settings(void **state)
{
    static const uint8_t takes[] = {0, 0, 6, 4, 0, 0, 0, 0, 0, 0, 8, 0, 0, 0, 1};
    struct multi_lease *l = ask_for_websocket();
    assert_true(l->head && l->id == 0 && !l->closed);
    receive_settings(takes, sizeof takes);
    assert_true(!l->head && l->id > 0 && !l->closed && !l->out_last);
    assert_true(server.takes_connect);
    l = ask_for_websocket();
    assert_true(!l->head && l->id > 0);
}

static void websockets_that_no_stream_takes(void **state)
{
    static const uint8_t plain[] = {0, 0, 0, 4, 0, 0, 0, 0, 0};
    struct http_head *head;
    server = (struct pool_server){.takes_connect = true, .told_ns = 1};
    w.now_ns = 1;
    struct multi_lease *l = ask_for_websocket();
    receive_settings(plain, sizeof plain);
    assert_true(l->closed && l->refused && !l->head && !server.takes_connect);
    server.h2c = true; /* there is no other way to ask it */
    l = ask_for_websocket();
    assert_true(l->closed && !l->refused);
    assert_int_equal(multi_head(&w, l, &head), HTTP_EVENT_BAD);
    assert_string_equal(l->reject->id, "tunnel_unknown");
    server = (struct pool_server){0};
}

/* Much that nobody reads sends new requests elsewhere. */
static void unread_payload_takes_room(void **state)
{
    static const uint8_t bytes[16384];
    struct exchange *x;
    struct multi *m = upconn.multi;
    struct multi_lease *l = lease(&x);
    assert_true(multi_has_room(&w, &upconn));
    on_data(&m->codec, l, span_of(bytes, sizeof bytes));
    m->unread += UNREAD_HIGH - sizeof bytes;
    assert_false(multi_has_room(&w, &upconn));
    multi_took(&w, l, 1);
    assert_true(multi_has_room(&w, &upconn));
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(all_payload_is_credited, setup, teardown),
        cmocka_unit_test_setup_teardown(credit_waits_for_blocks, setup, teardown),
        cmocka_unit_test_setup_teardown(reading_waits_for_blocks, setup, teardown),
        cmocka_unit_test_setup_teardown(paused_uploads_are_woken, setup, teardown),
        cmocka_unit_test_setup_teardown(unread_payload_takes_room, setup, teardown),
        cmocka_unit_test_setup_teardown(websockets_wait_for_settings, setup, teardown),
        cmocka_unit_test_setup_teardown(websockets_that_no_stream_takes, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

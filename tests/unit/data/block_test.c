/* SPDX-License-Identifier: Apache-2.0 */
#include "data/block.c"

#include "unit.h"

static uint8_t ring_memory[8][RING_SMALL_BYTES];
static int returned[8];

uint8_t *ring_buffer(struct ring *ring, enum ring_group group, uint16_t buffer)
{
    return ring_memory[buffer];
}

void ring_give_back(struct ring *ring, enum ring_group group, uint16_t buffer)
{
    returned[buffer]++;
}

static struct blocks blocks;

static int setup(void **state)
{
    static const uint32_t counts[BLOCK_KINDS] = {8, 2, 4, 2, 1};
    memset(returned, 0, sizeof returned);
    return !result_is_ok(blocks_init(&blocks, NULL, counts));
}

static int teardown(void **state)
{
    blocks_fini(&blocks); /* must() that none is left */
    return 0;
}

static struct block *lent(uint16_t buffer, const char *text)
{
    struct ring_event ev = {
        .has_buffer = true, .group = RING_SMALL, .buffer = buffer, .res = (int32_t)strlen(text)};
    memcpy(ring_memory[buffer], text, strlen(text));
    return block_lent(&blocks, &ev);
}

static void smallest_fitting_kind_first(void **state)
{
    struct block *got[8];
    int n = 0;
    got[n++] = block_take(&blocks, 100, false);
    assert_int_equal(got[0]->kind, BLOCK_HEAD);
    got[n++] = block_take(&blocks, BLOCK_HEAD_BYTES + 1, false);
    assert_int_equal(got[1]->kind, BLOCK_RECORD);
    got[n++] = block_take(&blocks, BLOCK_RECORD_BYTES + 1, false);
    assert_int_equal(got[2]->kind, BLOCK_BODY);
    assert_null(block_take(&blocks, BLOCK_RECORD_BYTES + 1, false));
    got[n++] = block_take(&blocks, BLOCK_RECORD_BYTES + 1, true);
    assert_int_equal(got[3]->kind, BLOCK_RECORD); /* the largest that was left */
    for (int i = 0; i < 3; i++)
        got[n++] = block_take(&blocks, 1, false);
    assert_null(block_take(&blocks, 1, true));
    uint64_t before = blocks.given_back;
    while (n > 0)
        block_give_back(&blocks, got[--n]);
    assert_int_equal(blocks.given_back, before + 7);
}

static void last_given_back_is_taken_first(void **state)
{
    struct block *a = block_take(&blocks, 1, false), *b = block_take(&blocks, 1, false);
    block_give_back(&blocks, a);
    block_give_back(&blocks, b);
    assert_ptr_equal(block_take(&blocks, 1, false), b);
    block_give_back(&blocks, b);
}

static void two_owners(void **state)
{
    struct block *a = block_take(&blocks, 1, false);
    a->refs++;
    block_give_back(&blocks, a);
    assert_int_equal(blocks.pools[BLOCK_HEAD].used, 1);
    assert_int_equal(blocks_used(&blocks), 1);
    block_give_back(&blocks, a);
    assert_int_equal(blocks.pools[BLOCK_HEAD].used, 0);
}

static void lent_ones_go_back_to_the_ring(void **state)
{
    struct block *a = lent(3, "hello");
    assert_true(span_eq(block_span(a), SPAN_LITERAL("hello")));
    assert_int_equal(blocks.lent[RING_SMALL], 1);
    struct block *copy = block_detach(&blocks, a, 10);
    assert_int_equal(returned[3], 1);
    assert_int_equal(copy->kind, BLOCK_HEAD);
    assert_true(span_eq(block_span(copy), SPAN_LITERAL("hello")));
    assert_ptr_equal(block_detach(&blocks, copy, 10), copy);
    block_give_back(&blocks, copy);
    struct block *all[5];
    for (uint16_t i = 0; i < 5; i++) {
        assert_false(block_is_scarce(&blocks, RING_SMALL));
        all[i] = lent(i, "x");
    }
    assert_true(block_is_scarce(&blocks, RING_SMALL));
    for (int i = 0; i < 5; i++)
        block_give_back(&blocks, all[i]);
}

static void queues_count_bytes(void **state)
{
    struct block_queue q = {0};
    block_queue_push(&q, lent(0, "abc"));
    block_queue_push(&q, lent(1, "defg"));
    block_queue_push_front(&q, lent(2, "12"));
    assert_int_equal(q.bytes, 9);
    block_queue_advance(&blocks, &q, 6); /* "12", "abc", "d" */
    assert_int_equal(q.count, 1);
    assert_true(span_eq(block_span(q.first), SPAN_LITERAL("efg")));
    block_queue_take(&blocks, &q, 3);
    assert_null(q.first);
    assert_null(q.last);
    assert_int_equal(q.bytes, 0);
    assert_int_equal(returned[0] + returned[1] + returned[2], 3);
}

static void gather_makes_bytes_contiguous(void **state)
{
    struct block_queue q = {0};
    block_queue_push(&q, lent(0, "GET / HT"));
    block_queue_push(&q, lent(1, "TP/1.1\r\n"));
    assert_true(result_is_ok(block_queue_gather(&blocks, &q, 65536)));
    assert_true(span_eq(block_span(q.first), SPAN_LITERAL("GET / HTTP/1.1\r\n")));
    assert_int_equal(q.count, 1);
    assert_false(block_is_lent(q.first));
    /* More than one block of a kind holds: the next kind takes over. */
    char filler[RING_SMALL_BYTES];
    memset(filler, 'f', sizeof filler - 1);
    filler[sizeof filler - 1] = 0;
    block_queue_push(&q, lent(2, filler));
    block_queue_push(&q, lent(3, "end"));
    for (int i = 0; i < 3; i++)
        assert_true(result_is_ok(block_queue_gather(&blocks, &q, 65536)));
    assert_int_equal(q.count, 1);
    assert_int_equal(block_len(q.first), 16 + RING_SMALL_BYTES - 1 + 3);
    assert_int_equal(q.bytes, block_len(q.first));
    assert_memory_equal(q.first->data + q.first->end - 3, "end", 3);
    assert_int_equal(block_queue_gather(&blocks, &q, 100).code, ERR_TOO_LARGE);
    block_queue_clear(&blocks, &q);
}

static void gather_without_a_block_changes_nothing(void **state)
{
    struct block *all[7];
    for (int i = 0; i < 7; i++)
        all[i] = block_take(&blocks, 1, true);
    struct block_queue q = {0};
    block_queue_push(&q, lent(0, "ab"));
    assert_int_equal(block_queue_gather(&blocks, &q, 65536).code, ERR_NO_SLOT);
    assert_true(span_eq(block_span(q.first), SPAN_LITERAL("ab")));
    block_queue_clear(&blocks, &q);
    for (int i = 0; i < 7; i++)
        block_give_back(&blocks, all[i]);
}

#define CASE(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
UNIT_TESTS(CASE(smallest_fitting_kind_first), CASE(last_given_back_is_taken_first),
           CASE(two_owners), CASE(lent_ones_go_back_to_the_ring), CASE(queues_count_bytes),
           CASE(gather_makes_bytes_contiguous), CASE(gather_without_a_block_changes_nothing))

/* SPDX-License-Identifier: Apache-2.0 */
#include "data/http/h2_head.c"

#include "unit.h"

#include "data/block.c"

uint8_t *ring_buffer(struct ring *ring, enum ring_group group, uint16_t buffer)
{
    return NULL;
}

void ring_give_back(struct ring *ring, enum ring_group group, uint16_t buffer)
{
}

static struct blocks blocks;
static struct block *block;
static struct http_head head;

static int setup(void **state)
{
    static const uint32_t counts[BLOCK_KINDS] = {1, 1, 2, 2, 1};
    return !result_is_ok(blocks_init(&blocks, NULL, counts));
}

static int teardown(void **state)
{
    if (block)
        block_give_back(&blocks, block);
    block = NULL;
    blocks_fini(&blocks); /* must() that none is left */
    return 0;
}

/* Gathers "name value" pairs, up to a NULL. */
static void gather(const char *const *pairs)
{
    if (block)
        block_give_back(&blocks, block);
    block = NULL;
    for (; *pairs; pairs += 2)
        assert_true(h2_head_gather(&blocks, &block, span_str(pairs[0]), span_str(pairs[1])));
}

#define PSEUDO ":method", "GET", ":scheme", "https", ":authority", "a.test", ":path", "/x?y"

static void a_request(void **state)
{
    gather((const char *const[]){PSEUDO, "accept", "*/*", "te", "trailers", NULL});
    assert_null(h2_head_read(&blocks, &block, &head, false));
    assert_int_equal(head.method, HTTP_GET);
    assert_int_equal(head.major, 2);
    assert_int_equal(head.body, HTTP_BODY_NONE);
    assert_true(span_eq(head.authority, SPAN_LITERAL("a.test")));
    assert_true(span_eq(head.path, SPAN_LITERAL("/x?y")));
    assert_int_equal(head.field_count, 2);
    assert_null(h2_head_read(&blocks, &block, &head, true));
    assert_int_equal(head.body, HTTP_BODY_CHUNKED); /* of no known length */
    gather((const char *const[]){PSEUDO, "content-length", "5", NULL});
    assert_null(h2_head_read(&blocks, &block, &head, true));
    assert_int_equal(head.body, HTTP_BODY_LENGTH);
    assert_int_equal(head.content_length, 5);
}

static void cookies_become_one(void **state)
{
    gather((const char *const[]){PSEUDO, "cookie", "a=1", "x", "y", "cookie", "b=2", NULL});
    assert_null(h2_head_read(&blocks, &block, &head, false));
    assert_int_equal(head.field_count, 2);
    assert_true(span_eq(head.fields[0].name, SPAN_LITERAL("x")));
    assert_true(span_eq(head.fields[1].value, SPAN_LITERAL("a=1; b=2")));
    gather((const char *const[]){PSEUDO, "cookie", "a=1", NULL});
    assert_null(h2_head_read(&blocks, &block, &head, false));
    assert_int_equal(head.field_count, 1);
    assert_true(span_eq(head.fields[0].value, SPAN_LITERAL("a=1")));
}

static void what_is_refused(void **state)
{
    static const struct {
        const char *fields[11];
        const char *rule;
    } rows[] = {
        {{":method", "GET", ":scheme", "https", ":authority", "a b", ":path", "/", NULL},
         "host_bad"},
        {{":method", "GET", ":scheme", "https", ":path", "/", NULL}, "host_missing"},
        {{":method", "GET", ":scheme", "https", ":authority", "a", ":path", "/", "host", "b"},
         "host_bad"},
        {{":method", "GET", ":scheme", "https", ":authority", "a", ":path", "x", NULL}, "target"},
        {{":method", "GET", ":scheme", "https", ":authority", "a", ":path", "*", NULL}, "target"},
        {{":method", "GET", ":scheme", "https", ":authority", "a", ":path", "/#", NULL}, "target"},
        {{":method", "GET", ":scheme", "https", ":authority", "a", NULL}, "target"},
        {{":method", "CONNECT", ":authority", "a:1", NULL}, "method_connect"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        gather(rows[i].fields);
        const struct http_reject *reject = h2_head_read(&blocks, &block, &head, false);
        assert_non_null(reject);
        assert_string_equal(reject->id, rows[i].rule);
    }
}

#define CONNECT                                                                                    \
    ":method", "CONNECT", ":protocol", "websocket", ":scheme", "https", ":authority", "a"

/* RFC 8441 section 5: whoever routes or changes it meets the request that HTTP/1 has for it. */
static void connect_reads_as_an_upgrade(void **state)
{
    gather((const char *const[]){CONNECT, ":path", "/x?y", "origin", "https://a", NULL});
    assert_null(h2_head_read(&blocks, &block, &head, true));
    assert_true(head.connect && head.upgrade);
    assert_int_equal(head.method, HTTP_GET);
    assert_true(span_eq(head.method_text, SPAN_LITERAL("GET")));
    assert_int_equal(head.body, HTTP_BODY_NONE);
    assert_true(span_eq(head.path, SPAN_LITERAL("/x?y")));
    assert_int_equal(head.field_count, 3);
    assert_true(!head.fields[0].drop && head.fields[1].drop && head.fields[2].drop);
    assert_true(span_eq(rules_upgrade(&head), SPAN_LITERAL("websocket")));
    gather((const char *const[]){PSEUDO, NULL});
    assert_null(h2_head_read(&blocks, &block, &head, false));
    assert_false(head.connect || head.upgrade);
}

static void connect_that_is_refused(void **state)
{
    static const struct {
        const char *fields[15];
        bool more;
        const char *rule;
    } rows[] = {
        {{":method", "CONNECT", ":protocol", "connect-udp", ":scheme", "https", ":authority", "a",
          ":path", "/", NULL},
         true,
         "connect_protocol"},
        {{CONNECT, ":path", "/", NULL}, false, "connect_body"},
        {{CONNECT, ":path", "/", "content-length", "0", NULL}, true, "connect_body"},
        {{CONNECT, ":path", "/", "content-length", "x", NULL}, true, "length_bad"},
        {{CONNECT, ":path", "*", NULL}, true, "target"},
        {{CONNECT, NULL}, true, "target"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        gather(rows[i].fields);
        const struct http_reject *reject = h2_head_read(&blocks, &block, &head, rows[i].more);
        assert_non_null(reject);
        assert_string_equal(reject->id, rows[i].rule);
    }
}

static void trailers(void **state)
{
    gather((const char *const[]){"x", "y", "cookie", "late", NULL});
    assert_null(h2_head_read_trailers(block, &head));
    assert_int_equal(head.field_count, 2);
    assert_false(head.fields[0].drop);
    assert_true(head.fields[1].drop);
    gather((const char *const[]){"content-length", "1", NULL});
    assert_non_null(h2_head_read_trailers(block, &head));
    assert_null(h2_head_read_trailers(NULL, &head));
    assert_int_equal(head.field_count, 0);
}

static void a_large_section_moves(void **state)
{
    char value[BLOCK_HEAD_BYTES - 100];
    memset(value, 'v', sizeof value);
    gather((const char *const[]){PSEUDO, NULL});
    for (int i = 0; i < 3; i++)
        assert_true(
            h2_head_gather(&blocks, &block, SPAN_LITERAL("x"), span_of(value, sizeof value)));
    assert_int_equal(block->kind, BLOCK_RECORD);
    assert_null(h2_head_read(&blocks, &block, &head, false));
    assert_int_equal(head.field_count, 3);
    while (h2_head_gather(&blocks, &block, SPAN_LITERAL("x"), span_of(value, sizeof value)))
        ;
    assert_int_equal(block->kind, BLOCK_BODY);
}

static void decimals(void **state)
{
    char memory[24];
    assert_true(span_eq(h2_decimal(0, memory), SPAN_LITERAL("0")));
    assert_true(span_eq(h2_decimal(UINT64_MAX, memory), SPAN_LITERAL("18446744073709551615")));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
UNIT_TESTS(TEST(a_request), TEST(cookies_become_one), TEST(what_is_refused),
           TEST(connect_reads_as_an_upgrade), TEST(connect_that_is_refused), TEST(trailers),
           TEST(a_large_section_moves), TEST(decimals))

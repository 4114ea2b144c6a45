/* SPDX-License-Identifier: Apache-2.0 */
/* Targets: h2_client_receive h2_client_send h2_client_request h2_client_takes_connect
 *
 * Byte 0: how the input is cut; byte 1: what the client does (bit 0: gives credit, bit 1: cancels
 * a request at its head, bit 2: has uploads, bit 3: asks for a tunnel when it may, bit 4: ends
 * uploads with trailers). The rest is what the server sends. */
#include "fuzz.h"

#include "data/http/h2_client.h"

#include "fuzz_sink.h"

static struct blocks blocks;

struct request {
    int32_t id;
    bool open, headed, ended;
    uint32_t left;   /* of its body */
    uint32_t unread; /* of the response's */
};
#define REQUESTS 5u
static struct request requests[REQUESTS];
static uint8_t mode;

/* Lines "name: value", each with its end, and nothing that could make two of one. */
static void check_lines(struct span lines)
{
    while (lines.len) {
        struct span line = span_first(lines, span_find(lines, '\r'));
        must(lines.len >= line.len + 2 && lines.ptr[line.len + 1] == '\n');
        must(span_find(line, '\n') == line.len && span_find(line, 0) == line.len);
        size_t colon = span_find(line, ':');
        must(colon > 0 && colon + 1 < line.len && line.ptr[colon + 1] == ' ');
        lines = span_skip(lines, line.len + 2);
    }
}

static void take_lines(struct block *lines)
{
    if (!lines)
        return;
    must(block_len(lines) <= H2_CLIENT_HEAD_MAX);
    check_lines(block_span(lines));
    block_give_back(&blocks, lines);
}

static void ask(struct h2_client *c, struct request *r, bool connect)
{
    char text[] =
        "POST /a?b HTTP/1.1\r\nHost: a.test\r\nConnection: upgrade\r\nUpgrade: websocket\r\n"
        "Sec-WebSocket-Key: k\r\nX-Field: value\r\n\r\n";
    bool more = connect || mode & 4;
    *r = (struct request){.open = true, .left = more ? 20000 : 0};
    struct h2_client_ask asked = {
        .head = span_of(text, sizeof text - 1), .https = true, .connect = connect, .more = more};
    r->id = h2_client_request(c, &asked, r);
    must(r->id > 0);
}

static void on_settings(struct h2_client *c)
{
    struct request *r = &requests[REQUESTS - 1];
    must(c->settled);
    if (h2_client_takes_connect(c) && mode & 8 && !r->id)
        ask(c, r, true);
}

static void on_head(struct h2_client *c, void *stream, uint16_t status, struct block *lines,
                    bool ends)
{
    struct request *r = stream;
    must(r->open && !r->ended && status >= 100 && status <= 999);
    must(!r->headed);
    r->headed = status >= 200;
    take_lines(lines);
    if (mode & 2) {
        h2_client_cancel(c, r->id);
        r->open = false;
    }
}

static void on_data(struct h2_client *c, void *stream, struct span bytes)
{
    struct request *r = stream;
    must(r->open && r->headed && !r->ended);
    r->unread += (uint32_t)bytes.len;
    must(r->unread <= 65536); /* the window */
    h2_client_credit(c, (uint32_t)bytes.len);
    if (mode & 1) {
        h2_client_took(c, r->id, r->unread);
        r->unread = 0;
    }
}

static void on_trailers(struct h2_client *c, void *stream, struct block *lines)
{
    struct request *r = stream;
    must(r->open && r->headed && !r->ended && lines);
    take_lines(lines);
}

static void on_end(struct h2_client *c, void *stream)
{
    struct request *r = stream;
    must(r->open && r->headed && !r->ended);
    r->ended = true;
}

static void on_close(struct h2_client *c, void *stream, bool refused)
{
    struct request *r = stream;
    must(r->open);
    r->open = false;
}

static uint32_t on_waiting(struct h2_sender *sender, void *stream, bool *ret_last)
{
    must(((struct request *)stream)->open);
    *ret_last = true;
    return ((struct request *)stream)->left;
}

static void on_move(struct h2_sender *sender, void *stream, uint32_t n, struct writer *to)
{
    struct request *r = stream;
    must(r->open && n <= r->left);
    r->left -= n;
    for (uint32_t i = 0; i < n; i++)
        writer_bytes(to, "x", 1);
}

static struct span on_lines(struct h2_sender *sender, void *stream)
{
    return mode & 16 ? SPAN_LITERAL("X-Trailer: 1\r\n") : (struct span){0};
}

static const struct h2_client_handler handler = {
    .settings = on_settings,
    .head = on_head,
    .data = on_data,
    .trailers = on_trailers,
    .end = on_end,
    .close = on_close,
    .payload = {.waiting = on_waiting, .move = on_move, .lines = on_lines},
};

static void run(struct span in, uint32_t cut)
{
    struct h2_client c;
    struct sink sink = sink_of(NULL, NULL, NULL);
    memset(requests, 0, sizeof requests);
    must(result_is_ok(h2_client_init(&c, &handler, &blocks)));
    for (uint32_t i = 0; i < REQUESTS - 1; i++)
        ask(&c, &requests[i], false);
    bool goes_on = h2_client_send(&c, &sink);
    must(goes_on);
    while (goes_on && in.len) {
        struct span part = span_first(in, cut);
        in = span_skip(in, part.len);
        goes_on = h2_client_receive(&c, part);
        must(h2_client_send(&c, &sink) || !goes_on);
    }
    (void)h2_client_allowed(&c);
    (void)h2_client_is_over(&c);
    h2_client_fini(&c);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static bool ready;
    static const uint32_t counts[BLOCK_KINDS] = {1, 1, 8, 4, 2};
    if (!ready)
        must(result_is_ok(blocks_init(&blocks, NULL, counts)));
    ready = true;
    if (size < 2 || size > 1u << 20)
        return 0;
    mode = data[1];
    run(span_of(data + 2, size - 2), data[0] ? data[0] : 65536);
    for (int kind = BLOCK_POOL_FIRST; kind < BLOCK_KINDS; kind++)
        must(blocks.pools[kind].used == 0);
    return 0;
}

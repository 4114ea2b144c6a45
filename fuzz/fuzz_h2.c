/* SPDX-License-Identifier: Apache-2.0 */
/* Targets: h2_receive h2_send h2_respond h2_head_gather h2_head_read h2_head_read_trailers
 *
 * Byte 0: how the input is cut; byte 1: how answers are given (bit 0: at the head, bit 1: with a
 * body, bit 2: credit is given, bit 3: requests are reset). The rest is what the client sends
 * behind its preface, which stands before it here. */
#include "fuzz.h"

#include "data/http/h2.h"

#include "fuzz_sink.h"

static struct blocks blocks;
static struct http_head head;

/* A stream as this target keeps it. */
struct request {
    int32_t id;
    bool open, answered, ended;
    uint32_t left;  /* of the answer's body */
    uint32_t waits; /* payload without credit */
};
#define REQUESTS 64u
static struct request requests[REQUESTS];
static uint32_t open_count;
static uint8_t mode;

static void answer(struct h2 *h2, struct request *r, uint16_t status)
{
    if (r->answered)
        return;
    struct http_head *out = &head;
    memset(out, 0, offsetof(struct http_head, fields));
    out->status = status;
    out->body = HTTP_BODY_LENGTH;
    out->content_length = r->left = mode & 2 ? 20000 : 0;
    must(http_head_add(out, SPAN_LITERAL("X-Answer"), SPAN_LITERAL("yes")));
    r->answered = true;
    must(result_is_ok(h2_respond(h2, r->id, out, r, r->left > 0)));
}

static void *on_open(struct h2 *h2, int32_t id)
{
    for (uint32_t i = 0; i < REQUESTS; i++) {
        if (requests[i].open)
            continue;
        requests[i] = (struct request){.id = id, .open = true};
        open_count++;
        return &requests[i];
    }
    return NULL;
}

static void on_head(struct h2 *h2, void *stream, struct http_head *in)
{
    struct request *r = stream;
    must(r->open && in->field_count <= HTTP_FIELDS_MAX && in->authority.len > 0);
    for (unsigned i = 0; i < in->field_count; i++)
        for (size_t n = 0; n < in->fields[i].value.len; n++) {
            uint8_t c = in->fields[i].value.ptr[n];
            must(c != '\r' && c != '\n' && c != 0);
        }
    if (mode & 8)
        h2_reset(h2, r->id, H2_CANCEL);
    else if (mode & 1)
        answer(h2, r, 200);
}

static void on_reject(struct h2 *h2, void *stream, const struct http_reject *reject)
{
    answer(h2, stream, reject->status);
}

static void on_data(struct h2 *h2, void *stream, struct span bytes)
{
    struct request *r = stream;
    must(r->open && !r->ended);
    if (r->waits + bytes.len > h2->bounds.stream_window) { /* the reset is on its way */
        h2_drop(h2, (uint32_t)bytes.len);
        return;
    }
    r->waits += (uint32_t)bytes.len;
    if (mode & 4) {
        h2_took(h2, r->id, r->waits);
        r->waits = 0;
    }
}

static void on_trailers(struct h2 *h2, void *stream, struct http_head *fields)
{
    must(((struct request *)stream)->open && fields->field_count > 0);
}

static void on_end(struct h2 *h2, void *stream)
{
    struct request *r = stream;
    must(!r->ended);
    r->ended = true;
    answer(h2, r, 200);
}

static void on_sent(struct h2 *h2, void *stream)
{
    struct request *r = stream;
    if (!r->ended)
        h2_reset(h2, r->id, H2_NO_ERROR);
}

static void on_close(struct h2 *h2, void *stream)
{
    struct request *r = stream;
    must(r->open);
    if (r->waits)
        h2_drop(h2, r->waits);
    r->open = false;
    open_count--;
}

static uint32_t on_waiting(struct h2_sender *sender, void *stream, bool *ret_last)
{
    *ret_last = true;
    return ((struct request *)stream)->left;
}

static void on_move(struct h2_sender *sender, void *stream, uint32_t n, struct writer *to)
{
    struct request *r = stream;
    must(n <= r->left);
    r->left -= n;
    for (uint32_t i = 0; i < n; i++)
        writer_bytes(to, "x", 1);
}

static struct span on_lines(struct h2_sender *sender, void *stream)
{
    return mode & 1 ? SPAN_LITERAL("X-Trailer: 1\r\n") : (struct span){0};
}

static const struct h2_handler handler = {
    .open = on_open,
    .head = on_head,
    .reject = on_reject,
    .data = on_data,
    .trailers = on_trailers,
    .end = on_end,
    .sent = on_sent,
    .close = on_close,
    .payload = {.waiting = on_waiting, .move = on_move, .lines = on_lines},
};

static void run(struct span in, uint32_t cut)
{
    static const struct h2_bounds bounds = {REQUESTS, 65535, 200000, 8192, 8, 50, 100, 20, 30};
    static const char preface[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    struct h2 h2;
    struct sink sink = sink_of(NULL, NULL, NULL);
    memset(requests, 0, sizeof requests);
    open_count = 0;
    must(result_is_ok(h2_init(&h2, &handler, &bounds, &blocks, &head)));
    bool goes_on = h2_receive(&h2, span_of(preface, sizeof preface - 1), 1);
    must(goes_on);
    while (goes_on && in.len) {
        struct span part = span_first(in, cut);
        in = span_skip(in, part.len);
        goes_on = h2_receive(&h2, part, 1);
        must(h2_send(&h2, &sink) || !goes_on);
    }
    must(open_count <= REQUESTS);
    h2_fini(&h2);
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

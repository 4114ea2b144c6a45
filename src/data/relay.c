/* SPDX-License-Identifier: Apache-2.0 */
#include "data/relay.h"

#include "data/conn.h"

/* Payload up to this is copied behind what is staged: cheaper than another piece to send. */
#define COPY_MAX 2048u

void relay_init(struct relay *r, enum http_body framing)
{
    *r = (struct relay){.framing = framing};
}

void relay_fini(struct relay *r, struct blocks *blocks)
{
    if (r->trailers)
        block_give_back(blocks, r->trailers);
    r->trailers = NULL;
}

struct block *relay_keep_fields(struct blocks *blocks, const struct http_head *fields)
{
    static const uint32_t sizes[] = {BLOCK_HEAD_BYTES, BLOCK_RECORD_BYTES, BLOCK_BODY_BYTES};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        struct block *block = block_take(blocks, sizes[i], false);
        if (!block)
            return NULL;
        uint32_t room = block->cap < WORKER_STAGE_BYTES ? block->cap : WORKER_STAGE_BYTES;
        struct writer w = writer_of(block->data, room); /* put_end() copies it in one piece */
        bool fits = result_is_ok(h1_write_fields(fields, &w));
        if (fits && w.len) {
            block->end = (uint32_t)w.len;
            return block;
        }
        block_give_back(blocks, block);
        if (fits)
            return NULL;
    }
    return NULL;
}

/* Trailer fields live only until the codec is fed again: they are put into lines at once. */
static void keep_trailers(struct relay *r, struct sink *to, const struct http_head *fields)
{
    bool passes = r->framing == HTTP_BODY_CHUNKED || r->framing == HTTP_BODY_FRAMES;
    if (passes && !r->trailers)
        r->trailers = relay_keep_fields(&to->w->blocks, fields);
}

/* Payload alone: all of the first block is decoded already. Behind what was decrypted an empty one
 * may stand, for what comes next. */
static void decode_bare(struct relay *r, const struct source *from, struct blocks *blocks)
{
    if (block_len(from->in->first) == 0)
        block_give_back(blocks, block_queue_pop(from->in));
    else
        r->pending = block_len(from->in->first);
    r->gap = 0;
}

/* Runs the codec over the first block. Decoded bytes are moved together at the front, so that a
 * chunked body in many pieces leaves as one. False: it wants to see more at once (a trailer
 * section), and there is no more. */
static bool decode(struct relay *r, const struct source *from, struct sink *to)
{
    struct block_queue *in = from->in;
    struct block *block = in->first;
    uint32_t at = block->start, filled = block->start;
    for (;;) {
        size_t used = 0;
        struct span rest = {block->data + at, block->end - at};
        struct http_event ev = h1_feed(from->h1, rest, &used);
        must(used <= rest.len);
        at += (uint32_t)used;
        if (ev.kind == HTTP_EVENT_BODY) {
            if (ev.body.ptr != block->data + filled)
                memmove(block->data + filled, ev.body.ptr, ev.body.len);
            filled += (uint32_t)ev.body.len;
            continue;
        }
        if (ev.kind == HTTP_EVENT_TRAILERS) {
            keep_trailers(r, to, ev.head);
            continue;
        }
        r->ended = ev.kind == HTTP_EVENT_END;
        r->bad |= ev.kind != HTTP_EVENT_END && ev.kind != HTTP_EVENT_MORE;
        break;
    }
    r->pending = filled - block->start;
    r->gap = at - filled;
    if (r->ended || r->bad || at > block->start)
        return true;
    if (block_len(block) >= CONN_HEAD_MAX) {
        r->bad = true;
        return true;
    }
    if (!block->next)
        return false;
    struct result gathered = block_queue_gather(&to->w->blocks, in, CONN_HEAD_MAX);
    if (gathered.code == ERR_NO_SLOT)
        worker_hungry(to->w, to->wire);
    return result_is_ok(gathered);
}

static void put_chunk_head(struct relay *r, struct sink *to, uint32_t len)
{
    if (r->framing != HTTP_BODY_CHUNKED)
        return;
    uint8_t line[2 + H1_CHUNK_HEAD_MAX] = {'\r', '\n'};
    size_t n = h1_chunk_head(len, line + 2);
    sink_copy(to, r->crlf_due ? span_of(line, n + 2) : span_of(line + 2, n));
    r->crlf_due = true;
}

/* Makes the first block hold nothing but pending bytes: what stands behind them moves to a block
 * of its own. False: no pool block is free. */
static bool cut_rest(struct relay *r, struct block_queue *in, struct sink *to)
{
    struct block *block = in->first;
    uint32_t rest = block_len(block) - r->pending - r->gap;
    struct block *tail = NULL;
    if (rest > 0) {
        tail = block_take(&to->w->blocks, rest, false);
        if (!tail)
            return false;
        block_append(tail, block->data + block->end - rest, rest);
    }
    block = block_queue_pop(in);
    block->end = block->start + r->pending;
    if (tail)
        block_queue_push_front(in, tail);
    block_queue_push_front(in, block);
    r->gap = 0;
    return true;
}

/* Passes pending bytes on. False: the sink takes none at present. */
static bool emit(struct relay *r, struct block_queue *in, struct sink *to)
{
    uint32_t n = sink_room(to, r->pending);
    if (n == 0)
        return false;
    struct block *block = in->first;
    r->bytes += n;
    if (!to->tls && n > COPY_MAX) {
        if (!cut_rest(r, in, to)) {
            worker_hungry(to->w, to->wire);
            r->bytes -= n;
            return false;
        }
        put_chunk_head(r, to, n);
        sink_block(to, block_queue_pop(in));
        r->pending = 0;
        return !to->failed;
    }
    put_chunk_head(r, to, n);
    struct span bytes = {block->data + block->start, n};
    if (n > COPY_MAX)
        sink_encrypt(to, bytes);
    else
        sink_copy(to, bytes);
    block_queue_take(&to->w->blocks, in, n);
    r->pending -= n;
    return !to->failed;
}

static void put_end(struct relay *r, struct sink *to)
{
    if (r->framing != HTTP_BODY_CHUNKED)
        return;
    struct span last = SPAN_LITERAL("\r\n0\r\n\r\n");
    last = r->crlf_due ? last : span_skip(last, 2);
    if (!r->trailers) {
        sink_copy(to, last);
        return;
    }
    sink_copy(to, span_first(last, last.len - 2));
    sink_copy(to, block_span(r->trailers));
    sink_copy(to, SPAN_LITERAL("\r\n"));
    relay_fini(r, &to->w->blocks);
}

/* Without input: whether the message ends here all the same. */
static bool ends_here(struct relay *r, const struct source *from)
{
    size_t used = 0;
    if (from->h1) /* a body without bytes */
        return h1_feed(from->h1, (struct span){0}, &used).kind == HTTP_EVENT_END;
    if (!from->body->ended)
        return false;
    if (r->framing == HTTP_BODY_CHUNKED || r->framing == HTTP_BODY_FRAMES) {
        r->trailers = from->body->trailers;
        from->body->trailers = NULL;
    }
    return true;
}

static enum relay_state pump(struct relay *r, const struct source *from, struct sink *to)
{
    struct block_queue *in = from->in;
    for (;;) {
        if (r->pending) {
            if (!emit(r, in, to))
                return to->failed ? RELAY_FAILED : RELAY_FULL;
            continue;
        }
        if (r->gap) {
            block_queue_take(&to->w->blocks, in, r->gap);
            r->gap = 0;
        }
        if (r->bad)
            return RELAY_BAD;
        if (r->ended) {
            put_end(r, to);
            return to->failed ? RELAY_FAILED : RELAY_END;
        }
        if (!in->first) {
            if (!ends_here(r, from))
                return RELAY_MORE;
            r->ended = true;
            continue;
        }
        if (sink_is_full(to))
            return RELAY_FULL;
        if (!from->h1)
            decode_bare(r, from, &to->w->blocks);
        else if (!decode(r, from, to))
            return RELAY_MORE;
    }
}

enum relay_state relay_pump(struct relay *r, const struct source *from, struct sink *to)
{
    enum relay_state state = pump(r, from, to);
    r->full = state == RELAY_FULL;
    return state;
}

bool relay_eof(struct relay *r, const struct source *from)
{
    r->ended = from->h1 ? h1_feed_eof(from->h1).kind == HTTP_EVENT_END : from->body->ended;
    r->bad = !r->ended;
    return r->ended;
}

struct block *relay_trailers(struct relay *r)
{
    struct block *trailers = r->framing == HTTP_BODY_FRAMES ? r->trailers : NULL;
    if (trailers)
        r->trailers = NULL;
    return trailers;
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "data/sink.h"

#include "data/tls/session.h"
#include "data/worker.h"

static_assert(TLS_WIRE_ROOM(RING_LARGE_BYTES) <= BLOCK_BODY_BYTES, "a large buffer, encrypted");
static_assert(TLS_WIRE_ROOM(WORKER_STAGE_BYTES) <= BLOCK_BODY_BYTES, "a full stage, encrypted");
static_assert(TLS_WIRE_ROOM(TLS_RECORD_PLAIN_MAX) <= BLOCK_RECORD_BYTES, "one record");

/* What one body block takes when encrypted. */
#define TLS_BODY_MAX RING_LARGE_BYTES
/* Plaintext whose encryption surely fits a head block. */
#define HEAD_PLAIN (BLOCK_HEAD_BYTES - 2 * TLS_RECORD_OVERHEAD)

struct sink sink_of(struct worker *w, struct wire *wire, struct tls_session *tls)
{
    return (struct sink){
        .w = w, .wire = wire, .queue = &wire->sending, .queue_high = WIRE_SEND_HIGH, .tls = tls};
}

struct sink sink_into(struct worker *w, struct wire *wire, struct block_queue *queue, uint32_t high)
{
    return (struct sink){.w = w, .wire = wire, .queue = queue, .queue_high = high};
}

static void forget_fresh(struct sink *s)
{
    if (s->fresh)
        block_give_back(&s->w->blocks, s->fresh);
    s->fresh = NULL;
}

static struct writer bad_writer(struct sink *s)
{
    s->failed = true;
    return (struct writer){.bad = true};
}

/* The last queued block may grow while the kernel sends its front: it was given a length. */
static struct block *tail_with(struct sink *s, uint32_t need)
{
    struct block *tail = s->queue->last;
    return tail && !block_is_lent(tail) && tail->refs == 1 && block_room(tail) >= need ? tail
                                                                                       : NULL;
}

struct writer sink_writer(struct sink *s, uint32_t need)
{
    must(need <= WORKER_STAGE_BYTES);
    if (s->failed)
        return bad_writer(s);
    if (s->tls) {
        if (WORKER_STAGE_BYTES - s->staged < need)
            sink_flush(s);
        return s->failed ? bad_writer(s)
                         : writer_of(s->w->stage + s->staged, WORKER_STAGE_BYTES - s->staged);
    }
    forget_fresh(s);
    struct block *tail = tail_with(s, need);
    if (!tail)
        tail = s->fresh = block_take(&s->w->blocks, need, false);
    return tail ? writer_of(tail->data + tail->end, block_room(tail)) : bad_writer(s);
}

/* All that goes to the queue passes here. */
static void queue(struct sink *s, struct block *block)
{
    must(s->queue != &s->wire->sending || !s->wire->pipe);
    block_queue_push(s->queue, block);
}

void sink_commit(struct sink *s, const struct writer *w)
{
    must(!w->bad);
    if (s->tls) {
        must(w->ptr == s->w->stage + s->staged && w->len <= WORKER_STAGE_BYTES - s->staged);
        s->staged += (uint32_t)w->len;
        return;
    }
    if (w->len == 0)
        return;
    if (s->fresh) {
        must(w->ptr == s->fresh->data);
        s->fresh->end = (uint32_t)w->len;
        queue(s, s->fresh);
        s->fresh = NULL;
        return;
    }
    struct block *tail = s->queue->last;
    must(tail && w->ptr == tail->data + tail->end && w->len <= block_room(tail));
    tail->end += (uint32_t)w->len;
    s->queue->bytes += (uint32_t)w->len;
}

void sink_copy(struct sink *s, struct span bytes)
{
    struct writer w = sink_writer(s, (uint32_t)bytes.len);
    if (w.bad)
        return;
    writer_span(&w, bytes);
    sink_commit(s, &w);
}

/* Bodies leave an eighth of a pool to heads and answers of our own, which cannot wait. */
static bool pool_has(const struct worker *w, enum block_kind kind)
{
    const struct block_pool *p = &w->blocks.pools[kind];
    return p->used + p->count / 8 < p->count;
}

uint32_t sink_room(struct sink *s, uint32_t want)
{
    const struct worker *w = s->w;
    uint32_t room = 0;
    if (s->failed || sink_is_full(s))
        return 0;
    if (pool_has(w, BLOCK_BODY))
        room = TLS_BODY_MAX;
    else if (pool_has(w, BLOCK_RECORD))
        room = TLS_RECORD_PLAIN_MAX;
    else if (pool_has(w, BLOCK_HEAD))
        room = HEAD_PLAIN / 2;
    if (room == 0)
        worker_hungry(s->w, s->wire);
    /* A plain sink needs a pool block for framing only. */
    return room < want && (s->tls || room == 0) ? room : want;
}

void sink_block(struct sink *s, struct block *block)
{
    must(!s->tls);
    forget_fresh(s);
    if (block_is_lent(block) && block_is_scarce(&s->w->blocks, (enum ring_group)block->kind)) {
        struct block *copy = block_detach(&s->w->blocks, block, 0);
        if (copy)
            block = copy;
    }
    queue(s, block);
}

/* Encrypts up to three pieces of output into one new block. */
static void encrypt(struct sink *s, struct span first, struct span second)
{
    uint32_t need = 0;
    if (first.len)
        need += (uint32_t)TLS_WIRE_ROOM(first.len);
    if (second.len)
        need += (uint32_t)TLS_WIRE_ROOM(second.len);
    if (need == 0 || s->failed)
        return;
    struct block *block = block_take(&s->w->blocks, need, false);
    if (!block) {
        s->failed = true;
        return;
    }
    struct writer out = writer_of(block->data, block->cap);
    struct result r = result_ok();
    if (first.len)
        r = session_write(s->tls, first, &out);
    if (result_is_ok(r) && second.len)
        r = session_write(s->tls, second, &out);
    block->end = (uint32_t)out.len;
    if (!result_is_ok(r) || out.bad) {
        s->failed = true;
        block_give_back(&s->w->blocks, block);
        return;
    }
    queue(s, block);
}

void sink_encrypt(struct sink *s, struct span bytes)
{
    must(s->tls);
    struct span staged = span_of(s->w->stage, s->staged);
    size_t need = TLS_WIRE_ROOM(staged.len) + TLS_WIRE_ROOM(bytes.len);
    bool together = need <= BLOCK_HEAD_BYTES ||
                    (need <= BLOCK_RECORD_BYTES && bytes.len > HEAD_PLAIN) ||
                    (need <= BLOCK_BODY_BYTES && bytes.len > TLS_RECORD_PLAIN_MAX);
    s->staged = 0;
    if (together) {
        encrypt(s, staged, bytes);
        return;
    }
    encrypt(s, staged, (struct span){0});
    encrypt(s, bytes, (struct span){0});
}

void sink_flush(struct sink *s)
{
    forget_fresh(s);
    if (!s->tls || !s->staged)
        return;
    struct span staged = span_of(s->w->stage, s->staged);
    s->staged = 0;
    encrypt(s, staged, (struct span){0});
}

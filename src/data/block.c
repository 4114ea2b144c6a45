/* SPDX-License-Identifier: Apache-2.0 */
#include "data/block.h"

#include <sys/mman.h>

static const uint32_t kind_bytes[BLOCK_KINDS] = {
    RING_SMALL_BYTES, RING_LARGE_BYTES, BLOCK_HEAD_BYTES, BLOCK_RECORD_BYTES, BLOCK_BODY_BYTES,
};

/* Pages that are never used cost address space only. */
static void *map(size_t bytes)
{
    void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE,
                   -1, 0);
    return p == MAP_FAILED ? NULL : p;
}

static struct result pool_init(struct block_pool *p, enum block_kind kind, uint32_t count)
{
    must(count > 0);
    p->kind = (uint8_t)kind;
    p->bytes = kind_bytes[kind];
    p->count = count;
    p->headers = map(count * sizeof *p->headers);
    if (kind >= BLOCK_POOL_FIRST)
        p->memory = map((size_t)count * p->bytes);
    bool ok = p->headers && (kind < BLOCK_POOL_FIRST || p->memory);
    return ok ? result_ok() : result_fail(ERR_NO_MEMORY);
}

struct result blocks_init(struct blocks *b, struct ring *ring, const uint32_t counts[BLOCK_KINDS])
{
    *b = (struct blocks){.ring = ring};
    for (int kind = 0; kind < BLOCK_KINDS; kind++) {
        struct result r = pool_init(&b->pools[kind], (enum block_kind)kind, counts[kind]);
        if (!result_is_ok(r)) {
            blocks_fini(b);
            return r;
        }
    }
    return result_ok();
}

void blocks_fini(struct blocks *b)
{
    for (int kind = 0; kind < BLOCK_KINDS; kind++) {
        struct block_pool *p = &b->pools[kind];
        must(p->used == 0);
        if (p->memory)
            munmap(p->memory, (size_t)p->count * p->bytes);
        if (p->headers)
            munmap(p->headers, p->count * sizeof *p->headers);
        *p = (struct block_pool){0};
    }
}

struct block *block_lent(struct blocks *b, const struct ring_event *ev)
{
    must(ev->has_buffer && ev->group < RING_GROUPS);
    struct block_pool *p = &b->pools[ev->group];
    must(ev->buffer < p->count);
    struct block *block = &p->headers[ev->buffer];
    must(block->refs == 0);
    block->cap = p->bytes;
    block->index = ev->buffer;
    block->kind = ev->group;
    block->data = ring_buffer(b->ring, (enum ring_group)ev->group, ev->buffer);
    block->start = 0;
    block->end = ev->res > 0 ? (uint32_t)ev->res : 0;
    must(block->end <= block->cap);
    block->refs = 1;
    block->next = NULL;
    p->used++;
    b->lent[ev->group]++;
    return block;
}

static struct block *pool_take(struct block_pool *p)
{
    struct block *block = p->free;
    if (block) {
        p->free = block->next;
    } else if (p->fresh < p->count) {
        block = &p->headers[p->fresh];
        block->kind = p->kind;
        block->cap = p->bytes;
        block->index = p->fresh;
        block->data = p->memory + (size_t)p->fresh * p->bytes;
        p->fresh++;
    } else {
        return NULL;
    }
    must(block->refs == 0);
    block->start = block->end = 0;
    block->refs = 1;
    block->next = NULL;
    p->used++;
    return block;
}

struct block *block_take(struct blocks *b, uint32_t room, bool smaller)
{
    struct block *block = NULL;
    int kind = BLOCK_POOL_FIRST;
    while (kind < BLOCK_KINDS && kind_bytes[kind] < room)
        kind++;
    for (int k = kind; k < BLOCK_KINDS && !block; k++)
        block = pool_take(&b->pools[k]);
    for (int k = kind - 1; smaller && k >= BLOCK_POOL_FIRST && !block; k--)
        block = pool_take(&b->pools[k]);
    return block;
}

uint32_t blocks_used(const struct blocks *b)
{
    uint32_t used = 0;
    for (int kind = 0; kind < BLOCK_KINDS; kind++)
        used += kind < BLOCK_POOL_FIRST ? b->lent[kind] : b->pools[kind].used;
    return used;
}

void block_give_back(struct blocks *b, struct block *block)
{
    must(block->refs > 0);
    if (--block->refs)
        return;
    struct block_pool *p = &b->pools[block->kind];
    must(p->used > 0);
    p->used--;
    if (block_is_lent(block)) {
        must(b->lent[block->kind] > 0);
        b->lent[block->kind]--;
        ring_give_back(b->ring, (enum ring_group)block->kind, (uint16_t)block->index);
        return;
    }
    b->given_back++;
    block->next = p->free;
    p->free = block;
}

struct block *block_detach(struct blocks *b, struct block *block, uint32_t room)
{
    must(block->refs == 1);
    if (!block_is_lent(block) && block_room(block) >= room)
        return block;
    struct block *copy = block_take(b, block_len(block) + room, false);
    if (!copy)
        return NULL;
    block_append(copy, block->data + block->start, block_len(block));
    block_give_back(b, block);
    return copy;
}

bool block_is_scarce(const struct blocks *b, enum ring_group group)
{
    return b->lent[group] > b->pools[group].count / 2;
}

void block_queue_push(struct block_queue *q, struct block *block)
{
    block->next = NULL;
    if (q->last)
        q->last->next = block;
    else
        q->first = block;
    q->last = block;
    q->bytes += block_len(block);
    q->count++;
}

void block_queue_push_front(struct block_queue *q, struct block *block)
{
    block->next = q->first;
    q->first = block;
    if (!q->last)
        q->last = block;
    q->bytes += block_len(block);
    q->count++;
}

struct block *block_queue_pop(struct block_queue *q)
{
    struct block *block = q->first;
    if (!block)
        return NULL;
    q->first = block->next;
    if (!q->first)
        q->last = NULL;
    must(q->bytes >= block_len(block) && q->count > 0);
    q->bytes -= block_len(block);
    q->count--;
    block->next = NULL;
    return block;
}

void block_queue_take(struct blocks *b, struct block_queue *q, uint32_t n)
{
    struct block *block = q->first;
    must(block && n <= block_len(block));
    block->start += n;
    q->bytes -= n;
    if (block->start == block->end)
        block_give_back(b, block_queue_pop(q));
}

void block_queue_advance(struct blocks *b, struct block_queue *q, uint32_t n)
{
    must(n <= q->bytes);
    while (n > 0) {
        uint32_t len = block_len(q->first);
        uint32_t step = n < len ? n : len;
        block_queue_take(b, q, step);
        n -= step;
    }
}

void block_queue_clear(struct blocks *b, struct block_queue *q)
{
    struct block *block;
    while ((block = block_queue_pop(q)))
        block_give_back(b, block);
}

/* The room that a growing first block should have behind its content: a class more than it has. */
static uint32_t next_room(uint32_t len, uint32_t max)
{
    uint32_t want = len < BLOCK_HEAD_BYTES     ? BLOCK_HEAD_BYTES
                    : len < BLOCK_RECORD_BYTES ? BLOCK_RECORD_BYTES
                                               : BLOCK_BODY_BYTES;
    if (want > max)
        want = max;
    return want - len;
}

bool block_queue_copy(struct blocks *b, struct block_queue *q, struct span bytes)
{
    while (bytes.len) {
        struct block *tail = q->last;
        if (!tail || block_is_lent(tail) || tail->refs > 1 || block_room(tail) == 0) {
            uint32_t room = bytes.len > BLOCK_HEAD_BYTES ? BLOCK_RECORD_BYTES : BLOCK_HEAD_BYTES;
            tail = block_take(b, room, true);
            if (!tail)
                return false;
            block_queue_push(q, tail);
        }
        uint32_t n = block_room(tail) < bytes.len ? block_room(tail) : (uint32_t)bytes.len;
        block_append(tail, bytes.ptr, n);
        q->bytes += n;
        bytes = span_skip(bytes, n);
    }
    return true;
}

struct result block_queue_gather(struct blocks *b, struct block_queue *q, uint32_t max)
{
    must(max <= BLOCK_BODY_BYTES && q->first);
    struct block *head = block_queue_pop(q);
    uint32_t len = block_len(head);
    struct result r = result_ok();
    if (len >= max)
        r = result_fail(ERR_TOO_LARGE);
    else if (block_is_lent(head) || block_room(head) == 0) {
        struct block *grown = block_detach(b, head, next_room(len, max));
        if (grown)
            head = grown;
        else
            r = result_fail(ERR_NO_SLOT);
    }
    while (result_is_ok(r) && q->first && block_room(head) > 0) {
        uint32_t n = block_len(q->first);
        if (n > block_room(head))
            n = block_room(head);
        block_append(head, q->first->data + q->first->start, n);
        block_queue_take(b, q, n);
    }
    block_queue_push_front(q, head);
    return r;
}

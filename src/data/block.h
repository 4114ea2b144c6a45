/* SPDX-License-Identifier: Apache-2.0 */
/* data/block.h - every buffer of bytes that a worker holds, as one kind of thing: those that the
 * kernel filled (lent by the ring) and those of the worker's own pools.
 * Thread: the worker's.   Owns: the pools' memory and a header for every buffer.
 * Never: allocates after blocks_init(), lets a block stand in two queues. A block has one owner,
 * the queue it stands in or the structure that points to it; memory of pool blocks that were never
 * used costs no RSS. */
#pragma once

#include "base/must.h"
#include "base/result.h"
#include "base/span.h"
#include "ring/ring.h"

#include <assert.h>

enum block_kind {
    BLOCK_RING_SMALL = 0, /* = RING_SMALL: lent, read-only but for shifting bytes inside it */
    BLOCK_RING_LARGE = 1, /* = RING_LARGE */
    BLOCK_HEAD = 2,       /* heads and small messages */
    BLOCK_RECORD = 3,     /* one full TLS record, a ClientHello, a large head */
    BLOCK_BODY = 4,       /* what a large ring buffer becomes when it is encrypted */
    BLOCK_KINDS = 5,
};
#define BLOCK_POOL_FIRST   BLOCK_HEAD
#define BLOCK_HEAD_BYTES   4096u
#define BLOCK_RECORD_BYTES 20480u
#define BLOCK_BODY_BYTES   69632u

static_assert((int)BLOCK_RING_SMALL == (int)RING_SMALL, "a ring group is its block kind");
static_assert((int)BLOCK_RING_LARGE == (int)RING_LARGE, "a ring group is its block kind");

struct block {
    uint8_t *data;
    uint32_t start, end; /* valid bytes are data[start..end) */
    uint32_t cap;
    uint32_t index; /* within its kind */
    uint8_t kind;
    uint8_t refs; /* 2 while a sent head is kept for a second try */
    struct block *next;
};

/* First in, first out. `bytes` is what all blocks of it hold. */
struct block_queue {
    struct block *first, *last;
    uint32_t bytes, count;
};

struct block_pool {
    uint8_t *memory;
    struct block *headers;
    struct block *free; /* last given back first: its bytes are in the cache */
    uint32_t bytes, count, used;
    uint32_t fresh; /* blocks from here on were never taken, their headers are not written */
    uint8_t kind;
};

struct blocks {
    struct ring *ring;
    struct block_pool pools[BLOCK_KINDS];
    uint32_t lent[RING_GROUPS]; /* ring buffers that are not with the kernel */
    uint64_t given_back;        /* grows with each pool block that is free again */
};

/* counts: blocks per kind; for the ring's groups as in its ring_config. ERR_NO_MEMORY. */
struct result blocks_init(struct blocks *b, struct ring *ring, const uint32_t counts[BLOCK_KINDS]);
/* No block may be in use. */
void blocks_fini(struct blocks *b);

/* The block of a buffer that the kernel has filled with `len` bytes. The caller owns it. */
struct block *block_lent(struct blocks *b, const struct ring_event *ev);
/* An empty block of at least `room` bytes, from the smallest kind that has one; when `smaller` is
 * set and those are out, the largest that is left. NULL: none; the caller waits or gives up. */
struct block *block_take(struct blocks *b, uint32_t room, bool smaller);
/* How many have an owner. */
uint32_t blocks_used(const struct blocks *b);
/* One owner less. The last one returns the buffer to the kernel or to its pool. */
void block_give_back(struct blocks *b, struct block *block);
/* A block that may be kept for long in place of `block`, which is given back: a lent one is
 * copied into a pool block with at least `room` bytes behind its content. NULL: no pool block is
 * free or large enough, `block` is still the caller's. */
struct block *block_detach(struct blocks *b, struct block *block, uint32_t room);
/* True when so many buffers of this ring group are out that a slow receiver must not hold one. */
bool block_is_scarce(const struct blocks *b, enum ring_group group);

static inline uint32_t block_len(const struct block *block)
{
    return block->end - block->start;
}

static inline uint32_t block_room(const struct block *block)
{
    return block->cap - block->end;
}

static inline bool block_is_lent(const struct block *block)
{
    return block->kind < BLOCK_POOL_FIRST;
}

static inline struct span block_span(const struct block *block)
{
    return (struct span){block->data + block->start, block->end - block->start};
}

static inline void block_append(struct block *block, const void *ptr, uint32_t len)
{
    must(len <= block_room(block));
    if (len)
        memcpy(block->data + block->end, ptr, len);
    block->end += len;
}

/* Takes the block over. */
void block_queue_push(struct block_queue *q, struct block *block);
/* Gives the first block to the caller; NULL when empty. */
struct block *block_queue_pop(struct block_queue *q);
/* Puts a block before all others. */
void block_queue_push_front(struct block_queue *q, struct block *block);
/* Drops `n` bytes (n <= bytes of the first block) and the block when that empties it. */
void block_queue_take(struct blocks *b, struct block_queue *q, uint32_t n);
/* Drops `n` bytes (n <= q->bytes) over as many blocks as it needs. */
void block_queue_advance(struct blocks *b, struct block_queue *q, uint32_t n);
void block_queue_clear(struct blocks *b, struct block_queue *q);
/* Copies bytes behind what the queue holds, into blocks of the pools. False: no block is free; a
 * part may have been taken. */
bool block_queue_copy(struct blocks *b, struct block_queue *q, struct span bytes);
/* Makes the first block hold more contiguous bytes: those of the blocks behind it are moved into
 * it, and a lent one is exchanged for a pool block, up to `max` bytes in all. ERR_TOO_LARGE: it
 * holds max already; ERR_NO_SLOT: no pool block. */
struct result block_queue_gather(struct blocks *b, struct block_queue *q, uint32_t max);

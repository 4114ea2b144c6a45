/* SPDX-License-Identifier: Apache-2.0 */
/* base/slab.h - a fixed number of equal slots with generations, allocated once.
 * Thread: the owner's (one worker).   Owns: the slots' memory, until slab_fini().
 * Never: grows, moves a slot, calls malloc after slab_init().
 * Across steps only (index, generation) handles travel; slab_get() turns one back into a pointer
 * or NULL when the slot was reused. Memory of unused slots is untouched, so it costs no RSS. */
#pragma once

#include "base/result.h"

#include "base/must.h"

#include <stddef.h>

#define SLAB_INDEX_MAX (1u << 24)
#define SLAB_GEN_MASK  0xffffffu

struct slab {
    uint8_t *slots;
    uint32_t *gens;  /* generation of each slot, 24 bits used; odd while the slot is taken */
    uint32_t *links; /* free list */
    size_t slot_bytes, clear_bytes;
    uint32_t count, used, free_head, high_water;
};

/* count 1..2^24-1 slots of slot_bytes (rounded up to 64). ERR_NO_MEMORY. */
struct result slab_init(struct slab *s, uint32_t count, size_t slot_bytes);
/* From here on slab_take() clears only so many bytes of a slot; what is behind them is undefined.
 */
void slab_clear_less(struct slab *s, size_t clear_bytes);
void slab_fini(struct slab *s);
/* A zeroed slot (but see slab_clear_less()), its index in *ret_index; NULL when all are taken. */
void *slab_take(struct slab *s, uint32_t *ret_index);
/* Gives a slot back; its generation changes, so old handles no longer match. */
void slab_give_back(struct slab *s, uint32_t index);

/* The slot at index whether taken or not (index < count). */
static inline void *slab_at(const struct slab *s, uint32_t index)
{
    must(index < s->count);
    return s->slots + (size_t)index * s->slot_bytes;
}

/* The slot when it is taken and of this generation, else NULL. Any index and gen are safe. */
static inline void *slab_get(const struct slab *s, uint32_t index, uint32_t gen)
{
    if (index >= s->count || s->gens[index] != gen || !(gen & 1))
        return NULL;
    return s->slots + (size_t)index * s->slot_bytes;
}

/* Present generation of a slot, 24 bits. */
static inline uint32_t slab_gen(const struct slab *s, uint32_t index)
{
    must(index < s->count);
    return s->gens[index];
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "base/slab.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define SLAB_NONE UINT32_MAX

/* Anonymous pages are zero and cost nothing until touched. */
static void *map_zero(size_t bytes)
{
    void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE,
                   -1, 0);
    return p == MAP_FAILED ? NULL : p;
}

struct result slab_init(struct slab *s, uint32_t count, size_t slot_bytes)
{
    must(count > 0 && count < SLAB_INDEX_MAX && slot_bytes > 0);
    *s = (struct slab){.count = count, .free_head = SLAB_NONE};
    s->slot_bytes = (slot_bytes + 63) & ~(size_t)63;
    s->clear_bytes = s->slot_bytes;
    s->slots = map_zero((size_t)count * s->slot_bytes);
    s->gens = map_zero((size_t)count * sizeof *s->gens);
    s->links = map_zero((size_t)count * sizeof *s->links);
    if (!s->slots || !s->gens || !s->links) {
        slab_fini(s);
        return result_fail(ERR_NO_MEMORY);
    }
    return result_ok();
}

void slab_fini(struct slab *s)
{
    if (s->slots)
        munmap(s->slots, (size_t)s->count * s->slot_bytes);
    if (s->gens)
        munmap(s->gens, (size_t)s->count * sizeof *s->gens);
    if (s->links)
        munmap(s->links, (size_t)s->count * sizeof *s->links);
    *s = (struct slab){0};
}

void slab_clear_less(struct slab *s, size_t clear_bytes)
{
    must(clear_bytes <= s->slot_bytes);
    s->clear_bytes = clear_bytes;
}

void *slab_take(struct slab *s, uint32_t *ret_index)
{
    uint32_t index;
    if (s->free_head != SLAB_NONE) {
        index = s->free_head;
        s->free_head = s->links[index];
    } else if (s->high_water < s->count) {
        index = s->high_water++;
    } else {
        return NULL;
    }
    must(!(s->gens[index] & 1));
    s->gens[index] = (s->gens[index] + 1) & SLAB_GEN_MASK;
    s->used++;
    *ret_index = index;
    void *slot = slab_at(s, index);
    memset(slot, 0, s->clear_bytes);
    return slot;
}

void slab_give_back(struct slab *s, uint32_t index)
{
    must(index < s->count && (s->gens[index] & 1));
    s->gens[index] = (s->gens[index] + 1) & SLAB_GEN_MASK;
    s->links[index] = s->free_head;
    s->free_head = index;
    s->used--;
}

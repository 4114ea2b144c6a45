/* SPDX-License-Identifier: Apache-2.0 */
#include "bridge/series.h"

#include <assert.h>
#include <string.h>

/* Cells that are looked at before the table counts as full. */
#define PROBES 64u
/* More used cells than this, and a new worker begins with an empty table. */
#define CROWDED (SERIES_CELLS / 4 * 3)

static_assert((SERIES_CELLS & (SERIES_CELLS - 1)) == 0, "cells are found by masking");
static_assert(sizeof(struct series_cell) == 192, "no cache line is wasted");

static uint32_t place_of(uint64_t id, uint64_t labels)
{
    return (uint32_t)((id ^ labels * 0x9e3779b97f4a7c15ull) * 0xff51afd7ed558ccdull >> 40);
}

struct series_cell *series_find(struct series_table *t, uint64_t id, uint64_t labels)
{
    uint32_t at = place_of(id, labels);
    for (uint32_t i = 0; i < PROBES; i++) {
        struct series_cell *c = &t->cells[(at + i) & (SERIES_CELLS - 1)];
        if (c->id == id && c->labels == labels)
            return c;
        if (c->id)
            continue;
        __atomic_store_n(&t->used, t->used + 1, __ATOMIC_RELAXED);
        __atomic_store_n(&c->labels, labels, __ATOMIC_RELAXED);
        __atomic_store_n(&c->id, id, __ATOMIC_RELEASE);
        return c;
    }
    return NULL;
}

void series_start(struct series_table *t)
{
    if (t->used > CROWDED)
        memset(t, 0, sizeof *t);
    for (uint32_t i = 0; t->used && i < SERIES_CELLS; i++) {
        struct series_cell *c = &t->cells[i];
        if (c->id && series_kind_of(c->labels) == SERIES_OPEN)
            __atomic_store_n(&c->buckets[0], 0, __ATOMIC_RELAXED);
    }
}

bool series_read(const struct series_table *t, uint32_t index, struct series_cell *ret)
{
    const struct series_cell *c = &t->cells[index & (SERIES_CELLS - 1)];
    if (!__atomic_load_n(&t->used, __ATOMIC_RELAXED))
        return false;
    ret->id = __atomic_load_n(&c->id, __ATOMIC_ACQUIRE);
    if (!ret->id)
        return false;
    ret->labels = __atomic_load_n(&c->labels, __ATOMIC_RELAXED);
    ret->in_bytes = __atomic_load_n(&c->in_bytes, __ATOMIC_RELAXED);
    ret->out_bytes = __atomic_load_n(&c->out_bytes, __ATOMIC_RELAXED);
    ret->sum_ns = __atomic_load_n(&c->sum_ns, __ATOMIC_RELAXED);
    for (uint32_t i = 0; i <= SERIES_BOUNDS_MAX; i++)
        ret->buckets[i] = __atomic_load_n(&c->buckets[i], __ATOMIC_RELAXED);
    return true;
}

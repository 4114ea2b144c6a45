/* SPDX-License-Identifier: Apache-2.0 */
#include "data/route/tally.h"

#include "base/must.h"

#include <stdlib.h>

struct result tally_init(struct tally *t, uint32_t max)
{
    uint32_t size = 16;
    while (size < max * 2)
        size *= 2;
    *t = (struct tally){calloc(size, sizeof *t->rows), size - 1, 0, max};
    return t->rows ? result_ok() : result_fail(ERR_NO_MEMORY);
}

void tally_fini(struct tally *t)
{
    free(t->rows);
    *t = (struct tally){0};
}

/* The row of this key, or the free one where it belongs. There always is one: half are free. */
static uint32_t find(const struct tally *t, uint64_t key)
{
    uint32_t at = (uint32_t)key & t->mask;
    while (t->rows[at].key && t->rows[at].key != key)
        at = (at + 1) & t->mask;
    return at;
}

struct result tally_add(struct tally *t, uint64_t key, uint64_t limit)
{
    must(key);
    struct tally_row *row = &t->rows[find(t, key)];
    if (row->count >= limit)
        return result_fail(ERR_LIMIT);
    if (!row->key) {
        if (t->used == t->max)
            return result_fail(ERR_FULL);
        row->key = key;
        t->used++;
    }
    row->count++;
    return result_ok();
}

/* Frees a row; those behind it that came past it move up, so that look-ups still find them. */
static void remove_row(struct tally *t, uint32_t hole)
{
    for (uint32_t at = (hole + 1) & t->mask; t->rows[at].key; at = (at + 1) & t->mask) {
        uint32_t home = (uint32_t)t->rows[at].key & t->mask;
        if (((at - home) & t->mask) >= ((at - hole) & t->mask)) {
            t->rows[hole] = t->rows[at];
            hole = at;
        }
    }
    t->rows[hole] = (struct tally_row){0};
    t->used--;
}

void tally_drop(struct tally *t, uint64_t key)
{
    uint32_t at = find(t, key);
    must(t->rows[at].key == key && t->rows[at].count > 0);
    if (--t->rows[at].count == 0)
        remove_row(t, at);
}

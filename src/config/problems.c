/* SPDX-License-Identifier: Apache-2.0 */
#include "config/problems.h"

#include "config/arena.h"

#include <ctype.h>
#include <stdlib.h>

static void add(struct config_problems *p, bool warning, struct config_where where, const char *fmt,
                va_list ap)
{
    p->errors += !warning;
    if (p->count >= PROBLEMS_MAX)
        return;
    if (!p->memory)
        p->memory = arena_create();
    if (p->count % 16 == 0)
        p->items = mem_grow(p->items, (p->count + 16) * sizeof *p->items);
    if (where.file)
        where.file = arena_strdup(p->memory, where.file);
    p->items[p->count++] =
        (struct config_problem){warning, where, arena_vprintf(p->memory, fmt, ap)};
}

void problems_error(struct config_problems *p, struct config_where where, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    add(p, false, where, fmt, ap);
    va_end(ap);
}

void problems_warn(struct config_problems *p, struct config_where where, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    add(p, true, where, fmt, ap);
    va_end(ap);
}

struct order {
    const char *const *files;
    uint32_t file_count;
};

static uint32_t file_rank(const struct order *o, const struct config_where *w)
{
    if (!w->file)
        return o->file_count + 1;
    for (uint32_t i = 0; w->line && i < o->file_count; i++) {
        if (strcmp(o->files[i], w->file) == 0)
            return i;
    }
    return o->file_count;
}

static int compare_problems(const void *left, const void *right, void *arg)
{
    const struct config_where *a = &((const struct config_problem *)left)->where;
    const struct config_where *b = &((const struct config_problem *)right)->where;
    uint32_t rank_a = file_rank(arg, a), rank_b = file_rank(arg, b);
    if (rank_a != rank_b)
        return rank_a < rank_b ? -1 : 1;
    if (a->line != b->line)
        return a->line < b->line ? -1 : 1;
    if (a->column != b->column)
        return a->column < b->column ? -1 : 1;
    return 0;
}

/* An insertion sort: problems of the same place keep their order, and the list is short
 * (PROBLEMS_MAX). */
void problems_sort(struct config_problems *p, const char *const *files, uint32_t file_count)
{
    struct order order = {files, file_count};
    for (uint32_t i = 1; i < p->count; i++) {
        struct config_problem moved = p->items[i];
        uint32_t k = i;
        for (; k > 0 && compare_problems(&p->items[k - 1], &moved, &order) > 0; k--)
            p->items[k] = p->items[k - 1];
        p->items[k] = moved;
    }
}

void config_problems_free(struct config_problems *p)
{
    free(p->items);
    arena_destroy(p->memory);
    *p = (struct config_problems){0};
}

void config_problem_print(const struct config_problem *p, struct buf *out)
{
    if (p->where.line)
        buf_printf(out, "%s:%u:%u: ", p->where.file, p->where.line, p->where.column);
    else if (p->where.file)
        buf_printf(out, "%s: ", p->where.file);
    buf_printf(out, "%s: %s", p->warning ? "warning" : "error", p->text);
}

#define WORD_MAX 64

/* Edits (insert, remove, change, swap neighbours) from a to b, both at most WORD_MAX long. */
static uint32_t edits(const char *a, size_t a_len, const char *b, size_t b_len)
{
    uint8_t rows[3][WORD_MAX + 1];
    for (size_t k = 0; k <= b_len; k++)
        rows[0][k] = (uint8_t)k;
    for (size_t i = 1; i <= a_len; i++) {
        uint8_t *row = rows[i % 3];
        const uint8_t *above = rows[(i + 2) % 3], *higher = rows[(i + 1) % 3];
        row[0] = (uint8_t)i;
        for (size_t k = 1; k <= b_len; k++) {
            int x = tolower((unsigned char)a[i - 1]), y = tolower((unsigned char)b[k - 1]);
            uint8_t best = (uint8_t)(above[k - 1] + (x != y));
            if (above[k] + 1 < best)
                best = (uint8_t)(above[k] + 1);
            if (row[k - 1] + 1 < best)
                best = (uint8_t)(row[k - 1] + 1);
            if (i > 1 && k > 1 && x == tolower((unsigned char)b[k - 2]) &&
                tolower((unsigned char)a[i - 2]) == y && higher[k - 2] + 1 < best)
                best = (uint8_t)(higher[k - 2] + 1);
            row[k] = best;
        }
    }
    return rows[a_len % 3][b_len];
}

const char *problems_nearest(const char *wrong, const char *const *names, uint32_t count)
{
    size_t len = strlen(wrong);
    const char *best = NULL;
    uint32_t best_edits = 1 + (uint32_t)len / 3;
    if (len == 0 || len > WORD_MAX)
        return NULL;
    for (uint32_t i = 0; i < count; i++) {
        size_t name_len = strlen(names[i]);
        size_t gap = name_len > len ? name_len - len : len - name_len;
        if (name_len > WORD_MAX || gap >= best_edits)
            continue;
        uint32_t n = edits(wrong, len, names[i], name_len);
        if (n < best_edits) {
            best_edits = n;
            best = names[i];
        }
    }
    return best;
}

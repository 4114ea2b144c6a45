/* SPDX-License-Identifier: Apache-2.0 */
#include "config/arena.h"

#include "base/must.h"
#include "base/secret.h"

#include <stdalign.h>
#include <stdio.h>
#include <stdlib.h>

#define CHUNK_BYTES 65536

struct chunk {
    struct chunk *next;
    size_t len, cap;
    alignas(max_align_t) uint8_t bytes[];
};

struct arena {
    struct chunk *chunks; /* the first one is being filled */
};

struct arena *arena_create(void)
{
    return mem_zalloc(sizeof(struct arena));
}

void arena_destroy(struct arena *a)
{
    if (!a)
        return;
    for (struct chunk *c = a->chunks, *next; c; c = next) {
        next = c->next;
        secret_wipe(c->bytes, c->len);
        free(c);
    }
    free(a);
}

void *arena_alloc(struct arena *a, size_t n)
{
    must(n < SIZE_MAX / 2);
    n = (n + alignof(max_align_t) - 1) & ~(alignof(max_align_t) - 1);
    struct chunk *c = a->chunks;
    if (!c || n > c->cap - c->len) {
        size_t cap = n > CHUNK_BYTES / 4 ? n : CHUNK_BYTES;
        c = mem_zalloc(sizeof *c + cap);
        c->cap = cap;
        if (cap == n && a->chunks) { /* a large block: go on filling the present chunk */
            c->next = a->chunks->next;
            a->chunks->next = c;
        } else {
            c->next = a->chunks;
            a->chunks = c;
        }
    }
    void *p = c->bytes + c->len;
    c->len += n;
    return p;
}

void *arena_dup(struct arena *a, const void *p, size_t n)
{
    void *copy = arena_alloc(a, n);
    if (n)
        memcpy(copy, p, n);
    return copy;
}

char *arena_strndup(struct arena *a, const void *s, size_t n)
{
    char *copy = arena_alloc(a, n + 1);
    if (n)
        memcpy(copy, s, n);
    return copy;
}

char *arena_strdup(struct arena *a, const char *s)
{
    return arena_strndup(a, s, strlen(s));
}

char *arena_vprintf(struct arena *a, const char *fmt, va_list ap)
{
    va_list again;
    va_copy(again, ap);
    int n = vsnprintf(NULL, 0, fmt, ap);
    must(n >= 0);
    char *text = arena_alloc(a, (size_t)n + 1);
    vsnprintf(text, (size_t)n + 1, fmt, again);
    va_end(again);
    return text;
}

char *arena_printf(struct arena *a, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    char *text = arena_vprintf(a, fmt, ap);
    va_end(ap);
    return text;
}

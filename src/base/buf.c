/* SPDX-License-Identifier: Apache-2.0 */
#include "base/buf.h"

#include "base/must.h"
#include "base/secret.h"

#include <stdio.h>
#include <stdlib.h>

void *mem_grow(void *old, size_t n)
{
    void *p = realloc(old, n ? n : 1);
    must(p);
    return p;
}

void *mem_alloc(size_t n)
{
    return mem_grow(NULL, n);
}

void *mem_zalloc(size_t n)
{
    void *p = calloc(1, n ? n : 1);
    must(p);
    return p;
}

void *mem_dup(const void *src, size_t n)
{
    void *p = mem_alloc(n);
    if (n)
        memcpy(p, src, n);
    return p;
}

char *mem_strndup(const void *s, size_t n)
{
    char *p = mem_alloc(n + 1);
    if (n)
        memcpy(p, s, n);
    p[n] = 0;
    return p;
}

char *mem_strdup(const char *s)
{
    return mem_strndup(s, strlen(s));
}

char *mem_printf(const char *fmt, ...)
{
    va_list ap, again;
    va_start(ap, fmt);
    va_copy(again, ap);
    int n = vsnprintf(NULL, 0, fmt, ap);
    must(n >= 0);
    char *p = mem_alloc((size_t)n + 1);
    vsnprintf(p, (size_t)n + 1, fmt, again);
    va_end(again);
    va_end(ap);
    return p;
}

void buf_free(struct buf *b)
{
    free(b->ptr);
    *b = (struct buf){0};
}

void buf_wipe_free(struct buf *b)
{
    secret_wipe(b->ptr, b->cap);
    buf_free(b);
}

struct buf buf_copy(struct span s)
{
    return (struct buf){mem_dup(s.ptr, s.len), s.len, s.len};
}

void buf_fit(struct buf *b)
{
    if (!b->len) {
        buf_free(b);
    } else if (b->cap > b->len) {
        b->ptr = mem_grow(b->ptr, b->len);
        b->cap = b->len;
    }
}

uint8_t *buf_reserve(struct buf *b, size_t more)
{
    must(more <= SIZE_MAX / 4 && b->len <= SIZE_MAX / 4);
    if (b->cap - b->len < more) {
        size_t cap = b->cap ? b->cap : 256;
        while (cap - b->len < more)
            cap *= 2;
        b->ptr = mem_grow(b->ptr, cap);
        b->cap = cap;
    }
    return b->ptr + b->len;
}

void buf_put(struct buf *b, const void *ptr, size_t n)
{
    if (!n)
        return;
    memcpy(buf_reserve(b, n), ptr, n);
    b->len += n;
}

void buf_put_span(struct buf *b, struct span s)
{
    buf_put(b, s.ptr, s.len);
}

void buf_put_str(struct buf *b, const char *s)
{
    buf_put(b, s, strlen(s));
}

void buf_put_be(struct buf *b, uint64_t v, size_t n)
{
    struct writer w = writer_of(buf_reserve(b, n), n);
    writer_be(&w, v, n);
    b->len += n;
}

void buf_vprintf(struct buf *b, const char *fmt, va_list ap)
{
    must(fmt);
    va_list again;
    va_copy(again, ap);
    int n = vsnprintf(NULL, 0, fmt, ap);
    must(n >= 0);
    vsnprintf((char *)buf_reserve(b, (size_t)n + 1), (size_t)n + 1, fmt, again);
    va_end(again);
    b->len += (size_t)n;
}

void buf_printf(struct buf *b, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    buf_vprintf(b, fmt, ap);
    va_end(ap);
}

void buf_consume(struct buf *b, size_t n)
{
    must(n <= b->len);
    if (n == 0)
        return;
    memmove(b->ptr, b->ptr + n, b->len - n);
    b->len -= n;
}

char *buf_cstr(struct buf *b)
{
    *buf_reserve(b, 1) = 0;
    return (char *)b->ptr;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* base/buf.h - a growable byte buffer on the heap.
 * Thread: any, one at a time.   Owns: its memory, until buf_free().
 * Never: used on the request path of a worker (those have slabs); returns NULL (out of memory
 * aborts: control and boot code have nothing better to do, and the supervisor restarts them). */
#pragma once

#include "base/span.h"

#include <stdarg.h>

struct buf {
    uint8_t *ptr;
    size_t len;
    size_t cap;
};

/* Zero-initialised is valid and empty. */
void buf_free(struct buf *b);
/* Wipes the content, then frees. For anything secret. */
void buf_wipe_free(struct buf *b);
/* A copy that has no room to spare, for what is kept. */
struct buf buf_copy(struct span s);
/* Gives back the room behind the content. Not for secrets: a copy may stay behind. */
void buf_fit(struct buf *b);
/* Makes room for `more` bytes after len and returns the place; len is unchanged. */
uint8_t *buf_reserve(struct buf *b, size_t more);
void buf_put(struct buf *b, const void *ptr, size_t n);
void buf_put_span(struct buf *b, struct span s);
void buf_put_str(struct buf *b, const char *s);
void buf_put_be(struct buf *b, uint64_t v, size_t n);
void buf_printf(struct buf *b, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void buf_vprintf(struct buf *b, const char *fmt, va_list ap) __attribute__((format(printf, 2, 0)));
/* Drops the first n bytes (n <= len). */
void buf_consume(struct buf *b, size_t n);
/* NUL-terminates without counting the NUL, and returns the text. Valid until the next call. */
char *buf_cstr(struct buf *b);

static inline struct span buf_span(const struct buf *b)
{
    return (struct span){b->ptr, b->len};
}

/* malloc, calloc, strdup that abort when memory is out. The caller frees with free(). */
void *mem_alloc(size_t n);
void *mem_zalloc(size_t n);
void *mem_grow(void *old, size_t n);
char *mem_strdup(const char *s);
char *mem_strndup(const void *s, size_t n);
void *mem_dup(const void *p, size_t n);
char *mem_printf(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

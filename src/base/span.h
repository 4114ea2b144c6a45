/* SPDX-License-Identifier: Apache-2.0 */
/* base/span.h - borrowed bytes, and bounded cursors to read and write them.
 * Thread: any.   Owns: nothing; a span is valid as long as whoever lent it says.
 * Never: allocates, reads or writes past the end (a cursor remembers that it would have). */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <strings.h>

struct span {
    const uint8_t *ptr; /* not NUL-terminated; may hold any byte; may be NULL when len is 0 */
    size_t len;
};

#define SPAN_LITERAL(s) ((struct span){(const uint8_t *)(s), sizeof(s) - 1})

static inline struct span span_of(const void *ptr, size_t len)
{
    return (struct span){ptr, len};
}

static inline struct span span_str(const char *s)
{
    return (struct span){(const uint8_t *)s, s ? strlen(s) : 0};
}

static inline bool span_eq(struct span a, struct span b)
{
    return a.len == b.len && (a.len == 0 || memcmp(a.ptr, b.ptr, a.len) == 0);
}

/* ASCII case-insensitive. */
static inline bool span_eq_nocase(struct span a, struct span b)
{
    return a.len == b.len &&
           (a.len == 0 || strncasecmp((const char *)a.ptr, (const char *)b.ptr, a.len) == 0);
}

static inline bool span_starts_with(struct span s, struct span prefix)
{
    return s.len >= prefix.len && (prefix.len == 0 || memcmp(s.ptr, prefix.ptr, prefix.len) == 0);
}

/* Bytes from `from` on; an empty span when `from` is past the end. */
static inline struct span span_skip(struct span s, size_t from)
{
    return from >= s.len ? (struct span){s.ptr + s.len, 0}
                         : (struct span){s.ptr + from, s.len - from};
}

static inline struct span span_first(struct span s, size_t n)
{
    return (struct span){s.ptr, n < s.len ? n : s.len};
}

/* Offset of the first byte `c`, or s.len. */
static inline size_t span_find(struct span s, uint8_t c)
{
    const uint8_t *hit = s.len ? memchr(s.ptr, c, s.len) : NULL;
    return hit ? (size_t)(hit - s.ptr) : s.len;
}

/* For printf("%.*s"): SPAN_FMT(s) gives both arguments. */
#define SPAN_FMT(s) (int)(s).len, (const char *)(s).ptr

/* Reads big-endian fields; after the first read past the end `bad` is set and all reads give 0. */
struct reader {
    const uint8_t *ptr;
    size_t left;
    bool bad;
};

static inline struct reader reader_of(struct span s)
{
    return (struct reader){s.ptr, s.len, false};
}

static inline struct span reader_bytes(struct reader *r, size_t n)
{
    if (r->bad || n > r->left) {
        r->bad = true;
        return (struct span){NULL, 0};
    }
    struct span s = {r->ptr, n};
    r->ptr += n;
    r->left -= n;
    return s;
}

static inline uint64_t reader_be(struct reader *r, size_t n)
{
    struct span s = reader_bytes(r, n);
    uint64_t v = 0;
    for (size_t i = 0; i < s.len; i++)
        v = v << 8 | s.ptr[i];
    return v;
}

static inline uint8_t reader_u8(struct reader *r)
{
    return (uint8_t)reader_be(r, 1);
}

static inline uint16_t reader_u16(struct reader *r)
{
    return (uint16_t)reader_be(r, 2);
}

static inline uint32_t reader_u32(struct reader *r)
{
    return (uint32_t)reader_be(r, 4);
}

static inline uint64_t reader_u64(struct reader *r)
{
    return reader_be(r, 8);
}

/* Writes into fixed memory; after the first write past the end `bad` is set, nothing is written. */
struct writer {
    uint8_t *ptr;
    size_t cap;
    size_t len;
    bool bad;
};

static inline struct writer writer_of(void *ptr, size_t cap)
{
    return (struct writer){ptr, cap, 0, false};
}

static inline void writer_bytes(struct writer *w, const void *ptr, size_t n)
{
    if (w->bad || n > w->cap - w->len) {
        w->bad = true;
        return;
    }
    if (n)
        memcpy(w->ptr + w->len, ptr, n);
    w->len += n;
}

static inline void writer_span(struct writer *w, struct span s)
{
    writer_bytes(w, s.ptr, s.len);
}

static inline void writer_be(struct writer *w, uint64_t v, size_t n)
{
    uint8_t b[8];
    for (size_t i = 0; i < n; i++)
        b[i] = (uint8_t)(v >> 8 * (n - 1 - i));
    writer_bytes(w, b, n);
}

static inline struct span writer_done(const struct writer *w)
{
    return (struct span){w->ptr, w->len};
}

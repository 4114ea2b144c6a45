/* SPDX-License-Identifier: Apache-2.0 */
#include "data/tls/alloc.h"

#include "base/must.h"

#include <wolfssl/options.h>
#include <wolfssl/wolfcrypt/settings.h>
#include <wolfssl/wolfcrypt/memory.h>

#include <stdlib.h>
#include <string.h>

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define IS_SANITIZED true
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define IS_SANITIZED true
#endif
#endif
#ifndef IS_SANITIZED
#define IS_SANITIZED false
#endif

/* Sizes grow by a quarter to a half: 4 per power of two, so a block wastes less than 20 %. */
#define HEADER_BYTES 16 /* keeps the alignment that malloc gives */
#define CLASS_FIRST  64
#define CLASS_COUNT  34
#define CLASS_LARGE  CLASS_COUNT

struct block {
    union {
        size_t size_class;  /* in use: CLASS_LARGE = straight from malloc */
        struct block *next; /* in a list */
    };
    size_t bytes; /* usable */
};
static_assert(sizeof(struct block) == HEADER_BYTES, "the header must keep the alignment");

struct lists {
    struct block *free[CLASS_COUNT];
    uint32_t count[CLASS_COUNT];
};

static _Thread_local struct lists lists;

/* Bytes of a class: 64, 80, 96, 112, 128, 160, ... */
static size_t class_bytes(size_t c)
{
    size_t base = (size_t)CLASS_FIRST << c / 4;
    return base + base / 4 * (c % 4);
}

/* Smallest class that holds n bytes; CLASS_LARGE when none does. */
static size_t class_of(size_t n)
{
    if (n > ALLOC_BLOCK_MAX)
        return CLASS_LARGE;
    if (n <= CLASS_FIRST)
        return 0;
    size_t power = 63 - (size_t)__builtin_clzll(n - 1); /* 2^power < n <= 2^(power+1) */
    size_t quarter = (n - 1) >> (power - 2) & 3;
    return (power - 6) * 4 + quarter + 1;
}

static_assert(ALLOC_BLOCK_MAX == 20 * 1024 && CLASS_COUNT == 34, "class 33 holds 20 KB");

static void *alloc_take(size_t n)
{
    size_t c = class_of(n);
    struct block *b;

    if (c == CLASS_LARGE) {
        b = n > SIZE_MAX - HEADER_BYTES ? NULL : malloc(HEADER_BYTES + n);
        if (!b)
            return NULL;
        b->bytes = n;
    } else if (lists.free[c]) {
        b = lists.free[c];
        lists.free[c] = b->next;
        lists.count[c]--;
    } else {
        b = malloc(HEADER_BYTES + class_bytes(c));
        if (!b)
            return NULL;
        b->bytes = class_bytes(c);
    }
    b->size_class = c;
    return b + 1;
}

static void alloc_give_back(void *p)
{
    if (!p)
        return;
    struct block *b = (struct block *)p - 1;
    size_t c = b->size_class;
    must(c <= CLASS_LARGE);
    if (c == CLASS_LARGE || lists.count[c] * class_bytes(c) >= ALLOC_KEEP_BYTES) {
        free(b);
        return;
    }
    b->next = lists.free[c];
    lists.free[c] = b;
    lists.count[c]++;
}

static void *alloc_grow(void *p, size_t n)
{
    if (!p)
        return alloc_take(n);
    struct block *b = (struct block *)p - 1;
    if (n <= b->bytes)
        return p;
    void *fresh = alloc_take(n);
    if (!fresh)
        return NULL;
    memcpy(fresh, p, b->bytes);
    alloc_give_back(p);
    return fresh;
}

struct result alloc_init(void)
{
    if (!IS_SANITIZED && wolfSSL_SetAllocators(alloc_take, alloc_give_back, alloc_grow) != 0)
        return result_fail(ERR_CRYPTO);
    return result_ok();
}

void alloc_release(void)
{
    for (size_t c = 0; c < CLASS_COUNT; c++) {
        while (lists.free[c]) {
            struct block *b = lists.free[c];
            lists.free[c] = b->next;
            free(b);
        }
        lists.count[c] = 0;
    }
}

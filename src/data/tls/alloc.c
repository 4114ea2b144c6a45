/* SPDX-License-Identifier: Apache-2.0 */
#include "data/tls/alloc.h"

#include "base/must.h"

#include <wolfssl/options.h>
#include <wolfssl/wolfcrypt/settings.h>
#include <wolfssl/wolfcrypt/memory.h>

#include <malloc.h>
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

/* Sizes in steps of 128 bytes up to 4 KB (what sessions hold for long), then of 1 KB. */
#define FINE_STEP   128
#define FINE_MAX    4096
#define FINE_COUNT  ((FINE_MAX - ALLOC_SMALL_MAX) / FINE_STEP)
#define COARSE_STEP 1024
#define SIZE_COUNT  (FINE_COUNT + (ALLOC_BLOCK_MAX - FINE_MAX) / COARSE_STEP)

struct block {
    struct block *next;
};

struct lists {
    struct block *first[SIZE_COUNT];
    uint32_t count[SIZE_COUNT];
};

static _Thread_local struct lists lists;
static _Thread_local uint64_t used;

static size_t size_bytes(size_t i)
{
    return i < FINE_COUNT ? ALLOC_SMALL_MAX + (i + 1) * FINE_STEP
                          : FINE_MAX + (i - FINE_COUNT + 1) * COARSE_STEP;
}

/* The smallest size that holds n bytes, ALLOC_SMALL_MAX < n <= ALLOC_BLOCK_MAX. */
static size_t size_for(size_t n)
{
    return n <= FINE_MAX ? (n - ALLOC_SMALL_MAX - 1) / FINE_STEP
                         : FINE_COUNT + (n - FINE_MAX - 1) / COARSE_STEP;
}

/* The largest size that fits into n usable bytes; SIZE_COUNT when there is none, or when the block
 * is so large that a list would waste it. */
static size_t size_within(size_t n)
{
    if (n < ALLOC_SMALL_MAX + FINE_STEP || n >= ALLOC_BLOCK_MAX + COARSE_STEP)
        return SIZE_COUNT;
    if (n < FINE_MAX)
        return (n - ALLOC_SMALL_MAX) / FINE_STEP - 1;
    if (n < FINE_MAX + COARSE_STEP)
        return FINE_COUNT - 1;
    return FINE_COUNT + (n - FINE_MAX) / COARSE_STEP - 1;
}

static void *take(size_t n)
{
    if (n <= ALLOC_SMALL_MAX || n > ALLOC_BLOCK_MAX)
        return malloc(n); /* allowed: this module stands in front of malloc */
    size_t i = size_for(n);
    struct block *b = lists.first[i];
    if (!b)
        return malloc(size_bytes(i)); /* allowed: as above */
    must(lists.count[i] > 0);
    lists.first[i] = b->next;
    lists.count[i]--;
    return b;
}

static void *alloc_take(size_t n)
{
    void *p = take(n);
    used += p != NULL;
    return p;
}

static void alloc_give_back(void *p)
{
    used -= p != NULL;
    size_t i = p ? size_within(malloc_usable_size(p)) : SIZE_COUNT;
    if (i == SIZE_COUNT || (lists.count[i] + 1) * size_bytes(i) > ALLOC_KEEP_BYTES) {
        free(p); /* allowed: as above */
        return;
    }
    struct block *b = p;
    must(b != lists.first[i]); /* freed twice */
    b->next = lists.first[i];
    lists.first[i] = b;
    lists.count[i]++;
}

static void *alloc_grow(void *p, size_t n)
{
    size_t have = p ? malloc_usable_size(p) : 0;
    if (p && n <= have)
        return p;
    void *fresh = alloc_take(n);
    if (!fresh || !p)
        return fresh;
    memcpy(fresh, p, have);
    alloc_give_back(p);
    return fresh;
}

struct result alloc_init(void)
{
    if (!IS_SANITIZED && wolfSSL_SetAllocators(alloc_take, alloc_give_back, alloc_grow) != 0)
        return result_fail(ERR_CRYPTO);
    return result_ok();
}

uint64_t alloc_used(void)
{
    return used;
}

void alloc_release(void)
{
    for (size_t i = 0; i < SIZE_COUNT; i++) {
        while (lists.first[i]) {
            struct block *b = lists.first[i];
            lists.first[i] = b->next;
            free(b); /* allowed: as above */
        }
        lists.count[i] = 0;
    }
}

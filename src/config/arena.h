/* SPDX-License-Identifier: Apache-2.0 */
/* config/arena.h - memory that is freed as a whole.
 * Thread: any, one at a time.   Owns: all its blocks, until arena_destroy(), which wipes them
 * (a configuration holds secrets).
 * Never: frees a single block, returns NULL. */
#pragma once

#include "base/buf.h"

struct arena;

struct arena *arena_create(void);
/* NULL is fine. */
void arena_destroy(struct arena *a);
/* Zeroed, aligned for any type. */
void *arena_alloc(struct arena *a, size_t n);
char *arena_strdup(struct arena *a, const char *s);
char *arena_strndup(struct arena *a, const void *s, size_t n);
void *arena_dup(struct arena *a, const void *p, size_t n);
char *arena_printf(struct arena *a, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
char *arena_vprintf(struct arena *a, const char *fmt, va_list ap)
    __attribute__((format(printf, 2, 0)));

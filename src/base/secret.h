/* SPDX-License-Identifier: Apache-2.0 */
/* base/secret.h - bytes that are wiped when they are no longer needed and never printed.
 * Thread: any, one at a time.   Owns: its memory, until secret_free().
 * Never: appears in a log line, an error text or argv. */
#pragma once

#include "base/span.h"

struct secret {
    uint8_t *ptr;
    size_t len;
};

/* Copies `bytes`. */
struct secret secret_copy(struct span bytes);
/* Wipes and frees; a zero-initialised secret is valid. */
void secret_free(struct secret *s);
/* Overwrites memory in a way that the compiler keeps. ptr may be NULL when len is 0. */
void secret_wipe(void *ptr, size_t len);
/* Compares in constant time for equal lengths. */
bool secret_eq(struct span a, struct span b);

static inline struct span secret_span(const struct secret *s)
{
    return (struct span){s->ptr, s->len};
}

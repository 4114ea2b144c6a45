/* SPDX-License-Identifier: Apache-2.0 */
#include "base/secret.h"

#include "base/buf.h"

#include <stdlib.h>

struct secret secret_copy(struct span bytes)
{
    return (struct secret){mem_dup(bytes.ptr, bytes.len), bytes.len};
}

void secret_wipe(void *ptr, size_t len)
{
    if (ptr && len)
        explicit_bzero(ptr, len);
}

void secret_free(struct secret *s)
{
    secret_wipe(s->ptr, s->len);
    free(s->ptr);
    *s = (struct secret){0};
}

bool secret_eq(struct span a, struct span b)
{
    if (a.len != b.len)
        return false;
    volatile uint8_t diff = 0;
    for (size_t i = 0; i < a.len; i++)
        diff |= a.ptr[i] ^ b.ptr[i];
    return diff == 0;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* tests/unit/providers/fake_host.h - the services that a plug-in's modules need in unit tests.
 * Thread: the test's.   Owns: nothing.   Never: included by product code. */
#pragma once

#include "ferrule_provider.h"

#include "base/buf.h"
#include "crypto/digest.h"

#include <stdlib.h>

struct ferrule_buf {
    struct buf data;
};

static struct ferrule_buf *fake_buf_new(const struct ferrule_host *host)
{
    return mem_zalloc(sizeof(struct ferrule_buf));
}

static int32_t fake_buf_put(struct ferrule_buf *b, const void *ptr, size_t len)
{
    buf_put(&b->data, ptr, len);
    return FERRULE_OK;
}

static struct ferrule_str fake_buf_view(const struct ferrule_buf *b)
{
    return (struct ferrule_str){(const char *)b->data.ptr, b->data.len};
}

static void fake_buf_free(struct ferrule_buf *b)
{
    buf_free(&b->data);
    free(b);
}

static int32_t fake_hmac(const struct ferrule_host *host, int32_t algorithm, struct ferrule_str key,
                         struct ferrule_str in, uint8_t *out, size_t *ret_len)
{
    digest_hmac((enum digest)algorithm, span_of(key.ptr, key.len), span_of(in.ptr, in.len), out);
    *ret_len = digest_bytes((enum digest)algorithm);
    return FERRULE_OK;
}

static const struct ferrule_host fake_host = {
    .size = sizeof(struct ferrule_host),
    .buf_new = fake_buf_new,
    .buf_put = fake_buf_put,
    .buf_view = fake_buf_view,
    .buf_free = fake_buf_free,
    .hmac = fake_hmac,
};

static inline struct ferrule_str fake_str(const char *s)
{
    return (struct ferrule_str){s, strlen(s)};
}

/* Bytes of a hexadecimal text; returns how many. */
static inline size_t fake_unhex(const char *hex, uint8_t *out, size_t cap)
{
    size_t n = 0;
    for (; hex[0] && hex[1] && n < cap; hex += 2) {
        char pair[3] = {hex[0], hex[1], 0};
        out[n++] = (uint8_t)strtoul(pair, NULL, 16);
    }
    return n;
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "crypto/pem.h"

#include "base/secret.h"
#include "crypto/digest.h"

static const struct span begin_mark = {(const uint8_t *)"-----BEGIN ", 11};
static const struct span end_mark = {(const uint8_t *)"-----END ", 9};
static const struct span dashes = {(const uint8_t *)"-----", 5};

static size_t find(struct span in, struct span what)
{
    const uint8_t *hit = in.len ? memmem(in.ptr, in.len, what.ptr, what.len) : NULL;
    return hit ? (size_t)(hit - in.ptr) : in.len;
}

/* Reads "LABEL-----" at the start of *text. */
static struct result get_label(struct span *text, struct span *ret)
{
    size_t n = find(*text, dashes);
    if (n == text->len || n > 64)
        return result_fail(ERR_FORMAT);
    struct span label = span_first(*text, n);
    for (size_t i = 0; i < label.len; i++)
        if (label.ptr[i] < 0x20 || label.ptr[i] > 0x7e)
            return result_fail(ERR_FORMAT);
    *text = span_skip(*text, n + dashes.len);
    *ret = label;
    return result_ok();
}

struct result pem_next(struct span *text, struct pem_block *ret)
{
    struct span in = *text, label, end_label;
    size_t at = find(in, begin_mark);
    if (at == in.len)
        return result_fail(ERR_NOT_FOUND);
    in = span_skip(in, at + begin_mark.len);
    TRY(get_label(&in, &label));
    struct span body = span_first(in, find(in, end_mark));
    if (body.len == in.len)
        return result_fail(ERR_FORMAT);
    in = span_skip(in, body.len + end_mark.len);
    TRY(get_label(&in, &end_label));
    if (!span_eq(label, end_label))
        return result_fail(ERR_FORMAT);

    struct pem_block block = {.label = label};
    /* Base64 has no colon: one is the mark of an RFC 1421 header, thus of an encrypted key. */
    block.encrypted = span_find(body, ':') < body.len;
    if (!block.encrypted) {
        struct result r = base64_get(body, &block.der);
        if (!result_is_ok(r)) {
            buf_wipe_free(&block.der);
            return r;
        }
    }
    *text = in;
    *ret = block;
    return result_ok();
}

void pem_put(struct buf *out, const char *label, struct span der)
{
    struct buf b64 = {0};
    buf_reserve(&b64, der.len / 3 * 4 + 8); /* no regrowth: it would leave copies behind */
    base64_put(&b64, der);
    buf_printf(out, "-----BEGIN %s-----\n", label);
    for (size_t at = 0; at < b64.len; at += 64) {
        buf_put_span(out, span_first(span_skip(buf_span(&b64), at), 64));
        buf_put(out, "\n", 1);
    }
    buf_printf(out, "-----END %s-----\n", label);
    buf_wipe_free(&b64);
}

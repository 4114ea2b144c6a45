/* SPDX-License-Identifier: Apache-2.0 */
#include "control/provider/redact.h"

#include <stdlib.h>
#include <string.h>

#define BLOT "***"

static void add_one(struct redact *r, struct span value)
{
    if (value.len < REDACT_BYTES_MIN)
        return;
    for (uint32_t i = 0; i < r->count; i++)
        if (span_eq(buf_span(&r->values[i]), value))
            return;
    r->values = mem_grow(r->values, (r->count + 1) * sizeof *r->values);
    struct buf copy = {0};
    buf_put_span(&copy, value);
    /* Longest first: a value that holds another one disappears as a whole. */
    uint32_t at = r->count++;
    for (; at > 0 && r->values[at - 1].len < copy.len; at--)
        r->values[at] = r->values[at - 1];
    r->values[at] = copy;
}

void redact_add(struct redact *r, struct span value)
{
    add_one(r, value);
    while (value.len) {
        size_t end = span_find(value, '\n');
        add_one(r, span_first(value, end));
        value = span_skip(value, end + 1);
    }
}

static void blot(char *text, const struct buf *value)
{
    size_t len = strlen(text);
    char *hit;
    while ((hit = memmem(text, len, value->ptr, value->len))) {
        size_t blot_len = sizeof BLOT - 1;
        char *rest = hit + value->len;
        len -= (size_t)(hit - text) + value->len;
        memcpy(hit, BLOT, blot_len);
        memmove(hit + blot_len, rest, len + 1);
        text = hit + blot_len;
    }
}

/* A text that was cut may end with the beginning of a value. */
static void blot_tail(char *text, const struct buf *value, size_t least)
{
    size_t len = strlen(text);
    size_t n = value->len - 1 < len ? value->len - 1 : len;
    for (; n >= least; n--) {
        char *tail = text + len - n;
        if (memcmp(tail, value->ptr, n) == 0) {
            size_t blot_len = sizeof BLOT - 1 < n ? sizeof BLOT - 1 : n;
            memcpy(tail, BLOT, blot_len);
            tail[blot_len] = 0;
            return;
        }
    }
}

static void redact(const struct redact *r, char *text, size_t least)
{
    for (uint32_t i = 0; i < r->count; i++)
        blot(text, &r->values[i]);
    for (uint32_t i = 0; i < r->count; i++)
        blot_tail(text, &r->values[i], least);
}

void redact_text(const struct redact *r, char *text)
{
    redact(r, text, REDACT_BYTES_MIN);
}

void redact_cut_text(const struct redact *r, char *text)
{
    redact(r, text, 1);
}

void redact_fini(struct redact *r)
{
    for (uint32_t i = 0; i < r->count; i++)
        buf_wipe_free(&r->values[i]);
    free(r->values);
    *r = (struct redact){0};
}

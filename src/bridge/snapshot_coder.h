/* SPDX-License-Identifier: Apache-2.0 */
/* bridge/snapshot_coder.h - one description of each struct of a snapshot for both directions.
 * Thread: the caller's.   Owns: nothing; decoded spans point into the input.
 * Never: included outside bridge. */
#pragma once

#include "base/buf.h"
#include "bridge/snapshot.h"
#include "bridge/wire.h"

/* out: encoding, fields are only read. in: decoding, fields are set. */
struct coder {
    struct buf *out;
    struct reader in;
};

#define INT_FIELD(name, type, bytes)                                                               \
    static inline void name(struct coder *c, type *v)                                              \
    {                                                                                              \
        if (c->out)                                                                                \
            buf_put_be(c->out, (uint64_t)*v, bytes);                                               \
        else                                                                                       \
            *v = (type)reader_be(&c->in, bytes);                                                   \
    }
INT_FIELD(code_u8, uint8_t, 1)
INT_FIELD(code_u16, uint16_t, 2)
INT_FIELD(code_u32, uint32_t, 4)
INT_FIELD(code_u64, uint64_t, 8)
INT_FIELD(code_i64, int64_t, 8)
#undef INT_FIELD

static inline void code_bool(struct coder *c, bool *v)
{
    if (c->out)
        buf_put_be(c->out, *v, 1);
    else
        *v = wire_get_bool(&c->in);
}

static inline void code_span(struct coder *c, struct span *v)
{
    if (c->out)
        wire_put_span(c->out, *v);
    else
        *v = wire_get_span(&c->in);
}

static inline void code_bytes(struct coder *c, uint8_t *v, size_t n)
{
    if (c->out) {
        buf_put(c->out, v, n);
        return;
    }
    struct span s = reader_bytes(&c->in, n);
    if (s.len)
        memcpy(v, s.ptr, n);
}

static inline bool range_ok(uint32_t first, uint32_t count, uint32_t size)
{
    return first <= size && count <= size - first;
}

/* In snapshot_middleware.c. An unknown kind makes the input bad. */
void code_middleware(struct coder *c, struct snap_middleware *m);
void code_text(struct coder *c, struct snap_text *t);
void code_pair(struct coder *c, struct snap_pair *p);
void code_step(struct coder *c, struct snap_step *s);
/* Ranges, kinds and limits of one middleware; of a router's list. */
bool snapshot_middleware_ok(const struct snapshot *s, const struct snap_middleware *m);
bool snapshot_steps_ok(const struct snapshot *s, struct snap_range steps);

/* SPDX-License-Identifier: Apache-2.0 */
#include "bridge/wire.h"

#include "base/must.h"

static uint32_t body_max(enum wire_type type)
{
    return type == WIRE_SNAPSHOT ? WIRE_SNAPSHOT_BYTES_MAX : WIRE_BYTES_MAX;
}

size_t wire_begin(struct buf *out, enum wire_type type)
{
    must(type >= WIRE_SYNC_BEGIN && type < WIRE_TYPE_END);
    buf_put_be(out, WIRE_MAGIC, 4);
    buf_put_be(out, WIRE_VERSION, 1);
    buf_put_be(out, type, 1);
    buf_put_be(out, 0, 2);
    buf_put_be(out, 0, 4);
    return out->len;
}

void wire_end(struct buf *out, size_t mark)
{
    must(mark >= WIRE_HEADER_BYTES && mark <= out->len);
    size_t len = out->len - mark;
    must(len <= body_max(out->ptr[mark - 7]));
    struct writer w = writer_of(out->ptr + mark - 4, 4);
    writer_be(&w, len, 4);
    must(!w.bad);
}

struct result wire_next(struct span in, struct wire_message *ret, size_t *ret_used)
{
    /* Garbage is refused at its first wrong byte, not after a header's worth of it. */
    uint8_t magic[4] = {WIRE_MAGIC >> 24, WIRE_MAGIC >> 16 & 255, WIRE_MAGIC >> 8 & 255,
                        WIRE_MAGIC & 255};
    if (in.len && memcmp(in.ptr, magic, in.len < 4 ? in.len : 4) != 0)
        return result_fail(ERR_FORMAT);
    if (in.len > 4 && in.ptr[4] != WIRE_VERSION)
        return result_fail(ERR_VERSION);
    if (in.len < WIRE_HEADER_BYTES)
        return result_fail(ERR_AGAIN);
    struct reader r = reader_of(span_skip(in, 5));
    uint8_t type = reader_u8(&r);
    uint16_t zero = reader_u16(&r);
    uint32_t len = reader_u32(&r);
    if (type < WIRE_SYNC_BEGIN || type >= WIRE_TYPE_END || zero || len > body_max(type))
        return result_fail(ERR_FORMAT);
    if (r.left < len)
        return result_fail(ERR_AGAIN);
    ret->type = (enum wire_type)type;
    ret->body = reader_bytes(&r, len);
    *ret_used = WIRE_HEADER_BYTES + len;
    return result_ok();
}

void wire_put_span(struct buf *out, struct span s)
{
    must(s.len <= WIRE_SNAPSHOT_BYTES_MAX);
    buf_put_be(out, s.len, 4);
    buf_put_span(out, s);
}

struct span wire_get_span(struct reader *in)
{
    return reader_bytes(in, reader_u32(in));
}

bool wire_get_bool(struct reader *in)
{
    uint8_t v = reader_u8(in);
    if (v > 1)
        in->bad = true;
    return v == 1;
}

void wire_put_addr(struct buf *out, const struct net_addr *a)
{
    bool v6 = a->sa.sa_family == AF_INET6;
    must(v6 || a->sa.sa_family == AF_INET);
    buf_put_be(out, v6 ? 6 : 4, 1);
    buf_put_be(out, net_addr_port(a), 2);
    if (v6) {
        buf_put(out, &a->in6.sin6_addr, 16);
        buf_put_be(out, a->in6.sin6_scope_id, 4);
    } else {
        buf_put(out, &a->in.sin_addr, 4);
    }
}

struct net_addr wire_get_addr(struct reader *in)
{
    struct net_addr a = {.len = 0};
    uint8_t family = reader_u8(in);
    uint16_t port = reader_u16(in);
    struct span ip = reader_bytes(in, family == 6 ? 16 : 4);
    if (in->bad || (family != 4 && family != 6)) {
        in->bad = true;
        return a;
    }
    if (family == 6) {
        a.in6.sin6_family = AF_INET6;
        memcpy(&a.in6.sin6_addr, ip.ptr, 16);
        a.in6.sin6_scope_id = reader_u32(in);
        a.len = sizeof a.in6;
    } else {
        a.in.sin_family = AF_INET;
        memcpy(&a.in.sin_addr, ip.ptr, 4);
        a.len = sizeof a.in;
    }
    net_addr_set_port(&a, port);
    return a;
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "crypto/der.h"

#include "base/must.h"

struct result der_any(struct span *in, uint8_t *ret_tag, struct span *ret_value,
                      struct span *ret_whole)
{
    struct reader r = reader_of(*in);
    uint8_t tag = reader_u8(&r);
    size_t len = reader_u8(&r);
    if (r.bad || (tag & 0x1f) == 0x1f)
        return result_fail(ERR_FORMAT);
    if (len >= 0x80) {
        size_t bytes = len & 0x7f;
        if (bytes < 1 || bytes > 4)
            return result_fail(ERR_FORMAT);
        len = reader_be(&r, bytes);
        if (r.bad || len < 0x80 || len >> 8 * (bytes - 1) == 0)
            return result_fail(ERR_FORMAT);
    }
    struct span value = reader_bytes(&r, len);
    if (r.bad)
        return result_fail(ERR_FORMAT);
    const uint8_t *start = in->ptr;
    *in = span_of(r.ptr, r.left);
    if (ret_tag)
        *ret_tag = tag;
    if (ret_value)
        *ret_value = value;
    if (ret_whole)
        *ret_whole = span_of(start, (size_t)(r.ptr - start));
    return result_ok();
}

struct result der_get(struct span *in, uint8_t tag, struct span *ret_value)
{
    return der_is(*in, tag) ? der_any(in, NULL, ret_value, NULL) : result_fail(ERR_FORMAT);
}

bool der_is(struct span in, uint8_t tag)
{
    return in.len > 0 && in.ptr[0] == tag;
}

struct result der_get_unsigned(struct span *in, struct span *ret_value)
{
    struct span v;
    TRY(der_get(in, DER_INTEGER, &v));
    if (v.len == 0 || v.ptr[0] & 0x80)
        return result_fail(ERR_FORMAT);
    *ret_value = v.len > 1 && v.ptr[0] == 0 ? span_skip(v, 1) : v;
    return result_ok();
}

struct result der_get_small(struct span *in, uint32_t *ret)
{
    struct span v;
    TRY(der_get_unsigned(in, &v));
    if (v.len > 4 || (v.len == 4 && v.ptr[0] & 0x80))
        return result_fail(ERR_FORMAT);
    uint32_t n = 0;
    for (size_t i = 0; i < v.len; i++)
        n = n << 8 | v.ptr[i];
    *ret = n;
    return result_ok();
}

struct result der_get_bits(struct span *in, struct span *ret_value)
{
    struct span v;
    TRY(der_get(in, DER_BIT_STRING, &v));
    if (v.len == 0 || v.ptr[0] != 0)
        return result_fail(ERR_FORMAT);
    *ret_value = span_skip(v, 1);
    return result_ok();
}

static int64_t days_of(int64_t year, int64_t month, int64_t day)
{
    /* Years begin in March, so that the leap day is the last; eras have 400 years. */
    year -= month <= 2;
    int64_t era = year / 400, in_era = year % 400;
    int64_t in_year = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;
    return era * 146097 + in_era * 365 + in_era / 4 - in_era / 100 + in_year - 719468;
}

struct result der_get_time(struct span *in, int64_t *ret)
{
    static const uint8_t month_days[] = {31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    struct span v;
    uint8_t tag;
    int64_t part[7];
    TRY(der_any(in, &tag, &v, NULL));
    size_t century = tag == DER_GENERALIZED_TIME ? 2 : 0;
    if ((tag != DER_UTC_TIME && !century) || v.len != 13 + century || v.ptr[v.len - 1] != 'Z')
        return result_fail(ERR_FORMAT);
    for (size_t i = 0; i < (v.len - 1) / 2; i++) {
        uint8_t a = v.ptr[2 * i], b = v.ptr[2 * i + 1];
        if (a < '0' || a > '9' || b < '0' || b > '9')
            return result_fail(ERR_FORMAT);
        part[i] = (a - '0') * 10 + (b - '0');
    }
    const int64_t *p = part + (century ? 1 : 0);
    int64_t year = century ? part[0] * 100 + part[1] : part[0] + (part[0] < 50 ? 2000 : 1900);
    if (p[1] < 1 || p[1] > 12 || p[2] < 1 || p[2] > month_days[p[1] - 1] || p[3] > 23 ||
        p[4] > 59 || p[5] > 59)
        return result_fail(ERR_FORMAT);
    *ret = days_of(year, p[1], p[2]) * 86400 + p[3] * 3600 + p[4] * 60 + p[5];
    return result_ok();
}

size_t der_begin(struct buf *out, uint8_t tag)
{
    buf_put_be(out, tag, 1);
    return out->len;
}

void der_end(struct buf *out, size_t mark)
{
    must(mark >= 1 && mark <= out->len);
    size_t len = out->len - mark;
    size_t bytes = len < 0x80 ? 1 : len < 0x100 ? 2 : len < 0x10000 ? 3 : len < 0x1000000 ? 4 : 5;
    buf_reserve(out, bytes);
    memmove(out->ptr + mark + bytes, out->ptr + mark, len);
    struct writer w = writer_of(out->ptr + mark, bytes);
    if (bytes == 1) {
        writer_be(&w, len, 1);
    } else {
        writer_be(&w, 0x80 | (bytes - 1), 1);
        writer_be(&w, len, bytes - 1);
    }
    must(!w.bad && w.len == bytes);
    out->len += bytes;
}

void der_put(struct buf *out, uint8_t tag, struct span value)
{
    size_t mark = der_begin(out, tag);
    buf_put_span(out, value);
    der_end(out, mark);
}

void der_put_unsigned(struct buf *out, struct span value)
{
    while (value.len > 1 && value.ptr[0] == 0)
        value = span_skip(value, 1);
    size_t mark = der_begin(out, DER_INTEGER);
    if (value.len == 0 || value.ptr[0] & 0x80)
        buf_put_be(out, 0, 1);
    buf_put_span(out, value);
    der_end(out, mark);
}

void der_put_bits(struct buf *out, struct span value)
{
    size_t mark = der_begin(out, DER_BIT_STRING);
    buf_put_be(out, 0, 1);
    buf_put_span(out, value);
    der_end(out, mark);
}

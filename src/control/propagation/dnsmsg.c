/* SPDX-License-Identifier: Apache-2.0 */
#include "control/propagation/dnsmsg.h"

#include <ctype.h>
#include <stdio.h>

#define HEADER_BYTES 12
#define LABEL_BYTES  63
#define WIRE_BYTES   255

static uint32_t get_be(struct span bytes, size_t at, size_t n)
{
    uint32_t v = 0;
    for (size_t i = 0; i < n; i++)
        v = v << 8 | bytes.ptr[at + i];
    return v;
}

/* Appends one label and a dot. */
static size_t put_label(char *out, size_t n, struct span label)
{
    for (size_t i = 0; i < label.len; i++) {
        uint8_t c = (uint8_t)tolower(label.ptr[i]);
        if (isalnum(c) || c == '-' || c == '_' || c == '*')
            out[n++] = (char)c;
        else
            n += (size_t)snprintf(out + n, DNSMSG_NAME_BYTES - n, "\\%03u", c);
    }
    out[n++] = '.';
    out[n] = 0;
    return n;
}

bool dnsmsg_name(const struct dnsmsg *m, size_t at, char out[DNSMSG_NAME_BYTES], size_t *ret_end)
{
    size_t n = 0, wire = 1, lowest = at;
    bool jumped = false;
    for (;;) {
        if (at >= m->bytes.len)
            return false;
        uint8_t len = m->bytes.ptr[at];
        if ((len & 0xc0) == 0xc0) {
            if (at + 2 > m->bytes.len)
                return false;
            size_t target = get_be(m->bytes, at, 2) & 0x3fff;
            if (!jumped)
                *ret_end = at + 2;
            jumped = true;
            if (target >= lowest) /* only backwards, each time further: no loop */
                return false;
            at = lowest = target;
            continue;
        }
        if (len == 0)
            break;
        wire += 1u + len;
        if (len > LABEL_BYTES || wire > WIRE_BYTES || at + 1 + len > m->bytes.len)
            return false;
        n = put_label(out, n, span_of(m->bytes.ptr + at + 1, len));
        at += 1u + len;
    }
    if (!jumped)
        *ret_end = at + 1;
    if (n == 0)
        put_label(out, 0, span_of(NULL, 0));
    return true;
}

struct result dnsmsg_open(struct span bytes, struct dnsmsg *ret)
{
    if (bytes.len < HEADER_BYTES || bytes.len > 65535)
        return result_fail(ERR_FORMAT);
    *ret =
        (struct dnsmsg){.bytes = bytes, .flags = (uint16_t)get_be(bytes, 2, 2), .at = HEADER_BYTES};
    for (size_t i = 0; i < 4; i++)
        ret->counts[i] = (uint16_t)get_be(bytes, 4 + 2 * i, 2);
    char name[DNSMSG_NAME_BYTES];
    for (unsigned i = 0; i < ret->counts[0]; i++) {
        if (!dnsmsg_name(ret, ret->at, name, &ret->at) || ret->at + 4 > bytes.len)
            return result_fail(ERR_FORMAT);
        ret->at += 4;
    }
    ret->section = DNSMSG_ANSWER;
    ret->left = ret->counts[DNSMSG_ANSWER];
    return result_ok();
}

bool dnsmsg_next(struct dnsmsg *m, struct dnsmsg_record *ret)
{
    while (!m->bad && m->left == 0 && m->section < DNSMSG_ADDITIONAL)
        m->left = m->counts[++m->section];
    if (m->bad || m->left == 0)
        return false;
    m->left--;
    size_t at;
    m->bad = !dnsmsg_name(m, m->at, ret->name, &at) || at + 10 > m->bytes.len;
    if (m->bad)
        return false;
    ret->section = (enum dnsmsg_section)m->section;
    ret->type = (uint16_t)get_be(m->bytes, at, 2);
    ret->class = (uint16_t)get_be(m->bytes, at + 2, 2);
    ret->ttl_s = get_be(m->bytes, at + 4, 4);
    ret->rdata_bytes = get_be(m->bytes, at + 8, 2);
    ret->rdata_at = at + 10;
    m->at = ret->rdata_at + ret->rdata_bytes;
    m->bad = m->at > m->bytes.len;
    return !m->bad;
}

bool dnsmsg_target(const struct dnsmsg *m, const struct dnsmsg_record *r,
                   char out[DNSMSG_NAME_BYTES])
{
    size_t end;
    return dnsmsg_name(m, r->rdata_at, out, &end) && end == r->rdata_at + r->rdata_bytes;
}

bool dnsmsg_address(const struct dnsmsg *m, const struct dnsmsg_record *r, struct net_addr *ret)
{
    const uint8_t *bytes = m->bytes.ptr + r->rdata_at;
    *ret = (struct net_addr){0};
    if (r->type == DNSMSG_A && r->rdata_bytes == 4) {
        ret->in.sin_family = AF_INET;
        memcpy(&ret->in.sin_addr, bytes, 4);
        ret->len = sizeof ret->in;
        return true;
    }
    if (r->type == DNSMSG_AAAA && r->rdata_bytes == 16) {
        ret->in6.sin6_family = AF_INET6;
        memcpy(&ret->in6.sin6_addr, bytes, 16);
        ret->len = sizeof ret->in6;
        return true;
    }
    return false;
}

bool dnsmsg_txt(const struct dnsmsg *m, const struct dnsmsg_record *r, struct buf *out)
{
    size_t at = r->rdata_at, end = r->rdata_at + r->rdata_bytes;
    while (at < end) {
        size_t len = m->bytes.ptr[at++];
        if (len > end - at)
            return false;
        buf_put(out, m->bytes.ptr + at, len);
        at += len;
    }
    return true;
}

bool dnsmsg_negative_ttl(const struct dnsmsg *m, const struct dnsmsg_record *soa, uint32_t *ret_s)
{
    char name[DNSMSG_NAME_BYTES];
    size_t at;
    if (!dnsmsg_name(m, soa->rdata_at, name, &at) || !dnsmsg_name(m, at, name, &at) ||
        at + 20 != soa->rdata_at + soa->rdata_bytes)
        return false;
    uint32_t minimum_s = get_be(m->bytes, at + 16, 4);
    *ret_s = minimum_s < soa->ttl_s ? minimum_s : soa->ttl_s;
    return true;
}

const char *dnsmsg_rcode_text(unsigned rcode)
{
    static const char *const names[16] = {"NOERROR",  "FORMERR",  "SERVFAIL", "NXDOMAIN",
                                          "NOTIMP",   "REFUSED",  "YXDOMAIN", "YXRRSET",
                                          "NXRRSET",  "NOTAUTH",  "NOTZONE",  "rcode 11",
                                          "rcode 12", "rcode 13", "rcode 14", "rcode 15"};
    return names[rcode & 15];
}

static size_t text_len(const char *name)
{
    size_t n = strlen(name);
    return n && name[n - 1] == '.' ? n - 1 : n;
}

bool dnsmsg_name_eq(const char *a, const char *b)
{
    return text_len(a) == text_len(b) && strncasecmp(a, b, text_len(a)) == 0;
}

bool dnsmsg_name_normal(const char *name, char out[DNSMSG_NAME_BYTES])
{
    size_t n = text_len(name);
    if (n == 0 || n > WIRE_BYTES - 2)
        return false;
    for (size_t i = 0; i < n; i++)
        out[i] = (char)tolower((unsigned char)name[i]);
    out[n] = '.';
    out[n + 1] = 0;
    return true;
}

const char *dnsmsg_name_parent(const char *name)
{
    const char *dot = strchr(name, '.');
    return dot && dot[1] ? dot + 1 : NULL;
}

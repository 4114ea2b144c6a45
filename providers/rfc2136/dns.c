/* SPDX-License-Identifier: Apache-2.0 */
#include "dns.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

#define LABEL_BYTES 63
#define EDNS_BYTES  1232

/* --- names
 * ---------------------------------------------------------------------------------------- */

bool dns_name_parse(struct ferrule_str text, struct dns_name *ret)
{
    ret->len = 0;
    if (text.len && text.ptr[text.len - 1] == '.')
        text.len--;
    size_t at = 0;
    while (at < text.len) {
        const char *dot = memchr(text.ptr + at, '.', text.len - at);
        size_t len = dot ? (size_t)(dot - text.ptr) - at : text.len - at;
        if (len == 0 || len > LABEL_BYTES || ret->len + len + 2 > DNS_NAME_BYTES)
            return false;
        ret->wire[ret->len++] = (uint8_t)len;
        for (size_t i = 0; i < len; i++) {
            char c = text.ptr[at + i];
            if (c == '\\' || c <= ' ' || c == 0x7f)
                return false;
            ret->wire[ret->len++] = (uint8_t)tolower((unsigned char)c);
        }
        at += len + 1;
        if (dot && at == text.len)
            return false; /* two final dots */
    }
    ret->wire[ret->len++] = 0;
    return true;
}

const char *dns_name_text(const struct dns_name *name, char out[DNS_TEXT_BYTES])
{
    size_t n = 0;
    for (size_t at = 0; at < name->len && name->wire[at];) {
        size_t end = at + 1 + name->wire[at];
        for (at++; at < end && at < name->len; at++) {
            uint8_t c = name->wire[at];
            if (isalnum(c) || c == '-' || c == '_' || c == '*')
                out[n++] = (char)c;
            else
                n += (size_t)snprintf(out + n, DNS_TEXT_BYTES - n, "\\%03u", c);
        }
        out[n++] = '.';
    }
    if (n == 0)
        out[n++] = '.';
    out[n] = 0;
    return out;
}

bool dns_name_eq(const struct dns_name *a, const struct dns_name *b)
{
    return a->len == b->len && memcmp(a->wire, b->wire, a->len) == 0;
}

bool dns_name_parent(struct dns_name *name)
{
    if (name->len < 2)
        return false;
    size_t skip = 1u + name->wire[0];
    name->len -= skip;
    memmove(name->wire, name->wire + skip, name->len);
    return true;
}

bool dns_name_is_in(const struct dns_name *name, const struct dns_name *zone)
{
    struct dns_name n = *name;
    while (n.len > zone->len)
        if (!dns_name_parent(&n))
            return false;
    return dns_name_eq(&n, zone);
}

uint32_t dns_name_labels(const struct dns_name *name)
{
    uint32_t count = 0;
    for (size_t at = 0; at < name->len && name->wire[at]; at += 1u + name->wire[at])
        count++;
    return count;
}

/* --- writing
 * ---------------------------------------------------------------------------------------- */

void dns_put(struct dns_writer *w, const void *ptr, size_t len)
{
    if (w->bad || len > w->cap - w->len) {
        w->bad = true;
        return;
    }
    if (len)
        memcpy(w->ptr + w->len, ptr, len);
    w->len += len;
}

void dns_put_u16(struct dns_writer *w, uint32_t v)
{
    uint8_t b[2] = {(uint8_t)(v >> 8), (uint8_t)v};
    dns_put(w, b, sizeof b);
}

void dns_put_u32(struct dns_writer *w, uint32_t v)
{
    dns_put_u16(w, v >> 16);
    dns_put_u16(w, v & 0xffff);
}

static void put_header(struct dns_writer *w, uint16_t id, uint16_t flags, const uint16_t counts[4])
{
    dns_put_u16(w, id);
    dns_put_u16(w, flags);
    for (int i = 0; i < 4; i++)
        dns_put_u16(w, counts[i]);
}

static void put_question(struct dns_writer *w, const struct dns_name *name, uint16_t type)
{
    dns_put(w, name->wire, name->len);
    dns_put_u16(w, type);
    dns_put_u16(w, DNS_CLASS_IN);
}

void dns_put_query(struct dns_writer *w, uint16_t id, const struct dns_name *name, uint16_t type)
{
    static const uint16_t counts[4] = {1, 0, 0, 1};
    put_header(w, id, 0x0100, counts);
    put_question(w, name, type);
    dns_put(w, "", 1); /* OPT belongs to the root */
    dns_put_u16(w, DNS_TYPE_OPT);
    dns_put_u16(w, EDNS_BYTES);
    dns_put_u32(w, 0);
    dns_put_u16(w, 0);
}

void dns_put_update(struct dns_writer *w, uint16_t id, const struct dns_name *zone,
                    uint16_t records)
{
    const uint16_t counts[4] = {1, 0, records, 0};
    put_header(w, id, DNS_OPCODE_UPDATE << 11, counts);
    put_question(w, zone, DNS_TYPE_SOA);
}

void dns_put_change(struct dns_writer *w, const struct dns_name *name, struct ferrule_str value,
                    uint32_t ttl_s, bool add)
{
    dns_put(w, name->wire, name->len);
    dns_put_u16(w, DNS_TYPE_TXT);
    dns_put_u16(w, add ? DNS_CLASS_IN : DNS_CLASS_NONE);
    dns_put_u32(w, add ? ttl_s : 0);
    if (value.len > 255)
        w->bad = true;
    uint8_t len = (uint8_t)value.len;
    dns_put_u16(w, len + 1u);
    dns_put(w, &len, 1);
    dns_put(w, value.ptr, value.len);
}

/* --- reading
 * ---------------------------------------------------------------------------------------- */

static uint16_t get_u16(const uint8_t *p)
{
    return (uint16_t)(p[0] << 8 | p[1]);
}

bool dns_message_read(struct ferrule_str bytes, struct dns_message *ret)
{
    if (bytes.len < DNS_HEADER_BYTES || bytes.len > FERRULE_DNS_MAX)
        return false;
    const uint8_t *p = (const uint8_t *)bytes.ptr;
    *ret =
        (struct dns_message){.ptr = p, .len = bytes.len, .id = get_u16(p), .flags = get_u16(p + 2)};
    for (int i = 0; i < 4; i++)
        ret->counts[i] = get_u16(p + 4 + 2 * i);
    return true;
}

bool dns_read_name(const struct dns_message *m, size_t *offset, struct dns_name *ret)
{
    size_t at = *offset, lowest = *offset;
    bool jumped = false;
    ret->len = 0;
    for (;;) {
        if (at >= m->len)
            return false;
        uint8_t len = m->ptr[at];
        if ((len & 0xc0) == 0xc0) {
            if (at + 2 > m->len)
                return false;
            size_t target = (size_t)(len & 0x3f) << 8 | m->ptr[at + 1];
            if (!jumped)
                *offset = at + 2;
            jumped = true;
            /* Only backwards, each time further: no loop. */
            if (target >= lowest)
                return false;
            at = lowest = target;
            continue;
        }
        if (len > LABEL_BYTES || at + 1 + len > m->len || ret->len + 1 + len > DNS_NAME_BYTES)
            return false;
        ret->wire[ret->len++] = len;
        for (size_t i = 0; i < len; i++)
            ret->wire[ret->len++] = (uint8_t)tolower(m->ptr[at + 1 + i]);
        at += 1u + len;
        if (len == 0)
            break;
    }
    if (!jumped)
        *offset = at;
    return true;
}

size_t dns_skip_questions(const struct dns_message *m)
{
    size_t at = DNS_HEADER_BYTES;
    for (unsigned i = 0; i < m->counts[0]; i++) {
        struct dns_name name;
        if (!dns_read_name(m, &at, &name) || at + 4 > m->len)
            return 0;
        at += 4;
    }
    return at;
}

bool dns_read_record(const struct dns_message *m, size_t *offset, struct dns_record *ret)
{
    ret->start = *offset;
    if (!dns_read_name(m, offset, &ret->name) || *offset + 10 > m->len)
        return false;
    const uint8_t *p = m->ptr + *offset;
    ret->type = get_u16(p);
    ret->class = get_u16(p + 2);
    ret->ttl_s = (uint32_t)get_u16(p + 4) << 16 | get_u16(p + 6);
    ret->rdata_len = get_u16(p + 8);
    ret->rdata = *offset + 10;
    *offset = ret->rdata + ret->rdata_len;
    return *offset <= m->len;
}

const char *dns_rcode_text(unsigned rcode, char out[DNS_RCODE_BYTES])
{
    static const char *const names[] = {"NOERROR", "FORMERR", "SERVFAIL", "NXDOMAIN",
                                        "NOTIMP",  "REFUSED", "YXDOMAIN", "YXRRSET",
                                        "NXRRSET", "NOTAUTH", "NOTZONE"};
    if (rcode < sizeof names / sizeof names[0])
        return names[rcode];
    snprintf(out, DNS_RCODE_BYTES, "rcode %u", rcode);
    return out;
}

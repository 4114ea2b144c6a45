/* SPDX-License-Identifier: Apache-2.0 */
#include "data/route/client_ip.h"

#include <arpa/inet.h>

static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};

/* "192.0.2.1", "192.0.2.1:80", "2001:db8::1", "[2001:db8::1]:80"; no zones. */
static bool parse(struct span text, uint8_t out[16])
{
    char copy[INET6_ADDRSTRLEN];
    struct in_addr v4;
    if (text.len && text.ptr[0] == '[') {
        text = span_skip(text, 1);
        text.len = span_find(text, ']');
    } else if (span_find(text, ':') < text.len && span_find(text, '.') < span_find(text, ':')) {
        text.len = span_find(text, ':');
    }
    if (text.len == 0 || text.len >= sizeof copy)
        return false;
    memcpy(copy, text.ptr, text.len);
    copy[text.len] = 0;
    if (inet_pton(AF_INET, copy, &v4) == 1) {
        memcpy(out, mapped, sizeof mapped);
        memcpy(out + 12, &v4, 4);
        return true;
    }
    return inet_pton(AF_INET6, copy, out) == 1;
}

bool client_ip_in(const struct snapshot *s, struct snap_range prefixes, const uint8_t bytes[16])
{
    for (uint32_t i = 0; i < prefixes.count; i++) {
        const struct snap_prefix *p = &s->prefixes[prefixes.first + i];
        uint32_t whole = p->bits / 8, rest = p->bits % 8;
        if (memcmp(bytes, p->address, whole) != 0)
            continue;
        if (rest == 0 || !((bytes[whole] ^ p->address[whole]) & (0xff00 >> rest & 0xff)))
            return true;
    }
    return false;
}

void client_ip_mask(uint8_t bytes[16], uint8_t bits)
{
    if (memcmp(bytes, mapped, sizeof mapped) == 0)
        return;
    for (uint32_t i = 0; i < 16; i++) {
        uint32_t keep = bits <= i * 8 ? 0 : bits - i * 8;
        if (keep < 8)
            bytes[i] &= (uint8_t)(0xff00 >> keep);
    }
}

static struct span trim(struct span s)
{
    while (s.len && (s.ptr[0] == ' ' || s.ptr[0] == '\t'))
        s = span_skip(s, 1);
    while (s.len && (s.ptr[s.len - 1] == ' ' || s.ptr[s.len - 1] == '\t'))
        s.len--;
    return s;
}

/* Takes the last entry off a list. */
static struct span take_last(struct span *list)
{
    size_t from = list->len;
    while (from && list->ptr[from - 1] != ',')
        from--;
    struct span entry = trim(span_skip(*list, from));
    list->len = from ? from - 1 : 0;
    return entry;
}

/* Looks at the entries from the right, over all fields. */
static struct client_ip find_forwarded(const struct snapshot *s,
                                       const struct snap_ip_strategy *strategy,
                                       const struct http_head *head)
{
    struct client_ip ip = {0};
    uint32_t depth = strategy->depth;
    for (uint32_t i = head->field_count; i > 0; i--) {
        const struct http_field *f = &head->fields[i - 1];
        if (f->known != HTTP_NAME_X_FORWARDED_FOR || f->drop)
            continue;
        for (struct span rest = f->value; rest.len;) {
            ip.text = take_last(&rest);
            ip.known = parse(ip.text, ip.bytes);
            bool excluded = ip.known && client_ip_in(s, strategy->excluded, ip.bytes);
            if (strategy->depth ? --depth == 0 : ip.text.len && !excluded)
                return ip;
        }
    }
    return (struct client_ip){0};
}

struct client_ip client_ip_find(const struct snapshot *s, const struct snap_ip_strategy *strategy,
                                const struct http_head *head, const struct net_addr *peer,
                                struct span peer_text)
{
    if (strategy->depth || strategy->excluded.count)
        return find_forwarded(s, strategy, head);
    struct client_ip ip = {.known = true, .text = peer_text};
    if (peer->sa.sa_family == AF_INET6) {
        memcpy(ip.bytes, &peer->in6.sin6_addr, 16);
    } else {
        memcpy(ip.bytes, mapped, sizeof mapped);
        memcpy(ip.bytes + 12, &peer->in.sin_addr, 4);
    }
    return ip;
}

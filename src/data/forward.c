/* SPDX-License-Identifier: Apache-2.0 */
#include "data/forward.h"

#include <assert.h>

static const struct span prefix = {(const uint8_t *)"x-forwarded-", 12};

/* Fields of this family that we do not write ourselves, such as X-Forwarded-Tls-Client-Cert: an
 * upstream must not believe them when they come from anyone. */
static bool is_family(const struct http_field *f)
{
    if (f->known >= HTTP_NAME_X_FORWARDED_FOR && f->known <= HTTP_NAME_X_REAL_IP)
        return true;
    if (f->known != HTTP_NAME_OTHER || f->name.len <= prefix.len || (f->name.ptr[0] | 32) != 'x')
        return false;
    return span_eq_nocase(span_first(f->name, prefix.len), prefix);
}

#define ADD(head, name, value) http_head_add(head, SPAN_LITERAL(name), value)

/* The port that the client used: that of its Host, else what the scheme stands for. */
static struct span port_of(struct span authority, bool https)
{
    for (size_t i = authority.len; i > 0; i--) {
        uint8_t c = authority.ptr[i - 1];
        if (c == ':' && i < authority.len)
            return span_skip(authority, i);
        if (c < '0' || c > '9')
            break;
    }
    return https ? SPAN_LITERAL("443") : SPAN_LITERAL("80");
}

static struct span proto_of(const struct forward_client *client)
{
    if (client->websocket)
        return client->tls ? SPAN_LITERAL("wss") : SPAN_LITERAL("ws");
    return client->tls ? SPAN_LITERAL("https") : SPAN_LITERAL("http");
}

/* The clients before this one, in one value with it. */
static struct span clients(struct http_head *head, struct span ip, struct writer *text)
{
    size_t from = text->len;
    for (uint32_t i = 0; i < head->field_count; i++) {
        struct http_field *f = &head->fields[i];
        if (f->known != HTTP_NAME_X_FORWARDED_FOR || f->drop)
            continue;
        f->drop = true;
        writer_span(text, f->value);
        writer_bytes(text, ", ", 2);
    }
    if (text->len == from)
        return ip;
    writer_span(text, ip);
    return span_skip(writer_done(text), from);
}

struct result forward_apply(struct http_head *head, const struct forward_client *client)
{
    bool added = true;
    uint32_t seen = 0; /* bits of enum http_name */
    bool https = client->tls;
    static_assert(HTTP_NAME_X_REAL_IP < 32, "seen holds a bit for each name");
    for (uint32_t i = 0; i < head->field_count; i++) {
        struct http_field *f = &head->fields[i];
        if (f->drop || !is_family(f))
            continue;
        if (!client->trusted || f->known == HTTP_NAME_X_FORWARDED_SERVER) {
            f->drop = true;
            continue;
        }
        if (f->value.len == 0 && f->known != HTTP_NAME_OTHER) {
            f->drop = true;
            continue;
        }
        seen |= 1u << f->known;
        if (f->known == HTTP_NAME_X_FORWARDED_PROTO)
            https = span_eq_nocase(f->value, SPAN_LITERAL("https")) ||
                    span_eq_nocase(f->value, SPAN_LITERAL("wss"));
    }
    if (!(seen & 1u << HTTP_NAME_X_FORWARDED_HOST) && head->authority.len)
        added &= ADD(head, "X-Forwarded-Host", head->authority);
    if (!(seen & 1u << HTTP_NAME_X_FORWARDED_PORT))
        added &= ADD(head, "X-Forwarded-Port", port_of(head->authority, https || client->tls));
    if (!(seen & 1u << HTTP_NAME_X_FORWARDED_PROTO))
        added &= ADD(head, "X-Forwarded-Proto", proto_of(client));
    added &= ADD(head, "X-Forwarded-Server", client->server);
    if (!(seen & 1u << HTTP_NAME_X_REAL_IP))
        added &= ADD(head, "X-Real-Ip", client->ip);
    return added ? result_ok() : result_fail(ERR_TOO_LARGE);
}

struct result forward_add_client(struct http_head *head, struct span ip, struct writer *text)
{
    bool added = ADD(head, "X-Forwarded-For", clients(head, ip, text));
    return text->bad || !added ? result_fail(ERR_TOO_LARGE) : result_ok();
}

static void address_bytes(const struct net_addr *a, uint8_t out[16])
{
    if (a->sa.sa_family == AF_INET6) {
        memcpy(out, &a->in6.sin6_addr, 16);
        return;
    }
    memset(out, 0, 10);
    out[10] = out[11] = 0xff;
    memcpy(out + 12, &a->in.sin_addr, 4);
}

bool forward_is_trusted(const struct snapshot *s, const struct snap_entrypoint *ep,
                        const struct net_addr *client)
{
    if (ep->forwarded_insecure)
        return true;
    if (ep->trusted_count == 0)
        return false;
    uint8_t ip[16];
    address_bytes(client, ip);
    for (uint32_t i = 0; i < ep->trusted_count; i++) {
        const struct snap_prefix *p = &s->prefixes[ep->trusted_first + i];
        uint32_t whole = p->bits / 8, rest = p->bits % 8;
        if (memcmp(ip, p->address, whole))
            continue;
        if (rest == 0 || !((ip[whole] ^ p->address[whole]) & (0xff00 >> rest & 0xff)))
            return true;
    }
    return false;
}

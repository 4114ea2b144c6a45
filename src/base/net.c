/* SPDX-License-Identifier: Apache-2.0 */
#include "base/net.h"

#include <arpa/inet.h>
#include <stdio.h>

static bool parse_port(struct span text, uint16_t *ret)
{
    uint32_t v = 0;
    if (text.len == 0 || text.len > 5)
        return false;
    for (size_t i = 0; i < text.len; i++) {
        if (text.ptr[i] < '0' || text.ptr[i] > '9')
            return false;
        v = v * 10 + (text.ptr[i] - '0');
    }
    if (v > 65535)
        return false;
    *ret = (uint16_t)v;
    return true;
}

struct result net_split_host_port(struct span text, struct span *ret_host, uint16_t *ret_port)
{
    struct span host = text, port = {NULL, 0};
    if (text.len && text.ptr[0] == '[') {
        size_t end = span_find(text, ']');
        if (end == text.len)
            return result_fail(ERR_FORMAT);
        host = span_of(text.ptr + 1, end - 1);
        struct span rest = span_skip(text, end + 1);
        if (rest.len && rest.ptr[0] != ':')
            return result_fail(ERR_FORMAT);
        port = span_skip(rest, 1);
        if (rest.len && !port.len)
            return result_fail(ERR_FORMAT);
    } else {
        size_t colon = span_find(text, ':');
        struct span rest = span_skip(text, colon + 1);
        if (colon < text.len && span_find(rest, ':') == rest.len) { /* exactly one colon */
            host = span_first(text, colon);
            port = rest;
            if (!port.len)
                return result_fail(ERR_FORMAT);
        }
    }
    uint16_t number = 0;
    if (port.len && !parse_port(port, &number))
        return result_fail(ERR_FORMAT);
    *ret_host = host;
    *ret_port = number;
    return result_ok();
}

struct result net_addr_parse(struct span text, uint16_t default_port, struct net_addr *ret)
{
    struct span host;
    uint16_t port;
    TRY(net_split_host_port(text, &host, &port));
    if (!port)
        port = default_port;
    if (!port || host.len >= INET6_ADDRSTRLEN)
        return result_fail(ERR_FORMAT);
    char name[INET6_ADDRSTRLEN];
    if (host.len)
        memcpy(name, host.ptr, host.len);
    name[host.len] = 0;
    struct net_addr a = {0};
    if (host.len == 0 || inet_pton(AF_INET6, name, &a.in6.sin6_addr) == 1) {
        a.in6.sin6_family = AF_INET6;
        a.in6.sin6_port = htons(port);
        a.len = sizeof a.in6;
    } else if (inet_pton(AF_INET, name, &a.in.sin_addr) == 1) {
        a.in.sin_family = AF_INET;
        a.in.sin_port = htons(port);
        a.len = sizeof a.in;
    } else {
        return result_fail(ERR_FORMAT);
    }
    *ret = a;
    return result_ok();
}

static bool is_mapped(const struct net_addr *a)
{
    return a->sa.sa_family == AF_INET6 && IN6_IS_ADDR_V4MAPPED(&a->in6.sin6_addr);
}

const char *net_addr_print_ip(const struct net_addr *a, char text[NET_ADDR_TEXT_MAX])
{
    text[0] = 0;
    if (is_mapped(a))
        inet_ntop(AF_INET, a->in6.sin6_addr.s6_addr + 12, text, NET_ADDR_TEXT_MAX);
    else if (a->sa.sa_family == AF_INET6)
        inet_ntop(AF_INET6, &a->in6.sin6_addr, text, NET_ADDR_TEXT_MAX);
    else if (a->sa.sa_family == AF_INET)
        inet_ntop(AF_INET, &a->in.sin_addr, text, NET_ADDR_TEXT_MAX);
    return text;
}

const char *net_addr_print(const struct net_addr *a, char text[NET_ADDR_TEXT_MAX])
{
    char ip[NET_ADDR_TEXT_MAX];
    net_addr_print_ip(a, ip);
    bool v6 = a->sa.sa_family == AF_INET6 && !is_mapped(a);
    snprintf(text, NET_ADDR_TEXT_MAX, v6 ? "[%.46s]:%u" : "%.46s:%u", ip, net_addr_port(a));
    return text;
}

uint16_t net_addr_port(const struct net_addr *a)
{
    if (a->sa.sa_family == AF_INET6)
        return ntohs(a->in6.sin6_port);
    return a->sa.sa_family == AF_INET ? ntohs(a->in.sin_port) : 0;
}

void net_addr_set_port(struct net_addr *a, uint16_t port)
{
    if (a->sa.sa_family == AF_INET6)
        a->in6.sin6_port = htons(port);
    else
        a->in.sin_port = htons(port);
}

bool net_addr_eq(const struct net_addr *a, const struct net_addr *b)
{
    if (a->sa.sa_family != b->sa.sa_family || net_addr_port(a) != net_addr_port(b))
        return false;
    if (a->sa.sa_family == AF_INET6)
        return memcmp(&a->in6.sin6_addr, &b->in6.sin6_addr, sizeof a->in6.sin6_addr) == 0 &&
               a->in6.sin6_scope_id == b->in6.sin6_scope_id;
    return a->sa.sa_family == AF_INET && a->in.sin_addr.s_addr == b->in.sin_addr.s_addr;
}

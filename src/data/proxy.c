/* SPDX-License-Identifier: Apache-2.0 */
#include "data/proxy.h"

#include "base/must.h"

#include <arpa/inet.h>
#include <stdio.h>

/* Version 2: signature, version and command, family and protocol, length of the rest. */
#define V2_HEAD 16u
#define V2_TCP4 0x11
#define V2_TCP6 0x21
#define V2_UNIX 0x31

static const uint8_t signature[12] = {0x0d, 0x0a, 0x0d, 0x0a, 0x00, 0x0d,
                                      0x0a, 0x51, 0x55, 0x49, 0x54, 0x0a};

static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};

static struct net_addr addr_of(bool v6, const uint8_t *address, uint16_t port)
{
    struct net_addr a = {0};
    if (v6) {
        a.in6 = (struct sockaddr_in6){.sin6_family = AF_INET6, .sin6_port = htons(port)};
        memcpy(&a.in6.sin6_addr, address, 16);
        a.len = sizeof a.in6;
    } else {
        a.in = (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons(port)};
        memcpy(&a.in.sin_addr, address, 4);
        a.len = sizeof a.in;
    }
    return a;
}

/* ---- version 1 ------------------------------------------------------------------------------- */

/* The next word of a line in which words are parted by single blanks. */
static struct span take_word(struct span *line)
{
    struct span word = span_first(*line, span_find(*line, ' '));
    *line = span_skip(*line, word.len + 1);
    return word;
}

static bool read_address(struct span text, bool v6, uint8_t ret[16])
{
    char copy[INET6_ADDRSTRLEN];
    if (text.len == 0 || text.len >= sizeof copy)
        return false;
    memcpy(copy, text.ptr, text.len);
    copy[text.len] = 0;
    return inet_pton(v6 ? AF_INET6 : AF_INET, copy, ret) == 1;
}

/* Decimal, without a needless 0 in front. */
static bool read_port(struct span text, uint16_t *ret)
{
    uint32_t port = 0;
    if (text.len == 0 || text.len > 5 || (text.len > 1 && text.ptr[0] == '0'))
        return false;
    for (size_t i = 0; i < text.len; i++) {
        if (text.ptr[i] < '0' || text.ptr[i] > '9')
            return false;
        port = port * 10 + (text.ptr[i] - '0');
    }
    *ret = (uint16_t)port;
    return port <= 65535;
}

/* What stands behind "PROXY ". */
static struct result read_line(struct span line, struct proxy_header *ret)
{
    size_t blanks = 0;
    for (size_t i = 0; i < line.len; i++) {
        if (line.ptr[i] < ' ' || line.ptr[i] > '~')
            return result_fail(ERR_FORMAT);
        blanks += line.ptr[i] == ' ';
    }
    struct span family = take_word(&line);
    bool v6 = span_eq(family, SPAN_LITERAL("TCP6"));
    if (span_eq(family, SPAN_LITERAL("UNKNOWN"))) /* the rest has no meaning */
        return result_ok();
    if ((!v6 && !span_eq(family, SPAN_LITERAL("TCP4"))) || blanks != 4)
        return result_fail(ERR_FORMAT);
    uint8_t client[16], server[16];
    uint16_t client_port, server_port;
    if (!read_address(take_word(&line), v6, client) || !read_address(take_word(&line), v6, server))
        return result_fail(ERR_FORMAT);
    if (!read_port(take_word(&line), &client_port) || !read_port(take_word(&line), &server_port))
        return result_fail(ERR_FORMAT);
    ret->known = true;
    ret->client = addr_of(v6, client, client_port);
    ret->server = addr_of(v6, server, server_port);
    return result_ok();
}

static struct result parse_v1(struct span in, struct proxy_header *ret)
{
    static const struct span start = {(const uint8_t *)"PROXY ", 6};
    if (!span_starts_with(in, span_first(start, in.len)))
        return result_fail(ERR_FORMAT);
    struct span line = span_first(in, PROXY_V1_MAX);
    size_t end = span_find(line, '\n');
    if (end == line.len)
        return result_fail(line.len < PROXY_V1_MAX ? ERR_AGAIN : ERR_FORMAT);
    if (end <= start.len || line.ptr[end - 1] != '\r')
        return result_fail(ERR_FORMAT);
    ret->len = (uint32_t)end + 1;
    return read_line(span_skip(span_first(line, end - 1), start.len), ret);
}

/* ---- version 2 ------------------------------------------------------------------------------- */

static struct result parse_v2(struct span in, struct proxy_header *ret)
{
    if (memcmp(in.ptr, signature, in.len < sizeof signature ? in.len : sizeof signature) != 0)
        return result_fail(ERR_FORMAT);
    /* Version and command are judged as soon as they are there. */
    bool local = in.len > 12 && in.ptr[12] == 0x20;
    if (in.len > 12 && !local && in.ptr[12] != 0x21)
        return result_fail(ERR_FORMAT);
    if (in.len < V2_HEAD)
        return result_fail(ERR_AGAIN);
    uint8_t family = in.ptr[13];
    uint32_t rest = (uint32_t)(in.ptr[14] << 8 | in.ptr[15]);
    bool v6 = family == V2_TCP6;
    uint32_t size = v6 ? 16 : 4;
    if (!local && family != 0 && family != V2_TCP4 && family != V2_UNIX && !v6)
        return result_fail(ERR_FORMAT);
    ret->known = !local && (family == V2_TCP4 || v6);
    if (ret->known && rest < 2 * size + 4)
        return result_fail(ERR_FORMAT);
    if (V2_HEAD + rest > PROXY_BYTES_MAX)
        return result_fail(ERR_TOO_LARGE);
    if (in.len < V2_HEAD + rest)
        return result_fail(ERR_AGAIN);
    ret->len = V2_HEAD + rest;
    if (!ret->known)
        return result_ok();
    const uint8_t *at = in.ptr + V2_HEAD, *ports = at + (size_t)2 * size;
    ret->client = addr_of(v6, at, (uint16_t)(ports[0] << 8 | ports[1]));
    ret->server = addr_of(v6, at + size, (uint16_t)(ports[2] << 8 | ports[3]));
    return result_ok();
}

struct result proxy_parse(struct span in, struct proxy_header *ret)
{
    *ret = (struct proxy_header){0};
    if (in.len == 0)
        return result_fail(ERR_AGAIN);
    return in.ptr[0] == 'P' ? parse_v1(in, ret) : parse_v2(in, ret);
}

/* ---- writing --------------------------------------------------------------------------------- */

/* Sixteen bytes of an address: IPv6, or IPv4-mapped; all 0 for one that is not known. */
static void bytes_of(const struct net_addr *a, uint8_t ret[16])
{
    memset(ret, 0, 16);
    if (a->len && a->sa.sa_family == AF_INET6) {
        memcpy(ret, &a->in6.sin6_addr, 16);
    } else if (a->len) {
        memcpy(ret, mapped, sizeof mapped);
        memcpy(ret + 12, &a->in.sin_addr, 4);
    }
}

static void write_v1(const struct net_addr *client, const struct net_addr *server, bool v4,
                     const uint8_t bytes[2][16], struct writer *out)
{
    char text[2][INET6_ADDRSTRLEN], line[PROXY_V1_MAX + 1];
    for (int i = 0; i < 2; i++)
        must(inet_ntop(v4 ? AF_INET : AF_INET6, bytes[i] + (v4 ? 12 : 0), text[i], sizeof text[i]));
    int len = snprintf(line, sizeof line, "PROXY TCP%c %s %s %u %u\r\n", v4 ? '4' : '6', text[0],
                       text[1], net_addr_port(client), net_addr_port(server));
    must(len > 0 && (size_t)len < sizeof line);
    writer_bytes(out, line, (size_t)len);
}

void proxy_write(uint32_t version, const struct net_addr *client, const struct net_addr *server,
                 struct writer *out)
{
    uint8_t bytes[2][16];
    bytes_of(client, bytes[0]);
    bytes_of(server, bytes[1]);
    bool known = client->len && server->len;
    bool v4 = memcmp(bytes[0], mapped, 12) == 0 && memcmp(bytes[1], mapped, 12) == 0;
    if (version == 1 && known) {
        write_v1(client, server, v4, bytes, out);
    } else if (version == 1) {
        writer_bytes(out, "PROXY UNKNOWN\r\n", 15);
    } else {
        must(version == 2);
        size_t size = !known ? 0 : v4 ? 4 : 16;
        writer_bytes(out, signature, sizeof signature);
        writer_be(out, 0x21, 1);
        writer_be(out, !known ? 0 : v4 ? V2_TCP4 : V2_TCP6, 1);
        writer_be(out, known ? 2 * size + 4 : 0, 2);
        for (int i = 0; i < 2; i++)
            writer_bytes(out, bytes[i] + 16 - size, size);
        for (int i = 0; known && i < 2; i++)
            writer_be(out, net_addr_port(i ? server : client), 2);
    }
}

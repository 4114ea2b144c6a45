/* SPDX-License-Identifier: Apache-2.0 */
/* data/proxy.h - the PROXY protocol, versions 1 and 2: the header with which a proxy in front tells
 * whose connection it passes on, read and written.
 * Thread: any.   Owns: nothing; the result is a value, no span of the input is kept.
 * Never: guesses: bytes that are not such a header are an error; looks behind the header. */
#pragma once

#include "base/net.h"

/* Of a whole header. Version 1 is bounded by its specification; version 2 could have 65 KB of
 * extensions, of which nobody sends so much. */
#define PROXY_V1_MAX    107u
#define PROXY_BYTES_MAX 4096u
/* The longest header that proxy_write() makes. */
#define PROXY_WRITE_MAX PROXY_V1_MAX

struct proxy_header {
    uint32_t len; /* bytes of the header: the connection's own begin behind them */
    bool known;   /* it names addresses; else those of the connection itself hold (health checks of
                     the proxy, clients that came over something else than TCP) */
    struct net_addr client, server; /* when `known` */
};

/* Looks at the first bytes of a connection; called again with more of them until it does not answer
 * ERR_AGAIN. Extensions of version 2 (TLVs) are skipped unseen.
 * ERR_AGAIN: good so far, more is needed. ERR_FORMAT: not such a header, or a broken one, said at
 * the first byte that shows it. ERR_TOO_LARGE: more than PROXY_BYTES_MAX. */
struct result proxy_parse(struct span in, struct proxy_header *ret);

/* Writes a header of PROXY_WRITE_MAX bytes at most. Addresses of two families are both written as
 * IPv6; IPv4-mapped ones as IPv4.
 *   version   1 or 2
 *   client, server   len 0: not known, which is what the header then says */
void proxy_write(uint32_t version, const struct net_addr *client, const struct net_addr *server,
                 struct writer *out);

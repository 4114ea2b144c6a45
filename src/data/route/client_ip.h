/* SPDX-License-Identifier: Apache-2.0 */
/* data/route/client_ip.h - which address a middleware takes for the client's: that of the
 * connection, or an entry of X-Forwarded-For as a trusted proxy wrote it.
 * Thread: the worker's.   Owns: nothing.
 * Never: looks at fields that are dropped: those of clients that are not trusted. */
#pragma once

#include "base/net.h"
#include "bridge/snapshot.h"
#include "data/http/message.h"

struct client_ip {
    uint8_t bytes[16]; /* IPv6, or IPv4-mapped; when `known` */
    bool known;        /* the text is an address */
    struct span text;  /* empty: there is none */
};

/* head: before our own entry is added to X-Forwarded-For. All its fields count as one list. */
struct client_ip client_ip_find(const struct snapshot *s, const struct snap_ip_strategy *strategy,
                                const struct http_head *head, const struct net_addr *peer,
                                struct span peer_text);
/* Is it in one of the ranges of snapshot.prefixes? */
bool client_ip_in(const struct snapshot *s, struct snap_range prefixes, const uint8_t bytes[16]);
/* An IPv6 address without its last 128 - `bits` bits; IPv4 stays whole. */
void client_ip_mask(uint8_t bytes[16], uint8_t bits);

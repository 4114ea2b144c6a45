/* SPDX-License-Identifier: Apache-2.0 */
/* control/provider/lookup.h - addresses of host names, for a provider child, by c-ares, waiting.
 * Thread: the child's only one.   Owns: nothing between calls.
 * Never: used in control itself (it waits); waits past its deadline. */
#pragma once

#include "base/net.h"

#define LOOKUP_ADDRS_MAX 16

struct lookup_addrs {
    struct net_addr addrs[LOOKUP_ADDRS_MAX];
    uint32_t count;
};

/* "host", "host:port", "1.2.3.4:53", "[::1]:53" or "::1" to addresses with a port, in the order of
 * RFC 6724; host names by /etc/hosts and DNS. deadline_ns CLOCK_MONOTONIC. ERR_FORMAT,
 * ERR_NOT_FOUND, ERR_TIMEOUT, ERR_REMOTE. */
struct result lookup_server(struct span server, uint16_t default_port, int64_t deadline_ns,
                            struct lookup_addrs *ret, struct why *why);
/* The machine's own resolvers, from /etc/resolv.conf. ERR_NOT_FOUND. */
struct result lookup_resolvers(struct lookup_addrs *ret, struct why *why);

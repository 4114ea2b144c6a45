/* SPDX-License-Identifier: Apache-2.0 */
/* base/net.h - socket addresses as values, parsed from and printed as text.
 * Thread: any.   Owns: nothing.
 * Never: asks DNS; a host name is an error here. */
#pragma once

#include "base/result.h"
#include "base/span.h"

#include <netinet/in.h>
#include <sys/socket.h>

struct net_addr {
    union {
        struct sockaddr sa;
        struct sockaddr_in in;
        struct sockaddr_in6 in6;
    };
    socklen_t len; /* 0 = unset */
};

#define NET_ADDR_TEXT_MAX 64

/* "1.2.3.4:80", "[::1]:80", ":80" (any address, IPv6 socket that also takes IPv4).
 * default_port is used when the text has none; 0 makes the port required. ERR_FORMAT. */
struct result net_addr_parse(struct span text, uint16_t default_port, struct net_addr *ret);
/* "1.2.3.4:80" or "[::1]:80"; IPv4-mapped IPv6 is printed as IPv4. Returns `text`. */
const char *net_addr_print(const struct net_addr *a, char text[NET_ADDR_TEXT_MAX]);
/* Address without port or brackets. Returns `text`. */
const char *net_addr_print_ip(const struct net_addr *a, char text[NET_ADDR_TEXT_MAX]);
uint16_t net_addr_port(const struct net_addr *a);
void net_addr_set_port(struct net_addr *a, uint16_t port);
bool net_addr_eq(const struct net_addr *a, const struct net_addr *b);
/* Splits "host:port", "[v6]:port" or "host"; *ret_port is 0 when absent. ERR_FORMAT. */
struct result net_split_host_port(struct span text, struct span *ret_host, uint16_t *ret_port);

/* SPDX-License-Identifier: Apache-2.0 */
/* data/route/router.h - which router of an entry point a request belongs to.
 * Thread: the worker's that built the index.   Owns: the index with a compiled copy of every
 * regular expression; it points into its snapshot. Never: walks all routers for one request or
 * connection: those whose rule demands a host are found by a hash of it (of TCP's also by what
 * stands behind its first label), and only routers that demand none are looked at besides. */
#pragma once

#include "base/net.h"
#include "base/result.h"
#include "bridge/snapshot.h"
#include "data/http/message.h"

#define ROUTER_HOST_MAX 255

struct router_index;
struct regex;

/* What rules look at. */
struct router_request {
    uint32_t entrypoint;
    bool tls;           /* a router matches only connections of its own kind */
    struct span host;   /* as router_host() made it */
    struct span method; /* as received: methods are case-sensitive */
    struct span path;   /* as router_path() made it */
    struct span query;  /* behind the "?", still encoded */
    const struct http_field *fields;
    uint32_t field_count;
    bool trusted; /* X-Forwarded-* and X-Real-Ip may be believed; else rules do not see them */
    uint8_t client[16]; /* the connection's peer: IPv6, or IPv4-mapped */
};

/* Builds the index of a snapshot, which must live as long, and compiles its expressions. Costs time
 * proportional to the number of routers, hosts and expressions; done once per snapshot. */
struct router_index *router_index_create(const struct snapshot *s);
/* NULL is fine. */
void router_index_destroy(struct router_index *x);

/* The best router of the entry point for a request, or NULL. Equal in priority: the one that stands
 * first in the snapshot. */
const struct snap_router *router_match(const struct router_index *x,
                                       const struct router_request *request);

/* What rules of TCP routers look at. */
struct router_tcp {
    uint32_t entrypoint;
    bool tls;         /* a router matches only connections of its own kind */
    struct span name; /* the server name that the client asks for, lower case; empty: none */
    struct span alpn; /* the protocols that it offers, each behind its length */
    uint8_t client[16];
};

/* The best TCP router of the entry point for a connection, or NULL. */
const struct snap_router *router_match_tcp(const struct router_index *x,
                                           const struct router_tcp *asked);
/* The router takes every connection: its rule is HostSNI(`*`) alone. */
bool router_takes_all(const struct router_index *x, const struct snap_router *router);
/* An HTTP router of the entry point with TLS asks for this host. */
bool router_names_host(const struct router_index *x, uint32_t entrypoint, struct span host);

/* As snapshot_tls() for the snapshot of the index. */
uint32_t router_tls(const struct router_index *x, uint32_t entrypoint, struct span host);

/* This worker's copy of snapshot.regexes[i]. */
const struct regex *router_regex(const struct router_index *x, uint32_t i);

/* Host of an authority ("Example.COM:8080", "[::1]:80", "a.test."): lower case, without port,
 * brackets and one final dot. Writes into `memory`; an authority that is too long gives "". */
struct span router_host(struct span authority, char memory[ROUTER_HOST_MAX + 1]);
/* The path of a target as rules see it (target.h, TARGET_ROUTE). Valid until the next call.
 * ERR_FORMAT: answer 400. ERR_TOO_LARGE: answer 414. */
struct result router_path(const struct router_index *x, struct span target, struct span *ret);
/* Sixteen bytes of an address: IPv6, or IPv4-mapped. */
void router_client(const struct net_addr *address, uint8_t ret[16]);

/* SPDX-License-Identifier: Apache-2.0 */
/* data/route/router.h - which router of an entry point a request belongs to.
 * Thread: the worker's that built the index.   Owns: the index; it points into its snapshot.
 * Never: walks all routers for one request: those whose rule demands a host are found by a hash
 * of it, and only routers that demand none are looked at besides. */
#pragma once

#include "base/result.h"
#include "bridge/snapshot.h"

#define ROUTER_HOST_MAX 255

struct router_index;

/* Builds the index of a snapshot, which must live as long. Costs time proportional to the number
 * of routers and hosts; done once per snapshot. */
struct router_index *router_index_create(const struct snapshot *s);
/* NULL is fine. */
void router_index_destroy(struct router_index *x);

/* The best router of the entry point for a host and path, or NULL. Equal in priority: the one that
 * stands first in the snapshot.
 *   tls   whether the connection is TLS: a router matches only connections of its own kind
 *   host  as router_host() made it
 *   path  path without query */
const struct snap_router *router_match(const struct router_index *x, uint32_t entrypoint, bool tls,
                                       struct span host, struct span path);

/* As snapshot_tls() for the snapshot of the index. */
uint32_t router_tls(const struct router_index *x, uint32_t entrypoint, struct span host);

/* Host of an authority ("Example.COM:8080", "[::1]:80", "a.test."): lower case, without port,
 * brackets and one final dot. Writes into `memory`; an authority that is too long gives "". */
struct span router_host(struct span authority, char memory[ROUTER_HOST_MAX + 1]);

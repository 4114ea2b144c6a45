/* SPDX-License-Identifier: Apache-2.0 */
/* data/forward.h - what an upstream is told about the client: X-Forwarded-For, -Proto, -Host,
 * -Port, -Server and X-Real-Ip, as Traefik does it.
 * Thread: the worker's.   Owns: nothing.
 * Never: believes such a field of a client that is not trusted: those are dropped, all of them. */
#pragma once

#include "base/net.h"
#include "bridge/snapshot.h"
#include "data/http/message.h"

struct forward_client {
    struct span ip;     /* of the client, text */
    struct span server; /* our own host name */
    bool tls;           /* the client came by TLS */
    bool websocket;     /* it asks for a WebSocket */
    bool trusted;       /* its fields are kept and added to */
};

/* Marks the client's fields in `head` that are replaced and adds ours, all but X-Forwarded-For:
 * middlewares judge by what that says of the clients before this one. ERR_TOO_LARGE: no room. */
struct result forward_apply(struct http_head *head, const struct forward_client *client);
/* Adds the client to X-Forwarded-For, which is put together in `text`. ERR_TOO_LARGE: no room. */
struct result forward_add_client(struct http_head *head, struct span ip, struct writer *text);

/* Whether the entry point trusts the X-Forwarded-* fields of this address. */
bool forward_is_trusted(const struct snapshot *s, const struct snap_entrypoint *ep,
                        const struct net_addr *client);

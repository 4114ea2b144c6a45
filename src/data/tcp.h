/* SPDX-License-Identifier: Apache-2.0 */
/* data/tcp.h - connections that are passed on as they are: which TCP router takes one, its
 * middlewares, its server; and what the PROXY protocol tells about clients, in and out.
 * Thread: the worker's.   Owns: nothing; the exchange is the connection's.
 * Never: looks at the bytes that are passed on: a ClientHello that was read to find the router goes
 * to the server as it came. */
#pragma once

#include "data/conn.h"

struct hello;

/* The router that takes a connection, as Traefik decides: a TCP router that asks for the server
 * name, then an HTTP router that does, then HostSNI(`*`). NULL: HTTP has it, if anybody.
 *   hello   of a client that speaks TLS, else NULL */
const struct snap_router *tcp_route(struct worker *w, struct conn *conn, const struct hello *hello);
/* Runs the router's middlewares and picks a server: the connection has an exchange then. False:
 * refused, counted and logged; the connection has to be closed.
 *   name   the server name that the client asked for, or empty */
bool tcp_open(struct worker *w, struct conn *conn, const struct snap_router *router,
              struct span name);
/* Tells the server whose connection this is, if `version` of the PROXY protocol is not 0. */
void tcp_introduce(struct worker *w, struct conn *conn, uint32_t version, struct sink *sink);

/* Whether the client has to send a PROXY header first. */
bool tcp_is_proxied(struct worker *w, struct conn *conn, const struct snap_entrypoint *ep);
/* Reads it. ERR_AGAIN: not whole yet. ERR_FORMAT, ERR_TOO_LARGE: it is broken or missing, and
 * counted. ERR_NO_SLOT: no pool block. */
struct result tcp_read_proxy(struct worker *w, struct conn *conn);

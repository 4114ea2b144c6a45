/* SPDX-License-Identifier: Apache-2.0 */
#include "data/tcp.h"

#include "data/exchange.h"
#include "data/log/access.h"
#include "data/proxy.h"
#include "data/route/client_ip.h"
#include "data/tls/hello.h"

/* ---- the PROXY protocol ---------------------------------------------------------------------- */

bool tcp_is_proxied(struct worker *w, struct conn *conn, const struct snap_entrypoint *ep)
{
    uint8_t client[16];
    if (ep->proxy_insecure)
        return true;
    if (ep->proxy_trusted.count == 0)
        return false;
    (void)conn_ip(w, conn);
    router_client(&conn->peer, client);
    return client_ip_in(w->snapshot, ep->proxy_trusted, client);
}

/* The first bytes in one piece. A slow client must not keep a buffer of the kernel's. */
static struct result parse(struct worker *w, struct block_queue *in, struct proxy_header *ret)
{
    struct result r = proxy_parse(block_span(in->first), ret);
    while (r.code == ERR_AGAIN && (in->first->next || block_is_lent(in->first))) {
        bool more = in->first->next;
        r = block_queue_gather(&w->blocks, in, BLOCK_RECORD_BYTES);
        if (!result_is_ok(r))
            return r;
        r = more ? proxy_parse(block_span(in->first), ret) : result_fail(ERR_AGAIN);
    }
    return r;
}

struct result tcp_read_proxy(struct worker *w, struct conn *conn)
{
    struct block_queue *in = &conn->wire.received;
    struct proxy_header header;
    struct result r = result_fail(ERR_AGAIN);
    if (in->first)
        r = parse(w, in, &header);
    if (r.code == ERR_AGAIN && conn->wire.eof)
        r = result_fail(ERR_FORMAT);
    if (result_is_ok(r)) {
        block_queue_take(&w->blocks, in, header.len);
        if (header.known)
            conn_set_peer(conn, &header.client);
    } else if (r.code == ERR_FORMAT || r.code == ERR_TOO_LARGE) {
        report_add(w->report, REPORT_PROXY_BAD, 1);
    }
    return r;
}

void tcp_introduce(struct worker *w, struct conn *conn, uint32_t version, struct sink *sink)
{
    struct net_addr local = {0};
    if (version == 0)
        return;
    (void)conn_ip(w, conn);
    (void)!result_is_ok(ring_address(w->ring, conn->wire.fd, false, &local));
    struct writer out = sink_writer(sink, PROXY_WRITE_MAX);
    if (out.bad)
        return;
    proxy_write(version, &conn->peer, &local, &out);
    sink_commit(sink, &out);
}

/* ---- routers --------------------------------------------------------------------------------- */

const struct snap_router *tcp_route(struct worker *w, struct conn *conn, const struct hello *hello)
{
    const struct snap_entrypoint *ep = conn_entrypoint(w, conn);
    if (!ep || ep->tcp.count == 0)
        return NULL;
    struct router_tcp asked = {.entrypoint = w->listeners[conn->listener].entrypoint_index,
                               .tls = hello != NULL};
    if (hello) {
        asked.name = span_of(hello->name, hello->name_len);
        asked.alpn = span_of(hello->alpn, hello->alpn_len);
    }
    (void)conn_ip(w, conn);
    router_client(&conn->peer, asked.client);
    const struct snap_router *router = router_match_tcp(w->routes, &asked);
    if (router && hello && router_takes_all(w->routes, router) &&
        router_names_host(w->routes, asked.entrypoint, asked.name))
        return NULL;
    return router;
}

/* Fills notes; what it has taken is given back with them. */
static bool pass_middlewares(struct worker *w, const struct snap_router *router,
                             const uint8_t client[16], struct middleware_notes *notes)
{
    const struct snapshot *s = w->snapshot;
    for (uint32_t i = 0; i < router->steps.count; i++) {
        const struct snap_middleware *m =
            &s->middlewares[s->steps[router->steps.first + i].middleware];
        if (m->kind == SNAP_MIDDLEWARE_ALLOW_LIST) {
            if (!client_ip_in(s, m->allow.ranges, client))
                return false;
            continue;
        }
        must(m->kind == SNAP_MIDDLEWARE_IN_FLIGHT && notes->in_flight_count < SNAP_IN_FLIGHT_MAX);
        uint64_t key = siphash(&w->middlewares.secret, m->name, span_of(client, 16));
        key = ~key ? ~key : 1; /* not that of an HTTP middleware with the same name */
        if (!result_is_ok(tally_add(&w->middlewares.tally, key, m->limit.amount)))
            return false;
        notes->in_flight[notes->in_flight_count++] = key;
    }
    return true;
}

/* As HTTP would say it: 403 for those that a middleware refuses, 503 where there is no server. */
static void refuse(struct worker *w, const struct snap_router *router, struct block *log,
                   bool passed)
{
    report_add(w->report, REPORT_TCP_REFUSED, 1);
    if (log)
        access_refuse_tcp(w, log, router, passed ? 503 : 403);
}

bool tcp_open(struct worker *w, struct conn *conn, const struct snap_router *router,
              struct span name)
{
    const struct snap_service *service = &w->snapshot->services[router->service];
    struct middleware_notes notes = {0};
    struct exchange *x = NULL;
    struct pick pick;
    uint8_t client[16];
    (void)conn_ip(w, conn);
    router_client(&conn->peer, client);
    struct block *log =
        access_is_on(w) && router->access_log ? access_begin_tcp(w, conn, name) : NULL;
    struct pick_request asked = {.client = client};
    bool passed = pass_middlewares(w, router, client, &notes);
    if (passed && pick_server(w, service, &asked, &pick))
        x = exchange_open_tcp(w, &conn->stream, router, &pick);
    if (!x) {
        middleware_end(&w->middlewares, &notes);
        refuse(w, router, log, passed);
        return false;
    }
    x->notes = notes;
    x->log = log;
    return true;
}

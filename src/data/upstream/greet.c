/* SPDX-License-Identifier: Apache-2.0 */
#include "data/upstream/greet.h"

#include "base/clock.h"
#include "base/log.h"
#include "data/exchange.h"
#include "data/tls/session.h"
#include "data/upstream/upconn.h"

/* A server that fails each request is complained of so often. */
#define TELL_NS (10 * NS_PER_S)

static const struct snap_server *server_of(const struct exchange *x)
{
    return &x->snapshot->servers[x->server_index];
}

static void complain(struct worker *w, struct upconn *upconn, const struct exchange *x,
                     const char *reason)
{
    struct pool_server *pooled = upconn->server;
    if (pooled->told_ns && w->now_ns - pooled->told_ns < TELL_NS)
        return;
    pooled->told_ns = w->now_ns;
    const struct snap_server *server = server_of(x);
    const struct snap_transport *t = &x->snapshot->transports[x->service->transport];
    struct span name = t->server_name.len ? t->server_name : server->host;
    char address[NET_ADDR_TEXT_MAX];
    log_warn("TLS with the server %.*s (%s) as %.*s failed: %s", SPAN_FMT(server->url),
             net_addr_print(&upconn->address, address), SPAN_FMT(name), reason);
}

/* Gives the session what was received, and the wire what it answers. */
static struct result feed(struct worker *w, struct upconn *upconn)
{
    struct block_queue *in = &upconn->wire.received;
    for (;;) {
        struct writer flight = writer_of(w->flight, WORKER_FLIGHT_BYTES);
        struct session_io io = {.in = in->first ? block_span(in->first) : (struct span){0},
                                .out = &flight};
        size_t before = io.in.len;
        struct result r = session_handshake(upconn->secure.tls, &io);
        size_t used = before - io.in.len;
        if (used)
            block_queue_take(&w->blocks, in, (uint32_t)used);
        if (!wire_push_copy(w, &upconn->wire, writer_done(&flight)))
            return result_fail(ERR_NO_SLOT);
        bool more = r.code == ERR_FULL || (r.code == ERR_AGAIN && used && in->first);
        if (!more)
            return r;
    }
}

enum greet_state greet_begin(struct worker *w, struct upconn *upconn, const struct exchange *x)
{
    struct pool_server *server = upconn->server;
    struct tls_dialer *dialer = dialers_get(&w->pool.dialers, w->snapshot, server->transport_id);
    if (!dialer) { /* the reason was logged when it could not be made */
        complain(w, upconn, x, "its serversTransport cannot be used");
        return GREET_FAILED;
    }
    if (!result_is_ok(session_dial(dialer, server_of(x)->host, upconn->alone, &server->resume,
                                   w->now_ns, &upconn->secure.tls))) {
        complain(w, upconn, x, "no memory for a session");
        return GREET_FAILED;
    }
    return greet_turn(w, upconn, x);
}

enum greet_state greet_turn(struct worker *w, struct upconn *upconn, const struct exchange *x)
{
    char reason[SESSION_EXPLAIN_MAX];
    struct result r = feed(w, upconn);
    if (result_is_ok(r))
        return GREET_DONE;
    if (r.code == ERR_PEER_TLS) {
        session_explain(upconn->secure.tls, reason);
        complain(w, upconn, x, reason);
        return GREET_FAILED;
    }
    if (r.code == ERR_NO_SLOT)
        return GREET_FAILED;
    if (upconn->wire.eof || upconn->wire.recv_failed || upconn->wire.send_failed) {
        complain(w, upconn, x, "it closed the connection during the handshake");
        return GREET_FAILED;
    }
    return GREET_MORE;
}

void greet_broke(struct worker *w, struct upconn *upconn, const struct exchange *x)
{
    char reason[SESSION_EXPLAIN_MAX];
    session_explain(upconn->secure.tls, reason);
    complain(w, upconn, x, reason);
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "config/build.h"

#include "base/must.h"
#include "config/value.h"

#include <stdlib.h>

#define NAME_MAX_BYTES 127 /* as the data process can hold */

static const char *entrypoint_name(const struct config *config, uint32_t i)
{
    return config->entrypoints[i].name;
}

static bool is_taken(struct build *b, const struct node *n, const struct config_entrypoint *e,
                     const struct net_addr *socket)
{
    for (uint32_t i = 0; i <= b->config->entrypoint_count; i++) {
        const struct config_entrypoint *other = &b->config->entrypoints[i];
        for (uint32_t k = 0; k < other->address_count; k++) {
            if (!net_addr_eq(&other->sockets[k], socket))
                continue;
            problems_error(b->problems, n->at, "entry point %s listens on %s already", other->name,
                           n->text);
            return true;
        }
    }
    return false;
}

static void add_address(struct build *b, const struct node *n, struct config_entrypoint *e)
{
    struct net_addr socket;
    must(result_is_ok(net_addr_parse(span_str(n->text), 0, &socket)));
    if (is_taken(b, n, e, &socket))
        return;
    e->addresses[e->address_count] = arena_strdup(b->arena, n->text);
    e->sockets[e->address_count++] = socket;
}

/* `address` is one or a list of them; `addresses` are more. */
static void build_addresses(struct build *b, struct place p, struct config_entrypoint *e)
{
    if (!build_required(b, p, "address"))
        return;
    struct place first = build_at(p, "address"), more = build_at(p, "addresses");
    uint32_t most = build_count(first) + build_count(more) + 1;
    e->addresses = arena_alloc(b->arena, most * sizeof *e->addresses);
    e->sockets = arena_alloc(b->arena, most * sizeof *e->sockets);
    for (const struct node *n = NULL; (n = build_next(first, n));)
        add_address(b, n, e);
    for (const struct node *n = NULL; (n = build_next(more, n));)
        add_address(b, n, e);
    if (strlen(e->name) > NAME_MAX_BYTES)
        problems_error(b->problems, p.node->key_at,
                       "the name of an entry point has at most %d bytes", NAME_MAX_BYTES);
}

static void build_times(struct place p, struct config_entrypoint *e)
{
    struct place times = build_at(p, "transport.respondingTimeouts");
    e->read_timeout_ms = build_ms(times, "readTimeout");
    e->head_timeout_ms = build_ms(times, "headTimeout");
    if (e->head_timeout_ms == 0)
        e->head_timeout_ms = e->read_timeout_ms;
    e->write_timeout_ms = build_ms(times, "writeTimeout");
    e->idle_timeout_ms = build_ms(times, "idleTimeout");
    e->tunnel_timeout_ms = build_ms(times, "tunnelTimeout");
    e->handshake_timeout_ms = build_ms(times, "handshakeTimeout");
    e->keep_alive_requests = (uint32_t)build_int(p, "transport.keepAliveMaxRequests");
    e->keep_alive_ms = build_ms(p, "transport.keepAliveMaxTime");
    e->accept_grace_ms = build_ms(p, "transport.lifeCycle.requestAcceptGraceTimeout");
    e->grace_timeout_ms = build_ms(p, "transport.lifeCycle.graceTimeOut");
}

/* ":8443" or "8443" as the target of a redirection. */
static bool port_of(const char *to, uint16_t *ret)
{
    int64_t port;
    struct span text = span_str(to);
    if (text.len && text.ptr[0] == ':')
        text = span_skip(text, 1);
    if (!result_is_ok(value_int(text, &port)) || port < 1 || port > 65535)
        return false;
    *ret = (uint16_t)port;
    return true;
}

static void build_redirect(struct build *b, struct place p, struct config_entrypoint *e)
{
    struct place r = build_at(p, "http.redirections.entryPoint");
    uint16_t port;
    if (!r.node || !build_required(b, r, "to"))
        return;
    const struct node *to = build_at(r, "to").node;
    e->redirect = true;
    e->redirect_scheme = build_text(b, r, "scheme");
    e->redirect_permanent = build_bool(r, "permanent");
    uint16_t usual = strcmp(e->redirect_scheme, "https") == 0 ? 443 : 80;
    if (build_find(&b->entry_names, to->text) == UINT32_MAX && port_of(to->text, &port)) {
        e->redirect_port = port == usual ? 0 : port;
        return;
    }
    e->redirect_to = build_refer(b, &b->entry_names, to, to->text, "entry point");
    if (e->redirect_to == UINT32_MAX)
        return;
    const struct config_entrypoint *target = &b->config->entrypoints[e->redirect_to];
    if (target == e) {
        problems_error(b->problems, to->at, "entry point %s redirects to itself", e->name);
    } else if (target->address_count) {
        port = net_addr_port(&target->sockets[0]);
        e->redirect_port = port == usual ? 0 : port;
    }
}

static void build_h2(struct place p, struct config_h2 *h2)
{
    h2->streams_max = (uint32_t)build_int(p, "http2.maxConcurrentStreams");
    h2->stream_window_bytes = (uint32_t)build_int(p, "http2.streamWindow");
    h2->conn_window_bytes = (uint32_t)build_int(p, "http2.connectionWindow");
    h2->head_frames = (uint32_t)build_int(p, "http2.maxHeaderFrames");
    h2->resets = (uint32_t)build_int(p, "http2.maxResets");
    h2->control_frames = (uint32_t)build_int(p, "http2.maxControlFrames");
    h2->empty_frames = (uint32_t)build_int(p, "http2.maxEmptyFrames");
    h2->glitches = (uint32_t)build_int(p, "http2.maxGlitches");
}

static void build_one(struct build *b, struct place p, struct config_entrypoint *e)
{
    e->name = arena_strdup(b->arena, p.node->key);
    e->where = build_where(b, p.node->key_at);
    build_addresses(b, p, e);
    e->redirect_to = UINT32_MAX;
    e->tls_resolver = UINT32_MAX;
    e->tls = build_at(p, "http.tls").node != NULL;
    e->head_max_bytes = (uint32_t)build_int(p, "http.maxHeaderBytes");
    build_h2(p, &e->h2);
    e->forwarded_insecure = build_bool(p, "forwardedHeaders.insecure");
    e->trusted_ips = build_list(b, p, "forwardedHeaders.trustedIPs", &e->trusted_count);
    e->proxy_insecure = build_bool(p, "proxyProtocol.insecure");
    e->proxy_trusted = build_list(b, p, "proxyProtocol.trustedIPs", &e->proxy_trusted_count);
    e->default_of_routers = build_bool(p, "asDefault");
    e->access_logs = build_bool(p, "observability.accessLogs");
    e->metrics = build_bool(p, "observability.metrics");
    build_times(p, e);
}

void build_entrypoints(struct build *b)
{
    struct place all = build_at(b->root, "entryPoints");
    uint32_t count = build_count(all), i = 0;
    struct config *c = b->config;
    c->entrypoints = arena_alloc(b->arena, (count + 1) * sizeof *c->entrypoints);
    b->entry_places = arena_alloc(b->arena, (count + 1) * sizeof *b->entry_places);
    bool some_default = false;
    for (const struct node *n = NULL; (n = build_next(all, n)); i++) {
        b->entry_places[i] = build_child(all, n);
        build_one(b, b->entry_places[i], &c->entrypoints[i]);
        some_default = some_default || c->entrypoints[i].default_of_routers;
        c->entrypoint_count = i + 1;
    }
    build_names(b, &b->entry_names, count, entrypoint_name);
    for (i = 0; i < count; i++) {
        build_redirect(b, b->entry_places[i], &c->entrypoints[i]);
        c->entrypoints[i].default_of_routers |= !some_default;
    }
    if (count == 0 && (!all.node || !all.node->first))
        problems_error(b->problems, b->top,
                       "there is no entry point to listen on: [entryPoints.web] address = \":80\"");
}

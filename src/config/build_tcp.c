/* SPDX-License-Identifier: Apache-2.0 */
/* [tcp]: services and middlewares. They stand behind those of [http] in the same lists, under names
 * of their own; the routers are made with the others. */
#include "config/build.h"

#include <ctype.h>

/* What Go, and so Traefik, takes for 0. */
#define KEEP_ALIVE_MS 15000u

/* ---- services -------------------------------------------------------------------------------- */

static const char *service_name(const struct config *config, uint32_t i)
{
    return config->services[config->first_tcp_service + i].name;
}

static const char *middleware_name(const struct config *config, uint32_t i)
{
    return config->middlewares[config->first_tcp_middleware + i].name;
}

/* Names of the elements from `first` on. */
static void name_from(struct build *b, struct names *names, uint32_t first, uint32_t count,
                      const char *(*name_of)(const struct config *config, uint32_t index))
{
    build_names(b, names, count, name_of);
    for (uint32_t i = 0; i < count; i++)
        names->sorted[i].index += first;
}

static bool build_server(struct build *b, struct place p, struct config_server *s)
{
    struct span host;
    uint16_t port;
    if (!build_required(b, p, "address"))
        return false;
    const struct node *n = build_at(p, "address").node;
    struct result r = net_split_host_port(span_str(n->text), &host, &port);
    if (!result_is_ok(r) || host.len == 0 || port == 0) {
        problems_error(b->problems, n->at,
                       "the address of a server is \"name:port\" or \"[IPv6]:port\", not \"%.80s\"",
                       n->text);
        return false;
    }
    char *name = arena_strndup(b->arena, host.ptr, host.len);
    for (char *c = name; *c; c++)
        *c = (char)tolower((unsigned char)*c);
    *s = (struct config_server){
        .url = arena_strdup(b->arena, n->text),
        .host = name,
        .port = port,
        .https = build_bool(p, "tls"),
        .weight = 1,
    };
    return true;
}

/* tcp.serversTransports.X as the balancer names it; without one, a place with the defaults. */
static struct place transport_of(struct build *b, struct place balancer, uint32_t *ret_index)
{
    struct place all = build_at(b->root, "tcp.serversTransports");
    struct place none = {NULL, options_child(all.schema, "default")};
    const struct node *ref = build_at(balancer, "serversTransport").node;
    uint32_t index = b->config->first_tcp_transport; /* the others stand behind it in their order */
    *ret_index = index;
    if (!ref)
        return none;
    const char *at = strrchr(ref->text, '@');
    size_t len = at && strcmp(at, "@file") == 0 ? (size_t)(at - ref->text) : strlen(ref->text);
    for (const struct node *n = NULL; (n = build_next(all, n));) {
        index++;
        if (strlen(n->key) != len || memcmp(n->key, ref->text, len) != 0)
            continue;
        *ret_index = index;
        return build_child(all, n);
    }
    problems_error(b->problems, ref->at, "there is no tcp.serversTransports.%.*s", (int)len,
                   ref->text);
    return none;
}

static uint32_t proxy_version(struct place p)
{
    return build_at(p, "proxyProtocol").node ? (uint32_t)build_int(p, "proxyProtocol.version") : 0;
}

static void build_servers(struct build *b, struct place balancer, struct config_service *s)
{
    struct place servers = build_at(balancer, "servers");
    struct place transport = transport_of(b, balancer, &s->transport);
    s->servers = arena_alloc(b->arena, (build_count(servers) + 1) * sizeof *s->servers);
    for (const struct node *n = NULL; (n = build_next(servers, n));) {
        struct place one = {n, servers.schema};
        s->server_count += build_server(b, one, &s->servers[s->server_count]);
    }
    for (uint32_t i = 0; i < s->server_count; i++)
        if (s->servers[i].https)
            build_need_roots(b, s->transport);
    s->dial_timeout_ms = build_ms(transport, "dialTimeout");
    s->keep_alive_ms = build_ms(transport, "dialKeepAlive");
    if (s->keep_alive_ms == 0)
        s->keep_alive_ms = KEEP_ALIVE_MS;
    s->termination_ms = build_ms(transport, "terminationDelay");
    if (s->termination_ms == 0)
        s->termination_ms = 1; /* at once */
    s->proxy_version = proxy_version(balancer);
    if (s->proxy_version == 0)
        s->proxy_version = proxy_version(transport);
    if (balancer.node && !tree_child(balancer.node, "servers"))
        problems_warn(b->problems, s->where,
                      "TCP service %s has no servers: its connections are closed", s->name);
}

static void build_service(struct build *b, struct place p, struct config_service *s)
{
    struct place balancer = build_at(p, "loadBalancer"), weighted = build_at(p, "weighted");
    s->name = arena_strdup(b->arena, p.node->key);
    s->where = build_where(b, p.node->key_at);
    s->cookie_attributes = "";
    s->health.on = false;
    if (weighted.node)
        s->kind = CONFIG_SERVICE_WEIGHTED;
    if (weighted.node && balancer.node)
        problems_error(b->problems, balancer.node->key_at,
                       "TCP service %s is weighted already; a service is of one kind", s->name);
    else if (balancer.node)
        build_servers(b, balancer, s);
    else if (!weighted.node && !p.node->first)
        build_required(b, p, "loadBalancer");
}

static void build_members(struct build *b, struct place list, struct config_service *s)
{
    s->members = arena_alloc(b->arena, (build_count(list) + 1) * sizeof *s->members);
    for (const struct node *n = NULL; (n = build_next(list, n));) {
        struct place one = {n, list.schema};
        const struct node *name = build_at(one, "name").node;
        if (!build_required(b, one, "name"))
            continue;
        uint32_t i = build_refer(b, &b->tcp_service_names, name, name->text, "TCP service");
        if (i != UINT32_MAX)
            s->members[s->member_count++] =
                (struct config_member){i, (uint32_t)build_int(one, "weight")};
    }
}

void build_tcp_services(struct build *b)
{
    struct place all = build_at(b->root, "tcp.services");
    struct config *c = b->config;
    uint32_t count = 0;
    c->first_tcp_service = c->service_count;
    for (const struct node *n = NULL; (n = build_next(all, n)); count++)
        build_service(b, build_child(all, n), &c->services[c->service_count++]);
    name_from(b, &b->tcp_service_names, c->first_tcp_service, count, service_name);
    uint32_t i = c->first_tcp_service;
    for (const struct node *n = NULL; (n = build_next(all, n)); i++)
        if (c->services[i].kind == CONFIG_SERVICE_WEIGHTED)
            build_members(b, build_at(build_child(all, n), "weighted.services"), &c->services[i]);
}

/* ---- middlewares ----------------------------------------------------------------------------- */

static void build_middleware(struct build *b, struct place p, struct config_middleware *m)
{
    struct place allow = build_at(p, "ipAllowList"), flight = build_at(p, "inFlightConn");
    m->name = arena_strdup(b->arena, p.node->key);
    m->allow.ip.ipv6_bits = m->limit.source.ip.ipv6_bits = 128;
    m->limit.source.kind = CONFIG_SOURCE_IP;
    m->limit.source.header = "";
    if ((allow.node != NULL) + (flight.node != NULL) != 1) {
        problems_error(b->problems, p.node->key_at,
                       "TCP middleware %s has one type: ipAllowList or inFlightConn", m->name);
        return;
    }
    if (flight.node) {
        m->kind = CONFIG_MIDDLEWARE_IN_FLIGHT;
        m->limit.amount = (uint64_t)build_int(flight, "amount");
        return;
    }
    m->kind = CONFIG_MIDDLEWARE_ALLOW_LIST;
    m->allow.status = 403;
    m->allow.ranges.items = build_list(b, allow, "sourceRange", &m->allow.ranges.count);
    if (m->allow.ranges.count == 0)
        problems_error(b->problems, allow.node->key_at, "%s lets nobody in: sourceRange is empty",
                       tree_path(b->arena, allow.node));
}

void build_tcp_middlewares(struct build *b)
{
    struct place all = build_at(b->root, "tcp.middlewares");
    struct config *c = b->config;
    uint32_t count = 0;
    c->first_tcp_middleware = c->middleware_count;
    for (const struct node *n = NULL; (n = build_next(all, n)); count++)
        build_middleware(b, build_child(all, n), &c->middlewares[c->middleware_count++]);
    name_from(b, &b->tcp_middleware_names, c->first_tcp_middleware, count, middleware_name);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* [http.services] */
#include "config/build.h"

#include "base/must.h"
#include "config/value.h"

#include <ctype.h>

static const char *service_name(const struct config *config, uint32_t i)
{
    return config->services[i].name;
}

static bool build_server(struct build *b, struct place p, struct config_server *s)
{
    struct value_url url;
    bool https;
    if (!build_required(b, p, "url"))
        return false;
    const struct node *n = build_at(p, "url").node;
    must(result_is_ok(value_url(span_str(n->text), &url)));
    https = span_eq_nocase(url.scheme, SPAN_LITERAL("https"));
    if (url.path.len && !span_eq(url.path, SPAN_LITERAL("/"))) {
        problems_error(b->problems, n->at, "the URL of a server has no path, not \"%.*s\"",
                       SPAN_FMT(url.path));
        return false;
    }
    char *host = arena_strndup(b->arena, url.host.ptr, url.host.len);
    for (char *c = host; *c; c++)
        *c = (char)tolower((unsigned char)*c);
    *s = (struct config_server){
        .url = arena_strdup(b->arena, n->text),
        .host = host,
        .port = url.port ? url.port
                : https  ? 443
                         : 80,
        .https = https,
        .h2c = span_eq_nocase(url.scheme, SPAN_LITERAL("h2c")),
        .weight = (uint32_t)build_int(p, "weight"),
    };
    return true;
}

/* The transport of a balancer; its times are the service's. */
static void choose_transport(struct build *b, struct place balancer, struct config_service *s)
{
    struct place transport = build_at(b->root, "serversTransport");
    const struct node *ref = build_at(balancer, "serversTransport").node;
    if (ref) {
        struct place all = build_at(b->root, "http.serversTransports");
        const char *at = strrchr(ref->text, '@');
        size_t len = at && strcmp(at, "@file") == 0 ? (size_t)(at - ref->text) : strlen(ref->text);
        uint32_t index =
            0; /* transports stand in the order of their nodes, behind the global one */
        for (const struct node *n = NULL; !s->transport && (n = build_next(all, n));) {
            index++;
            if (strlen(n->key) != len || memcmp(n->key, ref->text, len) != 0)
                continue;
            transport = build_child(all, n);
            s->transport = index;
        }
        if (!s->transport)
            problems_error(b->problems, ref->at, "there is no http.serversTransports.%.*s",
                           (int)len, ref->text);
    }
    s->dial_timeout_ms = build_ms(transport, "forwardingTimeouts.dialTimeout");
    s->response_header_timeout_ms = build_ms(transport, "forwardingTimeouts.responseHeaderTimeout");
    s->body_timeout_ms = build_ms(transport, "forwardingTimeouts.bodyTimeout");
    s->stream_timeout_ms = build_ms(transport, "forwardingTimeouts.streamTimeout");
    s->idle_timeout_ms = build_ms(transport, "forwardingTimeouts.idleConnTimeout");
    s->max_idle_per_server = (uint32_t)build_int(transport, "maxIdleConnsPerHost");
    for (uint32_t i = 0; i < s->server_count; i++)
        if (s->servers[i].https)
            build_need_roots(b, s->transport);
}

static void build_one(struct build *b, struct place p, struct config_service *s)
{
    s->name = arena_strdup(b->arena, p.node->key);
    s->where = build_where(b, p.node->key_at);
    build_balance_kind(b, p, s);
    struct place balancer = build_at(p, "loadBalancer");
    struct place servers = build_at(balancer, "servers");
    s->servers = arena_alloc(b->arena, (build_count(servers) + 1) * sizeof *s->servers);
    for (const struct node *n = NULL; (n = build_next(servers, n));) {
        struct place one = {n, servers.schema};
        s->server_count += build_server(b, one, &s->servers[s->server_count]);
    }
    s->pass_host_header = build_bool(balancer, "passHostHeader");
    choose_transport(b, balancer, s);
    if (s->kind == CONFIG_SERVICE_SERVERS)
        build_balance_servers(b, balancer, s);
    if (balancer.node && !tree_child(balancer.node, "servers"))
        problems_warn(b->problems, p.node->key_at, "service %s has no servers: it answers 503",
                      s->name);
}

void build_services(struct build *b)
{
    struct place all = build_at(b->root, "http.services");
    struct config *c = b->config;
    uint32_t count = build_count(all) + build_count(build_at(b->root, "tcp.services"));
    c->services = arena_alloc(b->arena, (count + BUILD_INTERNALS) * sizeof *c->services);
    for (const struct node *n = NULL; (n = build_next(all, n));)
        build_one(b, build_child(all, n), &c->services[c->service_count++]);
    build_internal_services(b);
    build_names(b, &b->service_names, c->service_count, service_name);
    build_tcp_services(b);
    build_balance(b);
    build_internal_members(b);
}

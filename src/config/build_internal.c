/* SPDX-License-Identifier: Apache-2.0 */
/* [metrics.prometheus] and [ping]: services of ferrule itself, and the routers to them. */
#include "config/build.h"

#include "base/must.h"
#include "config/problems.h"

#include <stdlib.h>

#define PING_SERVICE    "ping@internal"
#define METRICS_SERVICE "prometheus@internal"

struct internal {
    const char *option, *service, *path;
};
static const struct internal internals[BUILD_INTERNALS] = {
    {"ping", PING_SERVICE, "/ping"},
    {"metrics.prometheus", METRICS_SERVICE, "/metrics"},
};

static double seconds_of(const struct node *n)
{
    if (n->kind == TOML_INTEGER)
        return (double)n->integer;
    if (n->kind == TOML_FLOAT)
        return n->real;
    char *end = NULL;
    double value = n->text ? strtod(n->text, &end) : 0; /* of a flag */
    return end && end != n->text && !*end ? value : 0;
}

/* Traefik's default without any. */
static void build_bounds(struct build *b, struct place p, struct config_metrics *m)
{
    static const uint64_t usual_ms[] = {100, 300, 1200, 5000};
    struct place list = build_at(p, "buckets");
    for (size_t i = 0; !list.node && i < sizeof usual_ms / sizeof *usual_ms; i++)
        m->bounds_ns[m->bound_count++] = usual_ms[i] * 1000000;
    for (const struct node *n = NULL; (n = build_next(list, n));) {
        double s = seconds_of(n);
        uint64_t ns = s > 0 && s <= 86400 ? (uint64_t)(s * 1e9 + 0.5) : 0;
        if (!ns || (m->bound_count && ns <= m->bounds_ns[m->bound_count - 1])) {
            problems_error(b->problems, n->at,
                           "metrics.prometheus.buckets are seconds above 0 and up to 86400, each "
                           "more than the one before it");
            return;
        }
        if (m->bound_count == CONFIG_BOUNDS_MAX) {
            problems_error(b->problems, n->at, "metrics.prometheus.buckets has at most %d bounds",
                           CONFIG_BOUNDS_MAX);
            return;
        }
        m->bounds_ns[m->bound_count++] = ns;
    }
}

static struct config_service *add_service(struct build *b, const char *name, const struct node *n)
{
    struct config *c = b->config;
    struct config_service *s = &c->services[c->service_count++];
    *s = (struct config_service){.name = name, .where = build_where(b, n->key_at)};
    return s;
}

void build_internal_services(struct build *b)
{
    struct place ping = build_at(b->root, "ping"), prom = build_at(b->root, "metrics.prometheus");
    struct config_metrics *m = &b->config->metrics;
    b->config->ping_status = (uint16_t)build_int(ping, "terminatingStatusCode");
    if (ping.node)
        add_service(b, PING_SERVICE, ping.node)->internal = CONFIG_INTERNAL_PING;
    if (!prom.node)
        return;
    m->on = true;
    m->entrypoints = build_bool(prom, "addEntryPointsLabels");
    m->routers = build_bool(prom, "addRoutersLabels");
    m->services = build_bool(prom, "addServicesLabels");
    build_bounds(b, prom, m);
    /* Control itself, at the address that it finds free. */
    struct config_service *s = add_service(b, METRICS_SERVICE, prom.node);
    s->internal = CONFIG_INTERNAL_METRICS;
    s->servers = arena_alloc(b->arena, sizeof *s->servers);
    s->server_count = 1;
    s->servers[0] =
        (struct config_server){.url = "http://127.0.0.1", .host = "127.0.0.1", .weight = 1};
    s->dial_timeout_ms = s->response_header_timeout_ms = s->body_timeout_ms = 10000;
}

void build_internal_members(struct build *b)
{
    const struct config *c = b->config;
    for (uint32_t i = 0; i < c->service_count; i++) {
        const struct config_service *s = &c->services[i];
        for (uint32_t k = 0; k < s->member_count; k++) {
            const struct config_service *below = &c->services[s->members[k].service];
            if (below->internal)
                problems_error(b->problems, s->where, "%s cannot be a part of another service",
                               below->name);
        }
    }
}

/* UINT32_MAX: there is none, reported. */
static uint32_t entrypoint_of(struct build *b, struct place p, const struct internal *in)
{
    const struct node *named = build_at(p, "entryPoint").node;
    if (named)
        return build_refer(b, &b->entry_names, named, named->text, "entry point");
    const char *usual = build_text(b, p, "entryPoint");
    uint32_t index = build_find(&b->entry_names, usual);
    if (index == UINT32_MAX)
        problems_error(b->problems, p.node->key_at,
                       "there is no entry point \"%s\": add [entryPoints.%s] with address = "
                       "\"127.0.0.1:8080\", or name another one in %s.entryPoint",
                       usual, usual, in->option);
    return index;
}

/* Whether connections of an entry point begin with TLS. */
static bool has_tls(const struct config *c, const struct config_router *routers, uint32_t count,
                    uint32_t entrypoint)
{
    bool tls = c->entrypoints[entrypoint].tls;
    for (uint32_t i = 0; i < count; i++)
        for (uint32_t k = 0; k < routers[i].entrypoint_count; k++)
            tls = tls || (routers[i].tls && routers[i].entrypoints[k] == entrypoint);
    return tls;
}

uint32_t build_internal_routers(struct build *b, const struct config_router *routers,
                                uint32_t router_count, struct config_router ret[BUILD_INTERNALS])
{
    uint32_t count = 0;
    for (size_t i = 0; i < BUILD_INTERNALS; i++) {
        const struct internal *in = &internals[i];
        struct place p = build_at(b->root, in->option);
        if (!p.node || build_bool(p, "manualRouting"))
            continue;
        uint32_t entrypoint = entrypoint_of(b, p, in), column;
        struct why why;
        if (entrypoint == UINT32_MAX)
            continue;
        struct config_router r = {
            .name = in->service,
            .priority = INT64_MAX,
            .entrypoints = arena_dup(b->arena, &entrypoint, sizeof entrypoint),
            .entrypoint_count = 1,
            .service = build_find(&b->service_names, in->service),
            .resolver = UINT32_MAX,
            .tls = has_tls(b->config, routers, router_count, entrypoint),
            .internal = true,
            .where = build_where(b, p.node->key_at),
        };
        char *rule = arena_printf(b->arena, "PathPrefix(`%s`)", in->path);
        must(result_is_ok(rule_parse(rule, RULE_V3, &r.rule, &column, &why)));
        build_internal_observe(b, &r);
        ret[count++] = r;
    }
    return count;
}

void build_internal_observe(struct build *b, struct config_router *router)
{
    if (router->service == UINT32_MAX || !b->config->services[router->service].internal)
        return;
    if (!build_bool(b->root, "accessLog.addInternals"))
        router->access_logs = CONFIG_NO;
    if (!build_bool(b->root, "metrics.addInternals"))
        router->metrics = CONFIG_NO;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* [http.routers]: rules, references, the names that want certificates, and who wins. */
#include "config/build.h"

#include "config/value.h"

#include "config/rule.h"

#include <stdlib.h>

struct routers {
    struct build *b;
    bool tcp; /* [tcp.routers] */
    struct config_router *items;
    uint32_t count, capacity;
    bool on_host_rule;       /* [acme] onHostRule */
    uint32_t older_resolver; /* [acme], or UINT32_MAX */
};

static struct config_router *add_router(struct routers *r)
{
    if (r->count == r->capacity) {
        uint32_t more = r->capacity ? r->capacity * 2 : 64;
        struct config_router *grown = arena_alloc(r->b->arena, more * sizeof *grown);
        if (r->capacity)
            memcpy(grown, r->items, r->capacity * sizeof *grown);
        r->items = grown;
        r->capacity = more;
    }
    return &r->items[r->count++];
}

/* ruleSyntax of the router, else core.defaultRuleSyntax. */
static enum rule_syntax syntax_of(struct routers *r, struct place p)
{
    if (r->tcp)
        return RULE_TCP;
    const struct node *own = build_at(p, "ruleSyntax").node;
    const struct node *all = build_at(r->b->root, "core.defaultRuleSyntax").node;
    const struct node *n = own ? own : all;
    return n && strcmp(n->text, "v2") == 0 ? RULE_V2 : RULE_V3;
}

static bool parse_rule(struct routers *r, const struct node *n, enum rule_syntax syntax,
                       struct rule *ret)
{
    uint32_t column = 0;
    struct why why;
    if (result_is_ok(rule_parse(n->text, syntax, ret, &column, &why)))
        return true;
    struct config_where at = n->at;
    if (n->plain)
        at.column += 1 + column;
    problems_error(r->b->problems, at, "%s: %s", tree_path(r->b->arena, n), why.text);
    return false;
}

struct host_list {
    struct build *b;
    struct config_domain *domain;
};

static void count_host(void *arg, const char *host)
{
    (*(uint32_t *)arg)++;
}

static void add_host(void *arg, const char *host)
{
    struct host_list *list = arg;
    list->domain->names[list->domain->count++] = build_certificate_name(list->b, host);
}

/* One certificate for the hosts of the rule. */
static void domains_of_rule(struct build *b, struct config_router *router)
{
    uint32_t count = 0;
    rule_hosts(&router->rule, count_host, &count);
    if (count == 0)
        return;
    router->domains = arena_alloc(b->arena, sizeof *router->domains);
    router->domains[0].names = arena_alloc(b->arena, count * sizeof *router->domains[0].names);
    rule_hosts(&router->rule, add_host, &(struct host_list){b, router->domains});
    router->domain_count = 1;
}

/* Wildcards are proven by DNS-01 alone, addresses by the other two (RFC 8738 section 7). */
static void check_name(struct routers *r, struct place tls, const struct config_resolver *resolver,
                       const char *name)
{
    bool other = resolver->http_challenge || resolver->tls_challenge;
    if (name[0] == '*' && !resolver->dns_provider && other)
        problems_error(r->b->problems, tls.node->key_at,
                       "%s needs DNS-01, but resolver %s has no dnsChallenge", name,
                       resolver->name);
    else if (value_is_ip(span_str(name)) && resolver->dns_provider && !other)
        problems_error(r->b->problems, tls.node->key_at,
                       "%s is an address: it needs HTTP-01 or TLS-ALPN-01, but resolver %s has "
                       "neither httpChallenge nor tlsChallenge",
                       name, resolver->name);
}

/* Names for which a certificate is to be ordered: not too many, and within the resolver's reach. */
static void check_certificates(struct routers *r, struct place tls, struct config_router *router)
{
    struct config *c = r->b->config;
    if (router->resolver == UINT32_MAX)
        return;
    const struct config_resolver *resolver = &c->resolvers[router->resolver];
    for (uint32_t i = 0; i < router->domain_count; i++)
        for (uint32_t k = 0; k < router->domains[i].count; k++)
            check_name(r, tls, resolver, router->domains[i].names[k]);
    if (router->domain_count == 1 && router->domains[0].count > CONFIG_DOMAIN_NAMES_MAX &&
        !build_at(tls, "domains").node)
        problems_error(r->b->problems, router->where,
                       "a certificate has at most %d names, the rule of router %s has %u: spread "
                       "them over tls.domains",
                       CONFIG_DOMAIN_NAMES_MAX, router->name, router->domains[0].count);
    if (router->domain_count == 0)
        problems_warn(r->b->problems, router->where,
                      "router %s has a certificate resolver, but neither tls.domains nor Host() "
                      "says for which names",
                      router->name);
}

/* The tls part of a router, or that of its entry point. */
static void fill_tls(struct routers *r, struct place tls, struct config_router *router,
                     bool has_rule)
{
    struct build *b = r->b;
    const struct node *resolver = build_at(tls, "certResolver").node;
    const struct node *options = build_at(tls, "options").node;
    router->tls = true;
    router->passthrough = r->tcp && build_bool(tls, "passthrough");
    if (router->passthrough && (resolver || options))
        problems_warn(b->problems, router->where,
                      "TCP router %s passes TLS through: certResolver and options mean nothing "
                      "beside that",
                      router->name);
    if (router->passthrough)
        return;
    if (resolver)
        router->resolver =
            build_refer(b, &b->resolver_names, resolver, resolver->text, "certificate resolver");
    else if (r->on_host_rule)
        router->resolver = r->older_resolver;
    if (options) {
        uint32_t index = build_refer(b, &b->tls_names, options, options->text, "tls.options");
        router->tls_options = index == UINT32_MAX ? 0 : index;
    }
    router->domains = build_domains(b, build_at(tls, "domains"), &router->domain_count);
    if (router->domain_count == 0)
        domains_of_rule(b, router);
    if (has_rule)
        check_certificates(r, tls, router);
}

/* The entry points of a router: indices in ascending order without duplicates. */
static uint32_t *router_entrypoints(struct routers *r, struct place p, uint32_t *ret_count)
{
    struct build *b = r->b;
    struct config *c = b->config;
    struct place list = build_at(p, "entryPoints");
    uint32_t *indices = arena_alloc(b->arena, (c->entrypoint_count + 1) * sizeof *indices);
    bool *chosen = mem_zalloc(c->entrypoint_count + 1);
    for (const struct node *n = NULL; (n = build_next(list, n));) {
        uint32_t index = build_refer(b, &b->entry_names, n, n->text, "entry point");
        if (index != UINT32_MAX)
            chosen[index] = true;
    }
    bool named = list.node && list.node->first;
    *ret_count = 0;
    for (uint32_t i = 0; i < c->entrypoint_count; i++) {
        if (named ? chosen[i] : c->entrypoints[i].default_of_routers)
            indices[(*ret_count)++] = i;
    }
    free(chosen);
    return indices;
}

static enum config_choice choice_of(struct place p, const char *path)
{
    const struct node *n = build_at(p, path).node;
    return !n ? CONFIG_UNSET : n->truth ? CONFIG_YES : CONFIG_NO;
}

/* HostSNI(`*`) and nothing else. */
static bool takes_all(const struct rule *rule)
{
    return rule->node_count == 1 && rule->nodes[0].op == RULE_ANY;
}

/* What holds for TCP routers alone. */
static void check_tcp(struct routers *r, const struct node *rule, bool has_priority,
                      struct config_router *router)
{
    /* So it is the last to be asked, unless a priority says otherwise. */
    if (takes_all(&router->rule) && !has_priority)
        router->priority = -1;
    for (uint32_t i = 0; i < router->rule.node_count && !router->tls; i++) {
        uint8_t op = router->rule.nodes[i].op;
        if (op != RULE_HOST && op != RULE_HOST_REGEXP && op != RULE_ALPN)
            continue;
        problems_error(r->b->problems, rule->at,
                       "TCP router %s has no tls, so its clients name no server and no protocol: "
                       "write HostSNI(`*`), or give it a tls part",
                       router->name);
        return;
    }
}

/* One router on some entry points; `tls.node` NULL: without TLS. */
static void put_router(struct routers *r, struct place p, struct place tls,
                       const uint32_t *entrypoints, uint32_t count)
{
    struct build *b = r->b;
    const struct node *rule = build_at(p, "rule").node;
    const struct node *service = build_at(p, "service").node;
    struct rule parsed = {0};
    bool good = rule && parse_rule(r, rule, syntax_of(r, p), &parsed);
    struct config_router *router = add_router(r);
    *router = (struct config_router){
        .name = arena_strdup(b->arena, p.node->key),
        .rule = parsed,
        .tcp = r->tcp,
        .priority = build_int(p, "priority"),
        .entrypoints = arena_dup(b->arena, entrypoints, count * sizeof *entrypoints),
        .entrypoint_count = count,
        .resolver = UINT32_MAX,
        .access_logs = r->tcp ? CONFIG_UNSET : choice_of(p, "observability.accessLogs"),
        .metrics = r->tcp ? CONFIG_NO : choice_of(p, "observability.metrics"),
        .middlewares =
            build_middleware_list(b, r->tcp ? &b->tcp_middleware_names : &b->middleware_names,
                                  build_at(p, "middlewares")),
        .where = build_where(b, p.node->key_at),
    };
    if (router->priority == 0 && rule)
        router->priority = (int64_t)strlen(rule->text);
    const struct names *services = r->tcp ? &b->tcp_service_names : &b->service_names;
    router->service = UINT32_MAX;
    if (service)
        router->service =
            build_refer(b, services, service, service->text, r->tcp ? "TCP service" : "service");
    if (tls.node)
        fill_tls(r, tls, router, good);
    if (r->tcp && good)
        check_tcp(r, rule, build_int(p, "priority") != 0, router);
    build_internal_observe(b, router);
    r->count -= !good;
}

static void build_one(struct routers *r, struct place p)
{
    struct build *b = r->b;
    uint32_t count, plain_count = 0;
    uint32_t *entrypoints = router_entrypoints(r, p, &count);
    struct place tls = build_at(p, "tls"), none = {NULL, tls.schema};
    uint32_t errors = b->problems->errors;
    build_required(b, p, "rule");
    build_required(b, p, "service");
    if (tls.node || r->tcp) {
        put_router(r, p, tls, entrypoints, count);
        return;
    }
    uint32_t *plain = mem_alloc((count + 1) * sizeof *plain);
    for (uint32_t i = 0; i < count; i++) {
        if (!b->config->entrypoints[entrypoints[i]].tls)
            plain[plain_count++] = entrypoints[i];
    }
    if (plain_count || count == 0)
        put_router(r, p, none, plain, plain_count);
    for (uint32_t i = 0; i < count && b->problems->errors == errors; i++) {
        if (b->config->entrypoints[entrypoints[i]].tls)
            put_router(r, p, build_at(b->entry_places[entrypoints[i]], "http.tls"), &entrypoints[i],
                       1);
    }
    free(plain);
}

static int compare_routers(const void *left, const void *right)
{
    const struct config_router *a = left, *b = right;
    if (a->priority != b->priority)
        return a->priority > b->priority ? -1 : 1;
    int order = strcmp(a->name, b->name);
    if (order || a->tls != b->tls)
        return order ? order : a->tls - b->tls;
    return a->entrypoint_count && b->entrypoint_count
               ? (a->entrypoints[0] > b->entrypoints[0]) - (a->entrypoints[0] < b->entrypoints[0])
               : 0;
}

static int compare_equals(const void *left, const void *right)
{
    const struct config_router *a = *(struct config_router *const *)left;
    const struct config_router *b = *(struct config_router *const *)right;
    if (a->priority != b->priority)
        return a->priority > b->priority ? -1 : 1;
    int order = rule_compare(&a->rule, &b->rule);
    if (order || a->tls != b->tls)
        return order ? order : a->tls - b->tls;
    return a < b ? -1 : a > b; /* the better one first */
}

/* An entry point that both have, or UINT32_MAX. Indices ascend. */
static uint32_t shared_entrypoint(const struct config_router *a, const struct config_router *b)
{
    uint32_t i = 0, k = 0;
    while (i < a->entrypoint_count && k < b->entrypoint_count) {
        if (a->entrypoints[i] == b->entrypoints[k])
            return a->entrypoints[i];
        if (a->entrypoints[i] < b->entrypoints[k])
            i++;
        else
            k++;
    }
    return UINT32_MAX;
}

static void warn_of_equals(const struct routers *r)
{
    struct build *b = r->b;
    struct config *c = b->config;
    struct config_router **list = mem_alloc((r->count + 1) * sizeof(struct config_router *));
    for (uint32_t i = 0; i < r->count; i++)
        list[i] = &r->items[i];
    qsort(list, r->count, sizeof *list, compare_equals);
    for (uint32_t first = 0, i = 1; i < r->count; i++) {
        struct config_router *a = list[first], *x = list[i];
        if (a->priority != x->priority || a->tls != x->tls || rule_compare(&a->rule, &x->rule)) {
            first = i;
            continue;
        }
        uint32_t shared = shared_entrypoint(a, x);
        if (shared != UINT32_MAX)
            problems_warn(b->problems, x->where,
                          "routers %s and %s have the same rule and priority on entry point %s: %s "
                          "wins by its name; give one of them a priority",
                          a->name, x->name, c->entrypoints[shared].name, a->name);
    }
    free(list);
}

static void build_all(struct routers *r, struct place all)
{
    for (const struct node *n = NULL; (n = build_next(all, n));)
        build_one(r, build_child(all, n));
}

/* Best first. */
static void order(struct routers *r)
{
    if (r->count)
        qsort(r->items, r->count, sizeof *r->items, compare_routers);
    warn_of_equals(r);
}

static bool is_on(const struct config *c, const struct config_router *router, const char *name)
{
    for (uint32_t i = 0; i < router->entrypoint_count; i++)
        if (strcasecmp(c->entrypoints[router->entrypoints[i]].name, name) == 0)
            return true;
    return false;
}

/* A connection that a TCP router takes is never looked at for a request: not for a CA's either. */
static void warn_of_hidden_challenges(struct build *b)
{
    const struct config *c = b->config;
    for (uint32_t i = 0; i < c->tcp_router_count; i++) {
        const struct config_router *router = &c->tcp_routers[i];
        if (router->tls || !takes_all(&router->rule))
            continue;
        for (uint32_t k = 0; k < c->resolver_count; k++) {
            const struct config_resolver *r = &c->resolvers[k];
            const char *name = r->http_challenge ? r->http_challenge_entrypoint : NULL;
            if (name && is_on(c, router, name))
                problems_warn(b->problems, router->where,
                              "TCP router %s takes all plain connections of entry point %s: the "
                              "httpChallenge of resolver %s is never answered there",
                              router->name, name, r->name);
        }
    }
}

void build_routers(struct build *b)
{
    struct config *c = b->config;
    struct routers r = {.b = b, .older_resolver = UINT32_MAX};
    struct routers tcp = {.b = b, .tcp = true, .older_resolver = UINT32_MAX};
    struct place older = build_at(b->root, "acme");
    r.on_host_rule = older.node && build_bool(older, "onHostRule");
    if (r.on_host_rule)
        r.older_resolver = c->resolver_count - 1; /* it is built last */
    build_all(&r, build_at(b->root, "http.routers"));
    build_all(&tcp, build_at(b->root, "tcp.routers"));
    struct config_router own[BUILD_INTERNALS];
    uint32_t own_count = build_internal_routers(b, r.items, r.count, own);
    for (uint32_t i = 0; i < own_count; i++)
        *add_router(&r) = own[i];
    order(&r);
    order(&tcp);
    c->routers = r.items;
    c->router_count = r.count;
    c->tcp_routers = tcp.items;
    c->tcp_router_count = tcp.count;
    warn_of_hidden_challenges(b);
}

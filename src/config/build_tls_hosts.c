/* SPDX-License-Identifier: Apache-2.0 */
/* Which TLS options connections to a host name get: those of the routers that ask for it. */
#include "config/build.h"

#include <stdlib.h>

/* A router's claim on a host name. */
struct claim {
    uint32_t entrypoint;
    const char *host;
    uint32_t router; /* index, best first */
};

struct claims {
    struct build *b;
    struct claim *items;
    uint32_t count, room;
    uint32_t router, entrypoint; /* while hosts are added */
};

static void add_claim(void *arg, const char *host)
{
    struct claims *c = arg;
    if (c->count == c->room) {
        c->room = c->room ? 2 * c->room : 64;
        c->items = mem_grow(c->items, c->room * sizeof *c->items);
    }
    size_t len = strlen(host);
    if (len && host[len - 1] == '.')
        host = arena_strndup(c->b->arena, host, len - 1);
    c->items[c->count++] = (struct claim){c->entrypoint, host, c->router};
}

static void collect(struct build *b, struct claims *claims)
{
    struct config *c = b->config;
    for (uint32_t i = 0; i < c->router_count; i++) {
        const struct config_router *r = &c->routers[i];
        uint32_t before = claims->count;
        for (uint32_t k = 0; r->tls && k < r->entrypoint_count; k++) {
            claims->router = i;
            claims->entrypoint = r->entrypoints[k];
            rule_hosts(&r->rule, add_claim, claims);
        }
        if (r->tls && r->tls_options && r->entrypoint_count && claims->count == before)
            problems_warn(b->problems, r->where,
                          "router %s has no Host(), so its tls.options \"%s\" are never used: the "
                          "options of a connection are chosen by the server name, before there is "
                          "a request",
                          r->name, c->tls_options[r->tls_options].name);
    }
}

static int compare_claims(const void *left, const void *right)
{
    const struct claim *a = left, *b = right;
    if (a->entrypoint != b->entrypoint)
        return a->entrypoint < b->entrypoint ? -1 : 1;
    int order = strcmp(a->host, b->host);
    return order ? order : (a->router > b->router) - (a->router < b->router);
}

static const char *options_of(const struct config *c, const struct config_router *r)
{
    return c->tls_options[r->tls_options].name;
}

/* The claims on one host: all want the same options, or it gets the default ones, as in Traefik. */
static void settle(struct build *b, const struct claim *claims, uint32_t count)
{
    struct config *c = b->config;
    const struct config_router *first = &c->routers[claims[0].router];
    for (uint32_t i = 1; i < count; i++) {
        const struct config_router *other = &c->routers[claims[i].router];
        if (other->tls_options == first->tls_options)
            continue;
        problems_warn(b->problems, other->where,
                      "routers %s and %s want different tls.options (\"%s\" and \"%s\") for the "
                      "host %s on entry point %s: it gets the default ones",
                      first->name, other->name, options_of(c, first), options_of(c, other),
                      claims[0].host, c->entrypoints[claims[0].entrypoint].name);
        return;
    }
    if (first->tls_options)
        c->tls_hosts[c->tls_host_count++] = (struct config_tls_host){
            claims[0].entrypoint, arena_strdup(b->arena, claims[0].host), first->tls_options};
}

void build_tls_hosts(struct build *b)
{
    struct config *c = b->config;
    struct claims claims = {.b = b};
    collect(b, &claims);
    if (claims.count)
        qsort(claims.items, claims.count, sizeof *claims.items, compare_claims);
    c->tls_hosts = arena_alloc(b->arena, (claims.count + 1) * sizeof *c->tls_hosts);
    for (uint32_t first = 0, end; first < claims.count; first = end) {
        const struct claim *one = &claims.items[first];
        for (end = first + 1; end < claims.count; end++) {
            const struct claim *next = &claims.items[end];
            if (next->entrypoint != one->entrypoint || strcmp(next->host, one->host) != 0)
                break;
        }
        settle(b, one, end - first);
    }
    free(claims.items);
}

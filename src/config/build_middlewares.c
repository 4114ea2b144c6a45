/* SPDX-License-Identifier: Apache-2.0 */
/* [http.middlewares]: one type each; chains and the lists of routers and entry points. */
#include "config/build.h"

#include <stdlib.h>

/* Of one list with its chains expanded; the entry point's and the router's add up. */
#define LIST_MAX      (CONFIG_MIDDLEWARES_MAX / 2)
#define IN_FLIGHT_MAX (CONFIG_IN_FLIGHT_MAX / 2)

static void build_chain(struct build *b, struct place p, struct config_middleware *m)
{
    m->kind = CONFIG_MIDDLEWARE_CHAIN;
    (void)build_required(b, p, "middlewares");
}

static void build_retry(struct build *b, struct place p, struct config_middleware *m)
{
    m->kind = CONFIG_MIDDLEWARE_RETRY;
    if (!build_required(b, p, "attempts"))
        return;
    m->retry.attempts = (uint32_t)build_int(p, "attempts");
    m->retry.interval_ms = (uint32_t)build_ms(p, "initialInterval");
}

static const struct {
    const char *type;
    void (*build)(struct build *b, struct place p, struct config_middleware *m);
    enum config_middleware_kind kind;
} types[] = {
    {"addPrefix", build_middlewares_path, CONFIG_MIDDLEWARE_ADD_PREFIX},
    {"basicAuth", build_middlewares_auth, CONFIG_MIDDLEWARE_BASIC_AUTH},
    {"chain", build_chain, CONFIG_MIDDLEWARE_CHAIN},
    {"headers", build_middlewares_headers, CONFIG_MIDDLEWARE_HEADERS},
    {"inFlightReq", build_middlewares_limit, CONFIG_MIDDLEWARE_IN_FLIGHT},
    {"ipAllowList", build_middlewares_limit, CONFIG_MIDDLEWARE_ALLOW_LIST},
    {"ipWhiteList", build_middlewares_limit, CONFIG_MIDDLEWARE_ALLOW_LIST},
    {"rateLimit", build_middlewares_limit, CONFIG_MIDDLEWARE_RATE_LIMIT},
    {"redirectRegex", build_middlewares_path, CONFIG_MIDDLEWARE_REDIRECT_REGEX},
    {"redirectScheme", build_middlewares_path, CONFIG_MIDDLEWARE_REDIRECT_SCHEME},
    {"replacePath", build_middlewares_path, CONFIG_MIDDLEWARE_REPLACE_PATH},
    {"replacePathRegex", build_middlewares_path, CONFIG_MIDDLEWARE_REPLACE_PATH_REGEX},
    {"retry", build_retry, CONFIG_MIDDLEWARE_RETRY},
    {"stripPrefix", build_middlewares_path, CONFIG_MIDDLEWARE_STRIP_PREFIX},
    {"stripPrefixRegex", build_middlewares_path, CONFIG_MIDDLEWARE_STRIP_PREFIX_REGEX},
};

static void build_one(struct build *b, struct place p, struct config_middleware *m)
{
    const struct node *first = NULL;
    m->name = arena_strdup(b->arena, p.node->key);
    for (const struct node *n = NULL; (n = build_next(p, n));) {
        if (first) {
            problems_error(b->problems, n->key_at,
                           "middleware %s has one type, and it is %s: %s needs a middleware of its "
                           "own, and a chain joins them",
                           m->name, first->key, n->key);
            return;
        }
        first = n;
        for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
            if (strcasecmp(n->key, types[i].type) != 0)
                continue;
            m->kind = types[i].kind;
            types[i].build(b, build_at(p, types[i].type), m);
        }
    }
    if (!first && !p.node->first)
        problems_error(b->problems, p.node->key_at,
                       "middleware %s needs a type, such as [http.middlewares.%s.headers]", m->name,
                       m->name);
}

static const char *middleware_name(const struct config *config, uint32_t i)
{
    return config->middlewares[i].name;
}

/* ---- lists ---------------------------------------------------------------------------------- */

static struct config_middleware_list resolve(struct build *b, const struct names *names,
                                             struct place list)
{
    struct config_middleware_list out = {0};
    out.items = arena_alloc(b->arena, (build_count(list) + 1) * sizeof *out.items);
    for (const struct node *n = NULL; (n = build_next(list, n));) {
        uint32_t index = build_refer(b, names, n, n->text, "middleware");
        if (index != UINT32_MAX)
            out.items[out.count++] = index;
    }
    return out;
}

struct walk {
    struct build *b;
    bool *open; /* chains that the walk is in */
    struct config_middleware_list list;
    uint32_t in_flight;
    bool full; /* more than LIST_MAX */
};

/* False: a chain leads to itself. */
static bool walk_list(struct walk *w, const struct config_middleware_list *list)
{
    for (uint32_t i = 0; i < list->count && !w->full; i++) {
        uint32_t index = list->items[i];
        const struct config_middleware *m = &w->b->config->middlewares[index];
        if (m->kind == CONFIG_MIDDLEWARE_CHAIN) {
            if (w->open[index])
                return false;
            w->open[index] = true;
            bool good = walk_list(w, &m->chain);
            w->open[index] = false;
            if (!good)
                return false;
        } else if (w->list.count == LIST_MAX) {
            w->full = true;
        } else if (m->kind) {
            w->list.items[w->list.count++] = index;
            w->in_flight += m->kind == CONFIG_MIDDLEWARE_IN_FLIGHT;
        }
    }
    return true;
}

struct config_middleware_list build_middleware_list(struct build *b, const struct names *names,
                                                    struct place place)
{
    struct config_middleware_list written = resolve(b, names, place);
    struct walk w = {.b = b};
    if (written.count == 0)
        return w.list;
    w.open = mem_zalloc(b->config->middleware_count + 1);
    w.list.items = arena_alloc(b->arena, LIST_MAX * sizeof *w.list.items);
    (void)walk_list(&w, &written); /* circles were reported and cut */
    free(w.open);
    if (w.full)
        problems_error(b->problems, place.node->at,
                       "%s: at most %d middlewares, those of chains counted",
                       tree_path(b->arena, place.node), LIST_MAX);
    else if (w.in_flight > IN_FLIGHT_MAX)
        problems_error(b->problems, place.node->at, "%s: at most %d inFlightReq in one list",
                       tree_path(b->arena, place.node), IN_FLIGHT_MAX);
    return w.list;
}

/* A circle is reported at the first chain of it in the file, and cut there. */
static void check_circles(struct build *b, struct place all)
{
    struct config *c = b->config;
    uint32_t i = 0;
    struct walk w = {.b = b, .open = mem_zalloc(c->middleware_count + 1)};
    w.list.items = mem_alloc(LIST_MAX * sizeof *w.list.items);
    for (const struct node *n = NULL; (n = build_next(all, n)); i++) {
        struct config_middleware *m = &c->middlewares[i];
        if (m->kind != CONFIG_MIDDLEWARE_CHAIN)
            continue;
        w.list.count = 0;
        w.full = false;
        w.open[i] = true;
        if (!walk_list(&w, &m->chain)) {
            problems_error(b->problems, n->key_at, "chain %s leads back to itself", m->name);
            m->chain.count = 0;
        }
        w.open[i] = false;
    }
    free(w.list.items);
    free(w.open);
}

void build_middlewares(struct build *b)
{
    struct place all = build_at(b->root, "http.middlewares");
    struct config *c = b->config;
    uint32_t count = build_count(all) + build_count(build_at(b->root, "tcp.middlewares"));
    c->middlewares = arena_alloc(b->arena, (count + 1) * sizeof *c->middlewares);
    for (const struct node *n = NULL; (n = build_next(all, n));)
        build_one(b, build_child(all, n), &c->middlewares[c->middleware_count++]);
    build_names(b, &b->middleware_names, c->middleware_count, middleware_name);
    uint32_t i = 0;
    for (const struct node *n = NULL; (n = build_next(all, n)); i++) {
        if (c->middlewares[i].kind == CONFIG_MIDDLEWARE_CHAIN)
            c->middlewares[i].chain = resolve(b, &b->middleware_names,
                                              build_at(build_child(all, n), "chain.middlewares"));
    }
    check_circles(b, all);
    for (i = 0; i < c->entrypoint_count; i++)
        c->entrypoints[i].middlewares = build_middleware_list(
            b, &b->middleware_names, build_at(b->entry_places[i], "http.middlewares"));
    build_tcp_middlewares(b);
}

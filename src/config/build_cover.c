/* SPDX-License-Identifier: Apache-2.0 */
/* Warns of certificates that no router's host needs, and of hosts that have none. */
#include "config/build.h"

#include "config/pair.h"

#include <stdlib.h>

/* Names in order, for look-ups. */
struct name_set {
    const char **items;
    uint32_t count, room;
};

static void add(void *arg, const char *name)
{
    struct name_set *s = arg;
    if (s->count == s->room) {
        s->room = s->room ? 2 * s->room : 64;
        s->items = mem_grow(s->items, s->room * sizeof *s->items);
    }
    s->items[s->count++] = name;
}

static int compare(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static void sort(struct name_set *s)
{
    if (s->count)
        qsort(s->items, s->count, sizeof *s->items, compare);
}

static bool holds(const struct name_set *s, const char *name)
{
    return s->count && bsearch(&name, s->items, s->count, sizeof *s->items, compare);
}

struct cover {
    struct build *b;
    struct x509 *leaves;      /* one per certificate from files, and the default one; those of
                               * cold ones are borrowed */
    struct name_set hosts;    /* that routers with TLS ask for */
    struct name_set parents;  /* what a wildcard for each of them has behind its star */
    struct name_set provided; /* names of certificates, from files and from authorities */
    bool any_host;            /* a router takes every host, or there is a tcp part */
};

static void collect_hosts(struct cover *v)
{
    const struct config *c = v->b->config;
    v->any_host = build_at(v->b->root, "tcp.routers").node;
    for (uint32_t i = 0; i < c->router_count; i++) {
        const struct config_router *r = &c->routers[i];
        uint32_t before = v->hosts.count;
        if (!r->tls)
            continue;
        rule_hosts(&r->rule, add, &v->hosts);
        v->any_host = v->any_host || v->hosts.count == before;
        for (uint32_t k = 0; r->resolver != UINT32_MAX && k < r->domain_count; k++)
            for (uint32_t n = 0; n < r->domains[k].count; n++)
                add(&v->provided, r->domains[k].names[n]);
    }
    for (uint32_t i = 0; i < v->hosts.count; i++) {
        const char *dot = strchr(v->hosts.items[i], '.');
        if (dot)
            add(&v->parents, dot);
    }
    for (uint32_t i = 0; i < c->resolver_count; i++)
        for (uint32_t k = 0; k < c->resolvers[i].domain_count; k++)
            for (uint32_t n = 0; n < c->resolvers[i].domains[k].count; n++)
                add(&v->provided, c->resolvers[i].domains[k].names[n]);
}

static void read_leaf(struct cover *v, const struct config_certificate *cert, struct x509 *ret)
{
    struct reader in = reader_of(buf_span(&cert->chain));
    struct why why;
    if (cert->facts)
        *ret = cert->facts->leaf;
    else if (!result_is_ok(x509_parse(reader_bytes(&in, reader_be(&in, 3)), ret, &why)))
        return;
    for (uint32_t i = 0; i < ret->name_count; i++)
        add(&v->provided, ret->names[i]);
}

static bool is_needed(const struct cover *v, const struct x509 *leaf)
{
    bool needed = leaf->name_count == 0; /* was told of already */
    for (uint32_t i = 0; i < leaf->name_count && !needed; i++) {
        const char *name = leaf->names[i];
        struct span text = span_str(name);
        bool address = span_find(text, ':') < text.len || strspn(name, "0123456789.") == text.len;
        needed =
            address || (name[0] == '*' ? holds(&v->parents, name + 1) : holds(&v->hosts, name));
    }
    return needed;
}

static void warn_of_unused(const struct cover *v)
{
    const struct config *c = v->b->config;
    for (uint32_t i = 0; i < c->certificate_count && !v->any_host && v->hosts.count; i++)
        if (!is_needed(v, &v->leaves[i]))
            problems_warn(v->b->problems, c->certificates[i].where,
                          "%s: no router with TLS has a host that the certificate of %s is for",
                          c->certificates[i].cert_file, v->leaves[i].names[0]);
}

struct bare {
    const struct cover *v;
    const struct config_router *router;
};

static void judge_host(void *arg, const char *host)
{
    const struct bare *bare = arg;
    const struct cover *v = bare->v;
    const char *dot = strchr(host, '.');
    char *wildcard = mem_printf("*%s", dot ? dot : "");
    if (!holds(&v->provided, host) && !(dot && holds(&v->provided, wildcard)))
        problems_warn(v->b->problems, bare->router->where,
                      "router %s: no certificate is for %s, and no resolver is to obtain one: "
                      "clients get the default certificate",
                      bare->router->name, host);
    free(wildcard);
}

void build_cover(struct build *b)
{
    const struct config *c = b->config;
    struct cover v = {.b = b, .leaves = mem_zalloc((c->certificate_count + 1) * sizeof *v.leaves)};
    collect_hosts(&v);
    for (uint32_t i = 0; i < c->certificate_count; i++)
        read_leaf(&v, &c->certificates[i], &v.leaves[i]);
    if (c->default_certificate)
        read_leaf(&v, c->default_certificate, &v.leaves[c->certificate_count]);
    sort(&v.hosts);
    sort(&v.parents);
    sort(&v.provided);
    warn_of_unused(&v);
    for (uint32_t i = 0; i < c->router_count; i++) {
        struct bare bare = {&v, &c->routers[i]};
        /* Without any certificate the default one is meant. */
        if (bare.router->tls && c->certificate_count && b->problems->errors == 0)
            rule_hosts(&bare.router->rule, judge_host, &bare);
    }
    for (uint32_t i = 0; i <= c->certificate_count; i++)
        if (i == c->certificate_count || !c->certificates[i].facts)
            x509_free(&v.leaves[i]);
    free(v.leaves);
    free(v.hosts.items);
    free(v.parents.items);
    free(v.provided.items);
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "control/wants.h"

#include "base/log.h"
#include "crypto/x509.h"

#include <stdlib.h>

/* ---- collecting -------------------------------------------------------------------------------
 */

static void make_label(struct want *w)
{
    struct buf text = {0};
    for (uint32_t i = 0; i < w->count; i++)
        buf_printf(&text, "%s%s", i ? ", " : "", w->names[i]);
    w->label = buf_cstr(&text);
}

static bool has_name(const struct want *w, const char *name)
{
    for (uint32_t i = 0; i < w->count; i++)
        if (!strcmp(w->names[i], name))
            return true;
    return false;
}

static void want_fini(struct want *w)
{
    free(w->names);
    free(w->label);
    free(w->ari);
}

static void add(struct wants *wants, uint32_t *cap, struct resolver *resolver,
                const struct config_domain *domain)
{
    struct want w = {.resolver = resolver};
    if (!domain->count)
        return;
    w.names = mem_zalloc(domain->count * sizeof *w.names);
    for (uint32_t i = 0; i < domain->count; i++)
        if (!has_name(&w, domain->names[i]))
            w.names[w.count++] = domain->names[i];
    if (w.count > ORDER_NAMES_MAX) {
        log_error("%s and %u other names: a certificate can have at most %d names; split "
                  "tls.domains",
                  w.names[0], w.count - 1, ORDER_NAMES_MAX);
        want_fini(&w);
        return;
    }
    order_id_make(resolver->config->name, resolver->config->ca_server, w.names, w.count, w.id);
    make_label(&w);
    if (wants->count == *cap) {
        *cap = *cap ? *cap * 2 : 64;
        wants->items = mem_grow(wants->items, *cap * sizeof *wants->items);
    }
    wants->items[wants->count++] = w;
}

static int compare_ids(const void *a, const void *b)
{
    const struct want *x = a, *y = b;
    return strcmp(x->id, y->id);
}

static void drop_equals(struct wants *wants)
{
    uint32_t kept = 0;
    for (uint32_t i = 0; i < wants->count; i++) {
        if (kept && !strcmp(wants->items[kept - 1].id, wants->items[i].id))
            want_fini(&wants->items[i]);
        else
            wants->items[kept++] = wants->items[i];
    }
    wants->count = kept;
}

/* ---- coverage ---------------------------------------------------------------------------------
 */

/* One name of one want; sorted by name, wants with more names first. */
struct ref {
    const char *name;
    uint32_t want, count;
};

static int compare_refs(const void *a, const void *b)
{
    const struct ref *x = a, *y = b;
    int c = strcmp(x->name, y->name);
    return c ? c : x->count > y->count ? -1 : x->count < y->count;
}

static const struct ref *first_ref(const struct ref *refs, uint32_t count, const char *name)
{
    uint32_t low = 0, high = count;
    while (low < high) {
        uint32_t mid = low + (high - low) / 2;
        if (strcmp(refs[mid].name, name) < 0)
            low = mid + 1;
        else
            high = mid;
    }
    return low < count && !strcmp(refs[low].name, name) ? &refs[low] : NULL;
}

static bool covers(const struct want *big, const struct want *small)
{
    for (uint32_t i = 0; i < small->count; i++) {
        bool found = false;
        for (uint32_t k = 0; k < big->count && !found; k++)
            found = !strcmp(big->names[k], small->names[i]) ||
                    (small->names[i][0] != '*' && x509_name_covers(big->names[k], small->names[i]));
        if (!found)
            return false;
    }
    return true;
}

/* Another set of the same resolver with this name in it that covers all of `w`. Of two that cover
 * each other (equal sets are gone already) the one with more names stays. */
static const struct want *cover_by(const struct wants *wants, const struct ref *refs,
                                   uint32_t ref_count, const struct want *w, const char *name)
{
    const struct ref *r = first_ref(refs, ref_count, name);
    for (; r && r < refs + ref_count && !strcmp(r->name, name); r++) {
        const struct want *other = &wants->items[r->want];
        if (other == w || other->resolver != w->resolver || other->count < w->count)
            continue;
        if (covers(other, w) && (other->count > w->count || !covers(w, other)))
            return other;
    }
    return NULL;
}

static const struct want *find_cover(const struct wants *wants, const struct ref *refs,
                                     uint32_t ref_count, const struct want *w)
{
    const struct want *other = cover_by(wants, refs, ref_count, w, w->names[0]);
    const char *dot = strchr(w->names[0], '.');
    if (other || !dot || w->names[0][0] == '*')
        return other;
    char *wildcard = mem_printf("*%s", dot);
    other = cover_by(wants, refs, ref_count, w, wildcard);
    free(wildcard);
    return other;
}

static void drop_covered(struct wants *wants)
{
    uint32_t ref_count = 0, kept = 0;
    for (uint32_t i = 0; i < wants->count; i++)
        ref_count += wants->items[i].count;
    struct ref *refs = mem_zalloc(ref_count * sizeof *refs);
    bool *covered = mem_zalloc(wants->count * sizeof *covered);
    ref_count = 0;
    for (uint32_t i = 0; i < wants->count; i++)
        for (uint32_t k = 0; k < wants->items[i].count; k++)
            refs[ref_count++] = (struct ref){wants->items[i].names[k], i, wants->items[i].count};
    qsort(refs, ref_count, sizeof *refs, compare_refs);
    for (uint32_t i = 0; i < wants->count; i++) {
        const struct want *other = find_cover(wants, refs, ref_count, &wants->items[i]);
        covered[i] = other != NULL;
        if (other)
            log_info("%s: no certificate of its own: the one for %s covers it",
                     wants->items[i].label, other->label);
    }
    for (uint32_t i = 0; i < wants->count; i++) {
        if (covered[i])
            want_fini(&wants->items[i]);
        else
            wants->items[kept++] = wants->items[i];
    }
    wants->count = kept;
    free(covered);
    free(refs);
}

/* ---- interface --------------------------------------------------------------------------------
 */

void wants_collect(const struct config *config, struct resolver_set *resolvers, struct wants *ret)
{
    uint32_t cap = 0;
    *ret = (struct wants){0};
    for (uint32_t i = 0; i < config->router_count + config->tcp_router_count; i++) {
        const struct config_router *r = i < config->router_count
                                            ? &config->routers[i]
                                            : &config->tcp_routers[i - config->router_count];
        if (!r->tls || r->resolver == UINT32_MAX)
            continue;
        for (uint32_t k = 0; k < r->domain_count; k++)
            add(ret, &cap, &resolvers->items[r->resolver], &r->domains[k]);
    }
    for (uint32_t i = 0; i < config->resolver_count; i++)
        for (uint32_t k = 0; k < config->resolvers[i].domain_count; k++)
            add(ret, &cap, &resolvers->items[i], &config->resolvers[i].domains[k]);
    if (!ret->count)
        return;
    qsort(ret->items, ret->count, sizeof *ret->items, compare_ids);
    drop_equals(ret);
    drop_covered(ret);
}

void wants_free(struct wants *wants)
{
    for (uint32_t i = 0; i < wants->count; i++)
        want_fini(&wants->items[i]);
    free(wants->items);
    *wants = (struct wants){0};
}

struct want *wants_find(struct wants *wants, const char *id)
{
    struct want key = {0};
    if (strlen(id) != ORDER_ID_LEN || !wants->count)
        return NULL;
    memcpy(key.id, id, ORDER_ID_LEN);
    return bsearch(&key, wants->items, wants->count, sizeof *wants->items, compare_ids);
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "config/build.h"

#include <ctype.h>

static void add_name(struct build *b, struct config_domain *d, const char *name)
{
    char *copy = arena_strdup(b->arena, name);
    size_t len = strlen(copy);
    for (size_t i = 0; i < len; i++)
        copy[i] = (char)tolower((unsigned char)copy[i]);
    if (len > 1 && copy[len - 1] == '.')
        copy[len - 1] = 0;
    for (uint32_t i = 0; i < d->count; i++) {
        if (strcmp(d->names[i], copy) == 0)
            return;
    }
    d->names[d->count++] = copy;
}

struct config_domain *build_domains(struct build *b, struct place list, uint32_t *ret_count)
{
    uint32_t count = build_count(list), used = 0;
    struct config_domain *domains = arena_alloc(b->arena, (count + 1) * sizeof *domains);
    for (const struct node *n = NULL; (n = build_next(list, n));) {
        struct place p = {n, list.schema};
        struct place sans = build_at(p, "sans");
        struct config_domain *d = &domains[used];
        d->names = arena_alloc(b->arena, (build_count(sans) + 1) * sizeof *d->names);
        const struct node *first = build_at(p, "main").node;
        if (first)
            add_name(b, d, first->text);
        else if (!sans.node || !sans.node->first)
            build_required(b, p, "main");
        for (const struct node *san = NULL; (san = build_next(sans, san));)
            add_name(b, d, san->text);
        if (d->count > CONFIG_DOMAIN_NAMES_MAX)
            problems_error(b->problems, n->at, "a certificate has at most %d names, not %u",
                           CONFIG_DOMAIN_NAMES_MAX, d->count);
        used += d->count > 0;
    }
    *ret_count = used;
    return domains;
}

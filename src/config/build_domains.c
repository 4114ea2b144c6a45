/* SPDX-License-Identifier: Apache-2.0 */
#include "config/build.h"

#include <arpa/inet.h>
#include <ctype.h>

const char *build_certificate_name(struct build *b, const char *name)
{
    char *copy = arena_strdup(b->arena, name);
    size_t len = strlen(copy);
    uint8_t ip[16];
    for (size_t i = 0; i < len; i++)
        copy[i] = (char)tolower((unsigned char)copy[i]);
    if (len > 1 && copy[len - 1] == '.')
        copy[len - 1] = 0;
    if (len > 2 && copy[0] == '[' && copy[len - 1] == ']') {
        copy[len - 1] = 0;
        copy++;
    }
    int family = strchr(copy, ':') ? AF_INET6 : AF_INET;
    if (inet_pton(family, copy, ip) == 1) { /* as certificates and sockets have it */
        char text[INET6_ADDRSTRLEN];
        copy = arena_strdup(b->arena, inet_ntop(family, ip, text, sizeof text));
    }
    return copy;
}

static void add_name(struct build *b, struct config_domain *d, const char *name)
{
    const char *copy = build_certificate_name(b, name);
    for (uint32_t i = 0; i < d->count; i++) {
        if (strcmp(d->names[i], copy) == 0)
            return;
    }
    d->names[d->count++] = copy;
}

void build_domain(struct build *b, struct place table, struct config_domain *ret)
{
    struct place sans = build_at(table, "sans");
    ret->names = arena_alloc(b->arena, (build_count(sans) + 1) * sizeof *ret->names);
    const struct node *first = build_at(table, "main").node;
    if (first)
        add_name(b, ret, first->text);
    else if (!sans.node || !sans.node->first)
        build_required(b, table, "main");
    for (const struct node *san = NULL; (san = build_next(sans, san));)
        add_name(b, ret, san->text);
    if (ret->count > CONFIG_DOMAIN_NAMES_MAX)
        problems_error(b->problems, table.node->at, "a certificate has at most %d names, not %u",
                       CONFIG_DOMAIN_NAMES_MAX, ret->count);
}

struct config_domain *build_domains(struct build *b, struct place list, uint32_t *ret_count)
{
    uint32_t count = build_count(list), used = 0;
    struct config_domain *domains = arena_alloc(b->arena, (count + 1) * sizeof *domains);
    for (const struct node *n = NULL; (n = build_next(list, n));) {
        build_domain(b, (struct place){n, list.schema}, &domains[used]);
        used += domains[used].count > 0;
    }
    *ret_count = used;
    return domains;
}

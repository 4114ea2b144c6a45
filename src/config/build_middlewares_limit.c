/* SPDX-License-Identifier: Apache-2.0 */
/* Middlewares that judge by who asks, or how often. */
#include "config/build.h"

#include "base/must.h"

static void build_strategy(struct build *b, struct place p, struct config_ip_strategy *ip)
{
    ip->depth = (uint32_t)build_int(p, "depth");
    ip->excluded.items = build_list(b, p, "excludedIPs", &ip->excluded.count);
    ip->ipv6_bits = (uint8_t)build_int(p, "ipv6Subnet");
    if (ip->depth && ip->excluded.count)
        problems_warn(b->problems, p.node->key_at, "%s: depth is given, excludedIPs is not used",
                      tree_path(b->arena, p.node));
}

static void build_allow(struct build *b, struct place p, struct config_middleware *m)
{
    bool older = strcasecmp(p.schema->name, "ipWhiteList") == 0;
    if (older)
        problems_warn(b->problems, p.node->key_at, "ipWhiteList is the older name of ipAllowList");
    build_strategy(b, build_at(p, "ipStrategy"), &m->allow.ip);
    m->allow.status = older ? 403 : (uint16_t)build_int(p, "rejectStatusCode");
    if (!build_required(b, p, "sourceRange"))
        return;
    m->allow.ranges.items = build_list(b, p, "sourceRange", &m->allow.ranges.count);
    if (m->allow.ranges.count == 0)
        problems_error(b->problems, p.node->key_at, "%s lets nobody in: sourceRange is empty",
                       tree_path(b->arena, p.node));
}

/* Traefik's defaults differ: rateLimit counts by address, inFlightReq by host. */
static void build_source(struct build *b, struct place p, enum config_source_kind preset,
                         struct config_source *s)
{
    struct place ip = build_at(p, "ipStrategy");
    const struct node *header = build_at(p, "requestHeaderName").node;
    bool host = build_bool(p, "requestHost"), named = header && *header->text;
    s->kind = ip.node ? CONFIG_SOURCE_IP
              : named ? CONFIG_SOURCE_HEADER
              : host  ? CONFIG_SOURCE_HOST
                      : preset;
    s->header = named ? arena_strdup(b->arena, header->text) : "";
    build_strategy(b, ip, &s->ip);
    if ((ip.node != NULL) + named + host > 1)
        problems_error(b->problems, p.node->key_at,
                       "%s: one of ipStrategy, requestHeaderName and requestHost",
                       tree_path(b->arena, p.node));
    if (named)
        build_field_is_good(b, header, header->text, "");
}

void build_middlewares_limit(struct build *b, struct place p, struct config_middleware *m)
{
    struct place source;
    switch (m->kind) {
    case CONFIG_MIDDLEWARE_ALLOW_LIST:
        build_allow(b, p, m);
        break;
    case CONFIG_MIDDLEWARE_RATE_LIMIT:
        source = build_at(p, "sourceCriterion");
        m->limit.average = (uint64_t)build_int(p, "average");
        m->limit.period_ms = build_ms(p, "period");
        m->limit.burst = (uint64_t)build_int(p, "burst");
        build_source(b, source, CONFIG_SOURCE_IP, &m->limit.source);
        break;
    case CONFIG_MIDDLEWARE_IN_FLIGHT:
        source = build_at(p, "sourceCriterion");
        build_source(b, source, CONFIG_SOURCE_HOST, &m->limit.source);
        if (build_required(b, p, "amount"))
            m->limit.amount = (uint64_t)build_int(p, "amount");
        break;
    default:
        never();
    }
}

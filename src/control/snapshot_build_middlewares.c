/* SPDX-License-Identifier: Apache-2.0 */
/* Middlewares of the configuration as those of a snapshot. */
#include "control/snapshot_build.h"

#include "base/must.h"

#define SAME(name) ((int)SNAP_MIDDLEWARE_##name == (int)CONFIG_MIDDLEWARE_##name)
_Static_assert(SAME(REDIRECT_SCHEME) && SAME(REDIRECT_REGEX) && SAME(HEADERS) &&
                   SAME(STRIP_PREFIX) && SAME(STRIP_PREFIX_REGEX) && SAME(ADD_PREFIX) &&
                   SAME(REPLACE_PATH) && SAME(REPLACE_PATH_REGEX) && SAME(ALLOW_LIST) &&
                   SAME(RATE_LIMIT) && SAME(IN_FLIGHT) && SAME(BASIC_AUTH) && SAME(RETRY) &&
                   (int)SNAP_SOURCE_IP == (int)CONFIG_SOURCE_IP &&
                   (int)SNAP_SOURCE_HOST == (int)CONFIG_SOURCE_HOST &&
                   (int)SNAP_SOURCE_HEADER == (int)CONFIG_SOURCE_HEADER,
               "kinds are copied as numbers");
_Static_assert(SNAP_MIDDLEWARES_MAX == CONFIG_MIDDLEWARES_MAX &&
                   SNAP_IN_FLIGHT_MAX == CONFIG_IN_FLIGHT_MAX,
               "what the configuration allows, workers can hold");

static struct snap_range put_texts(struct snapshot *s, const struct config_texts *texts)
{
    struct snap_range range = {s->text_count, texts->count};
    s->texts = mem_grow(s->texts, (s->text_count + texts->count + 1) * sizeof *s->texts);
    for (uint32_t i = 0; i < texts->count; i++)
        s->texts[s->text_count++].text = span_str(texts->items[i]);
    return range;
}

static struct snap_range put_pairs(struct snapshot *s, const struct config_pairs *pairs)
{
    struct snap_range range = {s->pair_count, pairs->count};
    s->pairs = mem_grow(s->pairs, (s->pair_count + pairs->count + 1) * sizeof *s->pairs);
    for (uint32_t i = 0; i < pairs->count; i++) {
        const struct config_pair *p = &pairs->items[i];
        s->pairs[s->pair_count++] =
            (struct snap_pair){span_str(p->name), span_str(p->value), p->only_tls};
    }
    return range;
}

static struct snap_range put_prefixes(struct snapshot *s, const struct config_texts *nets)
{
    struct snap_range range = {s->prefix_count, nets->count};
    s->prefixes = mem_grow(s->prefixes, (s->prefix_count + nets->count + 1) * sizeof *s->prefixes);
    for (uint32_t i = 0; i < nets->count; i++)
        s->prefixes[s->prefix_count++] = snapshot_build_prefix(nets->items[i]);
    return range;
}

static struct snap_ip_strategy strategy(struct snapshot *s, const struct config_ip_strategy *c)
{
    return (struct snap_ip_strategy){c->depth, put_prefixes(s, &c->excluded), c->ipv6_bits};
}

static struct snap_headers headers(struct snapshot *s, const struct config_headers *c)
{
    return (struct snap_headers){
        .request = put_pairs(s, &c->request),
        .response = put_pairs(s, &c->response),
        .tls_fields = put_pairs(s, &c->tls_fields),
        .hosts = put_texts(s, &c->hosts),
        .host_fields = put_texts(s, &c->host_fields),
        .origins = put_texts(s, &c->origins),
        .origin_regexes = put_texts(s, &c->origin_regexes),
        .allow_headers = span_str(c->allow_headers),
        .allow_methods = span_str(c->allow_methods),
        .expose_headers = span_str(c->expose_headers),
        .max_age = span_str(c->max_age),
        .any_header = c->any_header,
        .any_method = c->any_method,
        .any_exposed = c->any_exposed,
        .credentials = c->credentials,
        .vary = c->vary,
        .cors = c->cors,
    };
}

/* A worker's part, rounded up: nothing that is allowed becomes impossible. */
static uint64_t share(uint64_t whole, uint32_t workers)
{
    uint64_t part = whole / workers + (whole % workers != 0);
    return part ? part : 1;
}

static struct snap_limit limit(struct snapshot *s, const struct config *config,
                               const struct config_middleware *c)
{
    return (struct snap_limit){
        .average = c->limit.average,
        /* The same number of requests in as many times the time: no rounding. */
        .period_ns = (c->limit.period_ms ? c->limit.period_ms : 1) * 1000000 * config->workers,
        .burst = share(c->limit.burst, config->workers),
        .amount = share(c->limit.amount, config->workers),
        .source = {.kind = (uint8_t)c->limit.source.kind,
                   .header = span_str(c->limit.source.header),
                   .ip = strategy(s, &c->limit.source.ip)},
    };
}

static void build_one(struct snapshot *s, const struct config *config,
                      const struct config_middleware *c, struct snap_middleware *m)
{
    m->name = span_str(c->name);
    m->kind = (uint32_t)c->kind;
    switch (c->kind) {
    case CONFIG_MIDDLEWARE_REDIRECT_SCHEME:
    case CONFIG_MIDDLEWARE_REDIRECT_REGEX:
    case CONFIG_MIDDLEWARE_REPLACE_PATH_REGEX:
        m->redirect = (struct snap_redirect){
            span_str(c->redirect.scheme), span_str(c->redirect.port), span_str(c->redirect.regex),
            span_str(c->redirect.replacement), c->redirect.permanent};
        break;
    case CONFIG_MIDDLEWARE_HEADERS:
        m->headers = headers(s, &c->headers);
        break;
    case CONFIG_MIDDLEWARE_STRIP_PREFIX:
    case CONFIG_MIDDLEWARE_STRIP_PREFIX_REGEX:
    case CONFIG_MIDDLEWARE_ADD_PREFIX:
    case CONFIG_MIDDLEWARE_REPLACE_PATH:
        m->path = (struct snap_path){span_str(c->path.text), put_texts(s, &c->path.list),
                                     c->path.force_slash};
        break;
    case CONFIG_MIDDLEWARE_ALLOW_LIST:
        m->allow.ranges = put_prefixes(s, &c->allow.ranges);
        m->allow.ip = strategy(s, &c->allow.ip);
        m->allow.status = c->allow.status;
        break;
    case CONFIG_MIDDLEWARE_RATE_LIMIT:
    case CONFIG_MIDDLEWARE_IN_FLIGHT:
        m->limit = limit(s, config, c);
        break;
    case CONFIG_MIDDLEWARE_BASIC_AUTH:
        m->auth = (struct snap_auth){span_str(c->auth.realm), span_str(c->auth.header_field),
                                     c->auth.remove_header, put_pairs(s, &c->auth.users)};
        break;
    case CONFIG_MIDDLEWARE_RETRY:
        m->retry = (struct snap_retry){c->retry.attempts, c->retry.interval_ms};
        break;
    case CONFIG_MIDDLEWARE_CHAIN:
        never();
    }
}

void snapshot_build_middlewares(struct snapshot *s, const struct config *config,
                                uint32_t *ret_indices)
{
    s->middlewares = mem_zalloc(config->middleware_count * sizeof *s->middlewares);
    for (uint32_t i = 0; i < config->middleware_count; i++) {
        const struct config_middleware *c = &config->middlewares[i];
        ret_indices[i] = SNAP_NONE;
        if (c->kind == CONFIG_MIDDLEWARE_CHAIN)
            continue;
        ret_indices[i] = s->middleware_count;
        build_one(s, config, c, &s->middlewares[s->middleware_count++]);
    }
}

struct snap_range snapshot_build_steps(struct snapshot *s, const uint32_t *indices,
                                       const struct config_middleware_list *outer,
                                       const struct config_middleware_list *inner)
{
    const struct config_middleware_list *lists[] = {outer, inner};
    struct snap_range range = {s->step_count, outer->count + inner->count};
    if (range.count)
        s->steps = mem_grow(s->steps, (s->step_count + range.count) * sizeof *s->steps);
    for (int k = 0; k < 2; k++) {
        for (uint32_t i = 0; i < lists[k]->count; i++) {
            uint32_t index = indices[lists[k]->items[i]];
            must(index != SNAP_NONE);
            s->steps[s->step_count++].middleware = index;
        }
    }
    return range;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Middlewares on the wire: a family sends only what is its own. */
#include "bridge/snapshot_coder.h"

static void code_range(struct coder *c, struct snap_range *r)
{
    code_u32(c, &r->first);
    code_u32(c, &r->count);
}

void code_text(struct coder *c, struct snap_text *t)
{
    code_span(c, &t->text);
}

void code_pair(struct coder *c, struct snap_pair *p)
{
    code_span(c, &p->name);
    code_span(c, &p->value);
    code_bool(c, &p->only_tls);
}

void code_step(struct coder *c, struct snap_step *s)
{
    code_u32(c, &s->middleware);
}

static void code_strategy(struct coder *c, struct snap_ip_strategy *s)
{
    code_u32(c, &s->depth);
    code_range(c, &s->excluded);
    code_u8(c, &s->ipv6_bits);
}

static void code_source(struct coder *c, struct snap_source *s)
{
    code_u8(c, &s->kind);
    code_span(c, &s->header);
    code_strategy(c, &s->ip);
}

static void code_redirect(struct coder *c, struct snap_redirect *r)
{
    code_span(c, &r->scheme);
    code_span(c, &r->port);
    code_span(c, &r->regex);
    code_span(c, &r->replacement);
    code_bool(c, &r->permanent);
}

static void code_headers(struct coder *c, struct snap_headers *h)
{
    struct snap_range *ranges[] = {&h->request,     &h->response, &h->tls_fields,    &h->hosts,
                                   &h->host_fields, &h->origins,  &h->origin_regexes};
    struct span *spans[] = {&h->allow_headers, &h->allow_methods, &h->expose_headers, &h->max_age};
    bool *bools[] = {&h->any_header,  &h->any_method, &h->any_exposed,
                     &h->credentials, &h->vary,       &h->cors};
    for (size_t i = 0; i < sizeof ranges / sizeof *ranges; i++)
        code_range(c, ranges[i]);
    for (size_t i = 0; i < sizeof spans / sizeof *spans; i++)
        code_span(c, spans[i]);
    for (size_t i = 0; i < sizeof bools / sizeof *bools; i++)
        code_bool(c, bools[i]);
}

static void code_limit(struct coder *c, struct snap_limit *l)
{
    code_u64(c, &l->average);
    code_u64(c, &l->period_ns);
    code_u64(c, &l->burst);
    code_u64(c, &l->amount);
    code_source(c, &l->source);
}

static void code_auth(struct coder *c, struct snap_auth *a)
{
    code_span(c, &a->realm);
    code_span(c, &a->header_field);
    code_bool(c, &a->remove_header);
    code_range(c, &a->users);
}

void code_middleware(struct coder *c, struct snap_middleware *m)
{
    code_span(c, &m->name);
    code_u32(c, &m->kind);
    switch ((enum snap_middleware_kind)m->kind) {
    case SNAP_MIDDLEWARE_REDIRECT_SCHEME:
    case SNAP_MIDDLEWARE_REDIRECT_REGEX:
    case SNAP_MIDDLEWARE_REPLACE_PATH_REGEX:
        code_redirect(c, &m->redirect);
        break;
    case SNAP_MIDDLEWARE_HEADERS:
        code_headers(c, &m->headers);
        break;
    case SNAP_MIDDLEWARE_STRIP_PREFIX:
    case SNAP_MIDDLEWARE_STRIP_PREFIX_REGEX:
    case SNAP_MIDDLEWARE_ADD_PREFIX:
    case SNAP_MIDDLEWARE_REPLACE_PATH:
        code_span(c, &m->path.text);
        code_range(c, &m->path.list);
        code_bool(c, &m->path.force_slash);
        break;
    case SNAP_MIDDLEWARE_ALLOW_LIST:
        code_range(c, &m->allow.ranges);
        code_strategy(c, &m->allow.ip);
        code_u16(c, &m->allow.status);
        break;
    case SNAP_MIDDLEWARE_RATE_LIMIT:
    case SNAP_MIDDLEWARE_IN_FLIGHT:
        code_limit(c, &m->limit);
        break;
    case SNAP_MIDDLEWARE_BASIC_AUTH:
        code_auth(c, &m->auth);
        break;
    case SNAP_MIDDLEWARE_RETRY:
        code_u32(c, &m->retry.attempts);
        code_u32(c, &m->retry.interval_ms);
        break;
    default:
        c->in.bad = true;
    }
}

/* ---- checks --------------------------------------------------------------------------------- */

static bool strategy_ok(const struct snapshot *s, const struct snap_ip_strategy *ip)
{
    return range_ok(ip->excluded.first, ip->excluded.count, s->prefix_count) &&
           ip->ipv6_bits <= 128;
}

static bool texts_ok(const struct snapshot *s, struct snap_range r)
{
    return range_ok(r.first, r.count, s->text_count);
}

static bool pairs_ok(const struct snapshot *s, struct snap_range r)
{
    return range_ok(r.first, r.count, s->pair_count);
}

static bool headers_ok(const struct snapshot *s, const struct snap_headers *h)
{
    return pairs_ok(s, h->request) && pairs_ok(s, h->response) && pairs_ok(s, h->tls_fields) &&
           texts_ok(s, h->hosts) && texts_ok(s, h->host_fields) && texts_ok(s, h->origins) &&
           texts_ok(s, h->origin_regexes);
}

static bool limit_ok(const struct snapshot *s, const struct snap_limit *l)
{
    return l->burst >= 1 && l->amount >= 1 && l->period_ns >= 1 &&
           l->source.kind >= SNAP_SOURCE_IP && l->source.kind <= SNAP_SOURCE_HEADER &&
           strategy_ok(s, &l->source.ip);
}

bool snapshot_middleware_ok(const struct snapshot *s, const struct snap_middleware *m)
{
    switch ((enum snap_middleware_kind)m->kind) {
    case SNAP_MIDDLEWARE_REDIRECT_SCHEME:
    case SNAP_MIDDLEWARE_REDIRECT_REGEX:
    case SNAP_MIDDLEWARE_REPLACE_PATH_REGEX:
        return true;
    case SNAP_MIDDLEWARE_HEADERS:
        return headers_ok(s, &m->headers);
    case SNAP_MIDDLEWARE_STRIP_PREFIX:
    case SNAP_MIDDLEWARE_STRIP_PREFIX_REGEX:
    case SNAP_MIDDLEWARE_ADD_PREFIX:
    case SNAP_MIDDLEWARE_REPLACE_PATH:
        return texts_ok(s, m->path.list);
    case SNAP_MIDDLEWARE_ALLOW_LIST:
        return range_ok(m->allow.ranges.first, m->allow.ranges.count, s->prefix_count) &&
               strategy_ok(s, &m->allow.ip) && m->allow.status >= 400 && m->allow.status <= 599;
    case SNAP_MIDDLEWARE_RATE_LIMIT:
    case SNAP_MIDDLEWARE_IN_FLIGHT:
        return limit_ok(s, &m->limit);
    case SNAP_MIDDLEWARE_BASIC_AUTH:
        return pairs_ok(s, m->auth.users) && m->auth.users.count > 0;
    case SNAP_MIDDLEWARE_RETRY:
        return m->retry.attempts >= 1;
    default:
        return false;
    }
}

bool snapshot_steps_ok(const struct snapshot *s, struct snap_range steps)
{
    uint32_t in_flight = 0;
    if (!range_ok(steps.first, steps.count, s->step_count) || steps.count > SNAP_MIDDLEWARES_MAX)
        return false;
    for (uint32_t i = 0; i < steps.count; i++) {
        uint32_t index = s->steps[steps.first + i].middleware;
        if (index >= s->middleware_count)
            return false;
        in_flight += s->middlewares[index].kind == SNAP_MIDDLEWARE_IN_FLIGHT;
    }
    return in_flight <= SNAP_IN_FLIGHT_MAX;
}

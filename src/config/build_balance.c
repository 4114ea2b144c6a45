/* SPDX-License-Identifier: Apache-2.0 */
/* How services share requests out: kinds, members, strategies, sticky cookies, health checks. */
#include "config/build.h"

#include "base/must.h"
#include "config/value.h"
#include "crypto/digest.h"

#include <ctype.h>
#include <stdio.h>

#define COOKIE_NAME_MAX 64
#define COOKIE_PATH_MAX 255

static const char *const kinds[] = {
    [CONFIG_SERVICE_SERVERS] = "loadBalancer",
    [CONFIG_SERVICE_WEIGHTED] = "weighted",
    [CONFIG_SERVICE_HASHED] = "highestRandomWeight",
    [CONFIG_SERVICE_FAILOVER] = "failover",
};
#define KIND_COUNT (sizeof kinds / sizeof *kinds)

void build_balance_kind(struct build *b, struct place p, struct config_service *s)
{
    uint32_t count = 0;
    for (uint8_t i = 0; i < KIND_COUNT; i++) {
        struct place one = build_at(p, kinds[i]);
        if (!one.node)
            continue;
        if (count++ == 0) {
            s->kind = i;
            continue;
        }
        problems_error(b->problems, one.node->key_at,
                       "service %s is a %s already; a service is of one kind", s->name,
                       kinds[s->kind]);
    }
    if (!p.node->first)
        build_required(b, p, kinds[CONFIG_SERVICE_SERVERS]);
}

/* ---- sticky cookies -------------------------------------------------------------------------- */

static bool is_cookie_text(const char *text, bool token)
{
    for (const char *c = text; *c; c++) {
        if (*c <= ' ' || *c >= 0x7f || *c == ';' || *c == ',' || *c == '"' || *c == '\\' ||
            (token && strchr("()<>@:/[]?={}", *c)))
            return false;
    }
    return true;
}

static const char *cookie_text(struct build *b, struct place cookie, const char *key, bool token,
                               size_t max)
{
    const struct node *n = build_at(cookie, key).node;
    const char *text = build_text(b, cookie, key);
    if (n && (!is_cookie_text(text, token) || strlen(text) > max || (token && !*text)))
        problems_error(b->problems, n->at,
                       "%s must be at most %zu characters that a cookie may have",
                       tree_path(b->arena, n), max);
    return text;
}

static const char *made_name(struct build *b, const char *service)
{
    uint8_t digest[DIGEST_BYTES_MAX];
    char hex[11];
    digest_once(DIGEST_SHA256, span_str(service), digest);
    for (int i = 0; i < 5; i++)
        snprintf(hex + 2 * i, 3, "%02x", digest[i]);
    return arena_printf(b->arena, "_%s", hex);
}

static void build_sticky(struct build *b, struct place p, struct config_service *s)
{
    struct place cookie = build_at(p, "sticky.cookie");
    struct buf text = {0};
    if (!cookie.node)
        return;
    s->cookie_name = cookie_text(b, cookie, "name", true, COOKIE_NAME_MAX);
    if (!s->cookie_name)
        s->cookie_name = made_name(b, s->name);
    const char *path = cookie_text(b, cookie, "path", false, COOKIE_PATH_MAX);
    const char *domain = cookie_text(b, cookie, "domain", false, COOKIE_PATH_MAX);
    const char *same_site = build_text(b, cookie, "sameSite");
    int64_t max_age = build_int(cookie, "maxAge");
    bool secure = build_bool(cookie, "secure");
    if (*path)
        buf_printf(&text, "; Path=%s", path);
    if (*domain)
        buf_printf(&text, "; Domain=%s", domain);
    if (max_age)
        buf_printf(&text, "; Max-Age=%lld", max_age < 0 ? 0ll : (long long)max_age);
    if (build_bool(cookie, "httpOnly"))
        buf_put_str(&text, "; HttpOnly");
    if (secure)
        buf_put_str(&text, "; Secure");
    if (*same_site)
        buf_printf(&text, "; SameSite=%c%s", toupper((unsigned char)*same_site), same_site + 1);
    if (!secure && strcmp(same_site, "none") == 0)
        problems_warn(b->problems, cookie.node->key_at,
                      "clients take cookies with sameSite = \"none\" only when secure is set");
    s->cookie_attributes = arena_strdup(b->arena, buf_cstr(&text));
    buf_free(&text);
}

/* ---- health ---------------------------------------------------------------------------------- */

static void build_headers(struct build *b, struct place p, struct config_health *h)
{
    h->headers = arena_alloc(b->arena, (build_count(p) + 1) * sizeof *h->headers);
    for (const struct node *n = NULL; (n = build_next(p, n));) {
        if (build_field_is_good(b, n, n->key, n->text))
            h->headers[h->header_count++] = (struct config_field){arena_strdup(b->arena, n->key),
                                                                  arena_strdup(b->arena, n->text)};
    }
}

static void check_words(struct build *b, struct place p, const struct config_health *h)
{
    const struct node *path = build_at(p, "path").node, *method = build_at(p, "method").node;
    const struct node *host = build_at(p, "hostname").node;
    if (!h->tcp && !path)
        build_required(b, p, "path");
    if (path && (path->text[0] != '/' || !is_cookie_text(path->text, false)))
        problems_error(b->problems, path->at,
                       "a path begins with a slash and has no blanks, not \"%.60s\"", path->text);
    if (method && (!*method->text || !is_cookie_text(method->text, true)))
        problems_error(b->problems, method->at, "this is no method");
    struct span name = span_str(h->hostname);
    name.len = span_find(name, ':');
    if (host && *h->hostname && !value_is_name(name, false) && !value_is_ip(name))
        problems_error(b->problems, host->at, "this is no host name");
}

static void build_health(struct build *b, struct place balancer, struct config_service *s)
{
    struct place p = build_at(balancer, "healthCheck");
    struct config_health *h = &s->health;
    if (!p.node)
        return;
    h->on = true;
    h->tcp = strcmp(build_text(b, p, "mode"), "tcp") == 0;
    h->scheme = build_text(b, p, "scheme");
    const char *path = build_text(b, p, "path");
    h->path = path ? path : "/";
    h->method = build_text(b, p, "method");
    h->hostname = build_text(b, p, "hostname");
    h->port = (uint16_t)build_int(p, "port");
    h->status = (uint32_t)build_int(p, "status");
    h->interval_ms = build_ms(p, "interval");
    h->unhealthy_interval_ms =
        build_at(p, "unhealthyInterval").node ? build_ms(p, "unhealthyInterval") : h->interval_ms;
    h->timeout_ms = build_ms(p, "timeout");
    h->follow_redirects = build_bool(p, "followRedirects");
    build_headers(b, build_at(p, "headers"), h);
    check_words(b, p, h);
    if (h->timeout_ms > h->interval_ms)
        problems_warn(b->problems, p.node->key_at,
                      "the timeout is longer than the interval: a server that does not answer is "
                      "asked less often");
}

void build_balance_servers(struct build *b, struct place balancer, struct config_service *s)
{
    static const char *const strategies[] = {
        [CONFIG_STRATEGY_WRR] = "wrr",
        [CONFIG_STRATEGY_P2C] = "p2c",
        [CONFIG_STRATEGY_HRW] = "hrw",
        [CONFIG_STRATEGY_LEAST_TIME] = "leasttime",
    };
    const char *strategy = build_text(b, balancer, "strategy");
    for (uint8_t i = 0; i < sizeof strategies / sizeof *strategies; i++)
        s->strategy = strcmp(strategies[i], strategy) == 0 ? i : s->strategy;
    struct place passive = build_at(balancer, "passiveHealthCheck");
    if (passive.node) {
        s->passive_failures = (uint32_t)build_int(passive, "maxFailedAttempts");
        s->passive_window_ms = build_ms(passive, "failureWindow");
    }
    build_sticky(b, balancer, s);
    build_health(b, balancer, s);
}

/* ---- services of services -------------------------------------------------------------------- */

static void add_member(struct build *b, struct config_service *s, const struct node *name,
                       uint32_t weight)
{
    uint32_t index = build_refer(b, &b->service_names, name, name->text, "service");
    if (index != UINT32_MAX)
        s->members[s->member_count++] = (struct config_member){index, weight};
}

static void build_members(struct build *b, struct place p, struct config_service *s)
{
    struct place list = build_at(p, "services");
    s->members = arena_alloc(b->arena, (build_count(list) + 1) * sizeof *s->members);
    for (const struct node *n = NULL; (n = build_next(list, n));) {
        struct place one = {n, list.schema};
        const struct node *name = build_at(one, "name").node;
        if (build_required(b, one, "name"))
            add_member(b, s, name, (uint32_t)build_int(one, "weight"));
    }
    if (!list.node)
        build_required(b, p, "services");
}

static void build_failover(struct build *b, struct place p, struct config_service *s)
{
    s->members = arena_alloc(b->arena, 2 * sizeof *s->members);
    bool both = build_required(b, p, "service");
    both = build_required(b, p, "fallback") && both;
    if (!both)
        return;
    add_member(b, s, build_at(p, "service").node, 1);
    add_member(b, s, build_at(p, "fallback").node, 1);
}

/* Raises every service above its members, until nothing changes; a circle never stands still. */
static void find_levels(struct build *b)
{
    struct config *c = b->config;
    bool moved = true;
    for (uint32_t round = 0; moved && round <= CONFIG_SERVICE_LEVELS; round++) {
        moved = false;
        for (uint32_t i = 0; i < c->service_count; i++) {
            struct config_service *s = &c->services[i];
            for (uint32_t k = 0; k < s->member_count; k++) {
                uint8_t below = c->services[s->members[k].service].level;
                if (s->level <= below && below < CONFIG_SERVICE_LEVELS) {
                    s->level = (uint8_t)(below + 1);
                    moved = true;
                }
            }
        }
    }
    for (uint32_t i = 0; i < c->service_count; i++) {
        if (c->services[i].level >= CONFIG_SERVICE_LEVELS)
            problems_error(b->problems, c->services[i].where,
                           "service %s contains itself, or more than %d levels of services",
                           c->services[i].name, CONFIG_SERVICE_LEVELS - 1);
    }
}

void build_balance(struct build *b)
{
    struct place all = build_at(b->root, "http.services");
    struct config *c = b->config;
    uint32_t i = 0;
    for (const struct node *n = NULL; (n = build_next(all, n)); i++) {
        struct config_service *s = &c->services[i];
        struct place p = build_child(all, n);
        if (s->kind == CONFIG_SERVICE_FAILOVER)
            build_failover(b, build_at(p, kinds[s->kind]), s);
        else if (s->kind != CONFIG_SERVICE_SERVERS)
            build_members(b, build_at(p, kinds[s->kind]), s);
        if (s->kind == CONFIG_SERVICE_WEIGHTED)
            build_sticky(b, build_at(p, kinds[s->kind]), s);
    }
    find_levels(b);
}

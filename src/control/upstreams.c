/* SPDX-License-Identifier: Apache-2.0 */
#include "control/upstreams.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/rand.h"
#include "control/health.h"
#include "control/propagation/propagation.h"

#include <arpa/inet.h>
#include <stdlib.h>

#define AGAIN_S      30 /* after a good answer */
#define AGAIN_FAIL_S 5  /* while there is none at all */
#define ASKS_MAX     32 /* questions open at once */

struct upstream {
    struct loop_timer timer;
    struct upstreams *all;
    struct propagation *question;
    char *host;
    bool is_name, complained;
    bool healthy;
    char *why; /* it is not well; NULL when it is */
    const struct config_service *service;
    const struct config_server *server;
    uint32_t addr_count;
    struct net_addr addrs[PUBLISH_ADDRS_MAX];
};

struct upstreams {
    struct loop *loop;
    const struct snapshot *snapshot;
    void (*changed)(void *arg, struct span messages);
    void *arg;
    uint32_t open; /* questions */
    struct health *health;
    struct upstream *items;
};

static void put(const struct upstreams *u, uint32_t i, struct buf *out)
{
    const struct upstream *s = &u->items[i];
    publish_server(out, u->snapshot->version, i, s->addrs, s->addr_count, s->healthy);
}

void upstreams_sync(const struct upstreams *u, struct buf *out)
{
    for (uint32_t i = 0; i < u->snapshot->server_count; i++)
        put(u, i, out);
}

/* Name servers rotate their answers: only another set is a change. */
static bool is_same(const struct upstream *s, const struct net_addr *addrs, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        bool found = false;
        for (uint32_t k = 0; k < s->addr_count && !found; k++)
            found = net_addr_eq(&addrs[i], &s->addrs[k]);
        if (!found)
            return false;
    }
    return count == s->addr_count;
}

static void tell(struct upstream *s)
{
    struct buf out = {0};
    put(s->all, (uint32_t)(s - s->all->items), &out);
    s->all->changed(s->all->arg, buf_span(&out));
    buf_free(&out);
}

static void set_addrs(struct upstream *s, const struct net_addr *addrs, uint32_t count)
{
    count = count < PUBLISH_ADDRS_MAX ? count : PUBLISH_ADDRS_MAX;
    if (is_same(s, addrs, count))
        return;
    memcpy(s->addrs, addrs, count * sizeof *addrs);
    s->addr_count = count;
    tell(s);
}

static void health_is(void *arg, uint32_t i, bool healthy, const char *text)
{
    struct upstreams *u = arg;
    struct upstream *s = &u->items[i];
    s->healthy = healthy;
    free(s->why);
    s->why = healthy ? NULL : mem_strdup(text);
    if (healthy)
        log_info("service %s: server %s is well again", s->service->name, s->server->url);
    else
        log_warn("service %s: server %s gets no requests: %s", s->service->name, s->server->url,
                 text);
    tell(s);
}

static uint32_t addresses_of(void *arg, uint32_t i, const struct net_addr **ret)
{
    const struct upstreams *u = arg;
    *ret = u->items[i].addrs;
    return u->items[i].addr_count;
}

static void ask_again(struct upstream *s, uint64_t wait_s)
{
    uint64_t wait_ns = wait_s * NS_PER_S + rand_below(wait_s * NS_PER_S / 4 + 1);
    loop_timer_set(s->all->loop, &s->timer, clock_now_ns() + wait_ns);
}

static void on_resolved(void *arg, const struct net_addr *addrs, uint32_t count, const char *text)
{
    struct upstream *s = arg;
    s->question = NULL;
    s->all->open--;
    if (count) {
        set_addrs(s, addrs, count);
        s->complained = false;
    } else if (!s->complained) {
        log_warn("upstream %s: %s%s", s->host, text,
                 s->addr_count ? "; the last known addresses stay in use" : "");
        s->complained = true;
    }
    ask_again(s, s->addr_count ? AGAIN_S : AGAIN_FAIL_S);
}

static void ask(struct loop_timer *t)
{
    struct upstream *s = LIST_ENTRY(t, struct upstream, timer);
    static const struct propagation_options options = {.port = 53, .timeout_s = 10};
    uint32_t i = (uint32_t)(s - s->all->items);
    if (s->all->open >= ASKS_MAX) {
        loop_timer_set(s->all->loop, &s->timer, clock_now_ns() + 50 * NS_PER_MS);
        return;
    }
    s->all->open++;
    s->question = propagation_resolve(s->all->loop, &options, s->host,
                                      s->all->snapshot->servers[i].port, on_resolved, s);
}

static bool literal(const char *host, uint16_t port, struct net_addr *ret)
{
    char *text = mem_printf(strchr(host, ':') ? "[%s]:%u" : "%s:%u", host, port);
    bool ok = result_is_ok(net_addr_parse(span_str(text), port, ret));
    free(text);
    return ok;
}

static void open_server(struct upstreams *u, uint32_t i, const struct config_service *service,
                        const struct config_server *server)
{
    struct upstream *s = &u->items[i];
    const struct snap_server *c = &u->snapshot->servers[i];
    s->all = u;
    s->service = service;
    s->server = server;
    s->healthy = true;
    s->host = mem_strdup(server->host); /* control's own server has another name for workers */
    loop_timer_init(&s->timer, ask);
    s->is_name = !literal(s->host, c->port, &s->addrs[0]);
    s->addr_count = !s->is_name;
}

struct upstreams *upstreams_create(struct loop *loop, const struct config *config,
                                   const struct snapshot *snapshot,
                                   void (*changed)(void *arg, struct span messages), void *arg)
{
    struct upstreams *u = mem_zalloc(sizeof *u);
    u->loop = loop;
    u->snapshot = snapshot;
    u->changed = changed;
    u->arg = arg;
    u->items = mem_zalloc(snapshot->server_count * sizeof *u->items);
    u->health = health_create(loop, config, health_is, addresses_of, u);
    for (uint32_t i = 0; i < snapshot->service_count; i++) {
        for (uint32_t k = 0; k < snapshot->services[i].server_count; k++)
            open_server(u, snapshot->services[i].first_server + k, &config->services[i],
                        &config->services[i].servers[k]);
    }
    return u;
}

static int compare_hosts(const void *a, const void *b)
{
    return strcmp((*(const struct upstream *const *)a)->host,
                  (*(const struct upstream *const *)b)->host);
}

static int compare_servers(const void *a, const void *b)
{
    const struct upstream *x = *(const struct upstream *const *)a;
    const struct upstream *y = *(const struct upstream *const *)b;
    int order = strcmp(x->service->name, y->service->name);
    return order ? order : strcmp(x->server->url, y->server->url);
}

/* Who is not well stays so until it is asked again. */
static void inherit_health(struct upstreams *u, const struct upstream **sorted, uint32_t count)
{
    qsort(sorted, count, sizeof *sorted, compare_servers);
    for (uint32_t i = 0; i < u->snapshot->server_count; i++) {
        struct upstream *s = &u->items[i];
        const struct upstream *key = s, **hit = NULL;
        if (s->service->health.on)
            hit = bsearch(&key, sorted, count, sizeof *sorted, compare_servers);
        if (!hit || (*hit)->healthy || !(*hit)->service->health.on)
            continue;
        s->healthy = false;
        s->why = mem_strdup((*hit)->why);
    }
}

void upstreams_inherit(struct upstreams *u, const struct upstreams *old)
{
    uint32_t count = old->snapshot->server_count;
    const struct upstream **sorted = mem_zalloc(count * sizeof *sorted + 1);
    for (uint32_t i = 0; i < count; i++)
        sorted[i] = &old->items[i];
    qsort(sorted, count, sizeof *sorted, compare_hosts);
    for (uint32_t i = 0; i < u->snapshot->server_count; i++) {
        struct upstream *s = &u->items[i];
        const struct upstream *key = s, **hit = NULL;
        if (s->is_name)
            hit = bsearch(&key, sorted, count, sizeof *sorted, compare_hosts);
        if (!hit)
            continue;
        s->addr_count = (*hit)->addr_count;
        s->complained = (*hit)->complained;
        for (uint32_t k = 0; k < s->addr_count; k++) {
            s->addrs[k] = (*hit)->addrs[k];
            net_addr_set_port(&s->addrs[k], u->snapshot->servers[i].port);
        }
    }
    inherit_health(u, sorted, count);
    free(sorted);
}

void upstreams_start(struct upstreams *u)
{
    for (uint32_t i = 0; i < u->snapshot->server_count; i++)
        if (u->items[i].is_name)
            loop_timer_set(u->loop, &u->items[i].timer, clock_now_ns());
    for (uint32_t i = 0; i < u->snapshot->server_count; i++) {
        const struct upstream *s = &u->items[i];
        if (s->service->health.on)
            health_add(u->health, i, s->service, s->server, s->healthy);
    }
    health_start(u->health);
}

void upstreams_destroy(struct upstreams *u)
{
    if (!u)
        return;
    health_destroy(u->health);
    for (uint32_t i = 0; i < u->snapshot->server_count; i++) {
        loop_timer_cancel(u->loop, &u->items[i].timer);
        if (u->items[i].question)
            propagation_cancel(u->items[i].question);
        free(u->items[i].host);
        free(u->items[i].why);
    }
    free(u->items);
    free(u);
}

uint32_t upstreams_count(const struct upstreams *u)
{
    return u->snapshot->server_count;
}

struct upstreams_server upstreams_at(const struct upstreams *u, uint32_t i)
{
    const struct upstream *s = &u->items[i];
    return (struct upstreams_server){
        .service = s->service->name,
        .url = s->server->url,
        .addrs = s->addrs,
        .addr_count = s->addr_count,
        .healthy = s->healthy,
        .text = s->why ? s->why : "",
    };
}

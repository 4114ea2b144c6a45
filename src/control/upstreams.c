/* SPDX-License-Identifier: Apache-2.0 */
#include "control/upstreams.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/rand.h"
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
    uint32_t addr_count;
    struct net_addr addrs[PUBLISH_ADDRS_MAX];
};

struct upstreams {
    struct loop *loop;
    const struct snapshot *snapshot;
    void (*changed)(void *arg, struct span messages);
    void *arg;
    uint32_t open; /* questions */
    struct upstream *items;
};

static void put(const struct upstreams *u, uint32_t i, struct buf *out)
{
    publish_server(out, u->snapshot->version, i, u->items[i].addrs, u->items[i].addr_count, true);
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

static void set_addrs(struct upstream *s, const struct net_addr *addrs, uint32_t count)
{
    count = count < PUBLISH_ADDRS_MAX ? count : PUBLISH_ADDRS_MAX;
    if (is_same(s, addrs, count))
        return;
    struct buf out = {0};
    memcpy(s->addrs, addrs, count * sizeof *addrs);
    s->addr_count = count;
    put(s->all, (uint32_t)(s - s->all->items), &out);
    s->all->changed(s->all->arg, buf_span(&out));
    buf_free(&out);
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

struct upstreams *upstreams_create(struct loop *loop, const struct snapshot *snapshot,
                                   void (*changed)(void *arg, struct span messages), void *arg)
{
    struct upstreams *u = mem_zalloc(sizeof *u);
    u->loop = loop;
    u->snapshot = snapshot;
    u->changed = changed;
    u->arg = arg;
    u->items = mem_zalloc(snapshot->server_count * sizeof *u->items);
    for (uint32_t i = 0; i < snapshot->server_count; i++) {
        struct upstream *s = &u->items[i];
        const struct snap_server *c = &snapshot->servers[i];
        s->all = u;
        s->host = mem_strndup(c->host.ptr, c->host.len);
        loop_timer_init(&s->timer, ask);
        s->is_name = !literal(s->host, c->port, &s->addrs[0]);
        s->addr_count = !s->is_name;
    }
    return u;
}

static int compare_hosts(const void *a, const void *b)
{
    return strcmp((*(const struct upstream *const *)a)->host,
                  (*(const struct upstream *const *)b)->host);
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
    free(sorted);
}

void upstreams_start(struct upstreams *u)
{
    for (uint32_t i = 0; i < u->snapshot->server_count; i++)
        if (u->items[i].is_name)
            loop_timer_set(u->loop, &u->items[i].timer, clock_now_ns());
}

void upstreams_destroy(struct upstreams *u)
{
    if (!u)
        return;
    for (uint32_t i = 0; i < u->snapshot->server_count; i++) {
        loop_timer_cancel(u->loop, &u->items[i].timer);
        if (u->items[i].question)
            propagation_cancel(u->items[i].question);
        free(u->items[i].host);
    }
    free(u->items);
    free(u);
}

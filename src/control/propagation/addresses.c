/* SPDX-License-Identifier: Apache-2.0 */
/* propagation_resolve(): the addresses of a host, from /etc/hosts and DNS. */
#include "control/propagation/task.h"

#include "base/clock.h"

#include <stdio.h>
#include <stdlib.h>

#define ADDRESSES_MAX 32
#define LIMIT_NS      (15 * NS_PER_S)

struct addresses {
    struct propagation task; /* first */
    struct channel channel;
    struct loop_timer turn;
    char host[256];
    uint16_t port;
    bool answered, destroying;
    int status;
    struct net_addr found[ADDRESSES_MAX];
    uint32_t count;
    resolve_done *done;
    void *arg;
    char text[512];
};

static void destroy(struct propagation *p)
{
    struct addresses *a = (struct addresses *)p;
    a->destroying = true;
    channel_close(&a->channel);
    loop_timer_cancel(p->loop, &a->turn);
    free(a);
}

static void add(struct addresses *a, const struct ares_addrinfo_node *n)
{
    struct net_addr addr = {0};
    if (a->count == ADDRESSES_MAX || (n->ai_family != AF_INET && n->ai_family != AF_INET6))
        return;
    memcpy(&addr.sa, n->ai_addr, n->ai_family == AF_INET ? sizeof addr.in : sizeof addr.in6);
    addr.len = n->ai_family == AF_INET ? sizeof addr.in : sizeof addr.in6;
    net_addr_set_port(&addr, a->port);
    for (uint32_t i = 0; i < a->count; i++)
        if (net_addr_eq(&a->found[i], &addr))
            return;
    a->found[a->count++] = addr;
}

static void take_addresses(void *arg, int status, int timeouts, struct ares_addrinfo *info)
{
    struct addresses *a = arg;
    if (!a->destroying) {
        a->answered = true;
        a->status = status;
        for (struct ares_addrinfo_node *n = info ? info->nodes : NULL; n; n = n->ai_next)
            add(a, n);
        loop_timer_set(a->task.loop, &a->turn, loop_now_ns(a->task.loop));
    }
    if (info)
        ares_freeaddrinfo(info);
}

/* Either the answer is there, or the time is over. */
static void take_turn(struct loop_timer *t)
{
    struct addresses *a = LIST_ENTRY(t, struct addresses, turn);
    bool absent = a->answered && (a->status == ARES_ENOTFOUND || a->status == ARES_ENODATA);
    if (a->count == 0 && !a->text[0])
        snprintf(a->text, sizeof a->text, "host name %s %s", a->host,
                 !a->answered ? "could not be resolved in time: do the resolvers answer?"
                 : absent     ? "does not exist or has no address"
                              : ares_strerror(a->status));
    a->done(a->arg, a->count || absent ? a->found : NULL, a->count, a->text);
    destroy(&a->task);
}

struct propagation *propagation_resolve(struct loop *loop,
                                        const struct propagation_options *options, const char *host,
                                        uint16_t port, resolve_done *done, void *arg)
{
    struct addresses *a = mem_zalloc(sizeof *a);
    a->task = (struct propagation){destroy, loop};
    a->port = port;
    a->done = done;
    a->arg = arg;
    snprintf(a->host, sizeof a->host, "%s", host);
    loop_timer_init(&a->turn, take_turn);
    loop_timer_set(loop, &a->turn, loop_now_ns(loop) + LIMIT_NS);
    struct net_addr resolvers[TASK_RESOLVERS_MAX];
    uint32_t count = 0;
    unsigned flags = CHANNEL_RECURSE | CHANNEL_ADDRESSES;
    if (!options || !options->only_dns)
        flags |= CHANNEL_HOSTS;
    struct why why = {""};
    struct result r = result_ok();
    if (options && options->resolver_count)
        r = task_resolvers(options, resolvers, &count, &why);
    if (result_is_ok(r))
        r = channel_open(&a->channel, loop, resolvers, count, flags, &why);
    if (!result_is_ok(r)) {
        snprintf(a->text, sizeof a->text, "%s", why.text);
        loop_timer_set(loop, &a->turn, loop_now_ns(loop));
        return &a->task;
    }
    struct ares_addrinfo_hints hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM};
    ares_getaddrinfo(a->channel.ares, a->host, NULL, &hints, take_addresses, a);
    channel_pump(&a->channel);
    return &a->task;
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "control/propagation/channel.h"

#include "base/buf.h"
#include "base/clock.h"
#include "base/log.h"

#include <stdlib.h>
#include <sys/epoll.h>

#define UDP_TIMEOUT_MS 2000 /* of the first try; c-ares doubles it for the second */
#define UDP_TRIES      2
#define TCP_TIMEOUT_MS 5000
#define EDNS_BYTES     1232 /* fits every path without fragments */

static void pump_ready(struct loop_fd *w, uint32_t events)
{
    struct channel *c = LIST_ENTRY(w, struct channel_fd, watch)->channel;
    bool in = events & (EPOLLIN | EPOLLHUP | EPOLLERR), out = events & (EPOLLOUT | EPOLLERR);
    ares_process_fd(c->ares, in ? w->fd : ARES_SOCKET_BAD, out ? w->fd : ARES_SOCKET_BAD);
    channel_pump(c);
}

static void pump_timer(struct loop_timer *t)
{
    struct channel *c = LIST_ENTRY(t, struct channel, timer);
    ares_process_fd(c->ares, ARES_SOCKET_BAD, ARES_SOCKET_BAD);
    channel_pump(c);
}

static void socket_state(void *arg, ares_socket_t fd, int readable, int writable)
{
    struct channel *c = arg;
    struct channel_fd *unused = NULL, *found = NULL;
    for (int i = 0; i < CHANNEL_FDS_MAX; i++) {
        if (c->fds[i].watch.fd == fd)
            found = &c->fds[i];
        else if (c->fds[i].watch.fd == -1 && !unused)
            unused = &c->fds[i];
    }
    uint32_t events = (readable ? EPOLLIN : 0u) | (writable ? EPOLLOUT : 0u);
    if (!found && !events)
        return;
    if (!found && !(found = unused)) {
        log_warn("DNS: more than %d sockets for one question", CHANNEL_FDS_MAX);
        return;
    }
    found->watch.fd = fd;
    loop_watch(c->loop, &found->watch, events);
    if (!events)
        found->watch.fd = -1;
}

/* One node per server, as c-ares wants them. */
static int set_servers(ares_channel ares, const struct net_addr *servers, uint32_t count)
{
    struct ares_addr_port_node *nodes = mem_zalloc(count * sizeof *nodes);
    for (uint32_t i = 0; i < count; i++) {
        nodes[i].next = i + 1 < count ? &nodes[i + 1] : NULL;
        nodes[i].family = servers[i].sa.sa_family;
        if (nodes[i].family == AF_INET6)
            memcpy(&nodes[i].addr.addr6, &servers[i].in6.sin6_addr, sizeof nodes[i].addr.addr6);
        else
            nodes[i].addr.addr4 = servers[i].in.sin_addr;
        nodes[i].udp_port = nodes[i].tcp_port = net_addr_port(&servers[i]);
    }
    int status = ares_set_servers_ports(ares, nodes);
    free(nodes);
    return status;
}

static int init(struct channel *c, unsigned flags)
{
    struct ares_options o = {0};
    int mask = ARES_OPT_FLAGS | ARES_OPT_TIMEOUTMS | ARES_OPT_TRIES | ARES_OPT_SOCK_STATE_CB |
               ARES_OPT_EDNSPSZ | ARES_OPT_LOOKUPS;
    /* NOCHECKRESP: an answer such as REFUSED is an answer, not a reason to ask somebody else. */
    o.flags = ARES_FLAG_EDNS | ARES_FLAG_NOCHECKRESP | ARES_FLAG_NOSEARCH | ARES_FLAG_NOALIASES;
    if (!(flags & CHANNEL_RECURSE))
        o.flags |= ARES_FLAG_NORECURSE;
    if (flags & CHANNEL_TCP)
        o.flags |= ARES_FLAG_USEVC;
    if (flags & CHANNEL_ADDRESSES)
        o.flags &= ~ARES_FLAG_NOCHECKRESP;
    o.timeout = flags & CHANNEL_TCP ? TCP_TIMEOUT_MS : UDP_TIMEOUT_MS;
    o.tries = flags & CHANNEL_TCP ? 1 : UDP_TRIES;
    o.ednspsz = EDNS_BYTES;
    o.sock_state_cb = socket_state;
    o.sock_state_cb_data = c;
    char lookups[] = "fb", only_dns[] = "b";
    o.lookups = flags & CHANNEL_HOSTS ? lookups : only_dns;
#ifdef ARES_OPT_QUERY_CACHE
    mask |= ARES_OPT_QUERY_CACHE;
    o.qcache_max_ttl = 0;
#endif
    return ares_init_options(&c->ares, &o, mask);
}

struct result channel_open(struct channel *c, struct loop *loop, const struct net_addr *servers,
                           uint32_t count, unsigned flags, struct why *why)
{
    *c = (struct channel){.loop = loop};
    loop_timer_init(&c->timer, pump_timer);
    for (int i = 0; i < CHANNEL_FDS_MAX; i++) {
        c->fds[i].watch = (struct loop_fd){-1, 0, pump_ready};
        c->fds[i].channel = c;
    }
    int status = init(c, flags);
    if (status != ARES_SUCCESS) {
        c->ares = NULL;
        return why_fail(why, ERR_SYSTEM, "c-ares does not start: %s", ares_strerror(status));
    }
    if (count && (status = set_servers(c->ares, servers, count)) != ARES_SUCCESS) {
        channel_close(c);
        return why_fail(why, ERR_SYSTEM, "c-ares refuses the servers: %s", ares_strerror(status));
    }
    return result_ok();
}

void channel_pump(struct channel *c)
{
    struct timeval store;
    const struct timeval *tv = ares_timeout(c->ares, NULL, &store);
    if (!tv) {
        loop_timer_cancel(c->loop, &c->timer);
        return;
    }
    uint64_t in_ns = (uint64_t)tv->tv_sec * NS_PER_S + (uint64_t)tv->tv_usec * 1000;
    loop_timer_set(c->loop, &c->timer, clock_now_ns() + in_ns);
}

void channel_close(struct channel *c)
{
    if (!c->ares)
        return;
    ares_destroy(c->ares); /* unwatches its sockets by socket_state() */
    loop_timer_cancel(c->loop, &c->timer);
    c->ares = NULL;
}

uint32_t channel_resolvers(struct net_addr *ret, uint32_t max)
{
    ares_channel ares;
    struct ares_addr_port_node *servers = NULL;
    uint32_t count = 0;
    if (ares_init(&ares) != ARES_SUCCESS)
        return 0;
    if (ares_get_servers_ports(ares, &servers) != ARES_SUCCESS)
        servers = NULL;
    for (struct ares_addr_port_node *n = servers; n && count < max; n = n->next) {
        struct net_addr a = {0};
        a.sa.sa_family = (sa_family_t)n->family;
        if (n->family == AF_INET6)
            memcpy(&a.in6.sin6_addr, &n->addr.addr6, sizeof a.in6.sin6_addr);
        else
            a.in.sin_addr = n->addr.addr4;
        a.len = n->family == AF_INET6 ? sizeof a.in6 : sizeof a.in;
        net_addr_set_port(&a, n->udp_port ? (uint16_t)n->udp_port : 53);
        ret[count++] = a;
    }
    if (servers)
        ares_free_data(servers);
    ares_destroy(ares);
    return count;
}

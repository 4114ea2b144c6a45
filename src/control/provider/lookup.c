/* SPDX-License-Identifier: Apache-2.0 */
#include "control/provider/lookup.h"

#include "base/buf.h"
#include "base/clock.h"
#include "control/propagation/channel.h"

#include <ctype.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>

#include <ares.h>

/* One question while it is open. */
struct lookup {
    bool done;
    int status;
    uint16_t port;
    struct lookup_addrs *ret;
};

static void take_addresses(void *arg, int status, int timeouts, struct ares_addrinfo *info)
{
    struct lookup *l = arg;
    l->done = true;
    l->status = status;
    if (status != ARES_SUCCESS)
        return;
    for (struct ares_addrinfo_node *n = info->nodes; n; n = n->ai_next) {
        if (l->ret->count == LOOKUP_ADDRS_MAX || n->ai_addrlen > sizeof(struct sockaddr_in6))
            continue;
        struct net_addr *a = &l->ret->addrs[l->ret->count++];
        memset(a, 0, sizeof *a);
        memcpy(&a->sa, n->ai_addr, n->ai_addrlen);
        a->len = (socklen_t)n->ai_addrlen;
        net_addr_set_port(a, l->port);
    }
    ares_freeaddrinfo(info);
}

/* One turn: waits for c-ares's sockets, at most until its own next timeout or the deadline. */
static void step(ares_channel channel, int left_ms)
{
    ares_socket_t socks[ARES_GETSOCK_MAXNUM];
    struct pollfd fds[ARES_GETSOCK_MAXNUM];
    int bits = ares_getsock(channel, socks, ARES_GETSOCK_MAXNUM);
    nfds_t count = 0;
    for (int i = 0; i < ARES_GETSOCK_MAXNUM; i++) {
        short events = (short)((ARES_GETSOCK_READABLE(bits, i) ? POLLIN : 0) |
                               (ARES_GETSOCK_WRITABLE(bits, i) ? POLLOUT : 0));
        if (events)
            fds[count++] = (struct pollfd){socks[i], events, 0};
    }
    struct timeval most = {left_ms / 1000, left_ms % 1000 * 1000}, store;
    struct timeval *tv = ares_timeout(channel, &most, &store);
    poll(fds, count, (int)(tv->tv_sec * 1000 + tv->tv_usec / 1000 + 1));
    for (nfds_t i = 0; i < count; i++) {
        bool in = fds[i].revents & (POLLIN | POLLERR | POLLHUP);
        bool out = fds[i].revents & (POLLOUT | POLLERR);
        ares_process_fd(channel, in ? fds[i].fd : ARES_SOCKET_BAD,
                        out ? fds[i].fd : ARES_SOCKET_BAD);
    }
    ares_process_fd(channel, ARES_SOCKET_BAD, ARES_SOCKET_BAD);
}

static struct result ask(const char *host, uint16_t port, int64_t deadline_ns,
                         struct lookup_addrs *ret, struct why *why)
{
    ares_channel channel;
    int status = ares_init(&channel);
    if (status != ARES_SUCCESS)
        return why_fail(why, ERR_SYSTEM, "c-ares: %s", ares_strerror(status));
    struct lookup l = {.port = port, .ret = ret};
    struct ares_addrinfo_hints hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM};
    ares_getaddrinfo(channel, host, NULL, &hints, take_addresses, &l);
    while (!l.done) {
        int64_t left_ns = deadline_ns - (int64_t)clock_now_ns();
        if (left_ns <= 0)
            break;
        step(channel, (int)(left_ns / (int64_t)NS_PER_MS) + 1);
    }
    bool timed_out = !l.done;
    ares_destroy(channel); /* calls take_addresses() when the question is still open */
    if (timed_out)
        return why_fail(why, ERR_TIMEOUT, "looking up %s: no answer in time", host);
    if (l.status == ARES_ENOTFOUND || l.status == ARES_ENODATA)
        return why_fail(why, ERR_NOT_FOUND, "host name %s does not exist or has no address", host);
    if (l.status != ARES_SUCCESS || ret->count == 0)
        return why_fail(why, ERR_REMOTE, "looking up %s: %s", host, ares_strerror(l.status));
    return result_ok();
}

static bool is_host_name(struct span s)
{
    for (size_t i = 0; i < s.len; i++)
        if (!isalnum(s.ptr[i]) && !memchr("-._", s.ptr[i], 3))
            return false;
    return s.len <= 253;
}

struct result lookup_server(struct span server, uint16_t default_port, int64_t deadline_ns,
                            struct lookup_addrs *ret, struct why *why)
{
    ret->count = 0;
    struct span host = {NULL, 0};
    uint16_t port = 0;
    bool split = result_is_ok(net_split_host_port(server, &host, &port)) && host.len > 0;
    if (split && result_is_ok(net_addr_parse(server, default_port, &ret->addrs[0]))) {
        ret->count = 1;
        return result_ok();
    }
    if (!split || !is_host_name(host))
        return why_fail(why, ERR_FORMAT,
                        "\"%.*s\" is no server address: write host, host:port or [IPv6]:port",
                        SPAN_FMT(span_first(server, 255)));
    char name[256];
    snprintf(name, sizeof name, "%.*s", SPAN_FMT(host));
    return ask(name, port ? port : default_port, deadline_ns, ret, why);
}

struct result lookup_resolvers(struct lookup_addrs *ret, struct why *why)
{
    ret->count = channel_resolvers(ret->addrs, LOOKUP_ADDRS_MAX);
    if (ret->count == 0)
        return why_fail(why, ERR_NOT_FOUND, "/etc/resolv.conf names no resolver");
    return result_ok();
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "boot/listeners.h"

#include "boot/notify.h"

#include <errno.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <unistd.h>

#define BACKLOG 4096 /* the kernel takes the smaller of this and net.core.somaxconn */

static void add(struct listener_set *set, int fd, uint32_t worker, uint32_t entrypoint)
{
    set->items = mem_grow(set->items, (set->count + 1) * sizeof *set->items);
    set->items[set->count++] = (struct listener_socket){fd, worker, entrypoint};
}

/* A bound TCP socket; -1 with errno. */
static int bound_socket(const struct net_addr *addr, bool reuse_port)
{
    int on = 1, off = 0;
    int fd = socket(addr->sa.sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, IPPROTO_TCP);
    if (fd == -1)
        return -1;
    bool ok = setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) == 0;
    if (ok && addr->sa.sa_family == AF_INET6)
        ok = setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof off) == 0;
    if (ok && reuse_port)
        ok = setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof on) == 0 &&
             setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on) == 0;
    if (ok && bind(fd, &addr->sa, addr->len) == 0)
        return fd;
    int sys = errno;
    close(fd);
    errno = sys;
    return -1;
}

static struct result explain(const struct config_entrypoint *ep, const char *address,
                             struct why *why)
{
    int sys = errno;
    if (sys == EACCES)
        return why_fail(why, ERR_PERMISSION,
                        "entry point \"%s\": no right to listen on %s: run as root, or give the "
                        "program CAP_NET_BIND_SERVICE",
                        ep->name, address);
    if (sys == EADDRINUSE)
        return why_fail(why, ERR_BUSY,
                        "entry point \"%s\": another program listens on %s: stop it, or use "
                        "another address",
                        ep->name, address);
    if (sys == EADDRNOTAVAIL)
        return why_fail(why, ERR_SYSTEM, "entry point \"%s\": %s is not an address of this machine",
                        ep->name, address);
    return why_fail_sys(why, ERR_SYSTEM, sys, "entry point \"%s\": cannot listen on %s", ep->name,
                        address);
}

/* A port of every address family becomes IPv4 where the kernel has no IPv6. */
static void without_ipv6(struct net_addr *addr)
{
    uint16_t port = net_addr_port(addr);
    *addr = (struct net_addr){.in = {.sin_family = AF_INET, .sin_port = htons(port)},
                              .len = sizeof addr->in};
}

static struct result open_address(const struct config *config, uint32_t entrypoint,
                                  uint32_t address, struct listener_set *set, struct why *why)
{
    const struct config_entrypoint *ep = &config->entrypoints[entrypoint];
    struct net_addr addr = ep->sockets[address];
    /* Without SO_REUSEPORT first: with it, two programs of one user would share the port. */
    int probe = bound_socket(&addr, false);
    if (probe == -1 && errno == EAFNOSUPPORT && ep->addresses[address][0] == ':') {
        without_ipv6(&addr);
        probe = bound_socket(&addr, false);
    }
    if (probe == -1)
        return explain(ep, ep->addresses[address], why);
    close(probe);
    for (uint32_t worker = 0; worker < config->workers; worker++) {
        int fd = bound_socket(&addr, true);
        if (fd == -1)
            return explain(ep, ep->addresses[address], why);
        add(set, fd, worker, entrypoint);
        if (listen(fd, BACKLOG) == -1)
            return explain(ep, ep->addresses[address], why);
    }
    return result_ok();
}

/* Sockets that systemd opened under the entry point's name (FileDescriptorName=); every worker
 * accepts on each. Returns how many. */
static uint32_t adopt(const struct config *config, uint32_t entrypoint, struct listener_set *set)
{
    uint32_t adopted = 0;
    int fd;
    for (uint32_t i = 0; (fd = notify_listen_fd(config->entrypoints[entrypoint].name, i)) != -1;
         i++) {
        int on = 1;
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on); /* only a matter of speed */
        for (uint32_t worker = 0; worker < config->workers; worker++)
            add(set, fd, worker, entrypoint);
        adopted++;
    }
    return adopted;
}

struct result listeners_open(const struct config *config, struct listener_set *ret, struct why *why)
{
    struct listener_set set = {0};
    for (uint32_t e = 0; e < config->entrypoint_count; e++) {
        if (adopt(config, e, &set))
            continue;
        for (uint32_t a = 0; a < config->entrypoints[e].address_count; a++) {
            struct result r = open_address(config, e, a, &set, why);
            if (!result_is_ok(r)) {
                listeners_close(&set);
                return r;
            }
        }
    }
    *ret = set;
    return result_ok();
}

void listeners_close(struct listener_set *set)
{
    for (uint32_t i = 0; i < set->count; i++)
        if (i == 0 || set->items[i].fd != set->items[i - 1].fd)
            close(set->items[i].fd);
    free(set->items);
    *set = (struct listener_set){0};
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "boot/listeners.h"

#include "boot/notify.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <unistd.h>

#define BACKLOG 4096 /* the kernel takes the smaller of this and net.core.somaxconn */

/* ---- groups --------------------------------------------------------------------------------- */

static struct listener_group *add_group(struct listener_set *set, const struct plan_listener *l)
{
    set->groups = mem_grow(set->groups, (set->count + 1) * sizeof *set->groups);
    struct listener_group *g = &set->groups[set->count++];
    *g = (struct listener_group){.id = ++set->next_id,
                                 .entrypoint = mem_strdup(l->entrypoint),
                                 .address = mem_strdup(l->address),
                                 .socket = l->socket,
                                 .bound = l->socket,
                                 .wanted = true,
                                 .is_new = true};
    return g;
}

static void add_socket(struct listener_group *g, int fd)
{
    g->fds = mem_grow(g->fds, (g->count + 1) * sizeof *g->fds);
    g->fds[g->count++] = fd;
}

static void close_sockets(struct listener_group *g, uint32_t kept)
{
    while (g->count > kept)
        close(g->fds[--g->count]);
}

static void free_group(struct listener_group *g)
{
    close_sockets(g, 0);
    free(g->fds);
    free(g->entrypoint);
    free(g->address);
}

/* Keeps the groups that `stays` says; tells of the others first. */
static void sweep(struct listener_set *set, bool (*stays)(const struct listener_group *),
                  void (*gone)(void *arg, const struct listener_group *group), void *arg)
{
    uint32_t kept = 0;
    for (uint32_t i = 0; i < set->count; i++) {
        if (stays(&set->groups[i])) {
            set->groups[kept++] = set->groups[i];
            continue;
        }
        if (gone)
            gone(arg, &set->groups[i]);
        free_group(&set->groups[i]);
    }
    set->count = kept;
}

static struct listener_group *find(const struct listener_set *set, const struct plan_listener *l)
{
    for (uint32_t i = 0; i < set->count; i++) {
        struct listener_group *g = &set->groups[i];
        if (strcasecmp(g->entrypoint, l->entrypoint) == 0 &&
            (g->adopted || net_addr_eq(&g->socket, &l->socket)))
            return g;
    }
    return NULL;
}

/* ---- opening -------------------------------------------------------------------------------- */

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

static struct result explain(const struct plan_listener *l, struct why *why)
{
    int sys = errno;
    if (sys == EACCES)
        return why_fail(why, ERR_PERMISSION,
                        "entry point \"%s\": no right to listen on %s: run as root, or give the "
                        "program CAP_NET_BIND_SERVICE",
                        l->entrypoint, l->address);
    if (sys == EADDRINUSE)
        return why_fail(why, ERR_BUSY,
                        "entry point \"%s\": another program listens on %s: stop it, or use "
                        "another address",
                        l->entrypoint, l->address);
    if (sys == EADDRNOTAVAIL)
        return why_fail(why, ERR_SYSTEM, "entry point \"%s\": %s is not an address of this machine",
                        l->entrypoint, l->address);
    return why_fail_sys(why, ERR_SYSTEM, sys, "entry point \"%s\": cannot listen on %s",
                        l->entrypoint, l->address);
}

/* A port of every address family becomes IPv4 where the kernel has no IPv6. */
static void without_ipv6(struct net_addr *addr)
{
    uint16_t port = net_addr_port(addr);
    *addr = (struct net_addr){.in = {.sin_family = AF_INET, .sin_port = htons(port)},
                              .len = sizeof addr->in};
}

/* We listen on the port already, perhaps on another address: who binds next to us without
 * SO_REUSEPORT would only meet ourselves. */
static bool is_our_port(const struct listener_set *set, uint16_t port)
{
    for (uint32_t i = 0; i < set->count; i++)
        if (!set->groups[i].adopted && set->groups[i].count &&
            net_addr_port(&set->groups[i].socket) == port)
            return true;
    return false;
}

/* Adds sockets until there is one per worker. */
static struct result fill_group(struct listener_group *g, const struct plan_listener *l,
                                uint32_t workers, struct why *why)
{
    while (g->count < workers) {
        int fd = bound_socket(&g->bound, true);
        if (fd == -1)
            return explain(l, why);
        add_socket(g, fd);
        if (listen(fd, BACKLOG) == -1)
            return explain(l, why);
    }
    return result_ok();
}

/* The same address under another name goes on with the same sockets: what waits in their queues is
 * not lost. True when there was such a group. */
static bool share_sockets(struct listener_set *set, struct listener_group *g)
{
    for (uint32_t i = 0; i < set->count; i++) {
        const struct listener_group *other = &set->groups[i];
        if (other == g || other->adopted || !net_addr_eq(&other->socket, &g->socket))
            continue;
        for (uint32_t k = 0; k < other->count; k++) {
            int fd = fcntl(other->fds[k], F_DUPFD_CLOEXEC, 0);
            if (fd == -1)
                return false;
            add_socket(g, fd);
            g->shared++;
        }
        return other->count > 0;
    }
    return false;
}

static struct result open_group(struct listener_set *set, const struct plan_listener *l,
                                uint32_t workers, struct why *why)
{
    struct net_addr addr = l->socket;
    bool ours = is_our_port(set, net_addr_port(&addr));
    struct listener_group *g = add_group(set, l);
    if (ours && share_sockets(set, g))
        return fill_group(g, l, workers, why);
    /* Without SO_REUSEPORT first: with it, two programs of one user would share the port. */
    int probe = bound_socket(&addr, ours);
    if (probe == -1 && errno == EAFNOSUPPORT && l->address[0] == ':') {
        without_ipv6(&addr);
        probe = bound_socket(&addr, ours);
    }
    if (probe == -1)
        return explain(l, why);
    close(probe);
    g->bound = addr;
    return fill_group(g, l, workers, why);
}

/* Sockets that systemd opened under the entry point's name (FileDescriptorName=). Duplicates, so
 * that the passed ones can be adopted again. Returns how many. */
static uint32_t adopt(struct listener_set *set, const struct plan_listener *l)
{
    uint32_t adopted = 0;
    int given;
    for (uint32_t i = 0; (given = notify_listen_fd(l->entrypoint, i)) != -1; i++) {
        int on = 1, fd = fcntl(given, F_DUPFD_CLOEXEC, 0);
        if (fd == -1)
            continue;
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on); /* only a matter of speed */
        struct listener_group *g = add_group(set, l);
        g->adopted = true;
        add_socket(g, fd);
        g->shared++;
        adopted++;
    }
    return adopted;
}

/* ---- plans ---------------------------------------------------------------------------------- */

static bool is_kept(const struct listener_group *g)
{
    return !g->is_new;
}

static bool is_wanted(const struct listener_group *g)
{
    return g->wanted;
}

/* All groups of an entry point with systemd's sockets are wanted, whatever addresses it has. */
static bool want_adopted(struct listener_set *set, const char *entrypoint)
{
    bool found = false;
    for (uint32_t i = 0; i < set->count; i++) {
        struct listener_group *g = &set->groups[i];
        if (g->adopted && strcasecmp(g->entrypoint, entrypoint) == 0)
            g->wanted = found = true;
    }
    return found;
}

static struct result stage_one(struct listener_set *set, const struct plan_listener *l,
                               uint32_t workers, struct why *why)
{
    if (want_adopted(set, l->entrypoint))
        return result_ok();
    struct listener_group *g = find(set, l);
    if (g) {
        g->wanted = true;
        return fill_group(g, l, workers, why);
    }
    return adopt(set, l) ? result_ok() : open_group(set, l, workers, why);
}

struct result listeners_stage(struct listener_set *set, const struct plan *plan, uint32_t workers,
                              struct why *why)
{
    struct result r = result_ok();
    for (uint32_t i = 0; i < set->count; i++) {
        struct listener_group *g = &set->groups[i];
        g->was_wanted = g->wanted;
        g->wanted = g->is_new = false;
        g->settled = g->count;
    }
    for (uint32_t i = 0; i < plan->count && result_is_ok(r); i++)
        r = stage_one(set, &plan->listeners[i], workers, why);
    if (!result_is_ok(r))
        listeners_rollback(set, NULL, NULL);
    return r;
}

/* Closing is not enough when the data process does not hear that it shall close, too: a client
 * whose connection the kernel gives to such a socket would wait for nobody. */
static void stop_listening(const struct listener_group *g)
{
    for (uint32_t i = g->shared; i < g->count; i++)
        (void)shutdown(g->fds[i], SHUT_RDWR);
}

void listeners_rollback(struct listener_set *set,
                        void (*gone)(void *arg, const struct listener_group *group), void *arg)
{
    for (uint32_t i = 0; i < set->count; i++) {
        struct listener_group *g = &set->groups[i];
        g->wanted = g->was_wanted;
        if (!g->is_new) { /* what data accepts on goes with the group */
            close_sockets(g, g->known > g->settled ? g->known : g->settled);
            continue;
        }
        stop_listening(g);
        if (gone && g->known)
            gone(arg, g);
    }
    sweep(set, is_kept, NULL, NULL);
}

void listeners_commit(struct listener_set *set,
                      void (*gone)(void *arg, const struct listener_group *group), void *arg)
{
    sweep(set, is_wanted, gone, arg);
    for (uint32_t i = 0; i < set->count; i++)
        set->groups[i].is_new = false;
}

uint32_t listeners_worker(const struct listener_group *group, uint32_t index, uint32_t workers)
{
    return group->adopted || index >= workers ? LISTENER_ALL_WORKERS : index;
}

void listeners_close(struct listener_set *set)
{
    for (uint32_t i = 0; i < set->count; i++)
        free_group(&set->groups[i]);
    free(set->groups);
    *set = (struct listener_set){.next_id = set->next_id};
}

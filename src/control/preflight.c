/* SPDX-License-Identifier: Apache-2.0 */
#include "control/preflight.h"

#include "base/clock.h"

#include <arpa/inet.h>
#include <errno.h>
#include <ifaddrs.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/statvfs.h>
#include <unistd.h>

#define CLOCK_SKEW_S  300
#define DISK_FREE_MIN (4ull << 20)
#define SILENCE_MAX   3 /* names whose records nobody tells, after which no other is asked about */
#define ADDRESS_NS    (10 * NS_PER_S) /* for one name */
#define CONNECT_NS    (3 * NS_PER_S)
#define SOCKETS_MAX   2 /* one for each challenge that a worker answers */

struct preflight {
    struct preflight_subject subject;
    const struct config_resolver *config;
    struct preflight_finding findings[PREFLIGHT_CHECKS];
    uint32_t at;    /* check, */
    uint32_t index; /* ... name or socket in it */
    uint32_t silences;
    struct propagation *dns;
    struct loop_timer turn;  /* the next thing, */
    struct loop_timer limit; /* ... or the end of waiting for it */
    struct loop_fd connection;
    struct net_addr sockets[SOCKETS_MAX]; /* to be tried */
    uint32_t socket_count;
    preflight_done *done;
    void *arg;
};

const char *preflight_name(enum preflight_check check)
{
    static const char *const names[PREFLIGHT_CHECKS] = {"clock", "disk", "caa", "address", "port"};
    return names[check];
}

static void destroy(struct preflight *p)
{
    if (p->dns)
        propagation_cancel(p->dns);
    loop_timer_cancel(p->subject.loop, &p->turn);
    loop_timer_cancel(p->subject.loop, &p->limit);
    if (p->connection.fd != -1) {
        loop_watch(p->subject.loop, &p->connection, 0);
        close(p->connection.fd);
    }
    free(p);
}

/* ---- moves ----------------------------------------------------------------------------------- */

static void go_on(struct preflight *p)
{
    loop_timer_set(p->subject.loop, &p->turn, clock_now_ns());
}

static void next_check(struct preflight *p, enum preflight_verdict verdict)
{
    p->findings[p->at].verdict = verdict;
    p->at++;
    p->index = 0;
    go_on(p);
}

__attribute__((format(printf, 3, 4))) static void end_check(struct preflight *p,
                                                            enum preflight_verdict verdict,
                                                            const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(p->findings[p->at].why.text, sizeof p->findings[p->at].why.text, fmt, ap);
    va_end(ap);
    next_check(p, verdict);
}

/* ---- clock, disk ------------------------------------------------------------------------------
 */

static void check_clock(struct preflight *p)
{
    long long skew_s = acme_clock_skew_s(p->subject.ca->acme);
    long long size_s = skew_s < 0 ? -skew_s : skew_s;
    if (size_s <= CLOCK_SKEW_S)
        next_check(p, PREFLIGHT_GOOD);
    else
        end_check(p, PREFLIGHT_BAD,
                  "this machine's clock is %lld s %s the CA's: certificates begin and end at other "
                  "times than it seems",
                  size_s, skew_s > 0 ? "behind" : "ahead of");
}

static void check_disk(struct preflight *p)
{
    struct statvfs st;
    const char *slash = p->config->storage ? strrchr(p->config->storage, '/') : NULL;
    if (!slash) {
        next_check(p, PREFLIGHT_UNKNOWN);
        return;
    }
    char *directory = mem_strndup(p->config->storage, (size_t)(slash - p->config->storage) + 1);
    if (statvfs(directory, &st) != 0)
        next_check(p, PREFLIGHT_UNKNOWN);
    else if ((unsigned long long)st.f_bavail * st.f_frsize >= DISK_FREE_MIN)
        next_check(p, PREFLIGHT_GOOD);
    else
        end_check(p, PREFLIGHT_BAD,
                  "less than 4 MB are free in %s, where the certificate is to be stored",
                  directory);
    free(directory);
}

/* ---- CAA --------------------------------------------------------------------------------------
 */

static bool is_address(const char *name)
{
    uint8_t raw[16];
    return inet_pton(AF_INET, name, raw) == 1 || inet_pton(AF_INET6, name, raw) == 1;
}

/* Where the public looks. */
static struct propagation_options public_view(const struct preflight *p)
{
    struct propagation_options options = resolver_propagation(p->subject.resolver);
    if (p->config->check_resolver_count) {
        options.resolvers = p->config->check_resolvers;
        options.resolver_count = p->config->check_resolver_count;
    }
    return options;
}

static void on_caa(void *arg, enum propagation_caa_verdict verdict, const char *text)
{
    struct preflight *p = arg;
    struct preflight_finding *f = &p->findings[PREFLIGHT_CAA];
    const char *name = p->subject.names[p->index];
    p->dns = NULL;
    if (verdict == PROPAGATION_CAA_FORBIDDEN) {
        end_check(p, PREFLIGHT_BAD, "%s: %.440s", name, text);
        return;
    }
    if (verdict == PROPAGATION_CAA_UNKNOWN && !f->why.text[0])
        snprintf(f->why.text, sizeof f->why.text, "%s: %.440s", name, text);
    p->silences += verdict == PROPAGATION_CAA_UNKNOWN;
    p->index++;
    if (p->silences < SILENCE_MAX)
        go_on(p);
    else
        next_check(p, PREFLIGHT_UNKNOWN);
}

static void check_caa(struct preflight *p)
{
    const struct document_directory *d = acme_directory(p->subject.ca->acme);
    while (p->index < p->subject.count && is_address(p->subject.names[p->index]))
        p->index++;
    if (p->index == p->subject.count) {
        next_check(p, p->findings[PREFLIGHT_CAA].why.text[0] ? PREFLIGHT_UNKNOWN : PREFLIGHT_GOOD);
        return;
    }
    if (!d->caa_identity_count) {
        end_check(p, PREFLIGHT_UNKNOWN, "the CA has not told its name in CAA records");
        return;
    }
    struct propagation_options options = public_view(p);
    p->dns =
        propagation_caa(p->subject.loop, &options, p->subject.names[p->index],
                        (const char *const *)d->caa_identities, d->caa_identity_count, on_caa, p);
}

/* ---- addresses --------------------------------------------------------------------------------
 */

static bool is_same_ip(const struct net_addr *a, const struct net_addr *b)
{
    char x[NET_ADDR_TEXT_MAX], y[NET_ADDR_TEXT_MAX];
    return !strcmp(net_addr_print_ip(a, x), net_addr_print_ip(b, y));
}

/* One of this machine's, or one that a router in front of it has. */
static bool is_ours(const struct preflight *p, const struct ifaddrs *list,
                    const struct net_addr *addr)
{
    for (uint32_t i = 0; i < p->config->public_address_count; i++)
        if (is_same_ip(addr, &p->config->public_addresses[i]))
            return true;
    for (const struct ifaddrs *i = list; i; i = i->ifa_next) {
        struct net_addr own = {0};
        int family = i->ifa_addr ? i->ifa_addr->sa_family : AF_UNSPEC;
        if (family != AF_INET && family != AF_INET6)
            continue;
        own.len = family == AF_INET ? sizeof own.in : sizeof own.in6;
        memcpy(&own.sa, i->ifa_addr, own.len);
        if (is_same_ip(addr, &own))
            return true;
    }
    return false;
}

/* The CA may choose any of a name's addresses. */
static void judge_addresses(struct preflight *p, const struct net_addr *addrs, uint32_t count)
{
    struct ifaddrs *list = NULL;
    const char *name = p->subject.names[p->index];
    char text[NET_ADDR_TEXT_MAX];
    uint32_t i = 0;
    if (getifaddrs(&list) == -1)
        list = NULL;
    while (i < count && is_ours(p, list, &addrs[i]))
        i++;
    freeifaddrs(list);
    if (i < count) {
        end_check(p, PREFLIGHT_BAD,
                  "%s leads to %s, which is no address of this machine: the CA connects there "
                  "(those of a router in front stand in preflight.publicAddresses)",
                  name, net_addr_print_ip(&addrs[i], text));
        return;
    }
    p->index++;
    go_on(p);
}

static void on_resolved(void *arg, const struct net_addr *addrs, uint32_t count, const char *text)
{
    struct preflight *p = arg;
    p->dns = NULL;
    loop_timer_cancel(p->subject.loop, &p->limit);
    if (count)
        judge_addresses(p, addrs, count);
    else if (addrs)
        end_check(p, PREFLIGHT_BAD, "%.400s: the CA cannot connect to it", text);
    else
        end_check(p, PREFLIGHT_UNKNOWN, "%.400s", text);
}

/* The CA connects to the name itself. */
static bool is_connected_to(const struct preflight *p, uint32_t index)
{
    return p->subject.challenges[index] != ORDER_CHALLENGE_DNS;
}

static void check_address(struct preflight *p)
{
    while (p->index < p->subject.count && !is_connected_to(p, p->index))
        p->index++;
    if (p->index == p->subject.count) {
        next_check(p, PREFLIGHT_GOOD);
        return;
    }
    const char *name = p->subject.names[p->index];
    struct net_addr addr;
    char text[NET_ADDR_TEXT_MAX];
    snprintf(text, sizeof text, strchr(name, ':') ? "[%s]" : "%s", name);
    if (is_address(name) && result_is_ok(net_addr_parse(span_str(text), 1, &addr))) {
        judge_addresses(p, &addr, 1);
        return;
    }
    struct propagation_options options = public_view(p);
    options.only_dns = true;
    loop_timer_set(p->subject.loop, &p->limit, clock_now_ns() + ADDRESS_NS);
    p->dns = propagation_resolve(p->subject.loop, &options, name, 0, on_resolved, p);
}

/* ---- ports ------------------------------------------------------------------------------------
 */

/* A socket of an entry point that listens on this port, as it is reached from here. */
static bool find_socket(const struct config_entrypoint *e, uint16_t port, struct net_addr *ret)
{
    for (uint32_t i = 0; i < e->address_count; i++) {
        const struct net_addr *a = &e->sockets[i];
        if (net_addr_port(a) != port)
            continue;
        bool any4 = a->sa.sa_family == AF_INET && a->in.sin_addr.s_addr == htonl(INADDR_ANY);
        bool any6 = a->sa.sa_family == AF_INET6 && IN6_IS_ADDR_UNSPECIFIED(&a->in6.sin6_addr);
        *ret = *a;
        if (any4 || any6) {
            *ret = (struct net_addr){.in = {.sin_family = AF_INET}, .len = sizeof ret->in};
            ret->in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
            net_addr_set_port(ret, port);
        }
        return true;
    }
    return false;
}

/* False: the check is over. */
static bool add_http(struct preflight *p)
{
    const struct config *c = p->subject.resolver->all;
    for (uint32_t i = 0; i < c->entrypoint_count; i++)
        if (!strcasecmp(c->entrypoints[i].name, p->config->http_challenge_entrypoint) &&
            find_socket(&c->entrypoints[i], p->config->http_challenge_port,
                        &p->sockets[p->socket_count])) {
            p->socket_count++;
            return true;
        }
    end_check(p, PREFLIGHT_BAD,
              "entry point %s does not listen on port %u, where the CA looks for HTTP-01 "
              "(httpChallenge.port names another one that it is forwarded to)",
              p->config->http_challenge_entrypoint, p->config->http_challenge_port);
    return false;
}

static bool add_tls(struct preflight *p)
{
    const struct config *c = p->subject.resolver->all;
    for (uint32_t i = 0; i < c->entrypoint_count; i++)
        if (find_socket(&c->entrypoints[i], p->config->tls_challenge_port,
                        &p->sockets[p->socket_count])) {
            p->socket_count++;
            return true;
        }
    end_check(p, PREFLIGHT_BAD,
              "no entry point listens on port %u, where the CA looks for TLS-ALPN-01 "
              "(tlsChallenge.port names another one that it is forwarded to)",
              p->config->tls_challenge_port);
    return false;
}

static bool uses(const struct preflight *p, enum order_challenge challenge)
{
    for (uint32_t i = 0; i < p->subject.count; i++)
        if (p->subject.challenges[i] == challenge)
            return true;
    return false;
}

static void refused(struct preflight *p, int error)
{
    char text[NET_ADDR_TEXT_MAX];
    end_check(p, PREFLIGHT_BAD, "no entry point takes a connection at %s: %s",
              net_addr_print(&p->sockets[p->index], text), strerror(error));
}

static void end_connection(struct preflight *p)
{
    loop_timer_cancel(p->subject.loop, &p->limit);
    loop_watch(p->subject.loop, &p->connection, 0);
    close(p->connection.fd);
    p->connection.fd = -1;
}

static void connected(struct loop_fd *w, uint32_t events)
{
    struct preflight *p = LIST_ENTRY(w, struct preflight, connection);
    int error = 0;
    socklen_t len = sizeof error;
    if (getsockopt(w->fd, SOL_SOCKET, SO_ERROR, &error, &len) == -1)
        error = errno;
    end_connection(p);
    if (error) {
        refused(p, error);
        return;
    }
    p->index++;
    go_on(p);
}

static void connect_next(struct preflight *p)
{
    const struct net_addr *to = &p->sockets[p->index];
    p->connection.fd = socket(to->sa.sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (p->connection.fd == -1) {
        refused(p, errno);
        return;
    }
    int error = connect(p->connection.fd, &to->sa, to->len) == 0 ? 0 : errno;
    loop_watch(p->subject.loop, &p->connection, EPOLLOUT);
    if (error && error != EINPROGRESS) {
        end_connection(p);
        refused(p, error);
        return;
    }
    loop_timer_set(p->subject.loop, &p->limit, clock_now_ns() + CONNECT_NS);
}

static void check_port(struct preflight *p)
{
    if (p->index == 0 && p->socket_count == 0) {
        if ((uses(p, ORDER_CHALLENGE_HTTP) && !add_http(p)) ||
            (uses(p, ORDER_CHALLENGE_TLS) && !add_tls(p)))
            return;
    }
    if (p->index < p->socket_count)
        connect_next(p);
    else
        next_check(p, PREFLIGHT_GOOD);
}

/* ---- one after the other ----------------------------------------------------------------------
 */

static void (*const checks[PREFLIGHT_CHECKS])(struct preflight *p) = {
    [PREFLIGHT_CLOCK] = check_clock,     [PREFLIGHT_DISK] = check_disk, [PREFLIGHT_CAA] = check_caa,
    [PREFLIGHT_ADDRESS] = check_address, [PREFLIGHT_PORT] = check_port,
};

static void take_turn(struct loop_timer *t)
{
    struct preflight *p = LIST_ENTRY(t, struct preflight, turn);
    while (p->at < PREFLIGHT_CHECKS && p->findings[p->at].policy == CONFIG_CHECK_OFF)
        p->at++;
    if (p->at < PREFLIGHT_CHECKS) {
        checks[p->at](p);
        return;
    }
    p->done(p->arg, p->findings);
    destroy(p);
}

/* Nobody answers: what is not known keeps no order back. */
static void waited(struct loop_timer *t)
{
    struct preflight *p = LIST_ENTRY(t, struct preflight, limit);
    if (p->dns)
        propagation_cancel(p->dns);
    p->dns = NULL;
    if (p->connection.fd != -1) {
        end_connection(p);
        refused(p, ETIMEDOUT);
        return;
    }
    end_check(p, PREFLIGHT_UNKNOWN, "the addresses of %s are not known: no answer from DNS in time",
              p->subject.names[p->index]);
}

struct preflight *preflight_start(const struct preflight_subject *subject, preflight_done *done,
                                  void *arg)
{
    const struct config_resolver *c = subject->resolver->config;
    struct preflight *p = mem_zalloc(sizeof *p);
    p->subject = *subject;
    p->config = c;
    p->done = done;
    p->arg = arg;
    p->findings[PREFLIGHT_CLOCK].policy = c->check_clock;
    p->findings[PREFLIGHT_DISK].policy = c->check_disk;
    p->findings[PREFLIGHT_CAA].policy = c->check_caa;
    p->findings[PREFLIGHT_ADDRESS].policy = c->check_address;
    p->findings[PREFLIGHT_PORT].policy = c->check_port;
    p->connection = (struct loop_fd){-1, 0, connected};
    loop_timer_init(&p->turn, take_turn);
    loop_timer_init(&p->limit, waited);
    go_on(p);
    return p;
}

void preflight_cancel(struct preflight *p)
{
    if (p)
        destroy(p);
}

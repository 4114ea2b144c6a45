/* SPDX-License-Identifier: Apache-2.0 */
/* tests/tools/data_driver.c - the data plane alone, with what control and the supervisor would say
 * made up here: to try and to measure it.
 *
 *   data_driver [--workers N] [--cpu FIRST] [--conns N] --listen PORT... --tls PORT... [--host H]
 *               [--redirect PORT] [--changes PER_SECOND] [--tickets 0|1] [--polls 0|1]
 *               [--cycles 0|1] --upstream IP:PORT...
 *
 * Every listener sends every request (or those for --host) to the upstreams. The certificate is
 * made at start, for localhost and *.edge.test. SIGTERM drains; "ready" is printed on stdout.
 * With --changes, so many times a second a name gets a certificate that was not there: localhost
 * and the default in turn with names that appear and disappear. How many it were is printed at the
 * end. With --polls 1, workers do not wait in the kernel but look again every 50 microseconds:
 * valgrind lets no other thread run while one waits in io_uring_enter. With --cycles 1 and one
 * worker, the processor's cycles between two calls of io_uring_enter are added up: what a request
 * costs outside of the kernel, least and quarters of windows of CYCLES_WINDOW requests, is printed
 * at the end (nanoseconds where there is no such counter). */
#include "base/buf.h"
#include "base/clock.h"
#include "base/log.h"
#include "bridge/publish.h"
#include "bridge/report.h"
#include "crypto/key.h"
#include "crypto/x509.h"
#include "data/data.h"

#include <liburing.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>
#if defined(__x86_64__)
#include <x86intrin.h>
#define CYCLES() __rdtsc()
#else
#define CYCLES() clock_now_ns()
#endif

#define MAX 16
/* For every phase: a machine under load may stall for seconds, and no test here is of the limits.
 */
#define PATIENCE_MS 30000
#define POLL_NS     50000

#define CYCLES_WINDOW  500
#define CYCLES_WINDOWS 100000

static bool polls;

/* Of the one worker; written by it alone until it has ended. */
static struct cycles {
    const struct report *report; /* NULL: nothing is counted */
    uint64_t since;              /* when io_uring_enter returned; 0 = not yet */
    uint64_t spent, requests;    /* of the window */
    uint32_t count;
    float each[CYCLES_WINDOWS];
} cycles;

struct driver {
    uint32_t workers, cpu, conns;
    uint32_t changes_per_s;
    _Atomic uint64_t changes;
    _Atomic bool ended;
    bool no_tickets, cycles;
    struct {
        uint16_t port;
        bool tls, redirect;
        char name[16];
    } entries[MAX];
    uint32_t entry_count;
    struct net_addr upstreams[MAX];
    uint32_t upstream_count;
    const char *host;
    int bridge, supervisor;
    struct report *report;
};

/* The linker puts it before liburing's. */
int __real_io_uring_enter2(unsigned fd, unsigned submit, unsigned wait, unsigned flags,
                           sigset_t *sig, size_t size);
int __wrap_io_uring_enter2(unsigned fd, unsigned submit, unsigned wait, unsigned flags,
                           sigset_t *sig, size_t size);

static void cycles_add(struct cycles *c)
{
    if (c->since)
        c->spent += CYCLES() - c->since;
    uint64_t requests = report_sum(c->report, REPORT_REQUESTS);
    uint64_t more = requests - c->requests;
    if (more < CYCLES_WINDOW)
        return;
    if (c->count < CYCLES_WINDOWS)
        c->each[c->count++] = (float)c->spent / (float)more;
    c->requests = requests;
    c->spent = 0;
}

static int compare_floats(const void *a, const void *b)
{
    float x = *(const float *)a, y = *(const float *)b;
    return (x > y) - (x < y);
}

static void cycles_print(struct cycles *c)
{
    if (!c->count)
        return;
    qsort(c->each, c->count, sizeof *c->each, compare_floats);
    fprintf(stderr, "%-22s %.0f %.0f %.0f %.0f (least, quarters; %u windows)\n", "cycles_each",
            c->each[0], c->each[c->count / 4], c->each[c->count / 2], c->each[c->count / 4 * 3],
            c->count);
}

int __wrap_io_uring_enter2(unsigned fd, unsigned submit, unsigned wait, unsigned flags,
                           sigset_t *sig, size_t size)
{
    if (cycles.report) {
        cycles_add(&cycles);
        int n = __real_io_uring_enter2(fd, submit, wait, flags, sig, size);
        cycles.since = CYCLES();
        return n;
    }
    if (!polls || !wait)
        return __real_io_uring_enter2(fd, submit, wait, flags, sig, size);
    int n = __real_io_uring_enter2(fd, submit, 0, flags, sig, size);
    nanosleep(&(struct timespec){.tv_nsec = POLL_NS}, NULL);
    return n;
}

static _Noreturn void die(const char *what)
{
    fprintf(stderr, "data_driver: %s\n", what);
    exit(2);
}

static void parse(struct driver *d, int argc, char **argv)
{
    d->workers = 1;
    d->cpu = UINT32_MAX;
    d->conns = 4096;
    for (int i = 1; i + 1 < argc; i += 2) {
        const char *key = argv[i], *value = argv[i + 1];
        bool tls = !strcmp(key, "--tls"), redirect = !strcmp(key, "--redirect");
        if (!strcmp(key, "--workers"))
            d->workers = (uint32_t)strtoul(value, NULL, 10);
        else if (!strcmp(key, "--cpu"))
            d->cpu = (uint32_t)strtoul(value, NULL, 10);
        else if (!strcmp(key, "--conns"))
            d->conns = (uint32_t)strtoul(value, NULL, 10);
        else if (!strcmp(key, "--changes"))
            d->changes_per_s = (uint32_t)strtoul(value, NULL, 10);
        else if (!strcmp(key, "--tickets"))
            d->no_tickets = !strcmp(value, "0");
        else if (!strcmp(key, "--polls"))
            polls = !strcmp(value, "1");
        else if (!strcmp(key, "--cycles"))
            d->cycles = !strcmp(value, "1");
        else if (!strcmp(key, "--host"))
            d->host = value;
        else if (tls || redirect || !strcmp(key, "--listen")) {
            if (d->entry_count == MAX)
                die("too many listeners");
            d->entries[d->entry_count].port = (uint16_t)strtoul(value, NULL, 10);
            d->entries[d->entry_count].tls = tls;
            d->entries[d->entry_count].redirect = redirect;
            snprintf(d->entries[d->entry_count].name, 16, "e%u", d->entry_count);
            d->entry_count++;
        } else if (!strcmp(key, "--upstream") && d->upstream_count < MAX) {
            if (!result_is_ok(
                    net_addr_parse(span_str(value), 0, &d->upstreams[d->upstream_count++])))
                die("--upstream IP:PORT");
        } else {
            die("usage: see the source");
        }
    }
    if (!d->entry_count || !d->upstream_count)
        die("needs --listen or --tls, and --upstream");
}

static int listen_on(uint16_t port)
{
    struct sockaddr_in in = {
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int on = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof on);
    if (bind(fd, (struct sockaddr *)&in, sizeof in) < 0 || listen(fd, 1024) < 0)
        die("cannot listen");
    return fd;
}

static const struct snap_h2 h2_bounds = {250, 65535, 1048576, 8, 200, 1000, 100, 100};

static void put_snapshot(const struct driver *d, struct buf *out)
{
    static char urls[MAX][80];
    struct snap_entrypoint entrypoints[MAX] = {0};
    struct snap_router routers[MAX] = {0};
    struct snap_server servers[MAX] = {0};
    struct snap_rule_node node = {.op = SNAP_RULE_ANY};
    if (d->host)
        node = (struct snap_rule_node){SNAP_RULE_HOST, span_str(d->host)};
    struct snap_service service = {.name = SPAN_LITERAL("origin"),
                                   .server_count = d->upstream_count,
                                   .pass_host_header = true,
                                   .dial_timeout_ms = PATIENCE_MS,
                                   .response_header_timeout_ms = PATIENCE_MS,
                                   .idle_timeout_ms = 60000,
                                   .max_idle_per_server = 512};
    struct snap_transport transport = {.id = 1, .roots = SNAP_NONE};
    struct snap_tls tls = {.name = SPAN_LITERAL("default"),
                           .min_version = 0x0303,
                           .max_version = 0x0304,
                           .no_tickets = d->no_tickets};
    for (uint32_t i = 0; i < d->entry_count; i++) {
        entrypoints[i] = (struct snap_entrypoint){
            .name = span_str(d->entries[i].name),
            .redirect_status = d->entries[i].redirect ? 308 : 0,
            .redirect_scheme = SPAN_LITERAL("https"),
            .read_timeout_ms = 60000,
            .head_timeout_ms = PATIENCE_MS,
            .idle_timeout_ms = 60000,
            .handshake_timeout_ms = PATIENCE_MS,
            .head_max_bytes = 65536,
            .h2 = h2_bounds,
            .grace_timeout_ms = 5000,
            .first_router = i,
            .router_count = 1,
            .tls = d->entries[i].tls,
        };
        routers[i] = (struct snap_router){.name = span_str(d->entries[i].name),
                                          .node_count = 1,
                                          .tls = d->entries[i].tls ? 0 : SNAP_NONE,
                                          .entrypoint = i};
    }
    for (uint32_t i = 0; i < d->upstream_count; i++) {
        char text[NET_ADDR_TEXT_MAX];
        snprintf(urls[i], sizeof urls[i], "http://%s", net_addr_print(&d->upstreams[i], text));
        servers[i] = (struct snap_server){.url = span_str(urls[i]),
                                          .host = span_str(urls[i] + 7),
                                          .port = net_addr_port(&d->upstreams[i]),
                                          .weight = 1};
    }
    struct snapshot s = {.version = 1,
                         .conns_per_worker = d->conns,
                         .entrypoints = entrypoints,
                         .routers = routers,
                         .rule_nodes = &node,
                         .services = &service,
                         .servers = servers,
                         .tls = &tls,
                         .entrypoint_count = d->entry_count,
                         .router_count = d->entry_count,
                         .rule_node_count = 1,
                         .transports = &transport,
                         .transport_count = 1,
                         .service_count = 1,
                         .server_count = d->upstream_count,
                         .tls_count = 1};
    publish_snapshot(out, &s);
    for (uint32_t i = 0; i < d->upstream_count; i++)
        publish_server(out, 1, i, &d->upstreams[i], 1, true);
}

/* A certificate of our own for these names, with its key, into `out` under this id. */
static void make_certificate(struct key *key, uint64_t id, struct buf *out)
{
    struct why why;
    struct buf der = {0}, chain = {0}, key_der = {0};
    const char *names[] = {"localhost", "*.edge.test", "127.0.0.1"};
    if (!result_is_ok(x509_self_signed(key, names, 3, 30, &der, &why)) ||
        !result_is_ok(key_to_der(key, &key_der)))
        die("cannot make a certificate");
    buf_put_be(&chain, der.len, 3);
    buf_put_span(&chain, buf_span(&der));
    struct publish_cert cert = {
        .id = id, .not_after_s = INT32_MAX, .chain = buf_span(&chain), .key = buf_span(&key_der)};
    publish_cert(out, &cert);
    buf_free(&der);
    buf_free(&chain);
    buf_free(&key_der);
}

static struct key *make_key(void)
{
    struct why why;
    struct key *key;
    if (!result_is_ok(key_generate(KEY_EC256, &key, &why)))
        die(why.text);
    return key;
}

static void put_certificate(struct buf *out)
{
    struct key *key = make_key();
    make_certificate(key, 1, out);
    publish_name(out, SPAN_LITERAL("localhost"), 1, 0, 0);
    publish_name(out, SPAN_LITERAL("*.edge.test"), 1, 0, 0);
    publish_name(out, SPAN_LITERAL(""), 1, 0, PUBLISH_NAME_DEFAULT);
    struct ticket_keys keys = {.count = 1};
    memset(&keys.keys[0], 7, sizeof keys.keys[0]);
    publish_ticket_keys(out, &keys);
    key_free(key);
}

static void give_bridge(int supervisor, int fd)
{
    union {
        struct cmsghdr header;
        char room[CMSG_SPACE(sizeof(int))];
    } control = {.header = {.cmsg_len = CMSG_LEN(sizeof(int)),
                            .cmsg_level = SOL_SOCKET,
                            .cmsg_type = SCM_RIGHTS}};
    memcpy(CMSG_DATA(&control.header), &fd, sizeof fd);
    struct iovec iov = {(void *)"P", 1};
    struct msghdr msg = {.msg_iov = &iov,
                         .msg_iovlen = 1,
                         .msg_control = &control,
                         .msg_controllen = sizeof control};
    if (sendmsg(supervisor, &msg, 0) != 1)
        die("cannot pass the bridge");
}

static void send_all(int fd, struct buf *out)
{
    for (size_t at = 0; at < out->len;) {
        ssize_t n = send(fd, out->ptr + at, out->len - at, MSG_NOSIGNAL);
        if (n <= 0)
            break; /* data has ended */
        at += (size_t)n;
    }
    out->len = 0;
}

/* Change number n: a certificate that was not there before, and who uses it. */
static void put_change(uint64_t n, struct key *key, struct buf *out)
{
    char name[32];
    uint64_t id = n + 2;
    make_certificate(key, id, out);
    snprintf(name, sizeof name, "n%llu.edge.test", (unsigned long long)(n % 512));
    switch (n % 4) {
    case 0:
        publish_name(out, SPAN_LITERAL(""), id, 0, PUBLISH_NAME_DEFAULT);
        break;
    case 1:
        publish_name(out, span_str(name), id, 0, 0);
        break;
    default:
        publish_name(out, SPAN_LITERAL("localhost"), id, 0, 0);
    }
    if (n % 4 == 3) { /* half of the other names again */
        snprintf(name, sizeof name, "n%llu.edge.test", (unsigned long long)((n + 250) % 512));
        publish_name_remove(out, span_str(name));
    }
}

/* Keeps to the rate on average, however late it is woken. */
static void churn(struct driver *d, int fd)
{
    struct buf out = {0};
    struct key *key = make_key();
    uint64_t started_ns = clock_now_ns();
    while (!d->ended) {
        uint64_t due = (clock_now_ns() - started_ns) * d->changes_per_s / NS_PER_S;
        for (; d->changes < due && !d->ended; d->changes++) {
            put_change(d->changes, key, &out);
            send_all(fd, &out);
        }
        nanosleep(&(struct timespec){.tv_nsec = 2000000}, NULL);
    }
    key_free(key);
    buf_free(&out);
}

/* What control and the supervisor would do. */
static void *play(void *arg)
{
    struct driver *d = arg;
    struct buf out = {0};
    int pair[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
        die("socketpair");
    give_bridge(d->supervisor, pair[0]);
    (void)close(pair[0]); /* else a full one would be waited for when data has ended */
    publish_sync_begin(&out);
    put_certificate(&out);
    put_snapshot(d, &out);
    publish_sync_end(&out);
    send_all(pair[1], &out);
    buf_free(&out);
    char what;
    if (recv(d->supervisor, &what, 1, 0) == 1 && what == 'R') {
        printf("ready\n");
        fflush(stdout);
        if (d->changes_per_s)
            churn(d, pair[1]);
    }
    return NULL;
}

int main(int argc, char **argv)
{
    struct driver d = {0};
    struct why why = {0};
    parse(&d, argc, argv);
    log_init("data", LOG_LEVEL_INFO);
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    sigprocmask(SIG_BLOCK, &set, NULL);

    static struct data_listener listeners[MAX * 64];
    static uint32_t cpus[64];
    uint32_t count = 0;
    for (uint32_t w = 0; w < d.workers && w < 64; w++) {
        cpus[w] = d.cpu == UINT32_MAX ? UINT32_MAX : d.cpu + w;
        for (uint32_t i = 0; i < d.entry_count; i++)
            listeners[count++] =
                (struct data_listener){listen_on(d.entries[i].port), w, i, d.entries[i].name};
    }
    int pair[2], report_fd;
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0 ||
        !result_is_ok(report_create(d.workers, &report_fd, &why)) ||
        !result_is_ok(report_map(report_fd, &d.report, &why)))
        die(why.text);
    d.supervisor = pair[1];
    cycles.report = d.cycles && d.workers == 1 ? d.report : NULL;
    pthread_t player;
    if (pthread_create(&player, NULL, play, &d) != 0)
        die("thread");
    struct data_config config = {.workers = d.workers,
                                 .cpus = cpus,
                                 .worker_connections = d.conns,
                                 .listeners = listeners,
                                 .listener_count = count,
                                 .supervisor_fd = pair[0],
                                 .report_fd = report_fd};
    int code = data_run(&config);
    d.ended = true;
    shutdown(pair[1], SHUT_RDWR); /* it may still wait to hear that all is ready */
    pthread_join(player, NULL);
    if (d.changes_per_s)
        fprintf(stderr, "%-22s %llu\n", "changes", (unsigned long long)d.changes);
    cycles_print(&cycles);
    for (int c = 0; c < REPORT_COUNT; c++)
        if (report_sum(d.report, (enum report_counter)c))
            fprintf(stderr, "%-22s %llu\n", report_name((enum report_counter)c),
                    (unsigned long long)report_sum(d.report, (enum report_counter)c));
    report_unmap(d.report);
    return code;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* bench/tls_client - a TLS 1.3 client that makes connections, for measurements: full and resumed
 * handshakes, many server names, idle connections. One thread. Prints JSON objects, one a line.
 *
 *   tls_client ADDRESS:PORT [--mode new|resume|idle] [--connections N] [--count N] [--host NAME]
 *              [--names N] [--path PATH] [--group NAME] [--alpn NAME]
 *
 * new, resume: N connections at a time, each with one request, until --count are done or SIGTERM or
 * SIGINT comes; resume offers the ticket of the connection before. SIGUSR1 begins the figures anew.
 * idle: opens --connections, a few at a time, each with one request; prints {"open":N} and keeps
 * them until a signal. --names N: connection i asks for hI.NAME, I = i modulo N, in five digits. */
#include "base/buf.h"
#include "base/clock.h"
#include "base/net.h"

#include <wolfssl/options.h>
#include <wolfssl/ssl.h>

#include <errno.h>
#include <getopt.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <unistd.h>

enum {
    HEAD_BYTES = 2048,
    BODY_BYTES = 65536,
    EVENTS = 256,
    OPENING_MAX = 64, /* idle connections that are being made at a time */
    ERRORS_MAX = 50,
    STEPS = 32, /* of the histogram, to each power of two */
    BUCKETS = 64 * STEPS,
};

enum mode { MODE_NEW, MODE_RESUME, MODE_IDLE };
enum phase { PHASE_NONE, PHASE_HANDSHAKE, PHASE_REQUEST, PHASE_HEAD, PHASE_BODY, PHASE_END };

struct client {
    int fd;
    enum phase phase;
    WOLFSSL *ssl;
    WOLFSSL_SESSION *session; /* for the next connection */
    uint64_t start_ns;
    uint64_t body_left;
    uint32_t head_len;
    bool idle;
    char *head;
};

static struct {
    struct net_addr address;
    enum mode mode;
    unsigned connections, names;
    uint64_t count;
    const char *host, *path, *group, *alpn;
} opt = {.connections = 1, .host = "localhost", .path = "/", .group = "X25519"};

static const struct {
    const char *name;
    int number;
} groups[] = {{"X25519", WOLFSSL_ECC_X25519},
              {"X25519MLKEM768", WOLFSSL_X25519MLKEM768},
              {"P-256", WOLFSSL_ECC_SECP256R1}};

static struct {
    uint64_t requests, resumed, errors, closed, body_bytes;
    uint64_t latency_us[BUCKETS];
} sum;

static struct client *clients;
static WOLFSSL_CTX *ctx;
static int epoll_fd, group_number;
static uint64_t started, answered; /* since the start of the program */
static unsigned opening;
static char first_error[256], suite[64], group[64], version[32], alpn[32];
static int status;
static bool printed_open;

static _Noreturn void usage(const char *what)
{
    fprintf(stderr,
            "tls_client: %s\nusage: tls_client ADDRESS:PORT [--mode new|resume|idle] "
            "[--connections N] [--count N] [--host NAME]\n  [--names N] [--path PATH] "
            "[--group X25519|X25519MLKEM768|P-256] [--alpn NAME]\n",
            what);
    exit(2);
}

static _Noreturn void fail(const char *what)
{
    fprintf(stderr, "tls_client: %s: %m\n", what);
    exit(1);
}

/* --- figures ------------------------------------------------------------------------------------
 */

static unsigned bucket_of(uint64_t value)
{
    if (value < STEPS)
        return (unsigned)value;
    unsigned shift = 63 - (unsigned)__builtin_clzll(value) - 5; /* STEPS is 2^5 */
    return (shift + 1) * STEPS + (unsigned)(value >> shift) - STEPS;
}

static uint64_t bucket_value(unsigned bucket)
{
    if (bucket < STEPS)
        return bucket;
    return (uint64_t)(STEPS + bucket % STEPS) << (bucket / STEPS - 1);
}

static uint64_t percentile(double share)
{
    uint64_t wanted = (uint64_t)(share * (double)sum.requests), seen = 0;
    for (unsigned i = 0; i < BUCKETS; i++) {
        seen += sum.latency_us[i];
        if (seen > wanted)
            return bucket_value(i);
    }
    return 0;
}

static void print_figures(void)
{
    printf("{\"requests\":%llu,\"resumed\":%llu,\"errors\":%llu,\"first_error\":\"%s\","
           "\"closed\":%llu,\"p50_us\":%llu,\"p99_us\":%llu,\"version\":\"%s\",\"suite\":\"%s\","
           "\"group\":\"%s\",\"alpn\":\"%s\",\"status\":%d,\"body_bytes\":%llu}\n",
           (unsigned long long)sum.requests, (unsigned long long)sum.resumed,
           (unsigned long long)sum.errors, first_error, (unsigned long long)sum.closed,
           (unsigned long long)percentile(0.5), (unsigned long long)percentile(0.99), version,
           suite, group, alpn, status, (unsigned long long)sum.body_bytes);
    fflush(stdout);
}

static _Noreturn void finish(void)
{
    print_figures();
    exit(sum.errors ? 1 : 0);
}

/* --- one connection -----------------------------------------------------------------------------
 */

static void client_open(struct client *c);

static bool is_all_started(void)
{
    return opt.count && started == opt.count;
}

/* Closes, and begins the next connection of the slot if there is to be one. */
static void client_close(struct client *c)
{
    wolfSSL_free(c->ssl);
    close(c->fd);
    c->ssl = NULL;
    c->phase = PHASE_NONE;
    if (opt.mode == MODE_IDLE)
        return;
    if (opt.count && answered + sum.errors >= opt.count)
        finish();
    if (!is_all_started())
        client_open(c);
}

static void client_fail(struct client *c, const char *what, int ret)
{
    char text[WOLFSSL_MAX_ERROR_SZ];
    int error = c->ssl ? wolfSSL_get_error(c->ssl, ret) : 0;
    if (c->idle) {
        sum.closed++;
        client_close(c);
        return;
    }
    if (!sum.errors++)
        snprintf(first_error, sizeof first_error, "%s: %s (%d)", what,
                 wolfSSL_ERR_error_string((unsigned long)error, text), error);
    if (sum.errors >= ERRORS_MAX || opt.mode == MODE_IDLE)
        finish();
    client_close(c);
}

static void remember(struct client *c)
{
    char *name = NULL;
    word16 len = 0;
    const char *curve = wolfSSL_get_curve_name(c->ssl);
    snprintf(version, sizeof version, "%s", wolfSSL_get_version(c->ssl));
    snprintf(suite, sizeof suite, "%s", wolfSSL_get_cipher_name(c->ssl));
    snprintf(group, sizeof group, "%s", curve ? curve : "");
    if (wolfSSL_ALPN_GetProtocol(c->ssl, &name, &len) == WOLFSSL_SUCCESS)
        snprintf(alpn, sizeof alpn, "%.*s", len, name);
}

/* The whole answer is there. */
static void client_answered(struct client *c)
{
    uint64_t us = (clock_now_ns() - c->start_ns) / 1000;
    sum.latency_us[bucket_of(us)]++;
    sum.requests++;
    sum.resumed += wolfSSL_session_reused(c->ssl) ? 1 : 0;
    if (!answered++)
        remember(c);
    if (opt.mode == MODE_RESUME) {
        wolfSSL_SESSION_free(c->session);
        c->session = wolfSSL_get1_session(c->ssl);
    }
    c->phase = PHASE_END;
    if (opt.mode == MODE_IDLE) {
        c->idle = true;
        opening--;
    }
}

static void set_group(WOLFSSL *ssl)
{
    if (wolfSSL_set_groups(ssl, &group_number, 1) != WOLFSSL_SUCCESS ||
        wolfSSL_UseKeyShare(ssl, (word16)group_number) != WOLFSSL_SUCCESS)
        usage("wolfSSL refuses the group");
}

static const char *name_of(uint64_t number, char text[256])
{
    if (!opt.names)
        return opt.host;
    snprintf(text, 256, "h%05u.%s", (unsigned)(number % opt.names), opt.host);
    return text;
}

static void client_connect(struct client *c)
{
    int one = 1;
    c->fd = socket(opt.address.sa.sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (c->fd < 0)
        fail("socket");
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    if (connect(c->fd, &opt.address.sa, opt.address.len) != 0 && errno != EINPROGRESS)
        fail("connect");
    struct epoll_event event = {.events = EPOLLIN | EPOLLOUT | EPOLLET, .data.ptr = c};
    if (epoll_ctl(epoll_fd, EPOLL_CTL_ADD, c->fd, &event) != 0)
        fail("epoll_ctl");
}

static void client_open(struct client *c)
{
    char text[256];
    const char *name = name_of(started, text);
    c->start_ns = clock_now_ns();
    c->head_len = 0;
    c->idle = false;
    c->phase = PHASE_HANDSHAKE;
    c->ssl = wolfSSL_new(ctx);
    if (!c->ssl)
        fail("wolfSSL_new");
    set_group(c->ssl);
    wolfSSL_UseSNI(c->ssl, WOLFSSL_SNI_HOST_NAME, name, (word16)strlen(name));
    if (opt.alpn) {
        char list[32];
        snprintf(list, sizeof list, "%s", opt.alpn);
        wolfSSL_UseALPN(c->ssl, list, (unsigned)strlen(list), WOLFSSL_ALPN_FAILED_ON_MISMATCH);
    }
    if (c->session && wolfSSL_set_session(c->ssl, c->session) != WOLFSSL_SUCCESS) {
        wolfSSL_SESSION_free(c->session);
        c->session = NULL;
    }
    client_connect(c);
    wolfSSL_set_fd(c->ssl, c->fd);
    c->head_len =
        (uint32_t)snprintf(c->head, HEAD_BYTES, "GET %s HTTP/1.1\r\nHost: %s\r\n%s\r\n", opt.path,
                           name, opt.mode == MODE_IDLE ? "" : "Connection: close\r\n");
    started++;
}

/* Reads the status and Content-Length. False when the head is not whole yet; what cannot be
 * measured by (no length) fails the connection: *ret_bad. */
static bool head_parse(struct client *c, bool *ret_bad)
{
    char *end = memmem(c->head, c->head_len, "\r\n\r\n", 4);
    if (!end) {
        *ret_bad = c->head_len == HEAD_BYTES - 1;
        return false;
    }
    *end = 0;
    char *length = strcasestr(c->head, "\r\ncontent-length:");
    char *code = strchr(c->head, ' ');
    *ret_bad = !length || !code;
    if (*ret_bad)
        return false;
    status = (int)strtol(code, NULL, 10);
    uint64_t total = strtoull(length + strlen("\r\ncontent-length:"), NULL, 10);
    uint64_t got = c->head_len - (uint64_t)(end + 4 - c->head);
    *ret_bad = got > total || status != 200;
    c->body_left = total - got;
    sum.body_bytes = total;
    return !*ret_bad;
}

/* Takes what has come; returns what wolfSSL_read() returned. */
static int client_read(struct client *c)
{
    static char body[BODY_BYTES];
    bool bad = false;
    if (c->phase == PHASE_HEAD) {
        int n = wolfSSL_read(c->ssl, c->head + c->head_len, (int)(HEAD_BYTES - 1 - c->head_len));
        if (n <= 0)
            return n;
        c->head_len += (uint32_t)n;
        c->head[c->head_len] = 0;
        if (head_parse(c, &bad))
            c->phase = PHASE_BODY;
        if (bad) {
            snprintf(body, sizeof body, "answer '%.30s'", c->head);
            for (char *p = body; *p; p++)
                if (*p < ' ' || *p == '"' || *p == '\\')
                    *p = ' ';
            client_fail(c, body, 0);
            return 1;
        }
    } else {
        int n = wolfSSL_read(c->ssl, body, sizeof body);
        if (n <= 0)
            return n;
        c->body_left -= (uint64_t)n < c->body_left ? (uint64_t)n : c->body_left;
    }
    if (c->phase == PHASE_BODY && c->body_left == 0)
        client_answered(c);
    return 1;
}

/* Goes on as far as the socket lets it. */
static void client_run(struct client *c)
{
    int r = 1;
    while (c->phase != PHASE_NONE && r > 0) {
        switch (c->phase) {
        case PHASE_HANDSHAKE:
            r = wolfSSL_connect(c->ssl);
            if (r == WOLFSSL_SUCCESS)
                c->phase = PHASE_REQUEST;
            break;
        case PHASE_REQUEST:
            r = wolfSSL_write(c->ssl, c->head, (int)c->head_len);
            if (r > 0) {
                c->phase = PHASE_HEAD;
                c->head_len = 0;
            }
            break;
        default:
            r = client_read(c);
        }
    }
    if (c->phase == PHASE_NONE || wolfSSL_want_read(c->ssl) || wolfSSL_want_write(c->ssl))
        return;
    if (c->phase == PHASE_END && !c->idle)
        client_close(c); /* the server has closed, as it was asked to */
    else
        client_fail(c, c->phase == PHASE_HANDSHAKE ? "handshake" : "connection", r);
}

/* --- all of them --------------------------------------------------------------------------------
 */

static void make_context(void)
{
    wolfSSL_Init();
    ctx = wolfSSL_CTX_new(wolfTLSv1_3_client_method());
    if (!ctx)
        fail("wolfSSL_CTX_new");
    wolfSSL_CTX_set_verify(ctx, WOLFSSL_VERIFY_NONE, NULL);
    wolfSSL_CTX_UseSessionTicket(ctx);
    if (wolfSSL_CTX_set_cipher_list(ctx, "TLS13-AES128-GCM-SHA256") != WOLFSSL_SUCCESS)
        fail("cipher list");
}

static int open_signals(void)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGUSR1);
    sigprocmask(SIG_BLOCK, &set, NULL);
    int fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = NULL};
    if (fd < 0 || epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &event) != 0)
        fail("signalfd");
    return fd;
}

static void on_signal(int fd)
{
    struct signalfd_siginfo info;
    while (read(fd, &info, sizeof info) == sizeof info) {
        if (info.ssi_signo != SIGUSR1)
            finish();
        memset(&sum, 0, sizeof sum);
    }
}

/* Starts what may run now, and says when all idle connections are there. */
static void open_more(void)
{
    while (opt.mode == MODE_IDLE && opening < OPENING_MAX && started < opt.connections) {
        opening++;
        client_open(&clients[started]);
    }
    if (opt.mode == MODE_IDLE && !printed_open && answered == opt.connections) {
        printed_open = true;
        printf("{\"open\":%llu}\n", (unsigned long long)answered);
        fflush(stdout);
    }
}

static unsigned number_of(const char *text, unsigned max)
{
    char *end;
    unsigned long n = strtoul(text, &end, 10);
    if (*end || end == text || n < 1 || n > max)
        usage("a number is out of range");
    return (unsigned)n;
}

static void set_mode(const char *text)
{
    static const char *const modes[] = {"new", "resume", "idle"};
    for (int i = 0; i < 3; i++)
        if (strcmp(text, modes[i]) == 0) {
            opt.mode = (enum mode)i;
            return;
        }
    usage("modes are new, resume and idle");
}

static void parse(int argc, char **argv)
{
    static const struct option names[] = {
        {"mode", 1, NULL, 'm'},  {"connections", 1, NULL, 'c'}, {"count", 1, NULL, 'n'},
        {"host", 1, NULL, 'h'},  {"names", 1, NULL, 's'},       {"path", 1, NULL, 'p'},
        {"group", 1, NULL, 'g'}, {"alpn", 1, NULL, 'a'},        {NULL, 0, NULL, 0}};
    int c;
    while ((c = getopt_long(argc, argv, "", names, NULL)) != -1) {
        switch (c) {
        case 'm':
            set_mode(optarg);
            break;
        case 'c':
            opt.connections = number_of(optarg, 1000000);
            break;
        case 'n':
            opt.count = number_of(optarg, 1000000000);
            break;
        case 's':
            opt.names = number_of(optarg, 100000);
            break;
        case 'h':
            opt.host = optarg;
            break;
        case 'p':
            opt.path = optarg;
            break;
        case 'g':
            opt.group = optarg;
            break;
        case 'a':
            opt.alpn = optarg;
            break;
        default:
            usage("unknown option");
        }
    }
    if (optind + 1 != argc)
        usage("one address is needed");
    if (!result_is_ok(net_addr_parse(span_str(argv[optind]), 0, &opt.address)))
        usage("ADDRESS:PORT must be numbers");
    for (size_t i = 0; i < sizeof groups / sizeof groups[0]; i++)
        if (strcmp(groups[i].name, opt.group) == 0)
            group_number = groups[i].number;
    if (!group_number)
        usage("unknown group");
    if (strlen(opt.host) > 200 || strlen(opt.path) > 1000)
        usage("host or path is too long");
}

int main(int argc, char **argv)
{
    parse(argc, argv);
    make_context();
    epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    int signals = open_signals();
    clients = mem_zalloc(opt.connections * sizeof *clients);
    for (unsigned i = 0; i < opt.connections; i++)
        clients[i].head = mem_alloc(HEAD_BYTES);
    for (unsigned i = 0; opt.mode != MODE_IDLE && i < opt.connections && !is_all_started(); i++)
        client_open(&clients[i]);
    for (;;) {
        struct epoll_event events[EVENTS];
        open_more();
        int n = epoll_wait(epoll_fd, events, EVENTS, -1);
        for (int i = 0; i < n; i++) {
            if (events[i].data.ptr)
                client_run(events[i].data.ptr);
            else
                on_signal(signals);
        }
    }
}

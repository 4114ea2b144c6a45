/* SPDX-License-Identifier: Apache-2.0 */
#include "data/data.h"

#include "base/buf.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/secret.h"
#include "data/log/access_writer.h"
#include "data/sockets.h"
#include "data/tls/session.h"
#include "data/verify.h"
#include "data/worker.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <unistd.h>

/* How often what no worker sees any more is freed, at least. */
#define COLLECT_MS 200
/* What may wait until control takes it; clients whose name control does not hear of wait in vain.
 */
#define BRIDGE_OUT_MAX 262144u
/* Bytes taken off the bridge at a time. */
#define BRIDGE_READ_BYTES 262144u
/* The certificate table is made for so many names; it holds more, a little slower. */
#define EXPECTED_NAMES 16384u
#define CONNS_DEFAULT  16384u
/* Ring, eventfd, reserve, and some to spare. */
#define DESCRIPTORS_PER_WORKER 16u
/* Of the supervisor: bytes, and sockets in one. */
#define MESSAGE_MAX 1024
#define FDS_MAX     64

struct thread {
    struct data *data;
    pthread_t id;
    bool started;
    uint32_t cpu;
    struct worker_config config;
};

struct data {
    const struct data_config *config;
    struct publisher *publisher;
    struct report *report;
    struct access_writer *access;
    uint64_t access_version; /* + 1 of the snapshot that it was configured by; 0 = none */
    struct verify *verify;
    struct worker_shared shared;
    struct thread *threads;
    struct sockets *sockets;
    char host_name[256];
    uint32_t conns, pipes; /* per worker */
    int epoll_fd, signal_fd, bridge_fd;
    uint64_t fence;     /* the last one that was sent back on this bridge */
    struct buf in, out; /* of the bridge */
    bool told_ready, draining, retiring, deaf;
    uint64_t drain_at_ns; /* 0: nobody has asked to stop */
    _Atomic bool failed;
};

static void pin(uint32_t cpu)
{
    if (cpu == UINT32_MAX)
        return;
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(cpu, &set);
    int r = pthread_setaffinity_np(pthread_self(), sizeof set, &set);
    if (r != 0)
        log_warn("cannot pin a worker to CPU %u: %s", cpu, strerror(r));
}

static void *thread_main(void *arg)
{
    struct thread *t = arg;
    struct why why = {0};
    struct worker *w;
    char name[16];
    (void)snprintf(name, sizeof name, "worker-%u", t->config.index);
    (void)pthread_setname_np(pthread_self(), name);
    pin(t->cpu);
    if (result_is_ok(worker_open(&t->config, &w, &why))) {
        worker_run(w);
        if (w->failed)
            t->data->failed = true;
        worker_close(w);
    } else {
        log_error("%s", why.text);
        t->data->failed = true;
    }
    uint64_t one = 1;
    if (write(t->data->shared.notify_fd, &one, sizeof one) < 0)
        log_error("worker %u cannot tell that it ended: %m", t->config.index);
    return NULL;
}

static void wake_all(struct data *d)
{
    uint64_t one = 1;
    for (uint32_t i = 0; i < d->config->workers; i++)
        if (write(d->threads[i].config.wake_fd, &one, sizeof one) < 0 && errno != EAGAIN)
            log_error("cannot wake worker %u: %m", i);
}

static void drain(struct data *d)
{
    if (d->draining)
        return;
    log_info("draining");
    d->draining = true;
    d->shared.drain = true;
    wake_all(d);
}

/* Balancers in front get the time that the configuration gives them to notice: until then all goes
 * on, but ping tells. A service manager's signal and the supervisor's word may both come. */
static void stop(struct data *d)
{
    const struct snapshot *s = publisher_snapshot(d->publisher);
    uint64_t wait_ms = 0;
    if (d->shared.stopping)
        return;
    d->shared.stopping = true;
    for (uint32_t i = 0; s && i < s->entrypoint_count; i++)
        if (s->entrypoints[i].accept_grace_ms > wait_ms)
            wait_ms = s->entrypoints[i].accept_grace_ms;
    d->drain_at_ns = clock_now_ns() + wait_ms * NS_PER_MS;
    if (wait_ms == 0)
        drain(d);
    else
        log_info("stopping: new connections are accepted for %llu ms more",
                 (unsigned long long)wait_ms);
}

/* Another data process accepts on the same sockets: nothing is refused meanwhile, and clients get
 * another request before they are asked to go. */
static void retire(struct data *d, uint32_t limit_ms)
{
    if (d->draining || d->retiring)
        return;
    log_info("another process takes over: finishing what has begun, within %u s", limit_ms / 1000);
    d->retiring = true;
    d->shared.retire_ms = limit_ms;
    d->shared.retire = true;
    wake_all(d);
}

/* ---- set-up --------------------------------------------------------------------------------- */

static struct result watch(struct data *d, int fd, struct why *why)
{
    struct epoll_event ev = {.events = EPOLLIN, .data.fd = fd};
    if (fd < 0 || epoll_ctl(d->epoll_fd, EPOLL_CTL_ADD, fd, &ev) < 0)
        return why_fail_sys(why, ERR_SYSTEM, errno, "cannot watch descriptor %d", fd);
    return result_ok();
}

static struct result open_descriptors(struct data *d, struct why *why)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    sigprocmask(SIG_BLOCK, &set, NULL);
    sigaction(SIGPIPE, &(struct sigaction){.sa_handler = SIG_IGN}, NULL);
    /* The supervisor's. */
    static const int ignored[] = {SIGHUP, SIGUSR1, SIGUSR2};
    for (size_t i = 0; i < sizeof ignored / sizeof *ignored; i++)
        sigaction(ignored[i], &(struct sigaction){.sa_handler = SIG_IGN}, NULL);
    d->signal_fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    d->shared.notify_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    d->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    TRY(watch(d, d->signal_fd, why));
    TRY(watch(d, d->shared.notify_fd, why));
    return watch(d, d->config->supervisor_fd, why);
}

/* Every connection needs a descriptor, and one more to its upstream. */
static void raise_limits(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < limit.rlim_max) {
        limit.rlim_cur = limit.rlim_max;
        (void)setrlimit(RLIMIT_NOFILE, &limit);
    }
}

/* Every connection may need a second descriptor, to its upstream: more connections than that are
 * refused at the door instead of being answered 503. Pipes get a small part of what there is. */
static uint32_t conns_of(const struct data_config *c, uint32_t *ret_pipes)
{
    *ret_pipes = SHUNT_PIPES;
    uint32_t wanted = c->worker_connections ? c->worker_connections : CONNS_DEFAULT;
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) < 0 || limit.rlim_cur == RLIM_INFINITY)
        return wanted;
    uint64_t own = DESCRIPTORS_PER_WORKER * (uint64_t)c->workers + c->listener_count;
    uint64_t left = limit.rlim_cur > own ? limit.rlim_cur - own : 0;
    uint64_t each = left / c->workers;
    if (each / 64 < *ret_pipes)
        *ret_pipes = (uint32_t)(each / 64);
    uint64_t most = each / 2 - *ret_pipes;
    if (most >= wanted)
        return wanted;
    log_warn(
        "%llu open files are allowed, enough for %llu connections per worker, not for %u: raise "
        "LimitNOFILE= (systemd) or ulimit -n, or lower [workers] connections",
        (unsigned long long)limit.rlim_cur, (unsigned long long)most, wanted);
    return most > 0 ? (uint32_t)most : 1;
}

static struct result start_thread(struct data *d, uint32_t index, struct why *why)
{
    const struct data_config *c = d->config;
    struct thread *t = &d->threads[index];
    int wake_fd = eventfd(0, EFD_CLOEXEC);
    t->data = d;
    t->cpu = c->cpus ? c->cpus[index] : UINT32_MAX;
    t->config = (struct worker_config){
        .index = index,
        .conns = d->conns,
        .pipes = d->pipes,
        .listeners = sockets_of(d->sockets, index),
        .listener_count = LISTENER_CONFIGS_MAX,
        .publisher = d->publisher,
        .report = report_page(d->report, index),
        .series = report_series(d->report, index),
        .shared = &d->shared,
        .wake_fd = wake_fd,
        .access = access_writer_ring(d->access, index),
        .verify = verify_lane(d->verify, index, wake_fd),
        .host_name = d->host_name,
    };
    if (t->config.wake_fd < 0)
        return why_fail_sys(why, ERR_SYSTEM, errno, "no eventfd for worker %u", index);
    report_start(t->config.report);
    series_start(t->config.series);
    int r = pthread_create(&t->id, NULL, thread_main, t);
    if (r != 0)
        return why_fail_sys(why, ERR_SYSTEM, r, "cannot start worker %u", index);
    t->started = true;
    return result_ok();
}

static struct result set_up(struct data *d, struct why *why)
{
    const struct data_config *c = d->config;
    if (gethostname(d->host_name, sizeof d->host_name - 1) < 0)
        memcpy(d->host_name, "ferrule", 8);
    TRY(open_descriptors(d, why));
    raise_limits();
    d->conns = conns_of(c, &d->pipes);
    TRY(session_library_init(why));
    TRY(report_map(c->report_fd, &d->report, why));
    if (report_workers(d->report) < c->workers)
        return why_fail(why, ERR_MISMATCH, "the report has room for %u workers, not for %u",
                        report_workers(d->report), c->workers);
    TRY(publisher_create(c->workers, EXPECTED_NAMES, &d->publisher, why));
    struct result r = access_writer_create(c->workers, &d->access);
    if (!result_is_ok(r))
        return why_fail(why, r.code, "no memory for the lines of the access log");
    d->sockets = sockets_create(c->workers);
    for (uint32_t i = 0; i < c->listener_count; i++)
        if (!sockets_offer(d->sockets, c->listeners[i].fd, c->listeners[i].worker,
                           c->listeners[i].group, span_str(c->listeners[i].entrypoint)))
            return why_fail(why, ERR_NO_SLOT, "no room for the sockets of entry point %s",
                            c->listeners[i].entrypoint);
    TRY(verify_create(c->workers, &d->verify, why));
    d->threads = mem_zalloc(c->workers * sizeof *d->threads);
    for (uint32_t i = 0; i < c->workers; i++)
        TRY(start_thread(d, i, why));
    return result_ok();
}

/* ---- the publisher's loop ------------------------------------------------------------------- */

/* Drops what was taken in; there are keys in it. */
static void consume(struct buf *in, size_t used)
{
    size_t len = in->len;
    if (used == 0)
        return;
    buf_consume(in, used);
    secret_wipe(in->ptr + in->len, len - in->len);
}

static void bridge_drop(struct data *d)
{
    if (d->bridge_fd >= 0)
        (void)close(d->bridge_fd); /* epoll forgets it */
    d->bridge_fd = -1;
    d->out.len = 0;
    consume(&d->in, d->in.len);
}

static void bridge_adopt(struct data *d, int fd)
{
    struct why why;
    bridge_drop(d);
    publisher_reset_stream(d->publisher);
    d->bridge_fd = fd;
    d->fence = 0;
    if (!result_is_ok(watch(d, fd, &why))) {
        log_error("%s", why.text);
        bridge_drop(d);
    }
}

/* As buf_reserve(), but leaves no copy of the keys behind when the bytes move. */
static uint8_t *reserve(struct buf *in, size_t more)
{
    if (in->cap - in->len < more) {
        struct buf grown = {0};
        (void)buf_reserve(&grown, 2 * in->len + more);
        buf_put_span(&grown, buf_span(in));
        buf_wipe_free(in);
        *in = grown;
    }
    return in->ptr + in->len;
}

/* False: nothing came. */
static bool bridge_read(struct data *d)
{
    uint8_t *place = reserve(&d->in, BRIDGE_READ_BYTES);
    ssize_t n = recv(d->bridge_fd, place, BRIDGE_READ_BYTES, MSG_DONTWAIT);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return false;
    if (n <= 0) { /* control ended; what it published stays */
        bridge_drop(d);
        return false;
    }
    d->in.len += (size_t)n;
    return true;
}

static void bridge_feed(struct data *d)
{
    size_t used = 0;
    struct why why = {0};
    struct result r = publisher_feed(d->publisher, buf_span(&d->in), &used, &why);
    consume(&d->in, used);
    if (!result_is_ok(r)) {
        log_error("the stream from control is broken: %s", why.text);
        bridge_drop(d);
    }
}

static void listeners_changed(struct data *d)
{
    d->shared.listener_changes++;
    wake_all(d);
}

/* 'L': sockets that are there from now on. */
static void take_sockets(struct data *d, struct reader in, const int *fds, uint32_t fd_count)
{
    uint32_t group = reader_u32(&in), count = reader_u32(&in);
    struct reader workers = reader_of(reader_bytes(&in, count <= FDS_MAX ? 4 * count : SIZE_MAX));
    bool good = !in.bad && count == fd_count && !d->draining && !d->retiring;
    struct span name = reader_bytes(&in, in.left);
    for (uint32_t i = 0; i < fd_count; i++) {
        if (!good)
            (void)close(fds[i]);
        else if (!sockets_offer(d->sockets, fds[i], reader_u32(&workers), group, name))
            log_error("no room for another socket of entry point %.*s", SPAN_FMT(name));
    }
    listeners_changed(d);
}

static void supervisor_said(struct data *d, struct span message, const int *fds, uint32_t fd_count)
{
    struct reader in = reader_of(span_skip(message, 1));
    char level[16] = {0};
    switch (message.ptr[0]) {
    case 'P':
        if (fd_count == 1)
            bridge_adopt(d, fds[0]);
        break;
    case 'W': /* the supervisor waits, as long as the configuration says, and then says 'T' */
        d->shared.stopping = true;
        break;
    case 'T':
        d->shared.stopping = true;
        drain(d);
        break;
    case 'U':
        retire(d, reader_u32(&in));
        break;
    case 'L':
        take_sockets(d, in, fds, fd_count);
        break;
    case 'A':
        access_writer_reopen(d->access);
        break;
    case 'D':
        sockets_recall(d->sockets, reader_u32(&in));
        listeners_changed(d);
        break;
    case 'V':
        memcpy(level, message.ptr + 1, message.len < sizeof level ? message.len - 1 : 0);
        log_init("data", log_level_parse(level));
        break;
    default:
        log_warn("the supervisor said something unknown: '%c'", message.ptr[0]);
    }
}

/* False: the supervisor is gone. */
static bool supervisor_read(struct data *d)
{
    uint8_t message[MESSAGE_MAX];
    int fds[FDS_MAX];
    uint32_t fd_count = 0;
    union {
        struct cmsghdr header;
        char room[CMSG_SPACE(FDS_MAX * sizeof(int))];
    } control;
    struct iovec iov = {message, sizeof message};
    struct msghdr msg = {.msg_iov = &iov,
                         .msg_iovlen = 1,
                         .msg_control = &control,
                         .msg_controllen = sizeof control};
    ssize_t n = recvmsg(d->config->supervisor_fd, &msg, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return true;
    if (n <= 0)
        return false;
    struct cmsghdr *c = CMSG_FIRSTHDR(&msg);
    if (c && c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS) {
        fd_count = (uint32_t)((c->cmsg_len - CMSG_LEN(0)) / sizeof(int));
        memcpy(fds, CMSG_DATA(c), fd_count * sizeof(int));
    }
    supervisor_said(d, span_of(message, (size_t)n), fds, fd_count);
    return true;
}

/* The supervisor sends the sockets of a configuration before control publishes it: so they are
 * known before what came from control is looked at. False: the supervisor is gone. */
static bool bridge_hear(struct data *d)
{
    int fd = d->bridge_fd;
    if (!bridge_read(d))
        return true;
    struct pollfd more = {.fd = d->config->supervisor_fd, .events = POLLIN};
    while (poll(&more, 1, 0) > 0)
        if (!supervisor_read(d))
            return false;
    if (d->bridge_fd == fd) /* else what was read is of a control that is gone */
        bridge_feed(d);
    return true;
}

/* Control hears how far its stream holds, and which names clients wait for. What has no room goes
 * with the next turn. */
static void tell_control(struct data *d)
{
    uint64_t fence = publisher_fence(d->publisher);
    bool good = d->bridge_fd >= 0;
    publisher_take_asked(d->publisher, good && d->out.len < BRIDGE_OUT_MAX ? &d->out : NULL);
    if (!good)
        return;
    if (fence != d->fence)
        publish_fence(&d->out, fence);
    d->fence = fence;
    ssize_t n =
        d->out.len ? send(d->bridge_fd, d->out.ptr, d->out.len, MSG_NOSIGNAL | MSG_DONTWAIT) : 0;
    if (n > 0)
        buf_consume(&d->out, (size_t)n);
}

static void tell_ready(struct data *d)
{
    if (!d->shared.accept && publisher_is_ready(d->publisher)) {
        d->shared.accept = true;
        wake_all(d);
    }
    if (d->told_ready || d->shared.accepting < d->config->workers)
        return;
    d->told_ready = true;
    log_info("%u workers accept connections", d->config->workers);
    if (send(d->config->supervisor_fd, "R", 1, MSG_NOSIGNAL) < 0)
        log_error("cannot tell the supervisor that all is ready: %m");
}

/* While a drain goes on, clients are to be refused, not to wait for a worker that will not come. */
static void close_listeners(struct data *d)
{
    if (d->deaf || d->shared.deaf < d->config->workers)
        return;
    d->deaf = true;
    sockets_close(d->sockets);
}

/* The access log follows the newest snapshot. */
static void configure_access(struct data *d)
{
    const struct snapshot *s = publisher_snapshot(d->publisher);
    if (!s || d->access_version == s->version + 1)
        return;
    d->access_version = s->version + 1;
    access_writer_configure(d->access, &s->access);
}

/* One event. False: end at once. */
static bool handle(struct data *d, int fd)
{
    if (fd == d->bridge_fd) {
        return bridge_hear(d);
    } else if (fd == d->config->supervisor_fd) {
        return supervisor_read(d);
    } else if (fd == d->signal_fd) {
        struct signalfd_siginfo info;
        while (read(d->signal_fd, &info, sizeof info) == sizeof info)
            stop(d);
    } else if (fd == d->shared.notify_fd) {
        uint64_t count;
        while (read(fd, &count, sizeof count) == sizeof count)
            ;
        sockets_collect(d->sockets);
    }
    return true;
}

/* Until all workers have ended, one has failed, or the supervisor is gone. */
static bool loop(struct data *d)
{
    struct epoll_event events[8];
    while (!d->failed && d->shared.finished < d->config->workers) {
        int n = epoll_wait(d->epoll_fd, events, 8, COLLECT_MS);
        for (int i = 0; i < n; i++)
            if (!handle(d, events[i].data.fd))
                return false;
        if (d->drain_at_ns && clock_now_ns() >= d->drain_at_ns)
            drain(d);
        configure_access(d);
        tell_control(d);
        tell_ready(d);
        close_listeners(d);
        publisher_collect(d->publisher);
    }
    return !d->failed;
}

static void close_fd(int fd)
{
    if (fd >= 0)
        (void)close(fd);
}

static void tear_down(struct data *d)
{
    for (uint32_t i = 0; i < d->config->workers; i++)
        (void)pthread_join(d->threads[i].id, NULL);
    verify_destroy(d->verify);
    for (uint32_t i = 0; i < d->config->workers; i++) {
        close_fd(d->threads[i].config.wake_fd);
    }
    access_writer_destroy(d->access);
    sockets_destroy(d->sockets);
    publisher_destroy(d->publisher);
    report_unmap(d->report);
    free(d->threads);
    bridge_drop(d);
    buf_free(&d->in);
    buf_free(&d->out);
    close_fd(d->signal_fd);
    close_fd(d->shared.notify_fd);
    close_fd(d->epoll_fd);
}

int data_run(const struct data_config *config)
{
    struct data d = {.config = config, .epoll_fd = -1, .signal_fd = -1, .bridge_fd = -1};
    d.shared.notify_fd = -1;
    struct why why = {0};
    struct result r = set_up(&d, &why);
    if (!result_is_ok(r)) {
        log_error("cannot start: %s", why.text);
        return 1;
    }
    if (!loop(&d)) /* the process ends with its threads; the kernel cleans up */
        return d.failed ? 1 : 0;
    tear_down(&d);
    return 0;
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "boot/supervisor.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/must.h"
#include "boot/child.h"
#include "boot/cmdline.h"
#include "boot/listeners.h"
#include "boot/notify.h"
#include "bridge/report.h"
#include "control/store/state.h"
#include "ring/ring.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#define RESTART_FIRST_NS (100 * NS_PER_MS)
#define RESTART_MAX_NS   (5 * NS_PER_S)
#define RESTART_CALM_NS  (10 * NS_PER_S) /* a child that ran this long starts the back-off anew */
#define STOP_MARGIN_NS   (5 * NS_PER_S)  /* beyond the longest grace time, before SIGKILL */

enum child_kind { CHILD_DATA = 0, CHILD_CONTROL = 1, CHILD_COUNT = 2 };
static const char *const child_names[CHILD_COUNT] = {"data", "control"};

struct child {
    pid_t pid; /* 0 = not running */
    int fd;    /* our end of its channel, -1 = none */
    bool was_ready;
    uint64_t started_ns;
    uint64_t restart_at_ns; /* UINT64_MAX = not waiting */
    uint64_t backoff_ns;
};

struct supervisor {
    struct check_args args;
    struct config *config;
    struct listener_set listeners;
    int lock_fd, report_fd, signal_fd;
    struct child children[CHILD_COUNT];
    uint64_t now_ns, watchdog_at_ns;
    uint64_t kill_at_ns; /* UINT64_MAX until stopping */
    bool stopping, announced;
    int exit_code;
};

/* ---- starting ------------------------------------------------------------------------------- */

/* Connections need descriptors: two each, and the kernel's default of 1,024 is for programs that
 * use select(2). */
static void raise_descriptor_limit(const struct config *config)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) == -1)
        return;
    rlim_t want = (rlim_t)config->workers * config->worker_connections * 2 + 1024;
    if (limit.rlim_cur < limit.rlim_max && limit.rlim_cur < want) {
        limit.rlim_cur = want < limit.rlim_max ? want : limit.rlim_max;
        if (setrlimit(RLIMIT_NOFILE, &limit) == -1)
            log_warn("cannot raise the limit of open files: %s", strerror(errno));
    }
    if (limit.rlim_cur < want)
        log_warn("%llu open files are allowed, %llu are needed for %u workers with %u connections: "
                 "raise LimitNOFILE= (systemd) or ulimit -n, or lower [workers] connections",
                 (unsigned long long)limit.rlim_cur, (unsigned long long)want, config->workers,
                 config->worker_connections);
}

static int open_signals(void)
{
    sigset_t set;
    sigemptyset(&set);
    static const int handled[] = {SIGTERM, SIGINT, SIGHUP, SIGCHLD, SIGUSR1, SIGUSR2};
    for (size_t i = 0; i < sizeof handled / sizeof *handled; i++)
        sigaddset(&set, handled[i]);
    must(sigprocmask(SIG_BLOCK, &set, NULL) == 0);
    must(sigaction(SIGPIPE, &(struct sigaction){.sa_handler = SIG_IGN}, NULL) == 0);
    return signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
}

static struct result start(struct supervisor *s, struct why *why)
{
    TRY(ring_probe(why));
    TRY(state_lock(s->config->state_directory, &s->lock_fd, why));
    TRY(listeners_open(s->config, &s->listeners, why));
    TRY(report_create(s->config->workers, &s->report_fd, why));
    raise_descriptor_limit(s->config);
    s->signal_fd = open_signals();
    return s->signal_fd == -1 ? why_fail_sys(why, ERR_SYSTEM, errno, "signalfd") : result_ok();
}

/* argv and descriptors of a child; see boot/cmdline.h for their form. */
static struct result spawn(struct supervisor *s, enum child_kind kind, int channel, pid_t *ret_pid,
                           struct why *why)
{
    struct cmdline_child args = {
        .parent = getpid(), .supervisor_fd = channel, .report_fd = s->report_fd};
    if (kind == CHILD_DATA) {
        args.listeners = &s->listeners;
        args.config = s->config;
    } else {
        args.args = &s->args;
    }
    char **argv = cmdline_child_argv(kind == CHILD_DATA ? "data-run" : "control-run", &args);
    int *fds = mem_zalloc((s->listeners.count + 3) * sizeof *fds);
    size_t n = 0;
    fds[n++] = channel;
    fds[n++] = s->report_fd;
    for (uint32_t i = 0; kind == CHILD_DATA && i < s->listeners.count; i++)
        fds[n++] = s->listeners.items[i].fd;
    fds[n] = -1;
    struct result r = child_spawn(argv, fds, kind == CHILD_DATA, ret_pid, why);
    free(fds);
    cmdline_child_free(argv);
    return r;
}

/* Sends one byte, with a descriptor unless fd is -1. A child that is gone will be restarted. */
static void tell(const struct child *c, char what, int fd)
{
    if (c->fd == -1)
        return;
    struct iovec iov = {&what, 1};
    union {
        struct cmsghdr header;
        char room[CMSG_SPACE(sizeof(int))];
    } control = {0};
    struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};
    if (fd != -1) {
        msg.msg_control = control.room;
        msg.msg_controllen = sizeof control.room;
        control.header.cmsg_level = SOL_SOCKET;
        control.header.cmsg_type = SCM_RIGHTS;
        control.header.cmsg_len = CMSG_LEN(sizeof fd);
        memcpy(CMSG_DATA(&control.header), &fd, sizeof fd);
    }
    if (sendmsg(c->fd, &msg, MSG_NOSIGNAL | MSG_DONTWAIT) == -1 && errno != EPIPE &&
        errno != ECONNRESET)
        log_warn("cannot tell the child process %d '%c': %s", (int)c->pid, what, strerror(errno));
}

/* Gives both children a fresh pair of connected sockets. */
static void join(struct supervisor *s)
{
    int pair[2];
    if (s->children[CHILD_DATA].fd == -1 || s->children[CHILD_CONTROL].fd == -1)
        return;
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) == -1) {
        log_error("cannot join data and control: socketpair: %s", strerror(errno));
        return;
    }
    tell(&s->children[CHILD_DATA], 'P', pair[0]);
    tell(&s->children[CHILD_CONTROL], 'P', pair[1]);
    close(pair[0]);
    close(pair[1]);
}

static struct result start_child(struct supervisor *s, enum child_kind kind, struct why *why)
{
    struct child *c = &s->children[kind];
    int pair[2];
    c->restart_at_ns = UINT64_MAX;
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) == -1)
        return why_fail_sys(why, ERR_SYSTEM, errno, "socketpair");
    struct result r = spawn(s, kind, pair[1], &c->pid, why);
    close(pair[1]);
    if (!result_is_ok(r)) {
        close(pair[0]);
        return r;
    }
    c->fd = pair[0];
    c->started_ns = s->now_ns;
    join(s);
    return result_ok();
}

/* ---- running -------------------------------------------------------------------------------- */

static void stop_all(struct supervisor *s)
{
    if (s->stopping) { /* asked twice: do not wait any longer */
        s->kill_at_ns = s->now_ns;
        return;
    }
    s->stopping = true;
    uint64_t grace_ns = 0;
    for (uint32_t i = 0; i < s->config->entrypoint_count; i++)
        if (s->config->entrypoints[i].grace_timeout_ms * NS_PER_MS > grace_ns)
            grace_ns = s->config->entrypoints[i].grace_timeout_ms * NS_PER_MS;
    s->kill_at_ns = s->now_ns + grace_ns + STOP_MARGIN_NS;
    log_info("stopping: no new connections, up to %llu s for running requests",
             (unsigned long long)(grace_ns / NS_PER_S));
    notify_send("STOPPING=1\nSTATUS=Finishing running requests");
    for (int i = 0; i < CHILD_COUNT; i++) {
        s->children[i].restart_at_ns = UINT64_MAX;
        tell(&s->children[i], 'T', -1);
    }
    listeners_close(&s->listeners); /* data closes its own: clients are refused from then on */
}

static void announce_ready(struct supervisor *s)
{
    if (s->announced)
        return;
    s->announced = true;
    log_info("ready: %u worker%s, %u entry point%s", s->config->workers,
             s->config->workers == 1 ? "" : "s", s->config->entrypoint_count,
             s->config->entrypoint_count == 1 ? "" : "s");
    notify_send("READY=1\nSTATUS=Serving");
}

static void hear(struct supervisor *s, enum child_kind kind)
{
    struct child *c = &s->children[kind];
    char what;
    ssize_t n = recv(c->fd, &what, 1, MSG_DONTWAIT);
    if (n == 1 && what == 'R') {
        c->was_ready = true;
        if (kind == CHILD_DATA)
            announce_ready(s);
    } else if (n == 1 && what == 'S') {
        log_info("asked to stop through the admin socket");
        stop_all(s);
    } else if (n == 0 || (n == -1 && errno != EAGAIN && errno != EINTR)) {
        close(c->fd); /* its end is reported by SIGCHLD */
        c->fd = -1;
    }
}

static void describe_end(int status, char text[64])
{
    if (WIFSIGNALED(status))
        snprintf(text, 64, "was killed by signal %d (%s)", WTERMSIG(status),
                 strsignal(WTERMSIG(status)));
    else
        snprintf(text, 64, "ended with exit code %d", WEXITSTATUS(status));
}

static void child_ended(struct supervisor *s, enum child_kind kind, int status)
{
    struct child *c = &s->children[kind];
    char how[64];
    describe_end(status, how);
    c->pid = 0;
    if (c->fd != -1)
        close(c->fd);
    c->fd = -1;
    if (s->stopping) {
        if (status != 0)
            log_warn("the %s process %s while stopping", child_names[kind], how);
        if (status != 0 && s->now_ns < s->kill_at_ns)
            s->exit_code = 1;
        return;
    }
    if (WIFEXITED(status) && !c->was_ready) { /* it said why; trying again would not help */
        log_error("the %s process %s before it was ready: stopping", child_names[kind], how);
        s->exit_code = 1;
        stop_all(s);
        return;
    }
    bool calm = s->now_ns - c->started_ns >= RESTART_CALM_NS;
    uint64_t wait = calm ? 0 : c->backoff_ns;
    c->backoff_ns = calm || !wait ? RESTART_FIRST_NS : wait * 2;
    if (c->backoff_ns > RESTART_MAX_NS)
        c->backoff_ns = RESTART_MAX_NS;
    c->restart_at_ns = s->now_ns + wait;
    log_error("the %s process %s: starting it again in %llu ms", child_names[kind], how,
              (unsigned long long)(wait / NS_PER_MS));
}

static void reap(struct supervisor *s)
{
    int status;
    pid_t pid;
    while ((pid = waitpid(-1, &status, WNOHANG)) > 0)
        for (int i = 0; i < CHILD_COUNT; i++)
            if (s->children[i].pid == pid)
                child_ended(s, i, status);
}

static void take_signals(struct supervisor *s)
{
    struct signalfd_siginfo info;
    while (read(s->signal_fd, &info, sizeof info) == sizeof info) {
        if (info.ssi_signo == SIGCHLD)
            reap(s);
        else if (info.ssi_signo == SIGTERM || info.ssi_signo == SIGINT)
            stop_all(s);
        else if (info.ssi_signo == SIGUSR1)
            tell(&s->children[CHILD_DATA], 'L', -1);
        else
            log_warn("signal %u has no meaning here: to change the configuration, stop and start",
                     info.ssi_signo);
    }
}

static void run_timers(struct supervisor *s)
{
    for (int i = 0; i < CHILD_COUNT; i++) {
        struct child *c = &s->children[i];
        struct why why;
        if (s->now_ns < c->restart_at_ns || s->stopping)
            continue;
        if (!result_is_ok(start_child(s, i, &why))) {
            log_error("%s", why.text);
            c->restart_at_ns = s->now_ns + RESTART_MAX_NS;
        }
    }
    if (s->now_ns >= s->kill_at_ns)
        for (int i = 0; i < CHILD_COUNT; i++)
            if (s->children[i].pid)
                kill(s->children[i].pid, SIGKILL);
    if (notify_watchdog_ns() && s->now_ns >= s->watchdog_at_ns) {
        notify_send("WATCHDOG=1");
        s->watchdog_at_ns = s->now_ns + notify_watchdog_ns();
    }
}

static int wait_ms(const struct supervisor *s)
{
    uint64_t next = s->kill_at_ns;
    for (int i = 0; i < CHILD_COUNT; i++)
        if (s->children[i].restart_at_ns < next)
            next = s->children[i].restart_at_ns;
    if (notify_watchdog_ns() && s->watchdog_at_ns < next)
        next = s->watchdog_at_ns;
    if (next == UINT64_MAX)
        return -1;
    if (next <= s->now_ns)
        return s->stopping ? 50 : 0;
    return (int)((next - s->now_ns) / NS_PER_MS) + 1;
}

static void loop(struct supervisor *s)
{
    while (!s->stopping || s->children[CHILD_DATA].pid || s->children[CHILD_CONTROL].pid) {
        struct pollfd fds[1 + CHILD_COUNT] = {{.fd = s->signal_fd, .events = POLLIN}};
        for (int i = 0; i < CHILD_COUNT; i++)
            fds[1 + i] = (struct pollfd){.fd = s->children[i].fd, .events = POLLIN};
        int n = poll(fds, 1 + CHILD_COUNT, wait_ms(s));
        s->now_ns = clock_now_ns();
        for (int i = 0; n > 0 && i < CHILD_COUNT; i++)
            if (fds[1 + i].revents && s->children[i].fd != -1)
                hear(s, i);
        take_signals(s);
        run_timers(s);
    }
}

int supervisor_main(int argc, char **argv)
{
    struct supervisor s = {.lock_fd = -1, .report_fd = -1, .kill_at_ns = UINT64_MAX};
    struct why why = {""};
    struct result r = check_args_parse(argc - 1, argv + 1, &s.args, &why);
    if (!result_is_ok(r)) {
        fprintf(stderr, "ferrule run: %s\n", why.text);
        return 2;
    }
    notify_init();
    child_hide_memory();
    if (!result_is_ok(check_load(&s.args, &s.config)))
        return 1;
    log_init("supervisor", log_level_parse(s.config->log_level));
    r = start(&s, &why);
    s.now_ns = clock_now_ns();
    for (int i = 0; i < CHILD_COUNT; i++)
        s.children[i] = (struct child){.fd = -1, .restart_at_ns = UINT64_MAX};
    for (int i = 0; result_is_ok(r) && i < CHILD_COUNT; i++)
        r = start_child(&s, i, &why);
    if (!result_is_ok(r)) {
        log_error("%s", why.text);
        return 1;
    }
    loop(&s);
    listeners_close(&s.listeners);
    config_free(s.config);
    check_args_free(&s.args);
    log_info("stopped");
    return s.exit_code;
}

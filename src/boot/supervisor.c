/* SPDX-License-Identifier: Apache-2.0 */
#include "boot/supervisor.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/must.h"
#include "boot/child.h"
#include "boot/notify.h"
#include "boot/supervisor_impl.h"
#include "boot/terminal.h"
#include "boot/upgrade.h"
#include "bridge/report.h"
#include "control/store/state.h"
#include "ring/ring.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <malloc.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#define STOP_MARGIN_NS    (5 * NS_PER_S) /* beyond the longest grace time, before SIGKILL */
#define BUSY_TRIES        20             /* to listen on an address in use, when ferrule starts */
#define BUSY_PAUSE_MS     100            /* between them */
#define FREED_BYTE        0xa5           /* what freed memory is filled with */
#define RESTART_FAILED_NS (5 * NS_PER_S) /* no process could be started */

/* ---- starting ------------------------------------------------------------------------------- */

/* Certificates are control's: it says what is wrong with them, and ends. */
struct result supervisor_load(struct supervisor *s)
{
    TRY(check_load_start(&s->args, &s->config));
    config_forget_secrets(s->config);
    malloc_trim(0);
    return result_ok();
}

/* Connections need descriptors: two each, and the kernel's default of 1,024 is for programs that
 * use select(2). */
void supervisor_raise_limits(const struct config *config)
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
}

struct result supervisor_open_signals(struct supervisor *s, struct why *why)
{
    sigset_t set;
    sigemptyset(&set);
    static const int handled[] = {SIGTERM, SIGINT, SIGHUP, SIGCHLD, SIGUSR1, SIGUSR2};
    for (size_t i = 0; i < sizeof handled / sizeof *handled; i++)
        sigaddset(&set, handled[i]);
    must(sigprocmask(SIG_BLOCK, &set, NULL) == 0);
    must(sigaction(SIGPIPE, &(struct sigaction){.sa_handler = SIG_IGN}, NULL) == 0);
    s->signal_fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    return s->signal_fd == -1 ? why_fail_sys(why, ERR_SYSTEM, errno, "signalfd") : result_ok();
}

/* What a killed process accepted on, the kernel closes a moment after the process has ended:
 * whoever starts ferrule again at once shall not be told that another program listens. A signal
 * ends it. */
static struct result listen_at_start(struct supervisor *s, struct why *why)
{
    struct pollfd signals = {.fd = s->signal_fd, .events = POLLIN};
    struct result r = listeners_stage(&s->listeners, &s->plan, s->config->workers, why);
    for (int tries = 1; r.code == ERR_BUSY && tries < BUSY_TRIES; tries++) {
        if (poll(&signals, 1, BUSY_PAUSE_MS) != 0)
            break;
        r = listeners_stage(&s->listeners, &s->plan, s->config->workers, why);
    }
    TRY(r);
    listeners_commit(&s->listeners, NULL, NULL);
    return r;
}

static struct result start(struct supervisor *s, struct why *why)
{
    TRY(ring_probe(why));
    TRY(state_lock(s->config->state_directory, &s->lock_fd, why));
    plan_of_config(s->config, &s->plan);
    TRY(supervisor_open_signals(s, why));
    TRY(listen_at_start(s, why));
    TRY(report_create(s->config->workers, &s->report_fd, why));
    supervisor_raise_limits(s->config);
    s->exe_fd = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
    return result_ok();
}

/* ---- running -------------------------------------------------------------------------------- */

void supervisor_stop(struct supervisor *s)
{
    if (s->stopping) { /* asked twice: do not wait any longer */
        s->kill_at_ns = s->now_ns;
        return;
    }
    bool waited = s->stop_at_ns != UINT64_MAX; /* or asked a second time */
    if (s->plan.accept_ms && s->announced && !waited) {
        s->stop_at_ns = s->now_ns + s->plan.accept_ms * NS_PER_MS;
        log_info("stopping in %llu s: connections are accepted until then",
                 (unsigned long long)(s->plan.accept_ms / 1000));
        children_tell_byte(&s->children[CHILD_DATA], 'W');
        notify_send("STOPPING=1\nSTATUS=Still accepting connections");
        return;
    }
    s->stop_at_ns = UINT64_MAX;
    s->stopping = true;
    s->kill_at_ns = s->now_ns + s->plan.grace_ms * NS_PER_MS + STOP_MARGIN_NS;
    log_info("stopping: no new connections, up to %llu s for running requests",
             (unsigned long long)(s->plan.grace_ms / 1000));
    notify_send("STOPPING=1\nSTATUS=Finishing running requests");
    for (int i = 0; i < CHILD_COUNT; i++) {
        s->children[i].restart_at_ns = UINT64_MAX;
        children_tell_byte(&s->children[i], 'T');
    }
    upgrade_stop(s);
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

static void hear_control(struct supervisor *s, struct span message)
{
    switch (message.ptr[0]) {
    case 'R':
        s->children[CHILD_CONTROL].was_ready = true;
        upgrade_tell_control(s);
        break;
    case 'U':
        upgrade_request(s);
        break;
    case 'S':
        log_info("asked to stop through the admin socket");
        supervisor_stop(s);
        break;
    case 'E':
        reload_stage(s, span_skip(message, 1));
        break;
    case 'K':
        reload_commit(s);
        break;
    case 'B':
        reload_begun(s);
        break;
    case 'F':
        reload_ended(s, span_skip(message, 1));
        break;
    default:
        log_warn("control said something unknown: '%c'", message.ptr[0]);
    }
}

static void hear(struct supervisor *s, enum child_kind kind)
{
    static uint8_t message[PLAN_BYTES_MAX + 1];
    struct child *c = &s->children[kind];
    ssize_t n = recv(c->fd, message, sizeof message, MSG_DONTWAIT);
    if (n > 0 && kind == CHILD_CONTROL) {
        hear_control(s, span_of(message, (size_t)n));
    } else if (n > 0 && message[0] == 'R') {
        c->was_ready = true;
        announce_ready(s);
        upgrade_data_ready(s);
    } else if (n == 0 || (n == -1 && errno != EAGAIN && errno != EINTR)) {
        close(c->fd); /* its end is reported by SIGCHLD */
        c->fd = -1;
    }
}

static void reap(struct supervisor *s)
{
    int status;
    pid_t pid;
    while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
        if (upgrade_reaped(s, pid, status))
            continue;
        for (int i = 0; i < CHILD_COUNT; i++)
            if (s->children[i].pid == pid)
                children_ended(s, i, status);
    }
}

/* All data processes write their lines into the same file. */
static void reopen_logs(const struct supervisor *s)
{
    children_tell_byte(&s->children[CHILD_DATA], 'A');
    upgrade_reopen_logs(s);
}

static void take_signals(struct supervisor *s)
{
    struct signalfd_siginfo info;
    while (read(s->signal_fd, &info, sizeof info) == sizeof info) {
        if (info.ssi_signo == SIGCHLD)
            reap(s);
        else if (info.ssi_signo == SIGTERM || info.ssi_signo == SIGINT)
            supervisor_stop(s);
        else if (info.ssi_signo == SIGUSR1)
            reopen_logs(s);
        else if (info.ssi_signo == SIGHUP)
            children_tell_byte(&s->children[CHILD_CONTROL], 'H');
        else if (info.ssi_signo == SIGUSR2)
            upgrade_request(s);
        else
            log_warn("signal %u has no meaning here", info.ssi_signo);
    }
}

static void run_timers(struct supervisor *s)
{
    for (int i = 0; i < CHILD_COUNT; i++) {
        struct child *c = &s->children[i];
        struct why why;
        if (s->now_ns < c->restart_at_ns || s->stopping)
            continue;
        if (!result_is_ok(children_start(s, i, &why))) {
            log_error("%s", why.text);
            c->restart_at_ns = s->now_ns + RESTART_FAILED_NS;
        }
    }
    if (s->now_ns >= s->kill_at_ns)
        for (int i = 0; i < CHILD_COUNT; i++)
            if (s->children[i].pid)
                kill(s->children[i].pid, SIGKILL);
    if (s->now_ns >= s->stop_at_ns)
        supervisor_stop(s);
    upgrade_timers(s);
    if (notify_watchdog_ns() && s->now_ns >= s->watchdog_at_ns) {
        notify_send("WATCHDOG=1");
        s->watchdog_at_ns = s->now_ns + notify_watchdog_ns();
    }
}

static int wait_ms(const struct supervisor *s)
{
    uint64_t next = s->kill_at_ns < upgrade_next_ns(s) ? s->kill_at_ns : upgrade_next_ns(s);
    for (int i = 0; i < CHILD_COUNT; i++)
        if (s->children[i].restart_at_ns < next)
            next = s->children[i].restart_at_ns;
    if (s->stop_at_ns < next)
        next = s->stop_at_ns;
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
    while (!s->stopping || s->children[CHILD_DATA].pid || s->children[CHILD_CONTROL].pid ||
           upgrade_is_busy(s)) {
        struct pollfd fds[3 + CHILD_COUNT] = {{.fd = s->signal_fd, .events = POLLIN}};
        for (int i = 0; i < CHILD_COUNT; i++)
            fds[1 + i] = (struct pollfd){.fd = s->children[i].fd, .events = POLLIN};
        fds[1 + CHILD_COUNT] = (struct pollfd){.fd = upgrade_pipe(s), .events = POLLIN};
        fds[2 + CHILD_COUNT] = (struct pollfd){.fd = terminal_fd(), .events = POLLIN};
        int n = poll(fds, 3 + CHILD_COUNT, terminal_wait_ms(wait_ms(s)));
        s->now_ns = clock_now_ns();
        for (int i = 0; n > 0 && i < CHILD_COUNT; i++)
            if (fds[1 + i].revents && s->children[i].fd != -1)
                hear(s, i);
        if (n > 0 && fds[1 + CHILD_COUNT].revents && upgrade_pipe(s) != -1)
            upgrade_read_pipe(s);
        if (n > 0 && fds[2 + CHILD_COUNT].revents && terminal_entered())
            children_tell_byte(&s->children[CHILD_CONTROL], 'C');
        take_signals(s);
        run_timers(s);
    }
}

/* The first start: all is made anew. */
static struct result start_anew(struct supervisor *s, struct why *why)
{
    TRY(start(s, why));
    s->now_ns = clock_now_ns();
    for (int i = 0; i < CHILD_COUNT; i++)
        TRY(children_start(s, i, why));
    return result_ok();
}

static void supervisor_init(struct supervisor *s)
{
    *s = (struct supervisor){.lock_fd = -1,
                             .report_fd = -1,
                             .exe_fd = -1,
                             .signal_fd = -1,
                             .stop_at_ns = UINT64_MAX,
                             .kill_at_ns = UINT64_MAX};
    s->upgrade = (struct upgrade){.deadline_ns = UINT64_MAX,
                                  .pipe_fd = -1,
                                  .state_fd = -1,
                                  .back_exe_fd = -1,
                                  .old_report_fd = -1,
                                  .old_lock_fd = -1,
                                  .data = {.fd = -1},
                                  .control = {.fd = -1},
                                  .control_kill_at_ns = UINT64_MAX};
    for (int i = 0; i < CHILD_COUNT; i++)
        s->children[i] = (struct child){.fd = -1, .restart_at_ns = UINT64_MAX};
}

static void supervisor_fini(struct supervisor *s)
{
    listeners_close(&s->listeners);
    plan_free(&s->plan);
    plan_free(&s->staged);
    config_free(s->config);
    check_args_free(&s->args);
}

int supervisor_main(int argc, char **argv)
{
    struct supervisor s;
    struct why why = {""};
    supervisor_init(&s);
    struct result r = check_args_parse(argc - 1, argv + 1, &s.args, &why);
    if (!result_is_ok(r)) {
        fprintf(stderr, "ferrule run: %s\n", why.text);
        return 2;
    }
    notify_init();
    child_hide_memory();
    /* Memory is filled when it is freed: what was read of the configuration passes through
     * libraries that do not wipe their copies. */
    mallopt(M_PERTURB, FREED_BYTE);
    if (upgrade_is_under_way()) {
        log_init("supervisor", LOG_LEVEL_INFO);
        if (!upgrade_take_over(&s))
            return 1;
    } else {
        if (!result_is_ok(supervisor_load(&s)))
            return 1;
        log_init("supervisor", log_level_parse(s.config->log_level));
        r = start_anew(&s, &why);
        if (!result_is_ok(r)) {
            log_error("%s", why.text);
            return 1;
        }
    }
    loop(&s);
    supervisor_fini(&s);
    log_info("stopped");
    return s.exit_code;
}

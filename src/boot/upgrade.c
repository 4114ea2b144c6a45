/* SPDX-License-Identifier: Apache-2.0 */
#include "boot/upgrade.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/must.h"
#include "boot/handover.h"
#include "boot/notify.h"
#include "bridge/report.h"
#include "control/store/state.h"
#include "ring/ring.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#ifndef FERRULE_VERSION
#define FERRULE_VERSION "0"
#endif

#define CHECK_NS        (60 * NS_PER_S)
#define HANDOVER_NS     (120 * NS_PER_S)
#define CONTROL_END_NS  (5 * NS_PER_S)
#define DRAIN_MARGIN_NS (10 * NS_PER_S) /* beyond the drain time, before SIGKILL */
#define TEXT_MAX        8192

extern char **environ;

/* ---- how it went ---------------------------------------------------------------------------- */

void upgrade_tell_control(struct supervisor *s)
{
    struct buf out = {0};
    buf_put_str(&out, "U");
    buf_put_be(&out, s->generation, 4);
    buf_put_be(&out, s->attempts, 4);
    buf_put_str(&out, s->upgrade.error);
    children_tell(&s->children[CHILD_CONTROL], buf_span(&out), NULL, 0);
    buf_free(&out);
}

static void close_fd(int *fd)
{
    if (*fd != -1)
        close(*fd);
    *fd = -1;
}

static void end_check(struct upgrade *u)
{
    close_fd(&u->pipe_fd);
    close_fd(&u->state_fd);
    free(u->program);
    u->program = NULL;
    buf_free(&u->text);
    u->check_pid = 0;
    u->phase = UPGRADE_PHASE_NONE;
    u->deadline_ns = UINT64_MAX;
}

/* Nothing has changed yet. */
static void refuse(struct supervisor *s, const char *why)
{
    snprintf(s->upgrade.error, sizeof s->upgrade.error, "%s", why);
    s->attempts++;
    log_error("upgrade refused, nothing changed: %s", why);
    upgrade_tell_control(s);
}

/* ---- the check ------------------------------------------------------------------------------ */

/* The command line of this process; the strings stand in *ret_memory. */
static char **own_argv(struct buf *ret_memory)
{
    char **argv = NULL;
    size_t count = 0;
    int fd = open("/proc/self/cmdline", O_RDONLY | O_CLOEXEC);
    ssize_t n = 0;
    while (fd != -1 && (n = read(fd, buf_reserve(ret_memory, 4096), 4096)) > 0)
        ret_memory->len += (size_t)n;
    if (fd != -1)
        close(fd);
    char *text = buf_cstr(ret_memory);
    for (size_t at = 0; at < ret_memory->len; at += strlen(text + at) + 1) {
        argv = mem_grow(argv, (count + 2) * sizeof *argv);
        argv[count++] = text + at;
        argv[count] = NULL;
    }
    return argv;
}

/* Where the command that started us is found now; NULL when nowhere. */
static char *find_program(const char *name)
{
    if (strchr(name, '/'))
        return mem_strdup(name);
    const char *path = getenv("PATH");
    for (struct span rest = span_str(path ? path : "/usr/bin:/bin"); rest.len;) {
        struct span folder = span_first(rest, span_find(rest, ':'));
        rest = span_skip(rest, folder.len + 1);
        char *file = mem_printf("%.*s/%s", SPAN_FMT(folder), name);
        if (access(file, X_OK) == 0)
            return file;
        free(file);
    }
    return NULL;
}

static struct result spawn_check(struct supervisor *s, char **argv, struct why *why)
{
    struct upgrade *u = &s->upgrade;
    int pipe_fds[2];
    uint32_t count = 0;
    while (argv[count])
        count++;
    char **args = mem_zalloc((count + 3) * sizeof *args), *state = mem_printf("%d", u->state_fd);
    args[0] = argv[0];
    args[1] = (char *)"upgrade-check";
    args[2] = state;
    for (uint32_t i = 2; i < count; i++)
        args[i + 1] = argv[i];
    int sys = pipe2(pipe_fds, O_CLOEXEC | O_NONBLOCK) == 0 ? 0 : errno;
    if (!sys) {
        posix_spawn_file_actions_t actions;
        posix_spawnattr_t attr;
        sigset_t none;
        sigemptyset(&none);
        posix_spawn_file_actions_init(&actions);
        posix_spawnattr_init(&attr);
        posix_spawnattr_setsigmask(&attr, &none);
        posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETSIGMASK);
        posix_spawn_file_actions_adddup2(&actions, pipe_fds[1], 1);
        posix_spawn_file_actions_adddup2(&actions, pipe_fds[1], 2);
        posix_spawn_file_actions_adddup2(&actions, u->state_fd, u->state_fd);
        sys = posix_spawn(&u->check_pid, u->program, &actions, &attr, args, environ);
        posix_spawn_file_actions_destroy(&actions);
        posix_spawnattr_destroy(&attr);
        close(pipe_fds[1]);
        u->pipe_fd = pipe_fds[0];
    }
    free(args);
    free(state);
    return sys ? why_fail_sys(why, ERR_SYSTEM, sys, "cannot start %s", u->program) : result_ok();
}

static struct result begin(struct supervisor *s, struct why *why)
{
    struct buf memory = {0};
    char **argv = own_argv(&memory);
    struct result r = result_ok();
    s->upgrade.program = argv ? find_program(argv[0]) : NULL;
    if (!s->upgrade.program)
        r = why_fail(why, ERR_NOT_FOUND, "%s is not found any more",
                     argv ? argv[0] : "the program's name");
    if (result_is_ok(r))
        r = handover_write(s, &s->upgrade.state_fd, why);
    if (result_is_ok(r))
        r = spawn_check(s, argv, why);
    free(argv);
    buf_free(&memory);
    return r;
}

void upgrade_request(struct supervisor *s)
{
    struct why why;
    if (s->stopping || s->upgrade.phase != UPGRADE_PHASE_NONE || !s->announced) {
        log_warn("no upgrade now: %s", s->stopping    ? "ferrule is stopping"
                                       : s->announced ? "one is under way"
                                                      : "ferrule is not ready yet");
        return;
    }
    s->upgrade.phase = UPGRADE_PHASE_CHECKING;
    s->upgrade.deadline_ns = s->now_ns + CHECK_NS;
    if (!result_is_ok(begin(s, &why))) {
        end_check(&s->upgrade);
        refuse(s, why.text);
        return;
    }
    log_info("upgrade: %s is being checked", s->upgrade.program);
}

int upgrade_pipe(const struct supervisor *s)
{
    return s->upgrade.pipe_fd;
}

void upgrade_read_pipe(struct supervisor *s)
{
    char piece[1024];
    ssize_t n;
    while ((n = read(s->upgrade.pipe_fd, piece, sizeof piece)) > 0)
        if (s->upgrade.text.len < TEXT_MAX)
            buf_put(&s->upgrade.text, piece, (size_t)n);
    if (n == 0)
        close_fd(&s->upgrade.pipe_fd);
}

int upgrade_check_main(int argc, char **argv)
{
    /* Static: they end with the process. */
    static struct supervisor s = {.lock_fd = -1};
    static struct check_args args;
    static struct config *config = NULL;
    struct why why;
    if (argc < 2) {
        fprintf(stderr, "ferrule: %s is started by ferrule upgrade\n", argv[0]);
        return 2;
    }
    struct result r = handover_read((int)strtol(argv[1], NULL, 10), &s, true, &why);
    if (result_is_ok(r))
        r = check_args_parse(argc - 2, argv + 2, &args, &why);
    if (result_is_ok(r))
        r = ring_probe(&why);
    if (!result_is_ok(r)) {
        fprintf(stderr, "%s\n", why.text);
        return 1;
    }
    if (!result_is_ok(check_load(&args, &config)))
        return 1;
    int lock_fd = -1;
    if (strcmp(config->state_directory, s.config->state_directory) != 0)
        r = state_lock(config->state_directory, &lock_fd, &why);
    if (!result_is_ok(r))
        fprintf(stderr, "%s\n", why.text);
    return result_is_ok(r) ? 0 : 1;
}

/* ---- the exec ------------------------------------------------------------------------------- */

/* Executes `program`, or what exe_fd holds. Returns only when that fails, with errno. */
static void exec_into(const char *program, int exe_fd, int state_fd, const char *failed)
{
    struct buf memory = {0};
    char **argv = own_argv(&memory), *number = mem_printf("%d", state_fd);
    notify_restore();
    setenv(HANDOVER_ENV, number, 1);
    if (failed)
        setenv(HANDOVER_FAILED, failed, 1);
    if (program)
        execve(program, argv, environ);
    else
        fexecve(exe_fd, argv, environ);
    int sys = errno;
    unsetenv(HANDOVER_ENV);
    unsetenv(HANDOVER_FAILED);
    notify_init();
    free(number);
    free(argv);
    buf_free(&memory);
    errno = sys;
}

static void go(struct supervisor *s)
{
    struct upgrade *u = &s->upgrade;
    struct why why;
    close_fd(&u->state_fd); /* children may have come and gone since the check */
    struct result r = handover_write(s, &u->state_fd, &why);
    if (result_is_ok(r)) {
        log_info("upgrade: %s takes over", u->program);
        reload_begun(s);
        handover_keep(s, u->state_fd, true);
        exec_into(u->program, -1, u->state_fd, NULL);
        r = why_fail_sys(&why, ERR_SYSTEM, errno, "cannot execute %s", u->program);
        handover_keep(s, u->state_fd, false);
        reload_ended(s, SPAN_LITERAL("Serving; last upgrade refused"));
    }
    end_check(u);
    refuse(s, why.text);
}

static void check_ended(struct supervisor *s, int status)
{
    struct upgrade *u = &s->upgrade;
    u->check_pid = 0;
    if (u->pipe_fd != -1)
        upgrade_read_pipe(s);
    if (s->stopping) {
        end_check(u);
        return;
    }
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0) {
        go(s);
        return;
    }
    struct buf why = {0};
    struct span said = buf_span(&u->text);
    while (said.len && said.ptr[said.len - 1] == '\n')
        said.len--;
    if (WIFSIGNALED(status))
        buf_printf(&why, "%s was killed by signal %d%s", u->program, WTERMSIG(status),
                   said.len ? ": " : "");
    else if (!said.len)
        buf_printf(&why, "%s ended with exit code %d", u->program, WEXITSTATUS(status));
    buf_put_span(&why, said);
    end_check(u);
    refuse(s, buf_cstr(&why));
    buf_free(&why);
}

/* ---- descriptors of processes that have ended ----------------------------------------------- */

/* While there is a way back, the numbers that it names stay taken: the program from before would
 * refuse one that is closed, and take one that was given away for its own. */
static void let_go(struct upgrade *u, int *fd)
{
    if (*fd == -1)
        return;
    if (u->phase == UPGRADE_PHASE_HANDOVER && u->back_exe_fd != -1) {
        must(u->kept_count < sizeof u->kept_fds / sizeof *u->kept_fds);
        u->kept_fds[u->kept_count++] = *fd;
        *fd = -1;
    }
    close_fd(fd);
}

/* There is no way back any more. */
static void close_kept(struct upgrade *u)
{
    close_fd(&u->back_exe_fd);
    while (u->kept_count)
        close_fd(&u->kept_fds[--u->kept_count]);
}

static void drop_old(struct supervisor *s, uint32_t index)
{
    let_go(&s->upgrade, &s->old[index].fd);
    memmove(s->old + index, s->old + index + 1, (--s->old_count - index) * sizeof *s->old);
}

/* ---- the way back --------------------------------------------------------------------------- */

static void kill_and_wait(pid_t *pid)
{
    if (*pid <= 0)
        return;
    kill(*pid, SIGKILL);
    while (waitpid(*pid, NULL, 0) == -1 && errno == EINTR)
        ;
    *pid = 0;
}

/* Executes it with what it left. Returns only when that cannot be. */
static void exec_back(struct upgrade *u, struct supervisor *before, const char *why)
{
    struct why problem;
    if (!result_is_ok(handover_read(u->state_fd, before, false, &problem))) {
        log_error("the program from before cannot go on: %s", problem.text);
        return;
    }
    handover_keep(before, u->state_fd, true);
    exec_into(NULL, u->back_exe_fd, u->state_fd, why);
    log_error("the program from before cannot be executed: %s", strerror(errno));
    handover_keep(before, u->state_fd, false);
}

/* The program from before goes on with what it left. Returns only when it cannot. */
static void go_back(struct supervisor *s, const char *why)
{
    struct upgrade *u = &s->upgrade;
    struct supervisor before = {.lock_fd = -1, .report_fd = -1, .exe_fd = -1};
    log_error("the upgrade has failed, the program from before goes on: %s", why);
    for (int i = 0; i < CHILD_COUNT; i++) {
        before.children[i].fd = -1;
        kill_and_wait(&s->children[i].pid);
    }
    if (u->back_exe_fd == -1)
        return;
    exec_back(u, &before, why);
    for (uint32_t i = 0; i < before.listeners.count; i++)
        before.listeners.groups[i].count = 0; /* the descriptors are ours */
    listeners_close(&before.listeners);
    config_free(before.config);
}

static void fail(struct supervisor *s, const char *why)
{
    struct upgrade *u = &s->upgrade;
    go_back(s, why);
    close_kept(u);
    /* Control from before may still be ending: there are never two. */
    kill_and_wait(&u->control.pid);
    close_fd(&u->control.fd);
    u->control_kill_at_ns = UINT64_MAX;
    for (int i = 0; i < CHILD_COUNT; i++) {
        s->children[i].pid = 0;
        close_fd(&s->children[i].fd);
        s->children[i].restart_at_ns = s->now_ns + NS_PER_S;
    }
    u->deadline_ns = UINT64_MAX;
}

void upgrade_child_failed(struct supervisor *s, const char *what, const char *how)
{
    char why[256];
    snprintf(why, sizeof why, "the new %s process %s before it was ready", what, how);
    fail(s, why);
}

/* ---- taking over ---------------------------------------------------------------------------- */

bool upgrade_is_under_way(void)
{
    return getenv(HANDOVER_ENV) != NULL;
}

/* What the new program needs of its own, before anything ends. */
static struct result prepare(struct supervisor *s, struct why *why)
{
    struct upgrade *u = &s->upgrade;
    struct config *before = s->config;
    if (!result_is_ok(supervisor_load(s)))
        return why_fail(why, ERR_CONFIG, "its configuration is bad");
    const struct config *config = s->config;
    log_init("supervisor", log_level_parse(config->log_level));
    u->old_lock_fd = u->old_report_fd = -1;
    if (strcmp(config->state_directory, before->state_directory) != 0) {
        u->old_lock_fd = s->lock_fd;
        TRY(state_lock(config->state_directory, &s->lock_fd, why));
    }
    config_free(before);
    plan_of_config(config, &s->plan);
    TRY(listeners_stage(&s->listeners, &s->plan, config->workers, why));
    u->old_report_fd = s->report_fd;
    s->report_fd = -1;
    TRY(report_create(config->workers, &s->report_fd, why));
    supervisor_raise_limits(config);
    return result_ok();
}

static void start_control(struct supervisor *s)
{
    struct why why;
    if (s->children[CHILD_CONTROL].pid)
        return;
    if (!result_is_ok(children_start(s, CHILD_CONTROL, &why)))
        fail(s, why.text);
}

/* Control from before ends first: there is one that writes DNS and asks the CA. */
static void replace_control(struct supervisor *s)
{
    struct upgrade *u = &s->upgrade;
    u->control_kill_at_ns = s->now_ns + CONTROL_END_NS;
    if (u->control.pid)
        children_tell_byte(&u->control, 'T');
    else
        start_control(s);
}

/* Is the process that was left to us still there? */
static bool is_there(pid_t pid)
{
    return pid && waitpid(pid, NULL, WNOHANG) == 0;
}

/* Those that have ended since their numbers were written down are ours no more. */
static void look_for_old(struct supervisor *s)
{
    for (uint32_t i = s->old_count; i-- > 0;)
        if (!is_there(s->old[i].pid))
            drop_old(s, i);
}

static void take_over_forward(struct supervisor *s)
{
    struct upgrade *u = &s->upgrade;
    struct why why = {{0}};
    u->back_exe_fd = s->exe_fd;
    s->exe_fd = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
    u->phase = UPGRADE_PHASE_HANDOVER;
    u->deadline_ns = s->now_ns + HANDOVER_NS;
    u->data = s->children[CHILD_DATA];
    u->control = s->children[CHILD_CONTROL];
    for (int i = 0; i < CHILD_COUNT; i++)
        s->children[i] = (struct child){.fd = -1, .restart_at_ns = UINT64_MAX};
    look_for_old(s);
    struct result r = prepare(s, &why);
    if (result_is_ok(r))
        r = children_start(s, CHILD_DATA, &why);
    if (result_is_ok(r))
        replace_control(s);
    else
        fail(s, why.text);
}

static void take_over_back(struct supervisor *s, const char *why)
{
    log_init("supervisor", log_level_parse(s->plan.log_level));
    snprintf(s->upgrade.error, sizeof s->upgrade.error, "%s", why);
    s->attempts++;
    close_fd(&s->upgrade.state_fd);
    log_info("the program from before goes on after a failed upgrade");
    look_for_old(s);
    for (int i = 0; i < CHILD_COUNT; i++) {
        struct child *c = &s->children[i];
        if (!is_there(c->pid)) {
            c->pid = 0;
            close_fd(&c->fd);
        }
        c->started_ns = s->now_ns;
        c->was_ready = true;
        c->restart_at_ns = c->pid ? UINT64_MAX : s->now_ns;
    }
    for (uint32_t i = 0; s->children[CHILD_DATA].pid && i < s->listeners.count; i++)
        s->listeners.groups[i].known = s->listeners.groups[i].count;
    upgrade_tell_control(s);
    reload_ended(s, SPAN_LITERAL("Serving; last upgrade refused"));
}

bool upgrade_take_over(struct supervisor *s)
{
    struct why why;
    const char *failed = getenv(HANDOVER_FAILED);
    char *reason = failed ? mem_strdup(failed) : NULL;
    int fd = (int)strtol(getenv(HANDOVER_ENV), NULL, 10);
    unsetenv(HANDOVER_ENV);
    unsetenv(HANDOVER_FAILED);
    s->now_ns = clock_now_ns();
    if (!result_is_ok(handover_read(fd, s, false, &why)) ||
        !result_is_ok(supervisor_open_signals(s, &why))) {
        log_error("%s", why.text);
        free(reason);
        return false;
    }
    handover_keep(s, fd, false);
    s->upgrade.state_fd = fd;
    s->announced = true;
    if (reason)
        take_over_back(s, reason);
    else
        take_over_forward(s);
    free(reason);
    return true;
}

/* ---- the old data process ------------------------------------------------------------------- */

static void tell_old(const struct old_data *old, char what)
{
    struct child c = {.pid = old->pid, .fd = old->fd};
    children_tell_byte(&c, what);
}

/* It goes on with what it has begun, and accepts nothing any more. */
static void retire(struct supervisor *s)
{
    struct upgrade *u = &s->upgrade;
    struct buf out = {0};
    if (!u->data.pid)
        return;
    buf_put_str(&out, "U");
    buf_put_be(&out, s->plan.drain_ms > UINT32_MAX ? UINT32_MAX : s->plan.drain_ms, 4);
    children_tell(&u->data, buf_span(&out), NULL, 0);
    buf_free(&out);
    if (s->old_count == OLD_MAX) { /* the oldest makes room */
        log_warn("%d old data processes still finish their work: the oldest is ended", OLD_MAX);
        kill_and_wait(&s->old[0].pid);
        close_fd(&s->old[0].fd);
        memmove(s->old, s->old + 1, --s->old_count * sizeof *s->old);
    }
    s->old[s->old_count++] = (struct old_data){
        u->data.pid, u->data.fd, s->now_ns + s->plan.drain_ms * NS_PER_MS + DRAIN_MARGIN_NS};
    u->data = (struct child){.fd = -1};
}

void upgrade_data_ready(struct supervisor *s)
{
    struct upgrade *u = &s->upgrade;
    if (u->phase != UPGRADE_PHASE_HANDOVER)
        return;
    u->phase = UPGRADE_PHASE_NONE;
    u->deadline_ns = UINT64_MAX;
    retire(s);
    listeners_commit(&s->listeners, children_forget_group, s);
    close_fd(&u->state_fd);
    close_kept(u);
    close_fd(&u->old_report_fd);
    close_fd(&u->old_lock_fd);
    s->generation++;
    s->attempts++;
    u->error[0] = 0;
    struct buf text = {0};
    buf_printf(&text, "READY=1\nMAINPID=%d\nSTATUS=Serving", (int)getpid());
    notify_send(buf_cstr(&text));
    buf_free(&text);
    log_info("upgraded: ferrule %s serves; the data process from before has up to %llu s for what "
             "it has begun",
             FERRULE_VERSION, (unsigned long long)(s->plan.drain_ms / 1000));
    upgrade_tell_control(s);
}

/* ---- children, timers, the end -------------------------------------------------------------- */

bool upgrade_reaped(struct supervisor *s, pid_t pid, int status)
{
    struct upgrade *u = &s->upgrade;
    if (pid == u->check_pid) {
        check_ended(s, status);
        return true;
    }
    if (pid == u->data.pid) {
        log_error("the data process from before has ended during the upgrade");
        let_go(u, &u->data.fd);
        u->data = (struct child){.fd = -1};
        return true;
    }
    if (pid == u->control.pid) {
        let_go(u, &u->control.fd);
        u->control = (struct child){.fd = -1};
        u->control_kill_at_ns = UINT64_MAX;
        if (!s->stopping && u->phase == UPGRADE_PHASE_HANDOVER)
            start_control(s);
        return true;
    }
    for (uint32_t i = 0; i < s->old_count; i++)
        if (pid == s->old[i].pid) {
            log_info("an old data process has finished");
            drop_old(s, i);
            return true;
        }
    return false;
}

void upgrade_stop(struct supervisor *s)
{
    struct upgrade *u = &s->upgrade;
    if (u->check_pid)
        kill(u->check_pid, SIGKILL);
    children_tell_byte(&u->data, 'T');
    children_tell_byte(&u->control, 'T');
    for (uint32_t i = 0; i < s->old_count; i++) {
        tell_old(&s->old[i], 'T');
        s->old[i].kill_at_ns = s->kill_at_ns;
    }
}

void upgrade_reopen_logs(const struct supervisor *s)
{
    children_tell_byte(&s->upgrade.data, 'A');
    for (uint32_t i = 0; i < s->old_count; i++)
        tell_old(&s->old[i], 'A');
}

bool upgrade_is_busy(const struct supervisor *s)
{
    return s->upgrade.check_pid || s->upgrade.data.pid || s->upgrade.control.pid || s->old_count;
}

void upgrade_timers(struct supervisor *s)
{
    struct upgrade *u = &s->upgrade;
    if (s->now_ns >= u->deadline_ns) {
        u->deadline_ns = UINT64_MAX;
        if (u->phase == UPGRADE_PHASE_CHECKING)
            kill(u->check_pid, SIGKILL);
        else if (!s->stopping)
            fail(s, "the new processes were not ready in time");
    }
    if (u->control.pid && (s->now_ns >= u->control_kill_at_ns || s->now_ns >= s->kill_at_ns))
        kill(u->control.pid, SIGKILL);
    if (u->data.pid && s->now_ns >= s->kill_at_ns)
        kill(u->data.pid, SIGKILL);
    for (uint32_t i = 0; i < s->old_count; i++)
        if (s->now_ns >= s->old[i].kill_at_ns || s->now_ns >= s->kill_at_ns)
            kill(s->old[i].pid, SIGKILL);
}

uint64_t upgrade_next_ns(const struct supervisor *s)
{
    uint64_t next = s->upgrade.deadline_ns;
    if (s->upgrade.control.pid && s->upgrade.control_kill_at_ns < next)
        next = s->upgrade.control_kill_at_ns;
    for (uint32_t i = 0; i < s->old_count; i++)
        if (s->old[i].kill_at_ns < next)
            next = s->old[i].kill_at_ns;
    return next;
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "control/provider/process.h"

#include "base/log.h"
#include "base/must.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/pidfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define LINE_BYTES_MAX 1000
/* Output lines that are logged for one start or call; a plug-in should print nothing at all. */
#define LINES_PER_CALL 50
/* Reads of one turn, so that a child that never stops talking does not stop the loop. */
#define READS_PER_TURN    16
#define MESSAGES_PER_TURN 32
/* What a dead child may have left in its socket: more than its buffer holds. */
#define MESSAGES_AT_END 1024

static void close_fd(struct loop *loop, struct loop_fd *w)
{
    if (w->fd == -1)
        return;
    loop_watch(loop, w, 0);
    close(w->fd);
    w->fd = -1;
}

/* --- output -------------------------------------------------------------------------------------
 */

/* The rest of a long line is dropped: it might begin with the second half of a secret. */
static void log_output(struct process *p)
{
    if (p->line.len == 0)
        return;
    bool cut = p->line.len == LINE_BYTES_MAX;
    char *text = buf_cstr(&p->line);
    if (cut)
        redact_cut_text(&p->redact, text);
    else
        redact_text(&p->redact, text);
    if (p->lines_left > 0)
        log_warn("provider %s printed: %s", p->name, text);
    if (p->lines_left > 0 && --p->lines_left == 0)
        log_warn("provider %s prints too much: the rest is dropped", p->name);
    p->line.len = 0;
}

/* Reads a part of what is there; true while the pipe is open. */
static bool read_output(struct process *p)
{
    for (int reads = 0; reads < READS_PER_TURN; reads++) {
        char bytes[4096];
        ssize_t n = read(p->output.fd, bytes, sizeof bytes);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && errno == EAGAIN)
            return true;
        if (n <= 0)
            return false;
        for (ssize_t i = 0; i < n; i++) {
            if (bytes[i] == '\n')
                log_output(p);
            else if (p->line.len < LINE_BYTES_MAX)
                buf_put(&p->line, &bytes[i], 1);
        }
    }
    return true;
}

static void output_ready(struct loop_fd *w, uint32_t events)
{
    struct process *p = LIST_ENTRY(w, struct process, output);
    if (!read_output(p))
        close_fd(p->loop, w);
}

/* --- messages ------------------------------------------------------------------------------------
 */

static void take_log(struct process *p, const struct wire_log *m)
{
    log_line((enum log_level)m->level, "provider %s: %.*s", p->name, SPAN_FMT(m->text));
}

static void take_message(struct process *p, const struct wire_message *m)
{
    if (m->kind == WIRE_LOG) {
        take_log(p, &m->log);
        return;
    }
    if (m->kind == WIRE_READY)
        for (uint32_t i = 0; i < m->ready.secrets.count; i++)
            redact_add(&p->redact, m->ready.secrets.items[i]);
    p->events->message(p, m);
}

/* Takes messages that are there; false when the child closed its end or sent nonsense. */
static bool read_messages(struct process *p, int most)
{
    static uint8_t packet[WIRE_BYTES_MAX + 1];
    static struct wire_message m;
    for (int i = 0; i < most && p->socket.fd != -1; i++) {
        ssize_t n = recv(p->socket.fd, packet, sizeof packet, MSG_DONTWAIT);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && errno == EAGAIN)
            return true;
        if (n <= 0)
            return false;
        if (!result_is_ok(wire_decode(span_of(packet, (size_t)n), &m))) {
            p->nonsense = true;
            return false;
        }
        take_message(p, &m);
    }
    return true;
}

static void socket_ready(struct loop_fd *w, uint32_t events)
{
    struct process *p = LIST_ENTRY(w, struct process, socket);
    if (read_messages(p, MESSAGES_PER_TURN))
        return;
    /* A child without its socket serves nobody; its end is reported when it is there. */
    close_fd(p->loop, w);
    process_kill(p);
}

/* --- end
 * -------------------------------------------------------------------------------------------- */

static void describe_end(const struct process *p, int status, char *how, size_t cap)
{
    if (p->nonsense)
        snprintf(how, cap, "sent bytes that are no message and was killed");
    else if (WIFSIGNALED(status))
        snprintf(how, cap, "was killed by signal %d (%s)", WTERMSIG(status),
                 strsignal(WTERMSIG(status)));
    else
        snprintf(how, cap, "ended with exit status %d", WEXITSTATUS(status));
}

/* Collects the dead process and closes what belonged to it. */
static int reap(struct process *p)
{
    int status = 0;
    /* Before waiting: while the leader is not collected, its id cannot be another group's. */
    kill(-p->pid, SIGKILL);
    while (waitpid(p->pid, &status, 0) < 0 && errno == EINTR)
        ;
    p->pid = 0;
    close_fd(p->loop, &p->socket);
    close_fd(p->loop, &p->output);
    close_fd(p->loop, &p->exit);
    return status;
}

static void exit_ready(struct loop_fd *w, uint32_t events)
{
    struct process *p = LIST_ENTRY(w, struct process, exit);
    /* What it said before it died still counts. */
    if (p->socket.fd != -1)
        (void)read_messages(p, MESSAGES_AT_END);
    if (p->output.fd != -1)
        (void)read_output(p);
    log_output(p);
    int status = reap(p);
    char how[128];
    describe_end(p, status, how, sizeof how);
    p->nonsense = false;
    p->events->ended(p, how);
}

/* --- start
 * ------------------------------------------------------------------------------------------ */

void process_init(struct process *p, struct loop *loop, const char *name,
                  const struct process_events *events)
{
    *p = (struct process){.loop = loop, .events = events, .name = name};
    p->socket = (struct loop_fd){-1, 0, socket_ready};
    p->output = (struct loop_fd){-1, 0, output_ready};
    p->exit = (struct loop_fd){-1, 0, exit_ready};
}

/* The child's whole environment: nothing of ours but where programs are and the time zone. */
static char **make_environment(void)
{
    static const char *const passed[] = {"PATH", "TZ"};
    size_t count = sizeof passed / sizeof passed[0];
    char **env = mem_zalloc((count + 2) * sizeof *env);
    size_t n = 0;
    env[n++] = mem_strdup("LC_ALL=C");
    for (size_t i = 0; i < count; i++) {
        const char *value = getenv(passed[i]);
        if (value)
            env[n++] = mem_printf("%s=%s", passed[i], value);
    }
    return env;
}

static void free_environment(char **env)
{
    for (char **e = env; *e; e++)
        free(*e);
    free(env);
}

/* Returns an errno. */
static int spawn(const char *executable, int socket_fd, int output_fd, pid_t *ret)
{
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
    posix_spawn_file_actions_adddup2(&actions, output_fd, STDOUT_FILENO);
    posix_spawn_file_actions_adddup2(&actions, output_fd, STDERR_FILENO);
    posix_spawn_file_actions_adddup2(&actions, socket_fd, WIRE_CHILD_FD);
    posix_spawn_file_actions_addclosefrom_np(&actions, WIRE_CHILD_FD + 1);
    posix_spawnattr_t attr;
    posix_spawnattr_init(&attr);
    sigset_t set;
    sigfillset(&set);
    posix_spawnattr_setsigdefault(&attr, &set);
    sigemptyset(&set);
    posix_spawnattr_setsigmask(&attr, &set);
    posix_spawnattr_setpgroup(&attr, 0);
    posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSIGMASK |
                                        POSIX_SPAWN_SETPGROUP);
    char *argv[] = {(char *)executable, (char *)"provider-run", NULL};
    char **env = make_environment();
    int sys = posix_spawn(ret, executable, &actions, &attr, argv, env);
    free_environment(env);
    posix_spawnattr_destroy(&attr);
    posix_spawn_file_actions_destroy(&actions);
    return sys;
}

/* Takes over a descriptor number above those that the child's own will have, so that dup2 in the
 * child never meets itself. Returns the new descriptor or -1; closes the old one. */
static int move_up(int fd)
{
    int moved = fcntl(fd, F_DUPFD_CLOEXEC, WIRE_CHILD_FD + 1);
    close(fd);
    return moved;
}

static void watch_child(struct process *p, int socket_fd, int output_fd, int exit_fd)
{
    p->socket.fd = socket_fd;
    p->output.fd = output_fd;
    p->exit.fd = exit_fd;
    p->lines_left = LINES_PER_CALL;
    p->line.len = 0;
    loop_watch(p->loop, &p->socket, EPOLLIN);
    loop_watch(p->loop, &p->output, EPOLLIN);
    loop_watch(p->loop, &p->exit, EPOLLIN);
}

struct result process_start(struct process *p, const char *executable, struct why *why)
{
    must(p->pid == 0);
    int sockets[2] = {-1, -1}, pipes[2] = {-1, -1}, exit_fd = -1, sys = 0;
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, sockets) == -1 ||
        pipe2(pipes, O_CLOEXEC) == -1)
        sys = errno;
    if (!sys) {
        sockets[1] = move_up(sockets[1]);
        pipes[1] = move_up(pipes[1]);
        /* The child waits in recv(); the flag belongs to its end alone. */
        fcntl(sockets[1], F_SETFL, 0);
        fcntl(pipes[0], F_SETFL, O_NONBLOCK);
        sys = spawn(executable, sockets[1], pipes[1], &p->pid);
    }
    if (!sys && (exit_fd = pidfd_open(p->pid, 0)) == -1) {
        sys = errno;
        kill(p->pid, SIGKILL);
        waitpid(p->pid, NULL, 0);
    }
    if (sockets[1] != -1)
        close(sockets[1]);
    if (pipes[1] != -1)
        close(pipes[1]);
    if (!sys) {
        watch_child(p, sockets[0], pipes[0], exit_fd);
        return result_ok();
    }
    p->pid = 0;
    if (sockets[0] != -1)
        close(sockets[0]);
    if (pipes[0] != -1)
        close(pipes[0]);
    return why_fail_sys(why, ERR_SYSTEM, sys, "the provider's process cannot be started (%s)",
                        executable);
}

struct result process_send(struct process *p, const struct wire_message *m)
{
    if (p->socket.fd == -1)
        return result_fail(ERR_SYSTEM);
    struct buf packet = {0};
    struct result r = wire_encode(m, &packet);
    if (result_is_ok(r) && send(p->socket.fd, packet.ptr, packet.len, MSG_NOSIGNAL) < 0) {
        r = result_fail_sys(ERR_SYSTEM, errno);
        process_kill(p);
    }
    p->lines_left = LINES_PER_CALL;
    buf_wipe_free(&packet);
    return r;
}

void process_close(struct process *p)
{
    close_fd(p->loop, &p->socket);
}

void process_kill(struct process *p)
{
    if (p->pid)
        kill(-p->pid, SIGKILL);
}

void process_fini(struct process *p)
{
    if (p->output.fd != -1)
        (void)read_output(p);
    if (p->pid)
        (void)reap(p);
    redact_fini(&p->redact);
    buf_free(&p->line);
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "control/provider/program.h"

#include "base/clock.h"
#include "control/provider/child_log.h"
#include "control/provider/services.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/close_range.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/pidfd.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#define OUTPUT_BYTES_MAX 65536
/* How long killed processes may take to be gone. */
#define KILL_LIMIT_NS (5 * (int64_t)NS_PER_S)

/* One stream of a program's output. */
struct stream {
    int fd;          /* -1 after its end */
    struct buf kept; /* its first part */
};

/* A program while it runs. */
struct program {
    struct services *s;
    const struct ferrule_spawn *spawn;
    struct ferrule_error *error;
    pid_t pid;
    int exit_fd; /* pidfd, -1 once it has ended */
    int status;
    struct stream streams[2]; /* output; errors, when they are wanted apart */
};

/* A memory file with the program's standard input, at its beginning. */
static int make_input(struct ferrule_str input)
{
    int fd = memfd_create("input", MFD_CLOEXEC);
    if (fd == -1)
        return -1;
    for (size_t done = 0; done < input.len;) {
        ssize_t n = write(fd, input.ptr + done, input.len - done);
        if (n <= 0) {
            close(fd);
            return -1;
        }
        done += (size_t)n;
    }
    lseek(fd, 0, SEEK_SET);
    return fd;
}

/* --- environment -------------------------------------------------------------------------------
 */

/* Adds NAME=VALUE, or puts it in the place of the one of that name. The list has room. */
static void env_set(const char **list, size_t *count, const char *entry)
{
    size_t name_len = (size_t)(strchrnul(entry, '=') - entry);
    size_t i = 0;
    while (i < *count && (strncmp(list[i], entry, name_len) != 0 || list[i][name_len] != '='))
        i++;
    list[i] = entry;
    *count += i == *count;
}

/* What the program sees: the array is the caller's to free, the strings are not. */
static const char **make_env(const struct services *s, const struct ferrule_spawn *p)
{
    bool inherit = p->flags & FERRULE_SPAWN_INHERIT;
    size_t most = s->inherited_count, count = 0;
    const char *const *own = p->env || inherit ? NULL : (const char *const *)environ;
    for (const char *const *e = own; e && *e; e++)
        most++;
    for (const char *const *e = p->env; e && *e; e++)
        most++;
    const char **list = mem_zalloc((most + 2) * sizeof *list);
    for (const char *const *e = own; e && *e; e++)
        env_set(list, &count, *e);
    /* Without a path no script finds anything; this one is replaced by what follows. */
    for (char **e = environ; inherit && *e; e++)
        if (strncmp(*e, "PATH=", 5) == 0)
            env_set(list, &count, *e);
    for (uint32_t i = 0; inherit && i < s->inherited_count; i++)
        env_set(list, &count, s->inherited[i]);
    for (const char *const *e = p->env; e && *e; e++)
        env_set(list, &count, *e);
    return list;
}

/* --- start -------------------------------------------------------------------------------------
 */

/* In the new process: becomes the program, or sends the reason why not (an errno). Only what may
 * follow a fork in a program with threads. */
static void become(const struct ferrule_spawn *p, const char **env, const int fds[3], int failure,
                   pid_t parent)
{
    sigset_t none;
    sigemptyset(&none);
    for (int number = 1; number < NSIG; number++) /* what cannot be set is as it should be */
        sigaction(number, &(struct sigaction){.sa_handler = SIG_DFL}, NULL);
    sigprocmask(SIG_SETMASK, &none, NULL);
    /* An orphan must not go on writing DNS: it ends with the process that started it. */
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    bool ok = getppid() == parent;
    for (int i = 0; ok && i < 3; i++)
        ok = dup2(fds[i], i) != -1;
    ok = ok && close_range(3, ~0u, CLOSE_RANGE_CLOEXEC) == 0;
    if (ok)
        execvpe(p->argv[0], (char *const *)p->argv, (char *const *)env);
    int sys = errno;
    ssize_t ignored = write(failure, &sys, sizeof sys);
    (void)ignored;
    _exit(127);
}

/* Starts it in this process's group: control ends the group as a whole. fds are the program's 0 to
 * 2. Returns an errno. */
static int start(struct program *r, const int fds[3])
{
    int report[2], sys = 0;
    if (pipe2(report, O_CLOEXEC) == -1)
        return errno;
    const char **env = make_env(r->s, r->spawn);
    /* What the program leaves behind becomes our child, so that it can be found and ended. */
    prctl(PR_SET_CHILD_SUBREAPER, 1);
    pid_t parent = getpid();
    /* allowed: posix_spawn cannot set PR_SET_PDEATHSIG */
    r->pid = fork();
    if (r->pid == 0)
        become(r->spawn, env, fds, report[1], parent);
    if (r->pid == -1)
        sys = errno;
    close(report[1]);
    while (r->pid != -1 && read(report[0], &sys, sizeof sys) == -1 && errno == EINTR)
        ;
    close(report[0]);
    free(env);
    if (!sys && (r->exit_fd = pidfd_open(r->pid, 0)) == -1) {
        sys = errno;
        kill(r->pid, SIGKILL);
    }
    if (r->pid != -1 && sys)
        waitpid(r->pid, NULL, 0);
    return sys;
}

/* --- end ----------------------------------------------------------------------------------------
 */

/* The parent of a process by its /proc/PID/stat; 0 when it is gone. */
static pid_t parent_of(const char *pid)
{
    char path[64], line[512];
    snprintf(path, sizeof path, "/proc/%.20s/stat", pid);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd == -1 ? -1 : read(fd, line, sizeof line - 1);
    if (fd != -1)
        close(fd);
    if (n <= 0)
        return 0;
    line[n] = 0;
    /* "PID (any name) S PPID": the name may hold anything but ends at the last parenthesis. */
    const char *end = strrchr(line, ')');
    return end && strlen(end) > 4 ? (pid_t)strtol(end + 4, NULL, 10) : 0;
}

/* Kills our children; returns how many there were. */
static unsigned kill_children(void)
{
    unsigned count = 0;
    pid_t self = getpid();
    DIR *d = opendir("/proc");
    struct dirent *e;
    while (d && (e = readdir(d)))
        if (isdigit((unsigned char)e->d_name[0]) && parent_of(e->d_name) == self) {
            kill((pid_t)strtol(e->d_name, NULL, 10), SIGKILL);
            count++;
        }
    if (d)
        closedir(d);
    return count;
}

/* Ends all that the program started, whatever session it fled to: as each parent dies, its children
 * become ours. Returns how many were found in the first round. */
static unsigned end_descendants(void)
{
    unsigned found = 0;
    int64_t until_ns = (int64_t)clock_now_ns() + KILL_LIMIT_NS;
    for (unsigned rounds = 0; (int64_t)clock_now_ns() < until_ns; rounds++) {
        pid_t got;
        while ((got = waitpid(-1, NULL, WNOHANG)) > 0)
            ;
        if (got == -1 && errno == ECHILD)
            break;
        unsigned count = kill_children();
        found = rounds ? found : count;
        poll(NULL, 0, 1);
    }
    return found;
}

/* The program has ended: nothing of it stays. */
static void take_exit(struct program *r)
{
    while (waitpid(r->pid, &r->status, 0) < 0 && errno == EINTR)
        ;
    close(r->exit_fd);
    r->exit_fd = -1;
    unsigned left = end_descendants();
    if (left)
        child_log(LOG_LEVEL_WARN, "program %s left %u process%s running: killed", r->spawn->argv[0],
                  left, left == 1 ? "" : "es");
}

/* --- output -------------------------------------------------------------------------------------
 */

/* Takes a part of what is there; keeps the first part of all. */
static void read_stream(struct stream *stream)
{
    char bytes[4096];
    ssize_t n = read(stream->fd, bytes, sizeof bytes);
    if (n == 0 || (n < 0 && errno != EINTR && errno != EAGAIN)) {
        close(stream->fd);
        stream->fd = -1;
        return;
    }
    size_t room = OUTPUT_BYTES_MAX - stream->kept.len;
    if (n > 0)
        buf_put(&stream->kept, bytes, (size_t)n < room ? (size_t)n : room);
}

/* Reads and waits until the program has ended and all it wrote was read. False when the time is
 * over. */
static bool follow(struct program *r)
{
    for (;;) {
        struct pollfd p[3] = {
            {r->streams[0].fd, POLLIN, 0}, {r->streams[1].fd, POLLIN, 0}, {r->exit_fd, POLLIN, 0}};
        if (p[0].fd == -1 && p[1].fd == -1 && p[2].fd == -1)
            return true;
        int left_ms = services_left_ms(r->s, 0);
        if (left_ms == 0 || (poll(p, 3, left_ms) == -1 && errno != EINTR))
            return false;
        for (int i = 0; i < 2; i++)
            if (p[i].fd != -1 && p[i].revents)
                read_stream(&r->streams[i]);
        if (p[2].fd != -1 && p[2].revents)
            take_exit(r);
    }
}

static int32_t hand_over(struct program *r, struct ferrule_buf *output)
{
    struct ferrule_buf *errors = r->streams[1].kept.len ? r->spawn->errors : NULL;
    int32_t status = r->s->host.buf_put(output, r->streams[0].kept.ptr, r->streams[0].kept.len);
    if (status == FERRULE_OK && errors)
        status = r->s->host.buf_put(errors, r->streams[1].kept.ptr, r->streams[1].kept.len);
    if (status != FERRULE_OK)
        services_fail(r->error, status, "the output of %s does not fit", r->spawn->argv[0]);
    return status;
}

/* The last line that it wrote, for people; empty when there is none. */
static struct span last_line(const struct program *r)
{
    struct span all = buf_span(&r->streams[r->streams[1].kept.len ? 1 : 0].kept);
    while (all.len && isspace(all.ptr[all.len - 1]))
        all.len--;
    const uint8_t *newline = all.len ? memrchr(all.ptr, '\n', all.len) : NULL;
    return newline ? span_skip(all, (size_t)(newline + 1 - all.ptr)) : all;
}

static int32_t finish(struct program *r, bool ended, struct ferrule_buf *output, int32_t *ret_exit)
{
    int32_t result = FERRULE_TIMEOUT;
    if (ended) {
        result = hand_over(r, output);
        *ret_exit = WIFEXITED(r->status) ? WEXITSTATUS(r->status) : 128 + WTERMSIG(r->status);
    } else {
        struct span last = span_first(last_line(r), 200);
        services_fail(r->error, FERRULE_TIMEOUT,
                      "program %s did not end in time and was killed%s%.*s", r->spawn->argv[0],
                      last.len ? "; its last line: " : "", SPAN_FMT(last));
        if (r->exit_fd != -1) {
            kill(r->pid, SIGKILL);
            take_exit(r);
        }
    }
    for (int i = 0; i < 2; i++) {
        if (r->streams[i].fd != -1)
            close(r->streams[i].fd);
        buf_wipe_free(&r->streams[i].kept);
    }
    return result;
}

/* --- the service --------------------------------------------------------------------------------
 */

static int32_t fail_start(const struct program *r, int sys)
{
    const char *name = r->spawn->argv[0];
    bool there = sys == ENOENT && strchr(name, '/') && access(name, F_OK) == 0;
    return services_fail(r->error, FERRULE_CONFIG, "program %s cannot be started: %s%s", name,
                         strerror(sys),
                         there ? " (is the interpreter there that its first line names?)" : "");
}

static int32_t run(struct program *r, int input, struct ferrule_buf *output, int32_t *ret_exit)
{
    int out[2] = {-1, -1}, err[2] = {-1, -1};
    bool apart = FERRULE_HAS(r->spawn, errors) && r->spawn->errors;
    if (pipe2(out, O_CLOEXEC) == -1 || (apart && pipe2(err, O_CLOEXEC) == -1)) {
        int sys = errno;
        for (int i = 0; i < 2; i++)
            if (out[i] != -1)
                close(out[i]);
        return services_fail(r->error, FERRULE_RETRY, "a program cannot be started: %s",
                             strerror(sys));
    }
    const int fds[3] = {input, out[1], apart ? err[1] : out[1]};
    r->streams[0].fd = out[0];
    r->streams[1].fd = err[0];
    int sys = start(r, fds);
    close(out[1]);
    if (apart)
        close(err[1]);
    if (!sys)
        return finish(r, follow(r), output, ret_exit);
    close(out[0]);
    if (apart)
        close(err[0]);
    return fail_start(r, sys);
}

int32_t program_spawn(const struct ferrule_host *host, const struct ferrule_spawn *program,
                      struct ferrule_buf *output, int32_t *ret_exit, struct ferrule_error *error)
{
    struct services *s = services_of(host);
    if (!program->argv || !program->argv[0])
        return services_fail(error, FERRULE_FAILED, "no program is named");
    if (s->no_programs)
        return services_fail(error, FERRULE_FAILED,
                             "the plug-in runs programs without FERRULE_RUNS_PROGRAMS: its fault");
    int input = make_input(program->input);
    if (input == -1)
        return services_fail(error, FERRULE_RETRY, "a program cannot be started: %s",
                             strerror(errno));
    struct program r = {.s = s, .spawn = program, .error = error, .exit_fd = -1};
    int32_t result = run(&r, input, output, ret_exit);
    close(input);
    return result;
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "control/provider/program.h"

#include "base/clock.h"
#include "control/provider/services.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/close_range.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#define OUTPUT_BYTES_MAX 65536

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

/* In the new process: becomes the program, or sends the reason why not (an errno). Only what may
 * follow a fork in a program with threads. */
static void become(const struct ferrule_spawn *p, const int fds[3], int failure, pid_t parent)
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
        execvpe(p->argv[0], (char *const *)p->argv, p->env ? (char *const *)p->env : environ);
    int sys = errno;
    ssize_t ignored = write(failure, &sys, sizeof sys);
    (void)ignored;
    _exit(127);
}

/* Starts it in this process's group: control ends the group as a whole. Returns an errno. */
static int start(const struct ferrule_spawn *p, int input, int output, pid_t *ret)
{
    int report[2], sys = 0;
    const int fds[3] = {input, output, output};
    if (pipe2(report, O_CLOEXEC) == -1)
        return errno;
    pid_t parent = getpid();
    /* allowed: posix_spawn cannot set PR_SET_PDEATHSIG */
    *ret = fork();
    if (*ret == 0)
        become(p, fds, report[1], parent);
    if (*ret == -1)
        sys = errno;
    close(report[1]);
    while (*ret != -1 && read(report[0], &sys, sizeof sys) == -1 && errno == EINTR)
        ;
    close(report[0]);
    if (*ret != -1 && sys)
        waitpid(*ret, NULL, 0);
    return sys;
}

/* Reads until the end; keeps the first part. False when the time is over. */
static bool read_all(const struct services *s, int fd, struct buf *kept)
{
    for (;;) {
        struct pollfd p = {fd, POLLIN, 0};
        int left_ms = services_left_ms(s, 0);
        if (left_ms == 0 || poll(&p, 1, left_ms) == 0)
            return false;
        char bytes[4096];
        ssize_t n = read(fd, bytes, sizeof bytes);
        if (n == 0 || (n < 0 && errno != EINTR && errno != EAGAIN))
            return true;
        size_t room = OUTPUT_BYTES_MAX - kept->len;
        if (n > 0)
            buf_put(kept, bytes, (size_t)n < room ? (size_t)n : room);
    }
}

/* Waits for the exit of a program that has closed its outputs. False when the time is over. */
static bool wait_exit(const struct services *s, pid_t pid, int *ret_status)
{
    for (;;) {
        pid_t got = waitpid(pid, ret_status, WNOHANG);
        if (got == pid || (got < 0 && errno != EINTR))
            return true;
        if (services_left_ms(s, 0) == 0)
            return false;
        poll(NULL, 0, 5);
    }
}

static int32_t run(struct services *s, const struct ferrule_spawn *p, int input, int pipe_fds[2],
                   struct ferrule_buf *output, int32_t *ret_exit, struct ferrule_error *error)
{
    pid_t pid = 0;
    int sys = start(p, input, pipe_fds[1], &pid);
    close(pipe_fds[1]);
    pipe_fds[1] = -1;
    if (sys)
        return services_fail(error, FERRULE_CONFIG, "program %s cannot be started: %s", p->argv[0],
                             strerror(sys));
    struct buf kept = {0};
    int status = 0;
    bool ended = read_all(s, pipe_fds[0], &kept) && wait_exit(s, pid, &status);
    if (!ended) {
        kill(pid, SIGKILL);
        waitpid(pid, &status, 0);
    }
    int32_t result = ended ? s->host.buf_put(output, kept.ptr, kept.len) : FERRULE_TIMEOUT;
    buf_wipe_free(&kept);
    if (!ended)
        return services_fail(error, FERRULE_TIMEOUT,
                             "program %s did not end in time and was killed", p->argv[0]);
    *ret_exit = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
    return result;
}

int32_t program_spawn(const struct ferrule_host *host, const struct ferrule_spawn *program,
                      struct ferrule_buf *output, int32_t *ret_exit, struct ferrule_error *error)
{
    if (!program->argv || !program->argv[0])
        return services_fail(error, FERRULE_FAILED, "no program is named");
    int pipe_fds[2] = {-1, -1};
    int input = make_input(program->input);
    int32_t result;
    if (input == -1 || pipe2(pipe_fds, O_CLOEXEC) == -1)
        result =
            services_fail(error, FERRULE_RETRY, "a program cannot be started: %s", strerror(errno));
    else
        result = run(services_of(host), program, input, pipe_fds, output, ret_exit, error);
    for (int i = 0; i < 2; i++)
        if (pipe_fds[i] != -1)
            close(pipe_fds[i]);
    if (input != -1)
        close(input);
    return result;
}

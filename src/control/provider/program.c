/* SPDX-License-Identifier: Apache-2.0 */
#include "control/provider/program.h"

#include "base/clock.h"
#include "control/provider/services.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <sys/mman.h>
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

/* Starts it in this process's group: control ends the group as a whole. Returns an errno. */
static int start(const struct ferrule_spawn *p, int input, int output, pid_t *ret)
{
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, input, STDIN_FILENO);
    posix_spawn_file_actions_adddup2(&actions, output, STDOUT_FILENO);
    posix_spawn_file_actions_adddup2(&actions, output, STDERR_FILENO);
    posix_spawn_file_actions_addclosefrom_np(&actions, STDERR_FILENO + 1);
    posix_spawnattr_t attr;
    posix_spawnattr_init(&attr);
    sigset_t set;
    sigfillset(&set);
    posix_spawnattr_setsigdefault(&attr, &set);
    sigemptyset(&set);
    posix_spawnattr_setsigmask(&attr, &set);
    posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSIGMASK);
    char *const *env = p->env ? (char *const *)p->env : environ;
    int sys = posix_spawnp(ret, p->argv[0], &actions, &attr, (char *const *)p->argv, env);
    posix_spawnattr_destroy(&attr);
    posix_spawn_file_actions_destroy(&actions);
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
    pid_t pid;
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

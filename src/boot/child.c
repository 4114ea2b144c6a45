/* SPDX-License-Identifier: Apache-2.0 */
#include "boot/child.h"

#include "base/span.h"

#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

extern char **environ;

#define CLEAN_ENV_MAX 16

/* Where to log, and how the sanitizers of a test build behave. */
static void clean_environment(char *out[CLEAN_ENV_MAX])
{
    static const char *const kept[] = {
        "JOURNAL_STREAM=", "TZ=",          "ASAN_OPTIONS=", "LSAN_OPTIONS=",
        "UBSAN_OPTIONS=",  "TSAN_OPTIONS="};
    size_t n = 0;
    for (char **e = environ; *e; e++)
        for (size_t i = 0; i < sizeof kept / sizeof *kept; i++)
            if (span_starts_with(span_str(*e), span_str(kept[i])) && n < CLEAN_ENV_MAX - 1)
                out[n++] = *e;
    out[n] = NULL;
}

struct result child_spawn(char *const argv[], const int *fds, bool clean_env, pid_t *ret_pid,
                          struct why *why)
{
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attr;
    sigset_t none;
    char *clean[CLEAN_ENV_MAX];
    clean_environment(clean);
    sigemptyset(&none);
    posix_spawn_file_actions_init(&actions);
    posix_spawnattr_init(&attr);
    posix_spawnattr_setsigmask(&attr, &none);
    posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETSIGMASK);
    for (; *fds != -1; fds++) /* onto itself: glibc clears close-on-exec */
        posix_spawn_file_actions_adddup2(&actions, *fds, *fds);
    int sys =
        posix_spawn(ret_pid, "/proc/self/exe", &actions, &attr, argv, clean_env ? clean : environ);
    posix_spawn_file_actions_destroy(&actions);
    posix_spawnattr_destroy(&attr);
    if (sys)
        return why_fail_sys(why, ERR_SYSTEM, sys, "cannot start the %s process", argv[1]);
    return result_ok();
}

void child_hide_memory(void)
{
    prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
}

void child_bind_to_parent(pid_t parent)
{
    struct rlimit no_core = {0, 0};
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent) /* it was gone before we asked */
        _exit(1);
    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    child_hide_memory();
    setrlimit(RLIMIT_CORE, &no_core);
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "boot/terminal.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define LOOK_MS 1000 /* nobody tells that ferrule has come to the foreground */

static int fd = -1; /* opened once, so that reading never waits whatever others made of stdin */
static bool gone;   /* it was hung up, or cannot be read */

/* A pager reads the keys itself. */
static bool is_paged(void)
{
    struct stat st;
    return fstat(STDERR_FILENO, &st) == 0 && S_ISFIFO(st.st_mode);
}

static bool is_there(void)
{
    if (fd == -1 && !gone) {
        bool wanted = isatty(STDIN_FILENO) && !is_paged();
        fd = wanted ? open("/dev/tty", O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC) : -1;
        gone = fd == -1;
    }
    return !gone;
}

int terminal_fd(void)
{
    return is_there() && tcgetpgrp(fd) == getpgrp() ? fd : -1;
}

int terminal_wait_ms(int wait_ms)
{
    bool looks = is_there() && terminal_fd() == -1;
    return looks && (wait_ms < 0 || wait_ms > LOOK_MS) ? LOOK_MS : wait_ms;
}

bool terminal_entered(void)
{
    char typed[256];
    if (terminal_fd() == -1)
        return false;
    ssize_t n = read(fd, typed, sizeof typed);
    /* Also after Ctrl-D: nothing more is to come, says the person. */
    gone = n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR);
    return n > 0 && memchr(typed, '\n', (size_t)n);
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "boot/terminal.h"

#include <string.h>
#include <unistd.h>

static bool gone; /* it was hung up, or cannot be read */

int terminal_fd(void)
{
    bool ours = !gone && isatty(STDIN_FILENO) && tcgetpgrp(STDIN_FILENO) == getpgrp();
    return ours ? STDIN_FILENO : -1;
}

bool terminal_entered(void)
{
    char typed[256];
    if (terminal_fd() == -1)
        return false;
    ssize_t n = read(STDIN_FILENO, typed, sizeof typed);
    gone = n <= 0; /* also after Ctrl-D: nothing more is to come, says the person */
    return n > 0 && memchr(typed, '\n', (size_t)n);
}

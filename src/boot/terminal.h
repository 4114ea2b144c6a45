/* SPDX-License-Identifier: Apache-2.0 */
/* boot/terminal.h - Enter on the terminal that ferrule runs on: a person has done what the log
 * asked for. Thread: the supervisor's.   Owns: nothing; standard input stays as it was. Never:
 * reads while ferrule is not the terminal's foreground job, when the keys are another's; changes
 * the terminal's modes; waits. */
#pragma once

#include <stdbool.h>

/* What to poll for input; -1 while there is no terminal to listen to. */
int terminal_fd(void);
/* After POLLIN (or POLLHUP): takes what was typed. True when a line was ended. */
bool terminal_entered(void);

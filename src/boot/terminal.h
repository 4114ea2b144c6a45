/* SPDX-License-Identifier: Apache-2.0 */
/* boot/terminal.h - Enter on the terminal that ferrule runs on: a person has done what the log
 * asked for.
 * Thread: the supervisor's.   Owns: a description of the terminal; standard input stays as it was.
 * Never: reads while ferrule is not the terminal's foreground job, or where a pager shows the log:
 * the keys are another's then; changes the terminal's modes; waits. */
#pragma once

#include <stdbool.h>

/* What to poll for input; -1 while there is no terminal to listen to. */
int terminal_fd(void);
/* How long to poll at the most: wait_ms (-1 = without end), or less while ferrule is not the
 * foreground job. */
int terminal_wait_ms(int wait_ms);
/* After POLLIN (or POLLHUP): takes what was typed. True when a line was ended. */
bool terminal_entered(void);

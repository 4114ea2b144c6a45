/* SPDX-License-Identifier: Apache-2.0 */
/* boot/cmdline.h - the private arguments between the supervisor and its children.
 * Thread: main.   Owns: what the free functions free.
 * Never: carries a secret (children read the configuration themselves). */
#pragma once

#include "boot/listeners.h"
#include "config/check.h"

#include <sys/types.h>

/* Private arguments of data-run and control-run. */
struct cmdline_child {
    pid_t parent;
    int supervisor_fd, report_fd;
    const struct config *config;
    const struct plan *plan;
    const struct listener_set *listeners; /* data; NULL = control */
    const struct check_args *args;        /* control */
};
/* NULL-terminated, on the heap. */
char **cmdline_child_argv(const char *command, const struct cmdline_child *args);
void cmdline_child_free(char **argv);

/* Entry points of the children; return the exit code. */
int cmdline_data_main(int argc, char **argv);
int cmdline_control_main(int argc, char **argv);

/* SPDX-License-Identifier: Apache-2.0 */
/* boot/cmdline.h - `-c FILE` and dotted flags, and the private arguments between the supervisor
 * and its children.
 * Thread: main.   Owns: what the free functions free.
 * Never: carries a secret (children read the configuration themselves). */
#pragma once

#include "boot/listeners.h"
#include "data/data.h"

#include <sys/types.h>

/* What follows `run`. */
struct cmdline {
    char *file; /* absolute; NULL = flags alone */
    const char **flags;
    uint32_t flag_count;
};

/* Prints what is wrong to stderr and returns false. Without -c, ferrule.toml in the current
 * directory or /etc/ferrule/ferrule.toml is taken when no flag is given either. */
bool cmdline_parse(int argc, char **argv, struct cmdline *ret);
void cmdline_free(struct cmdline *c);

/* Private arguments of data-run and control-run. */
struct cmdline_child {
    pid_t parent;
    int supervisor_fd, report_fd;
    const struct listener_set *listeners; /* data */
    const struct config *config;          /* data */
    const struct cmdline *cmdline;        /* control */
};
/* NULL-terminated, on the heap. */
char **cmdline_child_argv(const char *command, const struct cmdline_child *args);
void cmdline_child_free(char **argv);

/* Entry points of the children; return the exit code. */
int cmdline_data_main(int argc, char **argv);
int cmdline_control_main(int argc, char **argv);

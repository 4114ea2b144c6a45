/* SPDX-License-Identifier: Apache-2.0 */
/* boot/child.h - how the supervisor's children are born.
 * Thread: the supervisor's.   Owns: nothing.
 * Never: forks (posix_spawn only), leaves a descriptor open that was not given, puts a secret
 * into argv. A child ends when the supervisor does. */
#pragma once

#include "base/result.h"

#include <sys/types.h>

/* Starts this program again as `argv` (NULL-terminated; argv[1] is the internal command). The
 * descriptors in fds (-1 ends the list) keep their numbers; all others are closed. With
 * clean_env only what a process without configuration needs is passed. ERR_SYSTEM. */
struct result child_spawn(char *const argv[], const int *fds, bool clean_env, pid_t *ret_pid,
                          struct why *why);
/* First thing in a child: dies with its parent, gains no privileges, dumps no core. */
void child_bind_to_parent(pid_t parent);
/* Memory and environment of this process cannot be read through /proc or ptrace by another of the
 * same user: the process that faces the internet must not find API tokens there. */
void child_hide_memory(void);

/* SPDX-License-Identifier: Apache-2.0 */
/* control/provider/program.h - the ABI's service that runs another program.
 * Thread: the provider child's only one.   Owns: the running program and all it starts, within a
 * call: it takes every child of this process for one of them.
 * Never: passes a descriptor or a variable on that was not asked for; waits past the deadline;
 * stops reading before the program's output ends (it would block for ever); leaves anything
 * running. */
#pragma once

#include "ferrule_provider.h"

/* See struct ferrule_host in the ABI. */
int32_t program_spawn(const struct ferrule_host *host, const struct ferrule_spawn *program,
                      struct ferrule_buf *output, int32_t *ret_exit, struct ferrule_error *error);

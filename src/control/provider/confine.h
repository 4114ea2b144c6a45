/* SPDX-License-Identifier: Apache-2.0 */
/* control/provider/confine.h - what a provider child takes away from itself.
 * Thread: the provider child's only one.   Owns: nothing.
 * Never: gives anything back; stops the child from starting because the kernel lacks a means. */
#pragma once

#include <stdbool.h>

/* First thing in the child: it ends with its parent, gains no privileges, cannot be traced or
 * dumped, and a closed socket is an error and not a signal. */
void confine_process(void);
/* Before the plug-in's first call: nothing in this process executes a program any more (execve and
 * execveat fail with EPERM). False when the kernel cannot do that. */
bool confine_programs(void);

/* SPDX-License-Identifier: Apache-2.0 */
/* boot/supervisor.h - `ferrule run`: starts the data and control processes, joins them, restarts
 * either when it dies, and stops both.
 * Thread: the only one of its process.   Owns: listening sockets, the lock of the state directory,
 * the report's memory, the children.
 * Never: touches a connection or a secret; loads a library that does. */
#pragma once

/* Returns the exit code. argv[0] is "run". */
int supervisor_main(int argc, char **argv);

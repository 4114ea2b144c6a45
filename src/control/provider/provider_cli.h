/* SPDX-License-Identifier: Apache-2.0 */
/* control/provider/provider_cli.h - `ferrule provider list | show CODE | test CODE --domain D`.
 * Thread: main of a process of its own.   Owns: nothing.
 * Never: talks to a running ferrule; prints a secret. list and show load plug-ins into this
 * short-lived process to read what they say about themselves; test uses a child as ferrule itself
 * does. */
#pragma once

/* argv[0] is the command's name. Returns the exit code: 0 good, 1 bad, 2 wrong usage. */
int provider_cli(int argc, char **argv);

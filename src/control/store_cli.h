/* SPDX-License-Identifier: Apache-2.0 */
/* control/store_cli.h - `ferrule store copy FROM TO`: from Traefik's acme.json to a directory, or
 * the reverse.
 * Thread: main of a process of its own.   Owns: nothing.
 * Never: changes FROM but for its mode; talks to a running ferrule (whose stores are locked: it is
 * stopped first). */
#pragma once

/* argv[0] is the command's name. Returns the exit code: 0 good, 1 bad, 2 wrong usage. */
int store_cli(int argc, char **argv);

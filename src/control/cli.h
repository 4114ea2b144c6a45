/* SPDX-License-Identifier: Apache-2.0 */
/* control/cli.h - the commands that ask a running ferrule: status, reload, upgrade, stop, cert
 * list|show|explain|plan|renew|revoke|import|export, account rollover.
 * Thread: main of a process of its own.   Owns: nothing.
 * Never: reads the stores or the state directory itself. */
#pragma once

/* argv[0] is the command's name. All take -c FILE (or --socket PATH) and --json, and return the
 * exit code: 0 good, 1 the thing asked about is bad (not running, not there), 2 wrong usage. */
int cli_status(int argc, char **argv);
int cli_reload(int argc, char **argv);
int cli_upgrade(int argc, char **argv);
int cli_stop(int argc, char **argv);
int cli_cert(int argc, char **argv);
int cli_account(int argc, char **argv);

/* SPDX-License-Identifier: Apache-2.0 */
/* boot/upgrade.h - another program takes over in this very process: checked first, then executed;
 * the data process from before accepts until the new one does, and finishes what it has begun.
 * Thread: the supervisor's.   Owns: struct upgrade.
 * Never: leaves the listening sockets without somebody who accepts; gives up the old program before
 * the new one serves. */
#pragma once

#include "boot/supervisor_impl.h"

/* SIGUSR2, or asked through the admin socket: begins with the check of the new program. */
void upgrade_request(struct supervisor *s);
/* At the start: true when another supervisor has left its state in the environment. */
bool upgrade_is_under_way(void);
/* Takes over what it left and starts what is missing. False: nothing can go on (said). */
bool upgrade_take_over(struct supervisor *s);
/* The new data process serves. */
void upgrade_data_ready(struct supervisor *s);
/* One of the new processes ended first. */
void upgrade_child_failed(struct supervisor *s, const char *what, const char *how);
/* waitpid() said that it ended; true when it was one of an upgrade's. */
bool upgrade_reaped(struct supervisor *s, pid_t pid, int status);
/* Everything ends. */
void upgrade_stop(struct supervisor *s);
/* The access log was moved away: tells the data processes from before. */
void upgrade_reopen_logs(const struct supervisor *s);
/* True while a process of an upgrade is there. */
bool upgrade_is_busy(const struct supervisor *s);
void upgrade_timers(struct supervisor *s);
/* The next moment that upgrade_timers() waits for; UINT64_MAX = none. */
uint64_t upgrade_next_ns(const struct supervisor *s);
/* What the check says; descriptor for poll(), -1 = none. */
int upgrade_pipe(const struct supervisor *s);
void upgrade_read_pipe(struct supervisor *s);
/* Tells control how upgrades went. */
void upgrade_tell_control(struct supervisor *s);
/* `ferrule upgrade-check handover=FD ...`: could this program take over? Returns the exit code. */
int upgrade_check_main(int argc, char **argv);

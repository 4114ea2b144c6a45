/* SPDX-License-Identifier: Apache-2.0 */
/* boot/notify.h - what systemd is told and what it passes (sd_notify(3), sd_listen_fds(3)).
 * Thread: the supervisor's.   Owns: nothing but the notification address.
 * Never: matters when systemd is not there: every call is then harmless. */
#pragma once

#include "base/result.h"

/* Reads NOTIFY_SOCKET, WATCHDOG_USEC, WATCHDOG_PID, LISTEN_PID, LISTEN_FDS, LISTEN_FDNAMES and
 * removes them from the environment, so that no child takes them for its own. */
void notify_init(void);
/* Puts what notify_init() took back into the environment, and lets passed sockets survive, for the
 * program that is executed next in this process. */
void notify_restore(void);
/* Sends "STATE\n"... e.g. "READY=1\nSTATUS=...". */
void notify_send(const char *text);
/* How often "WATCHDOG=1" is due, in ns; 0 = not asked for. */
uint64_t notify_watchdog_ns(void);
/* The index-th passed socket of that name, CLOEXEC set; -1 when there is none. */
int notify_listen_fd(const char *name, uint32_t index);

/* SPDX-License-Identifier: Apache-2.0 */
/* control/provider/child_log.h - log lines of a provider child, sent to control over the
 * socketpair. Thread: the child's only one.   Owns: the descriptor's number and the list of
 * secrets, once per process. Never: writes to standard error (that is the plug-in's, as far as
 * control is concerned); sends a secret. */
#pragma once

#include "base/log.h"
#include "control/provider/redact.h"

/* From now on lines up to `level` go to fd (-1: nowhere). redact is borrowed for the process's
 * life. */
void child_log_init(int fd, enum log_level level, const struct redact *redact);
/* Sends one line; cut at 1,000 bytes, control bytes become '?'. */
void child_log(enum log_level level, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

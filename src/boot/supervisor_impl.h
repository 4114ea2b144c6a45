/* SPDX-License-Identifier: Apache-2.0 */
/* boot/supervisor_impl.h - what the files of the supervisor share: its state, its children.
 * Thread: the supervisor's.   Owns: nothing.
 * Never: included outside boot/. */
#pragma once

#include "boot/listeners.h"
#include "config/check.h"

#include <sys/types.h>

enum child_kind { CHILD_DATA = 0, CHILD_CONTROL = 1, CHILD_COUNT = 2 };

struct child {
    pid_t pid; /* 0 = not running */
    int fd;    /* our end of its channel, -1 = none */
    bool was_ready;
    uint64_t started_ns;
    uint64_t restart_at_ns; /* UINT64_MAX = not waiting */
    uint64_t backoff_ns;
};

struct supervisor {
    struct check_args args;
    struct config *config; /* of the start: worker count and all that a reload does not change */
    struct plan plan;      /* in force: of the start, or of the last reload */
    struct plan staged;    /* asked for by control, its sockets are open; count 0 and no memory */
    struct listener_set listeners;
    int lock_fd, report_fd, signal_fd;
    struct child children[CHILD_COUNT];
    uint64_t now_ns, watchdog_at_ns;
    uint64_t kill_at_ns; /* UINT64_MAX until stopping */
    bool stopping, announced;
    int exit_code;
};

/* ---- children.c ----------------------------------------------------------------------------- */

const char *children_name(enum child_kind kind);
/* Starts the process and joins it to the other. ERR_SYSTEM. */
struct result children_start(struct supervisor *s, enum child_kind kind, struct why *why);
/* Sends one message, with `fd_count` descriptors. A child that is gone will be restarted; false
 * when the message was not taken. */
bool children_tell(const struct child *c, struct span message, const int *fds, uint32_t fd_count);
bool children_tell_byte(const struct child *c, char what);
/* Tells the data process of sockets that it does not know yet. */
bool children_tell_listeners(struct supervisor *s);
/* waitpid() said that it ended. */
void children_ended(struct supervisor *s, enum child_kind kind, int status);

/* ---- reload.c ------------------------------------------------------------------------------- */

/* Control asks for the sockets of a plan: opens them, answers 'E'. */
void reload_stage(struct supervisor *s, struct span message);
/* Control has published what the plan belongs to: what it does not name is closed. */
void reload_commit(struct supervisor *s);
/* For systemd; and what is said about it. */
void reload_begun(const struct supervisor *s);
void reload_ended(const struct supervisor *s, struct span status);

/* ---- supervisor.c --------------------------------------------------------------------------- */

/* Ends everything; asked twice, it does not wait any longer. */
void supervisor_stop(struct supervisor *s);

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

/* Old data processes that finish what they have begun. */
#define OLD_MAX 4

struct old_data {
    pid_t pid;
    int fd;
    uint64_t kill_at_ns;
};

enum upgrade_phase {
    UPGRADE_PHASE_NONE = 0,
    UPGRADE_PHASE_CHECKING, /* the new program looks whether it could */
    UPGRADE_PHASE_HANDOVER, /* this is the new program; its data process does not serve yet */
};

struct upgrade {
    enum upgrade_phase phase;
    uint64_t deadline_ns; /* of the phase */
    pid_t check_pid;
    int pipe_fd;     /* what the check says */
    int state_fd;    /* boot/handover.h */
    int back_exe_fd; /* the program from before; -1 = there is no way back */
    int old_report_fd, old_lock_fd;
    int kept_fds[OLD_MAX + CHILD_COUNT]; /* of processes that have ended; the way back names them */
    uint32_t kept_count;
    char *program;               /* that is to take over */
    struct buf text;             /* what the check said */
    struct child data, control;  /* of the program from before */
    uint64_t control_kill_at_ns; /* it was told to end */
    char error[1024];            /* of the last one; "" = good */
};

struct supervisor {
    struct check_args args;
    struct config *config; /* of the start: worker count and all that a reload does not change */
    struct plan plan;      /* in force: of the start, or of the last reload */
    struct plan staged;    /* asked for by control, its sockets are open; count 0 and no memory */
    struct listener_set listeners;
    int lock_fd, report_fd, signal_fd;
    struct child children[CHILD_COUNT];
    struct upgrade upgrade;
    struct old_data old[OLD_MAX];
    uint32_t old_count;
    uint32_t generation; /* upgrades that succeeded */
    uint32_t attempts;   /* and those that did not */
    int exe_fd;          /* the running program, also when its file is replaced */
    uint64_t now_ns, watchdog_at_ns;
    uint64_t stop_at_ns; /* asked to stop, and still accepting; UINT64_MAX = not */
    uint64_t kill_at_ns; /* UINT64_MAX until stopping */
    bool stopping, announced;
    bool reloading; /* systemd was told so, and not yet that it is over */
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
/* For listeners_commit(): tells the data process that the group is gone. arg: the supervisor. */
void children_forget_group(void *arg, const struct listener_group *group);
/* waitpid() said that it ended. */
void children_ended(struct supervisor *s, enum child_kind kind, int status);

/* ---- reload.c ------------------------------------------------------------------------------- */

/* Control asks for the sockets of a plan: opens them, answers 'E'. */
void reload_stage(struct supervisor *s, struct span message);
/* Control has published what the plan belongs to: what it does not name is closed, during an
 * upgrade by upgrade_data_ready(). */
void reload_commit(struct supervisor *s);
/* For systemd; and what is said about it. */
void reload_begun(struct supervisor *s);
void reload_ended(struct supervisor *s, struct span status);

/* ---- supervisor.c --------------------------------------------------------------------------- */

/* Opens the signals' descriptor. */
struct result supervisor_open_signals(struct supervisor *s, struct why *why);
/* Raises the limit of open files to what the configuration needs. */
/* Loads what the arguments say, without certificates and secrets. ERR_CONFIG: s->config is as
 * before, and the problems were printed. */
struct result supervisor_load(struct supervisor *s);
void supervisor_raise_limits(const struct config *config);
/* Ends everything; asked twice, it does not wait any longer. */
void supervisor_stop(struct supervisor *s);

/* SPDX-License-Identifier: Apache-2.0 */
/* control/provider/process.h - one provider child as control sees it: start, messages, output, end.
 * Thread: control.   Owns: the process, its socket and the pipe of its outputs.
 * Never: waits (but process_fini(), for a process that has just been killed); hands a secret to
 * argv, to the child's environment or to the log. */
#pragma once

#include "control/loop.h"
#include "control/provider/redact.h"
#include "control/provider/wire.h"

struct process;

/* Called from the loop. Neither may call process_fini(). */
struct process_events {
    /* m points into memory that is gone after the call. */
    void (*message)(struct process *p, const struct wire_message *m);
    /* It is gone; `how` says it for people ("was killed by signal 11"). May start it again. */
    void (*ended)(struct process *p, const char *how);
};

struct process {
    struct loop *loop;
    const struct process_events *events;
    const char *name; /* for log lines */
    pid_t pid;        /* 0 = not running */
    struct loop_fd socket, output, exit;
    struct redact redact; /* secrets that the child told us, for its output */
    struct buf line;      /* output that has no line end yet */
    uint32_t lines_left;  /* output lines that are still logged */
    bool nonsense;        /* it sent what is no message */
};

/* name is borrowed for the object's life. */
void process_init(struct process *p, struct loop *loop, const char *name,
                  const struct process_events *events);
/* Runs `executable provider-run` with a clean environment. ERR_SYSTEM. */
struct result process_start(struct process *p, const char *executable, struct why *why);
/* ERR_TOO_LARGE, ERR_SYSTEM (the child is about to be reported as ended). */
struct result process_send(struct process *p, const struct wire_message *m);
/* Asks it to end by closing the socket. `ended` follows when it does. */
void process_close(struct process *p);
/* Kills it and all it started. `ended` follows. Harmless when it is not running. */
void process_kill(struct process *p);
/* Kills, waits, frees. No callback is called. */
void process_fini(struct process *p);

/* SPDX-License-Identifier: Apache-2.0 */
/* control/loop.h - the control process's event loop: descriptors, timers, children.
 * Thread: control's main thread.   Owns: the epoll descriptor and the timer wheel.
 * Never: blocks in a handler; what blocks runs in a helper thread and comes back as a call in the
 * loop: loop_work() for what computes for long (keys), struct loop_job for what waits for the
 * disk, each with a thread of its own, so that no record waits for a key. */
#pragma once

#include "base/result.h"
#include "base/timer.h"
#include "control/turns.h"

#include <sys/types.h>

struct loop;

/* One watched descriptor; embedded in its owner. */
struct loop_fd {
    int fd; /* -1 = not watched */
    uint32_t events;
    void (*ready)(struct loop_fd *w, uint32_t events); /* EPOLLIN, EPOLLOUT, EPOLLHUP, EPOLLERR */
};

/* One timer; embedded in its owner. */
struct loop_timer {
    struct timer timer;
    void (*fire)(struct loop_timer *t);
};

/* Something for the disk's helper thread; embedded in its owner. */
struct loop_job {
    struct list node;
    void (*work)(struct loop_job *job); /* in the helper thread */
    void (*done)(struct loop_job *job); /* in the loop, after it */
    uint8_t phase;                      /* loop.c's, under its lock */
    bool given;                         /* loop.c's, the loop's thread only: not idle */
};

struct result loop_create(struct loop **ret, struct why *why);
void loop_destroy(struct loop *loop);
/* Before the end: waits for what the helper threads do just now and ends them. What they have
 * finished or not begun is not heard of any more. */
void loop_quiet(struct loop *loop);
/* Runs until loop_stop(). */
struct result loop_run(struct loop *loop);
void loop_stop(struct loop *loop);
/* Monotonic time of this turn, ns. */
uint64_t loop_now_ns(const struct loop *loop);
/* How long its turns took. */
const struct turns *loop_turns(const struct loop *loop);

/* Watches or changes what is watched; events 0 stops watching (the descriptor stays open). */
void loop_watch(struct loop *loop, struct loop_fd *w, uint32_t events);
/* Stops watching a descriptor that may have been closed by somebody else already. */
void loop_forget(struct loop *loop, struct loop_fd *w);
void loop_timer_init(struct loop_timer *t, void (*fire)(struct loop_timer *t));
void loop_timer_set(struct loop *loop, struct loop_timer *t, uint64_t at_ns);
void loop_timer_cancel(struct loop *loop, struct loop_timer *t);

/* Runs `work` in the helper thread, then `done` in the loop. Both get arg. In order. */
void loop_work(struct loop *loop, void (*work)(void *arg), void (*done)(void *arg), void *arg);

void loop_job_init(struct loop_job *job, void (*work)(struct loop_job *job),
                   void (*done)(struct loop_job *job));
/* Begins it, behind those that were started before. It must be idle: new, or `done` was called. */
void loop_job_start(struct loop *loop, struct loop_job *job);
bool loop_job_is_idle(const struct loop_job *job);
/* Returns when `work` has run, at the worst here and now; `done` comes from the loop as always.
 * Harmless when idle. */
void loop_job_settle(struct loop *loop, struct loop_job *job);
/* The same, but `done` does not come any more: idle. Works after loop_quiet(), too. */
void loop_job_drop(struct loop *loop, struct loop_job *job);

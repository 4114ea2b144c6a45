/* SPDX-License-Identifier: Apache-2.0 */
/* control/loop.h - the control process's event loop: descriptors, timers, children.
 * Thread: control's main thread.   Owns: the epoll descriptor and the timer wheel.
 * Never: blocks in a handler; what blocks (key generation, fsync of large files) runs in
 * loop_work()'s helper thread and comes back as a call in the loop. */
#pragma once

#include "base/result.h"
#include "base/timer.h"

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

struct result loop_create(struct loop **ret, struct why *why);
void loop_destroy(struct loop *loop);
/* Before the end: waits for what the helper thread does just now and ends the thread. What it has
 * finished or not begun is not heard of any more. */
void loop_quiet(struct loop *loop);
/* Runs until loop_stop(). */
struct result loop_run(struct loop *loop);
void loop_stop(struct loop *loop);
/* Monotonic time of this turn, ns. */
uint64_t loop_now_ns(const struct loop *loop);

/* Watches or changes what is watched; events 0 stops watching (the descriptor stays open). */
void loop_watch(struct loop *loop, struct loop_fd *w, uint32_t events);
void loop_timer_init(struct loop_timer *t, void (*fire)(struct loop_timer *t));
void loop_timer_set(struct loop *loop, struct loop_timer *t, uint64_t at_ns);
void loop_timer_cancel(struct loop *loop, struct loop_timer *t);

/* Runs `work` in the helper thread, then `done` in the loop. Both get arg. In order. */
void loop_work(struct loop *loop, void (*work)(void *arg), void (*done)(void *arg), void *arg);

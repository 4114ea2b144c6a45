/* SPDX-License-Identifier: Apache-2.0 */
#include "control/loop.h"

#include "base/buf.h"
#include "base/clock.h"
#include "base/must.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define EVENTS_PER_TURN 64

/* One piece of blocking work, on its way to the helper thread or back. */
struct work_item {
    struct list node;
    void (*work)(void *arg);
    void (*done)(void *arg);
    void *arg;
};

struct loop {
    int epoll_fd;
    bool stopping;
    uint64_t now_ns;
    struct timer_wheel wheel;

    /* The batch being handled, so that a descriptor that is unwatched in it is skipped. */
    struct epoll_event events[EVENTS_PER_TURN];
    int event_count;

    /* Helper thread: started with the first loop_work(). */
    pthread_t helper;
    bool helper_runs;
    pthread_mutex_t lock; /* protects waiting, finished, quit */
    pthread_cond_t more;
    struct list waiting, finished;
    bool quit;
    struct loop_fd helper_wake;
};

struct result loop_create(struct loop **ret, struct why *why)
{
    struct loop *loop = mem_zalloc(sizeof *loop);
    loop->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (loop->epoll_fd == -1) {
        int sys = errno;
        free(loop);
        return why_fail_sys(why, ERR_SYSTEM, sys, "epoll_create1");
    }
    loop->now_ns = clock_now_ns();
    timer_wheel_init(&loop->wheel, loop->now_ns);
    list_init(&loop->waiting);
    list_init(&loop->finished);
    pthread_mutex_init(&loop->lock, NULL);
    pthread_cond_init(&loop->more, NULL);
    loop->helper_wake.fd = -1;
    *ret = loop;
    return result_ok();
}

static void drop_items(struct list *items)
{
    struct list *node;
    while ((node = list_pop(items)))
        free(LIST_ENTRY(node, struct work_item, node));
}

void loop_quiet(struct loop *loop)
{
    if (!loop->helper_runs)
        return;
    pthread_mutex_lock(&loop->lock);
    loop->quit = true;
    pthread_cond_signal(&loop->more);
    pthread_mutex_unlock(&loop->lock);
    pthread_join(loop->helper, NULL);
    close(loop->helper_wake.fd);
    loop->helper_runs = false;
}

void loop_destroy(struct loop *loop)
{
    loop_quiet(loop);
    drop_items(&loop->waiting);
    drop_items(&loop->finished);
    pthread_mutex_destroy(&loop->lock);
    pthread_cond_destroy(&loop->more);
    close(loop->epoll_fd);
    free(loop);
}

static void fire_timers(struct loop *loop)
{
    struct timer *t;
    while (!loop->stopping && (t = timer_pop(&loop->wheel, loop->now_ns))) {
        struct loop_timer *owner = LIST_ENTRY(t, struct loop_timer, timer);
        owner->fire(owner);
    }
}

static int wait_ms(const struct loop *loop)
{
    uint64_t next = timer_next_ns(&loop->wheel);
    if (next == TIMER_NO_LIMIT)
        return -1;
    uint64_t now = clock_now_ns();
    if (next <= now)
        return 0;
    uint64_t ms = (next - now + NS_PER_MS - 1) / NS_PER_MS;
    return ms > 60000 ? 60000 : (int)ms;
}

struct result loop_run(struct loop *loop)
{
    while (!loop->stopping) {
        int n = epoll_wait(loop->epoll_fd, loop->events, EVENTS_PER_TURN, wait_ms(loop));
        if (n == -1 && errno != EINTR)
            return result_fail_sys(ERR_SYSTEM, errno);
        loop->now_ns = clock_now_ns();
        loop->event_count = n < 0 ? 0 : n;
        for (int i = 0; i < loop->event_count && !loop->stopping; i++) {
            struct loop_fd *w = loop->events[i].data.ptr;
            if (w)
                w->ready(w, loop->events[i].events);
        }
        loop->event_count = 0;
        fire_timers(loop);
    }
    loop->stopping = false; /* it may be run again */
    return result_ok();
}

void loop_stop(struct loop *loop)
{
    loop->stopping = true;
}

uint64_t loop_now_ns(const struct loop *loop)
{
    return loop->now_ns;
}

void loop_watch(struct loop *loop, struct loop_fd *w, uint32_t events)
{
    struct epoll_event e = {.events = events, .data.ptr = w};
    must(w->fd >= 0 && w->ready);
    if (events == w->events)
        return;
    int op = !events ? EPOLL_CTL_DEL : w->events ? EPOLL_CTL_MOD : EPOLL_CTL_ADD;
    must(epoll_ctl(loop->epoll_fd, op, w->fd, &e) == 0);
    w->events = events;
    if (events)
        return;
    for (int i = 0; i < loop->event_count; i++)
        if (loop->events[i].data.ptr == w)
            loop->events[i].data.ptr = NULL;
}

void loop_timer_init(struct loop_timer *t, void (*fire)(struct loop_timer *t))
{
    timer_init(&t->timer, 0);
    t->fire = fire;
}

void loop_timer_set(struct loop *loop, struct loop_timer *t, uint64_t at_ns)
{
    timer_set(&loop->wheel, &t->timer, at_ns);
}

void loop_timer_cancel(struct loop *loop, struct loop_timer *t)
{
    timer_cancel(&t->timer);
}

/* ---- helper thread -------------------------------------------------------------------------- */

static void *helper_main(void *arg)
{
    struct loop *loop = arg;
    pthread_mutex_lock(&loop->lock);
    for (;;) {
        while (!loop->quit && list_is_empty(&loop->waiting))
            pthread_cond_wait(&loop->more, &loop->lock);
        if (loop->quit)
            break;
        struct work_item *item = LIST_ENTRY(list_pop(&loop->waiting), struct work_item, node);
        pthread_mutex_unlock(&loop->lock);
        item->work(item->arg);
        pthread_mutex_lock(&loop->lock);
        list_append(&loop->finished, &item->node);
        uint64_t one = 1;
        must(write(loop->helper_wake.fd, &one, sizeof one) == sizeof one);
    }
    pthread_mutex_unlock(&loop->lock);
    return NULL;
}

static void helper_finished(struct loop_fd *w, uint32_t events)
{
    struct loop *loop = LIST_ENTRY(w, struct loop, helper_wake);
    uint64_t count;
    if (read(w->fd, &count, sizeof count) != sizeof count)
        return;
    for (;;) {
        pthread_mutex_lock(&loop->lock);
        struct list *node = list_pop(&loop->finished);
        pthread_mutex_unlock(&loop->lock);
        if (!node)
            return;
        struct work_item *item = LIST_ENTRY(node, struct work_item, node);
        item->done(item->arg);
        free(item);
    }
}

static void helper_start(struct loop *loop)
{
    loop->helper_wake.fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    must(loop->helper_wake.fd != -1);
    loop->helper_wake.ready = helper_finished;
    loop_watch(loop, &loop->helper_wake, EPOLLIN);
    must(pthread_create(&loop->helper, NULL, helper_main, loop) == 0);
    loop->helper_runs = true;
}

void loop_work(struct loop *loop, void (*work)(void *arg), void (*done)(void *arg), void *arg)
{
    if (!loop->helper_runs)
        helper_start(loop);
    struct work_item *item = mem_zalloc(sizeof *item);
    list_init(&item->node);
    item->work = work;
    item->done = done;
    item->arg = arg;
    pthread_mutex_lock(&loop->lock);
    list_append(&loop->waiting, &item->node);
    pthread_cond_signal(&loop->more);
    pthread_mutex_unlock(&loop->lock);
}

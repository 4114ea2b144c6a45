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

enum job_phase { JOB_FINISHED = 0, JOB_WAITING, JOB_RUNNING };

/* loop_work()'s: made for one run. */
struct work_item {
    struct loop_job job;
    void (*work)(void *arg);
    void (*done)(void *arg);
    void *arg;
};

/* A helper thread: started with its first job. */
struct helper {
    struct loop *loop;
    pthread_t thread;
    bool runs;
    pthread_mutex_t lock; /* protects the lists, the phases of the jobs, quit */
    pthread_cond_t more, over;
    struct list waiting, finished;
    bool quit;
    struct loop_fd wake;
};

struct loop {
    int epoll_fd;
    bool stopping;
    uint64_t now_ns;
    struct timer_wheel wheel;
    struct turns turns;

    /* The batch being handled, so that a descriptor that is unwatched in it is skipped. */
    struct epoll_event events[EVENTS_PER_TURN];
    int event_count;

    struct helper computing, disk;
};

static void helper_finished(struct loop_fd *w, uint32_t events);

static void helper_init(struct helper *h, struct loop *loop)
{
    h->loop = loop;
    list_init(&h->waiting);
    list_init(&h->finished);
    pthread_mutex_init(&h->lock, NULL);
    pthread_cond_init(&h->more, NULL);
    pthread_cond_init(&h->over, NULL);
    h->wake = (struct loop_fd){.fd = -1, .ready = helper_finished};
}

static void helper_quiet(struct helper *h)
{
    if (!h->runs)
        return;
    pthread_mutex_lock(&h->lock);
    h->quit = true;
    pthread_cond_signal(&h->more);
    pthread_mutex_unlock(&h->lock);
    pthread_join(h->thread, NULL);
    close(h->wake.fd);
    h->wake.fd = -1;
    h->runs = false;
}

static void helper_fini(struct helper *h)
{
    helper_quiet(h);
    pthread_mutex_destroy(&h->lock);
    pthread_cond_destroy(&h->more);
    pthread_cond_destroy(&h->over);
}

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
    helper_init(&loop->computing, loop);
    helper_init(&loop->disk, loop);
    turns_init(&loop->turns);
    *ret = loop;
    return result_ok();
}

static void drop_items(struct list *items)
{
    struct list *node;
    while ((node = list_pop(items)))
        free(LIST_ENTRY(LIST_ENTRY(node, struct loop_job, node), struct work_item, job));
}

void loop_quiet(struct loop *loop)
{
    helper_quiet(&loop->computing);
    helper_quiet(&loop->disk);
}

void loop_destroy(struct loop *loop)
{
    helper_fini(&loop->computing);
    helper_fini(&loop->disk);
    drop_items(&loop->computing.waiting);
    drop_items(&loop->computing.finished);
    must(list_is_empty(&loop->disk.waiting) && list_is_empty(&loop->disk.finished));
    turns_fini(&loop->turns);
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
        turns_begin(&loop->turns, loop->now_ns);
        loop->event_count = n < 0 ? 0 : n;
        for (int i = 0; i < loop->event_count && !loop->stopping; i++) {
            struct loop_fd *w = loop->events[i].data.ptr;
            if (w)
                w->ready(w, loop->events[i].events);
        }
        loop->event_count = 0;
        fire_timers(loop);
        turns_end(&loop->turns);
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

const struct turns *loop_turns(const struct loop *loop)
{
    return &loop->turns;
}

/* Events of the batch at hand are not for it any more. */
static void drop_events(struct loop *loop, const struct loop_fd *w)
{
    for (int i = 0; i < loop->event_count; i++)
        if (loop->events[i].data.ptr == w)
            loop->events[i].data.ptr = NULL;
}

void loop_watch(struct loop *loop, struct loop_fd *w, uint32_t events)
{
    struct epoll_event e = {.events = events, .data.ptr = w};
    must(w->fd >= 0 && w->ready);
    if (events == w->events)
        return;
    int op = !events ? EPOLL_CTL_DEL : w->events ? EPOLL_CTL_MOD : EPOLL_CTL_ADD;
    int r = epoll_ctl(loop->epoll_fd, op, w->fd, &e);
    /* A library may have closed it and opened another one, which has got its number. */
    if (r == -1 && op == EPOLL_CTL_MOD && errno == ENOENT)
        r = epoll_ctl(loop->epoll_fd, EPOLL_CTL_ADD, w->fd, &e);
    must(r == 0);
    w->events = events;
    if (!events)
        drop_events(loop, w);
}

void loop_forget(struct loop *loop, struct loop_fd *w)
{
    /* Fails when it is closed, or another thread's file by now: then it is not in the set. */
    if (w->events)
        (void)!epoll_ctl(loop->epoll_fd, EPOLL_CTL_DEL, w->fd, NULL);
    w->events = 0;
    drop_events(loop, w);
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

/* ---- helper threads -------------------------------------------------------------------------- */

/* Not for the owner of the lock to hold: the job is long. */
static void run_job(struct helper *h, struct loop_job *job)
{
    job->phase = JOB_RUNNING;
    pthread_mutex_unlock(&h->lock);
    job->work(job);
    pthread_mutex_lock(&h->lock);
    job->phase = JOB_FINISHED;
    list_append(&h->finished, &job->node);
    pthread_cond_broadcast(&h->over);
    uint64_t one = 1;
    if (h->wake.fd != -1)
        must(write(h->wake.fd, &one, sizeof one) == sizeof one);
}

static void *helper_main(void *arg)
{
    struct helper *h = arg;
    pthread_mutex_lock(&h->lock);
    for (;;) {
        while (!h->quit && list_is_empty(&h->waiting))
            pthread_cond_wait(&h->more, &h->lock);
        if (h->quit)
            break;
        run_job(h, LIST_ENTRY(list_pop(&h->waiting), struct loop_job, node));
    }
    pthread_mutex_unlock(&h->lock);
    return NULL;
}

static void helper_finished(struct loop_fd *w, uint32_t events)
{
    struct helper *h = LIST_ENTRY(w, struct helper, wake);
    uint64_t count;
    if (read(w->fd, &count, sizeof count) != sizeof count)
        return;
    for (;;) {
        pthread_mutex_lock(&h->lock);
        struct list *node = list_pop(&h->finished);
        struct loop_job *job = node ? LIST_ENTRY(node, struct loop_job, node) : NULL;
        pthread_mutex_unlock(&h->lock);
        if (!job)
            return;
        job->given = false;
        job->done(job);
    }
}

static void helper_start(struct helper *h)
{
    h->wake.fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    must(h->wake.fd != -1);
    loop_watch(h->loop, &h->wake, EPOLLIN);
    must(pthread_create(&h->thread, NULL, helper_main, h) == 0);
    h->runs = true;
}

static void helper_give(struct helper *h, struct loop_job *job)
{
    must(!job->given);
    job->given = true;
    if (!h->runs)
        helper_start(h);
    pthread_mutex_lock(&h->lock);
    job->phase = JOB_WAITING;
    list_append(&h->waiting, &job->node);
    pthread_cond_signal(&h->more);
    pthread_mutex_unlock(&h->lock);
}

/* ---- computing --------------------------------------------------------------------------------
 */

static void item_work(struct loop_job *job)
{
    struct work_item *item = LIST_ENTRY(job, struct work_item, job);
    item->work(item->arg);
}

static void item_done(struct loop_job *job)
{
    struct work_item *item = LIST_ENTRY(job, struct work_item, job);
    item->done(item->arg);
    free(item);
}

void loop_work(struct loop *loop, void (*work)(void *arg), void (*done)(void *arg), void *arg)
{
    struct work_item *item = mem_zalloc(sizeof *item);
    loop_job_init(&item->job, item_work, item_done);
    item->work = work;
    item->done = done;
    item->arg = arg;
    helper_give(&loop->computing, &item->job);
}

/* ---- the disk ---------------------------------------------------------------------------------
 */

void loop_job_init(struct loop_job *job, void (*work)(struct loop_job *job),
                   void (*done)(struct loop_job *job))
{
    *job = (struct loop_job){.work = work, .done = done};
    list_init(&job->node);
}

void loop_job_start(struct loop *loop, struct loop_job *job)
{
    helper_give(&loop->disk, job);
}

bool loop_job_is_idle(const struct loop_job *job)
{
    return !job->given;
}

/* The owner of the lock. */
static void settle(struct helper *h, struct loop_job *job)
{
    if (job->phase == JOB_WAITING) {
        list_remove(&job->node);
        run_job(h, job);
    }
    while (job->phase == JOB_RUNNING)
        pthread_cond_wait(&h->over, &h->lock);
}

void loop_job_settle(struct loop *loop, struct loop_job *job)
{
    pthread_mutex_lock(&loop->disk.lock);
    settle(&loop->disk, job);
    pthread_mutex_unlock(&loop->disk.lock);
}

void loop_job_drop(struct loop *loop, struct loop_job *job)
{
    pthread_mutex_lock(&loop->disk.lock);
    settle(&loop->disk, job);
    list_remove(&job->node);
    job->given = false;
    pthread_mutex_unlock(&loop->disk.lock);
}

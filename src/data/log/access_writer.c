/* SPDX-License-Identifier: Apache-2.0 */
#include "data/log/access_writer.h"

#include "base/buf.h"
#include "base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#define PERIOD_MS          50   /* a line waits at most so long */
#define PERIOD_BUFFERED_MS 1000 /* ... with bufferingSize */
#define PERIOD_FAILED_MS   1000 /* before the disk is tried again */
#define END_S              2
#define FILE_MODE          0640

struct access_writer {
    uint32_t workers;
    struct access_ring *rings;
    pthread_t thread;
    bool started;

    pthread_mutex_t lock; /* protects what follows; no worker takes it */
    pthread_cond_t wake;
    char *path; /* "" = standard output */
    uint32_t period_ms;
    bool reopen, stop;

    /* the thread's own */
    int fd;
    bool failed; /* the last write or open was refused, and that was logged */
};

struct result access_writer_create(uint32_t workers, struct access_writer **ret)
{
    struct access_writer *a = mem_zalloc(sizeof *a);
    a->workers = workers;
    a->rings = aligned_alloc(64, workers * sizeof *a->rings);
    a->fd = -1;
    a->period_ms = PERIOD_MS;
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_mutex_init(&a->lock, NULL);
    pthread_cond_init(&a->wake, &attr);
    pthread_condattr_destroy(&attr);
    struct result r = a->rings ? result_ok() : result_fail(ERR_NO_MEMORY);
    if (a->rings)
        memset(a->rings, 0, workers * sizeof *a->rings);
    for (uint32_t i = 0; i < workers && result_is_ok(r); i++)
        r = access_ring_init(&a->rings[i]);
    if (!result_is_ok(r)) {
        access_writer_destroy(a);
        return r;
    }
    *ret = a;
    return r;
}

struct access_ring *access_writer_ring(struct access_writer *a, uint32_t worker)
{
    return &a->rings[worker];
}

/* ---- the thread ----------------------------------------------------------------------------- */

static void complain(struct access_writer *a, const char *doing, const char *path)
{
    if (!a->failed)
        log_error("the access log %s cannot be %s: %m; lines wait, then they are dropped and "
                  "counted",
                  *path ? path : "on standard output", doing);
    a->failed = true;
}

/* The old file stays when the new one cannot be opened. */
static void open_file(struct access_writer *a, const char *path)
{
    int fd = *path ? open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, FILE_MODE)
                   : fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, 0);
    if (fd == -1) {
        complain(a, "opened", path);
        return;
    }
    if (a->fd != -1)
        close(a->fd);
    a->fd = fd;
    a->failed = false;
}

/* All that waits in one ring. False: the disk takes nothing at present. */
static bool empty_ring(struct access_writer *a, struct access_ring *ring, const char *path)
{
    struct iovec parts[2];
    int count;
    while ((count = access_ring_peek(ring, parts)) > 0) {
        ssize_t n = writev(a->fd, parts, count);
        if (n == -1 && errno == EINTR)
            continue;
        if (n <= 0) {
            complain(a, "written", path);
            return false;
        }
        access_ring_taken(ring, (size_t)n);
    }
    return true;
}

static bool empty_rings(struct access_writer *a, const char *path)
{
    bool ok = a->fd != -1;
    for (uint32_t i = 0; i < a->workers && ok; i++)
        ok = empty_ring(a, &a->rings[i], path);
    if (ok && a->failed)
        log_info("the access log is written again");
    a->failed = !ok;
    return ok;
}

/* Waits for a period, or until something is asked for. */
static void wait_for_work(struct access_writer *a, uint32_t ms)
{
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_nsec += ms % 1000 * 1000000l;
    until.tv_sec += ms / 1000 + until.tv_nsec / 1000000000l;
    until.tv_nsec %= 1000000000l;
    while (!a->stop && !a->reopen)
        if (pthread_cond_timedwait(&a->wake, &a->lock, &until) == ETIMEDOUT)
            break;
}

static void *thread_main(void *arg)
{
    struct access_writer *a = arg;
    char *path = NULL;
    bool ok = true, stop = false;
    pthread_setname_np(pthread_self(), "access-log");
    pthread_mutex_lock(&a->lock);
    while (!stop) {
        wait_for_work(a, ok ? a->period_ms : PERIOD_FAILED_MS);
        bool reopen = a->reopen || a->fd == -1;
        stop = a->stop;
        a->reopen = false;
        if (reopen) {
            free(path);
            path = mem_strdup(a->path);
        }
        pthread_mutex_unlock(&a->lock);
        /* Lines from before belong to the old file, whole. */
        if (a->fd != -1)
            ok = empty_rings(a, path);
        if (reopen)
            open_file(a, path);
        if (stop)
            ok = empty_rings(a, path);
        pthread_mutex_lock(&a->lock);
    }
    pthread_mutex_unlock(&a->lock);
    free(path);
    return NULL;
}

/* ---- the main thread's side ----------------------------------------------------------------- */

void access_writer_configure(struct access_writer *a, const struct snap_access *access)
{
    if (!access->on)
        return; /* the thread, if there is one, waits for nothing */
    pthread_mutex_lock(&a->lock);
    a->period_ms = access->buffered ? PERIOD_BUFFERED_MS : PERIOD_MS;
    if (!a->path || !span_eq(span_str(a->path), access->path)) {
        free(a->path);
        a->path = mem_strndup((const char *)access->path.ptr, access->path.len);
        a->reopen = true;
    }
    pthread_cond_signal(&a->wake);
    pthread_mutex_unlock(&a->lock);
    if (a->started)
        return;
    int r = pthread_create(&a->thread, NULL, thread_main, a);
    if (r != 0)
        log_error("no access log: its thread cannot be started: %s", strerror(r));
    a->started = r == 0;
}

void access_writer_reopen(struct access_writer *a)
{
    pthread_mutex_lock(&a->lock);
    a->reopen = a->path != NULL;
    pthread_cond_signal(&a->wake);
    pthread_mutex_unlock(&a->lock);
}

void access_writer_destroy(struct access_writer *a)
{
    if (!a)
        return;
    pthread_mutex_lock(&a->lock);
    a->stop = true;
    pthread_cond_signal(&a->wake);
    pthread_mutex_unlock(&a->lock);
    /* A pipe that nobody reads must not keep the process from ending. */
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += END_S;
    if (a->started && pthread_timedjoin_np(a->thread, NULL, &until) != 0) {
        log_warn("the last lines of the access log could not be written");
        return;
    }
    if (a->fd != -1)
        close(a->fd);
    for (uint32_t i = 0; a->rings && i < a->workers; i++)
        access_ring_fini(&a->rings[i]);
    pthread_cond_destroy(&a->wake);
    pthread_mutex_destroy(&a->lock);
    free(a->rings);
    free(a->path);
    free(a);
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "control/cert_index.h"

#include "base/clock.h"
#include "base/list.h"
#include "base/log.h"
#include "config/config.h"
#include "config/pair_index.h"
#include "control/crash_point.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define PIECE_BYTES (256u << 10)

struct cert_index {
    struct cert_index_options options;
    char *directory, *path, *temporary;
    struct loop_timer timer;
    struct loop_job job;
    bool waiting;       /* there is something to write */
    bool failed;        /* the last one could not be written, which was told */
    size_t last_bytes;  /* of the last one */
    struct buf bytes;   /* the job's while it is not idle */
    struct result done; /* the same */
};

/* ---- in the helper thread -------------------------------------------------------------------- */

static struct result write_bytes(int fd, struct span bytes)
{
    while (bytes.len) {
        ssize_t n = write(fd, bytes.ptr, bytes.len > PIECE_BYTES ? PIECE_BYTES : bytes.len);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return result_fail_sys(ERR_STORE, errno);
        bytes = span_skip(bytes, (size_t)n);
        crash_point("index", "value");
    }
    return fsync(fd) == 0 ? result_ok() : result_fail_sys(ERR_STORE, errno);
}

/* Without this the file may be gone after a power cut, which costs one slow start. */
static void sync_directory(const char *path)
{
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd == -1)
        return;
    (void)!fsync(fd);
    close(fd);
}

static struct result write_new(struct cert_index *x)
{
    (void)unlink(x->temporary); /* one left from a crash */
    int fd = open(x->temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd == -1)
        return result_fail_sys(ERR_STORE, errno);
    struct result r = write_bytes(fd, buf_span(&x->bytes));
    close(fd);
    crash_point("index", "before");
    if (result_is_ok(r) && rename(x->temporary, x->path) == -1)
        r = result_fail_sys(ERR_STORE, errno);
    if (result_is_ok(r))
        sync_directory(x->directory);
    else
        (void)unlink(x->temporary);
    return r;
}

static void write_file(struct loop_job *job)
{
    struct cert_index *x = LIST_ENTRY(job, struct cert_index, job);
    x->done = result_fail_sys(ERR_TOO_LARGE, EFBIG); /* who opens it would refuse it */
    if (x->bytes.len > x->options.bytes_max)
        return;
    pair_index_end(&x->bytes);
    x->done = write_new(x);
}

/* ---- in the loop ------------------------------------------------------------------------------
 */

static void begin(struct cert_index *x)
{
    x->waiting = false;
    loop_timer_cancel(x->options.loop, &x->timer);
    x->options.encode(x->options.arg, &x->bytes);
    loop_job_start(x->options.loop, &x->job);
}

static void finish(struct cert_index *x)
{
    if (result_is_ok(x->done))
        log_debug("%s: %zu bytes were written", x->path, x->bytes.len);
    else if (!x->failed)
        log_warn("cannot write %s: %s: the next start has to read all pairs of files", x->path,
                 strerror(x->done.sys));
    x->failed = !result_is_ok(x->done);
    x->last_bytes = x->bytes.len;
    buf_free(&x->bytes);
}

static void written(struct loop_job *job)
{
    struct cert_index *x = LIST_ENTRY(job, struct cert_index, job);
    finish(x);
    if (x->waiting && !timer_is_set(&x->timer.timer))
        begin(x);
    else if (x->failed && !x->waiting && x->done.code != ERR_TOO_LARGE)
        loop_timer_set(x->options.loop, &x->timer,
                       clock_now_ns() + CERT_INDEX_AGAIN_MS * NS_PER_MS);
}

static void fired(struct loop_timer *t)
{
    cert_index_write(LIST_ENTRY(t, struct cert_index, timer));
}

struct cert_index *cert_index_create(const struct cert_index_options *options)
{
    struct cert_index *x = mem_zalloc(sizeof *x);
    x->options = *options;
    x->directory = mem_strdup(options->directory);
    x->path = mem_printf("%s/" CONFIG_INDEX_FILE, options->directory);
    x->temporary = mem_printf("%s.tmp", x->path);
    loop_timer_init(&x->timer, fired);
    loop_job_init(&x->job, write_file, written);
    return x;
}

void cert_index_destroy(struct cert_index *x)
{
    if (!x)
        return;
    loop_timer_cancel(x->options.loop, &x->timer);
    if (!loop_job_is_idle(&x->job)) {
        loop_job_drop(x->options.loop, &x->job);
        finish(x);
    }
    if (x->waiting) {
        x->options.encode(x->options.arg, &x->bytes);
        write_file(&x->job);
        finish(x);
    }
    free(x->directory);
    free(x->path);
    free(x->temporary);
    free(x);
}

void cert_index_changed(struct cert_index *x)
{
    if (!x->waiting)
        loop_timer_set(x->options.loop, &x->timer,
                       clock_now_ns() +
                           (CERT_INDEX_WAIT_MS + x->last_bytes / CERT_INDEX_BYTES_PER_MS) *
                               NS_PER_MS);
    x->waiting = true;
}

void cert_index_write(struct cert_index *x)
{
    if (loop_job_is_idle(&x->job)) {
        begin(x);
        return;
    }
    loop_timer_cancel(x->options.loop, &x->timer);
    x->waiting = true;
}

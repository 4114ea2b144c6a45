/* SPDX-License-Identifier: Apache-2.0 */
#include "data/listener.h"

#include "base/clock.h"
#include "base/log.h"
#include "data/conn.h"
#include "data/worker.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <unistd.h>

/* How long accepting rests when the kernel is out of something. */
#define RETRY_MS 100
/* Connections that are refused in one turn then. */
#define SHED_MAX 64
/* How often a draining worker looks whether somebody waits: each time takes one at least. */
#define SWEEPS_MAX 4096

static struct op_id op_of(const struct listener *l, enum op op)
{
    return (struct op_id){.op = op, .owner = OP_OWNER_LISTENER, .slot = l->index};
}

static int reserve_open(void)
{
    return open("/dev/null", O_RDONLY | O_CLOEXEC);
}

void listener_init(struct worker *w, struct listener *l, uint32_t index,
                   const struct listener_config *config)
{
    *l = (struct listener){.config = config, .index = index, .reserve_fd = reserve_open()};
    limit_init(&l->retry, WORKER_LIMIT_LISTENER);
    ring_tune_tcp(w->ring, config->fd); /* accepted sockets inherit it */
}

void listener_fini(struct listener *l)
{
    limit_remove(&l->retry);
    if (l->reserve_fd >= 0)
        (void)close(l->reserve_fd);
    l->reserve_fd = -1;
}

void listener_adopt(struct worker *w, struct listener *l)
{
    const struct snapshot *s = w->snapshot;
    struct span name = span_str(l->config->entrypoint);
    l->entrypoint = NULL;
    for (uint32_t i = 0; i < s->entrypoint_count; i++) {
        if (span_eq_nocase(s->entrypoints[i].name, name)) {
            l->entrypoint = &s->entrypoints[i];
            l->entrypoint_index = i;
        }
    }
}

static void arm(struct worker *w, struct listener *l)
{
    ring_accept(w->ring, l->config->fd, op_of(l, OP_ACCEPT));
    l->armed = true;
}

static void cancel(struct worker *w, struct listener *l)
{
    ring_cancel(w->ring, op_of(l, OP_ACCEPT), op_of(l, OP_CANCEL));
    l->cancelling = true;
    w->pending++;
}

static bool sweeps(const struct worker *w, const struct listener *l)
{
    return w->phase == WORKER_PHASE_DRAINING && l->entrypoint && !l->empty;
}

/* An accept that does not wait: it takes what is there when it is submitted. */
static void sweep(struct worker *w, struct listener *l)
{
    l->empty = l->sweeps++ > 0 && (!l->took || l->sweeps > SWEEPS_MAX);
    l->took = false;
    if (l->empty)
        return;
    arm(w, l);
    cancel(w, l);
}

void listener_settle(struct worker *w, struct listener *l)
{
    bool want = l->entrypoint && w->phase == WORKER_PHASE_SERVING;
    if (want && !l->armed && l->retry.at_ns == TIMER_NO_LIMIT)
        arm(w, l);
    else if (!want && l->armed && !l->cancelling)
        cancel(w, l);
    else if (!l->armed && sweeps(w, l))
        sweep(w, l);
}

bool listener_is_deaf(const struct worker *w, const struct listener *l)
{
    return !l->armed && !sweeps(w, l);
}

/* All descriptors are in use: takes connections off the queue and closes them, so that clients are
 * told at once instead of waiting for their own time limit. */
static void shed(struct worker *w, struct listener *l)
{
    if (l->reserve_fd < 0)
        return;
    (void)close(l->reserve_fd);
    for (int i = 0; i < SHED_MAX; i++) {
        struct pollfd p = {.fd = l->config->fd, .events = POLLIN};
        if (poll(&p, 1, 0) != 1 || !(p.revents & POLLIN))
            break;
        int fd = accept4(l->config->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
        if (fd < 0)
            break;
        (void)close(fd);
        report_add(w->report, REPORT_CONNS_REFUSED, 1);
    }
    l->reserve_fd = reserve_open();
}

void listener_event(struct worker *w, struct listener *l, const struct ring_event *ev)
{
    if (ev->id.op == OP_CANCEL) {
        must(w->pending > 0);
        w->pending--;
        return;
    }
    must(ev->id.op == OP_ACCEPT && l->armed);
    if (!ev->more) {
        l->armed = false;
        l->cancelling = false;
    }
    if (ev->res >= 0) {
        bool open = w->phase == WORKER_PHASE_SERVING || w->phase == WORKER_PHASE_DRAINING;
        l->took = true;
        if (!open || !l->entrypoint || !conn_open(w, l, ev->res)) {
            report_add(w->report, REPORT_CONNS_REFUSED, 1);
            worker_close_fd(w, ev->res);
        }
    } else if (ev->res != -ECANCELED && ev->res != -ECONNABORTED && ev->res != -EAGAIN &&
               ev->res != -EINTR) {
        if ((ev->res == -EMFILE || ev->res == -ENFILE) && w->phase == WORKER_PHASE_SERVING)
            shed(w, l);
        l->empty = w->phase == WORKER_PHASE_DRAINING; /* what waits cannot be served */
        limit_set_ms(&w->wheel, &l->retry, w->now_ns, RETRY_MS);
    }
    if (!l->armed)
        listener_settle(w, l);
}

void listener_limit(struct worker *w, struct listener *l)
{
    listener_settle(w, l);
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "data/listener.h"

#include "base/clock.h"
#include "base/log.h"
#include "data/conn.h"
#include "data/log/metrics.h"
#include "data/worker.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <unistd.h>

/* How long accepting rests when the kernel is out of something. */
#define RETRY_MS 100
/* Connections that are refused in one turn then. */
#define SHED_MAX 64
/* How often a draining worker looks whether somebody waits: each time takes one at least. */
#define SWEEPS_MAX 4096
/* The same while another process accepts at the same sockets. */
#define RETIRING_SWEEPS_MAX 64

static struct op_id op_of(const struct listener *l, enum op op)
{
    return (struct op_id){.op = op, .owner = OP_OWNER_LISTENER, .slot = l->index};
}

static int reserve_open(void)
{
    return open("/dev/null", O_RDONLY | O_CLOEXEC);
}

/* ---- entry points ---------------------------------------------------------------------------- */

static bool find_name(struct worker *w, struct listener *l, struct span name)
{
    const struct snapshot *s = w->snapshot;
    for (uint32_t i = 0; i < s->entrypoint_count; i++) {
        if (!span_eq_nocase(s->entrypoints[i].name, name))
            continue;
        l->entrypoint = &s->entrypoints[i];
        l->entrypoint_index = i;
        l->open = metrics_open_cell(w, l->entrypoint);
        l->known = true;
        return true;
    }
    return false;
}

/* A name that it follows gives way to its own when that comes back. */
static void find_entrypoint(struct worker *w, struct listener *l)
{
    l->entrypoint = NULL;
    l->open = NULL;
    if (l->config && find_name(w, l, span_str(l->config->entrypoint)))
        (void)snprintf(l->name, sizeof l->name, "%s", l->config->entrypoint);
    else
        (void)find_name(w, l, span_str(l->name));
}

/* The entry point was renamed where its socket has another name: whoever is connected, or about to
 * be, notices nothing. */
static bool follow(struct worker *w, struct listener *l)
{
    for (uint32_t i = 0; l->socket && i < w->listener_count; i++) {
        const struct listener *to = &w->listeners[i];
        if (to == l || to->socket != l->socket || !to->entrypoint)
            continue;
        (void)snprintf(l->name, sizeof l->name, "%s", to->name);
        l->entrypoint = to->entrypoint;
        l->entrypoint_index = to->entrypoint_index;
        l->open = to->open;
        return true;
    }
    return false;
}

void listener_adopt(struct worker *w, bool *ret_lost, bool *ret_moved)
{
    *ret_lost = *ret_moved = false;
    for (uint32_t i = 0; i < w->listener_count; i++)
        find_entrypoint(w, &w->listeners[i]);
    for (uint32_t i = 0; i < w->listener_count; i++) {
        struct listener *l = &w->listeners[i];
        if (l->entrypoint || !l->known) /* one that is new waits for the snapshot that knows it */
            continue;
        l->known = follow(w, l);
        *ret_moved |= l->known;
        *ret_lost |= !l->known;
    }
    for (uint32_t i = 0; i < w->listener_count; i++)
        listener_settle(w, &w->listeners[i]);
}

/* ---- taking and giving back sockets ---------------------------------------------------------- */

static bool has_conns(struct worker *w, uint32_t index)
{
    for (uint32_t i = 0; i < w->conns.high_water; i++)
        if ((slab_gen(&w->conns, i) & 1) &&
            ((const struct conn *)slab_at(&w->conns, i))->listener == index)
            return true;
    return false;
}

/* A slot without a socket: one of the same entry point, else one that was never used, else one that
 * no connection refers to. NULL: none. */
static struct listener *slot_for(struct worker *w, const char *name)
{
    for (uint32_t i = 0; i < w->listener_count; i++)
        if (!w->listeners[i].config && strcasecmp(w->listeners[i].name, name) == 0)
            return &w->listeners[i];
    if (w->listener_count < LISTENERS_MAX)
        return &w->listeners[w->listener_count++];
    for (uint32_t i = 0; i < w->listener_count; i++)
        if (!w->listeners[i].config && !has_conns(w, i))
            return &w->listeners[i];
    return NULL;
}

static void take(struct worker *w, struct listener_config *config)
{
    int offered = LISTENER_OFFERED;
    if (!atomic_compare_exchange_strong(&config->state, &offered, LISTENER_TAKEN))
        return; /* recalled in the same moment */
    struct listener *l = slot_for(w, config->entrypoint);
    if (!l) {
        atomic_store_explicit(&config->state, LISTENER_FREE, memory_order_release);
        log_error("worker %u: no slot for another socket of entry point %s", w->config->index,
                  config->entrypoint);
        return;
    }
    uint32_t index = (uint32_t)(l - w->listeners);
    *l = (struct listener){
        .config = config, .index = index, .socket = config->socket, .reserve_fd = reserve_open()};
    (void)snprintf(l->name, sizeof l->name, "%s", config->entrypoint);
    limit_init(&l->retry, WORKER_LIMIT_LISTENER);
    ring_tune_tcp(w->ring, config->fd, 0); /* accepted sockets inherit it */
    if (w->snapshot) {
        find_entrypoint(w, l);
        listener_settle(w, l);
    }
}

static bool is_recalled(const struct listener *l)
{
    return l->config &&
           atomic_load_explicit(&l->config->state, memory_order_acquire) == LISTENER_RECALLED;
}

/* The socket goes back when the kernel has nothing of it any more. */
static void give_back(struct worker *w, struct listener *l)
{
    if (l->armed || l->cancelling || !is_recalled(l))
        return;
    struct listener_config *config = l->config;
    listener_fini(l);
    l->config = NULL;
    atomic_store_explicit(&config->state, LISTENER_FREE, memory_order_release);
    worker_notify(w);
}

void listener_look(struct worker *w)
{
    for (uint32_t i = 0; i < w->config->listener_count; i++) {
        struct listener_config *config = &w->config->listeners[i];
        if (atomic_load_explicit(&config->state, memory_order_acquire) == LISTENER_OFFERED)
            take(w, config);
    }
    for (uint32_t i = 0; i < w->listener_count; i++)
        if (is_recalled(&w->listeners[i]))
            listener_settle(w, &w->listeners[i]);
}

void listener_fini(struct listener *l)
{
    limit_remove(&l->retry);
    if (l->config && l->reserve_fd >= 0)
        (void)close(l->reserve_fd);
    l->reserve_fd = -1;
}

/* ---- accepting ------------------------------------------------------------------------------- */

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
    return w->phase == WORKER_PHASE_DRAINING && l->config && l->entrypoint && !l->empty;
}

/* Whether nobody waits any more. The kernel wakes one of those who accept at a socket: if that was
 * us in the moment of cancelling, the other process has not heard of the connection, and would not
 * before the next one comes. So a worker that retires looks whether one was left there, too. */
static bool is_swept(struct worker *w, const struct listener *l)
{
    if (w->retiring)
        return l->sweeps > RETIRING_SWEEPS_MAX || !ring_has_waiting(w->ring, l->config->fd);
    return l->sweeps > 1 && (!l->took || l->sweeps > SWEEPS_MAX);
}

/* An accept that does not wait: it takes what is there when it is submitted. */
static void sweep(struct worker *w, struct listener *l)
{
    l->sweeps++;
    l->empty = is_swept(w, l);
    l->took = false;
    if (l->empty)
        return;
    arm(w, l);
    cancel(w, l);
}

void listener_settle(struct worker *w, struct listener *l)
{
    if (!l->config)
        return;
    bool want = l->entrypoint && w->phase == WORKER_PHASE_SERVING && !is_recalled(l);
    if (want && !l->armed && l->retry.at_ns == TIMER_NO_LIMIT)
        arm(w, l);
    else if (!want && l->armed && !l->cancelling)
        cancel(w, l);
    else if (!l->armed && !l->cancelling && sweeps(w, l))
        sweep(w, l);
    give_back(w, l);
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
        if (!ring_has_waiting(w->ring, l->config->fd))
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
        l->cancelling = false;
        listener_settle(w, l);
        return;
    }
    must(ev->id.op == OP_ACCEPT && l->armed);
    if (!ev->more)
        l->armed = false;
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

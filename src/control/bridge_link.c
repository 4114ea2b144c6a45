/* SPDX-License-Identifier: Apache-2.0 */
#include "control/bridge_link.h"

#include "base/log.h"
#include "base/secret.h"
#include "bridge/publish.h"

#include <errno.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#define BACKLOG_MAX (1ull << 30) /* bytes; a million certificates fit */
#define COMPACT_AT  (1u << 20)
#define CROWDED_AT  (1u << 20)
#define ROOM_AT     (256u << 10)
/* Taken at a time: some hundred names that clients wait for, each of which costs a look into a
 * store. */
#define READ_BYTES 4096

void bridge_link_init(struct bridge_link *l, struct loop *loop, const struct bridge_events *events)
{
    *l = (struct bridge_link){.loop = loop, .w.fd = -1, .events = *events};
}

bool bridge_link_is_open(const struct bridge_link *l)
{
    return l->w.fd != -1;
}

void bridge_link_close(struct bridge_link *l)
{
    if (!bridge_link_is_open(l))
        return;
    loop_watch(l->loop, &l->w, 0);
    close(l->w.fd);
    l->w.fd = -1;
    buf_wipe_free(&l->out);
    l->sent = 0;
    buf_free(&l->in);
    l->crowded = false;
}

static void drop_sent(struct bridge_link *l)
{
    if (l->sent == l->out.len) {
        buf_wipe_free(&l->out);
        l->sent = 0;
    } else if (l->sent >= COMPACT_AT && l->sent >= l->out.len / 2) {
        buf_consume(&l->out, l->sent);
        secret_wipe(l->out.ptr + l->out.len, l->sent);
        l->sent = 0;
    }
}

/* Room is told of by the descriptor itself, also when all has gone meanwhile. */
static void watch_link(struct bridge_link *l)
{
    loop_watch(l->loop, &l->w, l->out.len || l->crowded ? EPOLLIN | EPOLLOUT : EPOLLIN);
}

static void flush(struct bridge_link *l)
{
    while (l->sent < l->out.len) {
        ssize_t n =
            send(l->w.fd, l->out.ptr + l->sent, l->out.len - l->sent, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n < 0 && (errno == EAGAIN || errno == EINTR))
            break;
        if (n < 0) {
            log_warn("the data process closed its bridge: %m");
            bridge_link_close(l);
            return;
        }
        l->sent += (size_t)n;
    }
    drop_sent(l);
    watch_link(l);
}

/* What it says may end in the middle of a message. */
static void hear(struct bridge_link *l)
{
    struct publish_heard heard;
    size_t used, done = 0;
    struct result r = result_ok();
    while (bridge_link_is_open(l) && result_is_ok(r)) {
        r = publish_hear(span_skip(buf_span(&l->in), done), &heard, &used);
        if (!result_is_ok(r))
            break;
        done += used;
        if (heard.fence)
            l->events.fenced(l->events.arg, heard.fence);
        else
            l->events.wanted(l->events.arg, heard.wanted);
    }
    if (!bridge_link_is_open(l))
        return;
    if (r.code != ERR_AGAIN) {
        log_error("what the data process says is broken: closing its bridge");
        bridge_link_close(l);
        return;
    }
    buf_consume(&l->in, done);
}

static void ready(struct loop_fd *w, uint32_t events)
{
    struct bridge_link *l = LIST_ENTRY(w, struct bridge_link, w);
    uint8_t in[READ_BYTES];
    if (events & (EPOLLIN | EPOLLHUP | EPOLLERR)) {
        ssize_t n = recv(w->fd, in, sizeof in, MSG_DONTWAIT);
        if (n > 0) {
            buf_put(&l->in, in, (size_t)n);
            hear(l);
        }
        if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR)) {
            bridge_link_close(l);
            return;
        }
    }
    if (bridge_link_is_open(l)) /* what was heard may have led to its end */
        flush(l);
    if (l->crowded && bridge_link_is_open(l) && l->out.len - l->sent <= ROOM_AT) {
        l->crowded = false;
        watch_link(l);
        l->events.room(l->events.arg);
    }
}

void bridge_link_open(struct bridge_link *l, int fd)
{
    bridge_link_close(l);
    l->w = (struct loop_fd){.fd = fd, .ready = ready};
    loop_watch(l->loop, &l->w, EPOLLIN);
}

void bridge_link_send(struct bridge_link *l, struct span messages)
{
    if (!bridge_link_is_open(l) || !messages.len)
        return;
    if (l->out.len - l->sent + messages.len > BACKLOG_MAX) {
        log_error("the data process does not read its bridge: closing it");
        bridge_link_close(l);
        return;
    }
    buf_put_span(&l->out, messages);
    flush(l);
}

bool bridge_link_is_crowded(struct bridge_link *l)
{
    size_t waiting = l->out.len - l->sent;
    l->crowded = waiting >= CROWDED_AT || (l->crowded && waiting > ROOM_AT);
    return l->crowded;
}

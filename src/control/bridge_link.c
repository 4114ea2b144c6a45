/* SPDX-License-Identifier: Apache-2.0 */
#include "control/bridge_link.h"

#include "base/log.h"
#include "base/secret.h"

#include <errno.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#define BACKLOG_MAX (1ull << 30) /* bytes; a million certificates fit */
#define COMPACT_AT  (1u << 20)

void bridge_link_init(struct bridge_link *l, struct loop *loop,
                      void (*fenced)(void *arg, uint64_t number), void *arg)
{
    *l = (struct bridge_link){.loop = loop, .w.fd = -1, .fenced = fenced, .arg = arg};
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
    l->fence_len = 0;
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
    loop_watch(l->loop, &l->w, l->out.len ? EPOLLIN | EPOLLOUT : EPOLLIN);
}

/* Data sends fences back and nothing else. The last one says all that those before it say. */
static void take_fences(struct bridge_link *l, struct span in)
{
    uint64_t number = 0;
    for (size_t i = 0; i < in.len; i++) {
        l->fence[l->fence_len++] = in.ptr[i];
        if (l->fence_len < sizeof l->fence)
            continue;
        struct reader r = reader_of(span_of(l->fence, sizeof l->fence));
        number = reader_u64(&r);
        l->fence_len = 0;
    }
    if (number)
        l->fenced(l->arg, number);
}

static void ready(struct loop_fd *w, uint32_t events)
{
    struct bridge_link *l = LIST_ENTRY(w, struct bridge_link, w);
    uint8_t in[256];
    if (events & (EPOLLIN | EPOLLHUP | EPOLLERR)) {
        ssize_t n = recv(w->fd, in, sizeof in, MSG_DONTWAIT);
        if (n > 0)
            take_fences(l, span_of(in, (size_t)n));
        if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR)) {
            bridge_link_close(l);
            return;
        }
    }
    if (bridge_link_is_open(l)) /* a fence may have led to its end */
        flush(l);
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

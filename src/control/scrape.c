/* SPDX-License-Identifier: Apache-2.0 */
#include "control/scrape.h"

#include "base/buf.h"
#include "base/clock.h"
#include "base/list.h"
#include "control/metrics.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <unistd.h>

#define NAME_BYTES 16

struct scrape {
    struct loop *loop;
    const struct admin_view *view;
    struct loop_fd listener;
    struct loop_timer again; /* accepting goes on: descriptors had run out */
    struct list clients;
    uint32_t client_count;
    uint16_t port;
    char name[2 * NAME_BYTES + 1]; /* host name that workers ask for */
};

struct client {
    struct list node;
    struct scrape *scrape;
    struct loop_fd w;
    struct loop_timer timer;
    struct buf in, out;
    size_t sent;
};

static void client_close(struct client *c)
{
    list_remove(&c->node);
    c->scrape->client_count--;
    loop_timer_cancel(c->scrape->loop, &c->timer);
    loop_watch(c->scrape->loop, &c->w, 0);
    close(c->w.fd);
    buf_free(&c->in);
    buf_free(&c->out);
    free(c);
}

static void timed_out(struct loop_timer *t)
{
    client_close(LIST_ENTRY(t, struct client, timer));
}

static void send_more(struct client *c)
{
    ssize_t n = send(c->w.fd, c->out.ptr + c->sent, c->out.len - c->sent, MSG_NOSIGNAL);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (n > 0)
        c->sent += (size_t)n;
    if (n <= 0 || c->sent == c->out.len)
        client_close(c);
}

/* Equal in a time that does not tell how far. */
static bool is_same(struct span got, const char *wanted)
{
    uint8_t differs = got.len != 2 * NAME_BYTES;
    for (size_t i = 0; i < 2 * NAME_BYTES && i < got.len; i++)
        differs |= got.ptr[i] ^ (uint8_t)wanted[i];
    return !differs;
}

/* What a worker wrote: "Host: NAME:PORT" on a line of its own. */
static bool knows_name(const struct scrape *s, struct span head)
{
    while (head.len) {
        struct span line = span_first(head, span_find(head, '\n'));
        head = span_skip(head, line.len + 1);
        if (line.len <= 6 || !span_eq_nocase(span_first(line, 6), SPAN_LITERAL("host: ")))
            continue;
        line = span_skip(line, 6);
        return is_same(span_first(line, span_find(line, ':')), s->name);
    }
    return false;
}

static void answer(struct client *c, struct span head)
{
    struct buf body = {0};
    bool is_head = head.len > 5 && memcmp(head.ptr, "HEAD ", 5) == 0;
    metrics_print(c->scrape->view, &body);
    buf_printf(&c->out,
               "HTTP/1.1 200 OK\r\nContent-Type: text/plain; version=0.0.4; charset=utf-8\r\n"
               "Content-Length: %zu\r\nConnection: close\r\n\r\n",
               body.len);
    if (!is_head)
        buf_put_span(&c->out, buf_span(&body));
    buf_free(&body);
    loop_watch(c->scrape->loop, &c->w, EPOLLOUT);
}

static void receive_more(struct client *c)
{
    ssize_t n = recv(c->w.fd, buf_reserve(&c->in, 4096), 4096, 0);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (n <= 0 || c->in.len + (size_t)n > SCRAPE_HEAD_MAX) {
        client_close(c);
        return;
    }
    c->in.len += (size_t)n;
    const uint8_t *end = memmem(c->in.ptr, c->in.len, "\r\n\r\n", 4);
    if (!end)
        return;
    struct span head = span_of(c->in.ptr, (size_t)(end - c->in.ptr));
    if (knows_name(c->scrape, head))
        answer(c, head);
    else
        client_close(c);
}

static void client_ready(struct loop_fd *w, uint32_t events)
{
    struct client *c = LIST_ENTRY(w, struct client, w);
    if (c->out.len)
        send_more(c);
    else
        receive_more(c);
}

static void accept_one(struct loop_fd *w, uint32_t events)
{
    struct scrape *s = LIST_ENTRY(w, struct scrape, listener);
    int fd = accept4(w->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (fd == -1 && (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM)) {
        /* The client stays in the queue, and epoll would report it again and again. */
        loop_watch(s->loop, w, 0);
        loop_timer_set(s->loop, &s->again, clock_now_ns() + NS_PER_S);
    }
    if (fd == -1)
        return;
    if (s->client_count == SCRAPE_CLIENTS_MAX) {
        close(fd);
        return;
    }
    struct client *c = mem_zalloc(sizeof *c);
    c->scrape = s;
    c->w = (struct loop_fd){.fd = fd, .ready = client_ready};
    list_init(&c->node);
    list_append(&s->clients, &c->node);
    s->client_count++;
    loop_timer_init(&c->timer, timed_out);
    loop_timer_set(s->loop, &c->timer, clock_now_ns() + SCRAPE_CLIENT_S * NS_PER_S);
    loop_watch(s->loop, &c->w, EPOLLIN);
}

static void accept_again(struct loop_timer *t)
{
    struct scrape *s = LIST_ENTRY(t, struct scrape, again);
    loop_watch(s->loop, &s->listener, EPOLLIN);
}

static struct result listen_here(int *ret_fd, uint16_t *ret_port, struct why *why)
{
    struct sockaddr_in sa = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof sa;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    bool ok = fd != -1 && bind(fd, (const struct sockaddr *)&sa, sizeof sa) == 0 &&
              listen(fd, SCRAPE_CLIENTS_MAX) == 0 &&
              getsockname(fd, (struct sockaddr *)&sa, &len) == 0;
    int sys = errno;
    if (!ok) {
        if (fd != -1)
            close(fd);
        return why_fail_sys(why, ERR_SYSTEM, sys, "cannot listen on 127.0.0.1");
    }
    *ret_fd = fd;
    *ret_port = ntohs(sa.sin_port);
    return result_ok();
}

struct result scrape_open(struct loop *loop, const struct admin_view *view, struct scrape **ret,
                          struct why *why)
{
    uint8_t name[NAME_BYTES];
    uint16_t port = 0;
    int fd = -1;
    if (getrandom(name, sizeof name, 0) != sizeof name)
        return why_fail_sys(why, ERR_SYSTEM, errno, "getrandom");
    TRY(listen_here(&fd, &port, why));
    struct scrape *s = mem_zalloc(sizeof *s);
    s->loop = loop;
    s->view = view;
    s->port = port;
    for (size_t i = 0; i < NAME_BYTES; i++)
        (void)snprintf(s->name + 2 * i, 3, "%02x", name[i]);
    list_init(&s->clients);
    loop_timer_init(&s->again, accept_again);
    s->listener = (struct loop_fd){.fd = fd, .ready = accept_one};
    loop_watch(loop, &s->listener, EPOLLIN);
    *ret = s;
    return result_ok();
}

void scrape_close(struct scrape *s)
{
    if (!s)
        return;
    while (!list_is_empty(&s->clients))
        client_close(LIST_ENTRY(s->clients.next, struct client, node));
    loop_timer_cancel(s->loop, &s->again);
    loop_watch(s->loop, &s->listener, 0);
    close(s->listener.fd);
    free(s);
}

void scrape_serve(const struct scrape *s, struct snap_server *server)
{
    server->host = span_of(s->name, 2 * NAME_BYTES);
    server->port = s->port;
}

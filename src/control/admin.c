/* SPDX-License-Identifier: Apache-2.0 */
#include "control/admin.h"

#include "base/clock.h"
#include "base/log.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define ACCEPT_PAUSE_NS NS_PER_S /* when descriptors are out */

struct admin {
    struct loop *loop;
    const struct admin_view *view;
    struct loop_fd listener;
    struct loop_timer again; /* accepting goes on: descriptors had run out */
    char *path;
    struct list clients;
    uint32_t client_count;
};

struct client {
    struct list node;
    struct admin *admin;
    struct loop_fd w;
    struct loop_timer timer;
    struct buf in, out;
    size_t sent;
    bool answered;
    struct admin_later waits_for;
};

static void client_close(struct client *c)
{
    list_remove(&c->node);
    c->admin->client_count--;
    loop_timer_cancel(c->admin->loop, &c->timer);
    loop_watch(c->admin->loop, &c->w, 0);
    close(c->w.fd);
    buf_wipe_free(&c->in);
    buf_wipe_free(&c->out);
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

static void send_answer(struct client *c)
{
    buf_put_str(&c->out, "\n");
    c->answered = true;
    loop_watch(c->admin->loop, &c->w, EPOLLOUT);
}

static bool is_waiting(const struct client *c)
{
    return c->waits_for.run || c->waits_for.task;
}

static void receive_more(struct client *c)
{
    ssize_t n = recv(c->w.fd, buf_reserve(&c->in, 4096), 4096, 0);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (n <= 0 || is_waiting(c) || c->in.len + (size_t)n > ADMIN_REQUEST_MAX) {
        client_close(c);
        return;
    }
    c->in.len += (size_t)n;
    struct span text = buf_span(&c->in);
    size_t end = span_find(text, '\n');
    if (end == text.len)
        return;
    admin_answer(c->admin->view, span_first(text, end), &c->out, &c->waits_for);
    if (is_waiting(c))
        loop_timer_set(c->admin->loop, &c->timer, clock_now_ns() + ADMIN_RELOAD_S * NS_PER_S);
    else
        send_answer(c);
}

void admin_reload_done(struct admin *admin, uint64_t run)
{
    for (struct list *n = admin ? admin->clients.next : NULL; n && n != &admin->clients;
         n = n->next) {
        struct client *c = LIST_ENTRY(n, struct client, node);
        if (!c->waits_for.run || c->waits_for.run > run || c->answered)
            continue;
        admin_answer_reload(admin->view, &c->out);
        send_answer(c);
    }
}

void admin_task_done(struct admin *admin, uint64_t task, json_t *answer)
{
    struct list *head = admin ? &admin->clients : NULL;
    for (struct list *n = head ? head->next : NULL; n && n != head; n = n->next) {
        struct client *c = LIST_ENTRY(n, struct client, node);
        if (c->waits_for.task != task || c->answered)
            continue;
        admin_answer_print(answer, &c->out);
        send_answer(c);
        return;
    }
    json_decref(answer); /* who asked has gone */
}

static void client_ready(struct loop_fd *w, uint32_t events)
{
    struct client *c = LIST_ENTRY(w, struct client, w);
    if (c->answered)
        send_more(c);
    else
        receive_more(c);
}

static void accept_one(struct loop_fd *w, uint32_t events)
{
    struct admin *admin = LIST_ENTRY(w, struct admin, listener);
    int fd = accept4(w->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (fd == -1 && (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM)) {
        /* The client stays in the queue, and epoll would report it again and again. */
        log_warn("the admin socket cannot accept: %m");
        loop_watch(admin->loop, w, 0);
        loop_timer_set(admin->loop, &admin->again, clock_now_ns() + ACCEPT_PAUSE_NS);
    }
    if (fd == -1)
        return;
    if (admin->client_count == ADMIN_CLIENTS_MAX) {
        close(fd);
        return;
    }
    struct client *c = mem_zalloc(sizeof *c);
    c->admin = admin;
    c->w = (struct loop_fd){.fd = fd, .ready = client_ready};
    list_init(&c->node);
    list_append(&admin->clients, &c->node);
    admin->client_count++;
    loop_timer_init(&c->timer, timed_out);
    loop_timer_set(admin->loop, &c->timer, clock_now_ns() + ADMIN_CLIENT_S * NS_PER_S);
    loop_watch(admin->loop, &c->w, EPOLLIN);
}

static void accept_again(struct loop_timer *t)
{
    struct admin *admin = LIST_ENTRY(t, struct admin, again);
    loop_watch(admin->loop, &admin->listener, EPOLLIN);
}

/* True when some process answers at the path. */
static bool is_alive(const struct sockaddr_un *address)
{
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    bool alive = fd != -1 && connect(fd, (const struct sockaddr *)address, sizeof *address) == 0;
    if (fd != -1)
        close(fd);
    return alive;
}

static struct result listen_at(const char *path, int *ret_fd, struct why *why)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    struct stat st;
    if (strlen(path) >= sizeof address.sun_path)
        return why_fail(why, ERR_CONFIG, "[admin] socket: the path %s is longer than %zu bytes",
                        path, sizeof address.sun_path - 1);
    memcpy(address.sun_path, path, strlen(path));
    if (lstat(path, &st) == 0) {
        if (!S_ISSOCK(st.st_mode))
            return why_fail(why, ERR_CONFIG, "[admin] socket: %s exists and is no socket", path);
        if (is_alive(&address))
            return why_fail(why, ERR_BUSY, "another process listens on the admin socket %s", path);
        unlink(path);
    }
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    mode_t before = umask(0177);
    bool ok = fd != -1 && bind(fd, (const struct sockaddr *)&address, sizeof address) == 0 &&
              listen(fd, ADMIN_CLIENTS_MAX) == 0;
    int sys = errno;
    umask(before);
    if (!ok) {
        if (fd != -1)
            close(fd);
        return why_fail_sys(why, ERR_SYSTEM, sys, "cannot open the admin socket %s", path);
    }
    *ret_fd = fd;
    return result_ok();
}

struct result admin_open(struct loop *loop, const char *path, const struct admin_view *view,
                         struct admin **ret, struct why *why)
{
    int fd = -1;
    TRY(listen_at(path, &fd, why));
    struct admin *admin = mem_zalloc(sizeof *admin);
    admin->loop = loop;
    admin->view = view;
    admin->path = mem_strdup(path);
    admin->listener = (struct loop_fd){.fd = fd, .ready = accept_one};
    loop_timer_init(&admin->again, accept_again);
    list_init(&admin->clients);
    loop_watch(loop, &admin->listener, EPOLLIN);
    *ret = admin;
    return result_ok();
}

void admin_close(struct admin *admin)
{
    if (!admin)
        return;
    while (!list_is_empty(&admin->clients))
        client_close(LIST_ENTRY(admin->clients.next, struct client, node));
    loop_timer_cancel(admin->loop, &admin->again);
    loop_watch(admin->loop, &admin->listener, 0);
    close(admin->listener.fd);
    unlink(admin->path);
    free(admin->path);
    free(admin);
}

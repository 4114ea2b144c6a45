/* SPDX-License-Identifier: Apache-2.0 */
#include "control/curl_loop.h"

#include "base/buf.h"
#include "base/clock.h"
#include "base/list.h"
#include "base/must.h"

#include <stdlib.h>
#include <sys/epoll.h>

/* A descriptor that curl wants watched. curl closes one that is still connecting without a word,
 * and says only later that it need not be watched any more. */
struct watched {
    struct loop_fd w;
    struct curl_loop *owner;
    struct list node;
};

struct curl_loop {
    struct loop *loop;
    CURLM *multi;
    struct loop_timer timer;
    bool removed; /* a socket in this call of curl's */
    struct list in_use;
    curl_loop_done *done;
    void *arg;
};

static void finish(struct curl_loop *x)
{
    CURLMsg *msg;
    int left;
    while ((msg = curl_multi_info_read(x->multi, &left))) {
        if (msg->msg != CURLMSG_DONE)
            continue;
        CURL *easy = msg->easy_handle;
        CURLcode code = msg->data.result;
        curl_multi_remove_handle(x->multi, easy);
        x->done(x->arg, easy, code);
    }
}

/* When an address refuses, curl 7.88 closes its socket and tries the next one only at its next
 * look, but asks for none. This one is deprecated, and the only one that is for no socket and no
 * time. */
static void look_at_all(struct curl_loop *x)
{
    int running;
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wdeprecated-declarations"
    must(curl_multi_socket_all(x->multi, &running) == CURLM_OK);
#pragma GCC diagnostic pop
}

static void act(struct curl_loop *x, curl_socket_t fd, int bits)
{
    int running;
    x->removed = false;
    must(curl_multi_socket_action(x->multi, fd, bits, &running) == CURLM_OK);
    if (x->removed && running)
        look_at_all(x);
    finish(x);
}

static void socket_ready(struct loop_fd *w, uint32_t events)
{
    struct watched *s = LIST_ENTRY(w, struct watched, w);
    int bits = 0;
    if (events & EPOLLIN)
        bits |= CURL_CSELECT_IN;
    if (events & EPOLLOUT)
        bits |= CURL_CSELECT_OUT;
    if (events & (EPOLLHUP | EPOLLERR))
        bits |= CURL_CSELECT_ERR;
    act(s->owner, w->fd, bits);
}

static struct watched *watched_take(struct curl_loop *x, curl_socket_t fd)
{
    struct watched *s = mem_zalloc(sizeof *s);
    s->w = (struct loop_fd){.fd = fd, .ready = socket_ready};
    s->owner = x;
    list_init(&s->node);
    list_append(&x->in_use, &s->node);
    return s;
}

static void watched_drop(struct watched *s)
{
    loop_forget(s->owner->loop, &s->w);
    list_remove(&s->node);
    free(s);
}

static int on_socket(CURL *easy, curl_socket_t fd, int what, void *arg, void *socket_arg)
{
    struct curl_loop *x = arg;
    struct watched *s = socket_arg;
    if (what == CURL_POLL_REMOVE) {
        x->removed = true;
        if (s)
            watched_drop(s);
        curl_multi_assign(x->multi, fd, NULL);
        return 0;
    }
    if (!s) {
        s = watched_take(x, fd);
        curl_multi_assign(x->multi, fd, s);
    }
    uint32_t events = 0;
    if (what & CURL_POLL_IN)
        events |= EPOLLIN;
    if (what & CURL_POLL_OUT)
        events |= EPOLLOUT;
    loop_watch(x->loop, &s->w, events);
    return 0;
}

static int on_timer(CURLM *multi, long timeout_ms, void *arg)
{
    struct curl_loop *x = arg;
    if (timeout_ms < 0)
        loop_timer_cancel(x->loop, &x->timer);
    else
        loop_timer_set(x->loop, &x->timer, clock_now_ns() + (uint64_t)timeout_ms * NS_PER_MS);
    return 0;
}

static void timer_fired(struct loop_timer *t)
{
    act(LIST_ENTRY(t, struct curl_loop, timer), CURL_SOCKET_TIMEOUT, 0);
}

struct curl_loop *curl_loop_create(struct loop *loop, long host_connections, curl_loop_done *done,
                                   void *arg)
{
    struct curl_loop *x = mem_zalloc(sizeof *x);
    x->loop = loop;
    x->done = done;
    x->arg = arg;
    list_init(&x->in_use);
    loop_timer_init(&x->timer, timer_fired);
    must(curl_global_init(CURL_GLOBAL_DEFAULT) == CURLE_OK);
    x->multi = curl_multi_init();
    must(x->multi);
    curl_multi_setopt(x->multi, CURLMOPT_SOCKETFUNCTION, on_socket);
    curl_multi_setopt(x->multi, CURLMOPT_SOCKETDATA, x);
    curl_multi_setopt(x->multi, CURLMOPT_TIMERFUNCTION, on_timer);
    curl_multi_setopt(x->multi, CURLMOPT_TIMERDATA, x);
    curl_multi_setopt(x->multi, CURLMOPT_MAX_HOST_CONNECTIONS, host_connections);
    return x;
}

void curl_loop_destroy(struct curl_loop *x)
{
    if (!x)
        return;
    curl_multi_cleanup(x->multi);
    loop_timer_cancel(x->loop, &x->timer);
    while (!list_is_empty(&x->in_use))
        watched_drop(LIST_ENTRY(x->in_use.next, struct watched, node));
    free(x);
    curl_global_cleanup();
}

void curl_loop_add(struct curl_loop *x, CURL *easy)
{
    must(curl_multi_add_handle(x->multi, easy) == CURLM_OK);
}

void curl_loop_remove(struct curl_loop *x, CURL *easy)
{
    curl_multi_remove_handle(x->multi, easy);
}

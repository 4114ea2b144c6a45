/* SPDX-License-Identifier: Apache-2.0 */
#include "control/curl_loop.h"

#include "base/buf.h"
#include "base/clock.h"
#include "base/list.h"

#include "unit.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

/* One request, to a server that the test itself is. */
struct full_listener {
    int fd, waiting[2];
};

struct world {
    struct loop *loop;
    struct curl_loop *curl;
    struct loop_fd listener, event;
    struct loop_timer limit;
    struct full_listener full;
    uint16_t port;
    CURL *easy;
    CURLcode code;
    bool ended, timed_out;
};

static void request_ended(void *arg, CURL *easy, CURLcode code)
{
    struct world *w = arg;
    w->code = code;
    w->ended = true;
    loop_stop(w->loop);
}

static void out_of_time(struct loop_timer *t)
{
    struct world *w = LIST_ENTRY(t, struct world, limit);
    w->timed_out = true;
    loop_stop(w->loop);
}

static void serve(struct loop_fd *fd, uint32_t events)
{
    static const char answer[] = "HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n";
    int client = accept(fd->fd, NULL, NULL);
    assert_int_equal(write(client, answer, sizeof answer - 1), sizeof answer - 1);
    close(client);
}

static void open_listener(struct world *w)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof at;
    w->listener = (struct loop_fd){.fd = socket(AF_INET, SOCK_STREAM, 0), .ready = serve};
    assert_int_equal(bind(w->listener.fd, (struct sockaddr *)&at, sizeof at), 0);
    assert_int_equal(listen(w->listener.fd, 8), 0);
    assert_int_equal(getsockname(w->listener.fd, (struct sockaddr *)&at, &len), 0);
    w->port = ntohs(at.sin_port);
}

static void open_world(struct world *w)
{
    struct why why;
    *w = (struct world){0};
    assert_true(result_is_ok(loop_create(&w->loop, &why)));
    w->curl = curl_loop_create(w->loop, 0, request_ended, w);
    w->easy = curl_easy_init();
    open_listener(w);
    loop_timer_init(&w->limit, out_of_time);
    loop_timer_set(w->loop, &w->limit, clock_now_ns() + 5 * NS_PER_S);
}

static void close_world(struct world *w)
{
    curl_loop_destroy(w->curl);
    curl_easy_cleanup(w->easy);
    loop_timer_cancel(w->loop, &w->limit);
    close(w->listener.fd);
    loop_destroy(w->loop);
}

/* Nobody takes its connections, so that the next one is long in the making: the kernel tries again
 * after a second. */
static struct full_listener fill_listener(const char *ip, uint16_t port)
{
    struct full_listener f = {.fd = socket(AF_INET, SOCK_STREAM, 0)};
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons(port)};
    assert_int_equal(inet_pton(AF_INET, ip, &at.sin_addr), 1);
    assert_int_equal(bind(f.fd, (struct sockaddr *)&at, sizeof at), 0);
    assert_int_equal(listen(f.fd, 0), 0);
    for (int i = 0; i < 2; i++) {
        f.waiting[i] = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
        (void)!connect(f.waiting[i], (struct sockaddr *)&at, sizeof at);
    }
    return f;
}

static void empty_listener(const struct full_listener *f)
{
    close(f->fd);
    for (int i = 0; i < 2; i++)
        close(f->waiting[i]);
}

/* As at a reload: the request and all that belongs to it go while its connection is being made. */
static void let_go(struct loop_fd *fd, uint32_t events)
{
    struct world *w = LIST_ENTRY(fd, struct world, event);
    curl_loop_remove(w->curl, w->easy);
    curl_loop_destroy(w->curl);
    w->curl = NULL;
    loop_watch(w->loop, fd, 0);
    loop_timer_set(w->loop, &w->limit, clock_now_ns() + 10 * NS_PER_MS);
}

/* Both come in one turn: the event that ends the request, and behind it that its server is gone. */
static void wait_for_both(struct loop_timer *t)
{
    struct world *w = LIST_ENTRY(t, struct world, limit);
    uint64_t one = 1;
    w->limit.fire = out_of_time;
    empty_listener(&w->full);
    assert_int_equal(write(w->event.fd, &one, sizeof one), sizeof one);
    assert_int_equal(poll(NULL, 0, 1200), 0);
}

static void a_connection_that_was_dropped_is_not_heard_of(void **state)
{
    struct world w;
    char url[64];
    open_world(&w);
    w.full = fill_listener("127.0.0.2", w.port);
    w.event = (struct loop_fd){.fd = eventfd(0, EFD_NONBLOCK), .ready = let_go};
    loop_watch(w.loop, &w.event, EPOLLIN);
    w.limit.fire = wait_for_both;
    loop_timer_set(w.loop, &w.limit, clock_now_ns() + 100 * NS_PER_MS);
    snprintf(url, sizeof url, "http://127.0.0.2:%u/", w.port);
    curl_easy_setopt(w.easy, CURLOPT_URL, url);
    curl_loop_add(w.curl, w.easy);
    assert_true(result_is_ok(loop_run(w.loop)));
    assert_true(w.timed_out);
    assert_false(w.ended);
    assert_null(w.curl);
    close(w.event.fd);
    close_world(&w);
}

static void empty_and_wait(struct loop_timer *t)
{
    struct world *w = LIST_ENTRY(t, struct world, limit);
    w->limit.fire = out_of_time;
    empty_listener(&w->full);
    loop_timer_set(w->loop, &w->limit, clock_now_ns() + 10 * NS_PER_S);
}

/* curl 7.88 does not ask to be called again when the first one refuses. */
static void the_next_address_is_heard_of(void **state)
{
    struct world w;
    char url[64], addresses[64];
    open_world(&w);
    w.full = fill_listener("127.0.0.2", w.port);
    snprintf(url, sizeof url, "http://two.test:%u/", w.port);
    snprintf(addresses, sizeof addresses, "two.test:%u:127.0.0.2,127.0.0.1", w.port);
    struct curl_slist *list = curl_slist_append(NULL, addresses);
    curl_easy_setopt(w.easy, CURLOPT_URL, url);
    curl_easy_setopt(w.easy, CURLOPT_RESOLVE, list);
    loop_watch(w.loop, &w.listener, EPOLLIN);
    curl_loop_add(w.curl, w.easy);
    w.limit.fire = empty_and_wait;
    loop_timer_set(w.loop, &w.limit, clock_now_ns() + 100 * NS_PER_MS);
    assert_true(result_is_ok(loop_run(w.loop)));
    assert_false(w.timed_out);
    assert_true(w.ended);
    assert_int_equal(w.code, CURLE_OK);
    close_world(&w);
    curl_slist_free_all(list);
}

UNIT_TESTS(cmocka_unit_test(a_connection_that_was_dropped_is_not_heard_of),
           cmocka_unit_test(the_next_address_is_heard_of))

/* SPDX-License-Identifier: Apache-2.0 */
/* The ring over the real kernel: sockets on loopback. */
#include "ring/ring.c"

#include "unit.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdio.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define GIVE_UP_NS (20 * NS_PER_S)

static struct ring *open_ring(unsigned small, unsigned large)
{
    struct ring_config config = {.sq_entries = 64, .cq_entries = 256, .buffers = {small, large}};
    struct ring *ring;
    struct why why;
    if (!result_is_ok(ring_open(&config, &ring, &why)))
        fail_msg("%s", why.text);
    return ring;
}

static struct op_id id_of(enum op op, uint32_t slot)
{
    return (struct op_id){op, OP_OWNER_CONN, slot, slot ^ 0xabcdef};
}

/* The next completion; fails the test when none comes. */
static struct ring_event next_event(struct ring *ring)
{
    struct ring_event e;
    uint64_t deadline = clock_now_ns() + GIVE_UP_NS;
    while (ring_drain(ring, &e, 1) == 0) {
        if (clock_now_ns() > deadline)
            fail_msg("no completion came");
        struct result r = ring_submit_wait(ring, true, deadline);
        assert_true(result_is_ok(r) || r.code == ERR_TIMEOUT);
    }
    assert_int_equal(e.id.gen, e.id.slot ^ 0xabcdef);
    return e;
}

/* Waits for the completion of `op`, giving back buffers of others. */
static struct ring_event event_of(struct ring *ring, enum op op)
{
    for (;;) {
        struct ring_event e = next_event(ring);
        if (e.id.op == op)
            return e;
        if (e.has_buffer)
            ring_give_back(ring, e.group, e.buffer);
    }
}

/* A connected pair of TCP sockets: `near` for the ring, `far` for the test. */
static void tcp_pair(int *ret_near, int *ret_far)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof a;
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(listener, (struct sockaddr *)&a, len), 0);
    assert_int_equal(listen(listener, 8), 0);
    assert_int_equal(getsockname(listener, (struct sockaddr *)&a, &len), 0);
    *ret_far = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(connect(*ret_far, (struct sockaddr *)&a, len), 0);
    *ret_near = accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    assert_true(*ret_near >= 0);
    close(listener);
}

static int option_of(int fd, int option)
{
    int value = -1;
    socklen_t len = sizeof value;
    assert_int_equal(getsockopt(fd, IPPROTO_TCP, option, &value, &len), 0);
    return value;
}

static void silent_peers_are_probed(void **state)
{
    static const struct {
        uint32_t probe_ms;
        int idle_s, interval_s;
    } cases[] = {{0, 60, 15}, {2500, 2, 2}, {1, 1, 1}};
    struct ring *ring = open_ring(8, 0);
    int near, far;
    tcp_pair(&near, &far);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        ring_tune_tcp(ring, near, cases[i].probe_ms);
        assert_int_equal(option_of(near, TCP_KEEPIDLE), cases[i].idle_s);
        assert_int_equal(option_of(near, TCP_KEEPINTVL), cases[i].interval_s);
    }
    close(near);
    close(far);
    ring_close(ring);
}

static void multishot_accept_goes_on(void **state)
{
    struct ring *ring = open_ring(8, 0);
    assert_true(ring_features(ring)->multishot_accept);
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof a;
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    assert_int_equal(bind(listener, (struct sockaddr *)&a, len), 0);
    assert_int_equal(listen(listener, 8), 0);
    assert_int_equal(getsockname(listener, (struct sockaddr *)&a, &len), 0);
    ring_accept(ring, listener, id_of(OP_ACCEPT, 3));
    for (int i = 0; i < 3; i++) {
        int far = ring_socket(ring, AF_INET);
        assert_true(far >= 0);
        ring_connect(ring, far, (struct sockaddr *)&a, len, id_of(OP_CONNECT, 4));
        int accepted = -1;
        for (int both = 0; both < 2; both++) {
            struct ring_event e = next_event(ring);
            if (e.id.op == OP_CONNECT) {
                assert_int_equal(e.res, 0);
                continue;
            }
            assert_int_equal(e.id.op, OP_ACCEPT);
            assert_int_equal(e.id.slot, 3);
            assert_true(e.more);
            accepted = e.res;
        }
        assert_true(accepted >= 0);
        assert_true(fcntl(accepted, F_GETFL) & O_NONBLOCK);
        ring_tune_tcp(ring, accepted, 0);
        struct net_addr here, there;
        assert_true(result_is_ok(ring_address(ring, far, false, &here)));
        assert_true(result_is_ok(ring_address(ring, accepted, true, &there)));
        assert_true(net_addr_eq(&here, &there));
        assert_true(fcntl(accepted, F_GETFD) & FD_CLOEXEC);
        ring_close_fd(ring, accepted, id_of(OP_CLOSE, 5));
        assert_int_equal(event_of(ring, OP_CLOSE).res, 0);
        close(far);
    }
    struct net_addr none;
    assert_int_equal(ring_address(ring, listener, true, &none).sys, ENOTCONN);
    ring_cancel(ring, id_of(OP_ACCEPT, 3), id_of(OP_CANCEL, 3));
    bool seen_accept = false, seen_cancel = false;
    while (!seen_accept || !seen_cancel) {
        struct ring_event e = next_event(ring);
        seen_cancel |= e.id.op == OP_CANCEL && e.res == 0;
        seen_accept |= e.id.op == OP_ACCEPT && e.res == -ECANCELED && !e.more;
    }
    close(listener);
    ring_close(ring);
}

static void one_shot_switches_hold(void **state)
{
    struct ring_config config = {.sq_entries = 8,
                                 .cq_entries = 16,
                                 .buffers = {4, 0},
                                 .one_shot_accept = true,
                                 .one_shot_recv = true};
    struct ring *ring;
    assert_true(result_is_ok(ring_open(&config, &ring, NULL)));
    assert_false(ring_features(ring)->multishot_accept);
    int near, far;
    tcp_pair(&near, &far);
    ring_recv(ring, near, RING_SMALL, true, id_of(OP_RECV, 1));
    assert_int_equal(write(far, "x", 1), 1);
    struct ring_event e = next_event(ring);
    assert_int_equal(e.res, 1);
    assert_false(e.more);
    ring_give_back(ring, RING_SMALL, e.buffer);
    close(near);
    close(far);
    ring_close(ring);
}

static void buffers_of_both_groups(void **state)
{
    struct ring *ring = open_ring(4, 2);
    int near, far;
    tcp_pair(&near, &far);
    ring_recv(ring, near, RING_SMALL, true, id_of(OP_RECV, 9));
    for (int i = 0; i < 20; i++) { /* more often than there are buffers */
        char text[16];
        int n = snprintf(text, sizeof text, "message %d", i);
        assert_int_equal(write(far, text, (size_t)n), n);
        struct ring_event e = next_event(ring);
        assert_true(e.has_buffer && e.more);
        assert_int_equal(e.group, RING_SMALL);
        assert_int_equal(e.res, n);
        assert_memory_equal(ring_buffer(ring, RING_SMALL, e.buffer), text, (size_t)n);
        assert_int_equal(ring_buffers_free(ring, RING_SMALL), 3);
        ring_give_back(ring, RING_SMALL, e.buffer);
    }
    ring_cancel_fd(ring, near, id_of(OP_CANCEL, 9));
    assert_int_equal(event_of(ring, OP_RECV).res, -ECANCELED);
    ring_recv(ring, near, RING_LARGE, false, id_of(OP_RECV, 10));
    static uint8_t big[60000];
    memset(big, 'b', sizeof big);
    assert_int_equal(write(far, big, sizeof big), sizeof big);
    struct ring_event e = event_of(ring, OP_RECV);
    assert_true(e.has_buffer && !e.more && e.res > (int)RING_SMALL_BYTES);
    assert_int_equal(e.group, RING_LARGE);
    assert_int_equal(ring_buffer(ring, RING_LARGE, e.buffer)[e.res - 1], 'b');
    ring_give_back(ring, RING_LARGE, e.buffer);
    shutdown(far, SHUT_WR);
    uint8_t rest[4096];
    ssize_t left = (ssize_t)sizeof big - e.res;
    do { /* the rest, then the end */
        ring_recv_into(ring, near, rest, sizeof rest, id_of(OP_RECV, 11));
        e = event_of(ring, OP_RECV);
        assert_true(e.res >= 0 && !e.has_buffer);
        left -= e.res;
    } while (e.res > 0);
    assert_int_equal(left, 0);
    close(near);
    close(far);
    ring_close(ring);
}

static void an_empty_group_ends_the_request(void **state)
{
    struct ring *ring = open_ring(2, 0);
    int near, far;
    tcp_pair(&near, &far);
    static uint8_t big[4 * RING_SMALL_BYTES];
    memset(big, 'x', sizeof big);
    assert_int_equal(write(far, big, sizeof big), sizeof big);
    ring_recv(ring, near, RING_SMALL, true, id_of(OP_RECV, 1));
    uint16_t lent[2];
    for (int i = 0; i < 2; i++) {
        struct ring_event e = next_event(ring);
        assert_int_equal(e.res, RING_SMALL_BYTES);
        lent[i] = e.buffer;
    }
    struct ring_event e = next_event(ring);
    assert_int_equal(e.res, -ENOBUFS);
    assert_false(e.more || e.has_buffer);
    assert_int_equal(ring_buffers_free(ring, RING_SMALL), 0);
    ring_give_back(ring, RING_SMALL, lent[0]);
    ring_give_back(ring, RING_SMALL, lent[1]);
    ring_recv(ring, near, RING_SMALL, true, id_of(OP_RECV, 2));
    for (int left = 2 * RING_SMALL_BYTES; left > 0;) {
        e = next_event(ring);
        assert_true(e.res > 0);
        left -= e.res;
        ring_give_back(ring, RING_SMALL, e.buffer);
    }
    close(far);
    e = event_of(ring, OP_RECV);
    assert_int_equal(e.res, 0);
    assert_false(e.more || e.has_buffer);
    close(near);
    ring_close(ring);
}

static void sends_are_whole(void **state)
{
    struct ring *ring = open_ring(4, 0);
    int near, far;
    tcp_pair(&near, &far);
    static uint8_t out[1 << 20], in[1 << 20];
    for (size_t i = 0; i < sizeof out; i++)
        out[i] = (uint8_t)(i * 7 >> 3);
    int bytes = 4096; /* far less than what is sent: the kernel has to come back */
    setsockopt(near, SOL_SOCKET, SO_SNDBUF, &bytes, sizeof bytes);
    ring_send(ring, near, out, sizeof out / 2, true, id_of(OP_SEND, 1));
    size_t got = 0;
    bool second = false, done = false;
    struct iovec parts[2] = {{out + sizeof out / 2, 1000},
                             {out + sizeof out / 2 + 1000, sizeof out / 2 - 1000}};
    struct msghdr msg = {.msg_iov = parts, .msg_iovlen = 2};
    while (got < sizeof in || !done) {
        assert_true(result_is_ok(ring_submit_wait(ring, false, 0)));
        struct ring_event e;
        while (ring_drain(ring, &e, 1)) {
            assert_int_equal(e.res, sizeof out / 2);
            done = second;
            if (!second)
                ring_sendmsg(ring, near, &msg, id_of(OP_SEND, 2));
            second = true;
        }
        ssize_t n = recv(far, in + got, sizeof in - got, MSG_DONTWAIT);
        got += n > 0 ? (size_t)n : 0;
    }
    assert_memory_equal(in, out, sizeof in);
    close(far);
    /* A peer that is gone is an error, not a signal. */
    for (int i = 0, res = 1; res > 0; i++) {
        assert_true(i < 1000);
        ring_send(ring, near, "x", 1, false, id_of(OP_SEND, 3));
        res = event_of(ring, OP_SEND).res;
        assert_true(res == 1 || res == -EPIPE || res == -ECONNRESET);
    }
    close(near);
    ring_close(ring);
}

static void shutdown_and_cancel_by_socket(void **state)
{
    struct ring *ring = open_ring(4, 4);
    int near, far;
    tcp_pair(&near, &far);
    ring_recv(ring, near, RING_SMALL, true, id_of(OP_RECV, 1));
    ring_shutdown(ring, near, SHUT_WR, id_of(OP_SHUTDOWN, 1));
    assert_int_equal(event_of(ring, OP_SHUTDOWN).res, 0);
    char c;
    assert_int_equal(read(far, &c, 1), 0);
    ring_cancel_fd(ring, near, id_of(OP_CANCEL, 1));
    bool seen_recv = false, seen_cancel = false;
    while (!seen_recv || !seen_cancel) {
        struct ring_event e = next_event(ring);
        seen_recv |= e.id.op == OP_RECV && e.res == -ECANCELED && !e.more;
        seen_cancel |= e.id.op == OP_CANCEL && e.res >= 0;
    }
    ring_cancel(ring, id_of(OP_RECV, 77), id_of(OP_CANCEL, 2));
    assert_int_equal(event_of(ring, OP_CANCEL).res, -ENOENT);
    close(near);
    close(far);
    ring_close(ring);
}

static void an_eventfd_wakes(void **state)
{
    struct ring *ring = open_ring(4, 0);
    for (int flags = 0; flags < 2; flags++) {
        int fd = eventfd(0, flags ? EFD_NONBLOCK : 0);
        ring_wake_arm(ring, fd, id_of(OP_WAKE, 1));
        assert_true(result_is_ok(ring_submit_wait(ring, false, 0)));
        uint64_t one = 1;
        assert_int_equal(write(fd, &one, 8), 8);
        assert_int_equal(event_of(ring, OP_WAKE).res, 8);
        close(fd);
    }
    ring_close(ring);
}

/* Through a pipe from one connection to another: all that is there, nothing that is not, the end.
 */
static void a_pipe_between_two_sockets(void **state)
{
    struct ring *ring = open_ring(4, 0);
    int near[2], far[2], fds[2];
    static uint8_t sent[100000], got[100000];
    size_t arrived = 0;
    assert_true(ring_features(ring)->splice);
    int size = ring_pipe_open(ring, 65536, fds);
    assert_int_equal(size, 65536);
    assert_true(fcntl(fds[0], F_GETFD) & FD_CLOEXEC && fcntl(fds[1], F_GETFD) & FD_CLOEXEC);
    for (int i = 0; i < 2; i++)
        tcp_pair(&near[i], &far[i]);
    assert_int_equal(ring_splice(ring, near[0], fds[1], 65536), -EAGAIN);
    ring_poll(ring, near[0], false, id_of(OP_POLL_IN, 1));
    for (size_t i = 0; i < sizeof sent; i++)
        sent[i] = (uint8_t)(i * 31 >> 3);
    assert_int_equal(write(far[0], sent, sizeof sent), sizeof sent);
    assert_true(event_of(ring, OP_POLL_IN).res > 0);
    while (arrived < sizeof sent) {
        int n = ring_splice(ring, near[0], fds[1], 1000);
        if (n == -EAGAIN)
            continue;
        assert_true(n > 0 && n <= 1000);
        ring_poll(ring, near[1], true, id_of(OP_POLL_OUT, 1));
        assert_true(event_of(ring, OP_POLL_OUT).res > 0);
        assert_int_equal(ring_splice(ring, fds[0], near[1], (uint32_t)n), n);
        assert_int_equal(recv(far[1], got + arrived, (size_t)n, MSG_WAITALL), n);
        arrived += (size_t)n;
    }
    assert_memory_equal(sent, got, sizeof sent);
    ring_poll(ring, near[0], false, id_of(OP_POLL_IN, 1));
    close(far[0]);
    assert_true(event_of(ring, OP_POLL_IN).res > 0); /* the end can be read, too */
    assert_int_equal(ring_splice(ring, near[0], fds[1], 1000), 0);
    ring_poll(ring, near[1], false, id_of(OP_POLL_IN, 2));
    ring_cancel(ring, id_of(OP_POLL_IN, 2), id_of(OP_CANCEL, 2));
    assert_int_equal(event_of(ring, OP_POLL_IN).res, -ECANCELED);
    ring_pipe_close(ring, fds);
    close(far[1]);
    for (int i = 0; i < 2; i++)
        close(near[i]);
    ring_close(ring);
}

static void waiting_ends_at_the_deadline(void **state)
{
    struct ring *ring = open_ring(4, 0);
    struct ring_event e;
    uint64_t start = clock_now_ns();
    struct result r = ring_submit_wait(ring, true, start + 5 * NS_PER_MS);
    assert_int_equal(r.code, ERR_TIMEOUT);
    assert_true(clock_now_ns() >= start + 5 * NS_PER_MS);
    assert_int_equal(ring_drain(ring, &e, 1), 0);
    (void)ring_submit_wait(ring, true, start); /* long past: no blocking */
    assert_true(result_is_ok(ring_submit_wait(ring, false, UINT64_MAX)));
    ring_close(ring);
}

static void more_requests_than_entries(void **state)
{
    struct ring *ring = open_ring(4, 0);
    /* 1,000 completions do not fit a CQ of 256: they overflow, and none is lost. */
    for (uint32_t i = 0; i < 1000; i++)
        ring_cancel(ring, id_of(OP_RECV, 5), id_of(OP_CANCEL, i));
    for (uint32_t i = 0; i < 1000; i++) {
        struct ring_event e = next_event(ring);
        assert_int_equal(e.id.slot, i);
        assert_int_equal(e.res, -ENOENT);
    }
    assert_true(ring_overflows(ring) > 0);
    ring_close(ring);
}

static void a_buffer_comes_back_once(void **state)
{
    struct ring *ring = open_ring(4, 0);
    int near, far;
    tcp_pair(&near, &far);
    ring_recv(ring, near, RING_SMALL, false, id_of(OP_RECV, 1));
    assert_int_equal(write(far, "x", 1), 1);
    struct ring_event e = next_event(ring);
    struct bufring *b = &ring->groups[RING_SMALL];
    assert_int_equal(b->lent[e.buffer], 1);
    ring_give_back(ring, RING_SMALL, e.buffer);
    assert_int_equal(b->lent[e.buffer], 0); /* a second time would be must(lent) */
    assert_int_equal(ring_buffers_free(ring, RING_SMALL), 4);
    close(near);
    close(far);
    ring_close(ring);
}

static void few_buffers_are_shown_at_a_time(void **state)
{
    struct ring_config config = {
        .sq_entries = 64, .cq_entries = 256, .buffers = {4, 0}, .shown = {1, 0}};
    struct why why;
    struct ring *ring;
    int near[2], far[2];
    assert_true(result_is_ok(ring_open(&config, &ring, &why)));
    for (int i = 0; i < 2; i++) {
        tcp_pair(&near[i], &far[i]);
        assert_int_equal(write(far[i], "x", 1), 1);
    }
    assert_int_equal(ring_buffers_free(ring, RING_SMALL), 4);
    for (uint32_t i = 0; i < 2; i++)
        ring_recv(ring, near[i], RING_SMALL, false, id_of(OP_RECV, i));
    struct ring_event a = next_event(ring), b = next_event(ring);
    assert_int_equal(a.res, 1);
    assert_int_equal(b.res, -ENOBUFS);
    assert_int_equal(ring_buffers_free(ring, RING_SMALL), 3);
    uint16_t first = a.buffer;
    ring_give_back(ring, RING_SMALL, first);
    for (uint32_t i = 0; i < 3; i++) { /* one was shown before; then the last given back comes */
        assert_int_equal(write(far[0], "y", 1), 1);
        ring_recv(ring, near[0], RING_SMALL, false, id_of(OP_RECV, i));
        a = next_event(ring);
        assert_int_equal(a.res, 1);
        if (i > 0)
            assert_int_equal(a.buffer, first);
        first = a.buffer;
        ring_give_back(ring, RING_SMALL, a.buffer);
    }
    for (int i = 0; i < 2; i++) {
        close(near[i]);
        close(far[i]);
    }
    ring_close(ring);
}

int main(void)
{
    struct why why;
    if (!result_is_ok(ring_probe(&why))) {
        printf("skipped: %s\n", why.text);
        return 77;
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(multishot_accept_goes_on),
        cmocka_unit_test(one_shot_switches_hold),
        cmocka_unit_test(silent_peers_are_probed),
        cmocka_unit_test(buffers_of_both_groups),
        cmocka_unit_test(an_empty_group_ends_the_request),
        cmocka_unit_test(sends_are_whole),
        cmocka_unit_test(shutdown_and_cancel_by_socket),
        cmocka_unit_test(an_eventfd_wakes),
        cmocka_unit_test(a_pipe_between_two_sockets),
        cmocka_unit_test(waiting_ends_at_the_deadline),
        cmocka_unit_test(more_requests_than_entries),
        cmocka_unit_test(a_buffer_comes_back_once),
        cmocka_unit_test(few_buffers_are_shown_at_a_time),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* The scripted kernel itself: an echo server runs over it with many seeds, and misuse is seen. */
#include "ring/ring_sim.c"
#include "ring/ring_sim_net.c"

#include "unit.h"

#include <signal.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

/* --- a small server that does everything right ------------------------------------------------ */

#define SLOTS 8

/* Echoes what it receives; closes after the end of the stream. One send at a time. */
struct echo {
    int fd; /* -1: free slot */
    uint32_t gen;
    bool receiving, sending, starved, ending, closing;
    struct buf out;
    unsigned inflight;
};

struct server {
    struct ring *ring;
    int listener;
    bool accepting;
    struct echo slots[SLOTS];
    unsigned served;
};

static struct op_id echo_id(const struct server *s, const struct echo *c, enum op op)
{
    return (struct op_id){op, OP_OWNER_CONN, (uint32_t)(c - s->slots), c->gen};
}

static void server_accept(struct server *s)
{
    ring_accept(s->ring, s->listener, (struct op_id){OP_ACCEPT, OP_OWNER_LISTENER, 0, 0});
    s->accepting = true;
}

static void echo_go_on(struct server *s, struct echo *c)
{
    if (c->closing) {
        if (c->inflight == 0 && c->fd >= 0) {
            ring_close_fd(s->ring, c->fd, (struct op_id){OP_NONE});
            buf_free(&c->out);
            *c = (struct echo){.fd = -1, .gen = c->gen + 1};
            s->served++;
        }
        return;
    }
    if (!c->sending && c->out.len) {
        ring_send(s->ring, c->fd, c->out.ptr, c->out.len, false, echo_id(s, c, OP_SEND));
        c->sending = true;
        c->inflight++;
    }
    if (c->ending && !c->sending) {
        c->closing = true;
        ring_cancel_fd(s->ring, c->fd, echo_id(s, c, OP_CANCEL));
        c->inflight++;
        return;
    }
    /* The memory of a send in flight must not move, so nothing is received meanwhile. */
    bool room = ring_buffers_free(s->ring, RING_SMALL) > 0 || !c->starved;
    if (!c->receiving && !c->ending && !c->sending && room) {
        ring_recv(s->ring, c->fd, RING_SMALL, false, echo_id(s, c, OP_RECV));
        c->receiving = true;
        c->starved = false;
        c->inflight++;
    }
}

static void server_event(struct server *s, const struct ring_event *e)
{
    if (e->id.op == OP_NONE)
        return;
    if (e->id.op == OP_ACCEPT) {
        s->accepting = e->more;
        struct echo *c = s->slots;
        while (e->res >= 0 && c->fd >= 0)
            c++;
        if (e->res >= 0)
            c->fd = e->res;
        return;
    }
    struct echo *c = &s->slots[e->id.slot];
    assert_int_equal(c->gen, e->id.gen);
    c->inflight -= !e->more;
    if (e->id.op == OP_SEND) {
        c->sending = false;
        if (e->res > 0)
            buf_consume(&c->out, (size_t)e->res);
        c->ending |= e->res < 0;
        c->out.len = e->res < 0 ? 0 : c->out.len;
    } else if (e->id.op == OP_RECV) {
        c->receiving = e->more;
        if (e->has_buffer) {
            buf_put(&c->out, ring_buffer(s->ring, e->group, e->buffer), (size_t)e->res);
            ring_give_back(s->ring, e->group, e->buffer);
        }
        c->starved = e->res == -ENOBUFS;
        c->ending |= e->res <= 0 && !c->starved && !c->closing;
    }
}

static void server_step(struct server *s)
{
    struct ring_event events[4];
    struct result r = ring_submit_wait(s->ring, true, UINT64_MAX);
    assert_true(result_is_ok(r) || r.code == ERR_TIMEOUT);
    unsigned n = ring_drain(s->ring, events, 4);
    for (unsigned i = 0; i < n; i++)
        server_event(s, &events[i]);
    for (unsigned i = 0; i < SLOTS; i++)
        if (s->slots[i].fd >= 0)
            echo_go_on(s, &s->slots[i]);
    if (!s->accepting)
        server_accept(s);
}

static void run_until_quiet(struct ring_sim *sim, struct server *s)
{
    for (int steps = 0; steps < 100000; steps++) {
        server_step(s);
        if (ring_sim_is_idle(sim))
            return;
    }
    fail_msg("never quiet");
}

/* Three clients, each in a mood of its own, twice. Returns a number that tells runs apart. */
static uint64_t echo_run(uint64_t seed)
{
    struct ring_sim *sim = ring_sim_create(seed);
    ring_sim_set_current(sim);
    struct ring_config config = {.sq_entries = 8, .cq_entries = 16, .buffers = {2, 1}};
    struct server s = {.listener = ring_sim_listener(sim)};
    for (int i = 0; i < SLOTS; i++)
        s.slots[i].fd = -1;
    assert_true(result_is_ok(ring_open(&config, &s.ring, NULL)));
    server_accept(&s);
    static char text[30000];
    for (size_t i = 0; i < sizeof text; i++)
        text[i] = (char)('a' + i % 26 + i / 1000 % 3);
    for (int round = 0; round < 2; round++) {
        int slow = ring_sim_client(sim, s.listener), gone = ring_sim_client(sim, s.listener);
        int good = ring_sim_client(sim, s.listener);
        ring_sim_set_window(sim, slow, 100);
        ring_sim_push(sim, slow, span_of(text, sizeof text));
        ring_sim_push(sim, good, span_of(text, 5000));
        ring_sim_push(sim, gone, span_of(text, 9000));
        server_step(&s);
        ring_sim_end(sim, good);
        ring_sim_reset(sim, gone);
        run_until_quiet(sim, &s);
        assert_true(span_eq(ring_sim_sent(sim, good), span_of(text, 5000)));
        assert_true(ring_sim_saw_fin(sim, good) && ring_sim_is_closed(sim, good));
        assert_true(ring_sim_is_closed(sim, gone));
        assert_false(ring_sim_is_closed(sim, slow));
        ring_sim_end(sim, slow);
        for (size_t got = 0; got < sizeof text;) {
            run_until_quiet(sim, &s);
            struct span part = ring_sim_sent(sim, slow);
            assert_true(part.len > 0 && part.len <= 100);
            assert_memory_equal(part.ptr, text + got, part.len);
            got += part.len;
            ring_sim_take(sim, slow, part.len);
        }
        run_until_quiet(sim, &s);
        assert_true(ring_sim_is_closed(sim, slow));
        assert_int_equal(ring_sim_open_fds(sim), 0);
    }
    assert_int_equal(s.served, 6);
    ring_cancel_fd(s.ring, s.listener, (struct op_id){OP_NONE});
    for (bool more = true; more;) {
        struct ring_event e;
        (void)ring_submit_wait(s.ring, true, UINT64_MAX);
        while (ring_drain(s.ring, &e, 1))
            more &= e.id.op != OP_ACCEPT;
    }
    uint64_t end = ring_sim_now_ns(sim);
    ring_close(s.ring);
    ring_sim_destroy(sim);
    return end;
}

static void an_echo_server_survives_every_seed(void **state)
{
    uint64_t calm = echo_run(0);
    bool differs = false;
    for (uint64_t seed = 1; seed < 50; seed++)
        differs |= echo_run(seed) != calm;
    assert_true(differs); /* chance has an influence */
    assert_int_equal(echo_run(42), echo_run(42));
}

/* --- a ring and one connection, for the smaller tests ------------------------------------------
 */

struct bench {
    struct ring_sim *sim;
    struct ring *ring;
    int fd, peer;
};

static struct op_id id_of(enum op op)
{
    return (struct op_id){op, OP_OWNER_CONN, 1, 1};
}

static struct bench bench_open(uint64_t seed)
{
    struct bench b = {.sim = ring_sim_create(seed)};
    ring_sim_set_current(b.sim);
    struct ring_config config = {.sq_entries = 8, .cq_entries = 64, .buffers = {2, 1}};
    assert_true(result_is_ok(ring_open(&config, &b.ring, NULL)));
    b.fd = ring_socket(b.ring, AF_INET);
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(80)};
    ring_connect(b.ring, b.fd, (struct sockaddr *)&a, sizeof a, id_of(OP_CONNECT));
    struct ring_event e;
    while (ring_drain(b.ring, &e, 1) == 0)
        (void)ring_submit_wait(b.ring, true, UINT64_MAX);
    assert_int_equal(e.res, 0);
    uint16_t port;
    b.peer = ring_sim_accepted(b.sim, &port);
    assert_int_equal(port, 80);
    return b;
}

static struct ring_event bench_event(struct bench *b)
{
    struct ring_event e;
    while (ring_drain(b->ring, &e, 1) == 0)
        (void)ring_submit_wait(b->ring, true, UINT64_MAX);
    return e;
}

static void bench_close(struct bench *b)
{
    ring_close_fd(b->ring, b->fd, (struct op_id){OP_NONE});
    (void)ring_submit_wait(b->ring, false, 0);
    ring_close(b->ring);
    ring_sim_destroy(b->sim);
}

static void an_empty_group_says_enobufs(void **state)
{
    struct bench b = bench_open(0);
    static char text[3 * RING_SMALL_BYTES];
    ring_sim_push(b.sim, b.peer, span_of(text, sizeof text));
    ring_recv(b.ring, b.fd, RING_SMALL, true, id_of(OP_RECV));
    struct ring_event one = bench_event(&b), two = bench_event(&b), three = bench_event(&b);
    assert_true(one.has_buffer && one.more && two.has_buffer && two.more);
    assert_int_equal(three.res, -ENOBUFS);
    assert_false(three.more);
    assert_int_equal(ring_buffers_free(b.ring, RING_SMALL), 0);
    ring_give_back(b.ring, RING_SMALL, one.buffer);
    ring_give_back(b.ring, RING_SMALL, two.buffer);
    ring_recv(b.ring, b.fd, RING_LARGE, false, id_of(OP_RECV));
    struct ring_event rest = bench_event(&b);
    assert_int_equal(rest.group, RING_LARGE);
    assert_int_equal(rest.res, RING_SMALL_BYTES);
    ring_give_back(b.ring, RING_LARGE, rest.buffer);
    bench_close(&b);
}

static void cancelling_comes_in_every_order(void **state)
{
    unsigned cancel_first = 0, target_first = 0, data_won = 0, denied = 0;
    for (uint64_t seed = 1; seed < 300; seed++) {
        struct bench b = bench_open(seed);
        ring_recv(b.ring, b.fd, RING_SMALL, true, id_of(OP_RECV));
        (void)ring_submit_wait(b.ring, false, 0);
        ring_sim_push(b.sim, b.peer, SPAN_LITERAL("late"));
        ring_cancel(b.ring, id_of(OP_RECV), id_of(OP_CANCEL));
        bool recv = false, cancelled = false;
        while (!recv || !cancelled) {
            struct ring_event e = bench_event(&b);
            if (e.id.op == OP_CANCEL) {
                cancelled = true;
                cancel_first += !recv;
                denied += e.res == -ENOENT;
                continue;
            }
            if (e.has_buffer)
                ring_give_back(b.ring, RING_SMALL, e.buffer);
            data_won += e.res > 0;
            recv = !e.more;
            target_first += recv && !cancelled;
        }
        bench_close(&b);
    }
    assert_true(cancel_first && target_first && data_won && denied);
}

static void connecting_may_fail_or_hang(void **state)
{
    struct bench b = bench_open(3);
    ring_sim_set_connect(b.sim, 81, ECONNREFUSED);
    ring_sim_set_connect(b.sim, 82, EINPROGRESS);
    struct sockaddr_in6 a = {.sin6_family = AF_INET6, .sin6_port = htons(81)};
    int fd = ring_socket(b.ring, AF_INET6);
    ring_connect(b.ring, fd, (struct sockaddr *)&a, sizeof a, id_of(OP_CONNECT));
    assert_int_equal(bench_event(&b).res, -ECONNREFUSED);
    a.sin6_port = htons(82);
    ring_connect(b.ring, fd, (struct sockaddr *)&a, sizeof a, id_of(OP_CONNECT));
    for (int i = 0; i < 10; i++)
        assert_int_equal(ring_submit_wait(b.ring, true, UINT64_MAX).code, ERR_TIMEOUT);
    assert_true(ring_sim_is_idle(b.sim));
    ring_cancel_fd(b.ring, fd, (struct op_id){OP_NONE});
    struct ring_event e = bench_event(&b);
    e = e.id.op == OP_NONE ? bench_event(&b) : e;
    assert_int_equal(e.res, -ECANCELED);
    assert_int_equal(ring_sim_accepted(b.sim, NULL), -1);
    ring_close_fd(b.ring, fd, (struct op_id){OP_NONE});
    bench_close(&b);
}

static void pipes_move_what_there_is(void **state)
{
    struct bench b = bench_open(0);
    int fds[2];
    assert_int_equal(ring_pipe_open(b.ring, 65536, fds), 65536);
    assert_int_equal(ring_sim_open_pipes(b.sim), 1);
    assert_int_equal(ring_splice(b.ring, b.fd, fds[1], 100), -EAGAIN);
    ring_poll(b.ring, b.fd, false, id_of(OP_POLL_IN));
    assert_int_equal(ring_submit_wait(b.ring, true, UINT64_MAX).code, ERR_TIMEOUT);
    ring_sim_push(b.sim, b.peer, SPAN_LITERAL("abcdef"));
    assert_true(bench_event(&b).res > 0);
    assert_int_equal(ring_splice(b.ring, b.fd, fds[1], 4), 4);
    ring_sim_set_window(b.sim, b.peer, 3);
    assert_int_equal(ring_splice(b.ring, fds[0], b.fd, 4), 3);
    assert_int_equal(ring_splice(b.ring, fds[0], b.fd, 1), -EAGAIN);
    ring_poll(b.ring, b.fd, true, id_of(OP_POLL_OUT));
    assert_int_equal(ring_submit_wait(b.ring, true, UINT64_MAX).code, ERR_TIMEOUT);
    ring_sim_set_window(b.sim, b.peer, SIZE_MAX);
    assert_true(bench_event(&b).res > 0);
    assert_int_equal(ring_splice(b.ring, fds[0], b.fd, 1), 1);
    assert_true(span_eq(ring_sim_sent(b.sim, b.peer), SPAN_LITERAL("abcd")));
    assert_int_equal(ring_splice(b.ring, b.fd, fds[1], 100), 2);
    ring_sim_end(b.sim, b.peer);
    assert_int_equal(ring_splice(b.ring, b.fd, fds[1], 100), 0);
    ring_pipe_close(b.ring, fds);
    assert_int_equal(ring_sim_open_pipes(b.sim), 0);
    bench_close(&b);
}

static void the_rest_of_the_operations(void **state)
{
    struct bench b = bench_open(0);
    ring_wake_arm(b.ring, 5, id_of(OP_WAKE));
    uint64_t start = ring_now_ns(b.ring);
    assert_int_equal(ring_submit_wait(b.ring, true, start + 5000).code, ERR_TIMEOUT);
    assert_int_equal(ring_now_ns(b.ring), start + 5000);
    ring_sim_wake(b.sim, 5);
    assert_int_equal(bench_event(&b).res, 8);
    struct iovec parts[2] = {{(char[]){"ab"}, 2}, {(char[]){"cde"}, 3}};
    struct msghdr msg = {.msg_iov = parts, .msg_iovlen = 2};
    ring_sendmsg(b.ring, b.fd, &msg, id_of(OP_SEND));
    assert_int_equal(bench_event(&b).res, 5);
    assert_true(span_eq(ring_sim_sent(b.sim, b.peer), SPAN_LITERAL("abcde")));
    ring_shutdown(b.ring, b.fd, SHUT_WR, id_of(OP_SHUTDOWN));
    assert_int_equal(bench_event(&b).res, 0);
    assert_true(ring_sim_saw_fin(b.sim, b.peer) && !ring_sim_is_closed(b.sim, b.peer));
    ring_sim_fail_next(b.sim, OP_RECV, ETIMEDOUT);
    char into[4];
    ring_recv_into(b.ring, b.fd, into, sizeof into, id_of(OP_RECV));
    assert_int_equal(bench_event(&b).res, -ETIMEDOUT);
    ring_sim_push(b.sim, b.peer, SPAN_LITERAL("12345"));
    ring_recv_into(b.ring, b.fd, into, sizeof into, id_of(OP_RECV));
    assert_int_equal(bench_event(&b).res, 4);
    assert_memory_equal(into, "1234", 4);
    struct net_addr a;
    char text[NET_ADDR_TEXT_MAX];
    assert_true(result_is_ok(ring_address(b.ring, b.fd, true, &a)));
    assert_string_equal(net_addr_print(&a, text), "192.0.2.1:10000");
    assert_int_equal(ring_sim_unread(b.sim, b.peer), 1);
    int peer = b.peer;
    ring_close_fd(b.ring, b.fd, (struct op_id){OP_NONE});
    (void)ring_submit_wait(b.ring, false, 0);
    assert_true(ring_sim_saw_reset(b.sim, peer));
    assert_int_equal(ring_socket(b.ring, AF_INET), b.fd); /* the number is used again at once */
    bench_close(&b);
}

/* --- misuse --------------------------------------------------------------------------------------
 */

static void two_sends(struct bench *b)
{
    ring_send(b->ring, b->fd, "x", 1, false, id_of(OP_SEND));
    ring_send(b->ring, b->fd, "y", 1, false, id_of(OP_SEND));
}

static void changed_send(struct bench *b)
{
    static char text[] = "text";
    ring_sim_set_window(b->sim, b->peer, 1);
    ring_send(b->ring, b->fd, text, 4, false, id_of(OP_SEND));
    (void)ring_submit_wait(b->ring, false, 0);
    text[3] = 'T';
    ring_sim_set_window(b->sim, b->peer, 10);
    (void)ring_submit_wait(b->ring, true, UINT64_MAX);
}

static struct ring_event lent(struct bench *b)
{
    ring_sim_push(b->sim, b->peer, SPAN_LITERAL("x"));
    ring_recv(b->ring, b->fd, RING_SMALL, false, id_of(OP_RECV));
    return bench_event(b);
}

static void buffer_twice(struct bench *b)
{
    struct ring_event e = lent(b);
    ring_give_back(b->ring, RING_SMALL, e.buffer);
    ring_give_back(b->ring, RING_SMALL, e.buffer);
}

static void leaked_buffer(struct bench *b)
{
    (void)lent(b);
    bench_close(b);
}

static void leaked_request(struct bench *b)
{
    ring_wake_arm(b->ring, 1, id_of(OP_WAKE));
    bench_close(b);
}

static void close_before_join(struct bench *b)
{
    ring_recv(b->ring, b->fd, RING_SMALL, true, id_of(OP_RECV));
    ring_close_fd(b->ring, b->fd, (struct op_id){OP_NONE});
}

static void request_after_close(struct bench *b)
{
    ring_close_fd(b->ring, b->fd, (struct op_id){OP_NONE});
    (void)ring_submit_wait(b->ring, false, 0);
    ring_recv(b->ring, b->fd, RING_SMALL, true, id_of(OP_RECV));
}

static void misuse_aborts(void **state)
{
    static void (*const cases[])(struct bench *) = {
        two_sends,      changed_send,      buffer_twice,        leaked_buffer,
        leaked_request, close_before_join, request_after_close,
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        fflush(NULL);
        pid_t child = fork();
        if (child == 0) {
            signal(SIGABRT, SIG_DFL);
            (void)!freopen("/dev/null", "w", stderr);
            struct bench b = bench_open(0);
            cases[i](&b);
            _exit(0);
        }
        int status;
        assert_int_equal(waitpid(child, &status, 0), child);
        if (!WIFSIGNALED(status) || WTERMSIG(status) != SIGABRT)
            fail_msg("case %zu went unseen", i);
    }
}

UNIT_TESTS(cmocka_unit_test(an_echo_server_survives_every_seed),
           cmocka_unit_test(an_empty_group_says_enobufs),
           cmocka_unit_test(cancelling_comes_in_every_order),
           cmocka_unit_test(connecting_may_fail_or_hang),
           cmocka_unit_test(pipes_move_what_there_is), cmocka_unit_test(the_rest_of_the_operations),
           cmocka_unit_test(misuse_aborts))

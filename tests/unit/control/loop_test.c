/* SPDX-License-Identifier: Apache-2.0 */
#include "control/loop.c"

#include "unit.h"

struct probe {
    struct loop *loop;
    struct loop_fd in, other;
    struct loop_timer timer;
    int reads, other_reads, fired, worked, done;
    pthread_t worker;
};

static void read_one(struct loop_fd *w, uint32_t events)
{
    struct probe *p = LIST_ENTRY(w, struct probe, in);
    char c;
    assert_int_equal(read(w->fd, &c, 1), 1);
    p->reads++;
    if (p->other.events) /* both are ready in this turn: the other one must not be called */
        loop_watch(p->loop, &p->other, 0);
}

static void read_other(struct loop_fd *w, uint32_t events)
{
    LIST_ENTRY(w, struct probe, other)->other_reads++;
}

static void stop_soon(struct loop_timer *t)
{
    struct probe *p = LIST_ENTRY(t, struct probe, timer);
    p->fired++;
    loop_stop(p->loop);
}

static void unwatched_descriptors_stay_silent(void **state)
{
    struct probe p = {0};
    struct why why;
    int a[2], b[2];
    assert_true(result_is_ok(loop_create(&p.loop, &why)));
    assert_int_equal(pipe(a), 0);
    assert_int_equal(pipe(b), 0);
    assert_int_equal(write(a[1], "x", 1), 1);
    assert_int_equal(write(b[1], "x", 1), 1);
    p.in = (struct loop_fd){.fd = a[0], .ready = read_one};
    p.other = (struct loop_fd){.fd = b[0], .ready = read_other};
    loop_watch(p.loop, &p.in, EPOLLIN);
    loop_watch(p.loop, &p.other, EPOLLIN);
    loop_timer_init(&p.timer, stop_soon);
    loop_timer_set(p.loop, &p.timer, clock_now_ns() + 20 * NS_PER_MS);
    assert_true(result_is_ok(loop_run(p.loop)));
    assert_int_equal(p.reads, 1);
    assert_int_equal(p.other_reads, 0);
    assert_int_equal(p.fired, 1);
    loop_destroy(p.loop);
    for (int i = 0; i < 2; i++) {
        close(a[i]);
        close(b[i]);
    }
}

static void work_elsewhere(void *arg)
{
    struct probe *p = arg;
    p->worker = pthread_self();
    p->worked++;
}

static void work_done(void *arg)
{
    struct probe *p = arg;
    assert_false(pthread_equal(p->worker, pthread_self()));
    if (++p->done == 3)
        loop_stop(p->loop);
}

static void work_runs_in_the_helper_and_returns(void **state)
{
    struct probe p = {0};
    struct why why;
    assert_true(result_is_ok(loop_create(&p.loop, &why)));
    for (int i = 0; i < 3; i++)
        loop_work(p.loop, work_elsewhere, work_done, &p);
    assert_true(result_is_ok(loop_run(p.loop)));
    assert_int_equal(p.worked, 3);
    assert_int_equal(p.done, 3);
    loop_destroy(p.loop);
}

UNIT_TESTS(cmocka_unit_test(unwatched_descriptors_stay_silent),
           cmocka_unit_test(work_runs_in_the_helper_and_returns))

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

/* As a library does it that tries one address after the other. */
static void another_descriptor_of_the_same_number_is_watched(void **state)
{
    struct probe p = {0};
    struct why why;
    int a[2], b[2];
    assert_true(result_is_ok(loop_create(&p.loop, &why)));
    assert_int_equal(pipe(a), 0);
    assert_int_equal(pipe(b), 0);
    p.in = (struct loop_fd){.fd = a[0], .ready = read_one};
    loop_watch(p.loop, &p.in, EPOLLIN | EPOLLOUT);
    assert_int_equal(close(a[0]), 0);
    assert_int_equal(dup2(b[0], a[0]), a[0]);
    loop_watch(p.loop, &p.in, EPOLLIN);
    assert_int_equal(write(b[1], "x", 1), 1);
    loop_timer_init(&p.timer, stop_soon);
    loop_timer_set(p.loop, &p.timer, clock_now_ns() + 20 * NS_PER_MS);
    assert_true(result_is_ok(loop_run(p.loop)));
    assert_int_equal(p.reads, 1);
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

/* ---- jobs for the disk ---------------------------------------------------------------------- */

struct disk_job {
    struct loop_job job;
    struct loop *loop;
    pthread_t by;
    int worked, done;
    bool ends; /* the loop */
};

static void disk_work(struct loop_job *job)
{
    struct disk_job *d = LIST_ENTRY(job, struct disk_job, job);
    d->by = pthread_self();
    d->worked++;
}

static void disk_done(struct loop_job *job)
{
    struct disk_job *d = LIST_ENTRY(job, struct disk_job, job);
    d->done++;
    assert_true(loop_job_is_idle(job));
    if (d->ends)
        loop_stop(d->loop);
}

static struct disk_job make_job(struct loop *loop)
{
    struct disk_job d = {.loop = loop, .ends = true};
    loop_job_init(&d.job, disk_work, disk_done);
    return d;
}

static void jobs_run_elsewhere_and_again(void **state)
{
    struct loop *loop;
    struct why why;
    assert_true(result_is_ok(loop_create(&loop, &why)));
    struct disk_job d = make_job(loop);
    for (int i = 1; i <= 3; i++) {
        assert_true(loop_job_is_idle(&d.job));
        loop_job_start(loop, &d.job);
        assert_false(loop_job_is_idle(&d.job));
        assert_true(result_is_ok(loop_run(loop)));
        assert_int_equal(d.worked, i);
        assert_int_equal(d.done, i);
        assert_false(pthread_equal(d.by, pthread_self()));
    }
    loop_destroy(loop);
}

/* Whoever settles finds the work done; `done` still comes from the loop, once. */
static void a_job_is_settled(void **state)
{
    struct loop *loop;
    struct why why;
    assert_true(result_is_ok(loop_create(&loop, &why)));
    struct disk_job d[20];
    for (int i = 0; i < 20; i++) {
        d[i] = make_job(loop);
        loop_job_start(loop, &d[i].job);
    }
    for (int i = 19; i >= 0; i--) {
        loop_job_settle(loop, &d[i].job);
        loop_job_settle(loop, &d[i].job);
        assert_int_equal(d[i].worked, 1);
        assert_int_equal(d[i].done, 0);
        d[i].ends = false;
    }
    struct disk_job last = make_job(loop);
    loop_job_settle(loop, &last.job); /* idle: nothing happens */
    assert_int_equal(last.worked, 0);
    loop_job_start(loop, &last.job);
    assert_true(result_is_ok(loop_run(loop)));
    while (d[0].done + d[19].done < 2) { /* those that came behind the last in its turn */
        loop_job_start(loop, &last.job);
        assert_true(result_is_ok(loop_run(loop)));
    }
    for (int i = 0; i < 20; i++)
        assert_int_equal(d[i].done, 1);
    loop_destroy(loop);
}

/* At the end: what has not begun is done, and nothing is told any more. */
static void jobs_are_dropped_at_the_end(void **state)
{
    struct loop *loop;
    struct why why;
    assert_true(result_is_ok(loop_create(&loop, &why)));
    struct disk_job d[20];
    for (int i = 0; i < 20; i++) {
        d[i] = make_job(loop);
        loop_job_start(loop, &d[i].job);
    }
    loop_quiet(loop);
    for (int i = 0; i < 20; i++) {
        loop_job_drop(loop, &d[i].job);
        assert_int_equal(d[i].worked, 1);
        assert_int_equal(d[i].done, 0);
        assert_true(loop_job_is_idle(&d[i].job));
    }
    loop_destroy(loop);
}

static void turns_are_counted(void **state)
{
    struct probe p = {0};
    struct why why;
    assert_true(result_is_ok(loop_create(&p.loop, &why)));
    loop_timer_init(&p.timer, stop_soon);
    loop_timer_set(p.loop, &p.timer, clock_now_ns());
    assert_true(result_is_ok(loop_run(p.loop)));
    assert_true(turns_count(&loop_turns(p.loop)->wall) >= 1);
    assert_int_equal(turns_count(&loop_turns(p.loop)->wall), turns_count(&loop_turns(p.loop)->own));
    loop_destroy(p.loop);
}

UNIT_TESTS(cmocka_unit_test(jobs_run_elsewhere_and_again), cmocka_unit_test(a_job_is_settled),
           cmocka_unit_test(jobs_are_dropped_at_the_end), cmocka_unit_test(turns_are_counted),
           cmocka_unit_test(unwatched_descriptors_stay_silent),
           cmocka_unit_test(another_descriptor_of_the_same_number_is_watched),
           cmocka_unit_test(work_runs_in_the_helper_and_returns))

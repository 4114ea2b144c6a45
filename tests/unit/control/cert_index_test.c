/* SPDX-License-Identifier: Apache-2.0 */
#include "control/cert_index.c"

#include "unit.h"

#include <sys/stat.h>

#define ROUND_S 20

static char folder[64];
static char *directory;
static struct loop *loop;
static struct loop_timer deadline;
static struct cert_index *x;
static int encoded;

static void encode(void *arg, struct buf *out)
{
    char maker[32];
    snprintf(maker, sizeof maker, "index %d", ++encoded);
    pair_index_begin(out, maker);
}

static void stop(struct loop_timer *t)
{
    loop_stop(loop);
}

/* The directory is not there yet. */
static int set_up(void **state)
{
    struct why why;
    snprintf(folder, sizeof folder, "/tmp/ferrule-certindex-XXXXXX");
    assert_non_null(mkdtemp(folder));
    directory = mem_printf("%s/state", folder);
    assert_true(result_is_ok(loop_create(&loop, &why)));
    loop_timer_init(&deadline, stop);
    x = cert_index_create(&(struct cert_index_options){
        .loop = loop, .directory = directory, .bytes_max = 1000, .encode = encode});
    encoded = 0;
    return 0;
}

static int tear_down(void **state)
{
    char *path = mem_printf("%s/" CONFIG_INDEX_FILE, directory);
    cert_index_destroy(x);
    loop_timer_cancel(loop, &deadline);
    loop_destroy(loop);
    unlink(path);
    rmdir(directory);
    rmdir(folder);
    free(path);
    free(directory);
    return 0;
}

/* Until what is being written is. */
static void wait_idle(void)
{
    uint64_t until_ns = clock_now_ns() + ROUND_S * NS_PER_S;
    while (!loop_job_is_idle(&x->job)) {
        assert_true(clock_now_ns() < until_ns);
        loop_timer_set(loop, &deadline, clock_now_ns() + 5 * NS_PER_MS);
        assert_true(result_is_ok(loop_run(loop)));
    }
}

static bool holds(const char *text)
{
    struct buf held = {0};
    struct pair_index *index = NULL;
    struct why why;
    int fd = open(x->path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return false;
    ssize_t n = read(fd, buf_reserve(&held, 1000), 1000);
    assert_true(n > 0);
    held.len = (size_t)n;
    close(fd);
    bool same = result_is_ok(pair_index_open(&held, text, &index, &why));
    pair_index_close(index);
    return same;
}

static void what_failed_is_written_later(void **state)
{
    uint64_t now_ns = clock_now_ns();
    cert_index_write(x);
    wait_idle();
    assert_true(x->failed);
    assert_true(timer_is_set(&x->timer.timer));
    assert_true(x->timer.timer.at_ns >= now_ns + CERT_INDEX_AGAIN_MS * NS_PER_MS);
    assert_int_equal(mkdir(directory, 0700), 0);
    x->timer.fire(&x->timer);
    wait_idle();
    assert_false(x->failed);
    assert_false(timer_is_set(&x->timer.timer));
    assert_true(holds("index 2"));
}

static void change_does_not_wait_for_that(void **state)
{
    cert_index_write(x);
    wait_idle();
    assert_true(x->failed);
    cert_index_changed(x);
    assert_true(x->timer.timer.at_ns <= clock_now_ns() + CERT_INDEX_WAIT_MS * NS_PER_MS);
    assert_int_equal(mkdir(directory, 0700), 0);
    x->timer.fire(&x->timer);
    wait_idle();
    assert_true(holds("index 2"));
    cert_index_changed(x); /* and the end writes what waits */
}

/* Nobody would open it. */
static void what_is_too_large_is_not_written(void **state)
{
    x->options.bytes_max = 10;
    assert_int_equal(mkdir(directory, 0700), 0);
    cert_index_write(x);
    wait_idle();
    assert_true(x->failed);
    assert_false(timer_is_set(&x->timer.timer));
    assert_int_equal(access(x->path, F_OK), -1);
    x->options.bytes_max = 1000;
    cert_index_changed(x);
    x->timer.fire(&x->timer);
    wait_idle();
    assert_true(holds("index 2"));
}

static void large_ones_are_written_less_often(void **state)
{
    uint64_t now_ns = clock_now_ns();
    x->last_bytes = 40000u * CERT_INDEX_BYTES_PER_MS;
    assert_int_equal(mkdir(directory, 0700), 0);
    cert_index_changed(x);
    assert_true(x->timer.timer.at_ns >= now_ns + (CERT_INDEX_WAIT_MS + 40000) * NS_PER_MS);
    x->timer.fire(&x->timer);
    wait_idle();
    assert_true(x->last_bytes > 0 && x->last_bytes < 1000);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
UNIT_TESTS(TEST(what_failed_is_written_later), TEST(change_does_not_wait_for_that),
           TEST(what_is_too_large_is_not_written), TEST(large_ones_are_written_less_often))

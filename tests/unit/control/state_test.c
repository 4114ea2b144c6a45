/* SPDX-License-Identifier: Apache-2.0 */
#include "control/store/state.c"

#include "unit.h"

#include <stdio.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static char directory[64];

static int make_directory(void **state)
{
    strncpy(directory, "/tmp/ferrule-state-XXXXXX", sizeof directory - 1);
    return mkdtemp(directory) ? 0 : -1;
}

static int remove_directory(void **state)
{
    static const char *const files[] = {"data.mdb", "lock.mdb", "lock"};
    char path[128];
    for (int i = 0; i < 3; i++) {
        snprintf(path, sizeof path, "%s/%s", directory, files[i]);
        unlink(path);
    }
    return rmdir(directory);
}

struct seen {
    struct state *state;
    int count;
    char text[256];
};

static void collect(void *arg, struct span key, struct span value)
{
    struct seen *seen = arg;
    struct why why;
    snprintf(seen->text + strlen(seen->text), sizeof seen->text - strlen(seen->text), "%.*s=%.*s ",
             SPAN_FMT(key), SPAN_FMT(value));
    seen->count++;
    assert_true(result_is_ok(state_remove(seen->state, STATE_JOURNAL, key, &why)));
}

static bool is_even(void *arg, struct span key, struct span value)
{
    (*(int *)arg)++;
    return key.ptr[key.len - 1] % 2 == 0 && value.len == 1500;
}

static void count_one(void *arg, struct span key, struct span value)
{
    assert_int_equal(key.ptr[key.len - 1] % 2, 1);
    (*(int *)arg)++;
}

/* fsync of LMDB's commits, counted. */
static int syncs;

__attribute__((visibility("default"))) int fdatasync(int fd)
{
    syncs++;
    return 0;
}

/* Thousands go with one write to the disk: each of its own would hold up control for minutes. */
static void many_are_removed_at_once(void **unused)
{
    enum { COUNT = 500 };
    static const uint8_t value[1500];
    struct state *s;
    struct why why;
    int looked = 0, left = 0;
    assert_true(result_is_ok(state_open(directory, &s, &why)));
    for (uint32_t i = 0; i < COUNT; i++) {
        uint8_t key[4] = {(uint8_t)(i * 7), (uint8_t)(i >> 16), (uint8_t)(i >> 8), (uint8_t)i};
        assert_true(result_is_ok(state_put(s, STATE_OCSP, span_of(key, sizeof key),
                                           span_of(value, sizeof value), &why)));
    }
    syncs = 0;
    assert_true(result_is_ok(state_prune(s, STATE_OCSP, is_even, &looked, &why)));
    assert_in_range(syncs, 1, 2);
    assert_int_equal(looked, COUNT);
    assert_true(result_is_ok(state_each(s, STATE_OCSP, count_one, &left, &why)));
    assert_int_equal(left, COUNT / 2);
    looked = 0;
    syncs = 0;
    assert_true(result_is_ok(state_prune(s, STATE_OCSP, is_even, &looked, &why)));
    assert_int_equal(looked, COUNT / 2);
    assert_int_equal(syncs, 0);
    state_close(s);
}

static void records_survive_a_restart(void **unused)
{
    struct state *s;
    struct why why;
    assert_true(result_is_ok(state_open(directory, &s, &why)));
    assert_true(result_is_ok(state_put(s, STATE_JOURNAL, span_str("b"), span_str("2"), &why)));
    assert_true(result_is_ok(state_put(s, STATE_JOURNAL, span_str("a"), span_str("0"), &why)));
    assert_true(result_is_ok(state_put(s, STATE_JOURNAL, span_str("a"), span_str("1"), &why)));
    assert_true(result_is_ok(state_put(s, STATE_LEDGER, span_str("a"), span_str("x"), &why)));
    assert_true(result_is_ok(state_remove(s, STATE_JOURNAL, span_str("none"), &why)));
    state_close(s);

    struct seen seen = {0};
    assert_true(result_is_ok(state_open(directory, &s, &why)));
    seen.state = s;
    assert_true(result_is_ok(state_each(s, STATE_JOURNAL, collect, &seen, &why)));
    assert_string_equal(seen.text, "a=1 b=2 ");
    struct buf b = {0};
    assert_int_equal(state_get(s, STATE_JOURNAL, span_str("a"), &b).code, ERR_NOT_FOUND);
    assert_true(result_is_ok(state_get(s, STATE_LEDGER, span_str("a"), &b)));
    assert_string_equal(buf_cstr(&b), "x");
    buf_free(&b);
    state_close(s);
}

static void second_process_is_refused_by_name(void **unused)
{
    int fd;
    struct why why = {""};
    assert_true(result_is_ok(state_lock(directory, &fd, &why)));
    pid_t parent = getpid(), child = fork();
    if (child == 0) {
        int other;
        char want[32];
        snprintf(want, sizeof want, "(process %d)", (int)parent);
        struct result r = state_lock(directory, &other, &why);
        _exit(r.code == ERR_BUSY && strstr(why.text, want) ? 0 : 1);
    }
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    close(fd);
    assert_true(result_is_ok(state_lock(directory, &fd, &why)));
    close(fd);
}

static void open_modes_are_repaired(void **unused)
{
    struct state *s;
    struct why why;
    struct stat st;
    assert_int_equal(chmod(directory, 0755), 0);
    assert_true(result_is_ok(state_open(directory, &s, &why)));
    state_close(s);
    assert_int_equal(stat(directory, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0700);
    assert_int_equal(state_open("/dev/null", &s, &why).code, ERR_PERMISSION);
    assert_non_null(strstr(why.text, "/dev/null"));
}

/* ---- batches -------------------------------------------------------------------------------- */

struct told {
    struct state_wait wait;
    struct loop *loop;
    int count;
    char failure[256];
    bool ends; /* the loop */
};

static void note(struct state_wait *wait, const struct why *failure)
{
    struct told *t = LIST_ENTRY(wait, struct told, wait);
    t->count++;
    snprintf(t->failure, sizeof t->failure, "%.200s", failure ? failure->text : "");
    if (t->ends)
        loop_stop(t->loop);
}

static void assert_value(struct state *s, const char *key, const char *value)
{
    struct buf b = {0};
    struct result r = state_get(s, STATE_JOURNAL, span_str(key), &b);
    assert_int_equal(result_is_ok(r), value != NULL);
    if (value)
        assert_string_equal(buf_cstr(&b), value);
    buf_free(&b);
}

static void put_text(struct state *s, const char *key, const char *value)
{
    state_put_soon(s, STATE_JOURNAL, span_str(key), span_str(value));
}

static void list_all(void *arg, struct span key, struct span value)
{
    struct seen *seen = arg;
    snprintf(seen->text + strlen(seen->text), sizeof seen->text - strlen(seen->text), "%.*s=%.*s ",
             SPAN_FMT(key), SPAN_FMT(value));
}

static void assert_records(struct state *s, const char *text)
{
    struct seen seen = {0};
    struct why why;
    assert_true(result_is_ok(state_each(s, STATE_JOURNAL, list_all, &seen, &why)));
    assert_string_equal(seen.text, text);
}

static void open_both(struct loop **loop, struct state **s)
{
    struct why why;
    assert_true(result_is_ok(loop_create(loop, &why)));
    assert_true(result_is_ok(state_open(directory, s, &why)));
    state_use_loop(*s, *loop);
}

static void reopen(struct loop *loop, struct state **s)
{
    struct why why;
    loop_quiet(loop);
    state_close(*s);
    loop_destroy(loop);
    assert_true(result_is_ok(state_open(directory, s, &why)));
}

/* What is on its way is read as if it were there, and is there when it was waited for. */
static void batches_are_read_and_come_to_the_disk(void **unused)
{
    struct loop *loop;
    struct state *s;
    struct why why;
    open_both(&loop, &s);
    struct told first = {.loop = loop}, second = {.loop = loop, .ends = true};
    assert_true(result_is_ok(state_put(s, STATE_JOURNAL, span_str("a"), span_str("0"), &why)));
    assert_true(result_is_ok(state_put(s, STATE_JOURNAL, span_str("z"), span_str("0"), &why)));
    put_text(s, "a", "1");
    put_text(s, "b", "1");
    put_text(s, "b", "2");
    state_remove_soon(s, STATE_JOURNAL, span_str("z"));
    assert_value(s, "a", "1");
    assert_value(s, "b", "2");
    assert_value(s, "z", NULL);
    assert_records(s, "a=1 b=2 ");
    state_wait(s, &first.wait, note);
    state_wait(s, &second.wait, note);
    assert_true(result_is_ok(loop_run(loop)));
    assert_int_equal(first.count + second.count, 2);
    assert_string_equal(first.failure, "");
    reopen(loop, &s);
    assert_records(s, "a=1 b=2 ");
    state_close(s);
}

/* Reading, and writing at once, while the helper thread writes: nothing is lost, nothing is old. */
static void others_read_and_write_meanwhile(void **unused)
{
    struct loop *loop;
    struct state *s;
    struct why why;
    char key[16], value[16];
    open_both(&loop, &s);
    for (int i = 0; i < 200; i++) {
        struct told told = {.loop = loop, .ends = true};
        snprintf(key, sizeof key, "k%d", i % 7);
        snprintf(value, sizeof value, "%d", i);
        put_text(s, key, value);
        state_wait(s, &told.wait, note);
        start_batch(&s->start); /* as the loop would: it is being written from here on */
        assert_value(s, key, value);
        if (i % 3 == 0) {
            assert_true(result_is_ok(
                state_put(s, STATE_JOURNAL, span_str("at once"), span_str(value), &why)));
            assert_value(s, "at once", value);
        }
        if (i % 5 == 0) {
            snprintf(value, sizeof value, "%d'", i);
            put_text(s, key, value);
        }
        assert_value(s, key, value);
        assert_true(result_is_ok(loop_run(loop)));
        assert_int_equal(told.count, 1);
        assert_value(s, key, value);
    }
    reopen(loop, &s);
    assert_value(s, "k3", "199");
    assert_value(s, "k6", "195'");
    assert_value(s, "at once", "198");
    state_close(s);
}

/* What nobody has waited for is written at the end. */
static void the_rest_is_written_at_the_end(void **unused)
{
    struct loop *loop;
    struct state *s;
    open_both(&loop, &s);
    struct told told = {.loop = loop}, cancelled = {.loop = loop};
    put_text(s, "a", "1");
    state_wait(s, &told.wait, note);
    state_wait(s, &cancelled.wait, note);
    start_batch(&s->start);
    state_wait_cancel(&cancelled.wait);
    put_text(s, "a", "2");
    put_text(s, "b", "1");
    state_wait_cancel(&told.wait);
    reopen(loop, &s);
    assert_records(s, "a=2 b=1 ");
    assert_int_equal(told.count + cancelled.count, 0);
    state_close(s);
}

/* A batch that cannot be written is dropped as a whole, and whoever waits is told why. */
static void a_batch_that_fails_is_told(void **unused)
{
    struct loop *loop;
    struct state *s;
    open_both(&loop, &s);
    struct told told = {.loop = loop, .ends = true};
    put_text(s, "a", "1");
    put_text(s, "b", "1");
    state_wait(s, &told.wait, note);
    start_batch(&s->start);
    loop_job_settle(loop, &s->job);
    s->rc = ENOSPC; /* as if */
    assert_true(result_is_ok(loop_run(loop)));
    assert_int_equal(told.count, 1);
    assert_non_null(strstr(told.failure, "free space on that file system"));
    put_text(s, "a", "3");
    told.count = 0;
    state_wait(s, &told.wait, note);
    assert_true(result_is_ok(loop_run(loop)));
    assert_string_equal(told.failure, "");
    assert_value(s, "a", "3");
    reopen(loop, &s);
    state_close(s);
}

#define EACH(test) cmocka_unit_test_setup_teardown(test, make_directory, remove_directory)

UNIT_TESTS(EACH(batches_are_read_and_come_to_the_disk), EACH(others_read_and_write_meanwhile),
           EACH(the_rest_is_written_at_the_end), EACH(a_batch_that_fails_is_told),
           EACH(records_survive_a_restart), EACH(second_process_is_refused_by_name),
           EACH(many_are_removed_at_once), EACH(open_modes_are_repaired))

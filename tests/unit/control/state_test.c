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

UNIT_TESTS(
    cmocka_unit_test_setup_teardown(records_survive_a_restart, make_directory, remove_directory),
    cmocka_unit_test_setup_teardown(second_process_is_refused_by_name, make_directory,
                                    remove_directory),
    cmocka_unit_test_setup_teardown(many_are_removed_at_once, make_directory, remove_directory),
    cmocka_unit_test_setup_teardown(open_modes_are_repaired, make_directory, remove_directory))

/* SPDX-License-Identifier: Apache-2.0 */
#include "control/watch.c"

#include "unit.h"

#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>

#define QUIET_MS 30
#define ROUND_S  20 /* a machine may stall; a test that waits so long has failed */

/* Each test works in a folder of its own, which is the current one. */
struct world {
    struct loop *loop;
    struct watch *watch;
    struct loop_timer deadline, done;
    char dir[PATH_MAX];
    char told[1024]; /* "a b " */
    uint32_t calls;
    bool late;
};

static void hear_change(void *arg, const char *const *paths, uint32_t count)
{
    struct world *world = arg;
    world->calls++;
    for (uint32_t i = 0; i < count; i++) {
        size_t len = strlen(world->told);
        snprintf(world->told + len, sizeof world->told - len, "%s ", paths[i]);
    }
    loop_stop(world->loop);
}

static void too_late(struct loop_timer *t)
{
    struct world *world = LIST_ENTRY(t, struct world, deadline);
    world->late = true;
    loop_stop(world->loop);
}

static void was_quiet(struct loop_timer *t)
{
    loop_stop(LIST_ENTRY(t, struct world, done)->loop);
}

static int set_up(void **state)
{
    struct world *world = mem_zalloc(sizeof *world);
    char template[] = "/tmp/ferrule-watch-XXXXXX";
    struct why why;
    assert_non_null(mkdtemp(template));
    assert_int_equal(chdir(template), 0);
    assert_non_null(getcwd(world->dir, sizeof world->dir));
    assert_true(result_is_ok(loop_create(&world->loop, &why)));
    struct watch_options options = {
        .loop = world->loop, .quiet_ms = QUIET_MS, .changed = hear_change, .arg = world};
    assert_true(result_is_ok(watch_create(&options, &world->watch, &why)));
    loop_timer_init(&world->deadline, too_late);
    loop_timer_init(&world->done, was_quiet);
    *state = world;
    return 0;
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *at)
{
    return remove(path);
}

static int tear_down(void **state)
{
    struct world *world = *state;
    watch_destroy(world->watch);
    loop_destroy(world->loop);
    assert_int_equal(chdir("/"), 0);
    nftw(world->dir, remove_one, 16, FTW_DEPTH | FTW_PHYS);
    free(world);
    return 0;
}

static void put(const char *path, const char *text)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), strlen(text));
    close(fd);
    unit_let_file_age(1);
}

/* Runs until something is told, and gives what. */
static const char *wait_told(struct world *world)
{
    world->told[0] = '\0';
    loop_timer_set(world->loop, &world->deadline, clock_now_ns() + ROUND_S * NS_PER_S);
    assert_true(result_is_ok(loop_run(world->loop)));
    loop_timer_cancel(world->loop, &world->deadline);
    assert_false(world->late);
    return world->told;
}

/* Runs three times as long as a change takes to be told. */
static void expect_silence(struct world *world)
{
    uint32_t calls = world->calls;
    loop_timer_set(world->loop, &world->done, clock_now_ns() + 3 * QUIET_MS * NS_PER_MS);
    assert_true(result_is_ok(loop_run(world->loop)));
    assert_int_equal(world->calls, calls);
}

static void watch_these(struct world *world, const char *first, const char *second)
{
    const char *paths[] = {first, second};
    watch_files(world->watch, paths, second ? 2 : 1, 0);
}

static void files_written_one_after_the_other_come_together(void **state)
{
    struct world *world = *state;
    put("cert", "1");
    put("key", "1");
    watch_these(world, "cert", "key");
    put("other", "1");
    expect_silence(world);
    put("cert", "2");
    put("key", "2");
    assert_string_equal(wait_told(world), "cert key ");
    put("key", "3");
    assert_string_equal(wait_told(world), "key ");
    expect_silence(world);
}

static void a_file_renamed_over_is_a_change(void **state)
{
    struct world *world = *state;
    put("cert", "1");
    watch_these(world, "cert", NULL);
    put("cert.new", "2");
    assert_int_equal(rename("cert.new", "cert"), 0);
    assert_string_equal(wait_told(world), "cert ");
    assert_int_equal(unlink("cert"), 0);
    assert_string_equal(wait_told(world), "cert ");
    put("cert", "3");
    assert_string_equal(wait_told(world), "cert ");
}

static void links_are_followed_on_all_their_ways(void **state)
{
    struct world *world = *state;
    assert_int_equal(mkdir("mount", 0700), 0);
    assert_int_equal(mkdir("mount/..1", 0700), 0);
    assert_int_equal(mkdir("mount/..2", 0700), 0);
    put("mount/..1/tls.crt", "1");
    put("mount/..2/tls.crt", "2");
    assert_int_equal(symlink("..1", "mount/..data"), 0);
    assert_int_equal(symlink("..data/tls.crt", "mount/tls.crt"), 0);
    char *path = mem_printf("%s/mount/tls.crt", world->dir);
    char *told = mem_printf("%s ", path);
    watch_these(world, path, NULL);
    put("mount/..2/other", "2");
    expect_silence(world);
    assert_int_equal(symlink("..2", "mount/..new"), 0);
    assert_int_equal(rename("mount/..new", "mount/..data"), 0);
    assert_string_equal(wait_told(world), told);
    put("mount/..1/tls.crt", "nobody's any more");
    expect_silence(world);
    put("mount/..2/tls.crt", "3");
    assert_string_equal(wait_told(world), told);
    free(path);
    free(told);
}

static void a_folder_may_be_missing_and_may_be_replaced(void **state)
{
    struct world *world = *state;
    watch_these(world, "live/site/cert", NULL);
    assert_int_equal(mkdir("live", 0700), 0);
    assert_int_equal(mkdir("live/site", 0700), 0);
    put("live/site/cert", "1");
    assert_string_equal(wait_told(world), "live/site/cert ");
    assert_int_equal(mkdir("next", 0700), 0);
    assert_int_equal(mkdir("next/site", 0700), 0);
    put("next/site/cert", "2");
    assert_int_equal(rename("live", "old"), 0);
    assert_int_equal(rename("next", "live"), 0);
    assert_string_equal(wait_told(world), "live/site/cert ");
    put("old/site/cert", "nobody's any more");
    expect_silence(world);
}

static void a_watched_folder_tells_of_all_in_it(void **state)
{
    struct world *world = *state;
    assert_int_equal(mkdir("conf", 0700), 0);
    put("conf/a.toml", "1");
    watch_these(world, "conf", NULL);
    put("conf/.a.toml.swp", "1");
    expect_silence(world);
    put("conf/a.toml", "2");
    assert_string_equal(wait_told(world), "conf ");
    put("conf/b.toml", "1");
    assert_string_equal(wait_told(world), "conf ");
    assert_int_equal(unlink("conf/b.toml"), 0);
    assert_string_equal(wait_told(world), "conf ");
}

static void what_changed_since_it_was_read_is_told(void **state)
{
    struct world *world = *state;
    const char *paths[] = {"cert", "key", "cert"};
    int64_t before_ns = clock_file_ns();
    put("cert", "1");
    put("key", "1");
    watch_files(world->watch, paths, 3, clock_file_ns() + (int64_t)NS_PER_S);
    expect_silence(world);
    put("key", "2"); /* its event may not have been read when the set is replaced */
    watch_files(world->watch, paths, 3, clock_file_ns() + (int64_t)NS_PER_S);
    assert_string_equal(wait_told(world), "key ");
    watch_files(world->watch, paths, 0, 0);
    watch_files(world->watch, paths, 1, before_ns);
    assert_string_equal(wait_told(world), "cert ");
}

static void nothing_is_watched_in_vain(void **state)
{
    struct world *world = *state;
    put("a", "1");
    watch_these(world, "a", "missing/b");
    assert_true(world->watch->wd_count > 0);
    watch_files(world->watch, NULL, 0, 0);
    assert_int_equal(world->watch->wd_count, 0);
    put("a", "2");
    expect_silence(world);
}

static void a_link_to_itself_ends(void **state)
{
    struct world *world = *state;
    assert_int_equal(symlink("loop", "loop"), 0);
    watch_these(world, "loop", NULL);
    put("new", "1");
    assert_int_equal(rename("new", "loop"), 0);
    assert_string_equal(wait_told(world), "loop ");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
UNIT_TESTS(TEST(files_written_one_after_the_other_come_together),
           TEST(a_file_renamed_over_is_a_change), TEST(links_are_followed_on_all_their_ways),
           TEST(a_folder_may_be_missing_and_may_be_replaced),
           TEST(a_watched_folder_tells_of_all_in_it), TEST(what_changed_since_it_was_read_is_told),
           TEST(nothing_is_watched_in_vain), TEST(a_link_to_itself_ends))

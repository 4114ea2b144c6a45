/* SPDX-License-Identifier: Apache-2.0 */
#include "config/fixed.c"

#include "config_file.h"
#include "unit.h"

static struct buf said;

/* Loads `text` for a ferrule that runs with `fixed` and, unless NULL, `running`. */
static struct config *reload(const char *text, const char *const *fixed, uint32_t fixed_count,
                             const struct config *running)
{
    char path[] = "/tmp/ferrule-config-XXXXXX";
    struct config_problems problems = {0};
    struct config *config = NULL;
    int fd = mkstemp(path);
    assert_int_equal(write(fd, text, strlen(text)), strlen(text));
    close(fd);
    (void)!config_reload(path, NULL, 0, fixed, fixed_count, running, NULL, &config, &problems).code;
    said.len = 0;
    for (uint32_t i = 0; i < problems.count; i++)
        buf_printf(&said, "%u: %s\n", problems.items[i].where.line, problems.items[i].text);
    config_problems_free(&problems);
    unlink(path);
    return config;
}

static int tear_down(void **state)
{
    buf_free(&said);
    return 0;
}

static bool has(const struct config *c, const char *text)
{
    for (uint32_t i = 0; i < c->fixed_count; i++)
        if (!strcmp(c->fixed[i], text))
            return true;
    return false;
}

/* A name of the user's in the path would need more than fixed_keep() does. */
static void test_fixed_options_have_plain_paths(void **state)
{
    uint32_t count = 0;
    for (const struct option *o = NULL; (o = next_fixed(o)); count++) {
        assert_null(strchr(o->path, '<'));
        assert_null(strchr(o->path, '['));
        assert_int_not_equal(o->type, OPTION_SECRET); /* they stand in the argv of a child */
    }
    assert_true(count >= 5);
}

static void test_collects_what_is_written(void **state)
{
    const char *flags[] = {"--workers.count=3", "--plugins.directories=/a,/b"};
    struct config *c =
        config_file_load(CONFIG_FILE_WEB "[state]\ndirectory = \"s\"\n", flags, 2, NULL);
    assert_int_equal(c->fixed_count, 3);
    assert_true(has(c, "workers.count=3"));
    assert_true(has(c, "plugins.directories=/a,/b"));
    assert_true(has(c, "state.directory=/tmp/s"));
    config_free(c);
}

static void test_nothing_to_say_when_nothing_changed(void **state)
{
    const char *text = CONFIG_FILE_WEB "[workers]\ncount = 2\n[state]\ndirectory = \"/s\"\n";
    struct config *c = config_file_load(text, NULL, 0, NULL);
    struct config *d = reload(text, c->fixed, c->fixed_count, c);
    assert_string_equal(buf_cstr(&said), "");
    assert_non_null(d);
    config_free(c);
    config_free(d);
}

static void test_changed_added_and_removed(void **state)
{
    static const char *const fixed[] = {"workers.count=2", "control.cpu=0"};
    struct config *c =
        reload(CONFIG_FILE_WEB "[workers]\ncount = 1\nconnections = 100\n", fixed, 2, NULL);
    assert_non_null(c);
    assert_int_equal(c->workers, 2);
    assert_int_equal(c->worker_connections, 65536);
    assert_int_equal(c->control_cpu, 0);
    buf_cstr(&said);
    assert_non_null(strstr((char *)said.ptr, "8: workers.count takes effect at the next start or "
                                             "upgrade: until then it stays 2\n"));
    assert_non_null(strstr((char *)said.ptr, "9: workers.connections takes effect"));
    assert_non_null(strstr((char *)said.ptr, "1: control.cpu takes effect"));
    assert_non_null(strstr((char *)said.ptr, "stays at its default\n"));
    /* What is kept is what the next reload starts from. */
    assert_int_equal(c->fixed_count, 2);
    assert_true(has(c, "workers.count=2"));
    config_free(c);
}

/* The process may be pinned meanwhile: that must not change how many workers there are. */
static void test_workers_are_those_that_run(void **state)
{
    uint32_t cpus[] = {7, 9, UINT32_MAX};
    struct config running = {
        .workers = 3, .worker_cpus = cpus, .worker_connections = 50, .control_cpu = 4};
    struct config *c = reload(CONFIG_FILE_WEB, NULL, 0, &running);
    assert_non_null(c);
    assert_int_equal(c->workers, 3);
    assert_memory_equal(c->worker_cpus, cpus, sizeof cpus);
    assert_int_equal(c->worker_connections, 50);
    assert_int_equal(c->control_cpu, 4);
    config_free(c);
}

static void test_admin_socket_of_a_bad_file(void **state)
{
    static const struct {
        const char *text, *socket;
    } cases[] = {
        {"[admin]\nsocket = \"/run/x\"\n[nonsense]\na = 1\n", "/run/x"},
        {"[admin]\nsocket = \"/run/x\"\n[nonsense\n", "/run/x"},
        {"[state]\ndirectory = \"/run/s\"\nthis is nothing\n[admin]\nsocket = \"/x\"\n",
         "/run/s/admin.sock"},
        {"bad", "/var/lib/ferrule/admin.sock"},
        {"[admin]\nsocket = 5\n", "/var/lib/ferrule/admin.sock"},
        {"", "/var/lib/ferrule/admin.sock"},
    };
    unsetenv("STATE_DIRECTORY");
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char path[] = "/tmp/ferrule-config-XXXXXX", *found = NULL;
        struct why why;
        int fd = mkstemp(path);
        assert_int_equal(write(fd, cases[i].text, strlen(cases[i].text)), strlen(cases[i].text));
        close(fd);
        assert_true(result_is_ok(config_admin_socket(path, NULL, 0, &found, &why)));
        assert_string_equal(found, cases[i].socket);
        free(found);
        unlink(path);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_fixed_options_have_plain_paths),
        cmocka_unit_test(test_collects_what_is_written),
        cmocka_unit_test(test_nothing_to_say_when_nothing_changed),
        cmocka_unit_test(test_changed_added_and_removed),
        cmocka_unit_test(test_workers_are_those_that_run),
        cmocka_unit_test(test_admin_socket_of_a_bad_file),
    };
    return cmocka_run_group_tests(tests, NULL, tear_down);
}

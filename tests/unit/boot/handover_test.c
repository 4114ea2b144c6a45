/* SPDX-License-Identifier: Apache-2.0 */
#include "boot/handover.c"

#include "unit.h"

static uint32_t cpus[] = {3, UINT32_MAX};
static const char *fixed[] = {"workers.count=2", "state.directory=/var/lib/a b"};
static struct config config = {.workers = 2,
                               .worker_cpus = cpus,
                               .worker_connections = 500,
                               .state_directory = "/var/lib/a b",
                               .fixed = fixed,
                               .fixed_count = 2};

static int socket_fd(void)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0);
    return fd;
}

/* A supervisor with one group of two sockets, both children and one old data process. */
static void sample(struct supervisor *s)
{
    *s = (struct supervisor){.config = &config,
                             .plan = {.log_level = "WARN", .grace_ms = 7, .drain_ms = 9},
                             .lock_fd = socket_fd(),
                             .report_fd = socket_fd(),
                             .exe_fd = socket_fd(),
                             .generation = 4,
                             .attempts = 6,
                             .old_count = 1};
    s->children[CHILD_DATA] = (struct child){.pid = 100, .fd = socket_fd()};
    s->children[CHILD_CONTROL] = (struct child){.pid = 101, .fd = socket_fd()};
    s->old[0] = (struct old_data){102, socket_fd(), 12345678901ull};
    struct listener_group *g = s->listeners.groups = mem_zalloc(sizeof *g);
    s->listeners.count = 1;
    *g = (struct listener_group){
        .id = 8, .entrypoint = mem_strdup("web secure"), .address = mem_strdup("127.0.0.1:443")};
    g->fds = mem_zalloc(2 * sizeof *g->fds);
    g->fds[g->count++] = socket_fd();
    g->fds[g->count++] = socket_fd();
}

static void free_listeners(struct supervisor *s)
{
    for (uint32_t i = 0; i < s->listeners.count; i++) {
        free(s->listeners.groups[i].entrypoint);
        free(s->listeners.groups[i].address);
        free(s->listeners.groups[i].fds);
    }
    free(s->listeners.groups);
}

static void close_sample(struct supervisor *s)
{
    int fds[] = {s->lock_fd,
                 s->report_fd,
                 s->exe_fd,
                 s->children[0].fd,
                 s->children[1].fd,
                 s->old[0].fd,
                 s->listeners.groups[0].fds[0],
                 s->listeners.groups[0].fds[1]};
    for (size_t i = 0; i < sizeof fds / sizeof *fds; i++)
        close(fds[i]);
    free_listeners(s);
}

static void test_there_and_back(void **state)
{
    struct supervisor a, b = {.lock_fd = -1};
    struct why why;
    int fd = -1;
    sample(&a);
    assert_true(result_is_ok(handover_write(&a, &fd, &why)));
    assert_true(result_is_ok(handover_read(fd, &b, false, &why)));
    assert_int_equal(b.lock_fd, a.lock_fd);
    assert_int_equal(b.report_fd, a.report_fd);
    assert_int_equal(b.exe_fd, a.exe_fd);
    assert_int_equal(b.generation, 4);
    assert_int_equal(b.attempts, 6);
    assert_int_equal(b.config->workers, 2);
    assert_int_equal(b.config->worker_cpus[1], UINT32_MAX);
    assert_int_equal(b.config->worker_connections, 500);
    assert_string_equal(b.config->state_directory, "/var/lib/a b");
    assert_int_equal(b.config->fixed_count, 2);
    assert_string_equal(b.config->fixed[1], "state.directory=/var/lib/a b");
    assert_string_equal(b.plan.log_level, "WARN");
    assert_int_equal(b.plan.drain_ms, 9);
    assert_int_equal(b.children[CHILD_DATA].pid, 100);
    assert_int_equal(b.children[CHILD_CONTROL].fd, a.children[CHILD_CONTROL].fd);
    assert_int_equal(b.old_count, 1);
    assert_true(b.old[0].kill_at_ns == 12345678901ull);
    assert_int_equal(b.listeners.count, 1);
    assert_int_equal(b.listeners.next_id, 8);
    assert_string_equal(b.listeners.groups[0].entrypoint, "web secure");
    assert_int_equal(b.listeners.groups[0].count, 2);
    assert_int_equal(b.listeners.groups[0].fds[1], a.listeners.groups[0].fds[1]);

    handover_keep(&b, fd, true);
    assert_int_equal(fcntl(a.old[0].fd, F_GETFD), 0);
    assert_int_equal(fcntl(a.listeners.groups[0].fds[0], F_GETFD), 0);
    handover_keep(&b, fd, false);
    assert_int_equal(fcntl(a.children[CHILD_DATA].fd, F_GETFD), FD_CLOEXEC);
    free_listeners(&b);
    config_free(b.config);
    close_sample(&a);
    close(fd);
}

static struct result read_text_of(const char *text, bool check_only)
{
    struct supervisor s = {.lock_fd = -1};
    struct why why;
    int fd = memfd_create("test", MFD_CLOEXEC);
    assert_int_equal(write(fd, text, strlen(text)), strlen(text));
    struct result r = handover_read(fd, &s, check_only, &why);
    close(fd);
    free_listeners(&s);
    config_free(s.config);
    return r;
}

static void test_what_is_refused(void **state)
{
    static const char good[] = "ferrule-handover 1\nlock 0\ncpu 1\n";
    static const char *const bad[] = {
        "ferrule-handover 1\nlock 0\n",                       /* no worker */
        "ferrule-handover 1\ncpu 1\n",                        /* no lock */
        "ferrule-handover 1\nlock 0\ncpu x\n",                /* no number */
        "ferrule-handover 1\nlock 0\ncpu 1\nunknown 1\n",     /* of a later version */
        "ferrule-handover 1\nlock 0\ncpu 1\nsocket 0\n",      /* of no group */
        "ferrule-handover 1\nlock 0\ncpu 1\ngroup 1 0 x y\n", /* no address */
        "ferrule-handover 1\nlock 999999\ncpu 1\n",           /* not open */
    };
    assert_true(result_is_ok(read_text_of(good, false)));
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_int_equal(read_text_of(bad[i], false).code, ERR_FORMAT);
    assert_true(result_is_ok(read_text_of(bad[6], true)));
    assert_int_equal(read_text_of("ferrule-handover 2\nlock 0\ncpu 1\n", false).code, ERR_VERSION);
    assert_int_equal(read_text_of("x", false).code, ERR_VERSION);
    assert_int_equal(read_text_of("", false).code, ERR_FORMAT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_there_and_back),
        cmocka_unit_test(test_what_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

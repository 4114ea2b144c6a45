/* SPDX-License-Identifier: Apache-2.0 */
#include "boot/listeners.c"

#include "unit.h"

#include <stdio.h>
#include <sys/socket.h>

static struct listener_set set;
static char addresses[3][32];
static struct plan_listener listeners[3];
static int taken = -1;

int notify_listen_fd(const char *name, uint32_t index)
{
    return -1;
}

static uint16_t port_of(int fd)
{
    struct sockaddr_in in;
    socklen_t len = sizeof in;
    assert_int_equal(getsockname(fd, (struct sockaddr *)&in, &len), 0);
    return ntohs(in.sin_port);
}

static int listening(void)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in in = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    assert_int_equal(bind(fd, (struct sockaddr *)&in, sizeof in), 0);
    assert_int_equal(listen(fd, 1), 0);
    return fd;
}

static bool accepts(const char *address)
{
    struct net_addr addr;
    assert_true(result_is_ok(net_addr_parse(span_str(address), 0, &addr)));
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    bool ok = connect(fd, &addr.sa, addr.len) == 0;
    close(fd);
    return ok;
}

/* "first" and "second" are free, "taken" is not. */
static int set_up(void **state)
{
    static const char *const names[] = {"first", "second", "taken"};
    int fds[3];
    for (size_t i = 0; i < 3; i++) {
        fds[i] = listening();
        snprintf(addresses[i], sizeof addresses[i], "127.0.0.1:%u", port_of(fds[i]));
        listeners[i] = (struct plan_listener){.entrypoint = names[i], .address = addresses[i]};
        assert_true(result_is_ok(net_addr_parse(span_str(addresses[i]), 0, &listeners[i].socket)));
    }
    close(fds[0]);
    close(fds[1]);
    taken = fds[2];
    set = (struct listener_set){0};
    return 0;
}

static int tear_down(void **state)
{
    listeners_close(&set);
    close(taken);
    return 0;
}

static struct result stage(const struct plan_listener *first, uint32_t count, uint32_t workers)
{
    struct plan plan = {.listeners = (struct plan_listener *)first, .count = count};
    struct why why;
    return listeners_stage(&set, &plan, workers, &why);
}

static uint32_t told;

static void tell(void *arg, const struct listener_group *g)
{
    assert_string_equal(g->entrypoint, arg);
    told++;
}

/* Neither sockets nor what is wanted differ afterwards, whether data was told of them or not. */
static void test_failed_stage_changes_nothing(void **state)
{
    assert_true(result_is_ok(stage(listeners, 1, 2)));
    listeners_commit(&set, NULL, NULL);
    for (uint32_t known = 0; known <= 2; known += 2) {
        set.groups[0].known = known;
        assert_false(result_is_ok(stage(listeners + 1, 2, 2)));
        assert_int_equal(set.count, 1);
        assert_int_equal(set.groups[0].count, 2);
        assert_true(set.groups[0].wanted);
        assert_false(accepts(addresses[1]));
        /* More workers: its sockets of before stay, the new ones go. */
        struct plan_listener both[] = {listeners[0], listeners[2]};
        assert_false(result_is_ok(stage(both, 2, 5)));
        assert_int_equal(set.groups[0].count, 2);
        assert_true(accepts(addresses[0]));
    }
    told = 0;
    listeners_commit(&set, tell, (void *)"none");
    assert_int_equal(told, 0);
}

/* The data process has the new sockets and does not hear that it is to close them. */
static void test_rollback_of_what_data_has(void **state)
{
    assert_true(result_is_ok(stage(listeners, 1, 2)));
    listeners_commit(&set, NULL, NULL);
    set.groups[0].known = 2;
    assert_true(result_is_ok(stage(listeners, 2, 2)));
    set.groups[1].known = 1;
    int of_data = dup(set.groups[1].fds[0]);
    assert_true(accepts(addresses[1]));
    told = 0;
    listeners_rollback(&set, tell, (void *)"second");
    assert_int_equal(told, 1);
    assert_int_equal(set.count, 1);
    assert_false(accepts(addresses[1]));
    assert_true(accepts(addresses[0]));
    assert_true(result_is_ok(stage(listeners, 2, 2)));
    assert_true(accepts(addresses[1]));
    close(of_data);
}

/* A renamed entry point: its sockets are those of the old name. */
static void test_rollback_of_shared_sockets(void **state)
{
    assert_true(result_is_ok(stage(listeners, 1, 2)));
    listeners_commit(&set, NULL, NULL);
    struct plan_listener renamed = listeners[0];
    renamed.entrypoint = "other";
    assert_true(result_is_ok(stage(&renamed, 1, 2)));
    assert_int_equal(set.count, 2);
    listeners_rollback(&set, NULL, NULL);
    assert_int_equal(set.count, 1);
    assert_string_equal(set.groups[0].entrypoint, "first");
    for (uint32_t i = 0; i < 8; i++)
        assert_true(accepts(addresses[0]));
}

/* One that was staged before, and that control may have published, stays. */
static void test_rollback_is_of_the_last_stage(void **state)
{
    assert_true(result_is_ok(stage(listeners, 1, 1)));
    set.groups[0].known = 1;
    assert_false(result_is_ok(stage(listeners, 3, 1)));
    assert_int_equal(set.count, 1);
    assert_true(set.groups[0].wanted);
    assert_true(accepts(addresses[0]));
    assert_false(accepts(addresses[1]));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_failed_stage_changes_nothing, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_rollback_of_what_data_has, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_rollback_of_shared_sockets, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_rollback_is_of_the_last_stage, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

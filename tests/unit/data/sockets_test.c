/* SPDX-License-Identifier: Apache-2.0 */
#include "data/sockets.c"

#include "unit.h"

#include <fcntl.h>

static struct sockets *s;

static int set_up(void **state)
{
    s = sockets_create(3);
    return 0;
}

static int tear_down(void **state)
{
    sockets_destroy(s);
    return 0;
}

static int some_fd(void)
{
    return open("/dev/null", O_RDONLY | O_CLOEXEC);
}

static bool is_open(int fd)
{
    return fcntl(fd, F_GETFD) >= 0;
}

/* What a worker does when it looks: takes what is offered, gives back what is recalled. */
static uint32_t look(uint32_t worker)
{
    struct listener_config *c = sockets_of(s, worker);
    uint32_t held = 0;
    for (uint32_t i = 0; i < LISTENER_CONFIGS_MAX; i++) {
        if (c[i].state == LISTENER_OFFERED)
            c[i].state = LISTENER_TAKEN;
        if (c[i].state == LISTENER_RECALLED)
            c[i].state = LISTENER_FREE;
        held += c[i].state == LISTENER_TAKEN;
    }
    return held;
}

static void test_one_worker(void **state)
{
    int fd = some_fd();
    assert_true(sockets_offer(s, fd, 1, 5, SPAN_LITERAL("web")));
    assert_int_equal(look(0), 0);
    assert_int_equal(look(1), 1);
    assert_string_equal(sockets_of(s, 1)[0].entrypoint, "web");
    sockets_recall(s, 4);
    assert_int_equal(look(1), 1);
    sockets_recall(s, 5);
    sockets_collect(s);
    assert_true(is_open(fd)); /* the worker has not given it back */
    assert_int_equal(look(1), 0);
    sockets_collect(s);
    assert_false(is_open(fd));
}

static void test_all_workers(void **state)
{
    int fd = some_fd();
    assert_true(sockets_offer(s, fd, SOCKETS_ALL_WORKERS, 1, SPAN_LITERAL("web")));
    for (uint32_t w = 0; w < 3; w++)
        assert_int_equal(look(w), 1);
    sockets_recall(s, 1);
    look(0);
    look(2);
    sockets_collect(s);
    assert_true(is_open(fd));
    look(1);
    sockets_collect(s);
    assert_false(is_open(fd));
}

static void test_recalled_before_it_was_taken(void **state)
{
    int fd = some_fd();
    assert_true(sockets_offer(s, fd, 0, 1, SPAN_LITERAL("web")));
    sockets_recall(s, 1);
    assert_false(is_open(fd));
    assert_int_equal(look(0), 0);
}

static void test_full_and_wrong(void **state)
{
    char name[LISTENER_NAME_MAX];
    memset(name, 'n', sizeof name);
    int fd = some_fd();
    assert_false(sockets_offer(s, fd, 3, 1, SPAN_LITERAL("web")));
    assert_false(is_open(fd));
    fd = some_fd();
    assert_false(sockets_offer(s, fd, 0, 1, span_of(name, sizeof name)));
    assert_false(is_open(fd));
    for (uint32_t i = 0; i < LISTENER_CONFIGS_MAX; i++)
        assert_true(sockets_offer(s, dup(0), 1, 2, SPAN_LITERAL("web")));
    fd = some_fd();
    assert_false(sockets_offer(s, fd, SOCKETS_ALL_WORKERS, 3, SPAN_LITERAL("more")));
    assert_false(is_open(fd));         /* no worker keeps a part of it */
    for (uint32_t i = 0; i < 4; i++) { /* slots come back */
        assert_int_equal(look(1), LISTENER_CONFIGS_MAX);
        sockets_recall(s, 2);
        assert_int_equal(look(1), 0);
        sockets_collect(s);
        for (uint32_t k = 0; k < LISTENER_CONFIGS_MAX; k++)
            assert_true(sockets_offer(s, dup(0), 1, 2, SPAN_LITERAL("web")));
    }
}

/* A socket that finds no room takes nothing from the others of its group. */
static void test_full_for_one_of_a_group(void **state)
{
    for (uint32_t i = 0; i < LISTENER_CONFIGS_MAX; i++)
        assert_true(sockets_offer(s, dup(0), 1, 2, SPAN_LITERAL("web")));
    assert_int_equal(look(1), LISTENER_CONFIGS_MAX);
    assert_int_equal(look(0), 0);
    int fd = some_fd();
    assert_false(sockets_offer(s, fd, SOCKETS_ALL_WORKERS, 2, SPAN_LITERAL("web")));
    assert_int_equal(look(1), LISTENER_CONFIGS_MAX);
    assert_int_equal(look(0), 0);
    assert_false(is_open(fd));
}

/* However often it was duplicated, a socket is known by one number. */
static void test_same_socket(void **state)
{
    int one = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int two = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(sockets_offer(s, one, 0, 1, SPAN_LITERAL("web")));
    assert_true(sockets_offer(s, dup(one), 0, 2, SPAN_LITERAL("front")));
    assert_true(sockets_offer(s, two, 0, 3, SPAN_LITERAL("other")));
    assert_true(sockets_offer(s, some_fd(), 0, 4, SPAN_LITERAL("none")));
    const struct listener_config *c = sockets_of(s, 0);
    assert_true(c[0].socket != 0 && c[0].socket == c[1].socket && c[0].socket != c[2].socket);
    assert_int_equal(c[3].socket, 0);
}

static void test_close(void **state)
{
    int fd = some_fd();
    assert_true(sockets_offer(s, fd, 0, 1, SPAN_LITERAL("web")));
    look(0);
    sockets_close(s);
    assert_false(is_open(fd));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_one_worker, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_all_workers, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_recalled_before_it_was_taken, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_full_and_wrong, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_full_for_one_of_a_group, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_same_socket, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_close, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

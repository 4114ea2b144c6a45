/* SPDX-License-Identifier: Apache-2.0 */
#include "data/log/access_ring.c"

#include "unit.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

static struct access_ring ring;

static int set_up(void **state)
{
    assert_true(result_is_ok(access_ring_init(&ring)));
    return 0;
}

static int tear_down(void **state)
{
    access_ring_fini(&ring);
    return 0;
}

static void test_refuses_what_does_not_fit_whole(void **state)
{
    uint8_t *big = calloc(1, ACCESS_RING_BYTES);
    struct iovec parts[2];
    assert_int_equal(access_ring_peek(&ring, parts), 0);
    assert_true(access_ring_put(&ring, span_of(big, ACCESS_RING_BYTES - 1)));
    assert_false(access_ring_put(&ring, span_of(big, 2)));
    assert_true(access_ring_put(&ring, span_of(big, 1)));
    assert_false(access_ring_put(&ring, span_of(big, 1)));
    access_ring_taken(&ring, 10);
    assert_true(access_ring_put(&ring, span_of("0123456789", 10)));
    assert_int_equal(access_ring_peek(&ring, parts), 2); /* around the end */
    assert_int_equal(parts[1].iov_len, 10);
    assert_memory_equal(parts[1].iov_base, "0123456789", 10);
    free(big);
}

#define LINES 200000

static void *put_lines(void *arg)
{
    char text[32];
    for (int i = 0; i < LINES; i++) {
        int n = snprintf(text, sizeof text, "%d\n", i);
        while (!access_ring_put(&ring, span_of(text, (size_t)n)))
            sched_yield();
    }
    return NULL;
}

/* All lines come, in order, whole. */
static void test_two_threads(void **state)
{
    pthread_t id;
    int expected = 0, number = 0;
    assert_int_equal(pthread_create(&id, NULL, put_lines, NULL), 0);
    while (expected < LINES) {
        struct iovec parts[2];
        int count = access_ring_peek(&ring, parts);
        size_t taken = 0;
        for (int i = 0; i < count; i++) {
            const char *p = parts[i].iov_base;
            for (size_t k = 0; k < parts[i].iov_len; k++, taken++) {
                if (p[k] != '\n') {
                    number = number * 10 + p[k] - '0';
                    continue;
                }
                if (number != expected)
                    fail_msg("%d instead of %d", number, expected);
                expected++;
                number = 0;
            }
        }
        access_ring_taken(&ring, taken);
    }
    pthread_join(id, NULL);
}

UNIT_TESTS(cmocka_unit_test_setup_teardown(test_refuses_what_does_not_fit_whole, set_up, tear_down),
           cmocka_unit_test_setup_teardown(test_two_threads, set_up, tear_down))

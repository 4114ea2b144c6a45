/* SPDX-License-Identifier: Apache-2.0 */
#include "control/ticket_store.c"

#include "unit.h"

#include <stdio.h>
#include <stdlib.h>

static const int64_t now = 1800000000;
static char folder[64];
static struct state *disk;
static struct why why;

static int set_up(void **state)
{
    snprintf(folder, sizeof folder, "/tmp/ticket-test-XXXXXX");
    assert_non_null(mkdtemp(folder));
    assert_true(result_is_ok(state_open(folder, &disk, &why)));
    return 0;
}

static int tear_down(void **state)
{
    char *command = mem_printf("rm -rf %s", folder);
    state_close(disk);
    assert_int_equal(system(command), 0);
    free(command);
    return 0;
}

static void test_rotates_and_keeps_four(void **state)
{
    struct ticket_store t;
    ticket_store_open(&t, disk, now);
    assert_int_equal(t.keys.count, 1);
    assert_int_equal(ticket_store_due_s(&t), now + TICKET_ROTATE_S);
    assert_false(ticket_store_rotate(&t, now + TICKET_ROTATE_S - 1));
    struct ticket_key first = t.keys.keys[0];
    for (int i = 1; i < 10; i++) {
        assert_true(ticket_store_rotate(&t, now + i * TICKET_ROTATE_S));
        assert_true(t.keys.count <= TICKET_KEY_COUNT);
        bool kept = false;
        for (uint32_t k = 0; k < t.keys.count; k++)
            kept = kept || !memcmp(t.keys.keys[k].name, first.name, sizeof first.name);
        assert_int_equal(kept, i < TICKET_KEY_COUNT);
    }
    ticket_store_close(&t);
}

static void test_survives_a_restart(void **state)
{
    struct ticket_store a, b;
    ticket_store_open(&a, disk, now);
    ticket_store_rotate(&a, now + TICKET_ROTATE_S);
    ticket_store_open(&b, disk, now + TICKET_ROTATE_S + 60);
    assert_int_equal(b.keys.count, 2);
    assert_memory_equal(&a.keys.keys, &b.keys.keys, 2 * sizeof a.keys.keys[0]);
    ticket_store_close(&b);
    /* After a long stop the old keys are of no use. */
    ticket_store_open(&b, disk, now + 100 * TICKET_ROTATE_S);
    assert_int_equal(b.keys.count, 1);
    assert_memory_not_equal(&a.keys.keys[0], &b.keys.keys[0], sizeof a.keys.keys[0]);
    ticket_store_close(&a);
    ticket_store_close(&b);
}

static void test_damage_and_clock(void **state)
{
    struct ticket_store t;
    assert_true(result_is_ok(
        state_put(disk, STATE_KEYS, SPAN_LITERAL(STATE_KEY), SPAN_LITERAL("garbage"), &why)));
    ticket_store_open(&t, disk, now);
    assert_int_equal(t.keys.count, 1);
    ticket_store_close(&t);
    ticket_store_open(&t, disk, now - 86400); /* set back: a key of its own time */
    assert_int_equal(t.keys.keys[0].born_s, now - 86400);
    ticket_store_close(&t);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
UNIT_TESTS(TEST(test_rotates_and_keeps_four), TEST(test_survives_a_restart),
           TEST(test_damage_and_clock))

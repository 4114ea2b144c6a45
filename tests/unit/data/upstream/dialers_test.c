/* SPDX-License-Identifier: Apache-2.0 */
#include "data/upstream/dialers.c"

#include "data/tls/session.h"
#include "unit.h"

static struct snap_transport transports[3];

static struct snapshot of(uint32_t count)
{
    return (struct snapshot){.transports = transports, .transport_count = count};
}

static void kept_while_the_transport_stays(void **state)
{
    struct dialers set = {0};
    for (int i = 0; i < 3; i++)
        transports[i] = (struct snap_transport){.id = (uint64_t)i + 1, .roots = SNAP_NONE};
    struct snapshot s = of(2);
    dialers_adopt(&set, &s);
    struct tls_dialer *one = dialers_get(&set, &s, 1), *two = dialers_get(&set, &s, 2);
    assert_true(one && two && one != two);
    assert_ptr_equal(dialers_get(&set, &s, 1), one);
    assert_null(dialers_get(&set, &s, 3));
    /* the order changes, one goes, one is new, one is there twice */
    transports[0].id = 3;
    transports[2].id = 3;
    s = of(3);
    dialers_adopt(&set, &s);
    assert_ptr_equal(dialers_get(&set, &s, 2), two);
    assert_null(dialers_get(&set, &s, 1));
    struct tls_dialer *three = dialers_get(&set, &s, 3);
    assert_non_null(three);
    dialers_adopt(&set, &s);
    assert_ptr_equal(dialers_get(&set, &s, 3), three);
    dialers_clear(&set);
}

static void broken_ones_are_said_once(void **state)
{
    struct dialers set = {0};
    transports[0] = (struct snap_transport){.id = 1,
                                            .roots = SNAP_NONE,
                                            .chain = SPAN_LITERAL("\0\0\3bad"),
                                            .key = SPAN_LITERAL("bad")};
    struct snapshot s = of(1);
    dialers_adopt(&set, &s);
    assert_null(dialers_get(&set, &s, 1));
    assert_true(set.entries[0].broken);
    dialers_adopt(&set, &s);
    assert_true(set.entries[0].broken);
    assert_null(dialers_get(&set, &s, 1));
    dialers_clear(&set);
}

static int setup(void **state)
{
    struct why why;
    return result_is_ok(session_library_init(&why)) ? 0 : -1;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(kept_while_the_transport_stays),
        cmocka_unit_test(broken_ones_are_said_once),
    };
    return cmocka_run_group_tests(tests, setup, NULL);
}

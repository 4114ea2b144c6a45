/* SPDX-License-Identifier: Apache-2.0 */
#include "bridge/report.c"

#include "unit.h"

static void counts_over_two_mappings(void **state)
{
    int fd;
    struct report *writer, *observer;
    assert_true(result_is_ok(report_create(3, &fd, NULL)));
    assert_true(result_is_ok(report_map(fd, &writer, NULL)));
    assert_true(result_is_ok(report_map(fd, &observer, NULL)));
    assert_int_equal(report_workers(observer), 3);
    for (uint32_t i = 0; i < 3; i++) {
        assert_int_equal((uintptr_t)report_page(writer, i) % 64, 0);
        report_add(report_page(writer, i), REPORT_REQUESTS, i + 1);
        report_add(report_page(writer, i), REPORT_CONNS_NOW, 10);
    }
    report_sub(report_page(writer, 0), REPORT_CONNS_NOW, 1);
    assert_int_equal(report_sum(observer, REPORT_REQUESTS), 6);
    assert_int_equal(report_sum(observer, REPORT_CONNS_NOW), 29);
    report_start(report_page(writer, 1));
    assert_int_equal(report_sum(observer, REPORT_CONNS_NOW), 19);
    assert_int_equal(report_sum(observer, REPORT_REQUESTS), 6);
    report_unmap(writer);
    report_unmap(observer);
    report_unmap(NULL);
    close(fd);
}

static void size_is_sealed(void **state)
{
    int fd;
    assert_true(result_is_ok(report_create(1, &fd, NULL)));
    assert_int_equal(ftruncate(fd, 0), -1);
    assert_int_equal(ftruncate(fd, 1 << 20), -1);
    close(fd);
}

static void refuses_what_is_no_report(void **state)
{
    struct report *r;
    struct why why = {""};
    int fd = memfd_create("x", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    assert_int_equal(ftruncate(fd, 1 << 20), 0);
    assert_int_equal(report_map(fd, &r, &why).code, ERR_FORMAT);
    assert_int_equal(fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW), 0);
    assert_int_equal(report_map(fd, &r, &why).code, ERR_FORMAT);
    close(fd);
    assert_int_equal(report_map(fd, &r, &why).code, ERR_SYSTEM);
    assert_true(why.text[0]);

    assert_true(result_is_ok(report_create(2, &fd, NULL)));
    struct head head = {MAGIC, REPORT_COUNT, sizeof(struct report_page),
                        sizeof(struct series_table), 3};
    assert_int_equal(pwrite(fd, &head, sizeof head, 0), sizeof head);
    assert_int_equal(report_map(fd, &r, NULL).code, ERR_FORMAT);
    head.counters++;
    assert_int_equal(pwrite(fd, &head, sizeof head, 0), sizeof head);
    assert_int_equal(report_map(fd, &r, NULL).code, ERR_VERSION);
    close(fd);
}

static void names_and_kinds(void **state)
{
    assert_string_equal(report_name(REPORT_CONNS_ACCEPTED), "conns_accepted");
    assert_string_equal(report_help(REPORT_CONNS_NOW), "client connections open");
    assert_true(report_is_gauge(REPORT_CONNS_NOW));
    assert_false(report_is_gauge(REPORT_CONNS_ACCEPTED));
    for (int c = 0; c < REPORT_COUNT; c++)
        assert_true(strlen(report_name((enum report_counter)c)) > 3);
}

UNIT_TESTS(cmocka_unit_test(counts_over_two_mappings), cmocka_unit_test(size_is_sealed),
           cmocka_unit_test(refuses_what_is_no_report), cmocka_unit_test(names_and_kinds))

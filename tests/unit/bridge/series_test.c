/* SPDX-License-Identifier: Apache-2.0 */
#include "bridge/series.c"

#include "unit.h"

#include <stdlib.h>

static struct series_table *table_create(void)
{
    struct series_table *t = aligned_alloc(64, sizeof *t);
    assert_non_null(t);
    memset(t, 0, sizeof *t);
    return t;
}

static void labels_keep_their_parts(void **state)
{
    uint64_t labels = series_labels(SERIES_RETRIES, SERIES_EVENTS, 9, 599);
    assert_int_equal(series_kind_of(labels), SERIES_RETRIES);
    assert_int_equal(series_protocol_of(labels), SERIES_EVENTS);
    assert_int_equal(series_method_of(labels), 9);
    assert_int_equal(series_status_of(labels), 599);
}

static void finds_its_own_cell_again(void **state)
{
    struct series_table *t = table_create();
    uint64_t ok = series_labels(SERIES_REQUESTS, SERIES_HTTP, 1, 200);
    uint64_t bad = series_labels(SERIES_REQUESTS, SERIES_HTTP, 1, 502);
    struct series_cell *one = series_find(t, 1, ok);
    assert_ptr_not_equal(one, series_find(t, 2, ok));
    assert_ptr_not_equal(one, series_find(t, 1, bad));
    assert_ptr_equal(one, series_find(t, 1, ok));
    series_add(&one->buckets[3], 7);
    series_add(&one->in_bytes, 9);
    uint32_t seen = 0;
    for (uint32_t i = 0; i < SERIES_CELLS; i++) {
        struct series_cell cell;
        if (!series_read(t, i, &cell))
            continue;
        seen++;
        bool is_one = cell.id == 1 && cell.labels == ok;
        assert_int_equal(cell.buckets[3], is_one ? 7 : 0);
        assert_int_equal(cell.in_bytes, is_one ? 9 : 0);
    }
    assert_int_equal(seen, 3);
    free(t);
}

/* Names without end fill the table and no more; those that have a cell go on. */
static void is_bounded(void **state)
{
    struct series_table *t = table_create();
    struct series_cell *first = series_find(t, 0x9e3779b97f4a7c15ull, 1);
    uint32_t refused = 0;
    for (uint64_t i = 2; i < 3 * SERIES_CELLS; i++)
        refused += series_find(t, i * 0x9e3779b97f4a7c15ull, 1) == NULL;
    assert_true(refused >= 2 * SERIES_CELLS - 2);
    assert_true(refused < 2 * SERIES_CELLS + SERIES_CELLS / 4);
    assert_ptr_equal(first, series_find(t, 0x9e3779b97f4a7c15ull, 1));
    series_start(t);
    for (uint32_t i = 0; i < SERIES_CELLS; i++)
        assert_int_equal(t->cells[i].id, 0);
    free(t);
}

static void gauges_begin_anew(void **state)
{
    struct series_table *t = table_create();
    struct series_cell *open = series_find(t, 5, series_labels(SERIES_OPEN, SERIES_HTTP, 0, 0));
    struct series_cell *all =
        series_find(t, 5, series_labels(SERIES_REQUESTS, SERIES_HTTP, 1, 200));
    series_add(&open->buckets[0], 3);
    series_add(&open->buckets[0], (uint64_t)-1);
    series_add(&all->buckets[0], 3);
    assert_int_equal(open->buckets[0], 2);
    series_start(t);
    assert_int_equal(open->buckets[0], 0);
    assert_int_equal(all->buckets[0], 3);
    free(t);
}

UNIT_TESTS(cmocka_unit_test(labels_keep_their_parts), cmocka_unit_test(finds_its_own_cell_again),
           cmocka_unit_test(is_bounded), cmocka_unit_test(gauges_begin_anew))

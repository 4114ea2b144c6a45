/* SPDX-License-Identifier: Apache-2.0 */
#include "control/ari.c"

#include "unit.h"

#define DAY 86400

static const int64_t from = 1700000000;
static const struct renewal table = {90 * DAY, 30 * DAY, DAY, 1700000000 + 60 * DAY};

static int64_t due(int64_t chosen_s)
{
    struct ari ari = {.chosen_s = chosen_s};
    return ari_due_s(&ari, from, from + 90 * DAY - 1, &table);
}

/* The example of RFC 9773 section 4.1. */
static void test_id(void **state)
{
    static const uint8_t aki[] = {0x69, 0x88, 0x5b, 0x6b, 0x87, 0x46, 0x40, 0x41, 0xe1, 0xb3,
                                  0x7b, 0x84, 0x7b, 0xa0, 0xae, 0x2c, 0xde, 0x01, 0xc8, 0xd4};
    static const uint8_t serial[] = {0x00, 0x87, 0x65, 0x43, 0x21};
    struct x509 leaf = {0};
    char id[ARI_ID_MAX + 1];
    assert_false(ari_id_make(&leaf, id));
    assert_string_equal(id, "");
    buf_put(&leaf.aki, aki, sizeof aki);
    buf_put(&leaf.serial_der, serial, sizeof serial);
    assert_true(ari_id_make(&leaf, id));
    assert_string_equal(id, "aYhba4dGQEHhs3uEe6CuLN4ByNQ.AIdlQyE");
    buf_put(&leaf.serial_der, aki, sizeof aki);
    buf_put(&leaf.serial_der, aki, sizeof aki);
    assert_false(ari_id_make(&leaf, id));
    buf_free(&leaf.aki);
    buf_free(&leaf.serial_der);
}

static void test_due(void **state)
{
    assert_int_equal(due(0), 0);
    assert_int_equal(due(from + 20 * DAY), from + 20 * DAY);
    assert_int_equal(due(from - 5), from + ARI_YOUNG_MAX_S); /* not before it has served a while */
    assert_int_equal(due(from + 90 * DAY), table.due_s);     /* after the end: the table */
    assert_int_equal(due(from + 900ll * DAY), table.due_s);
    /* A lifetime of a minute with a window of days around it. */
    struct ari ari = {.chosen_s = from - DAY};
    struct renewal small = {60, 20, 20, from + 40};
    assert_int_equal(ari_due_s(&ari, from, from + 59, &small), from + 20);
}

static void test_answers(void **state)
{
    struct ari ari = {.id = "a.b"};
    struct why why;
    bool changed;
    struct span good = SPAN_LITERAL(
        "{\"suggestedWindow\":{\"start\":\"2025-01-02T04:00:00Z\","
        "\"end\":\"2025-01-03T04:00:00.5+00:00\"},\"explanationURL\":\"https://ca/why\"}");
    assert_true(result_is_ok(ari_take(&ari, good, 21600, 1000, &changed, &why)));
    assert_true(changed);
    assert_int_equal(ari.start_s, 1735790400);
    assert_int_equal(ari.end_s - ari.start_s, DAY);
    assert_in_range(ari.chosen_s, ari.start_s, ari.end_s);
    assert_int_equal(ari.poll_s, 1000 + 21600);
    assert_string_equal(ari.url, "https://ca/why");
    int64_t chosen = ari.chosen_s;
    assert_true(result_is_ok(ari_take(&ari, good, 1, 1000, &changed, &why)));
    assert_false(changed); /* chosen once */
    assert_int_equal(ari.chosen_s, chosen);
    assert_int_equal(ari.poll_s, 1000 + ARI_POLL_MIN_S);
    assert_true(result_is_ok(ari_take(&ari, good, 900000, 1000, &changed, &why)));
    assert_int_equal(ari.poll_s, 1000 + ARI_POLL_MAX_S);
    /* What cannot be used changes nothing but the next question. */
    static const char *const bad[] = {
        "",
        "[]",
        "{}",
        "{\"suggestedWindow\":7}",
        "{\"suggestedWindow\":{\"start\":\"2025-01-02T04:00:00Z\"}}",
        ("{\"suggestedWindow\":{\"start\":\"2025-01-02T04:00:00Z\","
         "\"end\":\"2025-01-01T04:00:00Z\"}}"),
        "{\"suggestedWindow\":{\"start\":\"2025-01-02\",\"end\":\"2025-01-03\"}}",
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct result r = ari_take(&ari, span_str(bad[i]), 0, 5000, &changed, &why);
        assert_int_equal(r.code, ERR_FORMAT);
        assert_false(changed);
        assert_int_equal(ari.chosen_s, chosen);
        assert_int_equal(ari.poll_s, 5000 + ARI_POLL_S);
    }
}

UNIT_TESTS(cmocka_unit_test(test_id), cmocka_unit_test(test_due), cmocka_unit_test(test_answers))

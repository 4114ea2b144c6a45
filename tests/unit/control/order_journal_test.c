/* SPDX-License-Identifier: Apache-2.0 */
#include "control/order_journal.c"

#include "unit.h"

static void test_identity(void **state)
{
    static const char *const ab[] = {"a.test", "*.a.test"}, *const ba[] = {"*.a.test", "a.test"},
                             *const aab[] = {"a.test", "*.a.test", "a.test"};
    char x[ORDER_ID_LEN + 1], y[ORDER_ID_LEN + 1];
    order_id_make("r", "https://ca", ab, 2, x);
    assert_int_equal(strlen(x), ORDER_ID_LEN);
    order_id_make("r", "https://ca", ba, 2, y);
    assert_string_equal(x, y);
    order_id_make("r", "https://ca", aab, 3, y);
    assert_string_equal(x, y);
    order_id_make("r", "https://ca", ab, 1, y);
    assert_string_not_equal(x, y);
    order_id_make("r", "https://other", ab, 2, y);
    assert_string_not_equal(x, y);
    order_id_make("s", "https://ca", ab, 2, y);
    assert_string_not_equal(x, y);
}

static struct order_record make(void)
{
    struct order_record r = {.resolver = mem_strdup("le"),
                             .ca = mem_strdup("https://ca/dir"),
                             .names = mem_zalloc(2 * sizeof(char *)),
                             .name_count = 2,
                             .step = ORDER_PRESENT,
                             .keep = true,
                             .resumes = 3,
                             .started_s = 1800000000,
                             .order_url = mem_strdup("https://ca/o/1")};
    memcpy(r.id, "0123456789abcdef0123456789abcdef", ORDER_ID_LEN);
    r.names[0] = mem_strdup("a.test");
    r.names[1] = mem_strdup("*.a.test");
    buf_put(&r.key_der, "\0\1\2\xff", 4);
    struct order_txt *t = order_record_add_txt(&r, "a.test", "VALUE-1");
    t->fqdn = mem_strdup("_acme-challenge.a.test.");
    t->zone = mem_strdup("");
    t->token = mem_strdup("token");
    t->key_auth = mem_strdup("token.print");
    t->phase = ORDER_TXT_PRESENTING;
    buf_put(&t->state, "\0state", 6);
    order_record_add_txt(&r, "a.test", "VALUE-2")->leftover = true;
    return r;
}

static void test_round_trip(void **state)
{
    struct order_record a = make(), b;
    struct buf text = {0}, again = {0};
    order_record_encode(&a, &text);
    assert_true(result_is_ok(order_record_decode(buf_span(&text), &b)));
    assert_string_equal(b.id, a.id);
    assert_int_equal(b.step, ORDER_PRESENT);
    assert_true(b.keep && !b.failed);
    assert_int_equal(b.resumes, 3);
    assert_string_equal(b.names[1], "*.a.test");
    assert_null(b.finalize_url);
    assert_int_equal(b.key_der.len, 4);
    assert_int_equal(b.txt_count, 2);
    assert_int_equal(b.txts[0].phase, ORDER_TXT_PRESENTING);
    assert_memory_equal(b.txts[0].state.ptr, "\0state", 6);
    assert_string_equal(b.txts[0].zone, "");
    assert_null(b.txts[1].fqdn);
    assert_true(b.txts[1].leftover);
    order_record_encode(&b, &again);
    assert_string_equal(buf_cstr(&text), buf_cstr(&again));
    buf_free(&text);
    buf_free(&again);
    order_record_free(&a);
    order_record_free(&b);
}

static void test_drop(void **state)
{
    struct order_record r = make();
    order_record_drop_txt(&r, 0);
    assert_int_equal(r.txt_count, 1);
    assert_string_equal(r.txts[0].value, "VALUE-2");
    order_record_drop_txt(&r, 0);
    assert_int_equal(r.txt_count, 0);
    order_record_free(&r);
}

/* Whatever is on disk, reading it is safe and a cut record is refused. */
static void test_cut_and_changed_records(void **state)
{
    struct order_record a = make(), b;
    struct buf text = {0};
    order_record_encode(&a, &text);
    for (size_t cut = 0; cut < text.len; cut++)
        assert_false(result_is_ok(order_record_decode(span_first(buf_span(&text), cut), &b)));
    for (size_t i = 0; i < text.len; i++) {
        uint8_t kept = text.ptr[i];
        text.ptr[i] ^= 0x11;
        if (result_is_ok(order_record_decode(buf_span(&text), &b)))
            order_record_free(&b);
        text.ptr[i] = kept;
    }
    buf_free(&text);
    order_record_free(&a);
}

UNIT_TESTS(cmocka_unit_test(test_identity), cmocka_unit_test(test_round_trip),
           cmocka_unit_test(test_drop), cmocka_unit_test(test_cut_and_changed_records))

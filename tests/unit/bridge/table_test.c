/* SPDX-License-Identifier: Apache-2.0 */
#include "bridge/table.c"

#include "bridge/sample.h"
#include "unit.h"

#include <stdio.h>

static struct table *table;
static struct rcu_pen pen;

static int set_up(void **state)
{
    rcu_join();
    rcu_online();
    assert_true(result_is_ok(table_create(10, &table)));
    return 0;
}

static int tear_down(void **state)
{
    table_destroy(table);
    rcu_pen_empty(&pen);
    rcu_leave();
    return 0;
}

static void put_cert(uint64_t id, bool is_rsa)
{
    struct sample_cert s;
    sample_cert(&s, id, is_rsa);
    table_put_cert(table, &s.cert, &pen);
}

static void put(const char *name, uint64_t ecdsa, uint64_t rsa)
{
    if (ecdsa)
        put_cert(ecdsa, false);
    if (rsa)
        put_cert(rsa, true);
    assert_true(result_is_ok(table_put_name(table, span_str(name), ecdsa, rsa, &pen)));
}

/* Id of what is selected; 0 = nothing; negative when it is the default. */
static int64_t select_id(const char *name, const char *ip, bool ecdsa, bool rsa)
{
    bool is_default;
    const struct table_cert *c =
        table_find_best(table, span_str(name), span_str(ip), ecdsa, rsa, &is_default, NULL);
    if (!c)
        return 0;
    sample_check(c);
    return is_default ? -(int64_t)c->id : (int64_t)c->id;
}

static void precedence(void **state)
{
    assert_int_equal(select_id("a.test", "192.0.2.1", true, true), 0);
    put("", 1, 0);
    put("a.test", 2, 0);
    put("*.test", 3, 0);
    put("*.b.test", 4, 0);
    put("192.0.2.1", 5, 0);
    assert_int_equal(select_id("a.test", "192.0.2.1", true, true), 2);
    assert_int_equal(select_id("b.test", "192.0.2.1", true, true), 3);
    assert_int_equal(select_id("x.b.test", "192.0.2.1", true, true), 4);
    assert_int_equal(select_id("y.x.b.test", "192.0.2.1", true, true), -1);
    assert_int_equal(select_id("x.a.test", "192.0.2.1", true, true), -1);
    assert_int_equal(select_id("", "192.0.2.1", true, true), 5);
    assert_int_equal(select_id("", "192.0.2.2", true, true), -1);
    assert_int_equal(select_id("", "", true, true), -1);
    assert_int_equal(select_id("test", "192.0.2.1", true, true), -1);
    assert_int_equal(select_id(".test", "", true, true), -1);
    assert_int_equal(select_id("a.", "", true, true), -1);
    assert_int_equal(select_id("*.test", "", true, true), 3);
    char longest[300];
    memset(longest, 'a', sizeof longest);
    longest[256] = 0;
    assert_int_equal(select_id(longest, "", true, true), -1);
    longest[1] = '.';
    assert_int_equal(select_id(longest, "", true, true), -1);
    longest[255] = 0;
    assert_int_equal(select_id(longest, "", true, true), -1);
}

static void two_algorithms(void **state)
{
    put("both.test", 1, 2);
    put("ecdsa.test", 1, 0);
    put("rsa.test", 0, 2);
    assert_int_equal(select_id("both.test", "", true, true), 1);
    assert_int_equal(select_id("both.test", "", true, false), 1);
    assert_int_equal(select_id("both.test", "", false, true), 2);
    assert_int_equal(select_id("both.test", "", false, false), 1);
    assert_int_equal(select_id("ecdsa.test", "", false, true), 1);
    assert_int_equal(select_id("rsa.test", "", true, false), 2);
    assert_int_equal(select_id("rsa.test", "", true, true), 2);
}

static void replace_and_remove(void **state)
{
    put("a.test", 1, 0);
    put("b.test", 1, 0);
    assert_int_equal(table_names(table), 2);
    assert_int_equal(table_certs(table), 1);
    put("a.test", 2, 0);
    assert_int_equal(select_id("a.test", "", true, true), 2);
    assert_int_equal(select_id("b.test", "", true, true), 1);
    assert_int_equal(table_names(table), 2);
    assert_int_equal(table_certs(table), 2);
    assert_true(table_remove(table, span_str("b.test"), &pen));
    assert_false(table_remove(table, span_str("b.test"), &pen));
    assert_int_equal(select_id("b.test", "", true, true), 0);
    assert_int_equal(table_certs(table), 1); /* 1 lost its last name */
    assert_true(rcu_pen_empty(&pen));
    assert_false(rcu_pen_empty(&pen));
}

static void ids_must_be_there(void **state)
{
    put_cert(1, false);
    assert_int_equal(table_put_name(table, span_str("a"), 9, 0, &pen).code, ERR_NOT_FOUND);
    assert_int_equal(table_put_name(table, span_str("a"), 1, 9, &pen).code, ERR_NOT_FOUND);
    assert_int_equal(table_put_name(table, span_str("a"), 0, 1, &pen).code, ERR_MISMATCH);
    assert_int_equal(table_names(table), 0);
    assert_int_equal(table_certs(table), 1);
}

static struct span staple_of(const char *name, int64_t now_s)
{
    const struct table_cert *e = NULL, *r = NULL;
    assert_true(table_find(table, span_str(name), &e, &r));
    return table_staple(e, now_s);
}

static void staples_come_and_go(void **state)
{
    table_put_staple(table, 1, SPAN_LITERAL("early"), 100, &pen); /* of no certificate: ignored */
    put("a.test", 1, 0);
    assert_int_equal(staple_of("a.test", 50).len, 0);
    table_put_staple(table, 1, SPAN_LITERAL("first"), 100, &pen);
    assert_true(span_eq(staple_of("a.test", 99), SPAN_LITERAL("first")));
    assert_int_equal(staple_of("a.test", 100).len, 0);
    size_t dead = pen.count;
    table_put_staple(table, 1, SPAN_LITERAL("first"), 100, &pen);
    assert_int_equal(pen.count, dead);
    table_put_staple(table, 1, SPAN_LITERAL("second"), 200, &pen);
    assert_int_equal(pen.count, dead + 1);
    put_cert(1, false); /* given again: what is shown with it stays */
    put("b.test", 1, 0);
    assert_true(span_eq(staple_of("b.test", 150), SPAN_LITERAL("second")));
    table_put_staple(table, 1, span_of(NULL, 0), 0, &pen);
    assert_int_equal(staple_of("a.test", 50).len, 0);
}

static void sync_removes_staples(void **state)
{
    put("a.test", 1, 0);
    put("b.test", 3, 0);
    table_put_staple(table, 1, SPAN_LITERAL("first"), 100, &pen);
    table_put_staple(table, 3, SPAN_LITERAL("third"), 100, &pen);
    table_mark_begin(table);
    put("a.test", 1, 0);
    put("b.test", 3, 0);
    table_put_staple(table, 3, SPAN_LITERAL("third"), 100, &pen);
    table_sweep(table, &pen);
    assert_int_equal(staple_of("a.test", 50).len, 0);
    assert_int_equal(staple_of("b.test", 50).len, 5);
}

/* Given again while its last name is taken away: it is there for the next name. */
static void fresh_certs_stay(void **state)
{
    put("a.test", 1, 0);
    put_cert(1, false);
    put_cert(2, false);
    assert_true(result_is_ok(table_put_name(table, span_str("a.test"), 2, 0, &pen)));
    assert_true(result_is_ok(table_put_name(table, span_str("b.test"), 1, 0, &pen)));
    assert_int_equal(table_certs(table), 2);
}

static void same_id_other_content(void **state)
{
    struct sample_cert s;
    put("a.test", 1, 0);
    put("b.test", 1, 0);
    sample_cert(&s, 1, false);
    s.cert.not_after_s = 77;
    table_put_cert(table, &s.cert, &pen);
    assert_int_equal(table_certs(table), 1);
    assert_int_equal(select_id("a.test", "", true, true), 1); /* the old one, whole */
    assert_true(result_is_ok(table_put_name(table, span_str("a.test"), 1, 0, &pen)));
    const struct table_cert *e, *r;
    assert_true(table_find(table, span_str("a.test"), &e, &r));
    assert_int_equal(e->not_after_s, 77);
    assert_true(result_is_ok(table_put_name(table, span_str("b.test"), 1, 0, &pen)));
    assert_int_equal(pen.count, 3); /* two nodes and the old certificate */
}

static void sweep_removes_the_unnamed(void **state)
{
    char name[32];
    for (int i = 0; i < 3000; i++) {
        snprintf(name, sizeof name, "n%d.test", i);
        put(name, 1 + i % 1500, 0);
    }
    assert_int_equal(table_certs(table), 1500);
    table_mark_begin(table);
    for (int i = 0; i < 3000; i += 3) {
        snprintf(name, sizeof name, "n%d.test", i);
        put(name, 1 + i % 1500, 0);
    }
    put_cert(5000, false); /* without a name */
    table_sweep(table, &pen);
    assert_int_equal(table_names(table), 1000);
    assert_int_equal(table_certs(table), 500);
    for (int i = 0; i < 3000; i++) {
        snprintf(name, sizeof name, "n%d.test", i);
        assert_int_equal(select_id(name, "", true, true), i % 3 ? 0 : 1 + i % 1500);
    }
    table_sweep(table, &pen);
    assert_int_equal(table_names(table), 1000);
}

static void grows(void **state)
{
    char name[32];
    put_cert(1, false);
    for (int i = 0; i < 20000; i++) {
        snprintf(name, sizeof name, "n%d.test", i);
        assert_true(result_is_ok(table_put_name(table, span_str(name), 1, 0, &pen)));
    }
    assert_true(table->buckets >= 10000);
    for (int i = 0; i < 20000; i++) {
        snprintf(name, sizeof name, "n%d.test", i);
        assert_int_equal(select_id(name, "", true, true), 1);
    }
}

/* Random puts and removals against a plain array. */
static void id_index_is_a_map(void **state)
{
    enum { IDS = 3000 };
    struct cert *all[IDS] = {0};
    struct ids m = {0};
    for (int step = 0; step < 60000; step++) {
        uint64_t id = 1 + rand_below(IDS);
        if (!all[id - 1]) {
            all[id - 1] = mem_zalloc(sizeof(struct cert));
            all[id - 1]->pub.id = id;
            ids_put(&m, all[id - 1]);
        } else {
            assert_ptr_equal(ids_get(&m, id), all[id - 1]);
            ids_remove(&m, all[id - 1]);
            free(all[id - 1]);
            all[id - 1] = NULL;
        }
    }
    size_t count = 0;
    for (uint64_t id = 1; id <= IDS; id++) {
        assert_ptr_equal(ids_get(&m, id), all[id - 1]);
        count += all[id - 1] != NULL;
    }
    assert_int_equal(m.used, count);
    for (size_t i = 0; i < IDS; i++)
        free(all[i]);
    free(m.slots);
}

/* ---- cold and warm names -------------------------------------------------------------------- */

static void put_warm(const char *name, uint64_t id, uint64_t tag)
{
    put_cert(id, false);
    assert_true(result_is_ok(table_put_warm(table, span_str(name), id, 0, tag, &pen)));
}

/* The cold name that a hello meets; "" = none. *ret_id: what is selected when cold ones count as
 * missing. */
static const char *cold_of(const char *name, int64_t *ret_id)
{
    static char text[NAME_MAX_BYTES + 1];
    bool is_default;
    struct span cold;
    *ret_id = select_id(name, "", true, true);
    const struct table_cert *c = table_find_best(table, span_str(name), (struct span){NULL, 0},
                                                 true, true, &is_default, &cold);
    assert_true(!cold.len || !c);
    snprintf(text, sizeof text, "%.*s", SPAN_FMT(cold));
    return text;
}

static void cold_names_are_told_apart(void **state)
{
    int64_t id;
    put("", 1, 0);
    put("*.a.test", 2, 0);
    table_put_cold(table, SPAN_LITERAL("x.a.test"), 7, &pen);
    table_put_cold(table, SPAN_LITERAL("*.b.test"), 7, &pen);
    assert_string_equal(cold_of("x.a.test", &id), "x.a.test");
    assert_int_equal(id, 2); /* as if it were not there: the wildcard */
    assert_string_equal(cold_of("y.a.test", &id), "");
    assert_string_equal(cold_of("y.b.test", &id), "*.b.test");
    assert_int_equal(id, -1);
    assert_true(table_is_cold(table, SPAN_LITERAL("*.b.test")));
    assert_false(table_is_cold(table, SPAN_LITERAL("*.a.test")));
    assert_false(table_is_cold(table, SPAN_LITERAL("none.test")));
    put_warm("*.b.test", 3, 7);
    assert_string_equal(cold_of("y.b.test", &id), "");
    assert_int_equal(id, 3);
    table_put_cold(table, SPAN_LITERAL("*.b.test"), 7, &pen); /* it is what is there */
    assert_int_equal(select_id("y.b.test", "", true, true), 3);
    table_put_cold(table, SPAN_LITERAL("*.b.test"), 8, &pen);
    assert_string_equal(cold_of("y.b.test", &id), "*.b.test");
    assert_int_equal(table_warm(table), 0);
    assert_int_equal(table_certs(table), 2);
    put("x.a.test", 4, 0); /* neither cold nor warm any more */
    assert_int_equal(select_id("x.a.test", "", true, true), 4);
    assert_int_equal(table_warm(table), 0);
}

static void least_used_become_cold(void **state)
{
    int64_t id;
    char name[32];
    table_keep_warm(table, 4, &pen);
    for (int i = 0; i < 4; i++) {
        snprintf(name, sizeof name, "n%d.test", i);
        put_warm(name, 10 + i, 7);
    }
    assert_int_equal(table_warm(table), 4);
    put_warm("n4.test", 14, 7); /* all were used: the hand goes round once */
    assert_int_equal(table_warm(table), 4);
    for (int round = 0; round < 20; round++) { /* what is used all the time stays */
        assert_int_equal(select_id("n4.test", "", true, true), 14);
        snprintf(name, sizeof name, "r%d.test", round);
        put_warm(name, 100 + round, 7);
        assert_string_equal(cold_of(name, &id), "");
        assert_int_equal(id, 100 + round);
        assert_int_equal(table_warm(table), 4);
    }
    assert_int_equal(select_id("n4.test", "", true, true), 14);
    assert_int_equal(table_names(table), 25);
    assert_int_equal(table_certs(table), 4);
    table_keep_warm(table, 1, &pen);
    assert_int_equal(table_warm(table), 1);
    assert_int_equal(table_certs(table), 1);
}

static void sync_keeps_what_is_warm(void **state)
{
    int64_t id;
    put_warm("a.test", 1, 7);
    put_warm("b.test", 2, 7);
    put_warm("c.test", 3, 7);
    table_put_cold(table, SPAN_LITERAL("d.test"), 7, &pen);
    table_mark_begin(table);
    table_put_cold(table, SPAN_LITERAL("a.test"), 7, &pen);
    table_put_cold(table, SPAN_LITERAL("b.test"), 9, &pen);
    table_sweep(table, &pen);
    assert_int_equal(select_id("a.test", "", true, true), 1);
    assert_string_equal(cold_of("b.test", &id), "b.test");
    assert_int_equal(table_names(table), 2);
    assert_int_equal(table_warm(table), 1);
    assert_int_equal(table_certs(table), 1);
}

static void asking(void **state)
{
    struct span name = SPAN_LITERAL("a.test");
    assert_int_equal(table_ask(table, name, 1000, 250), TABLE_ASK_OVER);
    table_put_cold(table, name, 7, &pen);
    assert_int_equal(table_answers(table), 0);
    assert_int_equal(table_ask(table, name, 1000, 250), TABLE_ASK_NOW);
    assert_int_equal(table_ask(table, name, 1249, 250), TABLE_ASK_AGAIN);
    assert_int_equal(table_ask(table, name, 1250, 250), TABLE_ASK_NOW);
    table_forget_asks(table); /* control is another one */
    assert_int_equal(table_ask(table, name, 1250, 250), TABLE_ASK_NOW);
    assert_int_equal(table_ask(table, name, 1252, 250), TABLE_ASK_AGAIN);
    put_warm("a.test", 1, 7);
    assert_int_equal(table_answers(table), 1);
    assert_int_equal(table_ask(table, name, 1252, 250), TABLE_ASK_OVER);
    table_put_cold(table, name, 8, &pen);
    assert_int_equal(table_answers(table), 1);
    assert_int_equal(table_ask(table, name, 0x100000000ull, 250), TABLE_ASK_NOW);
    assert_true(table_remove(table, name, &pen));
    assert_int_equal(table_answers(table), 2);
}

#define TABLE_TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
UNIT_TESTS(TABLE_TEST(precedence), TABLE_TEST(two_algorithms), TABLE_TEST(replace_and_remove),
           TABLE_TEST(ids_must_be_there), TABLE_TEST(fresh_certs_stay),
           TABLE_TEST(staples_come_and_go), TABLE_TEST(sync_removes_staples),
           TABLE_TEST(same_id_other_content), TABLE_TEST(sweep_removes_the_unnamed),
           TABLE_TEST(grows), TABLE_TEST(cold_names_are_told_apart),
           TABLE_TEST(least_used_become_cold), TABLE_TEST(sync_keeps_what_is_warm),
           TABLE_TEST(asking), cmocka_unit_test(id_index_is_a_map))

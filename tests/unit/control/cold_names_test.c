/* SPDX-License-Identifier: Apache-2.0 */
#include "control/cold_names.c"

#include "bridge/publish.h"
#include "crypto/x509.h"
#include "unit.h"

#include <stdio.h>
#include <unistd.h>

/* Two stores, and a publisher that hears what is told. */
static char directory[64], paths[2][96];
static struct store *stores[2];
static struct publish_state *ps;
static struct cold_names *cold;
static struct publisher *publisher;
static struct bridge_reader *reader;
static struct buf out;
static char joined[512];

static void note_join(void *arg, const struct store_cert *cert, const char *name)
{
    size_t len = strlen(joined);
    snprintf(joined + len, sizeof joined - len, "%s/%s/%s ", cert->resolver, cert->main, name);
}

static int set_up(void **state)
{
    struct why why = {""};
    strncpy(directory, "/tmp/ferrule-cold-XXXXXX", sizeof directory - 1);
    if (!mkdtemp(directory))
        return -1;
    ps = publish_state_create(false);
    cold = cold_names_create(ps, note_join, NULL);
    for (int i = 0; i < 2; i++) {
        snprintf(paths[i], sizeof paths[i], "%s/%d", directory, i);
        assert_true(result_is_ok(store_open(paths[i], &stores[i], &why)));
    }
    assert_true(result_is_ok(publisher_create(1, 16, &publisher, &why)));
    reader = reader_join(publisher, 0, -1);
    joined[0] = 0;
    return 0;
}

static int tear_down(void **state)
{
    char at[128];
    reader_leave(reader);
    publisher_destroy(publisher);
    cold_names_destroy(cold);
    publish_state_destroy(ps);
    for (int i = 0; i < 2; i++) {
        store_close(stores[i]);
        snprintf(at, sizeof at, "%s/data.mdb", paths[i]);
        unlink(at);
        snprintf(at, sizeof at, "%s/lock", paths[i]);
        unlink(at);
        rmdir(paths[i]);
    }
    buf_free(&out);
    return rmdir(directory);
}

/* Stores a certificate; returns what publish_state calls it. */
static uint64_t put_one(struct store *s, const char *resolver, enum key_type type, uint32_t days,
                        const char *main, const char *san)
{
    const char *names[] = {main, san};
    char *sans[] = {(char *)san};
    struct store_cert c = {
        .resolver = (char *)resolver, .main = (char *)main, .sans = sans, .san_count = san != NULL};
    struct key *key;
    struct buf der = {0}, chain = {0};
    struct why why = {""};
    assert_true(result_is_ok(key_generate(type, &key, &why)));
    assert_true(result_is_ok(x509_self_signed(key, names, san ? 2 : 1, days, &der, &why)));
    buf_put_be(&chain, der.len, 3);
    buf_put_span(&chain, buf_span(&der));
    assert_true(result_is_ok(x509_chain_to_pem(buf_span(&chain), &c.chain_pem)));
    assert_true(result_is_ok(key_to_pem(key, &c.key_pem)));
    assert_true(result_is_ok(store_put_cert(s, &c, &why)));
    uint64_t id = x509_chain_id(buf_span(&chain));
    key_free(key);
    buf_free(&der);
    buf_free(&chain);
    buf_free(&c.chain_pem);
    buf_wipe_free(&c.key_pem);
    return id;
}

static void feed(void)
{
    size_t used;
    struct why why = {""};
    assert_true(result_is_ok(publisher_feed(publisher, buf_span(&out), &used, &why)));
    assert_int_equal(used, out.len);
    out.len = 0;
}

static void tell_all(void)
{
    cold_names_begin(cold);
    while (cold_names_step(cold, &out)) {
    }
    feed();
}

static bool is_cold(const char *name)
{
    reader_online(reader);
    bool is = reader_is_cold(reader, span_str(name));
    reader_offline(reader);
    return is;
}

static uint64_t served(const char *name, bool ecdsa, bool rsa)
{
    bool is_default;
    reader_online(reader);
    const struct table_cert *c =
        table_select(reader, span_str(name), (struct span){NULL, 0}, ecdsa, rsa, &is_default, NULL);
    uint64_t id = c ? c->id : 0;
    reader_offline(reader);
    return id;
}

static void answer(const char *name)
{
    cold_names_answer(cold, span_str(name), &out);
    feed();
}

static void names_are_told_and_loaded(void **state)
{
    uint64_t a = put_one(stores[0], "le", KEY_EC256, 30, "a.test", "www.a.test");
    uint64_t b = put_one(stores[1], "other", KEY_EC256, 30, "b.test", NULL);
    cold_names_add(cold, stores[0]);
    cold_names_add(cold, stores[1]);
    assert_true(cold_names_is_untold(cold));
    assert_int_equal(cold_names_count(cold), 2);
    tell_all();
    assert_false(cold_names_is_untold(cold));
    assert_true(is_cold("a.test") && is_cold("www.a.test") && is_cold("b.test"));
    answer("www.a.test");
    answer("b.test");
    answer("none.test");
    assert_true(is_cold("a.test") && !is_cold("www.a.test") && !is_cold("b.test"));
    assert_int_equal(served("www.a.test", true, true), a);
    assert_int_equal(served("b.test", true, true), b);
    tell_all(); /* another control says the same: what is there stays */
    assert_int_equal(served("b.test", true, true), b);
    assert_int_equal(publisher_count(publisher).warm, 2);
}

/* The order that publish_state has, and both kinds of keys. */
static void the_best_one_is_loaded(void **state)
{
    put_one(stores[0], "r1", KEY_EC256, 30, "a.test", NULL);
    uint64_t longest = put_one(stores[0], "r2", KEY_EC256, 60, "a.test", NULL);
    uint64_t rsa = put_one(stores[1], "r3", KEY_RSA2048, 20, "a.test", NULL);
    put_one(stores[1], "r4", KEY_EC256, 50, "a.test", NULL);
    cold_names_add(cold, stores[0]);
    cold_names_add(cold, stores[1]);
    tell_all();
    answer("a.test");
    assert_int_equal(served("a.test", true, true), longest);
    assert_int_equal(served("a.test", false, true), rsa);
}

/* A renewal is served at once and replaces what was loaded; what goes leaves what is left. */
static void changes_are_told(void **state)
{
    struct why why = {""};
    uint64_t old = put_one(stores[0], "le", KEY_EC256, 30, "a.test", NULL);
    cold_names_add(cold, stores[0]);
    tell_all();
    answer("a.test");
    assert_int_equal(served("a.test", true, true), old);
    uint64_t renewed = put_one(stores[0], "le", KEY_EC256, 60, "a.test", NULL);
    struct store_cert c = {.resolver = (char *)"le", .main = (char *)"a.test"};
    tell_all();
    assert_true(is_cold("a.test")); /* what was there is not what is there */
    cold_names_came(cold, &c, &out);
    feed();
    assert_int_equal(served("a.test", true, true), renewed);
    uint64_t second = put_one(stores[0], "le", KEY_EC256, 20, "b.test", "a.test");
    assert_true(result_is_ok(store_remove_cert(stores[0], &c, &why)));
    cold_names_went(cold, "a.test", &out);
    feed();
    assert_true(is_cold("a.test"));
    answer("a.test");
    assert_int_equal(served("a.test", true, true), second);
    char *sans[] = {(char *)"a.test"};
    c = (struct store_cert){
        .resolver = (char *)"le", .main = (char *)"b.test", .sans = sans, .san_count = 1};
    assert_true(result_is_ok(store_remove_cert(stores[0], &c, &why)));
    cold_names_went(cold, "a.test", &out);
    cold_names_went(cold, "b.test", &out);
    feed();
    assert_false(is_cold("a.test"));
    assert_int_equal(served("a.test", true, true), 0);
    cold_names_remove(cold, stores[0]);
    assert_false(cold_names_has(cold, stores[0]));
    tell_all();
    assert_int_equal(publisher_count(publisher).names, 0);
}

/* A name that has other candidates is left to them, and asks for those of the store. */
static void names_with_other_candidates(void **state)
{
    const char *names[] = {"a.test"};
    const struct publish_candidate *c;
    struct key *key;
    struct buf der = {0}, chain = {0}, key_der = {0};
    struct why why = {""};
    put_one(stores[0], "le", KEY_EC256, 30, "a.test", "b.test");
    cold_names_add(cold, stores[0]);
    assert_true(result_is_ok(key_generate(KEY_EC256, &key, &why)));
    assert_true(result_is_ok(x509_self_signed(key, names, 1, 10, &der, &why)));
    buf_put_be(&chain, der.len, 3);
    buf_put_span(&chain, buf_span(&der));
    assert_true(result_is_ok(key_to_der(key, &key_der)));
    assert_true(result_is_ok(publish_state_put(ps, PUBLISH_SOURCE_PROVIDED, "f", "f",
                                               buf_span(&chain), buf_span(&key_der), &c, &why)));
    publish_state_update(ps, clock_wall_s(), &out);
    feed();
    assert_string_equal(joined, "le/a.test/a.test ");
    tell_all();
    assert_false(is_cold("a.test"));
    assert_true(is_cold("b.test"));
    publish_state_drop(ps, "f");
    publish_state_update(ps, clock_wall_s(), &out);
    feed();
    assert_true(is_cold("a.test"));
    key_free(key);
    buf_free(&der);
    buf_free(&chain);
    buf_wipe_free(&key_der);
}

/* Between the question and the answer the certificate goes, or its store; or the answer comes a
 * second time, when the name has another one already. */
static void answers_that_come_late(void **state)
{
    struct why why = {""};
    struct store_cert c = {.resolver = (char *)"le", .main = (char *)"a.test"};
    put_one(stores[0], "le", KEY_EC256, 30, "a.test", NULL);
    put_one(stores[1], "le", KEY_EC256, 30, "b.test", NULL);
    cold_names_add(cold, stores[0]);
    cold_names_add(cold, stores[1]);
    tell_all();
    assert_true(result_is_ok(store_remove_cert(stores[0], &c, &why)));
    answer("a.test");
    assert_false(is_cold("a.test"));
    assert_int_equal(served("a.test", true, true), 0);
    cold_names_remove(cold, stores[1]);
    answer("b.test");
    assert_false(is_cold("b.test"));
    uint64_t now = put_one(stores[0], "le", KEY_EC256, 30, "a.test", NULL);
    cold_names_came(cold, &c, &out);
    cold_names_answer(cold, SPAN_LITERAL("a.test"), &out);
    cold_names_answer(cold, SPAN_LITERAL("a.test"), &out);
    feed();
    assert_int_equal(served("a.test", true, true), now);
    assert_int_equal(publisher_count(publisher).names, 1);
    assert_int_equal(publisher_count(publisher).warm, 1);
}

static void damaged_ones_are_passed_over(void **state)
{
    char path[128];
    struct why why = {""};
    uint64_t good = put_one(stores[0], "r1", KEY_EC256, 30, "a.test", NULL);
    put_one(stores[0], "r2", KEY_EC256, 60, "a.test", NULL);
    put_one(stores[0], "r3", KEY_EC256, 60, "b.test", NULL);
    store_close(stores[0]);
    snprintf(path, sizeof path, "%s/data.mdb", paths[0]);
    FILE *f = fopen(path, "r+");
    assert_non_null(f);
    static uint8_t bytes[1 << 20];
    size_t len = fread(bytes, 1, sizeof bytes, f);
    for (size_t i = 0; i + 2 < len; i++) /* behind the resolver's name */
        if (bytes[i] == 'r' && (bytes[i + 1] == '2' || bytes[i + 1] == '3') && bytes[i - 1] == 2)
            bytes[i + 40] ^= 1;
    rewind(f);
    assert_int_equal(fwrite(bytes, 1, len, f), len);
    fclose(f);
    assert_true(result_is_ok(store_open(paths[0], &stores[0], &why)));
    cold_names_add(cold, stores[0]);
    tell_all();
    answer("a.test");
    assert_int_equal(served("a.test", true, true), good);
    assert_true(is_cold("b.test"));
    answer("b.test");
    assert_false(is_cold("b.test"));
    assert_int_equal(served("b.test", true, true), 0);
}

#define CASE(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
UNIT_TESTS(CASE(names_are_told_and_loaded), CASE(the_best_one_is_loaded), CASE(changes_are_told),
           CASE(names_with_other_candidates), CASE(answers_that_come_late),
           CASE(damaged_ones_are_passed_over))

/* SPDX-License-Identifier: Apache-2.0 */
#include "control/publish_state.c"

#include "unit.h"

#include <stdio.h>

/* What the workers would have been told, as text lines. */
static char told[65536];
static uint64_t last_tag;

static void tell(const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    size_t used = strlen(told);
    vsnprintf(told + used, sizeof told - used, fmt, ap);
    va_end(ap);
}

void publish_cert(struct buf *out, const struct publish_cert *cert)
{
    buf_put_str(out, "c");
    tell("cert %d\n", (int)cert->is_rsa);
}

void publish_name(struct buf *out, struct span name, uint64_t ecdsa, uint64_t rsa, uint32_t flags)
{
    buf_put_str(out, "n");
    tell("name %.*s %d%d%s\n", SPAN_FMT(name), ecdsa != 0, rsa != 0, flags ? " default" : "");
}

void publish_staple(struct buf *out, uint64_t id, struct span response, int64_t until_s)
{
    buf_put_str(out, "s");
    tell("staple %.*s %d\n", SPAN_FMT(response), (int)until_s);
}

void publish_cold_name(struct buf *out, struct span name, uint64_t tag)
{
    buf_put_str(out, "f");
    tell("cold %.*s", SPAN_FMT(name));
    tell(tag < 10 ? " %d\n" : "\n", (int)tag);
    last_tag = tag;
}

void publish_warm_name(struct buf *out, struct span name, uint64_t ecdsa, uint64_t rsa_id,
                       uint64_t tag)
{
    buf_put_str(out, "w");
    tell("warm %.*s %d%d\n", SPAN_FMT(name), ecdsa != 0, rsa_id != 0);
}

void publish_name_remove(struct buf *out, struct span name)
{
    buf_put_str(out, "r");
    tell("remove %.*s\n", SPAN_FMT(name));
}

static struct key *ec, *rsa;
static struct publish_state *ps;
static int64_t now;
static struct why why;

static int set_up_keys(void **state)
{
    assert_true(result_is_ok(key_generate(KEY_EC256, &ec, &why)));
    assert_true(result_is_ok(key_generate(KEY_RSA2048, &rsa, &why)));
    return 0;
}

static int tear_down_keys(void **state)
{
    key_free(ec);
    key_free(rsa);
    return 0;
}

static int set_up(void **state)
{
    ps = publish_state_create(false);
    now = clock_wall_s();
    told[0] = 0;
    return 0;
}

static int tear_down(void **state)
{
    publish_state_destroy(ps);
    return 0;
}

static const struct publish_candidate *put(enum publish_source source, const char *slot,
                                           struct key *key, uint32_t days, const char *name,
                                           const char *other)
{
    const char *names[] = {name, other};
    const struct publish_candidate *c = NULL;
    struct buf der = {0}, chain = {0}, key_der = {0};
    assert_true(result_is_ok(x509_self_signed(key, names, other ? 2 : 1, days, &der, &why)));
    buf_put_be(&chain, der.len, 3);
    buf_put_span(&chain, buf_span(&der));
    assert_true(result_is_ok(key_to_der(key, &key_der)));
    assert_true(result_is_ok(publish_state_put(ps, source, "origin", slot, buf_span(&chain),
                                               buf_span(&key_der), &c, &why)));
    buf_free(&der);
    buf_free(&chain);
    buf_free(&key_der);
    return c;
}

static const struct publish_candidate *served(const char *sni, int64_t at_s)
{
    struct publish_rank ranks[8];
    uint32_t n = publish_state_explain(ps, sni, at_s, ranks, 8);
    for (uint32_t i = 0; i < n; i++)
        if (ranks[i].served)
            return ranks[i].candidate;
    return NULL;
}

static void update(void)
{
    struct buf out = {0};
    told[0] = 0;
    publish_state_update(ps, now, &out);
    buf_free(&out);
}

static void test_provided_first_by_default(void **state)
{
    const struct publish_candidate *p = put(PUBLISH_SOURCE_PROVIDED, "f", ec, 10, "a.test", NULL);
    put(PUBLISH_SOURCE_ACME, "x", ec, 90, "a.test", NULL);
    assert_ptr_equal(served("a.test", now), p);
    ps->prefer_acme = true;
    assert_ptr_not_equal(served("a.test", now), p);
}

/* Valid before expired always, whatever tls.prefer says. */
static void test_valid_before_expired(void **state)
{
    put(PUBLISH_SOURCE_PROVIDED, "f", ec, 10, "a.test", NULL);
    const struct publish_candidate *a = put(PUBLISH_SOURCE_ACME, "x", ec, 90, "a.test", NULL);
    assert_ptr_equal(served("a.test", now + 20 * 86400), a);
}

static void test_latest_expiry_then_alphabet(void **state)
{
    put(PUBLISH_SOURCE_ACME, "1", ec, 30, "a.test", NULL);
    const struct publish_candidate *longest = put(PUBLISH_SOURCE_ACME, "2", ec, 60, "a.test", NULL);
    assert_ptr_equal(served("a.test", now), longest);
    const struct publish_candidate *b = put(PUBLISH_SOURCE_ACME, "3", ec, 60, "a.test", "z.test");
    ((struct publish_candidate *)b)->leaf.not_after_s = longest->leaf.not_after_s;
    assert_true(strcmp(b->identifier, longest->identifier) > 0);
    assert_ptr_equal(served("a.test", now), b);
}

static void test_exact_then_wildcard_then_default(void **state)
{
    const struct publish_candidate *w = put(PUBLISH_SOURCE_ACME, "w", ec, 30, "*.a.test", NULL);
    const struct publish_candidate *e = put(PUBLISH_SOURCE_ACME, "e", ec, 30, "x.a.test", NULL);
    const struct publish_candidate *d =
        put(PUBLISH_SOURCE_DEFAULT, "d", ec, 30, "default.test", NULL);
    assert_ptr_equal(served("x.a.test", now), e);
    assert_ptr_equal(served("y.a.test", now), w);
    assert_ptr_equal(served("y.x.a.test", now), d); /* one label only */
    assert_ptr_equal(served("a.test", now), d);
    assert_ptr_equal(served("default.test", now), d);
    assert_ptr_equal(served("", now), d);
}

static void test_two_kinds_of_keys(void **state)
{
    put(PUBLISH_SOURCE_ACME, "e", ec, 30, "a.test", NULL);
    put(PUBLISH_SOURCE_ACME, "r", rsa, 60, "a.test", NULL);
    update();
    assert_non_null(strstr(told, "name a.test 11\n"));
    /* A provided certificate alone comes before both. */
    put(PUBLISH_SOURCE_PROVIDED, "p", rsa, 5, "a.test", NULL);
    update();
    assert_string_equal(told, "cert 1\nname a.test 01\n");
}

static void test_only_changes_are_sent(void **state)
{
    put(PUBLISH_SOURCE_ACME, "1", ec, 30, "a.test", "*.a.test");
    put(PUBLISH_SOURCE_ACME, "2", ec, 30, "b.test", NULL);
    put(PUBLISH_SOURCE_DEFAULT, "d", ec, 30, "default.test", NULL);
    update();
    assert_non_null(strstr(told, "name b.test 10\n"));
    assert_non_null(strstr(told, "name  10 default\n"));
    assert_null(strstr(told, "name default.test"));
    update();
    assert_string_equal(told, "");
    put(PUBLISH_SOURCE_ACME, "2", ec, 40, "b.test", NULL);
    update();
    assert_string_equal(told, "cert 0\nname b.test 10\n");
}

static void test_replaced_slot_takes_its_names_along(void **state)
{
    put(PUBLISH_SOURCE_ACME, "1", ec, 30, "a.test", "b.test");
    update();
    put(PUBLISH_SOURCE_ACME, "1", ec, 30, "a.test", NULL);
    assert_int_equal(publish_state_count(ps), 1);
    update();
    assert_non_null(strstr(told, "remove b.test\n"));
    assert_non_null(strstr(told, "name a.test 10\n"));
}

static void test_reorder_at_the_end(void **state)
{
    struct buf out = {0};
    const struct publish_candidate *p = put(PUBLISH_SOURCE_PROVIDED, "f", ec, 10, "a.test", NULL);
    int64_t end_s = p->leaf.not_after_s;
    put(PUBLISH_SOURCE_ACME, "x", ec, 90, "a.test", NULL);
    update();
    assert_int_equal(publish_state_change_s(ps), end_s + 1);
    told[0] = 0;
    publish_state_reorder(ps, end_s, &out);
    assert_string_equal(told, "");
    publish_state_reorder(ps, end_s + 1, &out);
    assert_string_equal(told, "cert 0\nname a.test 10\n");
    assert_true(publish_state_change_s(ps) > end_s + 1);
    buf_free(&out);
}

static void test_sync_sends_everything_again(void **state)
{
    struct buf out = {0};
    put(PUBLISH_SOURCE_ACME, "1", ec, 30, "a.test", NULL);
    put(PUBLISH_SOURCE_DEFAULT, "d", ec, 30, "default.test", NULL);
    update();
    told[0] = 0;
    publish_state_sync(ps, now, &out);
    assert_string_equal(told, "cert 0\nname a.test 10\ncert 0\nname  10 default\n");
    assert_memory_equal(out.ptr, "ccnn", 4); /* certificates before the names that use them */
    buf_free(&out);
}

static uint32_t seen_added, seen_dropped;

static void see_added(void *arg, struct publish_candidate *c)
{
    seen_added++;
    c->watcher = arg;
}

static void see_dropped(void *arg, struct publish_candidate *c)
{
    assert_ptr_equal(c->watcher, arg);
    seen_dropped++;
}

/* What an OCSP responder says goes out at once, and with the certificate whenever that does. */
static void test_staples_go_with_certificates(void **state)
{
    struct publish_watch watch = {see_added, see_dropped, &seen_added};
    struct buf out = {0};
    seen_added = seen_dropped = 0;
    publish_state_watch(ps, &watch);
    put(PUBLISH_SOURCE_ACME, "x", ec, 30, "a.test", NULL);
    assert_int_equal(seen_added, 1);
    update();
    told[0] = 0;
    publish_state_staple(find_slot(ps, "x"), SPAN_LITERAL("good"), 77, &out);
    assert_string_equal(told, "staple good 77\n");
    told[0] = 0;
    publish_state_sync(ps, now, &out);
    assert_string_equal(told, "cert 0\nstaple good 77\nname a.test 10\n");
    put(PUBLISH_SOURCE_ACME, "x", ec, 60, "a.test", NULL);
    assert_int_equal(seen_dropped, 1);
    update(); /* another certificate has nothing of the old one's */
    assert_string_equal(told, "cert 0\nname a.test 10\n");
    buf_free(&out);
}

static void test_many_slots(void **state)
{
    char name[32];
    for (int i = 0; i < 60; i++) {
        snprintf(name, sizeof name, "n%d.test", i % 40);
        put(PUBLISH_SOURCE_ACME, name, ec, 30, name, NULL);
    }
    assert_int_equal(publish_state_count(ps), 40);
    for (uint32_t i = 0; i < 40; i++)
        assert_int_equal(publish_state_at(ps, i)->index, i);
}

static void test_bad_chain(void **state)
{
    const struct publish_candidate *c;
    assert_int_equal(publish_state_put(ps, PUBLISH_SOURCE_ACME, "o", "s", SPAN_LITERAL("\0\0\5ab"),
                                       span_of(NULL, 0), &c, &why)
                         .code,
                     ERR_FORMAT);
    assert_int_equal(publish_state_count(ps), 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
/* A certificate whose last name went has to be sent again before it is named again. */
static void test_sources_take_turns(void **state)
{
    put(PUBLISH_SOURCE_PROVIDED, "f", ec, 10, "a.test", NULL);
    put(PUBLISH_SOURCE_ACME, "r", ec, 20, "a.test", NULL);
    update();
    for (int i = 0; i < 3; i++) {
        struct buf out = {0};
        told[0] = 0;
        publish_state_prefer(ps, i % 2 == 0);
        publish_state_reorder(ps, now, &out);
        buf_free(&out);
        assert_string_equal(told, "cert 0\nname a.test 10\n");
    }
}

static void test_what_is_put_again_stays(void **state)
{
    const struct publish_candidate *a = put(PUBLISH_SOURCE_PROVIDED, "fa", ec, 10, "a.test", NULL);
    const struct publish_candidate *again = NULL;
    put(PUBLISH_SOURCE_PROVIDED, "fb", ec, 10, "b.test", NULL);
    put(PUBLISH_SOURCE_PROVIDED, "fc", ec, 10, "c.test", NULL);
    put(PUBLISH_SOURCE_ACME, "r", ec, 20, "r.test", NULL);
    update();
    assert_true(
        result_is_ok(publish_state_put(ps, PUBLISH_SOURCE_PROVIDED, "origin", "fa",
                                       buf_span(&a->chain), buf_span(&a->key), &again, &why)));
    assert_ptr_equal(again, a); /* the same one: nothing is made anew */
    publish_state_drop(ps, "fb");
    update();
    assert_string_equal(told, "remove b.test\n");
    assert_int_equal(publish_state_count(ps), 3);
    assert_non_null(publish_state_find(ps, "fa"));
    assert_null(publish_state_find(ps, "fb"));
    publish_state_drop(ps, "r");
    publish_state_drop(ps, "nothing");
    update();
    assert_string_equal(told, "remove r.test\n");
}

/* ---- certificates elsewhere ------------------------------------------------------------------ */

static char joined[256];

static uint64_t tag_elsewhere(void *arg, const char *name)
{
    return strstr(arg, name) ? 7 : 0;
}

/* As a store gives it: a certificate of `names` under the name `under`. ret_der: its leaf. */
static const struct publish_candidate *put_under(const char *slot, const char *const *names,
                                                 uint32_t count, const char *under,
                                                 struct buf *ret_der)
{
    const struct publish_candidate *c = NULL;
    struct buf chain = {0}, key_der = {0};
    assert_true(result_is_ok(x509_self_signed(ec, names, count, 90, ret_der, &why)));
    buf_put_be(&chain, ret_der->len, 3);
    buf_put_span(&chain, buf_span(ret_der));
    assert_true(result_is_ok(key_to_der(ec, &key_der)));
    assert_true(result_is_ok(publish_state_put_name(ps, "r", slot, buf_span(&chain),
                                                    buf_span(&key_der), under, &c, &why)));
    buf_free(&chain);
    buf_free(&key_der);
    return c;
}

static void join_elsewhere(void *arg, const char *name)
{
    strncat(joined, name, sizeof joined - strlen(joined) - 1);
    if (strstr(arg, name)) { /* one of two names */
        const char *names[] = {name, "second.test"};
        struct buf der = {0};
        put_under("elsewhere", names, 2, name, &der);
        buf_free(&der);
    }
}

/* All certificates of a name are compared, wherever they are; a name that only another place has is
 * left to it. */
static void test_joins_what_is_elsewhere(void **state)
{
    struct publish_cold cold = {tag_elsewhere, join_elsewhere, (void *)"both.test second.test"};
    joined[0] = 0;
    publish_state_use_cold(ps, &cold);
    ps->prefer_acme = true;
    put(PUBLISH_SOURCE_PROVIDED, "f", ec, 10, "both.test", "only.test");
    assert_true(publish_state_serves(ps, "both.test"));
    assert_false(publish_state_serves(ps, "second.test"));
    update();
    assert_int_equal(strlen(joined), strlen("both.testonly.test"));
    assert_string_equal(served("both.test", now)->slot, "elsewhere");
    assert_string_equal(served("only.test", now)->slot, "f");
    assert_false(publish_state_serves(ps, "second.test"));
    assert_null(strstr(told, "second.test"));
    joined[0] = 0;
    update();
    assert_string_equal(joined, "");
    publish_state_drop(ps, "f");
    update();
    assert_string_equal(told, "remove only.test\n");
    assert_string_equal(served("both.test", now)->slot, "elsewhere");
    publish_state_drop(ps, "elsewhere");
    update();
    assert_string_equal(told, "cold both.test 7\n");
}

/* A store may list a certificate under a name that is not in it. */
static void test_takes_no_name_that_a_leaf_has_not(void **state)
{
    const char *names[] = {"own.test"};
    struct buf der = {0};
    const struct publish_candidate *c = put_under("slot", names, 1, "other.test", &der);
    assert_false(publish_state_serves(ps, "other.test"));
    publish_state_revoked(ps, SPAN_LITERAL("another"));
    assert_false(c->revoked);
    publish_state_revoked(ps, buf_span(&der));
    assert_true(c->revoked);
    publish_state_drop(ps, "slot");
    update();
    assert_string_equal(told, "");
    buf_free(&der);
}

/* ---- cold ones --------------------------------------------------------------------------------
 */

/* Files that can be read, by slot. */
static struct {
    enum publish_read says;
    uint32_t reads;
    void (*meanwhile)(void);
    const char *later; /* not this one */
} disk;

static enum publish_read read_disk(void *arg, const struct publish_candidate *candidate,
                                   const char *name, struct buf *ret_chain, struct buf *ret_key)
{
    enum publish_read says = disk.says;
    disk.reads++;
    if (disk.later && !strcmp(candidate->slot, disk.later))
        return PUBLISH_READ_LATER;
    if (says == PUBLISH_READ_DONE) {
        buf_put_str(ret_chain, candidate->slot);
        buf_put_str(ret_key, candidate->slot);
    }
    if (disk.meanwhile) {
        disk.says = PUBLISH_READ_DONE;
        disk.meanwhile();
        disk.meanwhile = NULL;
    }
    return says;
}

static void put_cold(const char *slot, uint64_t id, struct key *key, uint32_t days,
                     const char *name, const char *other)
{
    const char *names[] = {name, other};
    struct buf der = {0};
    struct x509 leaf;
    assert_true(result_is_ok(x509_self_signed(key, names, other ? 2 : 1, days, &der, &why)));
    assert_true(result_is_ok(x509_parse(buf_span(&der), &leaf, &why)));
    publish_state_use_reader(ps, &(struct publish_reader){.read = read_disk});
    publish_state_put_cold(ps, slot, slot, id, &leaf);
    assert_null(leaf.names);
    buf_free(&der);
}

static void ask(const char *name)
{
    struct buf out = {0};
    told[0] = 0;
    publish_state_answer(ps, name, now, &out);
    buf_free(&out);
}

static void test_cold_one_is_read_when_asked_for(void **state)
{
    disk.reads = 0;
    disk.says = PUBLISH_READ_DONE;
    put_cold("f", 5, ec, 10, "a.test", "b.test");
    put(PUBLISH_SOURCE_PROVIDED, "g", ec, 10, "c.test", NULL);
    update();
    assert_string_equal(told, "cold a.test\ncold b.test\ncert 0\nname c.test 10\n");
    assert_int_equal(disk.reads, 0);
    assert_string_equal(served("a.test", now)->slot, "f");
    ask("a.test");
    assert_string_equal(told, "cert 0\nwarm a.test 10\n");
    ask("a.test"); /* the workers have let it become cold again */
    assert_string_equal(told, "cert 0\nwarm a.test 10\n");
    assert_int_equal(disk.reads, 2);
    ask("c.test");
    ask("unknown.test");
    assert_string_equal(told, "");
    uint64_t tag = last_tag;
    put_cold("f", 5, ec, 10, "a.test", "b.test");
    update();
    assert_string_equal(told, "");
    put_cold("f", 6, ec, 10, "a.test", "b.test");
    update();
    assert_string_equal(told, "cold a.test\ncold b.test\n");
    assert_true(tag != last_tag);
    publish_state_drop(ps, "f");
    update();
    assert_string_equal(told, "remove a.test\nremove b.test\n");
    ask("a.test");
    assert_string_equal(told, "");
}

/* The rules of choice are those of all certificates. */
static void test_cold_ones_among_others(void **state)
{
    disk.reads = 0;
    disk.says = PUBLISH_READ_DONE;
    put_cold("f", 5, ec, 10, "a.test", NULL);
    put(PUBLISH_SOURCE_ACME, "x", ec, 90, "a.test", NULL);
    put(PUBLISH_SOURCE_PROVIDED, "r", rsa, 20, "a.test", NULL);
    update();
    assert_string_equal(told, "cold a.test\n");
    ask("a.test");
    assert_string_equal(told, "cert 0\ncert 1\nwarm a.test 11\n");
    publish_state_prefer(ps, true);
    struct buf out = {0};
    told[0] = 0;
    publish_state_reorder(ps, now, &out);
    assert_string_equal(told, "cert 0\nname a.test 10\n");
    publish_state_prefer(ps, false);
    told[0] = 0;
    publish_state_reorder(ps, now + 15 * 86400, &out); /* the cold one has ended */
    assert_string_equal(told, "cert 1\nname a.test 01\n");
    told[0] = 0;
    publish_state_sync(ps, now, &out);
    assert_string_equal(told, "cold a.test\n");
    assert_int_equal(disk.reads, 1);
    buf_free(&out);
}

/* It was kept in memory, and is not any more; and the reverse. */
static void test_kept_one_becomes_cold(void **state)
{
    const struct publish_candidate *c = put(PUBLISH_SOURCE_PROVIDED, "f", ec, 10, "a.test", NULL);
    struct buf chain = buf_copy(buf_span(&c->chain)), key = buf_copy(buf_span(&c->key));
    uint64_t id = c->id;
    update();
    put_cold("f", id, ec, 10, "a.test", NULL);
    update();
    assert_string_equal(told, "cold a.test\n");
    assert_true(result_is_ok(publish_state_put(ps, PUBLISH_SOURCE_PROVIDED, "f", "f",
                                               buf_span(&chain), buf_span(&key), &c, &why)));
    assert_false(c->is_cold);
    update();
    assert_string_equal(told, "cert 0\nname a.test 10\n");
    buf_free(&chain);
    buf_free(&key);
}

static void test_cold_one_that_cannot_be_read(void **state)
{
    struct buf out = {0};
    disk.reads = 0;
    disk.says = PUBLISH_READ_LATER;
    put_cold("f", 5, ec, 10, "a.test", "b.test");
    put_cold("g", 6, ec, 5, "b.test", NULL);
    update();
    ask("a.test");
    assert_string_equal(told, ""); /* not yet */
    publish_state_unreadable(ps, "f");
    disk.says = PUBLISH_READ_DONE;
    disk.reads = 0;
    update();
    assert_string_equal(told, ""); /* who has it keeps it */
    ask("a.test");
    assert_string_equal(told, "remove a.test\n");
    ask("b.test");
    assert_string_equal(told, "cert 0\nwarm b.test 10\n");
    assert_int_equal(disk.reads, 1);
    ask("a.test");
    assert_string_equal(told, "");
    told[0] = 0;
    publish_state_reorder(ps, now, &out); /* it may have been mended */
    assert_string_equal(told, "cold a.test\ncold b.test\n");
    ask("a.test");
    put_cold("f", 5, ec, 10, "a.test", "b.test");
    update();
    assert_string_equal(told, "cold a.test\n");
    ask("a.test");
    assert_string_equal(told, "cert 0\nwarm a.test 10\n");
    buf_free(&out);
}

static void replace_f(void)
{
    put_cold("f", 7, rsa, 10, "a.test", NULL);
    update();
}

static void test_files_change_before_they_are_read(void **state)
{
    disk.reads = 0;
    disk.says = PUBLISH_READ_CHANGED;
    disk.meanwhile = replace_f;
    put_cold("f", 5, ec, 10, "a.test", NULL);
    update();
    ask("a.test");
    assert_string_equal(told, "cold a.test\ncert 1\nwarm a.test 01\n");
    disk.says = PUBLISH_READ_CHANGED; /* again and again: nothing is answered */
    disk.reads = 0;
    ask("a.test");
    assert_string_equal(told, "");
    assert_int_equal(disk.reads, ANSWER_TRIES);
}

static void join_in_place_of_f(void *arg, const char *name)
{
    if (!strcmp(name, "other.test"))
        put_cold("f", 7, rsa, 10, "a.test", NULL);
}

/* What joins another name takes the place of what would have been chosen. */
static void test_joining_comes_before_choosing(void **state)
{
    struct publish_cold cold = {tag_elsewhere, join_in_place_of_f, (void *)""};
    publish_state_use_cold(ps, &cold);
    disk.says = PUBLISH_READ_DONE;
    put_cold("f", 5, ec, 10, "a.test", NULL);
    update();
    put_cold("g", 6, ec, 10, "other.test", NULL);
    ask("a.test");
    assert_string_equal(told, "cert 1\nwarm a.test 01\n");
    update();
    assert_string_equal(told, "cold other.test\n");
}

/* The certificate of one kind of key is no reason to withhold that of the other. */
static void test_one_kind_that_cannot_be_read(void **state)
{
    struct buf out = {0};
    disk.says = PUBLISH_READ_DONE;
    put_cold("e", 5, ec, 10, "a.test", NULL);
    put_cold("r", 6, rsa, 10, "a.test", NULL);
    update();
    for (int i = 0; i < 2; i++) {
        disk.later = i ? "e" : "r";
        ask("a.test");
        assert_string_equal(told, i ? "cert 1\nwarm a.test 01\n" : "cert 0\nwarm a.test 10\n");
        told[0] = 0;
        publish_state_reorder(ps, now, &out);
        assert_string_equal(told, "cold a.test\n");
    }
    ask("a.test");
    disk.later = NULL;
    ask("a.test"); /* who waited is told of both */
    assert_string_equal(told, "cert 0\ncert 1\nwarm a.test 11\n");
    put(PUBLISH_SOURCE_PROVIDED, "e", ec, 10, "a.test", NULL); /* kept */
    update();
    disk.later = "r";
    ask("a.test");
    assert_string_equal(told, "cert 0\nwarm a.test 10\n");
    disk.later = NULL;
    ask("a.test");
    assert_string_equal(told, "cert 0\ncert 1\nwarm a.test 11\n");
    buf_free(&out);
}

/* Workers drop staples at a sync, and keep the certificates of a cold name. */
static void test_sync_brings_staples_of_cold_names(void **state)
{
    struct buf out = {0};
    disk.says = PUBLISH_READ_DONE;
    put_cold("e", 5, ec, 10, "a.test", "b.test");
    put(PUBLISH_SOURCE_PROVIDED, "r", rsa, 10, "a.test", "b.test");
    publish_state_staple(find_slot(ps, "r"), SPAN_LITERAL("good"), 77, &out);
    update();
    ask("a.test");
    assert_string_equal(told, "cert 0\ncert 1\nstaple good 77\nwarm a.test 11\n");
    told[0] = 0;
    publish_state_sync(ps, now, &out);
    assert_string_equal(told, "staple good 77\ncold a.test\ncold b.test\n");
    put(PUBLISH_SOURCE_PROVIDED, "x", ec, 90, "b.test", NULL);
    told[0] = 0;
    publish_state_sync(ps, now, &out); /* in whichever order: the last is behind its certificate */
    assert_non_null(strstr(strstr(told, "cert 1\n"), "staple good 77\n"));
    buf_free(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_provided_first_by_default),
        TEST(test_valid_before_expired),
        TEST(test_latest_expiry_then_alphabet),
        TEST(test_exact_then_wildcard_then_default),
        TEST(test_two_kinds_of_keys),
        TEST(test_only_changes_are_sent),
        TEST(test_replaced_slot_takes_its_names_along),
        TEST(test_reorder_at_the_end),
        TEST(test_sync_sends_everything_again),
        TEST(test_takes_no_name_that_a_leaf_has_not),
        TEST(test_staples_go_with_certificates),
        TEST(test_many_slots),
        TEST(test_bad_chain),
        TEST(test_joins_what_is_elsewhere),
        TEST(test_cold_one_is_read_when_asked_for),
        TEST(test_cold_ones_among_others),
        TEST(test_kept_one_becomes_cold),
        TEST(test_cold_one_that_cannot_be_read),
        TEST(test_files_change_before_they_are_read),
        TEST(test_joining_comes_before_choosing),
        TEST(test_one_kind_that_cannot_be_read),
        TEST(test_sync_brings_staples_of_cold_names),
        cmocka_unit_test_setup_teardown(test_sources_take_turns, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_what_is_put_again_stays, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, set_up_keys, tear_down_keys);
}

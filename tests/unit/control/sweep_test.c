/* SPDX-License-Identifier: Apache-2.0 */
#include "control/sweep.c"

#include "base/clock.h"
#include "crypto/key.h"
#include "unit.h"

#include <stdio.h>

#define DAY  86400
#define KEPT 50 /* more than one run takes */

static char directory[64], storage[96];
static struct wants wants;
static struct config_resolver config = {.name = "le", .ca_server = "https://ca/dir"};
static struct resolver resolver;
static struct generation generation = {.resolvers = {.items = &resolver, .count = 1}};
static struct control c = {.now = &generation};
static struct key *key;
static int64_t now_s;
static int syncs;
static struct buf told;
static char visited[VISIT_MAX][80]; /* slots */
static uint32_t visited_count;

__attribute__((visibility("default"))) int fsync(int fd)
{
    syncs++;
    return 0;
}

__attribute__((visibility("default"))) int fdatasync(int fd)
{
    syncs++;
    return 0;
}

const struct wants *scheduler_wants(const struct scheduler *s)
{
    return &wants;
}

char *certificates_slot(const char *name, const char *const *names, uint32_t count)
{
    char id[ORDER_ID_LEN + 1];
    order_id_make(name, "", names, count, id);
    return mem_printf("acme:%s", id);
}

void control_send_and_wipe(struct control *control, struct buf *out)
{
    buf_put_span(&told, buf_span(out));
    buf_wipe_free(out);
}

static void visit_one(void *arg, const struct store_cert *cert, const char *name)
{
    const struct publish_candidate *added;
    struct buf chain = {0}, key_der = {0};
    struct x509 leaf = {0};
    struct why why = {""};
    char *slot = certificates_slot(cert->resolver, (const char *const *)&cert->main, 1);
    assert_int_equal(cert->san_count, 0);
    assert_true(result_is_ok(x509_chain_from_pem(buf_span(&cert->chain_pem), &chain, &leaf, &why)));
    assert_true(result_is_ok(key_to_der(key, &key_der)));
    assert_true(
        result_is_ok(publish_state_put_name(c.certificates, cert->resolver, slot, buf_span(&chain),
                                            buf_span(&key_der), name, &added, &why)));
    assert_true(visited_count < VISIT_MAX);
    snprintf(visited[visited_count++], sizeof visited[0], "%s", slot);
    free(slot);
    x509_free(&leaf);
    buf_free(&chain);
    buf_free(&key_der);
}

void certificates_visit(struct control *control, const char *name)
{
    cold_names_each(control->cold, name, visit_one, NULL);
}

void certificates_leave(struct control *control)
{
    for (uint32_t i = 0; i < visited_count; i++)
        publish_state_drop(control->certificates, visited[i]);
    visited_count = 0;
}

/* A certificate of these names, stored under the first `stored` of them, and in use. */
static void add(const char *const *names, uint32_t count, uint32_t stored, uint32_t days)
{
    struct buf der = {0}, chain = {0}, key_der = {0};
    struct why why = {""};
    const struct publish_candidate *added;
    struct store_cert cert = {.resolver = (char *)"le",
                              .main = (char *)names[0],
                              .sans = (char **)names + 1,
                              .san_count = stored - 1};
    assert_true(result_is_ok(x509_self_signed(key, names, count, days, &der, &why)));
    buf_put_be(&chain, der.len, 3);
    buf_put_span(&chain, buf_span(&der));
    assert_true(result_is_ok(x509_chain_to_pem(buf_span(&chain), &cert.chain_pem)));
    assert_true(result_is_ok(key_to_pem(key, &cert.key_pem)));
    assert_true(result_is_ok(key_to_der(key, &key_der)));
    assert_true(result_is_ok(store_put_cert(resolver.store, &cert, &why)));
    bool cold = cold_names_has(c.cold, resolver.store);
    char *slot = certificates_slot("le", names, stored);
    assert_true(cold || result_is_ok(publish_state_put(c.certificates, PUBLISH_SOURCE_ACME, "le",
                                                       slot, buf_span(&chain), buf_span(&key_der),
                                                       &added, &why)));
    free(slot);
    buf_free(&der);
    buf_free(&chain);
    buf_free(&key_der);
    buf_free(&cert.chain_pem);
    buf_free(&cert.key_pem);
}

static void add_one(const char *name, uint32_t days)
{
    add(&name, 1, 1, days);
}

static void want(const char *const *names, uint32_t count)
{
    static struct want item;
    item = (struct want){0};
    order_id_make(config.name, config.ca_server, names, count, item.id);
    wants = (struct wants){.items = &item, .count = 1};
}

static uint32_t archived(void)
{
    struct store *archive;
    struct why why = {""};
    char *path = archive_path(storage);
    uint32_t count = 0;
    if (access(path, F_OK) == 0) {
        assert_true(result_is_ok(store_open(path, &archive, &why)));
        count = store_cert_count(archive);
        store_close(archive);
    }
    free(path);
    return count;
}

static int set_up_at(const char *name)
{
    struct why why = {""};
    strncpy(directory, "/tmp/ferrule-sweep-XXXXXX", sizeof directory - 1);
    if (!mkdtemp(directory))
        return -1;
    snprintf(storage, sizeof storage, "%s/%s", directory, name);
    wants = (struct wants){0};
    config.storage = storage;
    resolver = (struct resolver){.config = &config};
    c.sweep_s = 0;
    c.certificates = publish_state_create(false);
    c.cold = cold_names_create(c.certificates, NULL, NULL);
    now_s = clock_wall_s() + 50 * DAY;
    if (!key && !result_is_ok(key_generate(KEY_EC256, &key, &why)))
        return -1;
    return result_is_ok(store_open(storage, &resolver.store, &why)) ? 0 : -1;
}

static int in_a_file(void **state)
{
    return set_up_at("acme.json");
}

static int in_a_directory(void **state)
{
    return set_up_at("acme");
}

static int tear_down(void **state)
{
    static const char *const files[] = {
        "acme.json",     "acme.json.lock", "acme.archive.json",     "acme.archive.json.lock",
        "acme/data.mdb", "acme/lock",      "acme.archive/data.mdb", "acme.archive/lock",
        "acme",          "acme.archive"};
    char path[128];
    store_close(resolver.store);
    cold_names_destroy(c.cold);
    publish_state_destroy(c.certificates);
    buf_free(&c.sweep_at.last);
    buf_free(&told);
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        snprintf(path, sizeof path, "%s/%s", directory, files[i]);
        (void)remove(path);
    }
    return remove(directory);
}

/* However many they are, control does not stand still for them. */
static void many_go_a_part_at_a_time(void **state)
{
    struct why why = {""};
    assert_true(result_is_ok(store_begin(resolver.store, &why)));
    for (uint32_t i = 0; i < MOVES_MAX + KEPT; i++) {
        char name[32];
        snprintf(name, sizeof name, "n%u.test", i);
        add_one(name, 10);
    }
    add_one("valid.test", 100);
    assert_true(result_is_ok(store_end(resolver.store, true, &why)));
    syncs = 0;
    assert_true(sweep_run(&c, now_s));
    assert_in_range(syncs, 2, 8);
    assert_int_equal(store_cert_count(resolver.store), KEPT + 1);
    assert_int_equal(publish_state_count(c.certificates), KEPT + 1);
    assert_int_equal(archived(), MOVES_MAX);
    assert_true(sweep_run(&c, now_s));
    assert_int_equal(store_cert_count(resolver.store), 1);
    assert_int_equal(archived(), MOVES_MAX + KEPT);
    assert_false(sweep_run(&c, now_s));
    assert_int_equal(c.sweep_s, now_s + EVERY_S);
}

/* What is wanted has ended as well, if the clock is to be believed. */
static void a_clock_that_is_ahead_removes_nothing(void **state)
{
    static const char *const wanted[] = {"wanted.test"};
    want(wanted, 1);
    add_one("wanted.test", 10);
    add_one("left.test", 10);
    assert_false(sweep_run(&c, now_s + 3650 * DAY));
    assert_int_equal(store_cert_count(resolver.store), 2);
    assert_int_equal(archived(), 0);
    add_one("wanted.test", 100);
    assert_true(sweep_run(&c, now_s));
    assert_int_equal(store_cert_count(resolver.store), 1);
    assert_int_equal(archived(), 1);
}

static void a_clock_that_was_set_back_delays_nothing(void **state)
{
    add_one("left.test", 10);
    c.sweep_s = now_s + EVERY_S;
    assert_false(sweep_run(&c, now_s));
    c.sweep_s = now_s + 3650 * DAY;
    assert_true(sweep_run(&c, now_s));
    assert_int_equal(archived(), 1);
}

/* What counts is what was ordered: a CA may have added names. */
static void names_that_the_ca_added_do_not_matter(void **state)
{
    static const char *const names[] = {"a.test", "www.a.test"};
    want(names, 1);
    add(names, 2, 1, 10);
    add_one("valid.test", 100);
    assert_false(sweep_run(&c, now_s));
    assert_int_equal(publish_state_count(c.certificates), 2);
    assert_int_equal(archived(), 0);
}

static void the_archive_is_emptied_a_year_later(void **state)
{
    static const char *const names[] = {"a.test", "b.test"};
    add(names, 2, 2, 10);
    add_one("c.test", 20);
    assert_true(sweep_run(&c, now_s + 20 * DAY));
    assert_int_equal(archived(), 2);
    assert_false(sweep_run(&c, now_s + (365 - 35) * DAY));
    assert_int_equal(archived(), 1);
    assert_false(sweep_run(&c, now_s + 365 * DAY));
    assert_int_equal(archived(), 0);
}

static void messages(struct buf *ret, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        char name[32];
        snprintf(name, sizeof name, "n%03u.test", i);
        publish_name_remove(ret, span_str(name));
    }
}

/* Of a store whose certificates nobody has read, too; and the workers hear that they are gone. */
static void what_nobody_has_read_goes_as_well(void **state)
{
    static const char *const wanted[] = {"wanted.test"};
    struct why why = {""};
    want(wanted, 1);
    cold_names_add(c.cold, resolver.store);
    assert_true(result_is_ok(store_begin(resolver.store, &why)));
    for (uint32_t i = 0; i < VISIT_MAX + KEPT; i++) {
        char name[32];
        snprintf(name, sizeof name, "n%03u.test", i);
        add_one(name, 10);
    }
    add_one("later.test", 30);
    add_one("valid.test", 100);
    add_one("wanted.test", 10);
    assert_true(result_is_ok(store_end(resolver.store, true, &why)));
    assert_false(sweep_run(&c, now_s)); /* nothing that is wanted is valid */
    wants.items[0].have = true;
    wants.items[0].not_after_s = now_s;
    struct buf gone = {0};
    assert_true(sweep_run(&c, now_s));
    assert_in_range(archived(), VISIT_MAX - LOOK_STEP, VISIT_MAX);
    assert_int_equal(c.sweep_s, now_s);
    while (sweep_run(&c, now_s)) {
    }
    assert_int_equal(archived(), VISIT_MAX + KEPT);
    messages(&gone, VISIT_MAX + KEPT);
    assert_int_equal(told.len, gone.len);
    assert_int_equal(store_cert_count(resolver.store), 3);
    assert_int_equal(publish_state_count(c.certificates), 0);
    assert_int_equal(c.sweep_s, now_s + EVERY_S);
    buf_free(&gone);
}

static void the_archive_stands_beside_the_storage(void **state)
{
    static const char *const paths[][2] = {{"/x/acme.json", "/x/acme.archive.json"},
                                           {"/x/acme", "/x/acme.archive"},
                                           {"/x/acme//", "/x/acme.archive"}};
    for (size_t i = 0; i < sizeof paths / sizeof *paths; i++) {
        char *path = archive_path(paths[i][0]);
        assert_string_equal(path, paths[i][1]);
        free(path);
    }
}

#define BOTH(f)                                                                                    \
    cmocka_unit_test_setup_teardown(f, in_a_file, tear_down),                                      \
        cmocka_unit_test_setup_teardown(f, in_a_directory, tear_down)
UNIT_TESTS(BOTH(many_go_a_part_at_a_time), BOTH(a_clock_that_is_ahead_removes_nothing),
           BOTH(a_clock_that_was_set_back_delays_nothing),
           BOTH(names_that_the_ca_added_do_not_matter), BOTH(the_archive_is_emptied_a_year_later),
           cmocka_unit_test_setup_teardown(what_nobody_has_read_goes_as_well, in_a_directory,
                                           tear_down),
           cmocka_unit_test(the_archive_stands_beside_the_storage))

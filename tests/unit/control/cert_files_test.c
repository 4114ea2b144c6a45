/* SPDX-License-Identifier: Apache-2.0 */
#include "control/cert_files.c"

#include "unit.h"

#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <sys/resource.h>
#include <unistd.h>

#define ROUND_S     20
#define PATIENCE_MS 50
#define RETRY_MS    50

static char folder[64];
static struct loop *loop;
static struct loop_timer deadline;
static struct publish_state *ps;
static struct cert_files *files;
static struct config config;
static struct config_certificate given[2];
static int told, answers;
static char answered[64];
static bool late, running;

/* Not the run that comes next. */
static void stop(void)
{
    if (running)
        loop_stop(loop);
}

static void note_told(void *arg)
{
    told++;
    stop();
}

static void note_answer(void *arg, const char *name)
{
    snprintf(answered, sizeof answered, "%s", name);
    answers++;
    stop();
}

static void too_late(struct loop_timer *t)
{
    late = true;
    stop();
}

static void put_file(const char *path, struct span text)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text.ptr, text.len), text.len);
    close(fd);
    unit_let_file_age(1);
}

/* A self-signed certificate: its key and chain as the configuration has them, and as files. */
static void issue_all(const char *const *names, uint32_t count, struct config_certificate *c,
                      bool write_cert, bool write_key)
{
    struct key *key = NULL;
    struct buf der = {0}, pem = {0};
    struct why why;
    c->chain.len = c->key.len = 0;
    assert_true(result_is_ok(key_generate(KEY_EC256, &key, &why)));
    assert_true(result_is_ok(x509_self_signed(key, names, count, 10, &der, &why)));
    buf_put_be(&c->chain, der.len, 3);
    buf_put_span(&c->chain, buf_span(&der));
    assert_true(result_is_ok(key_to_der(key, &c->key)));
    assert_true(result_is_ok(x509_chain_to_pem(buf_span(&c->chain), &pem)));
    if (write_cert)
        put_file(c->cert_file, buf_span(&pem));
    pem.len = 0;
    assert_true(result_is_ok(key_to_pem(key, &pem)));
    if (write_key)
        put_file(c->key_file, buf_span(&pem));
    key_free(key);
    buf_free(&der);
    buf_wipe_free(&pem);
}

static void issue(const char *name, struct config_certificate *c, bool write_cert, bool write_key)
{
    issue_all(&name, 1, c, write_cert, write_key);
}

static int set_up(void **state)
{
    snprintf(folder, sizeof folder, "/tmp/ferrule-files-XXXXXX");
    assert_non_null(mkdtemp(folder));
    struct why why;
    assert_true(result_is_ok(loop_create(&loop, &why)));
    loop_timer_init(&deadline, too_late);
    ps = publish_state_create(false);
    files = cert_files_create(&(struct cert_files_options){.loop = loop,
                                                           .certificates = ps,
                                                           .patience_ms = PATIENCE_MS,
                                                           .retry_ms = RETRY_MS,
                                                           .changed = note_told,
                                                           .answer = note_answer});
    for (int i = 0; i < 2; i++) {
        given[i] = (struct config_certificate){.cert_file = mem_printf("%s/%d.crt", folder, i),
                                               .key_file = mem_printf("%s/%d.key", folder, i)};
        issue(i ? "b.test" : "a.test", &given[i], true, true);
    }
    config = (struct config){.certificates = given, .certificate_count = 2, .files_keep = 2};
    told = answers = 0;
    answered[0] = '\0';
    late = false;
    return 0;
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *at)
{
    return remove(path);
}

static int tear_down(void **state)
{
    cert_files_destroy(files);
    publish_state_destroy(ps);
    loop_destroy(loop);
    for (int i = 0; i < 2; i++) {
        free((char *)given[i].cert_file);
        free((char *)given[i].key_file);
        buf_free(&given[i].chain);
        buf_wipe_free(&given[i].key);
        free(given[i].facts);
    }
    nftw(folder, remove_one, 16, FTW_DEPTH | FTW_PHYS);
    return 0;
}

static void run_for(uint64_t wait_ns)
{
    loop_timer_set(loop, &deadline, clock_now_ns() + wait_ns);
    running = true;
    assert_true(result_is_ok(loop_run(loop)));
    running = false;
    loop_timer_cancel(loop, &deadline);
}

static void expect_change(void)
{
    int before = told;
    late = false;
    run_for(ROUND_S * NS_PER_S);
    assert_false(late);
    assert_int_equal(told, before + 1);
}

/* Longer than a change takes to be read and a bad pair to be given up. */
static void expect_none(void)
{
    int before = told;
    run_for((2 * WATCH_QUIET_MS + 2 * PATIENCE_MS) * NS_PER_MS);
    assert_int_equal(told, before);
}

static bool serves(const char *name, const struct config_certificate *c)
{
    struct publish_rank rank;
    return publish_state_explain(ps, name, clock_wall_s(), &rank, 1) == 1 &&
           span_eq(buf_span(&rank.candidate->chain), buf_span(&c->chain));
}

static void changed_files_are_put(void **state)
{
    cert_files_set(files, &config, 0);
    assert_true(serves("a.test", &given[0]) && serves("b.test", &given[1]));
    issue("c.test", &given[0], true, true);
    expect_change();
    assert_true(serves("c.test", &given[0]) && serves("b.test", &given[1]));
    assert_false(serves("a.test", &given[0]));
    assert_int_equal(publish_state_count(ps), 2);
}

static void what_says_the_same_is_not_told(void **state)
{
    struct buf pem = {0};
    cert_files_set(files, &config, 0);
    assert_true(result_is_ok(x509_chain_to_pem(buf_span(&given[0].chain), &pem)));
    put_file(given[0].cert_file, buf_span(&pem));
    buf_free(&pem);
    expect_none();
}

static void half_a_pair_is_waited_for(void **state)
{
    struct config_certificate was = given[0];
    cert_files_set(files, &config, 0);
    given[0].chain = (struct buf){0};
    given[0].key = (struct buf){0};
    issue("a.test", &given[0], true, false);
    expect_none();
    assert_true(serves("a.test", &was));
    issue("a.test", &given[0], true, true);
    expect_change();
    assert_true(serves("a.test", &given[0]));
    buf_free(&was.chain);
    buf_wipe_free(&was.key);
}

static void changes_while_the_configuration_was_read_are_seen(void **state)
{
    int64_t read_ns = clock_file_ns();
    struct config_certificate newer = {.cert_file = given[0].cert_file,
                                       .key_file = given[0].key_file};
    issue("a.test", &newer, true, true);
    cert_files_set(files, &config, read_ns);
    assert_true(serves("a.test", &given[0]));
    expect_change();
    assert_true(serves("a.test", &newer));
    buf_free(&newer.chain);
    buf_wipe_free(&newer.key);
}

static void another_configuration_takes_their_place(void **state)
{
    cert_files_set(files, &config, 0);
    struct config one = {.certificates = &given[1], .certificate_count = 1, .files_keep = 2};
    cert_files_set(files, &one, 0);
    assert_int_equal(publish_state_count(ps), 1);
    assert_true(serves("b.test", &given[1]));
    issue("a.test", &given[0], true, true); /* nobody's any more */
    expect_none();
    struct config with_default = {.default_certificate = &given[0]};
    cert_files_set(files, &with_default, 0);
    assert_int_equal(publish_state_count(ps), 1);
    assert_true(serves("unknown.test", &given[0]));
}

/* ---- more than are kept -----------------------------------------------------------------------
 */

static void set_cold(void)
{
    config.files_keep = 1;
    for (int i = 0; i < 2; i++) {
        struct pair pair = {.chain = given[i].chain};
        struct why why;
        struct reader in = reader_of(buf_span(&given[i].chain));
        struct span der = reader_bytes(&in, reader_be(&in, 3));
        assert_true(result_is_ok(x509_parse(der, &pair.leaf, &why)));
        given[i].facts = mem_alloc(sizeof *given[i].facts);
        pair_facts_take(&pair, given[i].facts);
    }
    cert_files_set(files, &config, 0);
    struct buf out = {0};
    publish_state_update(ps, clock_wall_s(), &out); /* the workers know the names */
    buf_free(&out);
}

/* What workers are told who ask for a name. */
static struct buf ask(const char *name)
{
    struct buf out = {0};
    publish_state_answer(ps, name, clock_wall_s(), &out);
    return out;
}

static bool is_answered(const char *name, const struct config_certificate *c)
{
    struct buf out = ask(name);
    bool chain = out.len && memmem(out.ptr, out.len, c->chain.ptr, c->chain.len);
    bool key = out.len && memmem(out.ptr, out.len, c->key.ptr, c->key.len);
    buf_wipe_free(&out);
    assert_int_equal(chain, key);
    return chain;
}

static void cold_ones_are_read_when_asked_for(void **state)
{
    set_cold();
    struct publish_rank rank;
    assert_int_equal(publish_state_explain(ps, "a.test", clock_wall_s(), &rank, 1), 1);
    assert_true(rank.candidate->is_cold && !rank.candidate->chain.len && !rank.candidate->key.len);
    assert_true(is_answered("a.test", &given[0]));
    assert_true(is_answered("b.test", &given[1]));
    assert_false(is_answered("a.test", &given[1]));
}

static void changed_cold_ones_are_put(void **state)
{
    set_cold();
    issue("c.test", &given[0], true, true);
    expect_change();
    struct buf out = {0};
    publish_state_update(ps, clock_wall_s(), &out);
    buf_free(&out);
    assert_true(is_answered("c.test", &given[0]));
    assert_false(is_answered("a.test", &given[0]));
}

/* The client comes before the kernel says that they have changed. */
static void cold_one_changes_unheard(void **state)
{
    set_cold();
    issue("a.test", &given[0], true, true);
    assert_int_equal(told, 0);
    assert_true(is_answered("a.test", &given[0]));
    assert_int_equal(told, 1);
    expect_none();
}

static void half_a_cold_pair_is_waited_for(void **state)
{
    set_cold();
    issue("a.test", &given[0], true, false);
    assert_false(is_answered("a.test", &given[0]));
    assert_false(is_answered("a.test", &given[0]));
    issue("a.test", &given[0], true, true);
    run_for(ROUND_S * NS_PER_S); /* as soon as it is whole, or given up for now: the first stops */
    for (int i = 0; i < 100 && told == 0; i++)
        run_for(ROUND_S * NS_PER_S);
    assert_int_equal(told, 1);
    assert_true(is_answered("a.test", &given[0]));
}

static void bad_cold_pair_is_given_up(void **state)
{
    struct buf pem = {0};
    set_cold();
    assert_int_equal(unlink(given[0].key_file), 0);
    assert_false(is_answered("a.test", &given[0]));
    while (!answered[0])
        run_for(ROUND_S * NS_PER_S);
    assert_string_equal(answered, "a.test");
    struct buf out = ask("a.test");
    assert_true(out.len > 0); /* that there is none */
    buf_free(&out);
    out = (struct buf){0};
    assert_true(is_answered("b.test", &given[1]));
    struct key *key;
    struct why why;
    assert_true(result_is_ok(key_from_der(buf_span(&given[0].key), &key, &why)));
    assert_true(result_is_ok(key_to_pem(key, &pem)));
    key_free(key);
    put_file(given[0].key_file, buf_span(&pem));
    buf_wipe_free(&pem);
    expect_change();
    assert_int_equal(out.len, 0);
    publish_state_update(ps, clock_wall_s(), &out);
    buf_free(&out);
    assert_true(is_answered("a.test", &given[0]));
}

/* The others of its names are read when somebody asks for them. */
static void those_who_asked_are_answered(void **state)
{
    static const char *const names[] = {"a.test", "b.a.test", "*.a.test", "c.a.test"};
    issue_all(names, 4, &given[0], true, true);
    set_cold();
    assert_int_equal(unlink(given[0].key_file), 0);
    assert_false(is_answered("*.a.test", &given[0]));
    assert_false(is_answered("*.a.test", &given[0]));
    struct buf out = {0}; /* nobody waits for an export */
    assert_int_equal(publish_state_read(ps, publish_state_at(ps, 0), &out, &out),
                     PUBLISH_READ_LATER);
    while (!answers)
        run_for(ROUND_S * NS_PER_S);
    assert_string_equal(answered, "*.a.test");
    assert_int_equal(answers, 1);
    assert_int_equal(files->items[0].asked.count, 0);
}

/* Another configuration with the same pairs changes nothing that would be told. */
static void who_waits_is_answered_after_a_reload(void **state)
{
    set_cold();
    files->options.patience_ms = 60000;
    assert_int_equal(unlink(given[0].key_file), 0);
    assert_false(is_answered("a.test", &given[0]));
    for (int i = 0; i < 2; i++)
        free(given[i].facts);
    set_cold();
    assert_int_equal(answers, 0);
    late = false;
    run_for(ROUND_S * NS_PER_S);
    assert_false(late);
    assert_int_equal(answers, 1);
    assert_string_equal(answered, "a.test");
    assert_int_equal(files->waiting.count, 0);
}

/* A mistaken index: what the file says is what holds. */
static void what_is_known_is_checked(void **state)
{
    config.files_keep = 1;
    for (int wrong = 0; wrong < 4; wrong++) {
        set_cold();
        struct x509 *leaf = (struct x509 *)&publish_state_at(ps, 0)->leaf;
        assert_string_equal(leaf->names[0], "a.test");
        leaf->is_rsa = wrong == 0;
        leaf->not_after_s += wrong == 1;
        leaf->not_before_s -= wrong == 2;
        leaf->must_staple = wrong == 3;
        told = 0;
        assert_true(is_answered("a.test", &given[0]));
        assert_int_equal(told, 1);
        leaf = (struct x509 *)&publish_state_find(ps, "file:0")->leaf;
        assert_true(!leaf->is_rsa && !leaf->must_staple);
        for (int i = 0; i < 2; i++)
            free(given[i].facts);
        given[0].facts = given[1].facts = NULL;
        cert_files_set(files, &(struct config){.files_keep = 1}, 0);
    }
}

/* Each pair has its own time: it is not cut short by another one, nor made longer by what is heard
 * of others. */
static void each_has_its_own_patience(void **state)
{
    set_cold();
    files->options.patience_ms = 60000;
    assert_int_equal(unlink(given[0].key_file), 0);
    assert_int_equal(unlink(given[1].key_file), 0);
    assert_false(is_answered("a.test", &given[0]));
    uint64_t until_ns = files->items[0].doubtful_until_ns;
    while (clock_now_ns() == until_ns - 60 * NS_PER_S)
        ;
    assert_false(is_answered("b.test", &given[1]));
    assert_true(files->items[1].doubtful_until_ns > until_ns);
    assert_int_equal(files->patience.timer.at_ns, until_ns);
    hear_change(files, (const char *const[]){given[0].cert_file, given[1].cert_file}, 2);
    assert_int_equal(files->items[0].doubtful_until_ns, until_ns);
    assert_int_equal(files->patience.timer.at_ns, until_ns);
    files->items[0].doubtful_until_ns = 0; /* its time has come */
    out_of_patience(&files->patience);
    assert_true(files->items[0].given_up && !files->items[0].doubtful);
    assert_true(files->items[1].doubtful && !files->items[1].given_up);
    assert_int_equal(files->patience.timer.at_ns, files->items[1].doubtful_until_ns);
}

/* What was wrong leaves no trace in the files, as when the kernel had no more descriptors. */
static void given_up_ones_are_tried_again(void **state)
{
    struct rlimit was, none;
    set_cold();
    watch_destroy(files->watch); /* nothing is heard of the files */
    files->watch = NULL;
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &was), 0);
    none = (struct rlimit){.rlim_cur = 0, .rlim_max = was.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
    assert_false(is_answered("a.test", &given[0]));
    while (!answered[0])
        run_for(ROUND_S * NS_PER_S);
    assert_true(files->items[0].given_up);
    uint64_t said = files->items[0].told;
    while (files->retry_times == 1)
        run_for(RETRY_MS * NS_PER_MS);
    assert_true(files->items[0].given_up);
    assert_int_equal(files->items[0].told, said); /* once is enough */
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &was), 0);
    expect_change();
    assert_false(files->items[0].given_up);
    struct buf out = {0};
    publish_state_update(ps, clock_wall_s(), &out);
    buf_free(&out);
    assert_true(is_answered("a.test", &given[0]));
}

/* What cannot be cold is not, whatever its number. */
static void few_again(void **state)
{
    set_cold();
    for (int i = 0; i < 2; i++) {
        free(given[i].facts);
        given[i].facts = NULL;
    }
    config.files_keep = 2;
    cert_files_set(files, &config, 0);
    assert_true(serves("a.test", &given[0]) && serves("b.test", &given[1]));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
UNIT_TESTS(TEST(changed_files_are_put), TEST(what_says_the_same_is_not_told),
           TEST(half_a_pair_is_waited_for), TEST(changes_while_the_configuration_was_read_are_seen),
           TEST(another_configuration_takes_their_place), TEST(cold_ones_are_read_when_asked_for),
           TEST(changed_cold_ones_are_put), TEST(cold_one_changes_unheard),
           TEST(half_a_cold_pair_is_waited_for), TEST(bad_cold_pair_is_given_up),
           TEST(those_who_asked_are_answered), TEST(what_is_known_is_checked),
           TEST(who_waits_is_answered_after_a_reload), TEST(each_has_its_own_patience),
           TEST(given_up_ones_are_tried_again), TEST(few_again))

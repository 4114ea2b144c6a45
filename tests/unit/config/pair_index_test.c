/* SPDX-License-Identifier: Apache-2.0 */
#include "config/pair_index.c"

#include "base/clock.h"
#include "unit.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define MAKER "1.0"
#define DAY_S 86400

static char folder[64], cert_file[128], key_file[128];
static int64_t now_s;
static struct buf told;

static void note(void *arg, enum pair_part about, bool warning, const char *text)
{
    assert_true(warning);
    buf_printf(&told, "%d %s\n", (int)about, text);
}

static struct pair_source source_at(int64_t when_s)
{
    return (struct pair_source){
        .text = {cert_file, key_file}, .name = {cert_file, key_file}, .now_s = when_s, .say = note};
}

static void put_file(const char *path, const struct buf *text)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text->ptr, text->len), text->len);
    close(fd);
}

/* Longer than what is written now could be written again without looking otherwise. */
static void let_tick(void)
{
    unit_let_file_age(40 * (int64_t)NS_PER_MS);
}

static int set_up(void **state)
{
    static const char *const names[] = {"a.test", "*.b.test", "192.0.2.7"};
    struct key *key = NULL;
    struct buf der = {0}, chain = {0}, pem = {0};
    struct why why;
    snprintf(folder, sizeof folder, "/tmp/ferrule-index-XXXXXX");
    assert_non_null(mkdtemp(folder));
    snprintf(cert_file, sizeof cert_file, "%s/c.pem", folder);
    snprintf(key_file, sizeof key_file, "%s/k.pem", folder);
    assert_true(result_is_ok(key_generate(KEY_EC256, &key, &why)));
    assert_true(result_is_ok(x509_self_signed(key, names, 3, 10, &der, &why)));
    buf_put_be(&chain, der.len, 3);
    buf_put_span(&chain, buf_span(&der));
    assert_true(result_is_ok(x509_chain_to_pem(buf_span(&chain), &pem)));
    put_file(cert_file, &pem);
    pem.len = 0;
    assert_true(result_is_ok(key_to_pem(key, &pem)));
    put_file(key_file, &pem);
    key_free(key);
    buf_free(&der);
    buf_free(&chain);
    buf_wipe_free(&pem);
    now_s = clock_wall_s();
    told = (struct buf){0};
    let_tick();
    return 0;
}

static int tear_down(void **state)
{
    unlink(cert_file);
    unlink(key_file);
    rmdir(folder);
    buf_free(&told);
    return 0;
}

/* What reading both files gives. */
static struct pair_facts read_facts(int64_t when_s)
{
    struct pair_source source = source_at(when_s);
    struct pair pair;
    struct pair_facts facts;
    assert_true(pair_read(&source, &pair));
    pair_facts_take(&pair, &facts);
    pair_free(&pair);
    return facts;
}

static struct buf index_of(const struct pair_facts *facts)
{
    struct buf bytes = {0};
    pair_index_begin(&bytes, MAKER);
    pair_index_add(&bytes, "/elsewhere/c.pem", key_file, &facts->leaf, 77, &facts->record);
    pair_index_add(&bytes, cert_file, key_file, &facts->leaf, facts->id, &facts->record);
    pair_index_end(&bytes);
    return bytes;
}

static struct pair_index *open_index(struct buf bytes)
{
    struct pair_index *index = NULL;
    struct why why;
    assert_true(result_is_ok(pair_index_open(&bytes, MAKER, &index, &why)));
    return index;
}

static bool finds(const struct pair_index *index, int64_t when_s)
{
    struct pair_source source = source_at(when_s);
    struct pair_facts facts;
    bool found = pair_index_find(index, &source, &facts);
    if (found)
        pair_facts_free(&facts);
    return found;
}

static void says_what_reading_says(void **state)
{
    struct pair_facts facts = read_facts(now_s), found;
    struct pair_index *index = open_index(index_of(&facts));
    struct pair_source source = source_at(now_s);
    assert_int_equal(pair_index_count(index), 2);
    assert_true(pair_index_find(index, &source, &found));
    assert_int_equal(found.id, facts.id);
    assert_int_equal(found.leaf.name_count, 3);
    for (uint32_t i = 0; i < 3; i++)
        assert_string_equal(found.leaf.names[i], facts.leaf.names[i]);
    assert_memory_equal(found.leaf.sha256, facts.leaf.sha256, sizeof facts.leaf.sha256);
    assert_string_equal(found.leaf.serial, facts.leaf.serial);
    assert_string_equal(found.leaf.subject, facts.leaf.subject);
    assert_string_equal(found.leaf.issuer, facts.leaf.issuer);
    assert_string_equal(found.leaf.issuer_cn, facts.leaf.issuer_cn);
    assert_int_equal(found.leaf.is_ca, facts.leaf.is_ca);
    assert_int_equal(found.leaf.has_issuer_url, facts.leaf.has_issuer_url);
    assert_int_equal(found.leaf.not_before_s, facts.leaf.not_before_s);
    assert_int_equal(found.leaf.not_after_s, facts.leaf.not_after_s);
    assert_int_equal(found.leaf.key_bits, 256);
    assert_true(found.leaf.is_ec && !found.leaf.is_rsa && !found.leaf.must_staple);
    assert_null(found.leaf.weak_signature);
    assert_null(found.leaf.ocsp_url);
    assert_memory_equal(&found.record.look, &facts.record.look, sizeof facts.record.look);
    assert_int_equal(found.record.until_s, facts.leaf.not_after_s + 1);
    assert_null(found.record.findings);
    pair_facts_free(&found);
    pair_facts_free(&facts);
    pair_index_close(index);
}

static void keeps_rare_properties(void **state)
{
    struct pair_facts facts = read_facts(now_s), found;
    struct pair_source source = source_at(now_s);
    facts.leaf.is_rsa = facts.leaf.is_ca = facts.leaf.must_staple = true;
    facts.leaf.has_issuer_url = true;
    facts.leaf.is_ec = false;
    facts.leaf.weak_signature = "SHA-1";
    facts.leaf.ocsp_url = mem_strdup("http://ocsp.test/");
    struct pair_index *index = open_index(index_of(&facts));
    assert_true(pair_index_find(index, &source, &found));
    assert_true(found.leaf.is_rsa && found.leaf.is_ca && found.leaf.must_staple);
    assert_true(found.leaf.has_issuer_url && !found.leaf.is_ec);
    assert_string_equal(found.leaf.weak_signature, "SHA-1");
    assert_string_equal(found.leaf.ocsp_url, "http://ocsp.test/");
    pair_facts_free(&found);
    pair_facts_free(&facts);
    pair_index_close(index);
}

/* Warnings come again, and others when the time for them has come. */
static void time_changes_what_is_said(void **state)
{
    struct pair_facts valid = read_facts(now_s);
    struct pair_index *index = open_index(index_of(&valid));
    int64_t end_s = valid.leaf.not_after_s;
    assert_true(finds(index, now_s) && finds(index, end_s));
    assert_false(finds(index, end_s + 1));
    assert_false(finds(index, now_s - 1)); /* the clock was set back */
    pair_index_close(index);
    pair_facts_free(&valid);
    assert_int_equal(told.len, 0);
    struct pair_facts ended = read_facts(end_s + DAY_S), found;
    char *said = mem_strdup(buf_cstr(&told));
    assert_non_null(strstr(said, "expired on"));
    told.len = 0;
    index = open_index(index_of(&ended));
    struct pair_source source = source_at(end_s + 2 * DAY_S);
    assert_true(pair_index_find(index, &source, &found));
    pair_record_tell(&found.record, &source);
    assert_string_equal(buf_cstr(&told), said);
    free(said);
    pair_facts_free(&found);
    pair_facts_free(&ended);
    pair_index_close(index);
    struct pair_facts early = read_facts(now_s - 2 * DAY_S);
    assert_int_equal(early.record.until_s, early.leaf.not_before_s);
    pair_facts_free(&early);
}

static void other_files_are_read(void **state)
{
    struct pair_facts facts = read_facts(now_s);
    struct pair_index *index = open_index(index_of(&facts));
    assert_true(finds(index, now_s));
    assert_int_equal(utimensat(AT_FDCWD, key_file, NULL, 0), 0);
    assert_false(finds(index, now_s));
    pair_facts_free(&facts);
    pair_index_close(index);
    let_tick();
    facts = read_facts(now_s);
    index = open_index(index_of(&facts));
    assert_true(finds(index, now_s));
    char *other = mem_printf("%s.moved", cert_file);
    assert_int_equal(rename(cert_file, other), 0);
    assert_false(finds(index, now_s));
    assert_int_equal(rename(other, cert_file), 0);
    assert_false(finds(index, now_s)); /* renaming is a change */
    free(other);
    pair_facts_free(&facts);
    pair_index_close(index);
}

/* A file that was written just now may be written again and look the same. */
static void fresh_files_are_not_kept(void **state)
{
    struct timespec soon[2] = {{.tv_sec = now_s + 60}, {.tv_sec = now_s + 60}};
    assert_int_equal(utimensat(AT_FDCWD, cert_file, soon, 0), 0);
    struct pair_facts facts = read_facts(now_s);
    assert_false(pair_look_is_known(&facts.record.look[PAIR_CERT]));
    assert_true(pair_look_is_known(&facts.record.look[PAIR_KEY]));
    struct pair_index *index = open_index(index_of(&facts));
    assert_int_equal(pair_index_count(index), 0);
    assert_false(finds(index, now_s));
    pair_facts_free(&facts);
    pair_index_close(index);
}

static struct result try_open(struct span bytes, const char *maker)
{
    struct buf copy = buf_copy(bytes);
    struct pair_index *index = NULL;
    struct why why;
    struct result r = pair_index_open(&copy, maker, &index, &why);
    assert_null(copy.ptr);
    pair_index_close(index);
    return r;
}

static void damage_is_noticed(void **state)
{
    struct pair_facts facts = read_facts(now_s);
    struct buf bytes = index_of(&facts);
    for (size_t len = 0; len < bytes.len; len++)
        assert_int_equal(try_open(span_of(bytes.ptr, len), MAKER).code, ERR_FORMAT);
    for (size_t i = 0; i < bytes.len; i++) {
        bytes.ptr[i] ^= 1u << (i % 8);
        assert_int_equal(try_open(buf_span(&bytes), MAKER).code, ERR_FORMAT);
        bytes.ptr[i] ^= 1u << (i % 8);
    }
    assert_true(result_is_ok(try_open(buf_span(&bytes), MAKER)));
    buf_put_str(&bytes, "x");
    assert_int_equal(try_open(buf_span(&bytes), MAKER).code, ERR_FORMAT);
    buf_free(&bytes);
    pair_facts_free(&facts);
}

static void sign(struct buf *bytes)
{
    digest_once(DIGEST_SHA256, span_skip(buf_span(bytes), BODY_AT), bytes->ptr + MAGIC_BYTES);
}

static void those_of_others_are_refused(void **state)
{
    struct pair_facts facts = read_facts(now_s);
    struct buf bytes = index_of(&facts);
    assert_int_equal(try_open(buf_span(&bytes), "1.1").code, ERR_VERSION);
    assert_int_equal(try_open(buf_span(&bytes), "").code, ERR_VERSION);
    bytes.ptr[BODY_AT + 3]++;
    sign(&bytes);
    assert_int_equal(try_open(buf_span(&bytes), MAKER).code, ERR_VERSION);
    buf_free(&bytes);
    pair_facts_free(&facts);
}

/* Whatever stands behind a good digest: nothing breaks. */
static void nonsense_breaks_nothing(void **state)
{
    static const uint8_t values[] = {0, 1, 0x7f, 0xff};
    struct pair_facts facts = read_facts(now_s);
    struct buf bytes = index_of(&facts);
    for (size_t i = BODY_AT; i < bytes.len; i++)
        for (size_t k = 0; k < sizeof values; k++) {
            struct buf copy = buf_copy(buf_span(&bytes));
            struct pair_index *index = NULL;
            struct why why;
            copy.ptr[i] = values[k];
            sign(&copy);
            if (result_is_ok(pair_index_open(&copy, MAKER, &index, &why)))
                (void)finds(index, now_s);
            pair_index_close(index);
        }
    buf_free(&bytes);
    pair_facts_free(&facts);
}

/* File systems may say what nanoseconds in 64 bits do not hold. */
static void times_far_away_are_not_known(void **state)
{
    struct timespec times[2] = {{.tv_sec = 20000000000}, {.tv_sec = 20000000000}};
    struct stat st;
    struct pair_look look;
    assert_int_equal(utimensat(AT_FDCWD, cert_file, times, 0), 0);
    assert_int_equal(stat(cert_file, &st), 0);
    assert_true(pair_look_at(cert_file, &look));
    if (st.st_mtim.tv_sec > INT64_MAX / (int64_t)NS_PER_S) /* not all file systems can */
        assert_false(pair_look_is_known(&look));
}

static void note_error(void *arg, enum pair_part about, bool warning, const char *text)
{
    assert_false(warning);
    buf_printf(&told, "%s", text);
}

/* Nobody waits for who writes to a pipe. */
static void pipe_is_no_file_of_a_pair(void **state)
{
    struct pair_source source = source_at(now_s);
    struct pair pair;
    source.say = note_error;
    assert_int_equal(unlink(key_file), 0);
    assert_int_equal(mkfifo(key_file, 0600), 0);
    alarm(60); /* instead of for ever */
    assert_false(pair_read(&source, &pair));
    alarm(0);
    assert_non_null(strstr(buf_cstr(&told), "k.pem is no regular file"));
}

/* The digest is good, and the version: what would break others is not believed. */
static void what_no_certificate_has_is_not_believed(void **state)
{
    static char long_name[X509_NAME_MAX + 2], empty[1];
    memset(long_name, 'a', X509_NAME_MAX + 1);
    struct pair_facts facts = read_facts(now_s);
    struct x509 *leaf = &facts.leaf;
    char *name = leaf->names[1];
    int64_t until_s = leaf->not_after_s;
    const struct {
        char *name;
        int64_t until_s;
        bool good;
    } cases[] = {{name, until_s, true},       {long_name + 1, until_s, true},
                 {long_name, until_s, false}, {empty, until_s, false},
                 {name, DATE_MAX_S, true},    {name, DATE_MAX_S + 1, false},
                 {name, INT64_MAX, false},    {name, INT64_MIN, false}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        leaf->names[1] = cases[i].name;
        leaf->not_after_s = cases[i].until_s;
        struct pair_index *index = open_index(index_of(&facts));
        assert_int_equal(finds(index, now_s), cases[i].good);
        pair_index_close(index);
    }
    leaf->names[1] = name;
    pair_facts_free(&facts);
}

/* No more room is taken than so many entries could need. */
static void count_has_its_bound(void **state)
{
    struct pair_facts facts = {.id = 1};
    struct buf bytes = {0};
    facts.record.look[PAIR_CERT].ino = facts.record.look[PAIR_KEY].ino = 1;
    pair_index_begin(&bytes, MAKER);
    size_t before = bytes.len;
    pair_index_add(&bytes, "", "", &facts.leaf, 1, &facts.record);
    assert_int_equal(bytes.len - before, ENTRY_BYTES_MIN);
    pair_index_end(&bytes);
    assert_true(result_is_ok(try_open(buf_span(&bytes), MAKER)));
    bytes.ptr[count_at(MAKER) + 3] = 2;
    sign(&bytes);
    assert_int_equal(try_open(buf_span(&bytes), MAKER).code, ERR_FORMAT);
    buf_free(&bytes);
}

static void finds_each_of_many(void **state)
{
    struct pair_facts facts = read_facts(now_s);
    struct buf bytes = {0};
    char path[4096];
    pair_index_begin(&bytes, MAKER);
    for (int i = 1; i <= 500; i++) {
        snprintf(path, sizeof path, "/%0*d/..%s", i, 0, cert_file);
        memset(path, '/', (size_t)i + 4); /* so many slashes, and the same file */
        pair_index_add(&bytes, path, key_file, &facts.leaf, (uint64_t)i, &facts.record);
    }
    pair_index_end(&bytes);
    struct pair_index *index = open_index(bytes);
    assert_int_equal(pair_index_count(index), 500);
    for (int i = 1; i <= 500; i++) {
        struct pair_source source = source_at(now_s);
        struct pair_facts found;
        snprintf(path, sizeof path, "/%0*d/..%s", i, 0, cert_file);
        memset(path, '/', (size_t)i + 4);
        source.text[PAIR_CERT] = path;
        assert_true(pair_index_find(index, &source, &found));
        assert_int_equal(found.id, i);
        pair_facts_free(&found);
    }
    assert_false(finds(index, now_s));
    pair_facts_free(&facts);
    pair_index_close(index);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
UNIT_TESTS(TEST(says_what_reading_says), TEST(keeps_rare_properties),
           TEST(time_changes_what_is_said), TEST(other_files_are_read),
           TEST(fresh_files_are_not_kept), TEST(damage_is_noticed),
           TEST(those_of_others_are_refused), TEST(nonsense_breaks_nothing),
           TEST(times_far_away_are_not_known), TEST(pipe_is_no_file_of_a_pair),
           TEST(what_no_certificate_has_is_not_believed), TEST(count_has_its_bound),
           TEST(finds_each_of_many))

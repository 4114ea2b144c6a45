/* SPDX-License-Identifier: Apache-2.0 */
#include "control/store/store_lmdb.c"

#include "base/clock.h"
#include "unit.h"

#include "store_soon.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>

static char directory[64], path[96], file[96];

static int make_directory(void **state)
{
    strncpy(directory, "/tmp/ferrule-lmdb-XXXXXX", sizeof directory - 1);
    if (!mkdtemp(directory))
        return -1;
    snprintf(path, sizeof path, "%s/store", directory);
    snprintf(file, sizeof file, "%s/acme.json", directory);
    return 0;
}

static int remove_directory(void **state)
{
    static const char *const names[] = {"store/data.mdb", "store/lock",    "acme.json",
                                        "acme.json.lock", "acme.json.tmp", "other",
                                        "store/other"};
    char at[128];
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        snprintf(at, sizeof at, "%s/%s", directory, names[i]);
        unlink(at);
    }
    rmdir(path);
    return rmdir(directory);
}

/* A certificate of these names, the first one the main one. */
static struct store_cert make_cert(const char *resolver, const char *const *names, uint32_t count)
{
    struct store_cert c = {.resolver = mem_strdup(resolver),
                           .main = mem_strdup(names[0]),
                           .sans = mem_zalloc(count * sizeof *c.sans),
                           .san_count = count - 1};
    struct key *key;
    struct buf der = {0}, chain = {0};
    struct why why = {""};
    for (uint32_t i = 1; i < count; i++)
        c.sans[i - 1] = mem_strdup(names[i]);
    assert_true(result_is_ok(key_generate(KEY_EC256, &key, &why)));
    assert_true(result_is_ok(x509_self_signed(key, names, count, 10, &der, &why)));
    for (int i = 0; i < 8; i++) { /* as long as real ones: pages of its own */
        buf_put_be(&chain, der.len, 3);
        buf_put_span(&chain, buf_span(&der));
    }
    assert_true(result_is_ok(x509_chain_to_pem(buf_span(&chain), &c.chain_pem)));
    assert_true(result_is_ok(key_to_pem(key, &c.key_pem)));
    key_free(key);
    buf_free(&der);
    buf_free(&chain);
    return c;
}

static void put_new(struct store *s, const char *resolver, const char *main, const char *san)
{
    const char *names[] = {main, san};
    struct why why = {""};
    struct store_cert c = make_cert(resolver, names, san ? 2 : 1);
    struct result r = store_put_cert(s, &c, &why);
    assert_string_equal(why.text, "");
    assert_true(result_is_ok(r));
    store_free_cert(&c);
}

static struct store *open_good(void)
{
    struct store *s = NULL;
    struct why why = {""};
    (void)!result_is_ok(store_open(path, &s, &why));
    assert_string_equal(why.text, "");
    assert_non_null(s);
    return s;
}

static const struct store_account account = {
    .email = (char *)"a@b.test",
    .registration_uri = (char *)"https://ca.test/acct/1",
    .key_der = {(uint8_t *)"OLD", 3, 0},
    .next_key_der = {(uint8_t *)"NEW", 3, 0},
    .key_type = KEY_RSA4096,
};

static void certificates_survive_as_they_were(void **unused)
{
    static const char *const names[] = {"b.test", "*.b.test"};
    struct store_cert c = make_cert("le", names, 2);
    struct why why = {""};
    struct store *s = open_good();
    assert_true(result_is_ok(store_put_cert(s, &c, &why)));
    store_close(s);
    s = open_good();
    assert_int_equal(store_cert_count(s), 1);
    const struct store_cert *found = store_cert_at(s, 0, &why);
    assert_non_null(found);
    assert_string_equal(found->resolver, "le");
    assert_string_equal(found->main, "b.test");
    assert_int_equal(found->san_count, 1);
    assert_string_equal(found->sans[0], "*.b.test");
    assert_true(span_eq(buf_span(&found->chain_pem), buf_span(&c.chain_pem)));
    assert_true(span_eq(buf_span(&found->key_pem), buf_span(&c.key_pem)));
    store_close(s);
    store_free_cert(&c);
}

static uint32_t places_of(struct store *store, const char *name)
{
    struct store_lmdb *s = lmdb_of(store);
    MDB_txn *txn;
    MDB_cursor *cursor;
    MDB_val k = val_of(span_str(name)), v;
    size_t count = 0;
    assert_int_equal(lmdb_dir_begin(&s->dir, MDB_RDONLY, &txn), 0);
    assert_int_equal(mdb_cursor_open(txn, s->dir.tables[NAMES], &cursor), 0);
    if (!mdb_cursor_get(cursor, &k, &v, MDB_SET_KEY))
        assert_int_equal(mdb_cursor_count(cursor, &count), 0);
    mdb_cursor_close(cursor);
    mdb_txn_abort(txn);
    return (uint32_t)count;
}

static bool take_away(struct store *s, const char *resolver, const char *main, const char *san)
{
    struct why why;
    struct store_cert c = {.resolver = (char *)resolver,
                           .main = (char *)main,
                           .sans = (char *[]){(char *)san},
                           .san_count = san ? 1 : 0};
    return result_is_ok(store_remove_cert(s, &c, &why));
}

static void a_renewal_replaces_only_its_own(void **unused)
{
    struct why why = {""};
    struct store *s = open_good();
    put_new(s, "le", "b.test", "c.test");
    put_new(s, "le", "b.test", NULL);
    put_new(s, "zero", "b.test", NULL);
    assert_int_equal(places_of(s, "b.test"), 3);
    put_new(s, "le", "c.test", "b.test"); /* the first again, names in another order */
    assert_int_equal(store_cert_count(s), 3);
    assert_int_equal(places_of(s, "b.test"), 3);
    assert_int_equal(places_of(s, "c.test"), 1);
    assert_string_equal(store_cert_at(s, 2, &why)->main, "c.test");
    assert_true(take_away(s, "le", "b.test", NULL));
    assert_int_equal(store_cert_count(s), 2);
    assert_int_equal(places_of(s, "b.test"), 2);
    assert_true(take_away(s, "le", "b.test", "c.test"));
    assert_true(take_away(s, "zero", "b.test", NULL));
    assert_true(take_away(s, "zero", "b.test", NULL));
    assert_int_equal(store_cert_count(s), 0);
    assert_int_equal(places_of(s, "b.test"), 0);
    uint64_t last = lmdb_of(s)->count;
    put_new(s, "le", "d.test", NULL);
    assert_true(lmdb_of(s)->ids[last] == 5); /* no id comes twice */
    store_close(s);
}

static void accounts_of_several_cas(void **unused)
{
    struct why why = {""};
    struct store *s = open_good();
    struct store_account other = account;
    other.next_key_der = (struct buf){0};
    assert_null(store_account(s, "le"));
    assert_true(result_is_ok(store_put_account(s, "le", &account, &why)));
    assert_true(result_is_ok(store_put_account(s, "le (ca.test)", &other, &why)));
    store_close(s);
    s = open_good();
    const struct store_account *a = store_account(s, "le");
    assert_string_equal(a->email, "a@b.test");
    assert_string_equal(a->registration_uri, "https://ca.test/acct/1");
    assert_int_equal(a->key_type, KEY_RSA4096);
    assert_true(span_eq(buf_span(&a->key_der), SPAN_LITERAL("OLD")));
    assert_true(span_eq(buf_span(&a->next_key_der), SPAN_LITERAL("NEW")));
    assert_int_equal(store_account(s, "le (ca.test)")->next_key_der.len, 0);
    assert_string_equal(store_account_name(s, 0), "le");
    assert_string_equal(store_account_name(s, 1), "le (ca.test)");
    assert_null(store_account_name(s, 2));
    assert_true(result_is_ok(store_put_account(s, "le", &other, &why)));
    assert_int_equal(store_account(s, "le")->next_key_der.len, 0);
    store_close(s);
}

static void only_what_can_be_read_is_taken(void **unused)
{
    struct why why = {""};
    struct store *s = open_good();
    struct store_cert c = make_cert("le", (const char *[]){"b.test"}, 1);
    struct buf good = c.chain_pem;
    c.chain_pem = (struct buf){(uint8_t *)"CERT", 4, 0};
    assert_int_equal(store_put_cert(s, &c, &why).code, ERR_FORMAT);
    c.chain_pem = good;
    free(c.main);
    c.main = mem_zalloc(300);
    memset(c.main, 'a', 254);
    assert_int_equal(store_put_cert(s, &c, &why).code, ERR_FORMAT);
    assert_int_equal(store_cert_count(s), 0);
    store_close(s);
    store_free_cert(&c);
}

static void modes_are_repaired(void **unused)
{
    struct stat st;
    char data[128];
    snprintf(data, sizeof data, "%s/data.mdb", path);
    store_close(open_good());
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0700);
    assert_int_equal(stat(data, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    chmod(path, 0755);
    chmod(data, 0644);
    store_close(open_good());
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0700);
    assert_int_equal(stat(data, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
}

static void what_is_no_store_is_refused(void **unused)
{
    struct store *s;
    struct why why = {""};
    int fd = open(path, O_WRONLY | O_CREAT, 0600);
    close(fd);
    assert_int_equal(store_open(path, &s, &why).code, ERR_PERMISSION);
    assert_non_null(strstr(why.text, "is not a directory"));
    unlink(path);
    store_close(open_good());
    assert_int_equal(mkdir(path, 0700), -1);
    char data[128], other[128];
    snprintf(data, sizeof data, "%s/data.mdb", path);
    snprintf(other, sizeof other, "%s/other", directory);
    assert_int_equal(rename(data, other), 0);
    assert_int_equal(symlink(other, data), 0);
    assert_int_equal(store_open(path, &s, &why).code, ERR_PERMISSION);
    assert_non_null(strstr(why.text, "not a regular file"));
}

/* Named by mistake, as /etc might be: nothing is put there, and the mode stays as it is. */
static void a_directory_with_other_things_is_left_alone(void **unused)
{
    struct store *s;
    struct stat st;
    struct why why = {""};
    char other[128], data[128];
    snprintf(other, sizeof other, "%s/other", path);
    snprintf(data, sizeof data, "%s/data.mdb", path);
    assert_int_equal(mkdir(path, 0755), 0);
    assert_int_equal(chmod(path, 0755), 0);
    close(open(other, O_WRONLY | O_CREAT, 0600));
    assert_int_equal(store_open(path, &s, &why).code, ERR_CONFIG);
    assert_non_null(strstr(why.text, path));
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0755);
    assert_int_equal(access(data, F_OK), -1);
    unlink(other);
    store_close(open_good());
    close(open(other, O_WRONLY | O_CREAT, 0600)); /* beside a store it does not matter */
    store_close(open_good());
}

/* It holds private keys. */
static void programs_do_not_inherit_the_file(void **unused)
{
    struct store *s = open_good();
    uint32_t found = 0;
    for (int fd = 3; fd < 64; fd++) {
        char link[32], at[128] = "";
        snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
        if (readlink(link, at, sizeof at - 1) == -1 || !strstr(at, path))
            continue;
        assert_true(fcntl(fd, F_GETFD) & FD_CLOEXEC);
        found++;
    }
    assert_true(found >= 2);
    store_close(s);
}

/* Not even the head of the file could be written whole: it is no damaged store when there is room
 * again. */
static void a_disk_that_is_full_at_first(void **unused)
{
    pid_t child = fork();
    if (child == 0) {
        struct rlimit limit = {4096, RLIM_INFINITY};
        struct why why = {""};
        struct store *s;
        sigaction(SIGXFSZ, &(struct sigaction){.sa_handler = SIG_IGN}, NULL);
        if (setrlimit(RLIMIT_FSIZE, &limit) || store_open(path, &s, &why).code != ERR_STORE)
            _exit(2);
        limit.rlim_cur = RLIM_INFINITY;
        if (setrlimit(RLIMIT_FSIZE, &limit) || !result_is_ok(store_open(path, &s, &why)))
            _exit(3);
        store_close(s);
        _exit(0);
    }
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
}

/* A number that was lost must not lead to another certificate's place. */
static void no_place_is_given_twice(void **unused)
{
    struct why why = {""};
    struct store *store = open_good();
    struct store_lmdb *s = lmdb_of(store);
    MDB_txn *txn;
    put_new(store, "le", "a.test", NULL);
    put_new(store, "le", "b.test", NULL);
    assert_int_equal(lmdb_dir_begin(&s->dir, 0, &txn), 0);
    assert_int_equal(put(s, txn, META, SPAN_LITERAL(META_LAST_ID), SPAN_LITERAL("?")), 0);
    assert_int_equal(mdb_txn_commit(txn), 0);
    put_new(store, "le", "c.test", NULL);
    assert_int_equal(store_cert_count(store), 3);
    assert_string_equal(store_cert_at(store, 0, &why)->main, "a.test");
    assert_string_equal(store_cert_at(store, 2, &why)->main, "c.test");
    store_close(store);
}

/* Else another would be registered, and its key would take the place of the one that is there. */
static void an_account_that_cannot_be_read_is_not_missing(void **unused)
{
    struct why why = {""};
    char away[128];
    struct store *store = open_good();
    struct store_lmdb *s = lmdb_of(store);
    assert_true(result_is_ok(store_put_account(store, "le", &account, &why)));
    assert_false(store_account(store, "le")->unreadable);
    mdb_env_close(s->dir.env); /* as after an error of the disk */
    s->dir.env = NULL;
    snprintf(away, sizeof away, "%s/away", directory);
    assert_int_equal(rename(path, away), 0);
    const struct store_account *found = store_account(store, "le");
    assert_non_null(found);
    assert_true(found->unreadable);
    assert_int_equal(rename(away, path), 0);
    assert_string_equal(store_account(store, "le")->email, "a@b.test");
    assert_null(store_account(store, "other"));
    store_close(store);
}

static void a_damaged_account_is_left_out(void **unused)
{
    struct why why = {""};
    struct store *from = open_good(), *to;
    struct store_lmdb *s = lmdb_of(from);
    struct store_copied copied;
    MDB_txn *txn;
    assert_true(result_is_ok(store_put_account(from, "le", &account, &why)));
    assert_int_equal(lmdb_dir_begin(&s->dir, 0, &txn), 0);
    assert_int_equal(put(s, txn, ACCOUNTS, SPAN_LITERAL("bad"), SPAN_LITERAL("?")), 0);
    assert_int_equal(mdb_txn_commit(txn), 0);
    assert_true(result_is_ok(store_open(file, &to, &why)));
    assert_true(result_is_ok(store_copy(from, to, &copied, &why)));
    assert_int_equal(copied.accounts, 1);
    assert_int_equal(copied.left_out, 1);
    store_close(to);
    store_close(from);
}

static void one_process_at_a_time(void **unused)
{
    struct store *other;
    struct why why = {""};
    char want[32];
    struct store *s = open_good();
    snprintf(want, sizeof want, "(process %d)", (int)getpid());
    assert_int_equal(store_open(path, &other, &why).code, ERR_BUSY);
    assert_non_null(strstr(why.text, want));
    store_close(s);
    store_close(open_good());
}

static void a_later_form_is_left_alone(void **unused)
{
    struct store *store = open_good(), *again;
    struct store_lmdb *s = lmdb_of(store);
    struct number later = number_of(2);
    struct why why = {""};
    MDB_txn *txn;
    assert_int_equal(lmdb_dir_begin(&s->dir, 0, &txn), 0);
    assert_int_equal(put(s, txn, META, SPAN_LITERAL(META_FORM), span_of(later.bytes, 8)), 0);
    assert_int_equal(mdb_txn_commit(txn), 0);
    store_close(store);
    assert_int_equal(store_open(path, &again, &why).code, ERR_VERSION);
    assert_non_null(strstr(why.text, path));
}

/* A file size limit makes writes fail as a full disk does. */
static void a_full_disk_loses_nothing(void **unused)
{
    char data[128];
    struct stat st;
    struct why why = {""};
    struct store *s = open_good();
    for (int i = 0; i < 8; i++)
        put_new(s, "le",
                (const char *[]){"a.test", "b.test", "c.test", "d.test", "e.test", "f.test",
                                 "g.test", "h.test"}[i],
                NULL);
    store_close(s);
    snprintf(data, sizeof data, "%s/data.mdb", path);
    assert_int_equal(stat(data, &st), 0);
    pid_t child = fork();
    if (child == 0) {
        struct rlimit limit = {(rlim_t)st.st_size, RLIM_INFINITY};
        struct store_cert c = make_cert("le", (const char *[]){"full.test"}, 1);
        sigaction(SIGXFSZ, &(struct sigaction){.sa_handler = SIG_IGN}, NULL);
        s = open_good();
        if (setrlimit(RLIMIT_FSIZE, &limit))
            _exit(2);
        int fails = 0;
        for (int i = 0; i < 40; i++) { /* free pages of the file are used up first */
            c.main[0] = (char)('a' + i % 26);
            c.main[1] = (char)('a' + i / 26);
            struct result r = store_put_cert(s, &c, &why);
            fails += r.code == ERR_STORE && strstr(why.text, path);
        }
        uint32_t there = store_cert_count(s);
        limit.rlim_cur = RLIM_INFINITY;
        if (!fails || there + (uint32_t)fails != 48 || setrlimit(RLIMIT_FSIZE, &limit))
            _exit(3);
        memcpy(c.main, "zz", 2);
        if (!result_is_ok(store_put_cert(s, &c, &why)) || store_cert_count(s) != there + 1)
            _exit(4);
        store_close(s);
        s = open_good();
        _exit(store_cert_count(s) == there + 1 ? 0 : 5);
    }
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    s = open_good();
    for (uint32_t i = 0; i < store_cert_count(s); i++)
        assert_non_null(store_cert_at(s, i, &why));
    assert_string_equal(store_cert_at(s, 7, &why)->main, "h.test");
    store_close(s);
}

/* However much of the file is gone: it opens with what it has, or says that it is damaged, and the
 * file is not made any smaller. */
static void a_cut_file_never_ends_the_process(void **unused)
{
    char data[128];
    struct stat st;
    struct store *s = open_good();
    struct why why = {""};
    for (int i = 0; i < 12; i++)
        put_new(s, "le", "a.test", i % 2 ? "b.test" : "c.test");
    assert_true(result_is_ok(store_put_account(s, "le", &account, &why)));
    store_close(s);
    snprintf(data, sizeof data, "%s/data.mdb", path);
    int refused = 0, unreadable = 0;
    int fd = open(data, O_RDONLY);
    assert_int_equal(fstat(fd, &st), 0);
    uint8_t *whole = mem_alloc((size_t)st.st_size);
    assert_int_equal(read(fd, whole, (size_t)st.st_size), st.st_size);
    close(fd);
    for (off_t size = 4096; size < st.st_size; size += 4096) {
        fd = open(data, O_WRONLY | O_TRUNC);
        assert_int_equal(write(fd, whole, (size_t)size), size);
        close(fd);
        struct result r = store_open(path, &s, &why);
        if (!result_is_ok(r)) {
            assert_int_equal(r.code, ERR_STORE);
            assert_non_null(strstr(why.text, path));
            refused++;
            continue;
        }
        for (uint32_t i = 0; i < store_cert_count(s); i++)
            unreadable += !store_cert_at(s, i, &why);
        (void)store_account(s, "le");
        store_close(s);
    }
    assert_true(refused > 0);
    assert_true(unreadable > 0);
    free(whole);
}

static void bytes_that_changed_are_noticed(void **unused)
{
    char data[128];
    struct stat st;
    struct why why = {""};
    struct store *s = open_good();
    put_new(s, "le", "flipped.test", NULL);
    put_new(s, "le", "good.test", NULL);
    store_close(s);
    snprintf(data, sizeof data, "%s/data.mdb", path);
    int fd = open(data, O_RDWR);
    assert_int_equal(fstat(fd, &st), 0);
    uint8_t *all = mem_alloc((size_t)st.st_size);
    assert_int_equal(read(fd, all, (size_t)st.st_size), st.st_size);
    for (off_t at = 0; at + 12 < st.st_size; at++) /* in the names of every record */
        if (!memcmp(all + at, "flipped.test", 12))
            assert_int_equal(pwrite(fd, "flopped.test", 12, at), 12);
    close(fd);
    free(all);
    s = open_good();
    assert_int_equal(store_cert_count(s), 2);
    assert_null(store_cert_at(s, 0, &why));
    assert_non_null(strstr(why.text, "damaged"));
    assert_string_equal(store_cert_at(s, 1, &why)->main, "good.test");
    put_new(s, "le", "flipped.test", NULL);
    store_close(s);
}

static void a_process_killed_at_any_time_leaves_a_whole_store(void **unused)
{
    struct why why = {""};
    store_close(open_good());
    for (int round = 0; round < 5; round++) {
        pid_t child = fork();
        if (child == 0) {
            struct store_cert c = make_cert("le", (const char *[]){"k.test"}, 1);
            struct store *s = open_good();
            for (;;)
                if (!result_is_ok(store_put_cert(s, &c, &why)))
                    _exit(1);
        }
        uint32_t count = 0;
        uint64_t end_ns = clock_now_ns() + (20u + (unsigned)round * 7) * NS_PER_MS;
        while (clock_now_ns() < end_ns)
            (void)poll(NULL, 0, 1);
        kill(child, SIGKILL);
        int status;
        assert_int_equal(waitpid(child, &status, 0), child);
        assert_true(WIFSIGNALED(status));
        struct store *s = open_good();
        count = store_cert_count(s);
        assert_true(count <= 1);
        if (count) {
            assert_string_equal(store_cert_at(s, 0, &why)->main, "k.test");
            assert_int_equal(places_of(s, "k.test"), 1);
        }
        store_close(s);
    }
}

static void copies_both_ways(void **unused)
{
    struct store *from, *to = open_good();
    struct why why = {""};
    struct store_copied copied;
    assert_true(result_is_ok(store_open(file, &from, &why)));
    assert_true(result_is_ok(store_put_account(from, "le", &account, &why)));
    put_new(from, "le", "b.test", "c.test");
    put_new(from, "le", "d.test", NULL);
    struct store_cert bad = {.resolver = (char *)"le",
                             .main = (char *)"bad.test",
                             .chain_pem = {(uint8_t *)"CERT", 4, 0},
                             .key_pem = {(uint8_t *)"KEY", 3, 0}};
    assert_true(result_is_ok(store_put_cert(from, &bad, &why)));
    put_new(to, "le", "d.test", NULL);
    assert_true(result_is_ok(store_copy(from, to, &copied, &why)));
    assert_int_equal(copied.accounts, 1);
    assert_int_equal(copied.certs, 1);
    assert_int_equal(copied.left_out, 1);
    assert_int_equal(store_cert_count(to), 2);
    assert_true(span_eq(buf_span(&store_account(to, "le")->next_key_der), SPAN_LITERAL("NEW")));
    assert_true(result_is_ok(store_copy(from, to, &copied, &why)));
    assert_int_equal(copied.accounts + copied.certs, 0);
    store_close(from);

    unlink(file);
    assert_true(result_is_ok(store_open(file, &from, &why)));
    assert_true(result_is_ok(store_copy(to, from, &copied, &why)));
    assert_int_equal(copied.accounts, 1);
    assert_int_equal(copied.certs, 2);
    store_close(from);
    assert_true(result_is_ok(store_open(file, &from, &why)));
    assert_int_equal(store_cert_count(from), 2);
    assert_string_equal(store_account(from, "le")->email, "a@b.test");
    store_close(from);
    store_close(to);
}

/* ---- the index ------------------------------------------------------------------------------ */

static char walked[4096];

static void note_name(void *arg, struct span name, const struct store_place *places, uint32_t count)
{
    size_t len = strlen(walked);
    assert_true(count >= 1 && places[0].id && places[0].not_before_s < places[0].not_after_s);
    snprintf(walked + len, sizeof walked - len, "%.*s:%u ", SPAN_FMT(name), count);
}

static void names_are_walked_in_pieces(void **state)
{
    struct store *s = open_good();
    struct why why = {""};
    struct buf last = {0};
    bool end = false;
    put_new(s, "le", "a.test", "www.a.test");
    put_new(s, "le", "b.test", "www.a.test");
    put_new(s, "other", "b.test", NULL);
    put_new(s, "le", "c.test", NULL);
    walked[0] = 0;
    assert_true(result_is_ok(store_walk(s, &last, 2, note_name, NULL, &end, &why)));
    assert_string_equal(walked, "a.test:1 b.test:2 ");
    assert_false(end);
    put_new(s, "le", "b.test", NULL); /* changes between the steps are met or not, none twice */
    put_new(s, "le", "bb.test", NULL);
    while (!end)
        assert_true(result_is_ok(store_walk(s, &last, 2, note_name, NULL, &end, &why)));
    assert_string_equal(walked, "a.test:1 b.test:2 bb.test:1 c.test:1 www.a.test:2 ");
    buf_free(&last);
    store_close(s);
}

/* More than the places that a name is looked up with. */
static void each_of_many_with_one_name_is_found(void **state)
{
    struct store *s = open_good();
    char name[64], *sans[] = {name};
    for (int i = 0; i < STORE_PLACES_MAX + 4; i++) {
        snprintf(name, sizeof name, "x%d.test", i);
        put_new(s, "le", "a.test", name);
    }
    for (int i = 0; i < STORE_PLACES_MAX + 4; i++) {
        struct store_cert asked = {
            .resolver = (char *)"le", .main = (char *)"a.test", .sans = sans, .san_count = 1};
        uint64_t id = 0;
        snprintf(name, sizeof name, "x%d.test", i);
        assert_true(result_is_ok(store_find(s, &asked, &id)));
        assert_true(id > 0);
    }
    store_close(s);
}

static void certificates_are_found_by_name(void **state)
{
    struct store *s = open_good();
    struct store_place places[STORE_PLACES_MAX];
    struct why why = {""};
    struct buf chain = {0}, key = {0};
    uint32_t count;
    uint64_t id;
    put_new(s, "le", "a.test", NULL);
    put_new(s, "le", "a.test", "www.a.test");
    assert_true(result_is_ok(store_places(s, SPAN_LITERAL("a.test"), places, &count, &why)));
    assert_int_equal(count, 2);
    assert_true(places[0].id < places[1].id && !places[0].is_rsa);
    assert_true(places[0].not_after_s > clock_wall_s() + 9 * 86400);
    assert_true(result_is_ok(store_places(s, SPAN_LITERAL("none.test"), places, &count, &why)));
    assert_int_equal(count, 0);
    char *sans[] = {(char *)"a.test"};
    struct store_cert asked = {
        .resolver = (char *)"le", .main = (char *)"www.a.test", .sans = sans};
    assert_int_equal(store_find(s, &asked, &id).code, ERR_NOT_FOUND);
    asked.san_count = 1;
    assert_true(result_is_ok(store_find(s, &asked, &id)));
    assert_int_equal(id, places[1].id);
    const struct store_cert *c = store_cert_of(s, id, &why);
    assert_non_null(c);
    assert_string_equal(c->main, "a.test");
    assert_true(result_is_ok(store_read(s, id, &chain, &key, &why)));
    struct buf pem = {0};
    assert_true(result_is_ok(x509_chain_to_pem(buf_span(&chain), &pem)));
    assert_true(span_eq(buf_span(&pem), buf_span(&c->chain_pem)));
    assert_true(key.len > 0);
    assert_int_equal(store_read(s, id + 1, &chain, &key, &why).code, ERR_NOT_FOUND);
    for (uint32_t i = 0; i < STORE_PLACES_MAX + 2; i++) {
        char resolver[16];
        snprintf(resolver, sizeof resolver, "r%u", i);
        put_new(s, resolver, "many.test", NULL);
    }
    assert_true(result_is_ok(store_places(s, SPAN_LITERAL("many.test"), places, &count, &why)));
    assert_int_equal(count, STORE_PLACES_MAX);
    for (uint32_t i = 1; i < count; i++)
        assert_int_equal(places[i].id, places[i - 1].id + 1);
    assert_int_equal(places[count - 1].id, store_cert_count(s) + id - 2);
    buf_free(&pem);
    buf_free(&chain);
    buf_wipe_free(&key);
    store_close(s);
}

/* Certificates that are put soon, reading and writing meanwhile; one that cannot be read fails
 * alone. */
/* What takes a certificate's place between the question where it is and reading it is there at
 * once.
 */
static void reads_once_more(struct store *s, const struct store_cert *cert)
{
    struct buf chain = {0}, key = {0};
    struct why why = {""};
    uint64_t id;
    struct result r = result_fail(ERR_NOT_FOUND);
    for (int i = 0; i < 2 && r.code == ERR_NOT_FOUND; i++) {
        assert_true(result_is_ok(store_find(s, cert, &id)));
        r = store_read(s, id, &chain, &key, &why);
    }
    assert_true(result_is_ok(r));
    buf_free(&chain);
    buf_wipe_free(&key);
}

static void certificates_put_soon(void **unused)
{
    struct loop *loop = new_loop();
    struct store *s = open_good();
    struct told told[6];
    struct why why = {""};
    int left = 0;
    static const char *const mains[] = {"a.test", "b.test", "a.test", "c.test", "a.test"};
    for (int i = 0; i < 5; i++) {
        struct store_cert c = make_cert("le", &mains[i], 1);
        put_soon(s, &told[i], loop, &left, &c);
        store_free_cert(&c);
    }
    struct store_cert bad = {.resolver = (char *)"le", .main = (char *)"bad.test"};
    put_soon(s, &told[5], loop, &left, &bad);
    s->start.fire(&s->start); /* as the loop would */
    assert_true(result_is_ok(store_put_account(s, "le", &account, &why)));
    assert_int_equal(store_cert_count(s), 3);
    assert_non_null(store_account(s, "le"));
    assert_true(result_is_ok(loop_run(loop)));
    for (int i = 0; i < 5; i++) {
        assert_int_equal(told[i].count, 1);
        assert_string_equal(told[i].failure, "");
    }
    assert_string_not_equal(told[5].failure, "");
    struct store_cert last = make_cert("le", &mains[1], 1);
    for (int i = 0; i < 50; i++) { /* one in the helper thread, and at the same time looks at all */
        put_soon(s, &told[0], loop, &left, &last);
        s->start.fire(&s->start);
        if (i % 2)
            reads_once_more(s, &last);
        for (uint32_t k = 0; k < store_cert_count(s); k++)
            assert_non_null(store_cert_at(s, k, &why));
        assert_non_null(store_account(s, "le"));
        assert_true(result_is_ok(loop_run(loop)));
    }
    put_soon(s, &told[0], loop, &left, &last);
    store_free_cert(&last);
    end_both(loop, s);
    s = open_good();
    assert_int_equal(store_cert_count(s), 3);
    store_close(s);
}

#define CASE(f) cmocka_unit_test_setup_teardown(f, make_directory, remove_directory)
UNIT_TESTS(CASE(certificates_survive_as_they_were), CASE(a_renewal_replaces_only_its_own),
           CASE(accounts_of_several_cas), CASE(only_what_can_be_read_is_taken),
           CASE(modes_are_repaired), CASE(what_is_no_store_is_refused),
           CASE(a_directory_with_other_things_is_left_alone), CASE(a_disk_that_is_full_at_first),
           CASE(no_place_is_given_twice), CASE(programs_do_not_inherit_the_file),
           CASE(an_account_that_cannot_be_read_is_not_missing), CASE(a_damaged_account_is_left_out),
           CASE(one_process_at_a_time), CASE(a_later_form_is_left_alone),
           CASE(a_full_disk_loses_nothing), CASE(a_cut_file_never_ends_the_process),
           CASE(bytes_that_changed_are_noticed),
           CASE(a_process_killed_at_any_time_leaves_a_whole_store), CASE(copies_both_ways),
           CASE(names_are_walked_in_pieces), CASE(certificates_are_found_by_name),
           CASE(each_of_many_with_one_name_is_found), CASE(certificates_put_soon))

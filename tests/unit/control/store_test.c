/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>

/* As where the file is a mount point. */
static bool is_mounted;

static int rename_or_not(const char *from, const char *to)
{
    errno = EBUSY;
    return is_mounted ? -1 : rename(from, to);
}

#include "control/store/store.c"
#define rename rename_or_not
#include "control/store/store_file.c"
#undef rename
#include "control/store/store_json.c"

#include "unit.h"

#include "store_soon.h"

#include <sys/resource.h>
#include <sys/wait.h>

static char directory[64], path[96];

static int make_directory(void **state)
{
    strncpy(directory, "/tmp/ferrule-store-XXXXXX", sizeof directory - 1);
    if (!mkdtemp(directory))
        return -1;
    snprintf(path, sizeof path, "%s/acme.json", directory);
    return 0;
}

static int remove_directory(void **state)
{
    static const char *const names[] = {"acme.json", "acme.json.lock", "acme.json.tmp",
                                        "link.json"};
    char file[128];
    for (int i = 0; i < 4; i++) {
        snprintf(file, sizeof file, "%s/%s", directory, names[i]);
        unlink(file);
    }
    return rmdir(directory);
}

static void put_file(const char *text, mode_t mode)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    assert_true(fd != -1);
    assert_int_equal(write(fd, text, strlen(text)), strlen(text));
    assert_int_equal(fchmod(fd, mode), 0);
    close(fd);
}

static char *get_file(void)
{
    static char text[20000];
    FILE *f = fopen(path, "r");
    assert_non_null(f);
    size_t n = fread(text, 1, sizeof text - 1, f);
    text[n] = 0;
    fclose(f);
    return text;
}

static struct store_cert cert_of(const char *main, char **sans, uint32_t count, const char *pem)
{
    return (struct store_cert){.resolver = (char *)"le",
                               .main = (char *)main,
                               .sans = sans,
                               .san_count = count,
                               .chain_pem = {(uint8_t *)pem, strlen(pem), 0},
                               .key_pem = {(uint8_t *)"KEY", 3, 0}};
}

/* Structure as Traefik documents it, with members that ferrule does not know. */
static const char traefik_file[] =
    "{\"le\":{\"Account\":{\"Email\":\"a@b.test\",\"Registration\":{\"body\":{\"status\":\"valid\","
    "\"contact\":[\"mailto:a@b.test\"]},\"uri\":\"https://ca.test/acct/1\"},"
    "\"PrivateKey\":\"a2V5\",\"KeyType\":\"4096\",\"Extra\":7},\"Certificates\":[{\"domain\":{"
    "\"main\":\"b.test\",\"sans\":[\"*.b.test\"]},\"certificate\":\"Q0VSVA==\",\"key\":\"S0VZ\","
    "\"Store\":\"default\",\"Other\":[1]}]},\"empty\":{\"Account\":null,\"Certificates\":null}}";

static void reads_and_keeps_what_traefik_wrote(void **unused)
{
    struct store *s;
    struct why why = {""};
    put_file(traefik_file, 0600);
    assert_true(result_is_ok(store_open(path, &s, &why)));
    const struct store_account *a = store_account(s, "le");
    assert_string_equal(a->email, "a@b.test");
    assert_string_equal(a->registration_uri, "https://ca.test/acct/1");
    assert_int_equal(a->key_type, KEY_RSA4096);
    assert_int_equal(a->key_der.len, 3);
    assert_null(store_account(s, "empty"));
    assert_int_equal(store_cert_count(s), 1);
    assert_string_equal(store_cert_at(s, 0, &why)->sans[0], "*.b.test");
    assert_int_equal(store_cert_at(s, 0, &why)->chain_pem.len, 4);

    /* Same names in another order replace it; everything unknown stays. */
    char *sans[] = {(char *)"b.test"};
    struct store_cert again = cert_of("*.b.test", sans, 1, "NEWCERT");
    assert_true(result_is_ok(store_put_cert(s, &again, &why)));
    assert_int_equal(store_cert_count(s), 1);
    assert_string_equal(store_cert_at(s, 0, &why)->main, "*.b.test");
    assert_non_null(strstr(get_file(), "\"Other\""));
    assert_non_null(strstr(get_file(), "\"Extra\": 7"));
    store_close(s);
}

/* A file as Traefik v3 documents it, two resolvers and a third that has obtained nothing: a change
 * of one leaves every byte of meaning of the others. */
static void several_resolvers_and_unknown_members_survive(void **unused)
{
    static const char text[] =
        "{\n  \"letsencrypt\": {\n    \"Account\": {\n      \"Email\": \"ops@b.test\",\n"
        "      \"Registration\": {\"body\": {\"status\": \"valid\", \"contact\": "
        "[\"mailto:ops@b.test\"], \"orders\": \"https://ca.test/o\"}, \"uri\": "
        "\"https://ca.test/acct/7\"},\n      \"PrivateKey\": \"a2V5\", \"KeyType\": \"4096\"},\n"
        "    \"Certificates\": [{\"domain\": {\"main\": \"b.test\", \"sans\": [\"www.b.test\"]}, "
        "\"certificate\": \"Q0VSVA==\", \"key\": \"S0VZ\", \"Store\": \"default\"}]},\n"
        "  \"zero\": {\"Account\": {\"Email\": \"\", \"Registration\": {\"body\": {}, \"uri\": "
        "\"https://other.test/1\"}, \"PrivateKey\": \"bmV4dA==\", \"KeyType\": \"P384\", "
        "\"NextPrivateKey\": \"bmV3\"}, \"Certificates\": [{\"domain\": {\"main\": \"b.test\"}, "
        "\"certificate\": \"WkVSTw==\", \"key\": \"S0VZ\", \"Store\": \"tenant\", \"Future\": "
        "{\"a\": "
        "null}}], \"HTTPChallenges\": {}},\n  \"new\": {\"Account\": null, \"Certificates\": "
        "null}\n}";
    struct store *s;
    struct why why = {""};
    put_file(text, 0600);
    assert_true(result_is_ok(store_open(path, &s, &why)));
    assert_int_equal(store_cert_count(s), 2);
    assert_int_equal(store_account(s, "zero")->key_type, KEY_EC384);
    assert_int_equal(store_account(s, "zero")->next_key_der.len, 3);
    assert_string_equal(store_account_name(s, 1), "zero");
    assert_null(store_account_name(s, 2));
    struct store_cert c = cert_of("b.test", (char *[]){(char *)"www.b.test"}, 1, "NEWCERT");
    c.resolver = (char *)"letsencrypt";
    assert_true(result_is_ok(store_put_cert(s, &c, &why)));
    store_close(s);

    json_t *before = json_loads(text, 0, NULL), *after = json_loads(get_file(), 0, NULL);
    assert_true(json_equal(json_object_get(before, "zero"), json_object_get(after, "zero")));
    assert_true(json_equal(json_object_get(before, "new"), json_object_get(after, "new")));
    json_t *section = json_object_get(before, "letsencrypt");
    json_t *item = json_array_get(json_object_get(section, "Certificates"), 0);
    json_object_set_new(item, "certificate", json_string("TkVXQ0VSVA=="));
    assert_true(json_equal(before, after));
    json_decref(before);
    json_decref(after);
}

static void takes_in_what_others_wrote_meanwhile(void **unused)
{
    struct store *s;
    struct why why = {""};
    assert_true(result_is_ok(store_open(path, &s, &why)));
    put_file(traefik_file, 0600);
    struct store_cert c = cert_of("c.test", NULL, 0, "C");
    struct store_cert gone = cert_of("b.test", NULL, 0, "");
    assert_true(result_is_ok(store_put_cert(s, &c, &why)));
    assert_int_equal(store_cert_count(s), 2);
    assert_true(result_is_ok(store_remove_cert(s, &gone, &why)));
    assert_int_equal(store_cert_count(s), 2); /* its names are others */
    gone = cert_of("b.test", (char *[]){(char *)"*.b.test"}, 1, "");
    assert_non_null(store_account(s, "le"));
    assert_true(result_is_ok(store_remove_cert(s, &gone, &why)));
    assert_int_equal(store_cert_count(s), 1);
    store_close(s);
    assert_true(result_is_ok(store_open(path, &s, &why)));
    assert_string_equal(store_cert_at(s, 0, &why)->main, "c.test");
    store_close(s);
}

static void mode_is_repaired_and_damage_refused(void **unused)
{
    struct store *s;
    struct why why = {""};
    struct stat st;
    put_file("", 0644);
    assert_true(result_is_ok(store_open(path, &s, &why)));
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    store_close(s);
    static const char *const damaged[] = {"{\"le\":",
                                          "[]",
                                          "{\"le\":[]}",
                                          "\x80",
                                          "{\"le\":{\"Certificates\":[{}]}}",
                                          "{\"le\":{\"Account\":{\"PrivateKey\":\"?\"}}}"};
    for (size_t i = 0; i < sizeof damaged / sizeof *damaged; i++) {
        put_file(damaged[i], 0600);
        assert_int_equal(store_open(path, &s, &why).code, ERR_FORMAT);
        assert_non_null(strstr(why.text, "acme.json"));
        assert_string_equal(get_file(), damaged[i]);
    }
}

static void a_full_disk_leaves_the_old_file(void **unused)
{
    struct store *s;
    struct why why = {""};
    put_file(traefik_file, 0600);
    pid_t child = fork();
    if (child == 0) { /* a file size limit makes write(2) fail as a full disk does */
        struct rlimit limit = {100, 100};
        sigaction(SIGXFSZ, &(struct sigaction){.sa_handler = SIG_IGN}, NULL);
        struct store_cert c = cert_of("c.test", NULL, 0, "C");
        if (!result_is_ok(store_open(path, &s, &why)) || setrlimit(RLIMIT_FSIZE, &limit))
            _exit(2);
        struct result r = store_put_cert(s, &c, &why);
        _exit(r.code == ERR_STORE && store_cert_count(s) == 1 && strstr(why.text, "untouched") ? 0
                                                                                               : 1);
    }
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    assert_string_equal(get_file(), traefik_file);
}

static void put_beside(const char *text)
{
    char whole[sizeof path];
    memcpy(whole, path, sizeof path);
    strcat(path, ".tmp");
    put_file(text, 0600);
    memcpy(path, whole, sizeof path);
}

static bool is_beside(void)
{
    char name[sizeof path + 4];
    snprintf(name, sizeof name, "%s.tmp", path);
    return access(name, F_OK) == 0;
}

static void a_file_that_is_a_mount_point_is_written_over(void **unused)
{
    struct store *s;
    struct why why = {""};
    struct stat before, after;
    put_file(traefik_file, 0600);
    assert_int_equal(stat(path, &before), 0);
    is_mounted = true;
    assert_true(result_is_ok(store_open(path, &s, &why)));
    static char big[6000];
    memset(big, 'x', sizeof big - 1);
    struct store_cert longer = cert_of("n.test", NULL, 0, big),
                      shorter = cert_of("n.test", NULL, 0, "C");
    assert_true(result_is_ok(store_put_cert(s, &longer, &why)));
    assert_true(result_is_ok(store_put_cert(s, &shorter, &why)));
    store_close(s);
    is_mounted = false;
    assert_int_equal(stat(path, &after), 0);
    assert_true(before.st_ino == after.st_ino && after.st_size < 3000);
    assert_false(is_beside());
    assert_true(result_is_ok(store_open(path, &s, &why)));
    assert_int_equal(store_cert_count(s), 2);
    store_close(s);
}

static void a_write_over_that_was_cut_off_is_made_good(void **unused)
{
    struct store *s;
    struct why why = {""};
    static char torn[sizeof traefik_file];
    memcpy(torn, traefik_file, sizeof torn / 2);
    put_file(torn, 0600);
    put_beside(torn); /* no better: neither is touched */
    assert_int_equal(store_open(path, &s, &why).code, ERR_FORMAT);
    assert_non_null(strstr(why.text, "is not valid JSON"));
    assert_string_equal(get_file(), torn);
    assert_true(is_beside());
    put_beside(traefik_file);
    assert_true(result_is_ok(store_open(path, &s, &why)));
    assert_int_equal(store_cert_count(s), 1);
    store_close(s);
    assert_string_equal(get_file(), traefik_file);
    assert_false(is_beside());
}

static void one_process_at_a_time(void **unused)
{
    struct store *s, *other;
    struct why why = {""};
    assert_true(result_is_ok(store_open(path, &s, &why)));
    assert_int_equal(store_open(path, &other, &why).code, ERR_BUSY);
    store_close(s);
}

static void a_link_stays_a_link(void **unused)
{
    struct store *s;
    struct why why = {""};
    struct stat st;
    char link_path[128];
    snprintf(link_path, sizeof link_path, "%s/link.json", directory);
    put_file("", 0600);
    assert_int_equal(symlink(path, link_path), 0);
    assert_true(result_is_ok(store_open(link_path, &s, &why)));
    struct store_account a = {.email = (char *)"",
                              .registration_uri = (char *)"u",
                              .key_der = {(uint8_t *)"k", 1, 0},
                              .key_type = KEY_EC256};
    assert_true(result_is_ok(store_put_account(s, "le", &a, &why)));
    store_close(s);
    assert_int_equal(lstat(link_path, &st), 0);
    assert_true(S_ISLNK(st.st_mode));
    assert_non_null(strstr(get_file(), "P256"));
}

#define CASE(f) cmocka_unit_test_setup_teardown(f, make_directory, remove_directory)
/* A key that is about to replace the account's is kept beside it, until it is not there any more.
 */
static void test_next_account_key(void **state)
{
    struct store *store;
    struct why why;
    struct store_account account = {.email = (char *)"",
                                    .registration_uri = (char *)"https://ca/account/1",
                                    .key_der = {(uint8_t *)"OLD", 3, 0},
                                    .key_type = KEY_EC256,
                                    .next_key_der = {(uint8_t *)"NEW", 3, 0}};
    assert_true(result_is_ok(store_open(path, &store, &why)));
    assert_true(result_is_ok(store_put_account(store, "le", &account, &why)));
    store_close(store);
    assert_true(result_is_ok(store_open(path, &store, &why)));
    const struct store_account *found = store_account(store, "le");
    assert_non_null(found);
    assert_true(span_eq(buf_span(&found->next_key_der), SPAN_LITERAL("NEW")));
    account.next_key_der = (struct buf){0};
    assert_true(result_is_ok(store_put_account(store, "le", &account, &why)));
    assert_int_equal(store_account(store, "le")->next_key_der.len, 0);
    assert_null(strstr(get_file(), "NextPrivateKey"));
    store_close(store);
}

/* ---- put soon ------------------------------------------------------------------------------- */

static struct store *open_store(void)
{
    struct store *s = NULL;
    struct why why = {""};
    (void)!result_is_ok(store_open(path, &s, &why));
    assert_string_equal(why.text, "");
    return s;
}

static bool has_main(struct store *s, const char *main)
{
    struct why why;
    for (uint32_t i = 0; i < store_cert_count(s); i++)
        if (!strcmp(store_cert_at(s, i, &why)->main, main))
            return true;
    return false;
}

static void certificates_that_come_soon_are_there_when_told(void **unused)
{
    struct loop *loop = new_loop();
    struct store *s = open_store();
    struct told told[40];
    char names[40][32];
    int left = 0;
    for (int i = 0; i < 40; i++) {
        snprintf(names[i], sizeof names[i], "n%d.test", i / 2); /* each name twice */
        struct store_cert c = cert_of(names[i], NULL, 0, i % 2 ? "NEWER" : "OLDER");
        put_soon(s, &told[i], loop, &left, &c);
    }
    assert_int_equal(store_cert_count(s), 0);
    assert_true(result_is_ok(loop_run(loop)));
    for (int i = 0; i < 40; i++) {
        assert_int_equal(told[i].count, 1);
        assert_string_equal(told[i].failure, "");
    }
    assert_int_equal(store_cert_count(s), 20);
    end_both(loop, s);
    s = open_store();
    struct why why;
    assert_int_equal(store_cert_count(s), 20);
    for (uint32_t i = 0; i < 20; i++)
        assert_true(
            span_eq(buf_span(&store_cert_at(s, i, &why)->chain_pem), SPAN_LITERAL("NEWER")));
    store_close(s);
}

/* Changes that do not wait, by us and by others, while a certificate is being written. */
static void others_change_the_store_meanwhile(void **unused)
{
    struct loop *loop = new_loop();
    struct store *s = open_store();
    struct told told;
    struct why why = {""};
    int left = 0;
    struct store_account account = {.email = (char *)"",
                                    .registration_uri = (char *)"https://ca/account/1",
                                    .key_der = {(uint8_t *)"KEY", 3, 0}};
    struct store_cert a = cert_of("a.test", NULL, 0, "A"), b = cert_of("b.test", NULL, 0, "B");
    put_soon(s, &told, loop, &left, &a);
    start_writing(&s->start); /* as the loop would */
    assert_true(result_is_ok(store_put_account(s, "le", &account, &why)));
    assert_true(has_main(s, "a.test"));
    assert_true(result_is_ok(store_put_cert(s, &b, &why)));
    assert_true(result_is_ok(store_remove_cert(s, &a, &why)));
    assert_false(has_main(s, "a.test"));
    assert_true(result_is_ok(loop_run(loop)));
    assert_int_equal(told.count, 1);
    assert_false(has_main(s, "a.test"));

    put_file(traefik_file, 0600); /* somebody else's version */
    struct store_cert c = cert_of("c.test", NULL, 0, "C");
    put_soon(s, &told, loop, &left, &c);
    assert_true(result_is_ok(loop_run(loop)));
    assert_true(store_cert_count(s) == 2 && has_main(s, "c.test"));
    assert_string_equal(store_account(s, "le")->email, "a@b.test");
    end_both(loop, s);
    s = open_store();
    assert_true(store_cert_count(s) == 2 && has_main(s, "c.test"));
    assert_non_null(strstr(get_file(), "Other"));
    store_close(s);
}

static void what_cannot_be_written_is_told(void **unused)
{
    struct loop *loop = new_loop();
    struct store *s = open_store();
    struct told told;
    int left = 0;
    char blocked[128];
    struct store_cert a = cert_of("a.test", NULL, 0, "A");
    snprintf(blocked, sizeof blocked, "%s.tmp", path);
    assert_int_equal(mkdir(blocked, 0700), 0);
    put_soon(s, &told, loop, &left, &a);
    assert_true(result_is_ok(loop_run(loop)));
    assert_non_null(strstr(told.failure, "cannot write"));
    assert_int_equal(store_cert_count(s), 0);
    assert_int_equal(rmdir(blocked), 0);
    put_soon(s, &told, loop, &left, &a);
    assert_true(result_is_ok(loop_run(loop)));
    assert_string_equal(told.failure, "");
    assert_true(has_main(s, "a.test"));
    end_both(loop, s);
}

/* Nobody hears of it any more, but it is written. */
static void the_rest_is_written_at_the_end(void **unused)
{
    struct loop *loop = new_loop();
    struct store *s = open_store();
    struct told told[3];
    int left = 0;
    struct store_cert a = cert_of("a.test", NULL, 0, "A"), b = cert_of("b.test", NULL, 0, "B"),
                      c = cert_of("c.test", NULL, 0, "C");
    put_soon(s, &told[0], loop, &left, &a);
    start_writing(&s->start);
    put_soon(s, &told[1], loop, &left, &b);
    put_soon(s, &told[2], loop, &left, &c);
    store_put_cancel(&told[0].put);
    store_put_cancel(&told[1].put);
    end_both(loop, s);
    assert_int_equal(told[0].count + told[1].count + told[2].count, 0);
    s = open_store();
    assert_int_equal(store_cert_count(s), 3);
    store_close(s);
}

UNIT_TESTS(cmocka_unit_test_setup_teardown(test_next_account_key, make_directory, remove_directory),
           CASE(reads_and_keeps_what_traefik_wrote),
           CASE(several_resolvers_and_unknown_members_survive),
           CASE(takes_in_what_others_wrote_meanwhile), CASE(mode_is_repaired_and_damage_refused),
           CASE(a_full_disk_leaves_the_old_file), CASE(one_process_at_a_time),
           CASE(a_file_that_is_a_mount_point_is_written_over),
           CASE(a_write_over_that_was_cut_off_is_made_good), CASE(a_link_stays_a_link),
           CASE(certificates_that_come_soon_are_there_when_told),
           CASE(others_change_the_store_meanwhile), CASE(what_cannot_be_written_is_told),
           CASE(the_rest_is_written_at_the_end))

/* SPDX-License-Identifier: Apache-2.0 */
/* The provider host against plug-ins that behave and misbehave, in real child processes. */
#include "unit.h"

#include "base/buf.h"
#include "base/clock.h"
#include "base/log.h"
#include "control/provider/host.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define SECRET "tok3n-that-nobody-may-see"

static struct loop *loop;
static struct provider_host *host;
static char folder[64], records[96], log_file[96];
static char executable[512];

/* The last answer. */
static struct {
    int count, wanted;
    enum provider_verdict verdict;
    uint32_t retry_after_s;
    char text[1024], state[256];
    struct provider_info info;
} got;

static void take(void *arg, const struct provider_answer *a)
{
    got.verdict = a->verdict;
    got.retry_after_s = a->retry_after_s;
    snprintf(got.text, sizeof got.text, "%s", a->text);
    snprintf(got.state, sizeof got.state, "%.*s", SPAN_FMT(a->state));
    if (arg)
        *(int *)arg = got.count;
    if (++got.count == got.wanted)
        loop_stop(loop);
}

static void take_info(void *arg, const struct provider_info *info, const struct provider_answer *a)
{
    if (info)
        got.info = *info;
    take(arg, a);
}

static void wait_answers(int wanted)
{
    got.wanted = wanted;
    if (got.count < wanted)
        assert_true(result_is_ok(loop_run(loop)));
    assert_int_equal(got.count, wanted);
}

static struct provider *get(const char *code, const char *token)
{
    struct config_env env[] = {
        {"PLUGIN_RECORDS", records}, {"PLUGIN_TOKEN", token}, {"PLUGIN_VERBOSE", "true"}};
    struct provider *p = NULL;
    struct why why = {""};
    if (!result_is_ok(provider_get(host, code, env, 3, &p, &why)))
        fail_msg("%s", why.text);
    return p;
}

static struct provider_txt txt(const char *name, const char *value)
{
    return (struct provider_txt){.fqdn = span_str(name),
                                 .zone = SPAN_LITERAL("example.test."),
                                 .value = span_str(value),
                                 .domain = SPAN_LITERAL("example.test")};
}

static void present_within(struct provider *p, const char *value, unsigned limit_ms)
{
    struct provider_txt t = txt("_acme-challenge.example.test.", value);
    provider_present(p, &t, clock_now_ns() + limit_ms * NS_PER_MS, take, NULL);
}

static char *read_file(const char *path)
{
    static char text[65536];
    text[0] = 0;
    FILE *f = fopen(path, "re");
    if (f) {
        text[fread(text, 1, sizeof text - 1, f)] = 0;
        fclose(f);
    }
    return text;
}

static int setup(void **state)
{
    snprintf(folder, sizeof folder, "/tmp/ferrule-host-XXXXXX");
    assert_non_null(mkdtemp(folder));
    snprintf(records, sizeof records, "%s/records", folder);
    snprintf(log_file, sizeof log_file, "%s/log", folder);
    ssize_t n = readlink("/proc/self/exe", executable, sizeof executable - 1);
    assert_true(n > 0);
    executable[n] = 0;
    memset(&got, 0, sizeof got);
    struct why why;
    const char *folders[] = {"/nonexistent", PLUGIN_FOLDER};
    assert_true(result_is_ok(loop_create(&loop, &why)));
    assert_true(result_is_ok(provider_host_create(loop, executable, folders, 2, &host, &why)));
    /* Log lines go to a file that tests read. */
    fflush(stderr);
    int fd = open(log_file, O_RDWR | O_CREAT | O_TRUNC | O_APPEND | O_CLOEXEC, 0600);
    *state = (void *)(intptr_t)dup(STDERR_FILENO);
    dup2(fd, STDERR_FILENO);
    close(fd);
    return 0;
}

static int teardown(void **state)
{
    int old = (int)(intptr_t)*state;
    provider_host_destroy(host);
    loop_destroy(loop);
    dup2(old, STDERR_FILENO);
    close(old);
    char command[160];
    snprintf(command, sizeof command, "%s.new", records);
    unlink(command);
    unlink(records);
    unlink(log_file);
    assert_int_equal(rmdir(folder), 0);
    return 0;
}

static void test_present_and_cleanup(void **state)
{
    struct provider *p = get("well", SECRET);
    present_within(p, "one", 20000);
    present_within(p, "two", 20000);
    present_within(p, "two", 20000);
    wait_answers(3);
    assert_int_equal(got.verdict, PROVIDER_OK);
    assert_string_equal(got.state, "1:two");
    assert_string_equal(read_file(records), "_acme-challenge.example.test. one\n"
                                            "_acme-challenge.example.test. two\n");
    struct provider_txt t = txt("_acme-challenge.example.test.", "one");
    provider_cleanup(p, &t, SPAN_LITERAL("1:one"), clock_now_ns() + 20 * NS_PER_S, take, NULL);
    provider_cleanup(p, &t, SPAN_LITERAL(""), clock_now_ns() + 20 * NS_PER_S, take, NULL);
    wait_answers(5);
    assert_int_equal(got.verdict, PROVIDER_OK);
    assert_string_equal(read_file(records), "_acme-challenge.example.test. two\n");
}

/* Built with the header of ABI 1.0 (tests/abi/v1). */
static void test_first_abi(void **state)
{
    struct provider *p = get("first_abi", SECRET);
    present_within(p, "one", 20000);
    wait_answers(1);
    assert_int_equal(got.verdict, PROVIDER_OK);
    assert_string_equal(got.state, "1:one");
}

static void test_secrets_are_blotted_out(void **state)
{
    struct provider *p = get("well", SECRET);
    present_within(p, "!", 20000);
    wait_answers(1);
    assert_int_equal(got.verdict, PROVIDER_RATE);
    assert_int_equal(got.retry_after_s, 2);
    assert_string_equal(got.text, "refused with token ***");
    char *log = read_file(log_file);
    assert_non_null(strstr(log, "the token is ***, the TTL 77"));
    assert_null(strstr(log, SECRET));
}

static void test_description(void **state)
{
    struct provider *p = get("well", SECRET);
    provider_describe(p, take_info, NULL);
    wait_answers(1);
    assert_int_equal(got.verdict, PROVIDER_OK);
    assert_string_equal(got.info.name, "well");
    assert_string_equal(got.info.version, "1.0");
    assert_int_equal(got.info.ttl_s, 77);
    assert_int_equal(got.info.propagation_timeout_s, 5);
    assert_int_equal(got.info.polling_interval_s, 1);
    assert_false(got.info.serialize_all);
}

static void test_environment_and_file(void **state)
{
    char path[128];
    snprintf(path, sizeof path, "%s/token", folder);
    FILE *f = fopen(path, "we");
    fputs(SECRET "\r\n", f);
    fclose(f);
    setenv("PLUGIN_RECORDS", records, 1);
    setenv("PLUGIN_ALIAS_TOKEN_FILE", path, 1);
    struct provider *p = NULL;
    struct why why;
    assert_true(result_is_ok(provider_get(host, "well", NULL, 0, &p, &why)));
    present_within(p, "!", 20000);
    wait_answers(1);
    unsetenv("PLUGIN_RECORDS");
    unsetenv("PLUGIN_ALIAS_TOKEN_FILE");
    unlink(path);
    assert_string_equal(got.text, "refused with token ***");
}

static void test_missing_option(void **state)
{
    struct provider *p = NULL;
    struct why why;
    assert_true(result_is_ok(provider_get(host, "well", NULL, 0, &p, &why)));
    present_within(p, "x", 20000);
    wait_answers(1);
    assert_int_equal(got.verdict, PROVIDER_CONFIG);
    assert_non_null(strstr(got.text, "set PLUGIN_RECORDS: "));
}

/* Whatever the credentials: they may be of one account. */
static void test_names_are_held(void **state)
{
    struct provider *one = get("well", SECRET), *two = get("well", "another-token-of-it");
    int a, b;
    assert_ptr_not_equal(one, two);
    assert_true(provider_hold(one, "_acme-challenge.a.test.", &a));
    assert_true(provider_hold(one, "_acme-challenge.a.test.", &a));
    assert_false(provider_hold(two, "_ACME-challenge.a.test.", &b));
    assert_true(provider_hold(two, "_acme-challenge.b.test.", &b));
    provider_release(two, &b);
    assert_false(provider_hold(two, "_acme-challenge.a.test.", &b));
    provider_release(two, &a);
    assert_true(provider_hold(two, "_acme-challenge.a.test.", &b));
}

static void test_missing_plugin(void **state)
{
    struct provider *p = NULL;
    struct why why;
    struct result r = provider_get(host, "nosuch", NULL, 0, &p, &why);
    assert_int_equal(r.code, ERR_NOT_FOUND);
    assert_non_null(strstr(why.text, "no nosuch.so in /nonexistent, "));
    r = provider_get(host, "../well", NULL, 0, &p, &why);
    assert_int_equal(r.code, ERR_NOT_FOUND);
}

static void test_unsafe_plugin(void **state)
{
    char path[128];
    snprintf(path, sizeof path, "%s/loose.so", folder);
    close(open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
    chmod(path, 0666);
    const char *folders[] = {folder};
    struct provider_host *other;
    struct why why;
    struct provider *p;
    assert_true(result_is_ok(provider_host_create(loop, executable, folders, 1, &other, &why)));
    struct result r = provider_get(other, "loose", NULL, 0, &p, &why);
    provider_host_destroy(other);
    unlink(path);
    assert_int_equal(r.code, ERR_PERMISSION);
    assert_non_null(strstr(why.text, "writable by everybody"));
}

static void check_refused(const char *code, const char *expect)
{
    struct provider *p = get(code, SECRET);
    int before = got.count;
    present_within(p, "x", 20000);
    wait_answers(before + 1);
    assert_int_equal(got.verdict, PROVIDER_CONFIG);
    if (!strstr(got.text, expect))
        fail_msg("%s: \"%s\" lacks \"%s\"", code, got.text, expect);
}

static void test_abi(void **state)
{
    check_refused("wrong_abi", "was made for provider ABI 2.");
    check_refused("short_size", "describes itself in 16 bytes");
    check_refused("no_symbol", "has no symbol ferrule_provider_v1");
    check_refused("name_mismatch", "calls itself \"another\", not \"name_mismatch\"");
}

static void test_crash_in_open(void **state)
{
    struct provider *p = get("crash_open", SECRET);
    present_within(p, "a", 20000);
    present_within(p, "b", 20000);
    wait_answers(2);
    assert_int_equal(got.verdict, PROVIDER_RETRY);
    assert_non_null(strstr(got.text, "crashed while it started: it was killed by signal 6"));
}

static void test_crash_in_present(void **state)
{
    struct provider *p = get("crash_present", SECRET);
    present_within(p, "a", 20000);
    struct provider_txt t = txt("_acme-challenge.example.test.", "a");
    provider_cleanup(p, &t, SPAN_LITERAL(""), clock_now_ns() + 20 * NS_PER_S, take, NULL);
    wait_answers(1);
    assert_int_equal(got.verdict, PROVIDER_RETRY);
    assert_non_null(strstr(got.text, "crashed: it was killed by signal 6"));
    /* What was queued behind it gets another child. */
    wait_answers(2);
    assert_int_equal(got.verdict, PROVIDER_OK);
}

static void test_exit_in_present(void **state)
{
    present_within(get("exit_present", SECRET), "a", 20000);
    wait_answers(1);
    assert_int_equal(got.verdict, PROVIDER_RETRY);
    assert_non_null(strstr(got.text, "ended with exit status 0"));
}

static void test_hang_in_present(void **state)
{
    struct provider *p = get("hang_present", SECRET);
    present_within(p, "a", 3000);
    struct provider_txt t = txt("_acme-challenge.example.test.", "a");
    provider_cleanup(p, &t, SPAN_LITERAL(""), clock_now_ns() + 60 * NS_PER_S, take, NULL);
    wait_answers(1);
    assert_int_equal(got.verdict, PROVIDER_RETRY);
    assert_non_null(strstr(got.text, "did not answer in time and was killed"));
    wait_answers(2);
    assert_int_equal(got.verdict, PROVIDER_OK);
}

static void test_deadline_in_queue(void **state)
{
    struct provider *p = get("hang_present", SECRET);
    int order[2] = {-1, -1};
    struct provider_txt t = txt("_acme-challenge.example.test.", "a");
    provider_present(p, &t, clock_now_ns() + 4000 * NS_PER_MS, take, &order[0]);
    provider_present(p, &t, clock_now_ns() + 500 * NS_PER_MS, take, &order[1]);
    wait_answers(1);
    assert_int_equal(order[1], 0);
    assert_non_null(strstr(got.text, "before the provider's other calls were done"));
    wait_answers(2);
}

static void test_deadline_seen_by_services(void **state)
{
    struct config_env env[] = {{"PLUGIN_RECORDS", records}, {"PLUGIN_WAIT_MS", "60000"}};
    struct provider *p = NULL;
    struct why why;
    assert_true(result_is_ok(provider_get(host, "well", env, 2, &p, &why)));
    present_within(p, "x", 20000);
    wait_answers(1);
    assert_int_equal(got.verdict, PROVIDER_RETRY);
    assert_string_equal(got.text, "the service is slow");
}

static void test_output_is_logged(void **state)
{
    present_within(get("noisy", SECRET), "a", 20000);
    wait_answers(1);
    assert_int_equal(got.verdict, PROVIDER_OK);
    /* The pipe and the socket are two channels: the output is there at the latest with the end. */
    provider_host_destroy(host);
    struct why why;
    const char *folders[] = {PLUGIN_FOLDER};
    char log[8192];
    snprintf(log, sizeof log, "%s", read_file(log_file));
    assert_true(result_is_ok(provider_host_create(loop, executable, folders, 1, &host, &why)));
    assert_non_null(strstr(log, "noisy printed: hello from the plug-in, token ***"));
    assert_non_null(strstr(log, "noisy printed: and an error line"));
    assert_null(strstr(log, SECRET));
    /* The beginning of the token, where a long text was cut. */
    assert_non_null(strstr(log, "noisy printed: 000"));
    assert_non_null(strstr(log, "provider noisy: 000"));
    assert_null(strstr(log, "0tok"));
    assert_null(strstr(log, "0to"));
    assert_null(strstr(log, "that-nobody"));
}

/* Its service is refused by the host, execve by the kernel. */
static void test_no_programs(void **state)
{
    struct provider *p = get("executes", SECRET);
    present_within(p, "a", 20000);
    wait_answers(1);
    if (got.verdict != PROVIDER_OK)
        fail_msg("%s", got.text);
}

static void test_junk_status(void **state)
{
    present_within(get("junk_status", SECRET), "a", 20000);
    wait_answers(1);
    assert_int_equal(got.verdict, PROVIDER_RETRY);
    assert_non_null(strstr(got.text, "returned status 4711"));
}

static void test_serialize_all(void **state)
{
    /* Two credential sets of a plug-in that may run one call at a time, each call 300 ms. */
    struct config_env a[] = {{"PLUGIN_RECORDS", records}, {"PLUGIN_WAIT_MS", "300"}};
    struct config_env b[] = {{"PLUGIN_RECORDS", records}, {"PLUGIN_WAIT_MS", "301"}};
    struct provider *p = NULL, *q = NULL;
    struct why why;
    assert_true(result_is_ok(provider_get(host, "alone", a, 2, &p, &why)));
    assert_true(result_is_ok(provider_get(host, "alone", b, 2, &q, &why)));
    assert_ptr_not_equal(p, q);
    provider_describe(p, take_info, NULL);
    provider_describe(q, take_info, NULL);
    wait_answers(2);
    assert_true(got.info.serialize_all);
    uint64_t start = clock_now_ns();
    present_within(p, "a", 20000);
    present_within(q, "b", 20000);
    wait_answers(4);
    assert_int_equal(got.verdict, PROVIDER_OK);
    assert_true(clock_now_ns() - start >= 600 * NS_PER_MS);
}

int main(int argc, char **argv)
{
    if (argc > 1 && strcmp(argv[1], "provider-run") == 0)
        return provider_run(argc, argv);
    log_init("test", LOG_LEVEL_DEBUG);
#define HOST_TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        HOST_TEST(test_present_and_cleanup),
        HOST_TEST(test_secrets_are_blotted_out),
        HOST_TEST(test_description),
        HOST_TEST(test_environment_and_file),
        HOST_TEST(test_missing_option),
        HOST_TEST(test_names_are_held),
        HOST_TEST(test_missing_plugin),
        HOST_TEST(test_unsafe_plugin),
        HOST_TEST(test_abi),
        HOST_TEST(test_first_abi),
        HOST_TEST(test_crash_in_open),
        HOST_TEST(test_crash_in_present),
        HOST_TEST(test_exit_in_present),
        HOST_TEST(test_hang_in_present),
        HOST_TEST(test_deadline_in_queue),
        HOST_TEST(test_deadline_seen_by_services),
        HOST_TEST(test_output_is_logged),
        HOST_TEST(test_junk_status),
        HOST_TEST(test_serialize_all),
        HOST_TEST(test_no_programs),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

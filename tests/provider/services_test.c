/* SPDX-License-Identifier: Apache-2.0 */
/* The services of the provider ABI that need no server: clocks, buffers, cache, digests, programs.
 */
#include "unit.h"

#include "base/clock.h"
#include "control/provider/services.h"

#include <stdio.h>
#include <stdlib.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

static struct services s;
static struct plugin_options options;
static const struct ferrule_host *host;

static int set_up(void **state)
{
    services_init(&s, &options, 0);
    services_begin(&s, (int64_t)(clock_now_ns() + 20 * NS_PER_S));
    host = &s.host;
    return 0;
}

static int tear_down(void **state)
{
    services_fini(&s);
    return 0;
}

static struct ferrule_str str(const char *text)
{
    return (struct ferrule_str){text, strlen(text)};
}

static void test_buffers(void **state)
{
    struct ferrule_buf *b = host->buf_new(host);
    assert_int_equal(host->buf_put(b, "abc", 3), FERRULE_OK);
    assert_int_equal(host->buf_view(b).len, 3);
    host->buf_reset(b);
    assert_int_equal(host->buf_view(b).len, 0);
    b->bytes_max = 4;
    assert_int_equal(host->buf_put(b, "12345", 5), FERRULE_FAILED);
    assert_int_equal(host->buf_put(b, "1234", 4), FERRULE_OK);
    assert_int_equal(host->buf_put(b, "5", 1), FERRULE_FAILED);
    host->buf_free(host->buf_new(host));
    services_end(&s); /* frees what the plug-in left */
    assert_true(list_is_empty(&s.bufs));
}

static bool cached(const char *key, const char *expected)
{
    struct ferrule_buf *b = host->buf_new(host);
    bool found = host->cache_get(host, str(key), b) == FERRULE_OK;
    if (found && expected)
        assert_memory_equal(host->buf_view(b).ptr, expected, strlen(expected));
    host->buf_free(b);
    return found;
}

static void test_cache(void **state)
{
    int64_t later = host->now_ns(host) + (int64_t)(60 * NS_PER_S);
    assert_false(cached("a", NULL));
    assert_int_equal(host->cache_put(host, str("a"), str("one"), later), FERRULE_OK);
    assert_int_equal(host->cache_put(host, str("a"), str("two"), later), FERRULE_OK);
    assert_true(cached("a", "two"));
    assert_int_equal(host->cache_put(host, str("a"), str("old"), host->now_ns(host)), FERRULE_OK);
    assert_false(cached("a", NULL));
    char key[16];
    for (int i = 0; i < 257; i++) {
        snprintf(key, sizeof key, "k%d", i);
        assert_int_equal(host->cache_put(host, str(key), str("v"), later), FERRULE_OK);
    }
    assert_false(cached("k0", NULL)); /* the oldest made room */
    assert_true(cached("k1", "v"));
    struct ferrule_str large = {(const char *)&s, 16385};
    static char bytes[16385];
    large.ptr = bytes;
    assert_int_equal(host->cache_put(host, str("large"), large, later), FERRULE_FAILED);
}

static void test_clock(void **state)
{
    int64_t now = host->now_ns(host);
    assert_int_equal(host->sleep_until(host, now + 20000000), FERRULE_OK);
    assert_true(host->now_ns(host) >= now + 20000000);
    assert_int_equal(host->sleep_until(host, s.deadline_ns + 1), FERRULE_TIMEOUT);
    assert_int_equal(host->sleep_until(host, 0), FERRULE_OK);
}

static void test_digests(void **state)
{
    uint8_t out[FERRULE_DIGEST_MAX];
    size_t len = 0;
    /* FIPS 180-4, "abc" */
    assert_int_equal(host->digest(host, FERRULE_SHA256, str("abc"), out, &len), FERRULE_OK);
    assert_int_equal(len, 32);
    assert_memory_equal(out, "\xba\x78\x16\xbf", 4);
    /* RFC 4231 section 4.3 */
    assert_int_equal(host->hmac(host, FERRULE_SHA512, str("Jefe"),
                                str("what do ya want for nothing?"), out, &len),
                     FERRULE_OK);
    assert_int_equal(len, 64);
    assert_memory_equal(out, "\x16\x4b\x7a\x7b", 4);
    assert_int_equal(host->digest(host, 99, str("abc"), out, &len), FERRULE_FAILED);
}

/* --- programs
 * ----------------------------------------------------------------------------------------- */

static int32_t exit_code;
static char output[65536 + 1];
static struct ferrule_error error;

static int32_t run_shell(const char *script, const char *input, const char *const *env)
{
    const char *const argv[] = {"sh", "-c", script, NULL};
    struct ferrule_spawn p = {.size = sizeof p, .argv = argv, .env = env, .input = str(input)};
    struct ferrule_buf *b = host->buf_new(host);
    exit_code = -1;
    int32_t status = host->spawn(host, &p, b, &exit_code, &error);
    struct ferrule_str view = host->buf_view(b);
    memcpy(output, view.ptr ? view.ptr : "", view.len);
    output[view.len] = 0;
    host->buf_free(b);
    return status;
}

static void read_line(const char *path, char *out, int cap)
{
    FILE *f = fopen(path, "re");
    out[0] = 0;
    if (f && !fgets(out, cap, f))
        out[0] = 0;
    if (f)
        fclose(f);
}

/* An orphan would go on writing DNS. */
static void test_program_dies_with_us(void **state)
{
    int fds[2];
    char byte;
    assert_int_equal(pipe(fds), 0); /* its writing end is held by the program, through its output */
    pid_t child = fork();
    if (child == 0) {
        char script[64];
        snprintf(script, sizeof script, "exec sleep 600 2>/proc/%d/fd/%d", (int)getpid(), fds[1]);
        run_shell(script, "", NULL);
        _exit(0);
    }
    char path[64], pid[32], name[32] = "";
    while (strcmp(name, "sleep\n") != 0) {
        snprintf(path, sizeof path, "/proc/%d/task/%d/children", (int)child, (int)child);
        read_line(path, pid, sizeof pid);
        snprintf(path, sizeof path, "/proc/%ld/comm", strtol(pid, NULL, 10));
        read_line(path, name, sizeof name);
        usleep(1000);
    }
    close(fds[1]);
    kill(child, SIGKILL);
    assert_int_equal(waitpid(child, NULL, 0), child);
    assert_int_equal(read(fds[0], &byte, 1), 0); /* nobody holds it any more */
    close(fds[0]);
}

static void test_program(void **state)
{
    static const char *const env[] = {"A=b", "PATH=/usr/bin:/bin", NULL};
    assert_int_equal(run_shell("read line; echo got $line $A; echo bad >&2; exit 3", "in\n", env),
                     FERRULE_OK);
    assert_string_equal(output, "got in b\nbad\n");
    assert_int_equal(exit_code, 3);
    assert_int_equal(run_shell("kill -9 $$", "", NULL), FERRULE_OK);
    assert_int_equal(exit_code, 128 + 9);
}

static void test_program_gets_no_descriptors(void **state)
{
    int extra = dup(STDERR_FILENO); /* one that is not closed by exec */
    assert_int_equal(run_shell("ls /proc/self/fd | wc -l", "", NULL), FERRULE_OK);
    close(extra);
    assert_int_equal(atoi(output), 4); /* three, and the folder that ls reads */
}

static void test_program_with_much_output(void **state)
{
    assert_int_equal(run_shell("head -c 1000000 /dev/zero | tr '\\0' x", "", NULL), FERRULE_OK);
    assert_int_equal(strlen(output), 65536);
    assert_int_equal(exit_code, 0);
}

static void test_program_that_hangs(void **state)
{
    s.deadline_ns = (int64_t)(clock_now_ns() + NS_PER_S / 2);
    uint64_t start = clock_now_ns();
    assert_int_equal(run_shell("exec sleep 1000", "", NULL), FERRULE_TIMEOUT);
    assert_non_null(strstr(error.text, "was killed"));
    assert_true(clock_now_ns() - start < 15 * NS_PER_S);
}

static unsigned count_children(void)
{
    char path[64], line[4096];
    snprintf(path, sizeof path, "/proc/self/task/%d/children", (int)getpid());
    read_line(path, line, sizeof line);
    unsigned count = 0;
    for (char *p = strtok(line, " \n"); p; p = strtok(NULL, " \n"))
        count++;
    return count;
}

/* Whatever it leaves, in whatever session, ends with it; the output's end does not have to come. */
static void test_program_that_leaves_others(void **state)
{
    static const char *const scripts[] = {
        "sleep 600 & echo out", "setsid sleep 600 & echo out",
        "setsid sh -c 'setsid sleep 600 & sleep 600 & wait' & echo out"};
    uint64_t start = clock_now_ns();
    for (size_t i = 0; i < sizeof scripts / sizeof scripts[0]; i++) {
        assert_int_equal(run_shell(scripts[i], "", NULL), FERRULE_OK);
        assert_string_equal(output, "out\n");
        assert_int_equal(count_children(), 0);
    }
    assert_true(clock_now_ns() - start < 15 * NS_PER_S);
    s.deadline_ns = (int64_t)(clock_now_ns() + NS_PER_S / 2);
    assert_int_equal(run_shell("setsid sleep 600 & exec sleep 600", "", NULL), FERRULE_TIMEOUT);
    assert_int_equal(count_children(), 0);
}

static void test_program_with_two_streams(void **state)
{
    const char *const argv[] = {"sh", "-c", "echo out; echo err >&2; head -c 300000 /dev/zero >&2",
                                NULL};
    struct ferrule_buf *out = host->buf_new(host), *err = host->buf_new(host);
    struct ferrule_spawn p = {.size = sizeof p, .argv = argv, .errors = err};
    assert_int_equal(host->spawn(host, &p, out, &exit_code, &error), FERRULE_OK);
    assert_int_equal(host->buf_view(out).len, 4);
    assert_memory_equal(host->buf_view(out).ptr, "out\n", 4);
    assert_int_equal(host->buf_view(err).len, 65536);
    assert_memory_equal(host->buf_view(err).ptr, "err\n", 4);
    /* A plug-in of before does not have the member. */
    host->buf_reset(out);
    p.size = offsetof(struct ferrule_spawn, errors);
    assert_int_equal(host->spawn(host, &p, out, &exit_code, &error), FERRULE_OK);
    assert_memory_equal(host->buf_view(out).ptr, "out\nerr\n", 8);
}

static void test_inherited_variables(void **state)
{
    services_inherit(&s, SPAN_LITERAL("ONE"), SPAN_LITERAL("1"));
    services_inherit(&s, SPAN_LITERAL("TWO"), SPAN_LITERAL("2"));
    services_inherit(&s, SPAN_LITERAL("ONE"), SPAN_LITERAL("again"));
    const char *const argv[] = {"sh", "-c", "echo $ONE $TWO $THREE; [ \"$PATH\" ]", NULL};
    const char *const env[] = {"TWO=own", "THREE=3", NULL};
    struct ferrule_buf *out = host->buf_new(host);
    struct ferrule_spawn p = {
        .size = sizeof p, .argv = argv, .env = env, .flags = FERRULE_SPAWN_INHERIT};
    assert_int_equal(host->spawn(host, &p, out, &exit_code, &error), FERRULE_OK);
    assert_int_equal(exit_code, 0);
    assert_memory_equal(host->buf_view(out).ptr, "again own 3\n", 12);
    p.flags = 0; /* only its own, then */
    host->buf_reset(out);
    assert_int_equal(host->spawn(host, &p, out, &exit_code, &error), FERRULE_OK);
    assert_memory_equal(host->buf_view(out).ptr, "own 3\n", 6);
}

static void test_program_that_is_forbidden(void **state)
{
    s.no_programs = true;
    assert_int_equal(run_shell("exit 0", "", NULL), FERRULE_FAILED);
    assert_non_null(strstr(error.text, "FERRULE_RUNS_PROGRAMS"));
}

static void test_program_that_is_missing(void **state)
{
    const char *const argv[] = {"/nonexistent/program", NULL};
    struct ferrule_spawn p = {.size = sizeof p, .argv = argv};
    struct ferrule_buf *b = host->buf_new(host);
    assert_int_equal(host->spawn(host, &p, b, &exit_code, &error), FERRULE_CONFIG);
    assert_non_null(strstr(error.text, "/nonexistent/program cannot be started"));
}

static void test_bad_dns_calls(void **state)
{
    struct ferrule_buf *b = host->buf_new(host);
    struct ferrule_dns_exchange x = {
        .size = sizeof x, .server = str("127.0.0.1"), .message = str("short")};
    assert_int_equal(host->dns_exchange(host, &x, b, &error), FERRULE_FAILED);
    x.message = str("a message of more than twelve bytes");
    x.server = str("no server");
    assert_int_equal(host->dns_exchange(host, &x, b, &error), FERRULE_CONFIG);
    assert_non_null(strstr(error.text, "is no server address"));
    struct ferrule_dns_query q = {
        .size = sizeof q, .type = 16, .name = str("a..b"), .server = str("127.0.0.1")};
    assert_int_equal(host->dns_query(host, &q, b, &error), FERRULE_FAILED);
}

#define SERVICES_TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
UNIT_TESTS(SERVICES_TEST(test_buffers), SERVICES_TEST(test_cache), SERVICES_TEST(test_clock),
           SERVICES_TEST(test_digests), SERVICES_TEST(test_program),
           SERVICES_TEST(test_program_dies_with_us),
           SERVICES_TEST(test_program_gets_no_descriptors),
           SERVICES_TEST(test_program_with_much_output), SERVICES_TEST(test_program_that_hangs),
           SERVICES_TEST(test_program_that_leaves_others),
           SERVICES_TEST(test_program_with_two_streams), SERVICES_TEST(test_inherited_variables),
           SERVICES_TEST(test_program_that_is_forbidden),
           SERVICES_TEST(test_program_that_is_missing), SERVICES_TEST(test_bad_dns_calls))

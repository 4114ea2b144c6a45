/* SPDX-License-Identifier: Apache-2.0 */
/* A provider for tests: its "service" is a text file with one "NAME VALUE" per line. Built several
 * times, once well-behaved and once for each way to misbehave (PLUGIN_CODE, BEHAVES). */
#include "ferrule_provider.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum behaviour {
    WELL,
    WRONG_ABI,
    SHORT_SIZE,
    NAME_MISMATCH,
    CRASH_OPEN,
    HANG_OPEN,
    CRASH_PRESENT,
    HANG_PRESENT,
    EXIT_PRESENT,
    NOISY,
    JUNK_STATUS,
    LEAKS,
    ALONE,
    DELETES_ALL,
    EXECUTES,
};

struct instance {
    const struct ferrule_host *host;
    char path[512];
};

static const char *const env_file[] = {"PLUGIN_RECORDS", "PLUGIN_OLD_RECORDS", NULL};
static const char *const env_token[] = {"PLUGIN_TOKEN", "PLUGIN_ALIAS_TOKEN", NULL};
static const char *const env_ttl[] = {"PLUGIN_TTL", NULL};
static const char *const env_wait[] = {"PLUGIN_WAIT_MS", NULL};
static const char *const env_verbose[] = {"PLUGIN_VERBOSE", NULL};

static const struct ferrule_option options[] = {
    {"records", env_file, NULL, "File that holds the records.", FERRULE_STRING,
     FERRULE_OPTION_REQUIRED, 0, 0},
    {"token", env_token, "none", "Secret of the service.", FERRULE_STRING, FERRULE_OPTION_SECRET, 0,
     0},
    {"ttl", env_ttl, "77", "Time to live.", FERRULE_SECONDS, 0, 1, 86400},
    {"wait_ms", env_wait, "0", "How long the service takes.", FERRULE_UINT, 0, 0, 0},
    {"verbose", env_verbose, "no", "Logs the token.", FERRULE_BOOL, 0, 0, 0},
};

static struct ferrule_str str(const char *s)
{
    return (struct ferrule_str){s, strlen(s)};
}

static int32_t plugin_open(const struct ferrule_host *host, void **ret, struct ferrule_error *error)
{
    if (BEHAVES == CRASH_OPEN)
        abort();
    if (BEHAVES == HANG_OPEN)
        for (;;)
            pause();
    struct ferrule_str path;
    if (host->option(host, "records", &path) != FERRULE_OK)
        return FERRULE_CONFIG;
    struct instance *i = calloc(1, sizeof *i);
    i->host = host;
    snprintf(i->path, sizeof i->path, "%.*s", FERRULE_FMT(path));
    *ret = i;
    return FERRULE_OK;
}

static void plugin_close(void *instance)
{
    free(instance);
}

/* Copies every line but `line` to a file beside, counting how often `line` was there. */
static int without(const char *path, const char *other, const char *line)
{
    char have[1024];
    int count = 0;
    FILE *in = fopen(path, "re"), *out = fopen(other, "we");
    while (in && fgets(have, sizeof have, in)) {
        if (strcmp(have, line) == 0)
            count++;
        else
            fputs(have, out);
    }
    if (in)
        fclose(in);
    fclose(out);
    return count;
}

static int32_t change(struct instance *i, const struct ferrule_request *q, int add)
{
    char line[1024], other[600];
    snprintf(line, sizeof line, "%.*s %.*s\n", FERRULE_FMT(q->fqdn), FERRULE_FMT(q->value));
    snprintf(other, sizeof other, "%s.new", i->path);
    without(i->path, other, line);
    FILE *out = fopen(other, BEHAVES == DELETES_ALL && !add ? "we" : "ae");
    if (!out)
        return FERRULE_RETRY;
    if (add)
        fputs(line, out);
    fclose(out);
    return rename(other, i->path) == 0 ? FERRULE_OK : FERRULE_RETRY;
}

static void misbehave(struct instance *i)
{
    if (BEHAVES == CRASH_PRESENT)
        abort();
    if (BEHAVES == HANG_PRESENT)
        for (;;)
            pause();
    if (BEHAVES == EXIT_PRESENT)
        exit(0);
    if (BEHAVES == NOISY) {
        struct ferrule_str token;
        i->host->option(i->host, "token", &token);
        printf("hello from the plug-in, token %.*s\n", FERRULE_FMT(token));
        fprintf(stderr, "and an error line\n");
        /* Cut in the middle of the token, after 1000 bytes. */
        printf("%0*d%.*s\n", 997, 0, FERRULE_FMT(token));
        char long_text[1100];
        snprintf(long_text, sizeof long_text, "%0*d%.*s", 997, 0, FERRULE_FMT(token));
        i->host->log(i->host, FERRULE_LOG_INFO, str(long_text));
    }
    if (BEHAVES == LEAKS && open("/dev/null", O_RDONLY) < 0)
        return;
}

/* Tries to run a program, by the host and by itself. FERRULE_OK: both are forbidden. */
static int32_t execute(struct instance *i, struct ferrule_error *error)
{
    const char *const argv[] = {"/bin/true", NULL};
    struct ferrule_spawn p = {.size = sizeof p, .argv = argv};
    int32_t code = 0;
    if (i->host->spawn(i->host, &p, i->host->buf_new(i->host), &code, error) == FERRULE_OK)
        return FERRULE_FAILED;
    /* allowed: the test is what a plug-in may not do */
    pid_t pid = fork();
    if (pid == 0) {
        execv(argv[0], (char *const *)argv);
        _exit(errno == EPERM ? 1 : 2);
    }
    int status = 0;
    waitpid(pid, &status, 0);
    snprintf(error->text, sizeof error->text, "a program ran (%d)", status);
    return WIFEXITED(status) && WEXITSTATUS(status) == 1 ? FERRULE_OK : FERRULE_FAILED;
}

static int32_t plugin_present(void *instance, const struct ferrule_request *q,
                              struct ferrule_buf *state, struct ferrule_error *error)
{
    struct instance *i = instance;
    const struct ferrule_host *host = i->host;
    misbehave(i);
    if (BEHAVES == JUNK_STATUS)
        return 4711;
    if (BEHAVES == EXECUTES)
        return execute(i, error);
    uint64_t wait_ms = 0, verbose = 0;
    host->option_number(host, "wait_ms", &wait_ms);
    host->option_number(host, "verbose", &verbose);
    struct ferrule_str token;
    host->option(host, "token", &token);
    char text[256];
    snprintf(text, sizeof text, "the token is %.*s, the TTL %u", FERRULE_FMT(token), q->ttl_s);
    if (verbose)
        host->log(host, FERRULE_LOG_INFO, str(text));
    if (wait_ms) {
        int32_t status = host->sleep_until(host, host->now_ns(host) + (int64_t)wait_ms * 1000000);
        if (status != FERRULE_OK) {
            snprintf(error->text, sizeof error->text, "the service is slow");
            return status;
        }
    }
    if (q->value.len && q->value.ptr[0] == '!') { /* asks for an error */
        snprintf(error->text, sizeof error->text, "refused with token %.*s", FERRULE_FMT(token));
        error->retry_after_ms = 1500;
        return FERRULE_RATE;
    }
    host->buf_put(state, "1:", 2);
    host->buf_put(state, q->value.ptr, q->value.len);
    return change(i, q, 1);
}

static int32_t plugin_cleanup(void *instance, const struct ferrule_request *q,
                              struct ferrule_str state, struct ferrule_error *error)
{
    return change(instance, q, 0);
}

#ifdef NO_SYMBOL
FERRULE_EXPORT const struct ferrule_provider another_symbol;
#define ferrule_provider_v1 another_symbol
#endif

FERRULE_EXPORT const struct ferrule_provider ferrule_provider_v1 = {
    .size = BEHAVES == SHORT_SIZE ? 16 : sizeof(struct ferrule_provider),
    .abi_major = BEHAVES == WRONG_ABI ? 2 : FERRULE_PROVIDER_ABI_MAJOR,
    .abi_minor = FERRULE_PROVIDER_ABI_MINOR,
    .code = BEHAVES == NAME_MISMATCH ? "another" : PLUGIN_CODE,
    .version = "1.0",
    .summary = "records in a text file",
    .flags = BEHAVES == ALONE ? FERRULE_SERIALIZE_ALL : 0,
    .ttl_s = 60,
    .propagation_timeout_s = 5,
    .polling_interval_s = 1,
    .option_bytes = sizeof(struct ferrule_option),
    .option_count = sizeof options / sizeof options[0],
    .options = options,
    .open = plugin_open,
    .close = plugin_close,
    .present = plugin_present,
    .cleanup = plugin_cleanup,
};

/* SPDX-License-Identifier: Apache-2.0 */
/* A program of the operator makes and removes the TXT values: lego's exec, and the hooks of
 * certbot, dehydrated and acme.sh as they are. Its child may execute programs; no other plug-in's
 * may. */
#include "hook.h"
#include "output.h"
#include "scratch.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define PATH_BYTES    4096
#define STATE_VERSION "1 "
/* Exit statuses of a shell for what it cannot run. */
#define EXIT_NOT_EXECUTABLE 126
#define EXIT_NOT_FOUND      127
#define EXIT_SIGNAL         128

struct instance {
    const struct ferrule_host *host;
    struct hook hook;
    struct ferrule_str acme_home; /* empty: a new one each time */
    char program[PATH_BYTES], file[PATH_BYTES];
};

/* --- options -----------------------------------------------------------------------------------
 */

#define ENV(variable, ...) static const char *const variable[] = {__VA_ARGS__, NULL}

ENV(env_path, "EXEC_PATH");
ENV(env_mode, "EXEC_MODE");
ENV(env_cleanup, "EXEC_CLEANUP_PATH");
ENV(env_acme_sh, "EXEC_ACME_SH");
ENV(env_acme_home, "EXEC_ACME_SH_HOME");
ENV(env_temporary, "TMPDIR");
ENV(env_environment, "EXEC_ENVIRONMENT");
ENV(env_timeout, "EXEC_TIMEOUT");
ENV(env_propagation, "EXEC_PROPAGATION_TIMEOUT");
ENV(env_polling, "EXEC_POLLING_INTERVAL");
ENV(env_sequence, "EXEC_SEQUENCE_INTERVAL");

static const struct ferrule_option options[] = {
    {"path", env_path, NULL,
     "The program; with certbot the shell command of --manual-auth-hook; with acme.sh the hook, "
     "such as dns_cf, or its file.",
     FERRULE_STRING, FERRULE_OPTION_REQUIRED, 0, 0},
    {"mode", env_mode, "default", "How it is called: default, RAW, certbot, dehydrated or acme.sh.",
     FERRULE_STRING, FERRULE_OPTION_NO_FILE, 0, 0},
    {"cleanup_path", env_cleanup, NULL,
     "With certbot the shell command of --manual-cleanup-hook; without it values stay.",
     FERRULE_STRING, 0, 0, 0},
    {"acme_sh", env_acme_sh, "acme.sh",
     "With acme.sh: that program, which must be installed; without a slash it is looked up.",
     FERRULE_STRING, 0, 0, 0},
    {"acme_sh_home", env_acme_home, NULL,
     "With acme.sh: a folder that it may keep its files in; without it nothing is kept.",
     FERRULE_STRING, 0, 0, 0},
    {"temporary", env_temporary, "/tmp", "With acme.sh: where its folder is made for each run.",
     FERRULE_STRING, FERRULE_OPTION_NO_FILE, 0, 0},
    {"environment", env_environment, "*",
     "Variables of ferrule's environment that the program gets, such as \"HOME,MYDNS_*\"; those of "
     "dnsChallenge.env it always gets.",
     FERRULE_LIST, 0, 0, 0},
    {"call_timeout", env_timeout, "120", "How long one run may take before it is killed.",
     FERRULE_SECONDS, 0, 1, 3600},
    {"propagation_timeout", env_propagation, "60", "How long values may take to be visible.",
     FERRULE_SECONDS, 0, 0, 0},
    {"polling_interval", env_polling, "2", "Pause between two looks at the name servers.",
     FERRULE_SECONDS, 0, 0, 0},
    {"sequence_interval", env_sequence, "60",
     "Accepted for compatibility: runs follow one another without a pause.", FERRULE_SECONDS, 0, 0,
     0},
};

static int32_t fail(struct ferrule_error *error, enum ferrule_status status, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

static int32_t fail(struct ferrule_error *error, enum ferrule_status status, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(error->text, sizeof error->text, fmt, ap);
    va_end(ap);
    return status;
}

static struct ferrule_str str(const char *s)
{
    return (struct ferrule_str){s, strlen(s)};
}

/* The option's value, empty when it is not set. */
static struct ferrule_str option(const struct ferrule_host *host, const char *name)
{
    struct ferrule_str value = {"", 0};
    host->option(host, name, &value);
    return value;
}

/* --- finding programs --------------------------------------------------------------------------
 */

static bool is_program(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0 && S_ISREG(st.st_mode) && access(path, X_OK) == 0;
}

/* Looks a name without a slash up in PATH. */
static bool find_in_path(const char *name, char path[PATH_BYTES])
{
    const char *folders = getenv("PATH");
    while (folders && *folders) {
        size_t len = strcspn(folders, ":");
        int n = snprintf(path, PATH_BYTES, "%.*s/%s", (int)len, folders, name);
        if (n > 0 && n < PATH_BYTES && is_program(path))
            return true;
        folders += len + (folders[len] == ':');
    }
    return false;
}

/* Why a path with a slash cannot be run. */
static int32_t explain_program(const char *variable, const char *path, struct ferrule_error *error)
{
    struct stat st;
    if (stat(path, &st) != 0)
        return fail(error, FERRULE_CONFIG, "%s names %.200s: %s", variable, path, strerror(errno));
    if (S_ISDIR(st.st_mode))
        return fail(error, FERRULE_CONFIG, "%s names %.200s, which is a folder", variable, path);
    return fail(error, FERRULE_CONFIG,
                "%s names %.200s, which ferrule's user may not execute: chmod +x it", variable,
                path);
}

static int32_t find_program(const char *variable, struct ferrule_str name, char path[PATH_BYTES],
                            struct ferrule_error *error)
{
    char text[PATH_BYTES];
    int n = snprintf(text, sizeof text, "%.*s", FERRULE_FMT(name));
    if (n < 0 || (size_t)n >= sizeof text)
        return fail(error, FERRULE_CONFIG, "%s is too long", variable);
    if (!strchr(text, '/')) {
        if (find_in_path(text, path))
            return FERRULE_OK;
        return fail(error, FERRULE_CONFIG,
                    "%s names \"%.100s\", which is in no folder of PATH: give its whole path",
                    variable, text);
    }
    if (!is_program(text))
        return explain_program(variable, text, error);
    memcpy(path, text, (size_t)n + 1);
    return FERRULE_OK;
}

/* --- acme.sh -----------------------------------------------------------------------------------
 */

static int32_t find_acme_sh(struct instance *i, struct ferrule_error *error)
{
    static const char packaged[] = "/usr/share/acme.sh/acme.sh";
    struct ferrule_str name = option(i->host, "acme_sh");
    int32_t status = find_program("EXEC_ACME_SH", name, i->program, error);
    if (status == FERRULE_OK)
        return status;
    if (memchr(name.ptr, '/', name.len) || !is_program(packaged))
        return fail(error, FERRULE_CONFIG,
                    "EXEC_MODE=acme.sh needs the program acme.sh, whose functions its hooks call: "
                    "install it and set EXEC_ACME_SH (tried: %.100s)",
                    i->program[0] ? i->program : "PATH, /usr/share/acme.sh");
    memcpy(i->program, packaged, sizeof packaged);
    return FERRULE_OK;
}

/* "/x/dns_cf.sh" or "dns_cf" -> "dns_cf". Only what can be a shell function's name. */
static int32_t read_function(struct instance *i, struct ferrule_str path,
                             struct ferrule_error *error)
{
    const char *slash = memrchr(path.ptr, '/', path.len);
    struct ferrule_str name = path;
    if (slash)
        name = (struct ferrule_str){slash + 1, path.len - (size_t)(slash + 1 - path.ptr)};
    if (name.len > 3 && memcmp(name.ptr + name.len - 3, ".sh", 3) == 0)
        name.len -= 3;
    for (size_t n = 0; n < name.len; n++) {
        char c = name.ptr[n];
        bool fits =
            (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
        if (!fits)
            name.len = 0;
    }
    if (name.len == 0 || name.len >= sizeof i->hook.function)
        return fail(error, FERRULE_CONFIG,
                    "EXEC_PATH \"%.*s\" is no hook of acme.sh: those are named like dns_cf.sh",
                    (int)(path.len < 200 ? path.len : 200), path.ptr);
    memcpy(i->hook.function, name.ptr, name.len);
    return FERRULE_OK;
}

static int32_t read_acme_sh(struct instance *i, struct ferrule_str path,
                            struct ferrule_error *error)
{
    int32_t status = find_acme_sh(i, error);
    if (status == FERRULE_OK)
        status = read_function(i, path, error);
    if (status != FERRULE_OK)
        return status;
    int n;
    if (memchr(path.ptr, '/', path.len)) {
        n = snprintf(i->file, sizeof i->file, "%.*s", FERRULE_FMT(path));
    } else {
        char folder[PATH_BYTES];
        if (!realpath(i->program, folder)) /* a link in /usr/bin leads to where the hooks are */
            return fail(error, FERRULE_CONFIG, "%s: %s", i->program, strerror(errno));
        *strrchr(folder, '/') = 0;
        n = snprintf(i->file, sizeof i->file, "%s/dnsapi/%s.sh", folder, i->hook.function);
    }
    if (n < 0 || (size_t)n >= sizeof i->file || access(i->file, R_OK) != 0)
        return fail(error, FERRULE_CONFIG, "EXEC_PATH: the hook %.200s cannot be read: %s", i->file,
                    strerror(errno));
    i->hook.file = str(i->file);
    return FERRULE_OK;
}

/* --- life ---------------------------------------------------------------------------------------
 */

static int32_t read_options(struct instance *i, struct ferrule_error *error)
{
    struct ferrule_str mode = option(i->host, "mode"), path = option(i->host, "path");
    i->acme_home = option(i->host, "acme_sh_home");
    i->hook.cleanup = option(i->host, "cleanup_path");
    if (!hook_mode_read(mode, &i->hook.mode))
        return fail(
            error, FERRULE_CONFIG,
            "EXEC_MODE is \"%.*s\"; it must be default, RAW, certbot, dehydrated or acme.sh",
            (int)(mode.len < 64 ? mode.len : 64), mode.ptr);
    if (i->hook.mode == HOOK_CERTBOT) {
        i->hook.program = path;
        return FERRULE_OK;
    }
    int32_t status = i->hook.mode == HOOK_ACME_SH
                         ? read_acme_sh(i, path, error)
                         : find_program("EXEC_PATH", path, i->program, error);
    i->hook.program = str(i->program);
    return status;
}

static void exec_close(void *instance)
{
    free(instance);
}

static int32_t exec_open(const struct ferrule_host *host, void **ret, struct ferrule_error *error)
{
    struct instance *i = calloc(1, sizeof *i);
    if (!i)
        return fail(error, FERRULE_RETRY, "out of memory");
    i->host = host;
    int32_t status = read_options(i, error);
    if (status != FERRULE_OK) {
        exec_close(i);
        return status;
    }
    *ret = i;
    return FERRULE_OK;
}

/* --- runs ---------------------------------------------------------------------------------------
 */

/* What an exit status means; the last line says more than the number. */
static int32_t judge(const struct instance *i, const char *what, int32_t code,
                     struct ferrule_str last, struct ferrule_error *error)
{
    const struct hook *h = &i->hook;
    const char *name = h->mode == HOOK_ACME_SH ? i->file : h->program.ptr;
    int name_len = h->mode == HOOK_ACME_SH ? (int)strlen(i->file) : (int)h->program.len;
    int cut = name_len < 150 ? name_len : 150;
    int last_len = (int)(last.len < 200 ? last.len : 200);
    if (code == 0)
        return FERRULE_OK;
    if (code == EXIT_NOT_EXECUTABLE || code == EXIT_NOT_FOUND)
        return fail(error, FERRULE_CONFIG,
                    "%.*s (%s): the shell cannot run it (exit status %d)%s%.*s", cut, name, what,
                    code, last_len ? ": " : "", last_len, last.ptr);
    if (code > EXIT_SIGNAL)
        return fail(error, FERRULE_RETRY, "%.*s (%s) was ended by signal %d (%s)%s%.*s", cut, name,
                    what, code - EXIT_SIGNAL, strsignal(code - EXIT_SIGNAL),
                    last_len ? "; its last line: " : "", last_len, last.ptr);
    return fail(error, FERRULE_RETRY, "%.*s (%s) ended with exit status %d%s%.*s", cut, name, what,
                code, last_len ? ": " : " and printed nothing", last_len, last.ptr);
}

/* Runs the prepared call. Its standard output is appended to `out`. */
static int32_t run_call(const struct instance *i, const struct hook_call *c, const char *what,
                        struct ferrule_buf *out, struct ferrule_error *error)
{
    const struct ferrule_host *host = i->host;
    struct ferrule_buf *errors = host->buf_new(host);
    struct ferrule_spawn p = {
        .size = sizeof p,
        .flags = FERRULE_SPAWN_INHERIT,
        .argv = c->argv,
        .env = c->env,
        .errors = errors,
    };
    int32_t code = 0;
    int32_t status = host->spawn(host, &p, out, &code, error);
    if (status != FERRULE_OK)
        return status; /* the host has said why */
    struct ferrule_str said = host->buf_view(out), complained = host->buf_view(errors);
    output_log(host, FERRULE_LOG_INFO, said);
    output_log(host, code ? FERRULE_LOG_WARN : FERRULE_LOG_INFO, complained);
    struct ferrule_str last = output_last_line(complained);
    status = judge(i, what, code, last.len ? last : output_last_line(said), error);
    host->buf_free(errors);
    return status;
}

static int32_t run_hook(const struct instance *i, const struct ferrule_request *q, bool present,
                        struct ferrule_str auth_output, struct ferrule_buf *out,
                        struct ferrule_error *error)
{
    char scratch[SCRATCH_PATH_BYTES] = "";
    struct ferrule_str folder = i->acme_home;
    if (i->hook.mode == HOOK_ACME_SH && !folder.len) {
        if (!scratch_open(option(i->host, "temporary"), scratch))
            return fail(error, FERRULE_RETRY, "no folder for acme.sh can be made in TMPDIR: %s",
                        strerror(errno));
        folder = str(scratch);
    }
    struct hook_call *c = calloc(1, sizeof *c);
    int32_t status = c ? hook_call_make(&i->hook, q, present, folder, auth_output, c, error)
                       : fail(error, FERRULE_RETRY, "out of memory");
    if (status == FERRULE_OK)
        status = run_call(i, c, present ? "present" : "cleanup", out, error);
    free(c);
    if (scratch[0])
        scratch_close(scratch);
    return status;
}

/* certbot hands what the first hook printed to the second. */
static void keep_output(const struct instance *i, struct ferrule_str output,
                        struct ferrule_buf *state)
{
    struct ferrule_str kept = output_trim(output);
    size_t room = FERRULE_STATE_MAX - strlen(STATE_VERSION);
    if (kept.len > room) {
        i->host->log(i->host, FERRULE_LOG_WARN,
                     str("the hook printed more than 4 KiB: CERTBOT_AUTH_OUTPUT will be cut"));
        kept.len = room;
    }
    i->host->buf_put(state, STATE_VERSION, strlen(STATE_VERSION));
    i->host->buf_put(state, kept.ptr, kept.len);
}

static int32_t exec_present(void *instance, const struct ferrule_request *q,
                            struct ferrule_buf *state, struct ferrule_error *error)
{
    const struct instance *i = instance;
    struct ferrule_buf *out = i->host->buf_new(i->host);
    int32_t status = run_hook(i, q, true, str(""), out, error);
    if (status == FERRULE_OK && i->hook.mode == HOOK_CERTBOT)
        keep_output(i, i->host->buf_view(out), state);
    i->host->buf_free(out);
    return status;
}

static int32_t exec_cleanup(void *instance, const struct ferrule_request *q,
                            struct ferrule_str state, struct ferrule_error *error)
{
    const struct instance *i = instance;
    size_t skip = strlen(STATE_VERSION);
    struct ferrule_str output = {"", 0};
    /* A NUL cannot be part of a variable, so such a state is not ours. */
    if (state.len > skip && memcmp(state.ptr, STATE_VERSION, skip) == 0 &&
        !memchr(state.ptr, 0, state.len))
        output = (struct ferrule_str){state.ptr + skip, state.len - skip};
    if (i->hook.mode == HOOK_CERTBOT && !i->hook.cleanup.len) {
        i->host->log(i->host, FERRULE_LOG_WARN,
                     str("EXEC_CLEANUP_PATH is not set: the TXT value stays"));
        return FERRULE_OK;
    }
    struct ferrule_buf *out = i->host->buf_new(i->host);
    int32_t status = run_hook(i, q, false, output, out, error);
    i->host->buf_free(out);
    return status;
}

FERRULE_EXPORT const struct ferrule_provider ferrule_provider_v1 = {
    .size = sizeof(struct ferrule_provider),
    .abi_major = FERRULE_PROVIDER_ABI_MAJOR,
    .abi_minor = FERRULE_PROVIDER_ABI_MINOR,
    .code = "exec",
    .version = "1",
    .summary = "a program of yours, or a hook of certbot, dehydrated or acme.sh",
    .flags = FERRULE_RUNS_PROGRAMS,
    .ttl_s = 120,
    .propagation_timeout_s = 60,
    .polling_interval_s = 2,
    .sequence_interval_s = 60,
    .option_bytes = sizeof(struct ferrule_option),
    .option_count = sizeof options / sizeof options[0],
    .options = options,
    .open = exec_open,
    .close = exec_close,
    .present = exec_present,
    .cleanup = exec_cleanup,
};

/* SPDX-License-Identifier: Apache-2.0 */
#include "control/cli.h"

#include "base/buf.h"
#include "base/clock.h"
#include "control/cli_call.h"

#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define CLI_POLL_MS   50
#define PEM_BYTES_MAX (400u << 10)

/* ---- printing ---------------------------------------------------------------------------------
 */

static const char *text_of(const json_t *o, const char *member)
{
    const char *text = json_string_value(json_object_get(o, member));
    return text ? text : "";
}

static long long number_of(const json_t *o, const char *member)
{
    return json_integer_value(json_object_get(o, member));
}

static void print_time(const char *label, const json_t *o, const char *member)
{
    char when[32];
    struct tm tm;
    time_t t = (time_t)number_of(o, member);
    if (!t)
        return;
    gmtime_r(&t, &tm);
    strftime(when, sizeof when, "%Y-%m-%d %H:%M:%S UTC", &tm);
    long long left = (long long)t - clock_wall_s();
    const char *when_word = left < 0 ? "ago" : "from now";
    left = left < 0 ? -left : left;
    if (left >= 2 * 86400)
        printf("%s%s (%lld days %s)\n", label, when, left / 86400, when_word);
    else if (left >= 7200)
        printf("%s%s (%lld hours %s)\n", label, when, left / 3600, when_word);
    else
        printf("%s%s (%lld minutes %s)\n", label, when, left / 60, when_word);
}

static void print_names(const json_t *o)
{
    const json_t *names = json_object_get(o, "names");
    for (size_t i = 0; i < json_array_size(names); i++)
        printf("%s%s", i ? ", " : "", json_string_value(json_array_get(names, i)));
}

static void print_json(const json_t *o)
{
    json_dumpf(o, stdout, JSON_INDENT(2) | JSON_PRESERVE_ORDER);
    putchar('\n');
}

/* How many, and which of them are not well. */
static void print_servers(const json_t *list)
{
    size_t i, well = 0;
    json_t *o;
    json_array_foreach(list, i, o) well += json_is_true(json_object_get(o, "healthy"));
    printf("servers:       %zu, %zu of them well\n", json_array_size(list), well);
    json_array_foreach(list, i, o)
    {
        if (!json_is_true(json_object_get(o, "healthy")))
            printf("  %s of service %s: %s\n", text_of(o, "url"), text_of(o, "service"),
                   text_of(o, "reason"));
    }
}

static void print_last_reload(const json_t *r)
{
    const json_t *problems = json_object_get(r, "problems");
    if (!r || json_is_null(r))
        return;
    bool good = json_is_true(json_object_get(r, "ok"));
    print_time(good ? "last reload:   in use since " : "last reload:   refused, nothing changed: ",
               r, "at");
    for (size_t i = 0; i < json_array_size(problems); i++)
        printf("  %s\n", json_string_value(json_array_get(problems, i)));
}

static void print_status(const json_t *o)
{
    const json_t *orders = json_object_get(o, "orders");
    const json_t *counters = json_object_get(o, "counters");
    long long up = number_of(o, "uptime");
    printf("ferrule %s, process %lld, up %lld h %lld min, %lld workers\n", text_of(o, "version"),
           number_of(o, "pid"), up / 3600, up / 60 % 60, number_of(o, "workers"));
    printf("configuration: %s\n", text_of(o, "file")[0] ? text_of(o, "file") : "command line");
    printf("certificates:  %lld loaded; %lld wanted by ACME, %lld of them obtained, %lld orders "
           "running\n",
           number_of(o, "certificates"), number_of(orders, "wanted"), number_of(orders, "obtained"),
           number_of(orders, "running"));
    print_time("next order:    ", orders, "next");
    print_servers(json_object_get(o, "servers"));
    print_last_reload(json_object_get(o, "lastReload"));
    const char *name;
    json_t *value;
    json_object_foreach((json_t *)counters, name, value)
    {
        if (json_integer_value(value))
            printf("  %-20s %lld\n", name, (long long)json_integer_value(value));
    }
}

static void print_candidate(const json_t *c)
{
    printf("  ");
    print_names(c);
    printf("\n    %s (%s), %s %lld bits, issued by %s%s\n", text_of(c, "source"),
           text_of(c, "origin"), text_of(c, "keyType"), number_of(c, "keyBits"),
           text_of(c, "issuer"), json_is_true(json_object_get(c, "valid")) ? "" : ", NOT VALID");
    print_time("    from ", c, "notBefore");
    print_time("    to   ", c, "notAfter");
    if (json_is_integer(json_object_get(c, "stapledUntil")))
        print_time("    OCSP answer until ", c, "stapledUntil");
    else if (json_is_true(json_object_get(c, "mustStaple")))
        printf("    no OCSP answer, which it demands (must-staple)\n");
}

static void print_suggestion(const json_t *s)
{
    if (!json_is_object(s))
        return;
    print_time("    suggested by the CA: from ", s, "start");
    print_time("                         to   ", s, "end");
    if (text_of(s, "explanation")[0])
        printf("    explained at %s\n", text_of(s, "explanation"));
}

/* What a person has to make before the order goes on. */
static void print_awaited(const json_t *w)
{
    size_t i;
    json_t *o;
    json_array_foreach(json_object_get(w, "waitsForPerson"), i, o)
        printf("    please add: %s IN TXT \"%s\"\n", text_of(o, "name"), text_of(o, "value"));
    if (i)
        puts("    and then:   ferrule cert continue NAME");
}

static void print_want(const json_t *w)
{
    const json_t *ledger = json_object_get(w, "ledger");
    printf("  ");
    print_names(w);
    printf("\n    %s, by resolver %s\n", text_of(w, "state"), text_of(w, "resolver"));
    print_time("    expires ", w, "notAfter");
    print_time("    renewal ", w, "renewAt");
    print_suggestion(json_object_get(w, "suggested"));
    if (text_of(w, "doing")[0])
        printf("    at work: %s (%s)\n    last: %s\n", text_of(w, "doing"), text_of(w, "step"),
               text_of(w, "progress"));
    else
        print_time("    next    ", w, "next");
    print_awaited(w);
    if (text_of(w, "waiting")[0])
        printf("    waiting: %s\n", text_of(w, "waiting"));
    if (!ledger)
        return;
    if (number_of(ledger, "failures")) {
        printf("    failed %lld time%s in a row: %s\n", number_of(ledger, "failures"),
               number_of(ledger, "failures") == 1 ? "" : "s", text_of(ledger, "lastError"));
        print_time("    last failure ", ledger, "failedAt");
        print_time("    next try not before ", ledger, "notBefore");
    }
    printf("    last 168 hours: orders %lld, certificates %lld of %lld\n",
           number_of(ledger, "ordersIn168h"), number_of(ledger, "certificatesIn168h"),
           number_of(ledger, "duplicateBudget"));
}

static void print_lists(const json_t *o)
{
    const json_t *wanted = json_object_get(o, "wanted");
    const json_t *certs = json_object_get(o, "certificates");
    if (json_array_size(wanted))
        printf("Wanted from a CA:\n");
    for (size_t i = 0; i < json_array_size(wanted); i++)
        print_want(json_array_get(wanted, i));
    if (json_array_size(certs))
        printf("Loaded:\n");
    for (size_t i = 0; i < json_array_size(certs); i++)
        print_candidate(json_array_get(certs, i));
}

static void print_explanation(const json_t *o)
{
    const json_t *list = json_object_get(o, "candidates");
    const char *matched = text_of(o, "matched");
    printf("A hello for \"%s\" is answered by %s%s\n", text_of(o, "sni"),
           matched[0] ? "the entry " : "the default certificate", matched);
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *c = json_array_get(list, i);
        printf("%s %zu. (%s)\n", json_is_true(json_object_get(c, "served")) ? "->" : "  ", i + 1,
               text_of(c, "why"));
        print_candidate(c);
    }
}

/* ---- commands ---------------------------------------------------------------------------------
 */

static int usage(const char *text)
{
    fprintf(stderr, "usage: ferrule %s [-c FILE | --socket PATH] [--json]\n", text);
    return 2;
}

static int exit_code(struct result r)
{
    return r.code == ERR_USAGE ? 2 : 1;
}

/* Takes `request`. */
static int ask(const struct cli_args *args, json_t *request, void (*print)(const json_t *answer))
{
    struct why why;
    json_t *answer = NULL;
    const char *command = text_of(request, "command");
    uint32_t limit_s = !strcmp(command, "reload") ? CLI_RELOAD_S
                       : !strcmp(command, "cert-revoke") || !strcmp(command, "account-rollover") ||
                               !strcmp(command, "cert-plan")
                           ? CLI_CA_S
                           : CLI_TIMEOUT_S;
    struct result r = cli_call(args->socket, request, limit_s, &answer, &why);
    json_decref(request);
    if (!result_is_ok(r)) {
        fprintf(stderr, "ferrule: %s\n", why.text);
        return exit_code(r);
    }
    bool good = json_is_true(json_object_get(answer, "ok"));
    if (args->json)
        print_json(answer);
    else if (print && (good || json_object_get(answer, "reload")))
        print(answer);
    if (!good && !args->json)
        fprintf(stderr, "ferrule: %s\n", text_of(answer, "error"));
    json_decref(answer);
    return good ? 0 : 1;
}

static bool read_args(int argc, char **argv, struct cli_args *args, int *ret_code)
{
    struct why why = {{0}};
    struct result r = cli_args_read(argc, argv, args, &why);
    if (result_is_ok(r))
        return true;
    if (why.text[0])
        fprintf(stderr, "ferrule %s: %s\n", argv[0], why.text);
    *ret_code = exit_code(r);
    return false;
}

int cli_status(int argc, char **argv)
{
    struct cli_args args;
    int code = 0;
    if (!read_args(argc, argv, &args, &code))
        return code;
    if (args.help || args.word_count || args.sni)
        code = usage("status");
    else
        code = ask(&args, json_pack("{s:s}", "command", "status"), print_status);
    free(args.socket);
    return code;
}

static void print_reload(const json_t *answer)
{
    const json_t *reload = json_object_get(answer, "reload");
    const json_t *problems = json_object_get(reload, "problems");
    for (size_t i = 0; i < json_array_size(problems); i++)
        fprintf(stderr, "%s\n", json_string_value(json_array_get(problems, i)));
    if (json_is_true(json_object_get(reload, "ok")))
        puts("the new configuration is in use");
}

int cli_reload(int argc, char **argv)
{
    struct cli_args args;
    int code = 0;
    if (!read_args(argc, argv, &args, &code))
        return code;
    if (args.help || args.word_count || args.sni)
        code = usage("reload");
    else
        code = ask(&args, json_pack("{s:s}", "command", "reload"), print_reload);
    free(args.socket);
    return code;
}

/* Waits until the supervisor has tried: control itself is replaced meanwhile. */
static int wait_for_upgrade(const struct cli_args *args, long long attempts)
{
    uint64_t end_ns = clock_now_ns() + CLI_UPGRADE_S * NS_PER_S;
    while (clock_now_ns() < end_ns) {
        json_t *request = json_pack("{s:s}", "command", "status"), *answer = NULL;
        struct why why;
        struct result r = cli_call(args->socket, request, CLI_TIMEOUT_S, &answer, &why);
        json_decref(request);
        const json_t *now = result_is_ok(r) ? json_object_get(answer, "upgrades") : NULL;
        if (now && number_of(now, "attempts") > attempts) {
            bool good = !text_of(now, "error")[0];
            if (args->json)
                print_json(now);
            else if (good)
                printf("ferrule %s serves\n", text_of(answer, "version"));
            else
                fprintf(stderr, "ferrule: the upgrade was refused, nothing changed: %s\n",
                        text_of(now, "error"));
            json_decref(answer);
            return good ? 0 : 1;
        }
        json_decref(answer);
        (void)poll(NULL, 0, CLI_POLL_MS);
    }
    fprintf(stderr, "ferrule: nothing is known of the upgrade after %d s: see the log\n",
            CLI_UPGRADE_S);
    return 1;
}

static int ask_for_upgrade(const struct cli_args *args)
{
    json_t *request = json_pack("{s:s}", "command", "upgrade"), *answer = NULL;
    struct why why;
    struct result r = cli_call(args->socket, request, CLI_TIMEOUT_S, &answer, &why);
    json_decref(request);
    if (!result_is_ok(r)) {
        fprintf(stderr, "ferrule: %s\n", why.text);
        return exit_code(r);
    }
    long long attempts = number_of(json_object_get(answer, "upgrades"), "attempts");
    json_decref(answer);
    return wait_for_upgrade(args, attempts);
}

int cli_upgrade(int argc, char **argv)
{
    struct cli_args args;
    int code = 0;
    if (!read_args(argc, argv, &args, &code))
        return code;
    if (args.help || args.word_count || args.sni)
        code = usage("upgrade");
    else
        code = ask_for_upgrade(&args);
    free(args.socket);
    return code;
}

static void print_stopping(const json_t *answer)
{
    puts("ferrule is stopping");
}

int cli_stop(int argc, char **argv)
{
    struct cli_args args;
    int code = 0;
    if (!read_args(argc, argv, &args, &code))
        return code;
    if (args.help || args.word_count || args.sni)
        code = usage("stop");
    else
        code = ask(&args, json_pack("{s:s}", "command", "stop"), print_stopping);
    free(args.socket);
    return code;
}

/* ---- cert, account ----------------------------------------------------------------------------
 */

#define CERT_USAGE                                                                                 \
    "cert list | show NAME | explain --sni NAME | plan | renew NAME [--force] | "                  \
    "revoke NAME [--reason WORD] | continue [NAME] | import --cert FILE --key FILE [--resolver "   \
    "NAME] | "                                                                                     \
    "export NAME --cert FILE --key FILE"

/* What is not good, or that all is. */
static void print_preflight(const json_t *findings)
{
    const json_t *f;
    size_t i, told = 0;
    json_array_foreach(findings, i, f)
    {
        const char *result = text_of(f, "result");
        if (!strcmp(result, "bad"))
            printf("  %s: %s (%s)\n", text_of(f, "check"), text_of(f, "text"),
                   text_of(f, "policy"));
        else if (!strcmp(result, "unknown"))
            printf("  %s is not known: %s\n", text_of(f, "check"), text_of(f, "text"));
        told += !strcmp(result, "bad") || !strcmp(result, "unknown");
    }
    if (json_array_size(findings) && !told)
        puts("  nothing seems to stand in its way");
}

static void print_plan(const json_t *answer)
{
    json_t *o;
    size_t i;
    json_array_foreach(json_object_get(answer, "plan"), i, o)
    {
        bool due = json_is_true(json_object_get(o, "due"));
        print_names(o);
        printf("\n  %s by resolver %s from %s%s\n  because %s\n", text_of(o, "action"),
               text_of(o, "resolver"), text_of(o, "ca"),
               json_is_true(json_object_get(o, "rehearsal")) ? ", after a rehearsal" : "",
               text_of(o, "why"));
        if (number_of(o, "at"))
            print_time("  at ", o, "at");
        else
            puts(due ? "  now" : "  nothing to do");
        if (text_of(o, "waiting")[0])
            printf("  waiting: %s\n", text_of(o, "waiting"));
        if (json_is_integer(json_object_get(o, "budgetLeft")))
            printf("  certificates asked for in the last 168 hours: %lld; %lld more may be\n",
                   number_of(o, "certificatesIn168h"), number_of(o, "budgetLeft"));
        print_preflight(json_object_get(o, "preflight"));
    }
}

static void print_renewal(const json_t *answer)
{
    printf("ordering: ");
    print_names(answer);
    puts("; `ferrule cert show NAME` tells how it goes");
}

static void print_continued(const json_t *answer)
{
    printf("going on with: ");
    print_names(answer);
    puts("; `ferrule cert show NAME` tells how it goes");
}

static void print_revocation(const json_t *answer)
{
    puts(json_is_true(json_object_get(answer, "ordered"))
             ? "revoked; another certificate is being ordered"
             : "revoked");
}

static void print_import(const json_t *answer)
{
    printf("imported: ");
    print_names(answer);
    putchar('\n');
    print_time("  to ", answer, "notAfter");
}

static void print_rollover(const json_t *answer)
{
    printf("the account of resolver %s has a new key\n", text_of(answer, "resolver"));
}

/* A whole file as text; NULL (said on standard error) when it cannot be read. */
static json_t *read_text(const char *path)
{
    struct buf text = {0};
    FILE *f = fopen(path, "re");
    size_t n = 1;
    while (f && n && text.len <= PEM_BYTES_MAX) {
        n = fread(buf_reserve(&text, 65536), 1, 65536, f);
        text.len += n;
    }
    bool good = f && !ferror(f) && text.len <= PEM_BYTES_MAX;
    json_t *o = good ? json_stringn((const char *)text.ptr, text.len) : NULL;
    if (!o)
        fprintf(stderr, "ferrule: cannot read %s\n", path);
    if (f)
        fclose(f);
    buf_wipe_free(&text);
    return o;
}

static int import(const struct cli_args *a)
{
    json_t *cert = read_text(a->cert), *key = cert ? read_text(a->key) : NULL;
    if (!key) {
        json_decref(cert);
        return 1;
    }
    return ask(a,
               json_pack("{s:s, s:o, s:o, s:s}", "command", "cert-import", "certificate", cert,
                         "key", key, "resolver", a->resolver ? a->resolver : ""),
               print_import);
}

/* A new file that nobody else can read; an old one of the name is replaced. */
static bool write_text(const char *path, const char *text)
{
    unlink(path);
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    FILE *f = fd == -1 ? NULL : fdopen(fd, "w");
    bool good = f && fputs(text, f) >= 0;
    good = f && fclose(f) == 0 && good;
    if (!good)
        fprintf(stderr, "ferrule: cannot write %s\n", path);
    return good;
}

static int export(const struct cli_args *a)
{
    json_t *answer = NULL;
    struct why why;
    json_t *request = json_pack("{s:s, s:s}", "command", "cert-export", "name", a->words[1]);
    struct result r = cli_call(a->socket, request, CLI_TIMEOUT_S, &answer, &why);
    json_decref(request);
    bool good = result_is_ok(r) && json_is_true(json_object_get(answer, "ok"));
    if (!good)
        fprintf(stderr, "ferrule: %s\n", answer ? text_of(answer, "error") : why.text);
    good = good && write_text(a->cert, text_of(answer, "certificate")) &&
           write_text(a->key, text_of(answer, "key"));
    json_decref(answer);
    return good ? 0 : 1;
}

static int go_on(const struct cli_args *a, const char *name)
{
    return ask(a, json_pack("{s:s, s:s}", "command", "cert-continue", "name", name),
               print_continued);
}

/* Verbs with a name behind them. */
static int cert_of_name(const struct cli_args *a, const char *verb)
{
    const char *name = a->words[1];
    if (!strcmp(verb, "show"))
        return ask(a, json_pack("{s:s, s:s}", "command", "cert-show", "name", name), print_lists);
    if (!strcmp(verb, "renew"))
        return ask(
            a,
            json_pack("{s:s, s:s, s:b}", "command", "cert-renew", "name", name, "force", a->force),
            print_renewal);
    if (!strcmp(verb, "revoke"))
        return ask(a,
                   json_pack("{s:s, s:s, s:s}", "command", "cert-revoke", "name", name, "reason",
                             a->reason ? a->reason : ""),
                   print_revocation);
    if (!strcmp(verb, "continue"))
        return go_on(a, name);
    if (!strcmp(verb, "export") && a->cert && a->key)
        return export(a);
    return usage(CERT_USAGE);
}

static int cert(const struct cli_args *a)
{
    const char *verb = a->word_count ? a->words[0] : "";
    if (a->word_count == 2 && !a->sni)
        return cert_of_name(a, verb);
    if (!strcmp(verb, "explain") && a->sni)
        return ask(a, json_pack("{s:s, s:s}", "command", "cert-explain", "sni", a->sni),
                   print_explanation);
    if (!strcmp(verb, "list") && !a->sni)
        return ask(a, json_pack("{s:s}", "command", "cert-list"), print_lists);
    if (!strcmp(verb, "plan") && !a->sni)
        return ask(a, json_pack("{s:s}", "command", "cert-plan"), print_plan);
    if (!strcmp(verb, "continue") && !a->sni)
        return go_on(a, "");
    if (!strcmp(verb, "import") && a->cert && a->key)
        return import(a);
    return usage(CERT_USAGE);
}

int cli_cert(int argc, char **argv)
{
    struct cli_args args;
    int code = 0;
    if (!read_args(argc, argv, &args, &code))
        return code;
    code = args.help ? usage(CERT_USAGE) : cert(&args);
    free(args.socket);
    return code;
}

int cli_account(int argc, char **argv)
{
    struct cli_args args;
    int code = 0;
    if (!read_args(argc, argv, &args, &code))
        return code;
    if (args.help || args.word_count != 1 || strcmp(args.words[0], "rollover") != 0)
        code = usage("account rollover [--resolver NAME]");
    else
        code = ask(&args,
                   json_pack("{s:s, s:s}", "command", "account-rollover", "resolver",
                             args.resolver ? args.resolver : ""),
                   print_rollover);
    free(args.socket);
    return code;
}

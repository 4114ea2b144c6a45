/* SPDX-License-Identifier: Apache-2.0 */
#include "config/check.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static bool takes_file(const char *arg, const char **ret_value)
{
    static const char *const names[] = {"-c", "--config", "--configFile"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        size_t len = strlen(names[i]);
        if (strncasecmp(arg, names[i], len) != 0 || (arg[len] && arg[len] != '='))
            continue;
        *ret_value = arg[len] ? arg + len + 1 : NULL;
        return true;
    }
    return false;
}

struct result check_args_parse(int argc, char **argv, struct check_args *ret, struct why *why)
{
    struct check_args a = {0};
    a.flags = mem_zalloc(((size_t)argc + 1) * sizeof *a.flags);
    struct result r = result_ok();
    for (int i = 0; i < argc && result_is_ok(r); i++) {
        const char *value = NULL;
        if (takes_file(argv[i], &value)) {
            if (!value && i + 1 < argc)
                value = argv[++i];
            if (!value || !*value)
                r = why_fail(why, ERR_USAGE, "%s needs the name of a file", argv[i]);
            a.file = value;
        } else if (strcmp(argv[i], "--fragment") == 0) {
            a.fragment = true;
        } else if (strcmp(argv[i], "--json") == 0) {
            a.json = true;
        } else if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0) {
            a.help = true;
        } else if (strncmp(argv[i], "--", 2) == 0 && argv[i][2]) {
            a.flags[a.flag_count++] = argv[i];
        } else {
            r = why_fail(why, ERR_USAGE, "\"%s\" is not understood here", argv[i]);
        }
    }
    if (!result_is_ok(r)) {
        check_args_free(&a);
        return r;
    }
    if (!a.file && !a.flag_count)
        a.file = CONFIG_DEFAULT_FILE;
    *ret = a;
    return r;
}

void check_args_free(struct check_args *args)
{
    free(args->flags);
    *args = (struct check_args){0};
}

static void print_problems(const struct config_problems *problems)
{
    struct buf text = {0};
    for (uint32_t i = 0; i < problems->count; i++) {
        config_problem_print(&problems->items[i], &text);
        buf_put_str(&text, "\n");
    }
    if (problems->errors > 1)
        buf_printf(&text, "%u errors\n", problems->errors);
    fputs(buf_cstr(&text), stderr);
    buf_free(&text);
}

struct result check_load(const struct check_args *args, struct config **ret)
{
    struct config_problems problems = {0};
    struct result r = config_load(args->file, args->flags, args->flag_count,
                                  args->fragment ? CONFIG_FRAGMENT : CONFIG_RUN, ret, &problems);
    print_problems(&problems);
    config_problems_free(&problems);
    return r;
}

struct result check_load_start(const struct check_args *args, struct config **ret)
{
    struct config_problems problems = {0};
    struct result r =
        config_load(args->file, args->flags, args->flag_count, CONFIG_START, ret, &problems);
    if (result_is_ok(r))
        print_problems(&problems);
    config_problems_free(&problems);
    return result_is_ok(r) ? r : check_load(args, ret);
}

static void say_good(const struct check_args *args, const struct config *c)
{
    const char *name = args->file ? args->file : "the command line";
    if (!c) {
        printf("%s: good as a fragment\n", name);
        return;
    }
    printf("%s: good: %u entry points, %u routers, %u services, %u certificates, %u resolvers\n",
           name, c->entrypoint_count, c->router_count, c->service_count, c->certificate_count,
           c->resolver_count);
}

int config_check_main(int argc, char **argv)
{
    struct check_args args;
    struct why why;
    struct config *config = NULL;
    if (!result_is_ok(check_args_parse(argc - 1, argv + 1, &args, &why))) {
        fprintf(stderr, "ferrule check: %s\n", why.text);
        return 2;
    }
    if (args.help) {
        puts("usage: ferrule check [--fragment] [-c FILE] [--path.to.option=value ...]\n"
             "Reads a configuration as `ferrule run` does and says all that is wrong with it.\n"
             "--fragment judges keys, types and values alone: no references, no other files.");
        check_args_free(&args);
        return 0;
    }
    struct result r = check_load(&args, &config);
    if (result_is_ok(r))
        say_good(&args, config);
    config_free(config);
    check_args_free(&args);
    return result_is_ok(r) ? 0 : 1;
}

int config_options_main(int argc, char **argv)
{
    struct buf text = {0};
    bool markdown = argc == 2 && strcmp(argv[1], "--markdown") == 0;
    if (argc > 2 || (argc == 2 && !markdown)) {
        fprintf(stderr, "usage: ferrule options [--markdown]\n");
        return 2;
    }
    config_options_print(markdown, &text);
    bool written = fwrite(text.ptr, 1, text.len, stdout) == text.len && fflush(stdout) == 0;
    buf_free(&text);
    return written ? 0 : 1;
}

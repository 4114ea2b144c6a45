/* SPDX-License-Identifier: Apache-2.0 */
#include "control/provider/provider_cli.h"

#include "config/check.h"
#include "control/provider/load.h"
#include "control/provider/plugin_options.h"
#include "control/provider/trial.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static const char usage[] =
    "usage: ferrule provider list\n"
    "       ferrule provider show CODE\n"
    "       ferrule provider test CODE --domain DOMAIN [--resolver NAME]\n"
    "All take -c FILE and dotted flags, for [plugins] directories and the resolver's variables, "
    "or\n"
    "--directory DIR to look there without a configuration.\n"
    "list   the DNS provider plug-ins that are installed\n"
    "show   what a plug-in is, and the variables that it reads\n"
    "test   checks the credentials, makes a TXT value at _acme-challenge.DOMAIN, waits until "
    "every\n"
    "       name server has it, and removes it\n";

struct provider_args {
    const char *words[2]; /* the command and CODE */
    int word_count;
    const char *domain, *resolver, *directory;
    struct check_args common;
};

/* --- arguments ---------------------------------------------------------------------------------
 */

/* Where the value of one of our own arguments belongs. */
static const char **own_argument(const char *arg, struct provider_args *args)
{
    if (strcmp(arg, "--domain") == 0)
        return &args->domain;
    if (strcmp(arg, "--resolver") == 0)
        return &args->resolver;
    return strcmp(arg, "--directory") == 0 ? &args->directory : NULL;
}

/* Takes our own arguments; the rest goes to check_args_parse(). */
static struct result read_args(int argc, char **argv, struct provider_args *ret, struct why *why)
{
    char **rest = mem_zalloc(((size_t)argc + 1) * sizeof *rest);
    int count = 0;
    bool is_value = false; /* of -c */
    struct result r = result_ok();
    for (int i = 1; i < argc && result_is_ok(r); i++) {
        const char **own = own_argument(argv[i], ret);
        if (own && i + 1 == argc)
            r = why_fail(why, ERR_USAGE, "%s needs a value", argv[i]);
        else if (own)
            *own = argv[++i];
        else if (argv[i][0] == '-' || is_value)
            rest[count++] = argv[i];
        else if (ret->word_count < 2)
            ret->words[ret->word_count++] = argv[i];
        else
            r = why_fail(why, ERR_USAGE, "\"%s\" is too much", argv[i]);
        is_value = !own && (strcmp(argv[i], "-c") == 0 || strcmp(argv[i], "--config") == 0);
    }
    if (result_is_ok(r))
        r = check_args_parse(count, rest, &ret->common, why);
    free(rest);
    return r;
}

/* Without a configuration at the usual place, and with --directory, only the folder of plug-ins is
 * known, and variables come from the environment. */
static bool needs_no_config(const struct provider_args *args)
{
    const struct check_args *a = &args->common;
    return args->directory ||
           (a->file && strcmp(a->file, CONFIG_DEFAULT_FILE) == 0 && access(a->file, F_OK) != 0);
}

/* --- list, show ----------------------------------------------------------------------------------
 */

static int list_folder(const char *folder)
{
    struct dirent **names = NULL;
    int count = scandir(folder, &names, NULL, alphasort), shown = 0;
    for (int i = 0; i < count; i++) {
        size_t len = strlen(names[i]->d_name);
        const struct ferrule_provider *p;
        struct why why;
        if (len > 3 && strcmp(names[i]->d_name + len - 3, ".so") == 0) {
            char *path = mem_printf("%s/%s", folder, names[i]->d_name);
            names[i]->d_name[len - 3] = 0;
            if (result_is_ok(load_plugin(path, names[i]->d_name, &p, &why)))
                printf("%-16s %-8s %s\n", names[i]->d_name, p->version ? p->version : "",
                       p->summary ? p->summary : "");
            else
                printf("%-16s unusable: %s\n", names[i]->d_name, why.text);
            free(path);
            shown++;
        }
        free(names[i]);
    }
    free(names);
    return shown;
}

static int run_list(const struct config *config)
{
    int shown = 0;
    for (uint32_t i = 0; i < config->plugin_directory_count; i++)
        shown += list_folder(config->plugin_directories[i]);
    if (shown)
        return 0;
    fprintf(stderr, "no plug-in in");
    for (uint32_t i = 0; i < config->plugin_directory_count; i++)
        fprintf(stderr, " %s", config->plugin_directories[i]);
    fprintf(stderr, "\n");
    return 1;
}

static void show_option(const struct ferrule_option *o)
{
    for (const char *const *env = o->env; *env; env++)
        printf("%s%s", env == o->env ? "  " : ", or ", *env);
    printf("%s%s%s", o->flags & FERRULE_OPTION_REQUIRED ? "  (required)" : "",
           o->flags & FERRULE_OPTION_SECRET ? "  (secret)" : "",
           o->flags & FERRULE_OPTION_DEPRECATED ? "  (deprecated)" : "");
    if (o->default_value)
        printf("  (default %s)", o->default_value);
    printf("\n      %s\n", o->help ? o->help : "");
}

static int run_show(const struct config *config, const char *code)
{
    struct why why = {"there is no such plug-in"};
    for (uint32_t i = 0; i < config->plugin_directory_count; i++) {
        char *path = mem_printf("%s/%s.so", config->plugin_directories[i], code);
        const struct ferrule_provider *p = NULL;
        bool there = access(path, F_OK) == 0;
        if (there && result_is_ok(load_plugin(path, code, &p, &why))) {
            printf("%s %s: %s\nfile: %s\n", code, p->version ? p->version : "",
                   p->summary ? p->summary : "", path);
            printf(
                "variables (each also as NAME_FILE, the name of a file that holds the value):\n");
            for (uint32_t n = 0; n < p->option_count; n++)
                show_option(plugin_options_at(p, n));
        }
        free(path);
        if (p)
            return 0;
        if (there)
            break;
    }
    fprintf(stderr, "ferrule provider show %s: %s\n", code, why.text);
    return 1;
}

/* --- all
 * ------------------------------------------------------------------------------------------- */

/* The resolver of this name, else the first that uses the plug-in, else none. */
static const struct config_resolver *pick_resolver(const struct config *config, const char *code,
                                                   const char *name)
{
    for (uint32_t i = 0; i < config->resolver_count; i++) {
        const struct config_resolver *r = &config->resolvers[i];
        if (name ? strcmp(r->name, name) == 0
                 : r->dns_provider && strcmp(r->dns_provider, code) == 0)
            return r;
    }
    return NULL;
}

static int run_test(const struct config *config, const struct provider_args *args)
{
    const char *code = args->words[1];
    const struct config_resolver *resolver = pick_resolver(config, code, args->resolver);
    if (args->resolver && !resolver) {
        fprintf(stderr, "ferrule provider test: there is no resolver \"%s\"\n", args->resolver);
        return 1;
    }
    return trial_run(config, resolver, code, args->domain);
}

static int run(const struct config *config, const struct provider_args *args)
{
    if (strcmp(args->words[0], "list") == 0)
        return run_list(config);
    return strcmp(args->words[0], "show") == 0 ? run_show(config, args->words[1])
                                               : run_test(config, args);
}

static bool is_complete(const struct provider_args *args)
{
    if (args->word_count == 1)
        return strcmp(args->words[0], "list") == 0;
    return args->word_count == 2 && (strcmp(args->words[0], "show") == 0 ||
                                     (strcmp(args->words[0], "test") == 0 && args->domain));
}

int provider_cli(int argc, char **argv)
{
    struct provider_args args = {.word_count = 0};
    struct why why;
    if (!result_is_ok(read_args(argc, argv, &args, &why))) {
        fprintf(stderr, "ferrule provider: %s\n%s", why.text, usage);
        return 2;
    }
    int code = 1;
    struct config *config = NULL;
    if (args.common.help || !is_complete(&args)) {
        fputs(usage, args.common.help ? stdout : stderr);
        code = args.common.help ? 0 : 2;
    } else if (needs_no_config(&args)) {
        const char *directory = args.directory ? args.directory : FERRULE_PROVIDER_DIR;
        code = run(&(struct config){.plugin_directories = &directory, .plugin_directory_count = 1},
                   &args);
    } else if (result_is_ok(check_load(&args.common, &config))) {
        code = run(config, &args);
    }
    config_free(config);
    check_args_free(&args.common);
    return code;
}

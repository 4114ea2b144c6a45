/* SPDX-License-Identifier: Apache-2.0 */
/* ferrule-provider-test: runs a provider plug-in against a scripted host, with every service call
 * going wrong in turn, and says which rule of the ABI it breaks. */
#include "kit.h"

#include "control/provider/load.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char usage[] =
    "usage: ferrule-provider-test [--set NAME=VALUE]... [--script FILE | --records FILE] CODE.so\n"
    "Checks a DNS provider plug-in without any network.\n"
    "  --set      a variable that the plug-in reads (repeat it; give secrets of your own "
    "invention)\n"
    "  --script   the plug-in's HTTP service as JSON rules (see provider-template/template.json)\n"
    "  --records  the plug-in writes its records to this file itself, one \"NAME VALUE\" per line\n"
    "With neither, the plug-in finds a primary server of the zone example.test that takes "
    "unsigned\n"
    "DNS updates. Exit status: 0 all passed, 1 some failed, 2 wrong usage.\n";

/* Splits NAME=VALUE into the overlay. */
static bool add_variable(struct wire_list *overlay, const char *text)
{
    const char *equals = strchr(text, '=');
    return equals && result_is_ok(wire_list_add(overlay, span_of(text, (size_t)(equals - text)))) &&
           result_is_ok(wire_list_add(overlay, span_str(equals + 1)));
}

static bool read_arguments(int argc, char **argv, struct kit *k, struct wire_list *overlay,
                           const char **ret_path)
{
    for (int i = 1; i < argc; i++) {
        const char *value = i + 1 < argc ? argv[i + 1] : NULL;
        bool good = true;
        if (strcmp(argv[i], "--set") == 0 && value) {
            good = add_variable(overlay, value);
            i++;
        } else if (strcmp(argv[i], "--script") == 0 && value) {
            k->world = KIT_HTTP;
            good = fake_http_load(k, value);
            i++;
        } else if (strcmp(argv[i], "--records") == 0 && value) {
            k->world = KIT_FILE;
            k->records_file = value;
            i++;
        } else if (argv[i][0] != '-' && !*ret_path) {
            *ret_path = argv[i];
        } else {
            good = false;
        }
        if (!good)
            return false;
    }
    return *ret_path != NULL;
}

/* "/a/b/code.so" -> "code"; the caller frees. */
static char *code_of(const char *path)
{
    const char *name = strrchr(path, '/') ? strrchr(path, '/') + 1 : path;
    size_t len = strlen(name);
    return mem_strndup(name, len > 3 && strcmp(name + len - 3, ".so") == 0 ? len - 3 : len);
}

static bool load(struct kit *k, const char *path, const struct wire_list *overlay)
{
    struct why why;
    char *code = code_of(path);
    /* dlopen() takes a name without a slash for one to be searched. */
    char *full = realpath(path, NULL);
    struct result r = load_plugin(full ? full : path, code, &k->provider, &why);
    free(full);
    free(code);
    static const struct wire_list none;
    if (result_is_ok(r))
        r = plugin_options_resolve(k->provider, overlay, &none, &k->options, &k->redact, &why);
    if (!result_is_ok(r))
        fprintf(stderr, "%s\n", why.text);
    return result_is_ok(r);
}

int main(int argc, char **argv)
{
    static struct kit k;
    static struct wire_list overlay;
    const char *path = NULL;
    if (!read_arguments(argc, argv, &k, &overlay, &path)) {
        fputs(usage, stderr);
        return 2;
    }
    int code = 1;
    kit_init(&k);
    if (load(&k, path, &overlay)) {
        FILE *out = fdopen(dup(STDOUT_FILENO), "w");
        code = cases_run(&k, out) ? 1 : 0;
        fclose(out);
    }
    services_fini(&k.services);
    plugin_options_fini(&k.options);
    redact_fini(&k.redact);
    json_decref(k.script);
    return code;
}

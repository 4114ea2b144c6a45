/* SPDX-License-Identifier: Apache-2.0 */
#include "config/build.h"
#include "config/flags.h"
#include "config/judge.h"

#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <sys/stat.h>

#define FILE_MAX_BYTES   (256u << 20)
#define FILES_MAX        10000
#define FOLDER_DEPTH_MAX 8

struct load {
    struct arena *arena; /* of this load: trees, schema, names of files */
    struct config_problems *problems;
    const struct schema *schema;
    enum config_mode mode;
    struct node *root;
    const char **files; /* in the order in which they were read */
    uint32_t file_count;
};

/* Reads one file into a tree of its own. NULL: reported. */
static struct node *load_file(struct load *l, const char *path, struct config_where named)
{
    struct buf text = {0};
    struct why why;
    struct node *root = NULL;
    path = arena_strdup(l->arena, path);
    if (l->file_count < FILES_MAX)
        l->files[l->file_count++] = path;
    if (result_is_ok(build_read(path, FILE_MAX_BYTES, &text, &why)))
        root = tree_from_toml(l->arena, buf_span(&text), path, l->problems);
    else
        problems_error(l->problems, named, "%s", why.text);
    buf_wipe_free(&text);
    return root;
}

/* A file that [providers.file] names. */
static void load_part(struct load *l, const char *path, struct config_where named)
{
    struct node *part = load_file(l, path, named);
    if (!part)
        return;
    judge_is_dynamic(part, l->problems);
    judge_tree(l->arena, part, l->schema, l->mode, l->problems);
    tree_merge(l->root, part, 2, l->problems);
    l->root->schema = l->schema;
}

static bool ends_in(const char *name, const char *end)
{
    size_t len = strlen(name), end_len = strlen(end);
    return len > end_len && strcasecmp(name + len - end_len, end) == 0;
}

static void load_folder(struct load *l, const char *folder, struct config_where named,
                        uint32_t depth)
{
    struct dirent **list;
    int count = scandir(folder, &list, NULL, alphasort);
    if (count < 0) {
        problems_error(l->problems, named, "cannot read the folder %s: %s", folder,
                       strerror(errno));
        return;
    }
    for (int i = 0; i < count; i++) {
        const char *name = list[i]->d_name;
        const char *path = arena_printf(l->arena, "%s/%s", folder, name);
        struct stat st;
        bool hidden = name[0] == '.';
        if (!hidden && stat(path, &st) == 0 && S_ISDIR(st.st_mode) && depth < FOLDER_DEPTH_MAX)
            load_folder(l, path, named, depth + 1);
        else if (!hidden && ends_in(name, ".toml"))
            load_part(l, path, named);
        else if (!hidden && (ends_in(name, ".yml") || ends_in(name, ".yaml")))
            problems_warn(l->problems, named, "%s is not read: ferrule reads TOML", path);
        free(list[i]);
    }
    free(list);
}

static void load_parts(struct load *l)
{
    struct place file = build_at((struct place){l->root, l->schema}, "providers.file");
    const struct node *name = build_at(file, "filename").node;
    const struct node *folder = build_at(file, "directory").node;
    if (name)
        load_part(l, build_absolute(l->arena, build_directory(l->arena, name), name->text),
                  name->at);
    if (folder)
        load_folder(l, build_absolute(l->arena, build_directory(l->arena, folder), folder->text),
                    folder->at, 0);
}

static struct config *build_config(struct load *l, const char *file)
{
    struct arena *arena = arena_create();
    struct config *config = arena_alloc(arena, sizeof *config);
    struct build b = {
        .arena = arena,
        .config = config,
        .problems = l->problems,
        .root = {l->root, l->schema},
        .top = {file ? l->files[0] : NULL, file ? 1 : 0, file ? 1 : 0},
    };
    config->memory = arena;
    config->file = file ? build_absolute(arena, ".", file) : "";
    build_processes(&b);
    build_entrypoints(&b);
    build_resolvers(&b);
    build_tls(&b);
    build_transports(&b);
    build_services(&b);
    build_middlewares(&b);
    build_routers(&b);
    build_tls_hosts(&b);
    build_cover(&b);
    return config;
}

struct result config_load(const char *file, const char *const *flags, uint32_t flag_count,
                          enum config_mode mode, struct config **ret,
                          struct config_problems *problems)
{
    struct load l = {.arena = arena_create(), .problems = problems, .mode = mode};
    struct config *config = NULL;
    l.schema = options_schema(l.arena);
    l.files = arena_alloc(l.arena, FILES_MAX * sizeof *l.files);
    l.root = file ? load_file(&l, file, (struct config_where){file, 0, 0}) : tree_create(l.arena);
    if (l.root) {
        for (uint32_t i = 0; i < flag_count; i++)
            flags_set(l.arena, l.root, flags[i], i, problems);
        judge_tree(l.arena, l.root, l.schema, mode, problems);
    }
    if (l.root && mode == CONFIG_RUN) {
        load_parts(&l);
        config = build_config(&l, file);
    }
    problems_sort(problems, l.files, l.file_count);
    arena_destroy(l.arena);
    if (problems->errors || !config) {
        config_free(config);
        return problems->errors ? result_fail(ERR_CONFIG) : result_ok();
    }
    *ret = config;
    return result_ok();
}

void config_free(struct config *config)
{
    if (!config)
        return;
    for (uint32_t i = 0; i < config->router_count; i++)
        rule_free(&config->routers[i].rule);
    for (uint32_t i = 0; i < config->certificate_count; i++) {
        buf_free(&config->certificates[i].chain);
        buf_wipe_free(&config->certificates[i].key);
    }
    for (uint32_t i = 0; i < config->transport_count; i++) {
        struct config_certificate *c = config->transports[i].certificate;
        if (c) {
            buf_free(&c->chain);
            buf_wipe_free(&c->key);
        }
    }
    for (uint32_t i = 0; i < config->roots_count; i++)
        buf_free(&config->roots[i].certs);
    if (config->default_certificate) {
        buf_free(&config->default_certificate->chain);
        buf_wipe_free(&config->default_certificate->key);
    }
    arena_destroy(config->memory);
}

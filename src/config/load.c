/* SPDX-License-Identifier: Apache-2.0 */
#include "base/secret.h"
#include "config/build.h"
#include "config/fixed.h"
#include "config/flags.h"
#include "config/judge.h"
#include "config/pair.h"
#include "config/skim.h"

#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <sys/stat.h>

#define FILE_MAX_BYTES   (256u << 20)
#define FILES_MAX        10000
#define FOLDER_DEPTH_MAX 8
#define SKIM_BYTES       (64u << 10) /* of a shorter file it would save nothing */

struct load {
    struct arena *arena; /* of this load: trees, schema, names of files */
    struct config_problems *problems;
    const struct schema *schema;
    enum config_mode mode;
    struct node *root;
    const char **files; /* in the order in which they were read */
    uint32_t file_count;
    struct config_where top;
    const char *const *fixed; /* of the ferrule that runs; NULL = none runs */
    uint32_t fixed_count;
    const struct config *running;
    struct config_known *known;
    const char **watched;
    uint32_t watched_count;
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
    struct buf skimmed = {0};
    if (!result_is_ok(build_read(path, FILE_MAX_BYTES, &text, &why))) {
        problems_error(l->problems, named, "%s", why.text);
    } else {
        bool skim = l->mode == CONFIG_START && text.len > SKIM_BYTES &&
                    skim_pairs(buf_span(&text), &skimmed);
        root = tree_from_toml(l->arena, buf_span(skim ? &skimmed : &text), path, l->problems);
    }
    buf_wipe_free(&text);
    buf_wipe_free(&skimmed);
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

static void watch_path(struct load *l, const char *path)
{
    if (l->watched_count < FILES_MAX)
        l->watched[l->watched_count++] = path;
}

static void load_folder(struct load *l, const char *folder, struct config_where named,
                        uint32_t depth)
{
    struct dirent **list;
    watch_path(l, folder);
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
    if (name) {
        const char *path = build_absolute(l->arena, build_directory(l->arena, name), name->text);
        watch_path(l, path);
        load_part(l, path, name->at);
    }
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
        .running = l->running,
        .known = l->known,
        .top = l->top,
        .without_pairs = l->mode == CONFIG_START,
    };
    config->memory = arena;
    config->file = file ? build_absolute(arena, ".", file) : "";
    config->fixed = fixed_collect(arena, b.root, &config->fixed_count);
    config->watch = build_bool(b.root, "providers.file.watch");
    config->watched = arena_alloc(arena, (l->watched_count + 1) * sizeof *config->watched);
    for (; config->watched_count < l->watched_count; config->watched_count++)
        config->watched[config->watched_count] =
            arena_strdup(arena, l->watched[config->watched_count]);
    build_processes(&b);
    build_entrypoints(&b);
    build_resolvers(&b);
    build_tls(&b);
    build_transports(&b);
    build_services(&b);
    build_middlewares(&b);
    build_routers(&b);
    build_tls_hosts(&b);
    if (!b.without_pairs)
        build_cover(&b);
    return config;
}

static struct result load_all(struct load *l, const char *file, const char *const *flags,
                              uint32_t flag_count, struct config **ret)
{
    struct config *config = NULL;
    l->arena = arena_create();
    l->schema = options_schema(l->arena);
    l->files = arena_alloc(l->arena, FILES_MAX * sizeof *l->files);
    l->watched = arena_alloc(l->arena, FILES_MAX * sizeof *l->watched);
    l->root = file ? load_file(l, file, (struct config_where){file, 0, 0}) : tree_create(l->arena);
    l->top = (struct config_where){file ? l->files[0] : NULL, file ? 1 : 0, file ? 1 : 0};
    if (l->root) {
        for (uint32_t i = 0; i < flag_count; i++)
            flags_set(l->arena, l->root, flags[i], i, l->problems);
        judge_tree(l->arena, l->root, l->schema, l->mode, l->problems);
    }
    if (l->root && l->mode != CONFIG_FRAGMENT) {
        if (l->fixed)
            fixed_keep(l->arena, (struct place){l->root, l->schema}, l->top, l->fixed,
                       l->fixed_count, l->problems);
        load_parts(l);
        config = build_config(l, file);
    }
    problems_sort(l->problems, l->files, l->file_count);
    arena_destroy(l->arena);
    if (l->problems->errors || !config) {
        config_free(config);
        return l->problems->errors ? result_fail(ERR_CONFIG) : result_ok();
    }
    *ret = config;
    return result_ok();
}

struct result config_load(const char *file, const char *const *flags, uint32_t flag_count,
                          enum config_mode mode, struct config **ret,
                          struct config_problems *problems)
{
    struct load l = {.problems = problems, .mode = mode};
    return load_all(&l, file, flags, flag_count, ret);
}

struct result config_reload(const char *file, const char *const *flags, uint32_t flag_count,
                            const char *const *fixed, uint32_t fixed_count,
                            const struct config *running, struct config_known *known,
                            struct config **ret, struct config_problems *problems)
{
    struct load l = {.problems = problems,
                     .mode = CONFIG_RUN,
                     .fixed = fixed,
                     .fixed_count = fixed_count,
                     .running = running,
                     .known = known};
    return load_all(&l, file, flags, flag_count, ret);
}

/* A tree of what stands before the first error of syntax. */
static struct node *load_sound_part(struct load *l, struct span text, const char *file)
{
    while (text.len) {
        struct config_problems problems = {0};
        struct node *root = tree_from_toml(l->arena, text, file, &problems);
        uint32_t bad = problems.count ? problems.items[0].where.line : 0, line = 1;
        size_t end = 0;
        config_problems_free(&problems);
        if (root)
            return root;
        for (; end < text.len && line < bad; end++)
            line += text.ptr[end] == '\n';
        /* The error may be told at its end: each try gives up one line at least. */
        end = end && end == text.len ? end - 1 : end;
        while (end && text.ptr[end - 1] != '\n')
            end--;
        text.len = end;
    }
    return tree_create(l->arena);
}

struct result config_admin_socket(const char *file, const char *const *flags, uint32_t flag_count,
                                  char **ret, struct why *why)
{
    struct config_problems ignored = {0};
    struct load l = {.arena = arena_create(), .problems = &ignored};
    struct buf text = {0};
    struct result r = file ? build_read(file, FILE_MAX_BYTES, &text, why) : result_ok();
    if (result_is_ok(r)) {
        struct config config = {0};
        struct build b = {.arena = l.arena, .config = &config, .problems = &ignored};
        l.schema = options_schema(l.arena);
        l.root = load_sound_part(&l, buf_span(&text), file);
        for (uint32_t i = 0; i < flag_count; i++)
            flags_set(l.arena, l.root, flags[i], i, &ignored);
        judge_tree(l.arena, l.root, l.schema, CONFIG_FRAGMENT, &ignored);
        b.root = (struct place){l.root, l.schema};
        build_processes(&b);
        *ret = mem_strdup(config.admin_socket);
    }
    buf_wipe_free(&text);
    config_problems_free(&ignored);
    arena_destroy(l.arena);
    return r;
}

static void free_pair(struct config_certificate *c)
{
    if (!c)
        return;
    buf_free(&c->chain);
    buf_wipe_free(&c->key);
    if (c->facts)
        pair_facts_free(c->facts);
    free(c->facts);
    c->facts = NULL;
}

void config_forget_certificates(struct config *config)
{
    for (uint32_t i = 0; i < config->certificate_count; i++)
        free_pair(&config->certificates[i]);
    free_pair(config->default_certificate);
}

void config_free(struct config *config)
{
    if (!config)
        return;
    config_forget_certificates(config);
    for (uint32_t i = 0; i < config->router_count; i++)
        rule_free(&config->routers[i].rule);
    for (uint32_t i = 0; i < config->tcp_router_count; i++)
        rule_free(&config->tcp_routers[i].rule);
    for (uint32_t i = 0; i < config->transport_count; i++)
        free_pair(config->transports[i].certificate);
    for (uint32_t i = 0; i < config->roots_count; i++)
        buf_free(&config->roots[i].certs);
    arena_destroy(config->memory);
}

/* It lies in the arena. NULL is fine. */
static void forget_text(const char *text)
{
    if (text)
        secret_wipe((char *)text, strlen(text));
}

void config_forget_secrets(struct config *config)
{
    for (uint32_t i = 0; i < config->resolver_count; i++) {
        const struct config_resolver *r = &config->resolvers[i];
        forget_text(r->eab_hmac);
        for (uint32_t k = 0; k < r->env_count; k++)
            forget_text(r->env[k].value);
    }
    for (uint32_t i = 0; i < config->transport_count; i++)
        free_pair(config->transports[i].certificate);
    config_forget_certificates(config);
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "config/fixed.h"

#include "config/flags.h"
#include "config/judge.h"

/* One word of a value. Paths are made absolute: a flag's would start elsewhere than a file's. */
static const char *word_of(struct arena *arena, const struct option *o, const struct node *n)
{
    bool path = o->type == OPTION_PATH || o->type == OPTION_PATHS;
    switch (n->kind) {
    case TOML_INTEGER:
        return arena_printf(arena, "%lld%s", (long long)n->integer,
                            o->type == OPTION_DURATION ? "ms" : "");
    case TOML_BOOLEAN:
        return n->truth ? "true" : "false";
    default:
        return path ? build_absolute(arena, build_directory(arena, n), n->text) : n->text;
    }
}

static const char *text_of(struct arena *arena, const struct option *o, struct place p)
{
    if (!p.node)
        return NULL;
    if (p.node->kind != TOML_ARRAY)
        return word_of(arena, o, p.node);
    const char *text = "";
    for (const struct node *n = NULL; (n = build_next(p, n));)
        text = arena_printf(arena, "%s%s%s", text, *text ? "," : "", word_of(arena, o, n));
    return text;
}

/* The next option that a reload leaves alone; NULL after the last. */
static const struct option *next_fixed(const struct option *o)
{
    for (o = o ? o + 1 : option_table; o < option_table + option_count; o++)
        if (o->reload == OPTION_RESTART && o->state == OPTION_AVAILABLE)
            return o;
    return NULL;
}

const char **fixed_collect(struct arena *arena, struct place root, uint32_t *ret_count)
{
    const char **list = arena_alloc(arena, option_count * sizeof *list);
    uint32_t count = 0;
    for (const struct option *o = NULL; (o = next_fixed(o));) {
        const char *text = text_of(arena, o, build_at(root, o->path));
        if (text)
            list[count++] = arena_printf(arena, "%s=%s", o->path, text);
    }
    *ret_count = count;
    return list;
}

static const char *find(const char *const *running, uint32_t count, const char *path)
{
    size_t len = strlen(path);
    for (uint32_t i = 0; i < count; i++)
        if (strncmp(running[i], path, len) == 0 && running[i][len] == '=')
            return running[i] + len + 1;
    return NULL;
}

/* The value as it runs, in the place of the one that is written. */
static void restore(struct arena *arena, struct place root, const struct option *o,
                    const struct node *written, const char *text, struct config_problems *problems)
{
    struct node *part = tree_create(arena);
    if (written)
        tree_remove((struct node *)written);
    if (!text)
        return;
    flags_set(arena, part, arena_printf(arena, "--%s=%s", o->path, text), 0, problems);
    judge_tree(arena, part, root.schema, CONFIG_RUN, problems);
    tree_merge((struct node *)root.node, part, 2, problems);
    ((struct node *)root.node)->schema = root.schema;
}

void fixed_keep(struct arena *arena, struct place root, struct config_where top,
                const char *const *running, uint32_t count, struct config_problems *problems)
{
    for (const struct option *o = NULL; (o = next_fixed(o));) {
        struct place p = build_at(root, o->path);
        const char *now = text_of(arena, o, p), *before = find(running, count, o->path);
        if (now && before ? strcmp(now, before) == 0 : now == before)
            continue;
        problems_warn(problems, p.node ? p.node->at : top,
                      "%s takes effect at the next start or upgrade: until then it stays %s",
                      o->path, before ? before : "at its default");
        restore(arena, root, o, p.node, before, problems);
    }
}

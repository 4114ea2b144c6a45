/* SPDX-License-Identifier: Apache-2.0 */
#include "config/judge.h"

#include "config/typing.h"

struct judge {
    struct arena *arena;
    struct config_problems *problems;
    const struct schema *root;
    enum config_mode mode;
};

#define SIBLINGS_MAX 128

static void put_known(const struct schema *schema, struct buf *out)
{
    const char *before = "; known here: ";
    for (const struct schema *s = schema->first; s; s = s->next) {
        if (s->option && s->option->state == OPTION_FOREIGN)
            continue;
        buf_printf(out, "%s%s", before, s->name);
        before = ", ";
    }
}

/* The first table or option of this name, wherever it belongs. */
static const struct schema *anywhere(const struct schema *schema, const char *key)
{
    const struct schema *found = NULL;
    for (const struct schema *s = schema->first; s && !found; s = s->next) {
        bool foreign = s->option && s->option->state == OPTION_FOREIGN;
        found = !foreign && strcasecmp(s->name, key) == 0 ? s : anywhere(s, key);
    }
    return found;
}

static void put_path(const struct schema *s, struct buf *out)
{
    if (s->parent && *s->parent->name) {
        put_path(s->parent, out);
        buf_put_str(out, ".");
    }
    buf_put_str(out, s->name);
}

static void unknown_key(const struct judge *j, struct node *n, const struct schema *schema)
{
    const char *names[SIBLINGS_MAX];
    uint32_t count = 0;
    struct buf hint = {0};
    for (const struct schema *s = schema->first; s && count < SIBLINGS_MAX; s = s->next)
        names[count++] = s->name;
    const char *near = problems_nearest(n->key, names, count);
    const struct schema *other = near ? NULL : anywhere(j->root, n->key);
    if (near) {
        buf_printf(&hint, "; did you mean %s?", near);
    } else if (other) {
        buf_put_str(&hint, "; there is ");
        put_path(other, &hint);
    } else {
        put_known(schema, &hint);
    }
    problems_error(j->problems, n->key_at, "unknown key %s%s", tree_path(j->arena, n),
                   buf_cstr(&hint));
    buf_free(&hint);
    n->bad = true;
}

static void judge_table(const struct judge *j, struct node *table);

/* Is there nothing to be judged further down? */
static bool judge_state(const struct judge *j, struct node *n)
{
    const struct schema *s = n->schema;
    if (s->option && s->option->state == OPTION_FOREIGN) {
        problems_error(j->problems, n->key_at, "ferrule does not have Traefik's %s: %s",
                       tree_path(j->arena, n), s->option->doc);
        return n->bad = true;
    }
    bool names_follow = !s->option && s->first && s->first->any;
    if (j->mode != CONFIG_FRAGMENT && s->later && !names_follow) {
        problems_error(j->problems, n->key_at,
                       "%s is known, but its feature is not available in this version of ferrule",
                       tree_path(j->arena, n));
        return n->bad = true;
    }
    return false;
}

static void judge_list(const struct judge *j, struct node *n)
{
    if (n->kind != TOML_ARRAY) {
        problems_error(j->problems, n->at, "%s must be a list of tables: [[%s]]",
                       tree_path(j->arena, n), tree_path(j->arena, n));
        n->bad = true;
        return;
    }
    for (struct node *c = n->first; c; c = c->next) {
        c->schema = n->schema;
        if (c->kind == TOML_TABLE) {
            judge_table(j, c);
            continue;
        }
        problems_error(j->problems, c->at, "%s must be a table", tree_path(j->arena, c));
        c->bad = true;
    }
}

/* A table; `true` and `false` where the table has a line in the option table. */
static void judge_inner(const struct judge *j, struct node *n)
{
    bool truth = n->truth;
    bool is_bool = n->kind == TOML_BOOLEAN;
    if (n->kind == TOML_STRING && n->flag)
        is_bool = typing_flag_bool(n, &truth);
    if (is_bool && n->schema->option) {
        n->kind = TOML_TABLE;
        n->flag = false;
        n->bad = !truth; /* false: as if it were not there */
        return;
    }
    if (n->kind == TOML_TABLE) {
        judge_table(j, n);
        return;
    }
    struct buf known = {0};
    put_known(n->schema, &known);
    problems_error(j->problems, n->at, "%s must be a table%s", tree_path(j->arena, n),
                   buf_cstr(&known));
    buf_free(&known);
    n->bad = true;
}

static bool key_is_repeated(const struct judge *j, struct node *n)
{
    for (const struct node *c = n->parent->first; c != n; c = c->next) {
        if (strcasecmp(c->key, n->key) != 0)
            continue;
        problems_error(j->problems, n->key_at, "%s is given twice: also as %s in line %u",
                       tree_path(j->arena, n), c->key, c->key_at.line);
        return n->bad = true;
    }
    return false;
}

static bool name_is_bad(const struct judge *j, struct node *n)
{
    bool bad = n->key[0] == 0;
    for (const char *c = n->key; *c; c++)
        bad = bad || (unsigned char)*c < ' ' || *c == 0x7f;
    if (bad)
        problems_error(j->problems, n->key_at,
                       "a name must not be empty or hold control characters");
    return n->bad = bad;
}

static void judge_table(const struct judge *j, struct node *table)
{
    for (struct node *n = table->first; n; n = n->next) {
        const struct schema *s = options_child(table->schema, n->key);
        if (!s && j->mode == CONFIG_FRAGMENT && !table->parent)
            s = anywhere(table->schema, n->key); /* a fragment may leave its table's name out */
        if (!s) {
            unknown_key(j, n, table->schema);
            continue;
        }
        if (s->any ? name_is_bad(j, n) : key_is_repeated(j, n))
            continue;
        n->schema = s;
        if (judge_state(j, n))
            continue;
        if (s->list)
            judge_list(j, n);
        else if (s->first || (s->option && s->option->type == OPTION_TABLE))
            judge_inner(j, n);
        else
            n->bad = !typing_value(j->arena, n, j->problems);
    }
}

void judge_tree(struct arena *arena, struct node *root, const struct schema *schema,
                enum config_mode mode, struct config_problems *problems)
{
    struct judge j = {arena, problems, schema, mode};
    root->schema = schema;
    judge_table(&j, root);
}

void judge_is_dynamic(struct node *root, struct config_problems *problems)
{
    static const char *const parts[] = {"http", "tcp", "tls", "udp"};
    for (struct node *n = root->first; n; n = n->next) {
        bool dynamic = false;
        for (size_t i = 0; i < sizeof parts / sizeof *parts; i++)
            dynamic = dynamic || strcasecmp(n->key, parts[i]) == 0;
        if (dynamic)
            continue;
        problems_error(
            problems, n->key_at,
            "%s belongs in the main file; a file of providers.file has http, tcp and tls", n->key);
        n->bad = true;
    }
}

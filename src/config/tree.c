/* SPDX-License-Identifier: Apache-2.0 */
#include "config/tree.h"

#include "base/must.h"

#include <stdlib.h>

struct node *tree_create(struct arena *arena)
{
    struct node *root = arena_alloc(arena, sizeof *root);
    root->kind = TOML_TABLE;
    return root;
}

struct node *tree_add(struct arena *arena, struct node *parent, const char *key)
{
    struct node *n = arena_alloc(arena, sizeof *n);
    n->key = key ? arena_strdup(arena, key) : NULL;
    n->parent = parent;
    if (parent->last)
        parent->last->next = n;
    else
        parent->first = n;
    parent->last = n;
    parent->count++;
    return n;
}

struct node *tree_child(const struct node *table, const char *key)
{
    if (!table || table->kind != TOML_TABLE)
        return NULL;
    for (struct node *n = table->first; n; n = n->next) {
        if (n->key && strcasecmp(n->key, key) == 0)
            return n;
    }
    return NULL;
}

struct reading {
    struct arena *arena;
    const char *file;
};

static void *take_item(void *arg, void *parent, const struct toml_item *item)
{
    const struct reading *r = arg;
    struct node *n = tree_add(r->arena, parent, NULL);
    if (item->key)
        n->key = arena_strndup(r->arena, item->key, item->key_len);
    n->kind = item->kind;
    n->key_at = (struct config_where){r->file, item->key_line, item->key_column};
    n->at = (struct config_where){r->file, item->line, item->column};
    if (!n->key)
        n->key_at = n->at;
    if (item->kind == TOML_STRING) {
        n->text = arena_strndup(r->arena, item->text, item->text_len);
        n->text_len = item->text_len;
        n->plain =
            item->line == item->end_line && item->end_column - item->column == item->text_len + 2;
    }
    n->integer = item->integer;
    n->real = item->real;
    n->truth = item->truth;
    return n;
}

static int compare_places(const void *left, const void *right)
{
    const struct config_where *a = &(*(struct node *const *)left)->key_at;
    const struct config_where *b = &(*(struct node *const *)right)->key_at;
    if (a->line != b->line)
        return a->line < b->line ? -1 : 1;
    return a->column < b->column ? -1 : a->column > b->column;
}

/* toml++ keeps tables ordered by key; people think in the order of the file. */
static void sort_children(struct node *table)
{
    struct node **list = mem_alloc((table->count + 1) * sizeof(struct node *));
    uint32_t n = 0;
    for (struct node *c = table->first; c; c = c->next) {
        if (c->kind == TOML_TABLE || c->kind == TOML_ARRAY)
            sort_children(c);
        list[n++] = c;
    }
    if (table->kind == TOML_TABLE && n > 1) {
        qsort(list, n, sizeof *list, compare_places);
        list[n] = NULL;
        table->first = list[0];
        table->last = list[n - 1];
        for (uint32_t i = 0; i < n; i++)
            list[i]->next = list[i + 1];
    }
    free(list);
}

struct node *tree_from_toml(struct arena *arena, struct span text, const char *file,
                            struct config_problems *problems)
{
    struct reading r = {arena, file};
    struct node *root = tree_create(arena);
    struct toml_error error = {0};
    const char *bytes = text.len ? (const char *)text.ptr : "";
    if (!toml_walk(bytes, text.len, take_item, &r, root, &error)) {
        struct config_where where = {file, error.line, error.column};
        problems_error(problems, where, "this is not TOML: %s", error.text);
        return NULL;
    }
    sort_children(root);
    return root;
}

static void append(struct node *into, struct node *n)
{
    n->next = NULL;
    n->parent = into;
    if (into->last)
        into->last->next = n;
    else
        into->first = n;
    into->last = n;
    into->count++;
}

static void given_twice(const struct node *first, const struct node *second,
                        struct config_problems *problems)
{
    problems_error(problems, second->key_at, "%s is given twice: also at %s:%u:%u", second->key,
                   first->key_at.file, first->key_at.line, first->key_at.column);
}

void tree_merge(struct node *into, struct node *from, uint32_t depth,
                struct config_problems *problems)
{
    for (struct node *n = from->first, *next; n; n = next) {
        next = n->next;
        struct node *old = into->kind == TOML_TABLE ? tree_child(into, n->key) : NULL;
        if (!old)
            append(into, n);
        else if (old->kind == TOML_TABLE && n->kind == TOML_TABLE && depth > 0)
            tree_merge(old, n, depth - 1, problems);
        else if (old->kind == TOML_ARRAY && n->kind == TOML_ARRAY)
            tree_merge(old, n, 0, problems);
        else
            given_twice(old, n, problems);
    }
    from->first = from->last = NULL;
    from->count = 0;
}

void tree_remove(struct node *node)
{
    struct node *parent = node->parent, *before = NULL;
    for (struct node *n = parent->first; n != node; n = n->next)
        before = n;
    if (before)
        before->next = node->next;
    else
        parent->first = node->next;
    if (parent->last == node)
        parent->last = before;
    parent->count--;
    node->next = node->parent = NULL;
}

const char *tree_path(struct arena *arena, const struct node *node)
{
    const char *text = "";
    for (const struct node *n = node; n && n->parent; n = n->parent) {
        const char *dot = *text && *text != '[' ? "." : "";
        if (n->key) {
            text = arena_printf(arena, "%s%s%s", n->key, dot, text);
            continue;
        }
        uint32_t index = 0;
        for (const struct node *c = n->parent->first; c && c != n; c = c->next)
            index++;
        text = arena_printf(arena, "[%u]%s%s", index, dot, text);
    }
    return *text ? text : "the file";
}

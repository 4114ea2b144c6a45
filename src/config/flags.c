/* SPDX-License-Identifier: Apache-2.0 */
#include "config/flags.h"

#include "config/value.h"

struct flag {
    struct arena *arena;
    struct config_where where;
    struct config_problems *problems;
};

static struct span strip_quotes(struct span s)
{
    if (s.len >= 2 && (s.ptr[0] == '"' || s.ptr[0] == '\'') && s.ptr[s.len - 1] == s.ptr[0])
        return span_of(s.ptr + 1, s.len - 2);
    return s;
}

/* Takes one part of a path off the front: bare up to a dot or bracket, or in quotes. */
static bool take_part(struct span *path, struct span *ret)
{
    uint8_t first = path->len ? path->ptr[0] : 0;
    if (first == '"' || first == '\'') {
        struct span inner = span_skip(*path, 1);
        size_t end = span_find(inner, first);
        *ret = span_first(inner, end);
        *path = span_skip(inner, end + 1);
        return end > 0 && end < inner.len;
    }
    size_t n = 0;
    while (n < path->len && path->ptr[n] != '.' && path->ptr[n] != '[')
        n++;
    *ret = span_first(*path, n);
    *path = span_skip(*path, n);
    return n > 0;
}

/* Takes "[3]" off the front. False when it is not that. */
static bool take_index(struct span *path, int64_t *ret)
{
    size_t end = span_find(*path, ']');
    if (end == path->len || end < 2 ||
        !result_is_ok(value_int(span_of(path->ptr + 1, end - 1), ret)) || *ret < 0 || *ret > 9999)
        return false;
    *path = span_skip(*path, end + 1);
    return true;
}

static struct node *make(const struct flag *f, struct node *parent, const char *key)
{
    struct node *n = tree_add(f->arena, parent, key);
    n->kind = TOML_TABLE;
    n->at = n->key_at = f->where;
    return n;
}

/* Forgets a value, to be filled anew. */
static void clear(const struct flag *f, struct node *n, enum toml_kind kind)
{
    n->kind = kind;
    n->flag = n->plain = false;
    n->first = n->last = NULL;
    n->count = 0;
    n->at = n->key_at = f->where;
}

static bool is_free(const struct node *n)
{
    return (n->kind == TOML_TABLE && !n->first) || (n->kind == TOML_STRING && n->flag);
}

/* The element of a list; one more than there are makes a new one. */
static struct node *element(const struct flag *f, struct node *list, int64_t index)
{
    if (is_free(list))
        clear(f, list, TOML_ARRAY);
    if (list->kind != TOML_ARRAY || index > list->count)
        return NULL;
    if (index == list->count)
        return make(f, list, NULL);
    struct node *n = list->first;
    while (index-- > 0)
        n = n->next;
    return n;
}

static void bad_flag(const struct flag *f, const char *what)
{
    problems_error(f->problems, f->where, "%s: a flag is --path.to.option=value", what);
}

static struct node *walk_path(const struct flag *f, struct node *root, struct span path)
{
    struct node *n = root;
    for (uint32_t depth = 0;; depth++) {
        struct span part;
        if (!take_part(&path, &part) || depth >= TOML_DEPTH_MAX) {
            bad_flag(f, "an empty or endless part in the path");
            return NULL;
        }
        if (n->kind != TOML_TABLE && is_free(n))
            clear(f, n, TOML_TABLE);
        if (n->kind != TOML_TABLE) {
            bad_flag(f, "the path goes through something that is not a table");
            return NULL;
        }
        const char *key = arena_strndup(f->arena, part.ptr, part.len);
        struct node *child = tree_child(n, key);
        n = child ? child : make(f, n, key);
        while (path.len && path.ptr[0] == '[') {
            int64_t index;
            if (!take_index(&path, &index)) {
                bad_flag(f, "an index must be a number in brackets");
                return NULL;
            }
            n = element(f, n, index);
            if (!n) {
                bad_flag(f, "an index may be at most the number of elements so far");
                return NULL;
            }
        }
        if (!path.len)
            return n;
        if (path.ptr[0] != '.') {
            bad_flag(f, "a dot must follow");
            return NULL;
        }
        path = span_skip(path, 1);
    }
}

void flags_set(struct arena *arena, struct node *root, const char *flag, uint32_t number,
               struct config_problems *problems)
{
    struct span text = span_str(flag);
    size_t equals = span_find(text, '=');
    struct span path = span_first(text, equals);
    struct flag f = {arena, {arena_strndup(arena, path.ptr, path.len), 0, number}, problems};
    if (!span_starts_with(path, SPAN_LITERAL("--")) || path.len < 3) {
        bad_flag(&f, "this is not a flag");
        return;
    }
    path = span_skip(path, 2);
    if (equals < text.len && path.ptr[path.len - 1] == ':')
        path.len--;
    struct node *n = walk_path(&f, root, path);
    if (!n)
        return;
    struct span value =
        equals < text.len ? strip_quotes(span_skip(text, equals + 1)) : SPAN_LITERAL("true");
    if (n->kind == TOML_TABLE && n->first && span_eq_nocase(value, SPAN_LITERAL("true")))
        return; /* --x.tls=true beside --x.tls.certResolver=y */
    clear(&f, n, TOML_STRING);
    n->flag = true;
    n->text = arena_strndup(arena, value.ptr, value.len);
    n->text_len = value.len;
}

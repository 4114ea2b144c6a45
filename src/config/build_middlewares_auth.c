/* SPDX-License-Identifier: Apache-2.0 */
/* The middleware `basicAuth`: its users, from the list and from a file as htpasswd writes it. */
#include "config/build.h"

#include "base/must.h"
#include "crypto/password.h"

#include <stdlib.h>

#define USERS_FILE_MAX (16u << 20)

struct users {
    struct build *b;
    struct config_pair *items;
    uint32_t count, capacity;
};

static void add_user(struct users *u, struct config_where at, const char *path, struct span line)
{
    struct build *b = u->b;
    size_t colon = span_find(line, ':');
    char *name = arena_strndup(b->arena, line.ptr, colon);
    struct span hash = span_skip(line, colon + 1);
    hash.len = span_find(hash, ':'); /* some tools write more columns */
    if (colon == line.len || colon == 0) {
        problems_error(b->problems, at, "%s: a user is \"name:hash\" as htpasswd prints it", path);
        return;
    }
    for (const char *c = name; *c; c++) {
        if ((unsigned char)*c >= ' ' && *c != 0x7f)
            continue;
        problems_error(b->problems, at, "%s: a user's name holds no control characters", path);
        return;
    }
    if (!password_is_hash(hash)) {
        problems_error(b->problems, at,
                       "%s: the hash of user %s is of no known kind; htpasswd -B makes a good one",
                       path, name);
        return;
    }
    if (u->count == u->capacity) {
        u->capacity = u->capacity ? u->capacity * 2 : 16;
        u->items = mem_grow(u->items, u->capacity * sizeof *u->items);
    }
    u->items[u->count++] =
        (struct config_pair){name, arena_strndup(b->arena, hash.ptr, hash.len), false};
}

static struct span trim(struct span s)
{
    while (s.len &&
           (s.ptr[s.len - 1] == '\r' || s.ptr[s.len - 1] == ' ' || s.ptr[s.len - 1] == '\t'))
        s.len--;
    while (s.len && (s.ptr[0] == ' ' || s.ptr[0] == '\t'))
        s = span_skip(s, 1);
    return s;
}

static void read_users(struct users *u, struct place p)
{
    const struct node *n = build_at(p, "usersFile").node;
    struct buf text = {0};
    struct why why;
    if (!n)
        return;
    const char *path = build_path(u->b, p, "usersFile");
    if (!result_is_ok(build_read(path, USERS_FILE_MAX, &text, &why))) {
        problems_error(u->b->problems, n->at, "%s", why.text);
    } else {
        struct span rest = buf_span(&text);
        while (rest.len) {
            struct span line = span_first(rest, span_find(rest, '\n'));
            rest = span_skip(rest, line.len + 1);
            line = trim(line);
            if (line.len && line.ptr[0] != '#')
                add_user(u, n->at, path, line);
        }
    }
    buf_wipe_free(&text);
}

/* By name; of equal ones the last given stands first. */
static int compare_users(const void *left, const void *right)
{
    const struct config_pair *const *a = left, *const *b = right;
    int order = strcmp((*a)->name, (*b)->name);
    return order ? order : (*a < *b) - (*a > *b);
}

static void sort_users(struct users *u, struct config_pairs *out)
{
    const struct config_pair **order = mem_alloc((u->count + 1) * sizeof *order);
    for (uint32_t i = 0; i < u->count; i++)
        order[i] = &u->items[i];
    qsort(order, u->count, sizeof *order, compare_users);
    out->items = arena_alloc(u->b->arena, (u->count + 1) * sizeof *out->items);
    for (uint32_t i = 0; i < u->count; i++) {
        if (i == 0 || strcmp(order[i]->name, order[i - 1]->name) != 0)
            out->items[out->count++] = *order[i];
    }
    free(order);
}

void build_middlewares_auth(struct build *b, struct place p, struct config_middleware *m)
{
    struct users u = {.b = b};
    struct place list = build_at(p, "users");
    const struct node *field = build_at(p, "headerField").node;
    const struct node *realm = build_at(p, "realm").node;
    uint32_t errors = b->problems->errors;
    read_users(&u, p);
    for (const struct node *n = NULL; (n = build_next(list, n));)
        add_user(&u, n->at, tree_path(b->arena, n), span_str(n->text));
    if (u.count == 0 && b->problems->errors == errors)
        problems_error(b->problems, p.node->key_at, "%s has no users", tree_path(b->arena, p.node));
    sort_users(&u, &m->auth.users);
    free(u.items);
    m->auth.realm = build_text(b, p, "realm");
    m->auth.header_field = build_text(b, p, "headerField");
    m->auth.remove_header = build_bool(p, "removeHeader");
    if (field && *field->text)
        build_field_is_good(b, field, field->text, "");
    if (realm && build_field_is_good(b, realm, "X", realm->text) && strpbrk(realm->text, "\"\\"))
        problems_error(b->problems, realm->at, "%s: no quotes and no backslashes",
                       tree_path(b->arena, realm));
}

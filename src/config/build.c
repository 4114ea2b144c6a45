/* SPDX-License-Identifier: Apache-2.0 */
#include "config/build.h"

#include "base/must.h"
#include "config/value.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define PIECE_BYTES 65536 /* of a file whose size is not known */

struct place build_at(struct place from, const char *path)
{
    char part[64];
    for (struct span rest = span_str(path); rest.len;) {
        size_t len = span_find(rest, '.');
        must(len < sizeof part);
        memcpy(part, rest.ptr, len);
        part[len] = 0;
        rest = span_skip(rest, len + 1);
        from.schema = options_child(from.schema, part);
        must(from.schema);
        from.node = tree_child(from.node, part);
        if (from.node && from.node->bad)
            from.node = NULL;
    }
    return from;
}

struct place build_child(struct place table, const struct node *child)
{
    struct place p = {child, table.schema};
    if (child->key)
        p.schema = options_child(table.schema, child->key);
    return p;
}

const struct node *build_next(struct place table, const struct node *child)
{
    const struct node *n = child ? child->next : table.node ? table.node->first : NULL;
    while (n && n->bad)
        n = n->next;
    return n;
}

uint32_t build_count(struct place table)
{
    uint32_t count = 0;
    for (const struct node *n = NULL; (n = build_next(table, n));)
        count++;
    return count;
}

/* The literal default, or "". */
static struct span preset(struct place p)
{
    must(p.schema->option);
    const char *text = p.schema->option->preset;
    return text[0] == '(' ? span_str("") : span_str(text);
}

bool build_bool(struct place from, const char *path)
{
    struct place p = build_at(from, path);
    bool value = false;
    if (p.node)
        return p.node->truth;
    return result_is_ok(value_bool(preset(p), &value)) && value;
}

int64_t build_int(struct place from, const char *path)
{
    struct place p = build_at(from, path);
    int64_t value = 0;
    if (p.node)
        return p.node->integer;
    return result_is_ok(value_int(preset(p), &value)) ? value : 0;
}

uint64_t build_ms(struct place from, const char *path)
{
    struct place p = build_at(from, path);
    int64_t value = 0;
    if (p.node)
        return (uint64_t)p.node->integer;
    return result_is_ok(value_duration_ms(preset(p), &value)) ? (uint64_t)value : 0;
}

const char *build_text(struct build *b, struct place from, const char *path)
{
    struct place p = build_at(from, path);
    if (p.node)
        return arena_strdup(b->arena, p.node->text);
    struct span text = preset(p);
    bool none = p.schema->option->preset[0] == '(';
    return none ? NULL : arena_strndup(b->arena, text.ptr, text.len);
}

const char **build_list(struct build *b, struct place from, const char *path, uint32_t *ret_count)
{
    struct place p = build_at(from, path);
    uint32_t count = build_count(p), i = 0;
    const char **list = arena_alloc(b->arena, (count + 1) * sizeof *list);
    for (const struct node *n = NULL; (n = build_next(p, n));)
        list[i++] = arena_strdup(b->arena, n->text);
    *ret_count = count;
    return list;
}

char *build_absolute(struct arena *arena, const char *directory, const char *path)
{
    char here[4096] = "";
    if (path[0] == '/')
        return arena_strdup(arena, path);
    if (directory[0] != '/' && !getcwd(here, sizeof here))
        here[0] = 0;
    if (strncmp(path, "./", 2) == 0)
        path += 2;
    if (strcmp(directory, ".") == 0)
        return arena_printf(arena, "%s/%s", here, path);
    return arena_printf(arena, "%s%s%s/%s", here, here[0] ? "/" : "", directory, path);
}

const char *build_directory(struct arena *arena, const struct node *n)
{
    const char *slash = n->at.line ? strrchr(n->at.file, '/') : NULL;
    if (!slash)
        return ".";
    size_t len = (size_t)(slash - n->at.file);
    return len ? arena_strndup(arena, n->at.file, len) : "/";
}

const char *build_path(struct build *b, struct place from, const char *path)
{
    struct place p = build_at(from, path);
    if (!p.node)
        return build_text(b, from, path);
    return build_absolute(b->arena, build_directory(b->arena, p.node), p.node->text);
}

struct config_where build_where(struct build *b, struct config_where where)
{
    if (!where.file)
        return where;
    if (!b->last_file || b->last_file != where.file) {
        b->last_file = where.file;
        b->last_copy = arena_strdup(b->arena, where.file);
    }
    where.file = b->last_copy;
    return where;
}

bool build_required(struct build *b, struct place table, const char *path)
{
    const struct node *n = table.node;
    struct place p = build_at(table, path);
    if (p.node)
        return true;
    for (struct span rest = span_str(path); n && rest.len;) {
        char part[64] = {0};
        size_t len = span_find(rest, '.');
        memcpy(part, rest.ptr, len);
        rest = span_skip(rest, len + 1);
        n = tree_child(n, part);
        if (n && n->bad)
            return false; /* written, and reported */
    }
    for (const struct node *c = table.node ? table.node->first : NULL; c; c = c->next) {
        if (c->bad && !c->schema && problems_nearest(c->key, &path, 1))
            return false; /* written with a typing error, and reported */
    }
    struct config_where at = table.node ? table.node->key_at : b->top;
    problems_error(b->problems, at, "%s needs %s", tree_path(b->arena, table.node), path);
    return false;
}

static struct result read_with(const char *path, int flags, size_t max, struct buf *out,
                               struct why *why)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | flags);
    struct stat st;
    struct result r = result_ok();
    if (fd < 0)
        return why_fail_sys(why, ERR_SYSTEM, errno, "cannot read %s", path);
    if (fstat(fd, &st) != 0)
        r = why_fail_sys(why, ERR_SYSTEM, errno, "cannot read %s", path);
    else if (S_ISDIR(st.st_mode))
        r = why_fail(why, ERR_FORMAT, "%s is a folder, not a file", path);
    else if (flags && !S_ISREG(st.st_mode))
        r = why_fail(why, ERR_FORMAT, "%s is no regular file", path);
    /* One byte more than the file has: the end is seen without more room. */
    size_t piece =
        st.st_size > 0 && st.st_size < PIECE_BYTES ? (size_t)st.st_size + 1 : PIECE_BYTES;
    (void)buf_reserve(out, piece);
    while (result_is_ok(r)) {
        size_t room = out->cap - out->len;
        ssize_t n = read(fd, buf_reserve(out, room ? room : piece), room ? room : piece);
        if (n == 0)
            break;
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            r = why_fail_sys(why, ERR_SYSTEM, errno, "cannot read %s", path);
        else
            out->len += (size_t)n;
        if (out->len > max)
            r = why_fail(why, ERR_TOO_LARGE, "%s is larger than %zu bytes", path, max);
    }
    close(fd);
    return r;
}

struct result build_read(const char *path, size_t max, struct buf *out, struct why *why)
{
    return read_with(path, 0, max, out, why);
}

struct result build_read_regular(const char *path, size_t max, struct buf *out, struct why *why)
{
    return read_with(path, O_NONBLOCK, max, out, why);
}

static int compare_names(const void *left, const void *right)
{
    return strcmp(((const struct name *)left)->text, ((const struct name *)right)->text);
}

void build_names(struct build *b, struct names *names, uint32_t count,
                 const char *(*name_of)(const struct config *config, uint32_t index))
{
    names->sorted = arena_alloc(b->arena, (count + 1) * sizeof *names->sorted);
    names->count = count;
    for (uint32_t i = 0; i < count; i++)
        names->sorted[i] = (struct name){name_of(b->config, i), i};
    qsort(names->sorted, count, sizeof *names->sorted, compare_names);
}

uint32_t build_find(const struct names *names, const char *name)
{
    struct name wanted = {name, 0};
    const struct name *hit = NULL;
    if (names->count)
        hit = bsearch(&wanted, names->sorted, names->count, sizeof wanted, compare_names);
    return hit ? hit->index : UINT32_MAX;
}

static void report_missing(struct build *b, const struct names *names, const struct node *node,
                           const char *text, const char *kind)
{
    const char **list = mem_alloc((names->count + 1) * sizeof *list);
    for (uint32_t i = 0; i < names->count; i++)
        list[i] = names->sorted[i].text;
    const char *near = problems_nearest(text, list, names->count);
    struct buf hint = {0};
    if (near)
        buf_printf(&hint, "; did you mean \"%s\"?", near);
    else if (names->count == 0)
        buf_printf(&hint, "; there is no %s at all", kind);
    for (uint32_t i = 0; !near && i < names->count && names->count <= 8; i++)
        buf_printf(&hint, "%s\"%s\"", i ? ", " : "; there are ", list[i]);
    problems_error(b->problems, node->at, "there is no %s \"%s\"%s", kind, text, buf_cstr(&hint));
    buf_free(&hint);
    free(list);
}

uint32_t build_refer(struct build *b, const struct names *names, const struct node *node,
                     const char *text, const char *kind)
{
    uint32_t index = build_find(names, text);
    const char *at = strrchr(text, '@');
    if (index == UINT32_MAX && at && strcmp(at, "@file") == 0) {
        text = arena_strndup(b->arena, text, (size_t)(at - text));
        index = build_find(names, text);
    }
    if (index == UINT32_MAX)
        report_missing(b, names, node, text, kind);
    return index;
}

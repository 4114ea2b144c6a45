/* SPDX-License-Identifier: Apache-2.0 */
/* Middlewares that change the path: stripPrefix, stripPrefixRegex, addPrefix, replacePath,
 * replacePathRegex. Paths stay as they are on the wire: what was percent-encoded stays so. */
#include "data/route/middleware_impl.h"

#include <ctype.h>

static struct span path_part(struct span path)
{
    return span_first(path, span_find(path, '?'));
}

static int hex_of(uint8_t c)
{
    return isdigit(c) ? c - '0' : isxdigit(c) ? (c | 32) - 'a' + 10 : -1;
}

/* The byte that stands at `at`, decoded; *ret_len is what it takes on the wire. */
static uint8_t byte_at(struct span path, size_t at, size_t *ret_len)
{
    *ret_len = 1;
    if (path.ptr[at] != '%' || at + 2 >= path.len || hex_of(path.ptr[at + 1]) < 0 ||
        hex_of(path.ptr[at + 2]) < 0)
        return path.ptr[at];
    *ret_len = 3;
    return (uint8_t)(hex_of(path.ptr[at + 1]) << 4 | hex_of(path.ptr[at + 2]));
}

/* Bytes of `path` that the decoded `prefix` takes, or SIZE_MAX when it is not in front. */
static size_t prefix_length(struct span path, struct span prefix)
{
    size_t at = 0, len;
    for (size_t i = 0; i < prefix.len; i++, at += len)
        if (at >= path.len || byte_at(path, at, &len) != prefix.ptr[i])
            return SIZE_MAX;
    return at;
}

/* Whether a path could be taken for another one: it has dot segments, encoded or not, or begins
 * like an authority. Cutting at the front can make such paths out of good ones ("/a../b" without
 * "/a"). */
static bool is_unclean(struct span path)
{
    size_t dots = 0, others = 0, len;
    if (path.len >= 2 && path.ptr[0] == '/' && path.ptr[1] == '/')
        return true;
    for (size_t i = 0; i <= path.len; i += len) {
        uint8_t c = i < path.len ? byte_at(path, i, &len) : '/';
        if (i == path.len)
            len = 1;
        if (c == '/' || c == '\\') {
            if (others == 0 && (dots == 1 || dots == 2))
                return true;
            dots = others = 0;
        } else {
            dots += c == '.';
            others += c != '.';
        }
    }
    return false;
}

/* The path is now `front` and `rest`, behind which the query stays. */
static enum middleware_verdict set_path(struct middleware_run *run, struct span front,
                                        struct span rest)
{
    struct span query = span_skip(run->head->path, path_part(run->head->path).len);
    size_t from = run->text->len;
    writer_span(run->text, front);
    writer_span(run->text, rest);
    size_t path_len = run->text->len - from;
    writer_span(run->text, query);
    if (run->text->bad)
        return middleware_answer(run, 414);
    run->head->path = span_skip(writer_done(run->text), from);
    if (is_unclean(span_first(run->head->path, path_len)))
        return middleware_answer(run, 400);
    return MIDDLEWARE_PASS;
}

static enum middleware_verdict strip(const struct step *step, size_t len)
{
    struct middleware_run *run = step->run;
    struct span path = path_part(run->head->path);
    struct span prefix = span_first(path, len), rest = span_skip(path, len);
    (void)http_head_add(run->head, SPAN_LITERAL("X-Forwarded-Prefix"), prefix);
    bool slash = rest.len && rest.ptr[0] == '/';
    if (step->m->path.force_slash && slash) {
        rest = span_skip(rest, 1);
        slash = false;
    }
    bool add = !slash && (rest.len || step->m->path.force_slash);
    return set_path(run, add ? SPAN_LITERAL("/") : (struct span){0}, rest);
}

static enum middleware_verdict strip_prefix(const struct step *step)
{
    struct span path = path_part(step->run->head->path);
    for (uint32_t i = 0; i < step->m->path.list.count; i++) {
        struct span prefix = step->run->snapshot->texts[step->m->path.list.first + i].text;
        size_t len = prefix_length(path, prefix);
        if (len != SIZE_MAX)
            return strip(step, len);
    }
    return MIDDLEWARE_PASS;
}

/* Expressions see the decoded path, and have to match at its front. */
static enum middleware_verdict strip_regex(const struct step *step)
{
    struct middleware_run *run = step->run;
    struct span path = path_part(run->head->path), decoded;
    size_t from = run->text->len, len;
    for (size_t i = 0; i < path.len; i += len) {
        uint8_t c = byte_at(path, i, &len);
        writer_bytes(run->text, &c, 1);
    }
    decoded = span_skip(writer_done(run->text), from);
    if (run->text->bad)
        return middleware_answer(run, 414);
    for (uint32_t i = 0; i < step->m->path.list.count; i++) {
        const struct regex *x = set_text_regex(run->set, step->m->path.list.first + i);
        struct regex_group whole;
        const char *bytes = (const char *)decoded.ptr;
        if (!x || !regex_find(x, bytes, decoded.len, 0, &whole, 1) || whole.ptr != bytes ||
            whole.len == 0)
            continue;
        return strip(step, prefix_length(path, span_first(decoded, whole.len)));
    }
    return MIDDLEWARE_PASS;
}

/* Tells the old path. What the client says of it is not passed on. */
static void note_replaced(struct middleware_run *run)
{
    struct span name = SPAN_LITERAL("X-Replaced-Path");
    for (uint32_t i = 0; i < run->notes->received; i++)
        if (span_eq_nocase(run->head->fields[i].name, name))
            run->head->fields[i].drop = true;
    (void)http_head_add(run->head, name, path_part(run->head->path));
}

/* A path that an expression made, as it can be sent. */
static struct span encoded(struct middleware_run *run, struct span path)
{
    static const char digits[] = "0123456789ABCDEF";
    size_t from = run->text->len, len;
    if (path.len == 0 || path.ptr[0] != '/')
        writer_bytes(run->text, "/", 1);
    for (size_t i = 0; i < path.len; i += len) {
        uint8_t c = path.ptr[i];
        char triplet[3] = {'%', digits[c >> 4], digits[c & 15]};
        (void)byte_at(path, i, &len);
        bool plain = len == 3 || isalnum(c) || (c && strchr("-._~!$&'()*+,;=:@/", c));
        writer_bytes(run->text, plain ? (const void *)(path.ptr + i) : triplet, plain ? len : 3);
    }
    return span_skip(writer_done(run->text), from);
}

static enum middleware_verdict replace_regex(const struct step *step)
{
    struct middleware_run *run = step->run;
    struct span path;
    if (!regex_replaced(run, set_own_regex(run->set, step->m), path_part(run->head->path),
                        step->m->redirect.replacement, &path))
        return run->text->bad ? middleware_answer(run, 414) : MIDDLEWARE_PASS;
    note_replaced(run);
    return set_path(run, encoded(run, path), (struct span){0});
}

enum middleware_verdict middleware_path(const struct step *step)
{
    struct middleware_run *run = step->run;
    if (run->head->path.len && run->head->path.ptr[0] == '*')
        return MIDDLEWARE_PASS; /* OPTIONS * has no path */
    switch ((enum snap_middleware_kind)step->m->kind) {
    case SNAP_MIDDLEWARE_STRIP_PREFIX:
        return strip_prefix(step);
    case SNAP_MIDDLEWARE_STRIP_PREFIX_REGEX:
        return strip_regex(step);
    case SNAP_MIDDLEWARE_ADD_PREFIX:
        return set_path(run, step->m->path.text, path_part(run->head->path));
    case SNAP_MIDDLEWARE_REPLACE_PATH:
        note_replaced(run);
        return set_path(run, step->m->path.text, (struct span){0});
    case SNAP_MIDDLEWARE_REPLACE_PATH_REGEX:
        return replace_regex(step);
    default:
        never();
    }
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Middlewares that redirect, or change the path. */
#include "config/build.h"

#include "base/must.h"
#include "base/regex.h"
#include "config/value.h"

#include <ctype.h>

/* RFC 3986 section 3.3: what may stand in a path as it is. */
static bool is_path_byte(unsigned char c)
{
    return isalnum(c) || (c && strchr("-._~!$&'()*+,;=:@/", c));
}

static char *put_encoded(char *at, unsigned char c)
{
    static const char digits[] = "0123456789ABCDEF";
    *at++ = '%';
    *at++ = digits[c >> 4];
    *at++ = digits[c & 15];
    return at;
}

/* A path as it is sent: what may not stand in one is percent-encoded, what is encoded stays. */
static const char *encode_path(struct build *b, const char *text)
{
    char *out = arena_alloc(b->arena, strlen(text) * 3 + 1), *at = out;
    for (; *text; text++) {
        unsigned char c = (unsigned char)*text;
        bool triplet =
            c == '%' && isxdigit((unsigned char)text[1]) && isxdigit((unsigned char)text[2]);
        if (triplet || is_path_byte(c))
            *at++ = (char)c;
        else
            at = put_encoded(at, c);
    }
    return out;
}

/* White space around a pattern or a prefix is a slip of the pen. */
static const char *trimmed(struct build *b, const char *text)
{
    size_t len = strlen(text);
    while (len && isspace((unsigned char)text[len - 1]))
        len--;
    while (len && isspace((unsigned char)*text)) {
        text++;
        len--;
    }
    return arena_strndup(b->arena, text, len);
}

static struct regex *compile(struct build *b, const struct node *n, const char *pattern)
{
    struct regex_error error;
    struct regex *x = regex_create(pattern, strlen(pattern), &error);
    if (!x)
        problems_error(b->problems, n->at, "%s: %s", tree_path(b->arena, n), error.text);
    return x;
}

/* Groups by name have to be there: an empty place in a URL is nobody's wish. Go's form: $1, ${1},
 * $name (the longest run of letters, digits and underscores), $$. */
static void check_groups(struct build *b, const struct node *n, const struct regex *x)
{
    for (const char *at = strchr(n->text, '$'); at; at = strchr(at, '$')) {
        if (at[1] == '$') {
            at += 2;
            continue;
        }
        bool brace = at[1] == '{';
        const char *name = at + 1 + brace;
        size_t len = 0;
        while (isalnum((unsigned char)name[len]) || name[len] == '_')
            len++;
        at = name + len;
        if (len == 0 || (brace && name[len] != '}')) {
            problems_error(b->problems, n->at,
                           "%s: a $ begins a group such as $1 or ${name}; the sign itself is $$",
                           tree_path(b->arena, n));
            return;
        }
        int64_t number = -1;
        if (!isdigit((unsigned char)*name) || !result_is_ok(value_int(span_of(name, len), &number)))
            number = regex_group_number(x, name, len);
        if (number < 0 || number >= REGEX_GROUPS_MAX) {
            problems_error(b->problems, n->at,
                           "%s: the expression has no group \"%.*s\"; groups are $0 to $%d, or "
                           "named by (?P<name>...)",
                           tree_path(b->arena, n), (int)len, name, REGEX_GROUPS_MAX - 1);
            return;
        }
    }
}

/* A pattern with its replacement; both end up in `m->redirect`. */
static void build_replacement(struct build *b, struct place p, struct config_middleware *m,
                              bool trim)
{
    if (!build_required(b, p, "regex") || !build_required(b, p, "replacement"))
        return;
    const struct node *regex = build_at(p, "regex").node;
    const struct node *replacement = build_at(p, "replacement").node;
    m->redirect.regex = trim ? trimmed(b, regex->text) : build_text(b, p, "regex");
    m->redirect.replacement =
        trim ? trimmed(b, replacement->text) : build_text(b, p, "replacement");
    struct regex *x = compile(b, regex, m->redirect.regex);
    if (x)
        check_groups(b, replacement, x);
    regex_destroy(x);
}

static void build_scheme(struct build *b, struct place p, struct config_middleware *m)
{
    if (!build_required(b, p, "scheme"))
        return;
    const struct node *scheme = build_at(p, "scheme").node, *port = build_at(p, "port").node;
    int64_t number;
    m->redirect.scheme = arena_strdup(b->arena, scheme->text);
    m->redirect.port = "";
    bool good = isalpha((unsigned char)*scheme->text);
    for (const char *c = scheme->text; *c; c++)
        good = good && (isalnum((unsigned char)*c) || strchr("+-.", *c));
    if (!good)
        problems_error(b->problems, scheme->at, "%s must be a scheme such as \"https\"",
                       tree_path(b->arena, scheme));
    if (!port || !*port->text)
        return;
    if (!result_is_ok(value_int(span_str(port->text), &number)) || number < 1 || number > 65535)
        problems_error(b->problems, port->at, "%s must be a port, 1 to 65535",
                       tree_path(b->arena, port));
    else if (number != (strcmp(m->redirect.scheme, "https") == 0  ? 443
                        : strcmp(m->redirect.scheme, "http") == 0 ? 80
                                                                  : 0))
        m->redirect.port = arena_printf(b->arena, ":%d", (int)number);
}

static void build_prefixes(struct build *b, struct place p, struct config_middleware *m)
{
    bool regex = m->kind == CONFIG_MIDDLEWARE_STRIP_PREFIX_REGEX;
    const char *key = regex ? "regex" : "prefixes";
    if (!build_required(b, p, key))
        return;
    struct place list = build_at(p, key);
    m->path.list.items = arena_alloc(b->arena, (build_count(list) + 1) * sizeof(char *));
    for (const struct node *n = NULL; (n = build_next(list, n));) {
        const char *text = trimmed(b, n->text);
        m->path.list.items[m->path.list.count++] = text;
        if (regex)
            regex_destroy(compile(b, n, text));
        else if (*text != '/')
            problems_error(b->problems, n->at, "%s: a prefix begins with a slash, not \"%s\"",
                           tree_path(b->arena, n), text);
    }
    if (m->path.list.count == 0)
        problems_error(b->problems, p.node->key_at, "%s names none",
                       tree_path(b->arena, list.node));
    m->path.force_slash = !regex && build_bool(p, "forceSlash");
}

/* addPrefix.prefix, replacePath.path: of a path, so with a slash in front. */
static void build_text_of_path(struct build *b, struct place p, struct config_middleware *m,
                               const char *key)
{
    if (!build_required(b, p, key))
        return;
    const struct node *n = build_at(p, key).node;
    m->path.text = encode_path(b, n->text);
    if (*n->text != '/')
        problems_error(b->problems, n->at, "%s begins with a slash, not \"%s\"",
                       tree_path(b->arena, n), n->text);
}

void build_middlewares_path(struct build *b, struct place p, struct config_middleware *m)
{
    switch (m->kind) {
    case CONFIG_MIDDLEWARE_REDIRECT_SCHEME:
        build_scheme(b, p, m);
        m->redirect.permanent = build_bool(p, "permanent");
        break;
    case CONFIG_MIDDLEWARE_REDIRECT_REGEX:
        build_replacement(b, p, m, false);
        m->redirect.permanent = build_bool(p, "permanent");
        break;
    case CONFIG_MIDDLEWARE_REPLACE_PATH_REGEX:
        build_replacement(b, p, m, true);
        break;
    case CONFIG_MIDDLEWARE_ADD_PREFIX:
        build_text_of_path(b, p, m, "prefix");
        break;
    case CONFIG_MIDDLEWARE_REPLACE_PATH:
        build_text_of_path(b, p, m, "path");
        break;
    case CONFIG_MIDDLEWARE_STRIP_PREFIX:
    case CONFIG_MIDDLEWARE_STRIP_PREFIX_REGEX:
        build_prefixes(b, p, m);
        break;
    default:
        never();
    }
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Middlewares that redirect, or change the path. */
#include "config/build.h"

#include "base/regex.h"
#include "config/value.h"

#include <ctype.h>

/* RFC 3986 section 3.3: what may stand in a path as it is. */
static bool is_path_byte(unsigned char c)
{
    return isalnum(c) || (c && strchr("-._~!$&'()*+,;=:@/", c));
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
            at += sprintf_hex(at, c);
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

/* The groups that a replacement names have to be there: an empty place in a URL is nobody's wish.
 * Go's form: $1, ${1}, $name (the longest run of letters, digits and underscores), $$. */
static void check_groups(struct build *b, const struct node *n, const struct regex *x)
{
    struct regex_group groups[REGEX_GROUPS_MAX];
    (void)groups;
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
        if (number < 0 || number > regex_group_count(x) || number >= REGEX_GROUPS_MAX) {
            problems_error(b->problems, n->at,
                           "%s: the expression has no group \"%.*s\"; groups are $0 to $%d, or "
                           "named by (?P<name>...)",
                           tree_path(b->arena, n), (int)len, name, REGEX_GROUPS_MAX - 1);
            return;
        }
    }
}

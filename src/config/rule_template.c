/* SPDX-License-Identifier: Apache-2.0 */
#include "config/rule_template.h"

#include <ctype.h>

static const char *const anything[] = {
    [RULE_TEMPLATE_HOST] = "[^.]+",
    [RULE_TEMPLATE_PATH] = "[^/]+",
    [RULE_TEMPLATE_PATH_PREFIX] = "[^/]+",
    [RULE_TEMPLATE_QUERY] = ".*",
};

bool rule_template_is_one(struct span text)
{
    return span_find(text, '{') < text.len || span_find(text, '}') < text.len;
}

static void put_literal(struct buf *out, uint8_t c)
{
    if (!isalnum(c) && c != '_' && c < 0x80)
        buf_put(out, "\\", 1);
    buf_put(out, &c, 1);
}

/* Length of "{...}" with all that is nested inside, or 0. */
static size_t braces(struct span text)
{
    size_t depth = 0;
    for (size_t i = 0; i < text.len; i++) {
        depth += text.ptr[i] == '{';
        depth -= text.ptr[i] == '}';
        if (depth == 0)
            return i + 1;
    }
    return 0;
}

bool rule_template_regex(struct span text, enum rule_template_kind kind, struct buf *out,
                         uint32_t *ret_at)
{
    buf_put_str(out, kind == RULE_TEMPLATE_HOST ? "(?i)^" : "^");
    for (size_t i = 0; i < text.len;) {
        uint8_t c = text.ptr[i];
        size_t len = c == '{' ? braces(span_skip(text, i)) : 1;
        *ret_at = (uint32_t)i;
        if (c == '}' || len == 0)
            return false;
        if (c != '{') {
            put_literal(out, c);
            i++;
            continue;
        }
        struct span inside = span_of(text.ptr + i + 1, len - 2);
        struct span name = span_first(inside, span_find(inside, ':'));
        struct span pattern = span_skip(inside, name.len + 1);
        if (name.len == 0 || (name.len < inside.len && pattern.len == 0))
            return false;
        buf_put_str(out, "(?:");
        buf_put_span(out, pattern.len ? pattern : span_str(anything[kind]));
        buf_put_str(out, ")");
        i += len;
    }
    if (kind != RULE_TEMPLATE_PATH_PREFIX)
        buf_put_str(out, "$");
    return true;
}

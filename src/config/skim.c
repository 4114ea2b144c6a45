/* SPDX-License-Identifier: Apache-2.0 */
#include "config/skim.h"

static bool is_blank(uint8_t c)
{
    return c == ' ' || c == '\t';
}

static struct span skip_blanks(struct span s)
{
    while (s.len && is_blank(s.ptr[0]))
        s = span_skip(s, 1);
    return s;
}

/* A line without what ends it and the blanks around. */
static struct span trimmed(struct span line)
{
    line = skip_blanks(line);
    if (line.len && line.ptr[line.len - 1] == '\r')
        line.len--;
    while (line.len && is_blank(line.ptr[line.len - 1]))
        line.len--;
    return line;
}

/* certFile = "...", without escapes, or the same with keyFile. */
static bool is_part(struct span line)
{
    if (!span_starts_with(line, SPAN_LITERAL("certFile")) &&
        !span_starts_with(line, SPAN_LITERAL("keyFile")))
        return false;
    line = skip_blanks(span_skip(line, line.ptr[0] == 'c' ? 8 : 7));
    if (!line.len || line.ptr[0] != '=')
        return false;
    line = skip_blanks(span_skip(line, 1));
    if (line.len < 2 || line.ptr[0] != '"' || line.ptr[line.len - 1] != '"')
        return false;
    for (size_t i = 1; i < line.len - 1; i++)
        if (line.ptr[i] < ' ' || line.ptr[i] == '"' || line.ptr[i] == '\\' || line.ptr[i] == 0x7f)
            return false;
    return true;
}

static bool has(struct span text, const char *what)
{
    return memmem(text.ptr, text.len, what, strlen(what));
}

bool skim_pairs(struct span text, struct buf *out)
{
    size_t start = out->len, pairs = 0;
    bool inside = false, good = !has(text, "\"\"\"") && !has(text, "'''");
    while (good && text.len) {
        size_t end = span_find(text, '\n');
        bool ended = end < text.len;
        struct span line = span_first(text, end), inner = trimmed(line);
        bool head = span_eq(inner, SPAN_LITERAL("[[tls.certificates]]"));
        pairs += head;
        inside = head || (inside && (!inner.len || inner.ptr[0] != '['));
        good = !inside || head || !inner.len || is_part(inner);
        if (!inside)
            buf_put_span(out, line);
        if (ended)
            buf_put(out, "\n", 1);
        text = span_skip(text, ended ? end + 1 : end);
    }
    if (good && pairs)
        return true;
    out->len = start;
    return false;
}

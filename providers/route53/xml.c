/* SPDX-License-Identifier: Apache-2.0 */
#include "xml.h"

#include <stdlib.h>
#include <string.h>

enum kind { TAG_START, TAG_EMPTY, TAG_END };

/* One tag of the text. */
struct tag {
    enum kind kind;
    struct ferrule_str name;   /* without prefix */
    const char *begin, *after; /* of the whole tag */
};

static bool is_space(char c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

/* The first place of a text; NULL when there is none. */
static const char *find(const char *at, const char *end, const char *text)
{
    return at < end ? memmem(at, (size_t)(end - at), text, strlen(text)) : NULL;
}

/* Behind what begins with "<!" or "<?" here; NULL when it does not end. */
static const char *skip_other(const char *at, const char *end)
{
    const char *close = (size_t)(end - at) >= 4 && memcmp(at, "<!--", 4) == 0 ? "-->"
                        : at[1] == '?'                                        ? "?>"
                                                                              : ">";
    const char *hit = find(at + 2, end, close);
    return hit ? hit + strlen(close) : NULL;
}

/* The place of the tag's '>', which may also stand inside a quoted attribute. */
static const char *tag_end(const char *at, const char *end)
{
    char quote = 0;
    for (; at < end; at++) {
        if (quote)
            quote = *at == quote ? 0 : quote;
        else if (*at == '"' || *at == '\'')
            quote = *at;
        else if (*at == '>')
            return at;
    }
    return NULL;
}

/* The next tag; false when there is none or it is cut. */
static bool next_tag(const char *at, const char *end, struct tag *ret)
{
    while ((at = at < end ? memchr(at, '<', (size_t)(end - at)) : NULL)) {
        if (end - at < 2)
            return false;
        if (at[1] == '!' || at[1] == '?') {
            at = skip_other(at, end);
            if (!at)
                return false;
            continue;
        }
        const char *close = tag_end(at, end);
        if (!close)
            return false;
        const char *name = at + 1 + (at[1] == '/');
        const char *name_end = name;
        while (name_end < close && !is_space(*name_end) && *name_end != '/')
            if (*name_end++ == ':')
                name = name_end;
        ret->kind = at[1] == '/' ? TAG_END : close[-1] == '/' ? TAG_EMPTY : TAG_START;
        ret->name = (struct ferrule_str){name, (size_t)(name_end - name)};
        ret->begin = at;
        ret->after = close + 1;
        return true;
    }
    return false;
}

static bool is_named(const struct tag *t, const char *name)
{
    return t->name.len == strlen(name) && memcmp(t->name.ptr, name, t->name.len) == 0;
}

/* Finds the end tag that belongs to a start tag. */
static bool matching_end(const struct tag *start, const char *end, struct tag *ret)
{
    unsigned depth = 1;
    const char *at = start->after;
    while (depth && next_tag(at, end, ret)) {
        if (ret->name.len == start->name.len &&
            memcmp(ret->name.ptr, start->name.ptr, ret->name.len) == 0) {
            depth += ret->kind == TAG_START;
            depth -= ret->kind == TAG_END;
        }
        at = ret->after;
    }
    return depth == 0;
}

bool xml_root(struct ferrule_str document, const char *name, struct ferrule_str *ret)
{
    struct tag start, end;
    const char *stop = document.ptr + document.len;
    if (!document.len || !next_tag(document.ptr, stop, &start) || start.kind == TAG_END ||
        (name && !is_named(&start, name)))
        return false;
    if (start.kind == TAG_EMPTY) {
        *ret = (struct ferrule_str){start.after, 0};
        return true;
    }
    if (!matching_end(&start, stop, &end))
        return false;
    *ret = (struct ferrule_str){start.after, (size_t)(end.begin - start.after)};
    return true;
}

bool xml_next(struct ferrule_str *rest, const char *name, struct ferrule_str *ret)
{
    struct tag start, end;
    const char *at = rest->ptr, *stop = rest->ptr + rest->len;
    while (rest->len && next_tag(at, stop, &start)) {
        at = start.after;
        if (start.kind == TAG_END || !is_named(&start, name))
            continue;
        end = start;
        if (start.kind == TAG_START && !matching_end(&start, stop, &end))
            return false;
        const char *content_end = start.kind == TAG_EMPTY ? start.after : end.begin;
        *ret = (struct ferrule_str){start.after, (size_t)(content_end - start.after)};
        *rest = (struct ferrule_str){end.after, (size_t)(stop - end.after)};
        return true;
    }
    return false;
}

/* Takes one entity off the text; 0 when it is none that is known. */
static char take_entity(struct ferrule_str *raw)
{
    static const struct {
        const char *text;
        char c;
    } entities[] = {
        {"&amp;", '&'}, {"&lt;", '<'}, {"&gt;", '>'}, {"&quot;", '"'}, {"&apos;", '\''}};
    for (size_t i = 0; i < sizeof entities / sizeof entities[0]; i++) {
        size_t len = strlen(entities[i].text);
        if (raw->len >= len && memcmp(raw->ptr, entities[i].text, len) == 0) {
            *raw = (struct ferrule_str){raw->ptr + len, raw->len - len};
            return entities[i].c;
        }
    }
    const char *semicolon = memchr(raw->ptr, ';', raw->len < 10 ? raw->len : 10);
    if (!semicolon || raw->len < 4 || raw->ptr[1] != '#')
        return 0;
    char digits[10] = "";
    bool hex = raw->ptr[2] == 'x';
    memcpy(digits, raw->ptr + 2 + hex, (size_t)(semicolon - raw->ptr) - 2 - hex);
    char *end;
    unsigned long code = strtoul(digits, &end, hex ? 16 : 10);
    if (*end || code == 0 || code > 127)
        return 0;
    size_t used = (size_t)(semicolon + 1 - raw->ptr);
    *raw = (struct ferrule_str){raw->ptr + used, raw->len - used};
    return (char)code;
}

bool xml_decode(struct ferrule_str raw, char *out, size_t cap)
{
    size_t n = 0;
    while (raw.len) {
        char c = *raw.ptr == '&' ? take_entity(&raw) : 0;
        if (!c) {
            c = *raw.ptr;
            raw = (struct ferrule_str){raw.ptr + 1, raw.len - 1};
        }
        if (n + 1 >= cap)
            return false;
        out[n++] = c;
    }
    out[n] = 0;
    return true;
}

bool xml_text(struct ferrule_str in, const char *name, char *out, size_t cap)
{
    struct ferrule_str raw;
    out[0] = 0;
    if (!xml_next(&in, name, &raw))
        return false;
    while (raw.len && is_space(raw.ptr[raw.len - 1]))
        raw.len--;
    while (raw.len && is_space(raw.ptr[0]))
        raw = (struct ferrule_str){raw.ptr + 1, raw.len - 1};
    if (xml_decode(raw, out, cap))
        return true;
    out[0] = 0;
    return false;
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "data/route/target.h"

struct span target_path(struct span target)
{
    return span_first(target, span_find(target, '?'));
}

struct span target_query(struct span target)
{
    return span_skip(target, span_find(target, '?') + 1);
}

static int hex(uint8_t c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* The byte that the escape at `at` stands for, or -1. */
static int escaped(struct span s, size_t at)
{
    if (s.len - at < 3)
        return -1;
    int high = hex(s.ptr[at + 1]), low = hex(s.ptr[at + 2]);
    return high < 0 || low < 0 ? -1 : high << 4 | low;
}

static bool is_unreserved(int c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
           c == '.' || c == '_' || c == '~';
}

/* RFC 3986 section 2.2; "%" because undoing it would make new escapes. */
static bool is_reserved(int c)
{
    return c != 0 && strchr(":/?#[]@!$&'()*+,;=%", c) != NULL;
}

static bool is_plain(struct span path)
{
    uint8_t before = 0;
    for (size_t i = 0; i < path.len; i++) {
        uint8_t c = path.ptr[i];
        if (c == '%' || (before == '/' && (c == '/' || c == '.')))
            return false;
        before = c;
    }
    return true;
}

/* Undoes escapes in place of `out`, which may hold path.len bytes. ERR_FORMAT. */
static struct result undo_escapes(struct span path, enum target_form form, uint8_t *out,
                                  size_t *ret_len)
{
    static const char digits[] = "0123456789ABCDEF";
    size_t n = 0;
    for (size_t i = 0; i < path.len; i++) {
        if (path.ptr[i] != '%') {
            out[n++] = path.ptr[i];
            continue;
        }
        int c = escaped(path, i);
        if (c < 0)
            return result_fail(ERR_FORMAT);
        if (form == TARGET_ROUTE ? !is_reserved(c) : is_unreserved(c)) {
            out[n++] = (uint8_t)c;
        } else {
            out[n++] = '%';
            out[n++] = (uint8_t)digits[c >> 4];
            out[n++] = (uint8_t)digits[c & 15];
        }
        i += 2;
    }
    *ret_len = n;
    return result_ok();
}

/* Length of a separator that some servers see at s: "%2F", "%5C", "\"; 0 = none. */
static size_t hidden_separator(const uint8_t *s, size_t len)
{
    if (len && s[0] == '\\')
        return 1;
    return len >= 3 && (memcmp(s, "%2F", 3) == 0 || memcmp(s, "%5C", 3) == 0) ? 3 : 0;
}

/* Whether a segment has a part between hidden separators that is a dot segment. */
static bool hides_dots(const uint8_t *s, size_t len)
{
    size_t dots = 0, parts = 0, i = 0;
    bool only_dots = true, found = false;
    while (i < len) {
        size_t separator = hidden_separator(s + i, len - i);
        if (separator) {
            found = found || (only_dots && (dots == 1 || dots == 2));
            parts++;
            dots = 0;
            only_dots = true;
            i += separator;
            continue;
        }
        only_dots = only_dots && s[i] == '.';
        dots++;
        i++;
    }
    return parts > 0 && (found || (only_dots && (dots == 1 || dots == 2)));
}

/* Back to behind the slash before the last segment; stays at the root. */
static size_t up(const uint8_t *p, size_t n)
{
    if (n <= 1)
        return n;
    for (n--; n > 1 && p[n - 1] != '/';)
        n--;
    return n;
}

/* RFC 3986 section 5.2.4 in place, and without empty segments. The path begins with a slash.
 * ERR_FORMAT. */
static struct result walk_segments(uint8_t *p, size_t len, size_t *ret_len)
{
    size_t n = 1, i = 1; /* what is done ends with a slash */
    while (i < len) {
        const uint8_t *slash = memchr(p + i, '/', len - i);
        size_t end = slash ? (size_t)(slash - p) : len;
        const uint8_t *segment = p + i;
        size_t length = end - i;
        i = end + 1;
        if (hides_dots(segment, length))
            return result_fail(ERR_FORMAT);
        if (length == 0 || (length == 1 && segment[0] == '.'))
            continue;
        if (length == 2 && segment[0] == '.' && segment[1] == '.') {
            n = up(p, n);
            continue;
        }
        memmove(p + n, segment, length);
        n += length;
        if (slash)
            p[n++] = '/';
    }
    *ret_len = n;
    return result_ok();
}

struct result target_normal(struct span path, enum target_form form, void *memory, size_t room,
                            struct span *ret)
{
    bool backslash = span_find(path, '\\') < path.len;
    if (path.len == 0 || path.ptr[0] != '/' || (is_plain(path) && !backslash)) {
        *ret = path;
        return result_ok();
    }
    if (room < path.len)
        return result_fail(ERR_TOO_LARGE);
    size_t len;
    TRY(undo_escapes(path, form, memory, &len));
    TRY(walk_segments(memory, len, &len));
    *ret = span_of(memory, len);
    return result_ok();
}

static bool is_good_param(struct span pair)
{
    for (size_t i = 0; i < pair.len; i++) {
        if (pair.ptr[i] == ';' || (pair.ptr[i] == '%' && escaped(pair, i) < 0))
            return false;
    }
    return pair.len > 0;
}

bool target_next_param(struct span *query, struct target_param *ret)
{
    while (query->len) {
        struct span pair = span_first(*query, span_find(*query, '&'));
        *query = span_skip(*query, pair.len + 1);
        if (!is_good_param(pair))
            continue;
        ret->name = span_first(pair, span_find(pair, '='));
        ret->value = span_skip(pair, ret->name.len + 1);
        return true;
    }
    return false;
}

/* The next byte in plain; *at moves behind it. The escapes are good. */
static uint8_t next_plain(struct span s, size_t *at)
{
    uint8_t c = s.ptr[(*at)++];
    if (c != '%')
        return c == '+' ? ' ' : c;
    c = (uint8_t)escaped(s, *at - 1);
    *at += 2;
    return c;
}

bool target_param_is(struct span encoded, struct span text)
{
    size_t i = 0, k = 0;
    while (i < encoded.len && k < text.len) {
        if (next_plain(encoded, &i) != text.ptr[k++])
            return false;
    }
    return i == encoded.len && k == text.len;
}

struct result target_param_decode(struct span encoded, void *memory, size_t room, struct span *ret)
{
    if (span_find(encoded, '%') == encoded.len && span_find(encoded, '+') == encoded.len) {
        *ret = encoded;
        return result_ok();
    }
    if (room < encoded.len)
        return result_fail(ERR_TOO_LARGE);
    uint8_t *out = memory;
    size_t n = 0;
    for (size_t i = 0; i < encoded.len;)
        out[n++] = next_plain(encoded, &i);
    *ret = span_of(memory, n);
    return result_ok();
}

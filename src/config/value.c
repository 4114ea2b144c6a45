/* SPDX-License-Identifier: Apache-2.0 */
#include "config/value.h"

#include "base/net.h"

#include <arpa/inet.h>
#include <ctype.h>

struct result value_int(struct span text, int64_t *ret)
{
    bool negative = text.len && text.ptr[0] == '-';
    size_t i = text.len && (negative || text.ptr[0] == '+');
    int64_t v = 0;
    if (i == text.len)
        return result_fail(ERR_FORMAT);
    for (; i < text.len; i++) {
        int digit = text.ptr[i] - '0';
        if (digit < 0 || digit > 9 || __builtin_mul_overflow(v, 10, &v) ||
            __builtin_sub_overflow(v, digit, &v))
            return result_fail(ERR_FORMAT);
    }
    if (!negative && __builtin_sub_overflow(0, v, &v)) /* v was negative all the time */
        return result_fail(ERR_FORMAT);
    *ret = v;
    return result_ok();
}

struct result value_bool(struct span text, bool *ret)
{
    bool yes = span_eq_nocase(text, SPAN_LITERAL("true")) || span_eq(text, SPAN_LITERAL("1"));
    bool no = span_eq_nocase(text, SPAN_LITERAL("false")) || span_eq(text, SPAN_LITERAL("0"));
    if (!yes && !no)
        return result_fail(ERR_FORMAT);
    *ret = yes;
    return result_ok();
}

static bool unit_ns(struct span unit, int64_t *ret_ns)
{
    static const struct {
        const char *name;
        int64_t ns;
    } units[] = {{"ns", 1},       {"us", 1000},      {"\u00b5s", 1000},  {"\u03bcs", 1000},
                 {"ms", 1000000}, {"s", 1000000000}, {"m", 60000000000}, {"h", 3600000000000}};
    for (size_t i = 0; i < sizeof units / sizeof *units; i++) {
        if (span_eq(unit, span_str(units[i].name))) {
            *ret_ns = units[i].ns;
            return true;
        }
    }
    return false;
}

/* Takes "12" or "1.5" off the front: *ret = digits without the dot, *ret_scale = 10^decimals. */
static bool take_number(struct span *text, int64_t *ret, int64_t *ret_scale)
{
    int64_t v = 0, scale = 1;
    size_t i = 0, digits = 0;
    bool dot = false;
    for (; i < text->len; i++) {
        uint8_t c = text->ptr[i];
        if (c == '.' && !dot) {
            dot = true;
        } else if (c >= '0' && c <= '9') {
            digits++;
            if (dot && scale >= 1000000)
                continue; /* below a millionth of the unit */
            if (__builtin_mul_overflow(v, 10, &v) || __builtin_add_overflow(v, c - '0', &v))
                return false;
            if (dot)
                scale *= 10;
        } else {
            break;
        }
    }
    *text = span_skip(*text, i);
    *ret = v;
    *ret_scale = scale;
    return digits > 0;
}

struct result value_duration_ms(struct span text, int64_t *ret_ms)
{
    int64_t total_ns = 0, number, scale;
    struct span rest = text;
    if (!take_number(&rest, &number, &scale))
        return result_fail(ERR_FORMAT);
    if (!rest.len) { /* plain seconds */
        if (__builtin_mul_overflow(number, 1000, &number))
            return result_fail(ERR_FORMAT);
        *ret_ms = number / scale;
        return result_ok();
    }
    for (;;) {
        size_t n = 0;
        int64_t unit, ns;
        while (n < rest.len && rest.ptr[n] != '.' && (rest.ptr[n] < '0' || rest.ptr[n] > '9'))
            n++;
        if (!unit_ns(span_first(rest, n), &unit))
            return result_fail(ERR_FORMAT);
        __int128 exact = (__int128)number * unit / scale;
        if (exact > INT64_MAX)
            return result_fail(ERR_FORMAT);
        ns = (int64_t)exact;
        if (__builtin_add_overflow(total_ns, ns, &total_ns))
            return result_fail(ERR_FORMAT);
        rest = span_skip(rest, n);
        if (!rest.len)
            break;
        if (!take_number(&rest, &number, &scale))
            return result_fail(ERR_FORMAT);
    }
    *ret_ms = total_ns / 1000000;
    return result_ok();
}

static struct span trim(struct span s)
{
    while (s.len && (s.ptr[0] == ' ' || s.ptr[0] == '\t'))
        s = span_skip(s, 1);
    while (s.len && (s.ptr[s.len - 1] == ' ' || s.ptr[s.len - 1] == '\t'))
        s.len--;
    return s;
}

struct result value_cpus(struct span text, uint32_t max, uint32_t *ret_cpus, uint32_t *ret_count)
{
    uint32_t count = 0;
    int64_t last = -1;
    for (bool more = true; more;) {
        struct span part = trim(span_first(text, span_find(text, ',')));
        more = span_find(text, ',') < text.len;
        text = span_skip(text, span_find(text, ',') + 1);
        size_t dash = span_find(part, '-');
        int64_t low, high;
        TRY(value_int(span_first(part, dash), &low));
        high = low;
        if (dash < part.len)
            TRY(value_int(span_skip(part, dash + 1), &high));
        if (low <= last || high < low || high >= max)
            return result_fail(ERR_FORMAT);
        for (int64_t cpu = low; cpu <= high; cpu++)
            ret_cpus[count++] = (uint32_t)cpu;
        last = high;
    }
    *ret_count = count;
    return result_ok();
}

bool value_is_name(struct span text, bool wildcard)
{
    size_t label = 0;
    if (wildcard && text.len > 2 && text.ptr[0] == '*' && text.ptr[1] == '.')
        text = span_skip(text, 2);
    if (text.len && text.ptr[text.len - 1] == '.')
        text.len--;
    if (text.len == 0 || text.len > 253)
        return false;
    for (size_t i = 0; i < text.len; i++) {
        uint8_t c = text.ptr[i];
        if (c == '.') {
            if (label == 0 || text.ptr[i - 1] == '-')
                return false;
            label = 0;
        } else if (isalnum(c) || c == '_' || (c == '-' && label > 0)) {
            if (++label > 63)
                return false;
        } else {
            return false;
        }
    }
    return label > 0 && text.ptr[text.len - 1] != '-';
}

static int ip_family(struct span text)
{
    char name[INET6_ADDRSTRLEN];
    uint8_t address[16];
    if (text.len == 0 || text.len >= sizeof name)
        return 0;
    memcpy(name, text.ptr, text.len);
    name[text.len] = 0;
    if (inet_pton(AF_INET, name, address) == 1)
        return AF_INET;
    return inet_pton(AF_INET6, name, address) == 1 ? AF_INET6 : 0;
}

bool value_is_ip(struct span text)
{
    return ip_family(text) != 0;
}

bool value_is_net(struct span text)
{
    size_t slash = span_find(text, '/');
    int family = ip_family(span_first(text, slash));
    int64_t bits;
    if (slash == text.len || !family)
        return family != 0;
    struct span digits = span_skip(text, slash + 1);
    return digits.len && isdigit(digits.ptr[0]) && result_is_ok(value_int(digits, &bits)) &&
           bits <= (family == AF_INET ? 32 : 128);
}

struct result value_url(struct span text, struct value_url *ret)
{
    struct value_url u = {0};
    size_t i = 0;
    while (i < text.len && (isalnum(text.ptr[i]) || text.ptr[i] == '+' || text.ptr[i] == '-'))
        i++;
    u.scheme = span_first(text, i);
    struct span rest = span_skip(text, i);
    if (i == 0 || !isalpha(text.ptr[0]) || !span_starts_with(rest, SPAN_LITERAL("://")))
        return result_fail(ERR_FORMAT);
    rest = span_skip(rest, 3);
    for (size_t k = 0; k < rest.len; k++) {
        if (rest.ptr[k] <= ' ' || rest.ptr[k] >= 0x7f || rest.ptr[k] == '#' || rest.ptr[k] == '\\')
            return result_fail(ERR_FORMAT);
    }
    size_t end = 0;
    while (end < rest.len && rest.ptr[end] != '/' && rest.ptr[end] != '?')
        end++;
    struct span authority = span_first(rest, end);
    u.path = span_skip(rest, end);
    if (span_find(authority, '@') < authority.len)
        return result_fail(ERR_FORMAT);
    TRY(net_split_host_port(authority, &u.host, &u.port));
    bool bracketed = authority.len && authority.ptr[0] == '[';
    if (bracketed ? ip_family(u.host) != AF_INET6 : !value_is_name(u.host, false))
        return result_fail(ERR_FORMAT);
    *ret = u;
    return result_ok();
}

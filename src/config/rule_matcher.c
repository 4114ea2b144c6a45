/* SPDX-License-Identifier: Apache-2.0 */
#include "config/rule_matcher.h"

#include "base/regex.h"
#include "config/problems.h"
#include "config/rule_template.h"
#include "config/value.h"

#include <ctype.h>

enum {
    IN_V3 = 1 << RULE_V3,
    IN_V2 = 1 << RULE_V2,
    IN_TCP = 1 << RULE_TCP,
};

typedef struct result put_one(struct rule_draft *d, const struct rule_arg *a);
typedef struct result put_all(struct rule_draft *d, uint32_t at, const struct rule_arg *args,
                              uint32_t count);

struct rule_matcher {
    const char *name;
    uint8_t syntaxes;
    put_one *one; /* each argument is an operand of its own; several are joined by "or" */
    put_all *all; /* the arguments belong together */
    const char *advice;
};

/* ---- operands ------------------------------------------------------------------------------ */

static struct result check_regex(struct rule_draft *d, const struct rule_arg *a,
                                 struct span pattern)
{
    struct regex_error error;
    struct regex *x = regex_create((const char *)pattern.ptr, pattern.len, &error);
    if (x) {
        regex_destroy(x);
        return result_ok();
    }
    uint32_t at = a->at;
    if (a->raw && pattern.ptr == a->text.ptr)
        at += a->quoted + (uint32_t)error.at;
    return rule_draft_fail(d, at, "this is no regular expression: %s", error.text);
}

static struct result put_regex(struct rule_draft *d, const struct rule_arg *a, enum rule_op op,
                               const struct span *name, struct span pattern)
{
    TRY(check_regex(d, a, pattern));
    return rule_draft_put(d, a->at, op, name, &pattern);
}

static void lower(struct buf *text, struct span from)
{
    buf_put_span(text, from);
    for (size_t i = 0; i < text->len; i++)
        text->ptr[i] = (uint8_t)tolower(text->ptr[i]);
    if (text->len > 1 && text->ptr[text->len - 1] == '.')
        text->len--;
}

static struct result judge_host(struct rule_draft *d, const struct rule_arg *a, struct span host,
                                bool wildcard)
{
    if (host.len && host.ptr[0] == '*' && !wildcard)
        return rule_draft_fail(d, a->at, "Host() takes no wildcard; see HostRegexp()");
    bool bracketed = host.len > 2 && host.ptr[0] == '[' && host.ptr[host.len - 1] == ']';
    if (value_is_name(host, wildcard) || value_is_ip(host) ||
        (bracketed && value_is_ip(span_of(host.ptr + 1, host.len - 2))))
        return rule_draft_put(d, a->at, RULE_HOST, NULL, &host);
    return rule_draft_fail(
        d, a->at, "this is no host name without port (international names are written xn--...)");
}

static struct result put_name(struct rule_draft *d, const struct rule_arg *a, bool wildcard)
{
    struct buf host = {0};
    lower(&host, a->text);
    struct result r = judge_host(d, a, buf_span(&host), wildcard);
    buf_free(&host);
    return r;
}

static struct result put_host(struct rule_draft *d, const struct rule_arg *a)
{
    return put_name(d, a, false);
}

static struct result put_host_sni(struct rule_draft *d, const struct rule_arg *a)
{
    if (span_eq(a->text, SPAN_LITERAL("*")))
        return rule_draft_put(d, a->at, RULE_ANY, NULL, &(struct span){a->text.ptr, 0});
    return put_name(d, a, true);
}

static bool is_ascii(struct span text)
{
    bool good = true;
    for (size_t i = 0; i < text.len; i++)
        good = good && text.ptr[i] < 0x80;
    return good;
}

static struct result put_host_regexp(struct rule_draft *d, const struct rule_arg *a)
{
    if (!is_ascii(a->text))
        return rule_draft_fail(d, a->at, "host names are ASCII (international names as xn--...)");
    return put_regex(d, a, RULE_HOST_REGEXP, NULL, a->text);
}

static struct result check_slash(struct rule_draft *d, const struct rule_arg *a)
{
    if (a->text.len == 0 || a->text.ptr[0] != '/')
        return rule_draft_fail(d, a->at, "a path begins with a slash");
    return result_ok();
}

static struct result put_path(struct rule_draft *d, const struct rule_arg *a)
{
    TRY(check_slash(d, a));
    return rule_draft_put(d, a->at, RULE_PATH, NULL, &a->text);
}

static struct result put_path_prefix(struct rule_draft *d, const struct rule_arg *a)
{
    TRY(check_slash(d, a));
    return rule_draft_put(d, a->at, RULE_PATH_PREFIX, NULL, &a->text);
}

static struct result put_path_regexp(struct rule_draft *d, const struct rule_arg *a)
{
    return put_regex(d, a, RULE_PATH_REGEXP, NULL, a->text);
}

static bool is_token(struct span text)
{
    bool good = text.len > 0;
    for (size_t i = 0; i < text.len; i++)
        good = good && text.ptr[i] < 0x80 &&
               (isalnum(text.ptr[i]) || strchr("!#$%&'*+-.^_`|~", text.ptr[i]));
    return good;
}

static struct result put_method(struct rule_draft *d, const struct rule_arg *a)
{
    char method[32];
    if (!is_token(a->text) || a->text.len >= sizeof method)
        return rule_draft_fail(d, a->at, "this is no method");
    for (size_t i = 0; i < a->text.len; i++)
        method[i] = (char)toupper(a->text.ptr[i]);
    struct span upper = span_of(method, a->text.len);
    return rule_draft_put(d, a->at, RULE_METHOD, NULL, &upper);
}

static struct result put_client_ip(struct rule_draft *d, const struct rule_arg *a)
{
    if (!value_is_net(a->text))
        return rule_draft_fail(d, a->at, "an IP address or a CIDR range is expected");
    return rule_draft_put(d, a->at, RULE_CLIENT_IP, NULL, &a->text);
}

static struct result put_alpn(struct rule_draft *d, const struct rule_arg *a)
{
    if (a->text.len == 0 || a->text.len > 255 || span_eq(a->text, SPAN_LITERAL("acme-tls/1")))
        return rule_draft_fail(d, a->at, "this is no protocol that a router can have");
    return rule_draft_put(d, a->at, RULE_ALPN, NULL, &a->text);
}

/* A template of the second syntax, or what stands there when it is none. */
static struct result put_template(struct rule_draft *d, const struct rule_arg *a,
                                  enum rule_template_kind kind, enum rule_op op,
                                  const struct span *name, struct span text)
{
    struct buf pattern = {0};
    uint32_t at = 0;
    struct result r;
    if (!rule_template_regex(text, kind, &pattern, &at))
        r = rule_draft_fail(
            d, a->raw ? a->at + a->quoted + at + (uint32_t)(text.ptr - a->text.ptr) : a->at,
            "a placeholder is written {name} or {name:expression}");
    else
        r = put_regex(d, a, op, name, buf_span(&pattern));
    buf_free(&pattern);
    return r;
}

static struct result put_host_template(struct rule_draft *d, const struct rule_arg *a)
{
    if (!rule_template_is_one(a->text))
        return put_host(d, a);
    if (!is_ascii(a->text))
        return rule_draft_fail(d, a->at, "host names are ASCII (international names as xn--...)");
    return put_template(d, a, RULE_TEMPLATE_HOST, RULE_HOST_REGEXP, NULL, a->text);
}

static struct result put_path_template(struct rule_draft *d, const struct rule_arg *a)
{
    if (!rule_template_is_one(a->text))
        return put_path(d, a);
    TRY(check_slash(d, a));
    return put_template(d, a, RULE_TEMPLATE_PATH, RULE_PATH_REGEXP, NULL, a->text);
}

static struct result put_prefix_template(struct rule_draft *d, const struct rule_arg *a)
{
    if (!rule_template_is_one(a->text))
        return put_path_prefix(d, a);
    TRY(check_slash(d, a));
    return put_template(d, a, RULE_TEMPLATE_PATH_PREFIX, RULE_PATH_REGEXP, NULL, a->text);
}

/* ---- matchers with several parts ------------------------------------------------------------- */

static struct result check_field(struct rule_draft *d, uint32_t at, const struct rule_arg *args,
                                 uint32_t count)
{
    if (count != 2)
        return rule_draft_fail(d, at, "two arguments are expected: a field name and a value");
    if (!is_token(args[0].text))
        return rule_draft_fail(d, args[0].at, "this is no name of a header field");
    if (span_eq_nocase(args[0].text, SPAN_LITERAL("Host")))
        return rule_draft_fail(d, args[0].at, "the host is matched with Host() or HostRegexp()");
    return result_ok();
}

static struct result put_header(struct rule_draft *d, uint32_t at, const struct rule_arg *args,
                                uint32_t count)
{
    TRY(check_field(d, at, args, count));
    return rule_draft_put(d, at, RULE_HEADER, &args[0].text, &args[1].text);
}

static struct result put_header_regexp(struct rule_draft *d, uint32_t at,
                                       const struct rule_arg *args, uint32_t count)
{
    TRY(check_field(d, at, args, count));
    return put_regex(d, &args[1], RULE_HEADER_REGEXP, &args[0].text, args[1].text);
}

/* v2: an empty value asks for the field alone. */
static struct result put_headers(struct rule_draft *d, uint32_t at, const struct rule_arg *args,
                                 uint32_t count)
{
    TRY(check_field(d, at, args, count));
    enum rule_op op = args[1].text.len ? RULE_HEADER : RULE_HEADER_REGEXP;
    return rule_draft_put(d, at, op, &args[0].text, &args[1].text);
}

static struct result check_parameter(struct rule_draft *d, uint32_t at, const struct rule_arg *args,
                                     uint32_t count)
{
    if (count > 2)
        return rule_draft_fail(d, at, "one or two arguments are expected: a parameter, its value");
    if (args[0].text.len == 0)
        return rule_draft_fail(d, args[0].at, "the name of a parameter is expected");
    return result_ok();
}

static struct result put_query(struct rule_draft *d, uint32_t at, const struct rule_arg *args,
                               uint32_t count)
{
    TRY(check_parameter(d, at, args, count));
    struct span value = count > 1 ? args[1].text : span_str("");
    return rule_draft_put(d, at, RULE_QUERY, &args[0].text, &value);
}

static struct result put_query_regexp(struct rule_draft *d, uint32_t at,
                                      const struct rule_arg *args, uint32_t count)
{
    if (count < 2)
        return put_query(d, at, args, count);
    TRY(check_parameter(d, at, args, count));
    return put_regex(d, &args[1], RULE_QUERY_REGEXP, &args[0].text, args[1].text);
}

/* v2: "name=value", all of them; "name=" asks for the parameter alone. */
static struct result put_pairs(struct rule_draft *d, uint32_t at, const struct rule_arg *args,
                               uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        struct span name = span_first(args[i].text, span_find(args[i].text, '='));
        struct span value = span_skip(args[i].text, name.len + 1);
        if (name.len == 0 || name.len == args[i].text.len)
            return rule_draft_fail(d, args[i].at, "name=value is expected");
        if (rule_template_is_one(value))
            TRY(put_template(d, &args[i], RULE_TEMPLATE_QUERY, RULE_QUERY_REGEXP, &name, value));
        else
            TRY(rule_draft_put(d, args[i].at, value.len ? RULE_QUERY : RULE_QUERY_REGEXP, &name,
                               &value));
        if (i > 0)
            TRY(rule_draft_put(d, args[i].at, RULE_AND, NULL, NULL));
    }
    return result_ok();
}

/* ---- the table ------------------------------------------------------------------------------- */

#define MODIFIER "changes the request: that is a middleware's work"

static const struct rule_matcher matchers[] = {
    {"Host", IN_V3 | IN_V2, put_host, NULL, "write HostSNI"},
    {"HostHeader", IN_V2, put_host, NULL, "write Host"},
    {"HostRegexp", IN_V3, put_host_regexp, NULL, "write HostSNIRegexp"},
    {"HostRegexp", IN_V2, put_host_template, NULL, NULL},
    {"Path", IN_V3, put_path, NULL, NULL},
    {"Path", IN_V2, put_path_template, NULL, NULL},
    {"PathPrefix", IN_V3, put_path_prefix, NULL, NULL},
    {"PathPrefix", IN_V2, put_prefix_template, NULL, NULL},
    {"PathRegexp", IN_V3, put_path_regexp, NULL, "write Path(`/{name:expression}`)"},
    {"Method", IN_V3 | IN_V2, put_method, NULL, NULL},
    {"Header", IN_V3, NULL, put_header, "write Headers"},
    {"HeaderRegexp", IN_V3, NULL, put_header_regexp, "write HeadersRegexp"},
    {"Headers", IN_V2, NULL, put_headers, "write Header"},
    {"HeadersRegexp", IN_V2, NULL, put_header_regexp, "write HeaderRegexp"},
    {"Query", IN_V3, NULL, put_query, NULL},
    {"Query", IN_V2, NULL, put_pairs, NULL},
    {"QueryRegexp", IN_V3, NULL, put_query_regexp, "write Query(`name={name:expression}`)"},
    {"ClientIP", IN_V3 | IN_V2 | IN_TCP, put_client_ip, NULL, NULL},
    {"HostSNI", IN_TCP, put_host_sni, NULL, "it is for tcp.routers; write Host"},
    {"HostSNIRegexp", IN_TCP, put_host_regexp, NULL, "it is for tcp.routers; write HostRegexp"},
    {"ALPN", IN_TCP, put_alpn, NULL, "it is for tcp.routers"},
    {"PathStrip", 0, NULL, NULL, MODIFIER},
    {"PathStripRegex", 0, NULL, NULL, MODIFIER},
    {"PathPrefixStrip", 0, NULL, NULL, MODIFIER},
    {"PathPrefixStripRegex", 0, NULL, NULL, MODIFIER},
    {"AddPrefix", 0, NULL, NULL, MODIFIER},
    {"ReplacePath", 0, NULL, NULL, MODIFIER},
    {"ReplacePathRegex", 0, NULL, NULL, MODIFIER},
};
#define MATCHER_COUNT (sizeof matchers / sizeof *matchers)

static struct result unknown(struct rule_draft *d, uint32_t at, const char *name,
                             enum rule_syntax syntax)
{
    const char *names[MATCHER_COUNT];
    uint32_t count = 0;
    for (size_t i = 0; i < MATCHER_COUNT; i++) {
        if (matchers[i].syntaxes & 1 << syntax)
            names[count++] = matchers[i].name;
    }
    const char *near = problems_nearest(name, names, count);
    struct buf list = {0};
    for (uint32_t i = 0; !near && i < count; i++)
        buf_printf(&list, "%s%s", i == 0 ? "; there are " : ", ", names[i]);
    if (near)
        buf_printf(&list, "; did you mean %s?", near);
    struct result r = rule_draft_fail(d, at, "there is no matcher %s%s", name, buf_cstr(&list));
    buf_free(&list);
    return r;
}

struct result rule_matcher_find(struct rule_draft *d, uint32_t at, const char *name,
                                enum rule_syntax syntax, const struct rule_matcher **ret)
{
    static const char *const titles[] = {"version 3", "version 2", "TCP routers"};
    const struct rule_matcher *other = NULL;
    for (size_t i = 0; i < MATCHER_COUNT; i++) {
        const struct rule_matcher *m = &matchers[i];
        if (strcasecmp(m->name, name) != 0)
            continue;
        if (m->syntaxes & 1 << syntax) {
            *ret = m;
            return result_ok();
        }
        other = m;
    }
    if (!other)
        return unknown(d, at, name, syntax);
    if (!other->syntaxes)
        return rule_draft_fail(d, at, "%s %s", other->name, other->advice);
    return rule_draft_fail(d, at, "%s is not in the rule language of %s%s%s", other->name,
                           titles[syntax], other->advice ? ": " : "",
                           other->advice ? other->advice : "");
}

struct result rule_matcher_put(struct rule_draft *d, uint32_t at, const struct rule_matcher *m,
                               const struct rule_arg *args, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        if (args[i].text.len && memchr(args[i].text.ptr, 0, args[i].text.len))
            return rule_draft_fail(d, args[i].at, "a NUL character cannot be matched");
    }
    if (m->all)
        return m->all(d, at, args, count);
    for (uint32_t i = 0; i < count; i++) {
        TRY(m->one(d, &args[i]));
        if (i > 0)
            TRY(rule_draft_put(d, args[i].at, RULE_OR, NULL, NULL));
    }
    return result_ok();
}

const char *rule_matcher_name(const struct rule_matcher *m)
{
    return m->name;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* The middlewares `redirectScheme` and `redirectRegex`, and replacing by expressions. */
#include "data/route/middleware_impl.h"

#include <ctype.h>

/* ---- replacing ------------------------------------------------------------------------------ */

/* The group that a reference in braces or without names, or -1. */
static int group_of(const struct regex *x, struct span name)
{
    int number = 0;
    for (size_t i = 0; i < name.len; i++) {
        if (!isdigit(name.ptr[i]) || number >= REGEX_GROUPS_MAX)
            return regex_group_number(x, (const char *)name.ptr, name.len);
        number = number * 10 + (name.ptr[i] - '0');
    }
    return name.len && number < REGEX_GROUPS_MAX ? number : -1;
}

/* What follows a dollar sign: takes it off `rest`, writes what it stands for. */
static void expand_one(const struct regex *x, const struct regex_group *groups, struct span *rest,
                       struct writer *to)
{
    if (rest->len && rest->ptr[0] == '$') {
        writer_bytes(to, "$", 1);
        *rest = span_skip(*rest, 1);
        return;
    }
    bool brace = rest->len && rest->ptr[0] == '{';
    struct span name = span_skip(*rest, brace);
    size_t len = 0;
    while (len < name.len && (isalnum(name.ptr[len]) || name.ptr[len] == '_'))
        len++;
    name.len = len;
    int group = group_of(x, name);
    if (group >= 0 && groups[group].ptr)
        writer_bytes(to, groups[group].ptr, groups[group].len);
    *rest = span_skip(*rest, len + 2 * brace);
}

static void expand(const struct regex *x, const struct regex_group *groups, struct span rest,
                   struct writer *to)
{
    while (rest.len) {
        size_t plain = span_find(rest, '$');
        writer_bytes(to, rest.ptr, plain);
        bool more = plain < rest.len;
        rest = span_skip(rest, plain + 1);
        if (more)
            expand_one(x, groups, &rest, to);
    }
}

bool regex_replaced(struct middleware_run *run, const struct regex *x, struct span text,
                    struct span replacement, struct span *ret)
{
    struct regex_group groups[REGEX_GROUPS_MAX];
    struct writer *to = run->text;
    const char *bytes = (const char *)text.ptr;
    size_t from = to->len, at = 0, copied = 0;
    if (!x || !regex_find(x, bytes, text.len, 0, groups, REGEX_GROUPS_MAX))
        return false;
    do {
        size_t start = (size_t)(groups[0].ptr - bytes), end = start + groups[0].len;
        writer_bytes(to, bytes + copied, start - copied);
        if (end > copied || start == 0) /* nothing, right behind a match, is no match of its own */
            expand(x, groups, replacement, to);
        copied = end;
        at = end > start ? end : end + 1;
    } while (at <= text.len && !to->bad &&
             regex_find(x, bytes, text.len, at, groups, REGEX_GROUPS_MAX));
    writer_span(to, span_skip(text, copied));
    *ret = span_skip(writer_done(to), from);
    return !to->bad;
}

/* ---- redirections --------------------------------------------------------------------------- */

/* What may stand in a URL as it is (RFC 3986 section 2); the rest is percent-encoded, so that no
 * capture can end the header field. */
static struct span encoded(struct middleware_run *run, struct span url)
{
    static const char digits[] = "0123456789ABCDEF";
    size_t from = run->text->len;
    for (size_t i = 0; i < url.len; i++) {
        uint8_t c = url.ptr[i];
        char triplet[3] = {'%', digits[c >> 4], digits[c & 15]};
        bool plain = isalnum(c) || (c && strchr("-._~:/?#[]@!$&'()*+,;=%", c));
        writer_bytes(run->text, plain ? (const void *)&c : triplet, plain ? 1 : 3);
    }
    return span_skip(writer_done(run->text), from);
}

static enum middleware_verdict redirect_to(struct middleware_run *run, struct span url,
                                           bool permanent)
{
    bool get = run->head->method == HTTP_GET;
    middleware_answer(run, permanent ? (get ? 301 : 308) : (get ? 302 : 307));
    struct span location = encoded(run, url);
    if (run->text->bad || location.len == 0)
        return middleware_answer(run, run->text->bad ? 414 : 400);
    field_set(run->answer, SPAN_LITERAL("Location"), location);
    return MIDDLEWARE_ANSWER;
}

/* The scheme that the client used, as far as a trusted proxy or we know. */
static struct span scheme_of(const struct middleware_run *run)
{
    struct span proto = field_value(run->head, SPAN_LITERAL("X-Forwarded-Proto"));
    if (span_eq_nocase(proto, SPAN_LITERAL("https")) || span_eq_nocase(proto, SPAN_LITERAL("wss")))
        return SPAN_LITERAL("https");
    if (span_eq_nocase(proto, SPAN_LITERAL("http")) || span_eq_nocase(proto, SPAN_LITERAL("ws")))
        return SPAN_LITERAL("http");
    return run->tls ? SPAN_LITERAL("https") : SPAN_LITERAL("http");
}

static bool is_usual(struct span scheme, struct span port)
{
    return span_eq(port, span_eq(scheme, SPAN_LITERAL("https")) ? SPAN_LITERAL(":443")
                                                                : SPAN_LITERAL(":80"));
}

static enum middleware_verdict redirect_scheme(const struct step *step)
{
    struct middleware_run *run = step->run;
    const struct snap_redirect *r = &step->m->redirect;
    struct span host = run->head->authority, port, scheme = scheme_of(run);
    size_t close = host.len && host.ptr[0] == '[' ? span_find(host, ']') : 0;
    size_t colon = close + span_find(span_skip(host, close), ':');
    port = span_skip(host, colon);
    host = span_first(host, colon);
    if (is_usual(scheme, port) || port.len == 1)
        port.len = 0;
    if (span_eq(scheme, r->scheme) && span_eq(port, r->port))
        return MIDDLEWARE_PASS;
    if (host.len == 0) /* HTTP/1.0: nowhere to send it to */
        return middleware_answer(run, 400);
    size_t from = run->text->len;
    writer_span(run->text, r->scheme);
    writer_bytes(run->text, "://", 3);
    writer_span(run->text, host);
    writer_span(run->text, r->port);
    writer_span(run->text, run->head->path);
    return redirect_to(run, span_skip(writer_done(run->text), from), r->permanent);
}

static enum middleware_verdict redirect_regex(const struct step *step)
{
    struct middleware_run *run = step->run;
    const struct snap_redirect *r = &step->m->redirect;
    struct span url, new_url;
    size_t from = run->text->len;
    writer_span(run->text, run->tls ? SPAN_LITERAL("https://") : SPAN_LITERAL("http://"));
    writer_span(run->text, run->head->authority);
    writer_span(run->text, run->head->path);
    url = span_skip(writer_done(run->text), from);
    if (run->text->bad)
        return middleware_answer(run, 414);
    bool replaced =
        regex_replaced(run, set_own_regex(run->set, step->m), url, r->replacement, &new_url);
    if (run->text->bad)
        return middleware_answer(run, 414);
    if (!replaced || span_eq(url, new_url))
        return MIDDLEWARE_PASS;
    return redirect_to(run, new_url, r->permanent);
}

enum middleware_verdict middleware_redirect(const struct step *step)
{
    if (step->run->head->path.len && step->run->head->path.ptr[0] == '*')
        return MIDDLEWARE_PASS; /* OPTIONS * is about the server */
    return step->m->kind == SNAP_MIDDLEWARE_REDIRECT_SCHEME ? redirect_scheme(step)
                                                            : redirect_regex(step);
}

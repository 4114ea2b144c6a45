/* SPDX-License-Identifier: Apache-2.0 */
#include "config/rule.h"

#include "base/must.h"
#include "config/problems.h"
#include "config/value.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>

/* A matcher of Traefik (v3, v2 or pre-release). op 0: known, not available. */
struct matcher {
    const char *name;
    uint8_t op;
};

static const struct matcher matchers[] = {
    {"Host", RULE_HOST},  {"HostHeader", RULE_HOST},
    {"Path", RULE_PATH},  {"PathPrefix", RULE_PATH_PREFIX},
    {"HostRegexp", 0},    {"PathRegexp", 0},
    {"Method", 0},        {"Header", 0},
    {"HeaderRegexp", 0},  {"Headers", 0},
    {"HeadersRegexp", 0}, {"Query", 0},
    {"QueryRegexp", 0},   {"ClientIP", 0},
    {"HostSNI", 0},       {"HostSNIRegexp", 0},
    {"ALPN", 0},
};
#define MATCHER_COUNT (sizeof matchers / sizeof *matchers)

struct draft {
    uint8_t op;
    uint32_t text, len; /* in `chars`; len UINT32_MAX = no operand */
};

struct parser {
    struct span in;
    uint32_t at;     /* next byte */
    uint32_t nested; /* parentheses and NOTs around `at` */
    uint32_t stack, stack_max;
    bool lenient;
    struct buf nodes, chars;
    uint32_t error_at;
    struct why *why;
};

#define NO_OPERAND UINT32_MAX

static struct result fail(struct parser *p, uint32_t at, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

static struct result fail(struct parser *p, uint32_t at, const char *fmt, ...)
{
    char text[400];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    p->error_at = at;
    return why_fail(p->why, ERR_CONFIG, "character %u of the rule: %s", at + 1, text);
}

static void skip_blanks(struct parser *p)
{
    while (p->at < p->in.len && isspace(p->in.ptr[p->at]))
        p->at++;
}

static uint8_t peek(struct parser *p)
{
    skip_blanks(p);
    return p->at < p->in.len ? p->in.ptr[p->at] : 0;
}

static bool take_pair(struct parser *p, char c)
{
    if (peek(p) != c || p->at + 1 >= p->in.len || p->in.ptr[p->at + 1] != c)
        return false;
    p->at += 2;
    return true;
}

static struct result emit(struct parser *p, uint8_t op, const struct span *operand)
{
    struct draft d = {op, (uint32_t)p->chars.len, NO_OPERAND};
    if (operand) {
        d.len = (uint32_t)operand->len;
        buf_put_span(&p->chars, *operand);
        buf_put(&p->chars, "", 1);
    }
    if (op == RULE_AND || op == RULE_OR)
        p->stack--;
    else if (op != RULE_NOT)
        p->stack++;
    if (p->stack > p->stack_max)
        p->stack_max = p->stack;
    buf_put(&p->nodes, &d, sizeof d);
    if (p->stack_max > RULE_DEPTH_MAX)
        return fail(p, p->at, "the rule is nested too deep: %d levels are allowed", RULE_DEPTH_MAX);
    return result_ok();
}

/* "..." with \" and \\, or `...` as it stands. */
static struct result take_quoted(struct parser *p, struct buf *out)
{
    uint32_t start = p->at;
    uint8_t quote = p->in.ptr[p->at++];
    for (; p->at < p->in.len; p->at++) {
        uint8_t c = p->in.ptr[p->at];
        if (c == quote) {
            p->at++;
            return result_ok();
        }
        if (c == '\\' && quote == '"') {
            p->at++;
            c = p->at < p->in.len ? p->in.ptr[p->at] : 0;
            if (c != '"' && c != '\\')
                return fail(p, p->at - 1,
                            "only \\\" and \\\\ are known in double quotes; use back-quotes");
        }
        buf_put(out, &c, 1);
    }
    return fail(p, start, "this quote is not closed");
}

static struct result take_argument(struct parser *p, struct buf *out)
{
    uint8_t c = peek(p);
    if (c == '"' || c == '`')
        return take_quoted(p, out);
    uint32_t start = p->at;
    while (p->at < p->in.len && !strchr(",()\"'` \t\r\n", p->in.ptr[p->at]))
        buf_put(out, &p->in.ptr[p->at++], 1);
    if (p->at == start)
        return fail(p, start, "an argument in back-quotes or double quotes is expected");
    return result_ok();
}

static struct result check_host(struct parser *p, uint32_t at, struct buf *text)
{
    for (size_t i = 0; i < text->len; i++)
        text->ptr[i] = (uint8_t)tolower(text->ptr[i]);
    if (text->len > 1 && text->ptr[text->len - 1] == '.')
        text->len--;
    struct span host = buf_span(text);
    if (host.len && host.ptr[0] == '*')
        return fail(p, at, "Host() takes no wildcard");
    bool bracketed = host.len > 2 && host.ptr[0] == '[' && host.ptr[host.len - 1] == ']';
    if (value_is_name(host, false) || value_is_ip(host) ||
        (bracketed && value_is_ip(span_of(host.ptr + 1, host.len - 2))))
        return result_ok();
    return fail(p, at, "Host() takes a host name without port (international names as xn--...)");
}

static struct result check_operand(struct parser *p, uint8_t op, uint32_t at, struct buf *text)
{
    if (memchr(text->len ? text->ptr : (const uint8_t *)"", 0, text->len))
        return fail(p, at, "a NUL character cannot be matched");
    if (op == RULE_HOST)
        return check_host(p, at, text);
    if (text->len == 0 || text->ptr[0] != '/')
        return fail(p, at, "a path begins with a slash");
    return result_ok();
}

/* After "(": the arguments, joined by OR. */
static struct result take_arguments(struct parser *p, const struct matcher *m)
{
    for (uint32_t count = 0;; count++) {
        struct buf text = {0};
        peek(p);
        uint32_t at = p->at;
        struct result r = take_argument(p, &text);
        if (result_is_ok(r) && m->op)
            r = check_operand(p, m->op, at, &text);
        struct span operand = buf_span(&text);
        if (result_is_ok(r) && (m->op || count == 0))
            r = emit(p, m->op ? m->op : RULE_ANY, &operand);
        if (result_is_ok(r) && m->op && count > 0)
            r = emit(p, RULE_OR, NULL);
        buf_free(&text);
        TRY(r);
        uint8_t c = peek(p);
        if (c == ')') {
            p->at++;
            return result_ok();
        }
        if (c != ',')
            return fail(p, p->at, "a comma or a closing parenthesis is expected");
        p->at++;
    }
}

static struct result unknown_matcher(struct parser *p, uint32_t at, const char *name)
{
    const char *names[MATCHER_COUNT];
    for (size_t i = 0; i < MATCHER_COUNT; i++)
        names[i] = matchers[i].name;
    const char *near = problems_nearest(name, names, MATCHER_COUNT);
    return fail(p, at, "there is no matcher %s%s%s%s", name, near ? "; did you mean " : "",
                near ? near : "", near ? "?" : "; there are Host, Path and PathPrefix");
}

static struct result take_matcher(struct parser *p)
{
    char name[32] = {0};
    uint32_t start = p->at;
    size_t n = 0;
    while (p->at < p->in.len && isalnum(p->in.ptr[p->at]) && n < sizeof name - 1)
        name[n++] = (char)p->in.ptr[p->at++];
    if (n == 0)
        return fail(p, start, "a matcher such as Host(`a.test`) is expected");
    const struct matcher *m = NULL;
    for (size_t i = 0; i < MATCHER_COUNT && !m; i++)
        m = strcasecmp(matchers[i].name, name) == 0 ? &matchers[i] : NULL;
    if (!m)
        return unknown_matcher(p, start, name);
    if (!m->op && !p->lenient)
        return fail(p, start, "%s is known, but not available in this version of ferrule", m->name);
    if (peek(p) != '(')
        return fail(p, p->at, "an opening parenthesis is expected after %s", m->name);
    p->at++;
    return take_arguments(p, m);
}

static struct result take_or(struct parser *p);

static struct result take_unary(struct parser *p)
{
    uint8_t c = peek(p);
    if (c != '!' && c != '(')
        return take_matcher(p);
    uint32_t start = p->at++;
    if (++p->nested > RULE_DEPTH_MAX)
        return fail(p, start, "the rule is nested too deep: %d levels are allowed", RULE_DEPTH_MAX);
    TRY(c == '!' ? take_unary(p) : take_or(p));
    p->nested--;
    if (c == '!')
        return emit(p, RULE_NOT, NULL);
    if (peek(p) != ')')
        return fail(p, start, "this parenthesis is not closed");
    p->at++;
    return result_ok();
}

static struct result take_and(struct parser *p)
{
    TRY(take_unary(p));
    while (take_pair(p, '&')) {
        TRY(take_unary(p));
        TRY(emit(p, RULE_AND, NULL));
    }
    return result_ok();
}

static struct result take_or(struct parser *p)
{
    TRY(take_and(p));
    while (take_pair(p, '|')) {
        TRY(take_and(p));
        TRY(emit(p, RULE_OR, NULL));
    }
    return result_ok();
}

static struct result take_rule(struct parser *p)
{
    if (p->in.len > UINT16_MAX)
        return fail(p, UINT16_MAX, "a rule has at most %d characters", UINT16_MAX);
    TRY(take_or(p));
    if (peek(p))
        return fail(p, p->at, "&&, || or the end of the rule is expected");
    must(p->stack == 1);
    return result_ok();
}

/* Moves the drafts into one block: nodes, then their texts, then the rule's own. */
static void finish(struct parser *p, const char *text, struct rule *ret)
{
    uint32_t count = (uint32_t)(p->nodes.len / sizeof(struct draft));
    size_t own = strlen(text) + 1;
    struct rule_node *nodes = mem_zalloc(count * sizeof *nodes + p->chars.len + own);
    char *chars = (char *)(nodes + count);
    if (p->chars.len)
        memcpy(chars, p->chars.ptr, p->chars.len);
    memcpy(chars + p->chars.len, text, own);
    for (uint32_t i = 0; i < count; i++) {
        struct draft d;
        memcpy(&d, p->nodes.ptr + i * sizeof d, sizeof d);
        nodes[i] = (struct rule_node){d.op, d.len == NO_OPERAND ? NULL : chars + d.text};
    }
    *ret = (struct rule){chars + p->chars.len, nodes, count};
}

static struct result parse(const char *text, bool lenient, struct rule *ret,
                           uint32_t *ret_error_column, struct why *why)
{
    struct parser p = {.in = span_str(text), .lenient = lenient, .why = why};
    struct result r = take_rule(&p);
    if (!result_is_ok(r))
        *ret_error_column = p.error_at;
    else if (ret)
        finish(&p, text, ret);
    buf_free(&p.nodes);
    buf_free(&p.chars);
    return r;
}

struct result rule_parse(const char *text, struct rule *ret, uint32_t *ret_error_column,
                         struct why *why)
{
    return parse(text, false, ret, ret_error_column, why);
}

struct result rule_check(const char *text, uint32_t *ret_error_column, struct why *why)
{
    return parse(text, true, NULL, ret_error_column, why);
}

void rule_free(struct rule *rule)
{
    free(rule->nodes);
    *rule = (struct rule){0};
}

int rule_compare(const struct rule *a, const struct rule *b)
{
    if (a->node_count != b->node_count)
        return a->node_count < b->node_count ? -1 : 1;
    for (uint32_t i = 0; i < a->node_count; i++) {
        const struct rule_node *x = &a->nodes[i], *y = &b->nodes[i];
        int order = x->op != y->op ? x->op - y->op : x->text ? strcmp(x->text, y->text) : 0;
        if (order)
            return order;
    }
    return 0;
}

/* Marks, walking the program from its end, which nodes stand under an odd number of NOTs. */
static void mark_negated(const struct rule *rule, bool *negated)
{
    struct {
        uint32_t left; /* operands still to come */
        bool negated;
    } stack[RULE_DEPTH_MAX * 4] = {{1, false}};
    uint32_t top = 1;
    for (uint32_t i = rule->node_count; i-- > 0;) {
        while (top > 1 && stack[top - 1].left == 0)
            top--;
        must(stack[top - 1].left > 0);
        stack[top - 1].left--;
        bool inside = stack[top - 1].negated;
        uint8_t op = rule->nodes[i].op;
        negated[i] = inside;
        if (op != RULE_AND && op != RULE_OR && op != RULE_NOT)
            continue;
        while (top > 1 && stack[top - 1].left == 0)
            top--; /* a last operand needs no way back */
        must(top < sizeof stack / sizeof *stack);
        stack[top].left = op == RULE_NOT ? 1 : 2;
        stack[top++].negated = op == RULE_NOT ? !inside : inside;
    }
}

void rule_hosts(const struct rule *rule, void (*each)(void *arg, const char *host), void *arg)
{
    bool *negated = mem_zalloc(rule->node_count + 1);
    mark_negated(rule, negated);
    for (uint32_t i = 0; i < rule->node_count; i++) {
        const struct rule_node *n = &rule->nodes[i];
        bool seen = n->op != RULE_HOST || negated[i];
        for (uint32_t k = 0; k < i && !seen; k++) {
            const struct rule_node *m = &rule->nodes[k];
            seen = m->op == RULE_HOST && !negated[k] && strcmp(m->text, n->text) == 0;
        }
        if (!seen)
            each(arg, n->text);
    }
    free(negated);
}

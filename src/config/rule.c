/* SPDX-License-Identifier: Apache-2.0 */
#include "config/rule.h"

#include "base/must.h"
#include "config/rule_matcher.h"

#include <ctype.h>
#include <stdlib.h>

struct parser {
    struct span in;
    uint32_t at;     /* next byte */
    uint32_t nested; /* parentheses and NOTs around `at` */
    bool colons;     /* the latest matcher was of the oldest form, Host:a.test */
    enum rule_syntax syntax;
    struct rule_draft draft;
};

/* Arguments of one matcher. `text.ptr` is an offset in `chars` until all are there. */
struct args {
    struct buf chars;
    struct rule_arg *items;
    uint32_t count, capacity;
};

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

/* "..." with \" and \\, or `...` as it stands. */
static struct result take_quoted(struct parser *p, struct buf *out, bool *ret_raw)
{
    uint32_t start = p->at;
    uint8_t quote = p->in.ptr[p->at++];
    *ret_raw = true;
    for (; p->at < p->in.len; p->at++) {
        uint8_t c = p->in.ptr[p->at];
        if (c == quote) {
            p->at++;
            return result_ok();
        }
        if (c == '\\' && quote == '"') {
            *ret_raw = false;
            p->at++;
            c = p->at < p->in.len ? p->in.ptr[p->at] : 0;
            if (c != '"' && c != '\\')
                return rule_draft_fail(
                    &p->draft, p->at - 1,
                    "only \\\" and \\\\ are known in double quotes; use back-quotes");
        }
        buf_put(out, &c, 1);
    }
    return rule_draft_fail(&p->draft, start, "this quote is not closed");
}

/* Without quotes: up to one of `ends` that does not stand inside {braces}. */
static struct result take_bare(struct parser *p, const char *ends, struct buf *out)
{
    uint32_t start = p->at, depth = 0;
    while (p->at < p->in.len && (depth || !strchr(ends, p->in.ptr[p->at]))) {
        uint8_t c = p->in.ptr[p->at++];
        depth += c == '{';
        depth -= c == '}' && depth;
        buf_put(out, &c, 1);
    }
    if (p->at == start)
        return rule_draft_fail(&p->draft, start,
                               "an argument in back-quotes or double quotes is expected");
    return result_ok();
}

static struct result take_argument(struct parser *p, const char *ends, struct args *args)
{
    uint8_t c = peek(p);
    struct rule_arg a = {.at = p->at, .raw = true, .quoted = c == '"' || c == '`'};
    size_t start = args->chars.len;
    if (a.quoted)
        TRY(take_quoted(p, &args->chars, &a.raw));
    else
        TRY(take_bare(p, ends, &args->chars));
    a.text = (struct span){(const uint8_t *)start, args->chars.len - start};
    buf_put(&args->chars, "", 1);
    if (args->count == args->capacity) {
        args->capacity = args->capacity ? args->capacity * 2 : 4;
        args->items = mem_grow(args->items, args->capacity * sizeof *args->items);
    }
    args->items[args->count++] = a;
    return result_ok();
}

/* Behind the opening parenthesis. */
static struct result take_arguments(struct parser *p, struct args *args)
{
    for (;;) {
        TRY(take_argument(p, ",()\"'` \t\r\n", args));
        uint8_t c = peek(p);
        if (c != ')' && c != ',')
            return rule_draft_fail(&p->draft, p->at,
                                   "a comma or a closing parenthesis is expected");
        p->at++;
        if (c == ')')
            return result_ok();
    }
}

/* Behind the colon of "Host:a.test,b.test;PathPrefix:/x". */
static struct result take_values(struct parser *p, struct args *args)
{
    for (;;) {
        TRY(take_argument(p, ",; \t\r\n", args));
        if (peek(p) != ',')
            return result_ok();
        p->at++;
    }
}

static struct result put_matcher(struct parser *p, uint32_t at, const struct rule_matcher *m,
                                 struct args *args)
{
    for (uint32_t i = 0; i < args->count; i++)
        args->items[i].text.ptr = args->chars.ptr + (size_t)args->items[i].text.ptr;
    return rule_matcher_put(&p->draft, at, m, args->items, args->count);
}

static struct result take_matcher(struct parser *p)
{
    char name[32] = {0};
    uint32_t start = p->at;
    size_t n = 0;
    while (p->at < p->in.len && isalnum(p->in.ptr[p->at]) && n < sizeof name - 1)
        name[n++] = (char)p->in.ptr[p->at++];
    if (n == 0)
        return rule_draft_fail(&p->draft, start, "a matcher such as Host(`a.test`) is expected");
    const struct rule_matcher *m;
    uint8_t c = peek(p);
    p->colons = c == ':' && p->syntax != RULE_TCP;
    TRY(rule_matcher_find(&p->draft, start, name, p->colons ? RULE_V2 : p->syntax, &m));
    if (c != '(' && !p->colons)
        return rule_draft_fail(&p->draft, p->at, "an opening parenthesis is expected after %s",
                               rule_matcher_name(m));
    p->at++;
    struct args args = {0};
    struct result r = p->colons ? take_values(p, &args) : take_arguments(p, &args);
    if (result_is_ok(r))
        r = put_matcher(p, start, m, &args);
    buf_free(&args.chars);
    free(args.items);
    return r;
}

static struct result take_or(struct parser *p);

static struct result take_unary(struct parser *p)
{
    uint8_t c = peek(p);
    if (c != '!' && c != '(')
        return take_matcher(p);
    uint32_t start = p->at++;
    if (++p->nested > RULE_DEPTH_MAX)
        return rule_draft_fail(
            &p->draft, start, "the rule is nested too deep: %d levels are allowed", RULE_DEPTH_MAX);
    TRY(c == '!' ? take_unary(p) : take_or(p));
    p->nested--;
    if (c == '!')
        return rule_draft_put(&p->draft, start, RULE_NOT, NULL, NULL);
    if (peek(p) != ')')
        return rule_draft_fail(&p->draft, start, "this parenthesis is not closed");
    p->at++;
    return result_ok();
}

/* ";" joined the matchers of the oldest form. */
static bool take_and_sign(struct parser *p)
{
    if (!p->colons || peek(p) != ';')
        return take_pair(p, '&');
    p->at++;
    return true;
}

static struct result take_and(struct parser *p)
{
    TRY(take_unary(p));
    while (take_and_sign(p)) {
        TRY(take_unary(p));
        TRY(rule_draft_put(&p->draft, p->at, RULE_AND, NULL, NULL));
    }
    return result_ok();
}

static struct result take_or(struct parser *p)
{
    TRY(take_and(p));
    while (take_pair(p, '|')) {
        TRY(take_and(p));
        TRY(rule_draft_put(&p->draft, p->at, RULE_OR, NULL, NULL));
    }
    return result_ok();
}

static struct result take_rule(struct parser *p)
{
    if (p->in.len > UINT16_MAX)
        return rule_draft_fail(&p->draft, UINT16_MAX, "a rule has at most %d characters",
                               UINT16_MAX);
    TRY(take_or(p));
    if (peek(p))
        return rule_draft_fail(&p->draft, p->at, "&&, || or the end of the rule is expected");
    must(p->draft.stack == 1);
    return result_ok();
}

static struct result parse(const char *text, enum rule_syntax syntax, struct rule *ret,
                           uint32_t *ret_error_column, struct why *why)
{
    struct parser p = {.in = span_str(text), .syntax = syntax, .draft.why = why};
    struct result r = take_rule(&p);
    if (!result_is_ok(r))
        *ret_error_column = p.draft.error_at;
    else if (ret)
        rule_draft_finish(&p.draft, text, ret);
    rule_draft_free(&p.draft);
    return r;
}

struct result rule_parse(const char *text, enum rule_syntax syntax, struct rule *ret,
                         uint32_t *ret_error_column, struct why *why)
{
    return parse(text, syntax, ret, ret_error_column, why);
}

struct result rule_check(const char *text, enum rule_syntax syntax, uint32_t *ret_error_column,
                         struct why *why)
{
    uint32_t unused;
    struct result r = parse(text, syntax, NULL, ret_error_column, why);
    if (!result_is_ok(r) && syntax == RULE_V3)
        return result_is_ok(parse(text, RULE_V2, NULL, &unused, NULL)) ? result_ok() : r;
    return r;
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
        int order = x->op - y->op; /* the same operator has the same operands */
        if (!order && x->text)
            order = strcmp(x->text, y->text);
        bool field = x->op == RULE_HEADER || x->op == RULE_HEADER_REGEXP;
        if (!order && x->name)
            order = field ? strcasecmp(x->name, y->name) : strcmp(x->name, y->name);
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

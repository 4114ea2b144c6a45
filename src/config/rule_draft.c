/* SPDX-License-Identifier: Apache-2.0 */
#include "config/rule_draft.h"

#include <stdio.h>

#define NO_OPERAND UINT32_MAX

struct draft_node {
    uint8_t op;
    uint32_t name, text; /* in `chars`, NO_OPERAND = none */
};

struct result rule_draft_fail(struct rule_draft *d, uint32_t at, const char *fmt, ...)
{
    char text[400];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    d->error_at = at;
    return why_fail(d->why, ERR_CONFIG, "character %u of the rule: %s", at + 1, text);
}

static uint32_t put_chars(struct rule_draft *d, const struct span *operand)
{
    uint32_t at = (uint32_t)d->chars.len;
    if (!operand)
        return NO_OPERAND;
    buf_put_span(&d->chars, *operand);
    buf_put(&d->chars, "", 1);
    return at;
}

struct result rule_draft_put(struct rule_draft *d, uint32_t at, enum rule_op op,
                             const struct span *name, const struct span *text)
{
    struct draft_node node = {.op = (uint8_t)op};
    node.name = put_chars(d, name);
    node.text = put_chars(d, text);
    if (op == RULE_AND || op == RULE_OR)
        d->stack--;
    else if (op != RULE_NOT)
        d->stack++;
    if (d->stack > d->stack_max)
        d->stack_max = d->stack;
    buf_put(&d->nodes, &node, sizeof node);
    if (d->stack_max > RULE_DEPTH_MAX)
        return rule_draft_fail(d, at, "the rule is nested too deep: %d levels are allowed",
                               RULE_DEPTH_MAX);
    return result_ok();
}

void rule_draft_finish(const struct rule_draft *d, const char *text, struct rule *ret)
{
    uint32_t count = (uint32_t)(d->nodes.len / sizeof(struct draft_node));
    size_t own = strlen(text) + 1;
    struct rule_node *nodes = mem_zalloc(count * sizeof *nodes + d->chars.len + own);
    char *chars = (char *)(nodes + count);
    if (d->chars.len)
        memcpy(chars, d->chars.ptr, d->chars.len);
    memcpy(chars + d->chars.len, text, own);
    for (uint32_t i = 0; i < count; i++) {
        struct draft_node n;
        memcpy(&n, d->nodes.ptr + i * sizeof n, sizeof n);
        nodes[i] = (struct rule_node){n.op, n.text == NO_OPERAND ? NULL : chars + n.text,
                                      n.name == NO_OPERAND ? NULL : chars + n.name};
    }
    *ret = (struct rule){chars + d->chars.len, nodes, count};
}

void rule_draft_free(struct rule_draft *d)
{
    buf_free(&d->nodes);
    buf_free(&d->chars);
}

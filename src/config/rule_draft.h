/* SPDX-License-Identifier: Apache-2.0 */
/* config/rule_draft.h - the program of a rule while it is being parsed.
 * Thread: any.   Owns: its two buffers (rule_draft_free()).
 * Never: reads the rule's text. */
#pragma once

#include "config/rule.h"

struct rule_draft {
    struct buf nodes, chars;
    uint32_t stack, stack_max; /* of the evaluation */
    uint32_t error_at;         /* byte of the rule */
    struct why *why;
};

/* The text of one argument and where it stands in the rule. */
struct rule_arg {
    uint32_t at; /* first byte of the argument, quote and all */
    bool raw;    /* stands in the rule as it is, behind `quoted` bytes */
    uint8_t quoted;
    struct span text; /* NUL-terminated behind its end */
};

/* Appends a node; name and text may be NULL. Fails when the evaluation would become too deep. */
struct result rule_draft_put(struct rule_draft *d, uint32_t at, enum rule_op op,
                             const struct span *name, const struct span *text);
/* ERR_CONFIG with the place in front: "character N of the rule: ...". */
struct result rule_draft_fail(struct rule_draft *d, uint32_t at, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
/* Moves the nodes into one block together with the rule's own text. */
void rule_draft_finish(const struct rule_draft *d, const char *text, struct rule *ret);
void rule_draft_free(struct rule_draft *d);

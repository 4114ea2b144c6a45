/* SPDX-License-Identifier: Apache-2.0 */
/* config/rule.h - Traefik's rule language: Host(`a.test`) && (PathPrefix(`/x`) || !Path(`/y`)).
 * Thread: any.   Owns: the nodes of a parsed rule (the configuration's arena).
 * Never: matches a request (data/route does, over the same postfix program). */
#pragma once

#include "base/buf.h"
#include "base/result.h"

enum rule_op {
    RULE_HOST = 1,
    RULE_PATH,
    RULE_PATH_PREFIX,
    RULE_AND,
    RULE_OR,
    RULE_NOT,
    RULE_ANY,
};

struct rule_node {
    uint8_t op;       /* enum rule_op */
    const char *text; /* operand of a matcher, NULL for operators */
};

/* Postfix: operands before their operator. The evaluation stack never needs more than
 * RULE_DEPTH_MAX. */
#define RULE_DEPTH_MAX 32
struct rule {
    const char *text; /* as written */
    struct rule_node *nodes;
    uint32_t node_count;
};

/* Parses a rule; on failure *ret_error_column is the byte (from 0) within the rule. Host names
 * become lower case. Host(`a`, `b`) is a || b, and so is the old Host(a, b) without quotes. A
 * matcher that Traefik has and ferrule does not is an error that says so. ERR_CONFIG. Free with
 * rule_free(). */
struct result rule_parse(const char *text, struct rule *ret, uint32_t *ret_error_column,
                         struct why *why);
/* As rule_parse(), but only judges: matchers that Traefik has pass with any arguments. */
struct result rule_check(const char *text, uint32_t *ret_error_column, struct why *why);
/* A zero-initialised rule is fine. */
void rule_free(struct rule *rule);
/* An order of programs: 0 when both are the same (blanks and the kind of quotes do not matter). */
int rule_compare(const struct rule *a, const struct rule *b);
/* Host names that the rule asks for, in order, without duplicates; not those under a `!`. Calls
 * `each` for every one. */
void rule_hosts(const struct rule *rule, void (*each)(void *arg, const char *host), void *arg);

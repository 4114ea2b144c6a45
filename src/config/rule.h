/* SPDX-License-Identifier: Apache-2.0 */
/* config/rule.h - Traefik's rule language: Host(`a.test`) && (PathPrefix(`/x`) || !Path(`/y`)), in
 * the forms of its third and second version and the older ones without quotes. Thread: any.   Owns:
 * the nodes of a parsed rule (one block, rule_free()). Never: matches a request (data/route does,
 * over the same postfix program). */
#pragma once

#include "base/buf.h"
#include "base/result.h"

enum rule_op {
    RULE_HOST = 1, /* text: lower-case name; in TCP rules "*." may stand in front */
    RULE_PATH,
    RULE_PATH_PREFIX,
    RULE_AND,
    RULE_OR,
    RULE_NOT,
    RULE_ANY,           /* always true */
    RULE_HOST_REGEXP,   /* text: the expression */
    RULE_PATH_REGEXP,   /* text: the expression */
    RULE_METHOD,        /* text: upper case */
    RULE_HEADER,        /* a field `name` has exactly the value `text` */
    RULE_HEADER_REGEXP, /* a field `name` has a value that matches `text`; "" = is there */
    RULE_QUERY,         /* a parameter `name` has exactly the value `text` */
    RULE_QUERY_REGEXP,  /* a parameter `name` has a value that matches `text`; "" = is there */
    RULE_CLIENT_IP,     /* text: an address or CIDR range */
    RULE_ALPN,          /* text: a protocol that the client offers; TCP only */
};

struct rule_node {
    uint8_t op;       /* enum rule_op */
    const char *text; /* operand of a matcher, NULL for operators */
    const char *name; /* of a field or parameter, else NULL */
};

enum rule_syntax {
    RULE_V3 = 0,
    RULE_V2,
    RULE_TCP, /* rules of tcp.routers: HostSNI, HostSNIRegexp, ClientIP, ALPN */
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
 * become lower case, methods upper case, v2's templates regular expressions, which are compiled to
 * see that they are good. Several values mean "or": Host(`a`, `b`), and so the old Host(a, b) and
 * Host:a,b. A matcher of another syntax is an error that says so. ERR_CONFIG. Free with
 * rule_free().
 */
struct result rule_parse(const char *text, enum rule_syntax syntax, struct rule *ret,
                         uint32_t *ret_error_column, struct why *why);
/* As rule_parse(), but only judges, where nobody knows yet which version is meant: good as v3 or v2
 * is good. With RULE_TCP it is that. */
struct result rule_check(const char *text, enum rule_syntax syntax, uint32_t *ret_error_column,
                         struct why *why);
/* A zero-initialised rule is fine. */
void rule_free(struct rule *rule);
/* An order of programs: 0 when both are the same (blanks and the kind of quotes do not matter). */
int rule_compare(const struct rule *a, const struct rule *b);
/* Host names that the rule asks for, in order, without duplicates; not those under a `!`. Calls
 * `each` for every one. */
void rule_hosts(const struct rule *rule, void (*each)(void *arg, const char *host), void *arg);

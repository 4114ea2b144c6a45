/* SPDX-License-Identifier: Apache-2.0 */
/* Targets: rule_parse rule_check rule_hosts rule_compare rule_template_regex */
#include "fuzz.h"

#include "config/rule.h"

#include <stdlib.h>

static void see_host(void *arg, const char *host)
{
    must(*host);
    (*(uint32_t *)arg)++;
}

/* Runs the program as data/route does, on the depth alone. */
static uint32_t depth_of(const struct rule *rule)
{
    uint32_t depth = 0, deepest = 0;
    for (uint32_t i = 0; i < rule->node_count; i++) {
        uint8_t op = rule->nodes[i].op;
        bool matcher = op != RULE_AND && op != RULE_OR && op != RULE_NOT;
        bool named = op == RULE_HEADER || op == RULE_HEADER_REGEXP || op == RULE_QUERY ||
                     op == RULE_QUERY_REGEXP;
        must(matcher == (rule->nodes[i].text != NULL));
        must(named == (rule->nodes[i].name != NULL));
        must(matcher || depth >= (op == RULE_NOT ? 1u : 2u));
        if (matcher)
            depth++;
        else if (op != RULE_NOT)
            depth--;
        deepest = depth > deepest ? depth : deepest;
    }
    must(depth == 1);
    return deepest;
}

static bool parse(const char *text, enum rule_syntax syntax)
{
    struct rule rule;
    struct why why;
    uint32_t column = 0, hosts = 0;
    if (!result_is_ok(rule_parse(text, syntax, &rule, &column, &why))) {
        must(column <= strlen(text));
        return false;
    }
    must(depth_of(&rule) <= RULE_DEPTH_MAX);
    must(rule_compare(&rule, &rule) == 0);
    rule_hosts(&rule, see_host, &hosts);
    must(hosts <= rule.node_count);
    rule_free(&rule);
    return true;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *text = mem_strndup(data, size);
    struct why why;
    uint32_t column = 0;
    bool v3 = parse(text, RULE_V3), v2 = parse(text, RULE_V2), tcp = parse(text, RULE_TCP);
    must(result_is_ok(rule_check(text, RULE_V3, &column, &why)) == (v3 || v2));
    must(result_is_ok(rule_check(text, RULE_TCP, &column, &why)) == tcp);
    free(text);
    return 0;
}

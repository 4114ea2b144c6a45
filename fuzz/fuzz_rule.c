/* SPDX-License-Identifier: Apache-2.0 */
/* Targets: rule_parse rule_check rule_hosts rule_compare */
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
        bool matcher = op == RULE_HOST || op == RULE_PATH || op == RULE_PATH_PREFIX;
        must(matcher == (rule->nodes[i].text != NULL));
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

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *text = mem_strndup(data, size);
    struct rule rule;
    struct why why;
    uint32_t column = 0, hosts = 0;
    bool checked = result_is_ok(rule_check(text, &column, &why));
    must(checked || column <= strlen(text));
    if (result_is_ok(rule_parse(text, &rule, &column, &why))) {
        must(checked);
        must(depth_of(&rule) <= RULE_DEPTH_MAX);
        must(rule_compare(&rule, &rule) == 0);
        rule_hosts(&rule, see_host, &hosts);
        must(hosts <= rule.node_count);
        rule_free(&rule);
    }
    free(text);
    return 0;
}

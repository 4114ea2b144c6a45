/* SPDX-License-Identifier: Apache-2.0 */
#include "control/snapshot_rules.h"

#include "base/buf.h"
#include "control/snapshot_build.h"

#include <stdlib.h>

#define SAME(name) ((int)SNAP_##name == (int)name)
_Static_assert(SAME(RULE_HOST) && SAME(RULE_PATH) && SAME(RULE_PATH_PREFIX) && SAME(RULE_AND) &&
                   SAME(RULE_OR) && SAME(RULE_NOT) && SAME(RULE_ANY) && SAME(RULE_HOST_REGEXP) &&
                   SAME(RULE_PATH_REGEXP) && SAME(RULE_METHOD) && SAME(RULE_HEADER) &&
                   SAME(RULE_HEADER_REGEXP) && SAME(RULE_QUERY) && SAME(RULE_QUERY_REGEXP) &&
                   SAME(RULE_CLIENT_IP) && SAME(RULE_ALPN),
               "rules are copied operator by operator");
#undef SAME

struct snapshot_rules {
    struct snapshot *s;
    uint32_t *slots; /* index of a regex + 1; 0 = empty */
    uint32_t size;   /* of `slots`, a power of two; `regexes` has room for half of it */
};

struct snapshot_rules *snapshot_rules_create(struct snapshot *s)
{
    struct snapshot_rules *r = mem_zalloc(sizeof *r);
    r->s = s;
    r->size = 16;
    r->slots = mem_zalloc(r->size * sizeof *r->slots);
    s->regexes = mem_zalloc(r->size / 2 * sizeof *s->regexes);
    return r;
}

void snapshot_rules_destroy(struct snapshot_rules *r)
{
    if (!r)
        return;
    free(r->slots);
    free(r);
}

static uint32_t *slot_of(struct snapshot_rules *r, struct span pattern)
{
    uint64_t h = 14695981039346656037ull; /* FNV-1a */
    for (size_t i = 0; i < pattern.len; i++)
        h = (h ^ pattern.ptr[i]) * 1099511628211ull;
    for (h ^= h >> 32;; h++) {
        uint32_t *slot = &r->slots[h & (r->size - 1)];
        if (!*slot || span_eq(r->s->regexes[*slot - 1].pattern, pattern))
            return slot;
    }
}

static void grow(struct snapshot_rules *r)
{
    r->size *= 2;
    free(r->slots);
    r->slots = mem_zalloc(r->size * sizeof *r->slots);
    r->s->regexes = mem_grow(r->s->regexes, r->size / 2 * sizeof *r->s->regexes);
    for (uint32_t i = 0; i < r->s->regex_count; i++)
        *slot_of(r, r->s->regexes[i].pattern) = i + 1;
}

uint32_t snapshot_rules_regex(struct snapshot_rules *r, struct span pattern)
{
    uint32_t *slot = slot_of(r, pattern);
    if (*slot)
        return *slot - 1;
    if (r->s->regex_count == r->size / 2) {
        grow(r);
        slot = slot_of(r, pattern);
    }
    r->s->regexes[r->s->regex_count] = (struct snap_regex){pattern};
    *slot = ++r->s->regex_count;
    return *slot - 1;
}

uint32_t snapshot_rules_prefixes(const struct rule *rule)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < rule->node_count; i++)
        count += rule->nodes[i].op == RULE_CLIENT_IP;
    return count;
}

void snapshot_rules_put(struct snapshot_rules *r, const struct rule *rule)
{
    struct snapshot *s = r->s;
    for (uint32_t i = 0; i < rule->node_count; i++) {
        const struct rule_node *n = &rule->nodes[i];
        struct snap_rule_node *out = &s->rule_nodes[s->rule_node_count++];
        *out = (struct snap_rule_node){.op = n->op, .name = span_str(n->name)};
        switch ((enum rule_op)n->op) {
        case RULE_HOST_REGEXP:
        case RULE_PATH_REGEXP:
        case RULE_HEADER_REGEXP:
        case RULE_QUERY_REGEXP:
            out->number = snapshot_rules_regex(r, span_str(n->text));
            break;
        case RULE_CLIENT_IP:
            out->number = s->prefix_count;
            s->prefixes[s->prefix_count++] = snapshot_build_prefix(n->text);
            break;
        default:
            out->text = span_str(n->text);
        }
    }
}

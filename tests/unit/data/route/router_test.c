/* SPDX-License-Identifier: Apache-2.0 */
#include "data/route/router.c"

#include "unit.h"

#include <stdio.h>

/* A snapshot under construction: rules are given as words in postfix order, such as
 * "h:a.test p:/x &". */
struct sketch {
    struct snapshot s;
    struct snap_entrypoint entrypoints[2];
    struct snap_router routers[64];
    struct snap_rule_node nodes[512];
};

static void add(struct sketch *k, uint32_t entrypoint, bool tls, const char *rule)
{
    struct snap_router *r = &k->routers[k->s.router_count];
    *r = (struct snap_router){.first_node = k->s.rule_node_count,
                              .entrypoint = entrypoint,
                              .tls = tls ? k->s.router_count : SNAP_NONE};
    for (struct span rest = span_str(rule); rest.len;) {
        struct span word = span_first(rest, span_find(rest, ' '));
        rest = span_skip(rest, word.len + 1);
        struct snap_rule_node *n = &k->nodes[k->s.rule_node_count++];
        n->text = span_skip(word, 2);
        n->op = word.ptr[0] == 'h'   ? SNAP_RULE_HOST
                : word.ptr[0] == 'e' ? SNAP_RULE_PATH
                : word.ptr[0] == 'p' ? SNAP_RULE_PATH_PREFIX
                : word.ptr[0] == '&' ? SNAP_RULE_AND
                : word.ptr[0] == '|' ? SNAP_RULE_OR
                : word.ptr[0] == '!' ? SNAP_RULE_NOT
                                     : SNAP_RULE_ANY;
        r->node_count++;
    }
    k->s.router_count++;
    k->entrypoints[entrypoint].router_count++;
}

/* Routers of entry point 0 come first. */
static struct router_index *finish(struct sketch *k)
{
    k->s.entrypoints = k->entrypoints;
    k->s.entrypoint_count = 2;
    k->s.routers = k->routers;
    k->s.rule_nodes = k->nodes;
    k->entrypoints[1].first_router = k->entrypoints[0].router_count;
    return router_index_create(&k->s);
}

static int match(const struct router_index *x, uint32_t entrypoint, bool tls, const char *authority,
                 const char *path)
{
    char memory[ROUTER_HOST_MAX + 1];
    struct span host = router_host(span_str(authority), memory);
    const struct snap_router *r = router_match(x, entrypoint, tls, host, span_str(path));
    return r ? (int)(r - x->snapshot->routers) : -1;
}

static void hosts_and_paths(void **state)
{
    struct sketch k = {0};
    add(&k, 0, false, "h:a.test p:/api &");     /* 0 */
    add(&k, 0, false, "h:a.test");              /* 1 */
    add(&k, 0, false, "h:b.test h:c.test |");   /* 2 */
    add(&k, 0, false, "e:/only");               /* 3 */
    add(&k, 0, false, "h:d.test ! p:/not-d &"); /* 4 */
    add(&k, 0, false, "h:e.test. p:/x ! &");    /* 5 */
    add(&k, 1, false, "*");                     /* 6 */
    struct router_index *x = finish(&k);
    assert_int_equal(match(x, 0, false, "a.test", "/api/1"), 0);
    assert_int_equal(match(x, 0, false, "A.Test:8080", "/other"), 1);
    assert_int_equal(match(x, 0, false, "a.test.", "/"), 1);
    assert_int_equal(match(x, 0, false, "b.test", "/"), 2);
    assert_int_equal(match(x, 0, false, "c.test", "/"), 2);
    assert_int_equal(match(x, 0, false, "z.test", "/only"), 3);
    assert_int_equal(match(x, 0, false, "z.test", "/only/"), -1);
    assert_int_equal(match(x, 0, false, "z.test", "/not-d"), 4);
    assert_int_equal(match(x, 0, false, "d.test", "/not-d"), -1);
    assert_int_equal(match(x, 0, false, "e.test", "/y"), 5);
    assert_int_equal(match(x, 0, false, "e.test", "/x"), -1);
    assert_int_equal(match(x, 0, false, "", "/"), -1);
    assert_int_equal(match(x, 1, false, "", "/"), 6);
    router_index_destroy(x);
}

/* A router that demands no host stands before one that does: the order of the snapshot counts. */
static void order_is_kept_across_lists(void **state)
{
    struct sketch k = {0};
    add(&k, 0, false, "h:a.test p:/deep/er &"); /* 0 */
    add(&k, 0, false, "p:/deep");               /* 1 */
    add(&k, 0, false, "h:a.test");              /* 2 */
    add(&k, 0, false, "*");                     /* 3 */
    struct router_index *x = finish(&k);
    assert_int_equal(match(x, 0, false, "a.test", "/deep/er/x"), 0);
    assert_int_equal(match(x, 0, false, "a.test", "/deep/x"), 1);
    assert_int_equal(match(x, 0, false, "a.test", "/"), 2);
    assert_int_equal(match(x, 0, false, "b.test", "/"), 3);
    router_index_destroy(x);
}

static void tls_and_plain_do_not_mix(void **state)
{
    struct sketch k = {0};
    add(&k, 0, true, "h:a.test");  /* 0 */
    add(&k, 0, false, "h:a.test"); /* 1 */
    add(&k, 0, true, "h:b.test p:/x &");
    struct router_index *x = finish(&k);
    assert_int_equal(match(x, 0, true, "a.test", "/"), 0);
    assert_int_equal(match(x, 0, false, "a.test", "/"), 1);
    assert_int_equal(match(x, 0, false, "b.test", "/x"), -1);
    router_index_destroy(x);
}

static void precedence_of_operators_is_the_postfix_order(void **state)
{
    struct sketch k = {0};
    add(&k, 0, false, "h:a.test h:b.test | p:/x & h:c.test |"); /* ((a || b) && /x) || c */
    add(&k, 0, false, "p:/y p:/z h:f.test & |");                /* /y || (/z && f) */
    struct router_index *x = finish(&k);
    assert_int_equal(match(x, 0, false, "a.test", "/x"), 0);
    assert_int_equal(match(x, 0, false, "a.test", "/"), -1);
    assert_int_equal(match(x, 0, false, "b.test", "/x1"), 0);
    assert_int_equal(match(x, 0, false, "c.test", "/"), 0);
    assert_int_equal(match(x, 0, false, "any.test", "/y"), 1);
    assert_int_equal(match(x, 0, false, "f.test", "/z"), 1);
    assert_int_equal(match(x, 0, false, "g.test", "/z"), -1);
    router_index_destroy(x);
}

static unsigned next(unsigned below)
{
    static uint64_t seed = 88172645463325252ull;
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return (unsigned)(seed % below);
}

/* The index must give what walking over all routers gives, whatever the rules are. */
static void index_agrees_with_walking(void **state)
{
    for (int round = 0; round < 300; round++) {
        struct sketch k = {0};
        char rules[12][256] = {0}; /* the sketch points into them */
        for (int i = 0; i < 12; i++) {
            char *rule = rules[i];
            int depth = 0;
            for (size_t n = 0; depth != 1 || next(3);) {
                const char *ops[] = {"&", "|"};
                if (depth >= 2 && next(2))
                    n += (size_t)sprintf(rule + n, "%s ", ops[next(2)]), depth--;
                else if (depth >= 1 && next(4) == 0)
                    n += (size_t)sprintf(rule + n, "! ");
                else if (depth < 6)
                    n += (size_t)sprintf(rule + n, next(2) ? "h:h%d " : "p:/%d ", (int)next(4)),
                        depth++;
                if (n > 200) {
                    rule[0] = 0, n = 0, depth = 0;
                }
            }
            rule[strlen(rule) - 1] = 0;
            add(&k, 0, next(2), rule);
        }
        struct router_index *x = finish(&k);
        for (int host = 0; host < 5; host++) {
            for (int path = 0; path < 5; path++) {
                char h[16], p[16];
                sprintf(h, "h%d", host);
                sprintf(p, "/%d", path);
                for (int tls = 0; tls < 2; tls++) {
                    int want = -1;
                    for (uint32_t i = 0; i < k.s.router_count && want < 0; i++)
                        if ((k.routers[i].tls != SNAP_NONE) == tls &&
                            rule_holds(&k.s, &k.routers[i], span_str(h), span_str(p)))
                            want = (int)i;
                    assert_int_equal(match(x, 0, tls, h, p), want);
                }
            }
        }
        router_index_destroy(x);
    }
}

static void host_of_authority(void **state)
{
    char m[ROUTER_HOST_MAX + 1];
    assert_true(span_eq(router_host(SPAN_LITERAL("[FE80::1]:80"), m), SPAN_LITERAL("fe80::1")));
    assert_true(span_eq(router_host(SPAN_LITERAL("X.y."), m), SPAN_LITERAL("x.y")));
    assert_true(span_eq(router_host(SPAN_LITERAL("h:1"), m), SPAN_LITERAL("h")));
    char longest[400];
    memset(longest, 'a', sizeof longest);
    assert_int_equal(router_host(span_of(longest, 400), m).len, 0);
    assert_int_equal(router_host(span_of(longest, 255), m).len, 255);
}

UNIT_TESTS(cmocka_unit_test(hosts_and_paths), cmocka_unit_test(order_is_kept_across_lists),
           cmocka_unit_test(tls_and_plain_do_not_mix),
           cmocka_unit_test(precedence_of_operators_is_the_postfix_order),
           cmocka_unit_test(index_agrees_with_walking), cmocka_unit_test(host_of_authority))

/* SPDX-License-Identifier: Apache-2.0 */
#include "data/route/router.c"

#include "unit.h"

#include <arpa/inet.h>
#include <stdio.h>

/* A snapshot under construction: rules are given as words in postfix order, such as
 * "h:a.test p:/x &". H, P: expressions for host and path. m: method. f:NAME=VALUE, F: field.
 * q:NAME=VALUE, Q: parameter. c: IPv4 address and bits. */
struct sketch {
    struct snapshot s;
    struct snap_entrypoint entrypoints[2];
    struct snap_router routers[64];
    struct snap_rule_node nodes[512];
    struct snap_regex regexes[64];
    struct snap_prefix prefixes[16];
};

static const struct {
    char letter;
    enum snap_rule_op op;
} letters[] = {
    {'h', SNAP_RULE_HOST},      {'e', SNAP_RULE_PATH},        {'p', SNAP_RULE_PATH_PREFIX},
    {'&', SNAP_RULE_AND},       {'|', SNAP_RULE_OR},          {'!', SNAP_RULE_NOT},
    {'*', SNAP_RULE_ANY},       {'H', SNAP_RULE_HOST_REGEXP}, {'P', SNAP_RULE_PATH_REGEXP},
    {'m', SNAP_RULE_METHOD},    {'f', SNAP_RULE_HEADER},      {'F', SNAP_RULE_HEADER_REGEXP},
    {'a', SNAP_RULE_ALPN},      {'q', SNAP_RULE_QUERY},       {'Q', SNAP_RULE_QUERY_REGEXP},
    {'c', SNAP_RULE_CLIENT_IP},
};

static void add_node(struct sketch *k, struct span word)
{
    struct snap_rule_node *n = &k->nodes[k->s.rule_node_count++];
    for (size_t i = 0; i < sizeof letters / sizeof *letters; i++)
        n->op = letters[i].letter == word.ptr[0] ? letters[i].op : n->op;
    n->text = span_skip(word, 2);
    bool regex = strchr("HPFQ", word.ptr[0]) != NULL;
    if (strchr("fFqQ", word.ptr[0])) {
        n->name = span_first(n->text, span_find(n->text, '='));
        n->text = span_skip(n->text, n->name.len + 1);
    }
    if (regex) {
        n->number = k->s.regex_count;
        k->regexes[k->s.regex_count++].pattern = n->text;
    } else if (n->op == SNAP_RULE_CLIENT_IP) {
        char address[32] = {0};
        size_t slash = span_find(n->text, '/');
        struct snap_prefix *p = &k->prefixes[k->s.prefix_count];
        memcpy(address, n->text.ptr, slash);
        p->address[10] = p->address[11] = 0xff;
        assert_int_equal(inet_pton(AF_INET, address, p->address + 12), 1);
        p->bits = (uint8_t)(96 + atoi((const char *)n->text.ptr + slash + 1));
        n->number = k->s.prefix_count++;
    }
    if (regex || n->op == SNAP_RULE_CLIENT_IP)
        n->text.len = 0;
}

static void add(struct sketch *k, uint32_t entrypoint, bool tls, const char *rule)
{
    struct snap_router *r = &k->routers[k->s.router_count];
    *r = (struct snap_router){.first_node = k->s.rule_node_count,
                              .entrypoint = entrypoint,
                              .tls = tls ? k->s.router_count : SNAP_NONE};
    for (struct span rest = span_str(rule); rest.len;) {
        struct span word = span_first(rest, span_find(rest, ' '));
        rest = span_skip(rest, word.len + 1);
        add_node(k, word);
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
    k->s.regexes = k->regexes;
    k->s.prefixes = k->prefixes;
    k->entrypoints[1].first_router = k->entrypoints[0].router_count;
    return router_index_create(&k->s);
}

static int match_request(const struct router_index *x, struct router_request *r,
                         const char *authority, const char *target)
{
    char memory[ROUTER_HOST_MAX + 1];
    r->host = router_host(span_str(authority), memory);
    r->query = target_query(span_str(target));
    if (!result_is_ok(router_path(x, span_str(target), &r->path)))
        return -2;
    const struct snap_router *found = router_match(x, r);
    return found ? (int)(found - x->snapshot->routers) : -1;
}

static int match(const struct router_index *x, uint32_t entrypoint, bool tls, const char *authority,
                 const char *target)
{
    struct router_request r = {.entrypoint = entrypoint, .tls = tls, .method = span_str("GET")};
    return match_request(x, &r, authority, target);
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

static void methods_fields_and_addresses(void **state)
{
    struct sketch k = {0};
    add(&k, 0, false, "m:POST");                         /* 0 */
    add(&k, 0, false, "f:X-A=b");                        /* 1 */
    add(&k, 0, false, "F:x-a=^c+$ F:X-B= ! &");          /* 2 */
    add(&k, 0, false, "c:192.0.2.0/24 c:10.0.0.1/32 |"); /* 3 */
    add(&k, 0, false, "f:X-Forwarded-Proto=https");      /* 4 */
    add(&k, 0, false, "f:X-Real-Ip=1.2.3.4");            /* 5 */
    struct router_index *x = finish(&k);
    struct http_field fields[2] = {{.name = SPAN_LITERAL("x-A"), .value = SPAN_LITERAL("z")},
                                   {.name = SPAN_LITERAL("X-A"), .value = SPAN_LITERAL("b")}};
    struct router_request r = {.method = SPAN_LITERAL("POST")};
    assert_int_equal(match_request(x, &r, "a", "/"), 0);
    r.method = SPAN_LITERAL("post");
    assert_int_equal(match_request(x, &r, "a", "/"), -1);
    r.fields = fields;
    r.field_count = 2;
    assert_int_equal(match_request(x, &r, "a", "/"), 1);
    fields[1].value = SPAN_LITERAL("B");
    assert_int_equal(match_request(x, &r, "a", "/"), -1);
    fields[1].value = SPAN_LITERAL("ccc");
    assert_int_equal(match_request(x, &r, "a", "/"), 2);
    fields[0].name = SPAN_LITERAL("X-B");
    assert_int_equal(match_request(x, &r, "a", "/"), -1);
    struct net_addr peer;
    assert_true(result_is_ok(net_addr_parse(SPAN_LITERAL("192.0.2.200:1"), 0, &peer)));
    router_client(&peer, r.client);
    assert_int_equal(match_request(x, &r, "a", "/"), 3);
    assert_true(result_is_ok(net_addr_parse(SPAN_LITERAL("[::ffff:10.0.0.1]:1"), 0, &peer)));
    router_client(&peer, r.client);
    assert_int_equal(match_request(x, &r, "a", "/"), 3);
    assert_true(result_is_ok(net_addr_parse(SPAN_LITERAL("10.0.0.2:1"), 0, &peer)));
    router_client(&peer, r.client);
    assert_int_equal(match_request(x, &r, "a", "/"), -1);
    fields[0] = (struct http_field){.name = SPAN_LITERAL("X-Forwarded-Proto"),
                                    .value = SPAN_LITERAL("https")};
    fields[1] =
        (struct http_field){.name = SPAN_LITERAL("x-real-ip"), .value = SPAN_LITERAL("1.2.3.4")};
    assert_int_equal(match_request(x, &r, "a", "/"), -1);
    r.trusted = true;
    assert_int_equal(match_request(x, &r, "a", "/"), 4);
    fields[0].value = SPAN_LITERAL("http");
    assert_int_equal(match_request(x, &r, "a", "/"), 5);
    router_index_destroy(x);
}

static void parameters(void **state)
{
    struct sketch k = {0};
    add(&k, 0, false, "q:a=b"); /* 0 */
    k.nodes[0].text = SPAN_LITERAL("b c");
    add(&k, 0, false, "q:flag=");      /* 1 */
    add(&k, 0, false, "Q:n=^[0-9]+$"); /* 2 */
    struct router_index *x = finish(&k);
    static const struct {
        const char *target;
        int want;
    } cases[] = {
        {"/?a=b+c", 0},   {"/?a=b%20c", 0},   {"/?x&a=1&a=b%20c", 0},
        {"/?%61=b+c", 0}, {"/?a=b%2Bc", -1},  {"/?a=b", -1},
        {"/?flag", 1},    {"/?flag=", 1},     {"/?flag=1", -1},
        {"/?n=42", 2},    {"/?n=%34%32", 2},  {"/?n=4a", -1},
        {"/?n=a&n=7", 2}, {"/?n", -1},        {"/?n=4;x", -1},
        {"/?n=%zz", -1},  {"/?n=%zz&n=1", 2}, {"/?", -1},
        {"/", -1},        {"/?a=b+c#", -1},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        int got = match(x, 0, false, "a", cases[i].target);
        if (got != cases[i].want)
            fail_msg("%s: %d", cases[i].target, got);
    }
    router_index_destroy(x);
}

static void expressions_and_paths(void **state)
{
    struct sketch k = {0};
    add(&k, 0, false, "H:^[a-z]+\\.a\\.test$ e:/only &"); /* 0 */
    add(&k, 0, false, "P:\\.(png|jpg)$");                 /* 1 */
    add(&k, 0, false, "p:/admin");                        /* 2 */
    struct router_index *x = finish(&k);
    assert_int_equal(match(x, 0, false, "SUB.a.test:80", "/only?x"), 0);
    assert_int_equal(match(x, 0, false, "sub.b.test", "/only"), -1);
    assert_int_equal(match(x, 0, false, "z", "/i/%6dage.%70ng"), 1);
    assert_int_equal(match(x, 0, false, "z", "/public/../admin"), 2);
    assert_int_equal(match(x, 0, false, "z", "//admin"), 2);
    assert_int_equal(match(x, 0, false, "z", "/public/%2e%2E/admin"), 2);
    assert_int_equal(match(x, 0, false, "z", "/public%2Fadmin"), -1);
    assert_int_equal(match(x, 0, false, "z", "/public/..%2fadmin"), -2);
    assert_int_equal(match(x, 0, false, "z", "/%"), -2);
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

/* The program evaluated as it stands, whole. */
static bool walk_holds(const struct sketch *k, const struct snap_router *router, const char *host,
                       const char *path)
{
    bool stack[RULE_DEPTH_MAX];
    uint32_t depth = 0;
    for (uint32_t i = 0; i < router->node_count; i++) {
        const struct snap_rule_node *n = &k->nodes[router->first_node + i];
        if (n->op == SNAP_RULE_NOT) {
            stack[depth - 1] = !stack[depth - 1];
        } else if (n->op == SNAP_RULE_AND || n->op == SNAP_RULE_OR) {
            bool b = stack[--depth], a = stack[depth - 1];
            stack[depth - 1] = n->op == SNAP_RULE_AND ? a && b : a || b;
        } else {
            stack[depth++] = n->op == SNAP_RULE_HOST ? span_eq(n->text, span_str(host))
                                                     : span_starts_with(span_str(path), n->text);
        }
    }
    return stack[0];
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
                            walk_holds(&k, &k.routers[i], h, p))
                            want = (int)i;
                    assert_int_equal(match(x, 0, tls, h, p), want);
                }
            }
        }
        router_index_destroy(x);
    }
}

/* TCP routers stand behind the others of entry point 0. */
static int match_tcp(const struct router_index *x, bool tls, const char *name, struct span alpn)
{
    struct router_tcp asked = {.tls = tls, .name = span_str(name), .alpn = alpn};
    memcpy(asked.client + 10, "\xff\xff\x0a\x01\x02\x03", 6);
    const struct snap_router *found = router_match_tcp(x, &asked);
    return found ? (int)(found - x->snapshot->routers) : -1;
}

static void tcp_routers(void **state)
{
    static const struct span none = {NULL, 0};
    struct sketch k = {0};
    add(&k, 0, true, "h:web.test p:/x &");
    add(&k, 0, false, "h:plain.test");
    add(&k, 0, true, "h:a.test a:imap &");          /* 2 */
    add(&k, 0, true, "h:a.test c:10.1.0.0/16 ! &"); /* 3: others than we */
    add(&k, 0, true, "h:a.test h:b.test. |");       /* 4 */
    add(&k, 0, true, "h:*.w.test");                 /* 5 */
    add(&k, 0, true, "H:^r[0-9]+$");                /* 6 */
    add(&k, 0, true, "*:");                         /* 7 */
    add(&k, 0, false, "c:10.1.0.0/16");             /* 8 */
    add(&k, 0, false, "*:");                        /* 9 */
    k.routers[4].tls = SNAP_NONE;
    k.routers[4].passthrough = true;
    k.entrypoints[0].tcp = (struct snap_range){2, 8};
    k.entrypoints[0].router_count = 2;
    k.entrypoints[1].tcp = (struct snap_range){10, 0};
    struct router_index *x = finish(&k);
    assert_int_equal(match_tcp(x, true, "a.test", SPAN_LITERAL("\2h2\4imap")), 2);
    assert_int_equal(match_tcp(x, true, "a.test", SPAN_LITERAL("\5imap2")), 4);
    assert_int_equal(match_tcp(x, true, "a.test", none), 4);
    assert_int_equal(match_tcp(x, true, "b.test", none), 4);
    assert_int_equal(match_tcp(x, true, "one.w.test", none), 5);
    assert_int_equal(match_tcp(x, true, "a.b.w.test", none), 7);
    assert_int_equal(match_tcp(x, true, "w.test", none), 7);
    assert_int_equal(match_tcp(x, true, ".w.test", none), 7);
    assert_int_equal(match_tcp(x, true, "r22", none), 6);
    assert_int_equal(match_tcp(x, true, "", none), 7);
    assert_int_equal(match_tcp(x, false, "", none), 8);
    assert_true(router_takes_all(x, &k.routers[7]) && router_takes_all(x, &k.routers[9]));
    assert_false(router_takes_all(x, &k.routers[8]) || router_takes_all(x, &k.routers[5]));
    assert_true(router_names_host(x, 0, SPAN_LITERAL("web.test")));
    assert_false(router_names_host(x, 0, SPAN_LITERAL("plain.test")));
    assert_false(router_names_host(x, 0, SPAN_LITERAL("a.test")));
    assert_false(router_names_host(x, 1, SPAN_LITERAL("web.test")));
    assert_int_equal(match(x, 0, true, "a.test", "/"), -1);
    router_index_destroy(x);
}

/* What the search for a name looks at: slots of the table, and rules. */
struct cost {
    uint32_t slots, rules;
};

static void add_cost(const struct router_index *x, struct span host, uint32_t realm, struct cost *c)
{
    uint32_t at = hash_of(host, realm) & x->mask, found = slot_find(x, host, realm) - x->slots;
    struct list_of list = of_host(x, host, realm);
    c->slots += 1 + ((found - at) & x->mask);
    c->rules += list.end - list.next;
}

/* Every third router is of a wildcard; behind them stands one for the rest. */
static struct cost cost_of(uint32_t count)
{
    char(*names)[24] = calloc(count, sizeof *names);
    struct snap_rule_node *nodes = calloc(count + 1, sizeof *nodes);
    struct snap_router *routers = calloc(count + 1, sizeof *routers);
    struct snap_entrypoint ep = {.tcp = {0, count + 1}};
    struct snapshot s = {.entrypoints = &ep,
                         .entrypoint_count = 1,
                         .routers = routers,
                         .router_count = count + 1,
                         .rule_nodes = nodes,
                         .rule_node_count = count + 1};
    for (uint32_t i = 0; i <= count; i++) {
        routers[i] = (struct snap_router){.first_node = i, .node_count = 1, .passthrough = true};
        nodes[i].op = i < count ? SNAP_RULE_HOST : SNAP_RULE_ANY;
        if (i == count)
            continue;
        (void)snprintf(names[i], sizeof *names, "%sn%u.test", i % 3 ? "" : "*.", i);
        nodes[i].text = span_str(names[i]);
    }
    struct router_index *x = router_index_create(&s);
    struct cost most = {0};
    uint64_t slots = 0;
    for (uint32_t i = 0; i < count; i++) {
        char name[32];
        struct cost c = {0};
        (void)snprintf(name, sizeof name, "%sn%u.test", i % 3 ? "" : "one.", i);
        struct router_tcp asked = {.tls = true, .name = span_str(name)};
        assert_ptr_equal(router_match_tcp(x, &asked), &routers[i]);
        add_cost(x, asked.name, 1, &c);
        add_cost(x, span_skip(asked.name, span_find(asked.name, '.')), 1, &c);
        most.rules = c.rules > most.rules ? c.rules : most.rules;
        slots += c.slots;
    }
    most.slots = (uint32_t)((slots + count - 1) / count);
    assert_ptr_equal(router_match_tcp(x, &(struct router_tcp){.tls = true}), &routers[count]);
    router_index_destroy(x);
    free(routers);
    free(nodes);
    free(names);
    return most;
}

/* A connection costs the same among ten TCP routers and among ten thousand. */
static void tcp_routers_do_not_cost(void **state)
{
    struct cost few = cost_of(10), many = cost_of(10000);
    assert_int_equal(few.rules, 1);
    assert_int_equal(many.rules, 1);
    assert_true(few.slots <= 4 && many.slots <= 4);
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
           cmocka_unit_test(methods_fields_and_addresses), cmocka_unit_test(parameters),
           cmocka_unit_test(expressions_and_paths), cmocka_unit_test(index_agrees_with_walking),
           cmocka_unit_test(tcp_routers), cmocka_unit_test(tcp_routers_do_not_cost),
           cmocka_unit_test(host_of_authority))

/* SPDX-License-Identifier: Apache-2.0 */
#include "bridge/snapshot.c"

#include "bridge/sample.h"
#include "unit.h"

static void encoded(struct buf *out)
{
    struct snapshot s = sample_snapshot(7);
    out->len = 0;
    snapshot_encode(&s, out);
}

static void round_trips(void **state)
{
    struct buf a = {0}, b = {0};
    struct snapshot *s;
    encoded(&a);
    assert_true(result_is_ok(snapshot_decode(buf_span(&a), &s)));
    snapshot_encode(s, &b);
    assert_true(span_eq(buf_span(&a), buf_span(&b)));
    assert_int_equal(s->version, 7);
    assert_int_equal(s->conns_per_worker, 1000);
    assert_int_equal(s->entrypoint_count, 2);
    assert_int_equal(s->entrypoints[0].redirect_status, 308);
    assert_true(span_eq(s->entrypoints[0].redirect_scheme, SPAN_LITERAL("https")));
    assert_true(s->entrypoints[1].tls);
    assert_int_equal(s->prefixes[1].address[0], 0xfd);
    assert_int_equal(s->prefixes[0].bits, 104);
    assert_int_equal(s->routers[0].priority, -5);
    assert_int_equal(s->routers[1].priority, 1ll << 40);
    assert_int_equal(s->routers[1].tls, SNAP_NONE);
    assert_true(span_eq(s->rule_nodes[1].text, SPAN_LITERAL("/api")));
    assert_true(span_eq(s->rule_nodes[7].name, SPAN_LITERAL("X-A")));
    assert_int_equal(s->rule_nodes[7].number, 1);
    assert_true(span_eq(s->regexes[1].pattern, SPAN_LITERAL("^b")));
    assert_true(s->routers[1].access_log && !s->routers[1].metrics);
    assert_int_equal(s->services[2].kind, SNAP_SERVICE_WEIGHTED);
    assert_int_equal(s->services[2].level, 1);
    assert_int_equal(s->services[1].strategy, SNAP_STRATEGY_HRW);
    assert_int_equal(s->services[1].passive_failures, 3);
    assert_int_equal(s->services[1].passive_window_ms, 10000);
    assert_int_equal(s->services[1].proxy_version, 2);
    assert_int_equal(s->services[1].termination_ms, 100);
    assert_int_equal(s->services[1].keep_alive_ms, 15000);
    assert_true(s->entrypoints[1].tcp_tls && s->entrypoints[1].proxy_insecure);
    assert_int_equal(s->entrypoints[1].tcp.first, 2);
    assert_int_equal(s->entrypoints[1].proxy_trusted.count, 1);
    assert_true(span_eq(s->services[1].cookie_name, SPAN_LITERAL("c")));
    assert_true(span_eq(s->servers[0].cookie, SPAN_LITERAL("x")));
    assert_int_equal(s->members[1].weight, 5);
    assert_int_equal(s->services[1].max_idle_per_server, 7);
    assert_true(s->servers[1].https);
    assert_int_equal(s->servers[1].port, 443);
    assert_int_equal(s->services[1].transport, 1);
    assert_true(span_eq(s->transports[1].server_name, SPAN_LITERAL("b.test")));
    assert_int_equal(s->transports[1].id, 1ull << 63);
    assert_true(s->transports[1].no_alpn && !s->transports[0].no_alpn);
    assert_true(span_eq(s->roots[0].certs, sample_roots[0].certs));
    assert_int_equal(s->tls[0].max_version, 0x0304);
    assert_int_equal(s->middleware_count, 13);
    assert_true(span_eq(s->middlewares[9].name, SPAN_LITERAL("rate")));
    assert_int_equal(s->middlewares[9].limit.source.ip.excluded.count, 2);
    assert_int_equal(s->middlewares[12].retry.interval_ms, 100);
    assert_int_equal(s->routers[1].steps.count, 11);
    assert_true(s->pairs[0].only_tls);
    assert_null(s->owner);
    snapshot_free(s);
    snapshot_free(NULL);
    buf_free(&a);
    buf_free(&b);
}

static void empty_round_trips(void **state)
{
    struct snapshot empty = {.version = 1, .tls = sample_tls, .tls_count = 1}, *s;
    struct buf b = {0};
    snapshot_encode(&empty, &b);
    assert_true(result_is_ok(snapshot_decode(buf_span(&b), &s)));
    assert_int_equal(s->router_count, 0);
    snapshot_free(s);
    buf_free(&b);
}

/* The sizes against which counts are held before memory is taken. */
static void smallest_elements(void **state)
{
    struct buf b = {0};
    struct coder c = {.out = &b};
#define CHECK(type, member, counter, wire_bytes)                                                   \
    {                                                                                              \
        struct snap_##type zero = {0};                                                             \
        b.len = 0;                                                                                 \
        code_##type(&c, &zero);                                                                    \
        assert_int_equal(b.len, wire_bytes);                                                       \
    }
    ARRAYS(CHECK)
#undef CHECK
    buf_free(&b);
}

static void options_of_hosts(void **state)
{
    struct snapshot s = sample_snapshot(1);
    assert_int_equal(snapshot_tls(&s, 0, SPAN_LITERAL("a.test")), 1);
    assert_int_equal(snapshot_tls(&s, 0, SPAN_LITERAL("b.test")), 1);
    assert_int_equal(snapshot_tls(&s, 1, SPAN_LITERAL("a.test")), 1);
    assert_int_equal(snapshot_tls(&s, 1, SPAN_LITERAL("b.test")), 0);
    assert_int_equal(snapshot_tls(&s, 0, SPAN_LITERAL("a.tes")), 0);
    assert_int_equal(snapshot_tls(&s, 0, SPAN_LITERAL("a.test.")), 0);
    assert_int_equal(snapshot_tls(&s, 0, SPAN_LITERAL("c.test")), 0);
    assert_int_equal(snapshot_tls(&s, 0, (struct span){0}), 0);
    s.tls_host_count = 0;
    assert_int_equal(snapshot_tls(&s, 0, SPAN_LITERAL("a.test")), 0);
}

/* Out of order a look-up would miss, and a host would be served under weaker options. */
static void hosts_out_of_order_are_refused(void **state)
{
    struct snap_tls_host hosts[2] = {sample_tls_hosts[2], sample_tls_hosts[0]};
    struct snapshot s = sample_snapshot(1);
    assert_true(result_is_ok(snapshot_check(&s)));
    s.tls_hosts = hosts;
    s.tls_host_count = 2;
    assert_int_equal(snapshot_check(&s).code, ERR_FORMAT);
    hosts[0] = hosts[1]; /* twice the same */
    assert_int_equal(snapshot_check(&s).code, ERR_FORMAT);
    s.tls_host_count = 1;
    assert_true(result_is_ok(snapshot_check(&s)));
    hosts[0].tls = 2;
    assert_int_equal(snapshot_check(&s).code, ERR_FORMAT);
}

static void refuses_truncation_and_more(void **state)
{
    struct buf b = {0};
    struct snapshot *s;
    encoded(&b);
    for (size_t n = 0; n < b.len; n++) {
        uint8_t *exact = mem_dup(b.ptr, n); /* its own block: ASan sees a read past it */
        assert_false(result_is_ok(snapshot_decode(span_of(exact, n), &s)));
        free(exact);
    }
    buf_put(&b, "", 1);
    assert_int_equal(snapshot_decode(buf_span(&b), &s).code, ERR_FORMAT);
    encoded(&b);
    b.ptr[3] = FORMAT + 1;
    assert_int_equal(snapshot_decode(buf_span(&b), &s).code, ERR_VERSION);
    buf_free(&b);
}

/* What is accepted after a change still passes the checks that workers rely on. */
static void survives_garbage(void **state)
{
    static const uint8_t values[] = {0, 1, 0x7f, 0x80, 0xff};
    struct buf b = {0};
    struct snapshot *s;
    encoded(&b);
    for (size_t i = 0; i < b.len; i++) {
        uint8_t was = b.ptr[i];
        for (size_t k = 0; k < sizeof values; k++) {
            b.ptr[i] = values[k];
            if (result_is_ok(snapshot_decode(buf_span(&b), &s))) {
                assert_true(result_is_ok(snapshot_check(s)));
                snapshot_free(s);
            }
        }
        b.ptr[i] = was;
    }
    buf_free(&b);
}

static void huge_counts_take_no_memory(void **state)
{
    struct buf b = {0};
    struct snapshot *s;
    buf_put_be(&b, FORMAT, 4);
    buf_put_be(&b, 1, 8);
    buf_put_be(&b, 1, 4);
    for (int i = 0; i < ARRAY_COUNT; i++)
        buf_put_be(&b, 0xffffffff, 4);
    assert_int_equal(snapshot_decode(buf_span(&b), &s).code, ERR_FORMAT);
    buf_free(&b);
}

static void checks_rules(void **state)
{
    enum { H = SNAP_RULE_HOST, A = SNAP_RULE_AND, O = SNAP_RULE_OR, N = SNAP_RULE_NOT };
    static const struct {
        uint32_t ops[8], count;
        bool ok;
    } cases[] = {
        {{H}, 1, true},     {{H, N, N}, 3, true}, {{H, H, A, H, O}, 5, true},
        {{0}, 0, false},    {{N}, 1, false},      {{H, A}, 2, false},
        {{H, H}, 2, false}, {{A}, 1, false},      {{H, H, A, A}, 4, false},
        {{0}, 1, false},    {{17}, 1, false},     {{SNAP_RULE_ANY}, 1, true},
    };
    struct snapshot s = {.prefix_count = 1, .regex_count = 1};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct snap_rule_node nodes[8] = {0};
        for (uint32_t k = 0; k < cases[i].count; k++)
            nodes[k].op = cases[i].ops[k];
        assert_int_equal(rule_ok(&s, nodes, cases[i].count), cases[i].ok);
    }
    struct snap_rule_node deep[2 * SNAP_RULE_DEPTH_MAX + 1] = {0};
    for (uint32_t i = 0; i < 2 * SNAP_RULE_DEPTH_MAX + 1; i++)
        deep[i].op = i <= SNAP_RULE_DEPTH_MAX ? SNAP_RULE_HOST : SNAP_RULE_AND;
    assert_false(rule_ok(&s, deep, 2 * SNAP_RULE_DEPTH_MAX + 1));
    assert_true(rule_ok(&s, deep + 1, SNAP_RULE_DEPTH_MAX + SNAP_RULE_DEPTH_MAX - 1));
    deep[0] = (struct snap_rule_node){SNAP_RULE_ANY, SPAN_LITERAL("text")};
    assert_false(rule_ok(&s, deep, 1));
}

/* A matcher has exactly what its operator needs, and points to what is there. */
static void checks_operands(void **state)
{
    struct snapshot s = {.prefix_count = 2, .regex_count = 3};
    struct span t = SPAN_LITERAL("t"), none = {NULL, 0};
    const struct {
        struct snap_rule_node node;
        bool ok;
    } cases[] = {
        {{SNAP_RULE_HOST_REGEXP, none, none, 2}, true},
        {{SNAP_RULE_HOST_REGEXP, none, none, 3}, false},
        {{SNAP_RULE_PATH_REGEXP, t, none, 0}, false},
        {{SNAP_RULE_METHOD, t, none, 0}, true},
        {{SNAP_RULE_METHOD, t, t, 0}, false},
        {{SNAP_RULE_HEADER, t, t, 0}, true},
        {{SNAP_RULE_HEADER, t, none, 0}, false},
        {{SNAP_RULE_HEADER_REGEXP, none, t, 2}, true},
        {{SNAP_RULE_HEADER_REGEXP, none, t, 3}, false},
        {{SNAP_RULE_HEADER_REGEXP, none, none, 2}, false},
        {{SNAP_RULE_QUERY, none, t, 0}, true},
        {{SNAP_RULE_QUERY_REGEXP, t, t, 0}, false},
        {{SNAP_RULE_CLIENT_IP, none, none, 1}, true},
        {{SNAP_RULE_CLIENT_IP, none, none, 2}, false},
        {{SNAP_RULE_ALPN, t, none, 0}, true},
        {{SNAP_RULE_ANY, none, t, 0}, false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        if (rule_ok(&s, &cases[i].node, 1) != cases[i].ok)
            fail_msg("case %zu", i);
    }
}

static void checks_indices(void **state)
{
    struct snapshot s = sample_snapshot(1);
    struct snap_router router = sample_routers[0];
    s.routers = &router;
    s.router_count = 1;
    s.entrypoint_count = 1; /* the one without routers */
    s.tls_count = 1;
    s.tls_host_count = 0;
    router.entrypoint = 0;
    assert_true(result_is_ok(snapshot_check(&s)));
#define BAD(field, value)                                                                          \
    {                                                                                              \
        struct snap_router was = router;                                                           \
        router.field = value;                                                                      \
        assert_false(result_is_ok(snapshot_check(&s)));                                            \
        router = was;                                                                              \
    }
    BAD(service, 3);
    BAD(tls, 1);
    BAD(entrypoint, 1);
    BAD(first_node, 10);
    BAD(first_node, UINT32_MAX);
    BAD(node_count, 10);
    BAD(node_count, UINT32_MAX);
#undef BAD
    struct snap_transport transport = sample_transports[1];
    s.transports = &transport;
    s.transport_count = 1;
    assert_false(result_is_ok(snapshot_check(&s))); /* a service has another */
    s.service_count = 1;
    assert_true(result_is_ok(snapshot_check(&s)));
    transport.roots = 1;
    assert_false(result_is_ok(snapshot_check(&s)));
    transport.roots = SNAP_NONE;
    transport.chain.len--;
    assert_false(result_is_ok(snapshot_check(&s)));
    transport.chain.len = 0; /* a key without certificate */
    assert_false(result_is_ok(snapshot_check(&s)));
    assert_true(range_ok(7, 0, 7));
    assert_false(range_ok(7, 1, 7));
    assert_false(range_ok(1, UINT32_MAX, 7));
}

static void checks_ranges(void **state)
{
    struct snapshot s = sample_snapshot(1);
    struct snap_service services[3] = {sample_services[0], sample_services[1], sample_services[2]};
    struct snap_router routers[2] = {sample_routers[0], sample_routers[1]};
    s.services = services;
    s.routers = routers;
    assert_true(result_is_ok(snapshot_check(&s)));
    services[1].first_server = 1; /* of the first service, too */
    services[1].server_count = 2;
    assert_false(result_is_ok(snapshot_check(&s)));
    services[1] = (struct snap_service){.first_server = 3};
    assert_true(result_is_ok(snapshot_check(&s)));
    services[1].first_server = 4;
    assert_false(result_is_ok(snapshot_check(&s)));
    services[1].first_server = 0; /* of none: the range says nothing */
    assert_true(result_is_ok(snapshot_check(&s)));
    routers[1].entrypoint = 0; /* in the range of the other one */
    assert_false(result_is_ok(snapshot_check(&s)));
    routers[1].entrypoint = 1;
    s.tls_count = 0;
    routers[0].tls = SNAP_NONE;
    assert_false(result_is_ok(snapshot_check(&s)));
}

static void checks_middlewares(void **state)
{
    struct snapshot s = sample_snapshot(1);
    for (uint32_t i = 0; i < s.middleware_count; i++) {
        struct snap_middleware m = s.middlewares[i];
        assert_true(snapshot_middleware_ok(&s, &m));
        m.kind = SNAP_MIDDLEWARE_KINDS;
        assert_false(snapshot_middleware_ok(&s, &m));
    }
    struct snap_middleware m = s.middlewares[2];
    m.headers.response = (struct snap_range){2, 1};
    assert_false(snapshot_middleware_ok(&s, &m));
    m = s.middlewares[3];
    m.path.list.count = 3;
    assert_false(snapshot_middleware_ok(&s, &m));
    m = s.middlewares[8];
    m.allow.ip.excluded = (struct snap_range){2, UINT32_MAX};
    assert_false(snapshot_middleware_ok(&s, &m));
    m = s.middlewares[9];
    m.limit.burst = 0;
    assert_false(snapshot_middleware_ok(&s, &m));
    m = s.middlewares[11];
    m.auth.users.count = 0;
    assert_false(snapshot_middleware_ok(&s, &m));
    struct snap_step five[] = {{10}, {10}, {10}, {10}, {10}};
    s.steps = five;
    s.step_count = 5;
    assert_true(snapshot_steps_ok(&s, (struct snap_range){1, 4}));
    assert_false(snapshot_steps_ok(&s, (struct snap_range){0, 5})); /* too many inFlightReq */
    assert_false(snapshot_steps_ok(&s, (struct snap_range){2, 4}));
    five[4].middleware = 13;
    assert_false(snapshot_steps_ok(&s, (struct snap_range){4, 1}));
}

/* Workers walk down from level to level: there must be no circle. */
static void checks_services(void **state)
{
    struct snapshot s = sample_snapshot(1);
    struct snap_service services[3];
    memcpy(services, sample_services, sizeof services);
    s.services = services;
    assert_true(result_is_ok(snapshot_check(&s)));
#define BAD(index, field, value)                                                                   \
    {                                                                                              \
        struct snap_service was = services[index];                                                 \
        services[index].field = value;                                                             \
        assert_false(result_is_ok(snapshot_check(&s)));                                            \
        services[index] = was;                                                                     \
    }
    BAD(0, kind, SNAP_SERVICE_FAILOVER + 1);
    BAD(0, kind, SNAP_SERVICE_WEIGHTED);
    BAD(0, strategy, SNAP_STRATEGY_LEAST_TIME + 1);
    BAD(0, server_count, 4);
    BAD(0, level, 1);
    BAD(2, level, 0);
    BAD(2, level, SNAP_SERVICE_LEVELS);
    BAD(2, kind, SNAP_SERVICE_SERVERS);
    BAD(2, first_member, 1);
#undef BAD
    services[2].kind = SNAP_SERVICE_FAILOVER;
    assert_true(result_is_ok(snapshot_check(&s)));
    services[2].member_count = 1;
    assert_false(result_is_ok(snapshot_check(&s)));
}

UNIT_TESTS(cmocka_unit_test(round_trips), cmocka_unit_test(empty_round_trips),
           cmocka_unit_test(smallest_elements), cmocka_unit_test(options_of_hosts),
           cmocka_unit_test(hosts_out_of_order_are_refused),
           cmocka_unit_test(refuses_truncation_and_more), cmocka_unit_test(survives_garbage),
           cmocka_unit_test(huge_counts_take_no_memory), cmocka_unit_test(checks_rules),
           cmocka_unit_test(checks_operands), cmocka_unit_test(checks_ranges),
           cmocka_unit_test(checks_middlewares), cmocka_unit_test(checks_indices),
           cmocka_unit_test(checks_services))

/* SPDX-License-Identifier: Apache-2.0 */
#include "control/snapshot_balance.c"
#include "control/snapshot_build.c"
#include "control/snapshot_rules.c"

#include "unit.h"

#include <stdio.h>
#include <unistd.h>

static const char toml[] = "[entryPoints.web]\n"
                           "address = \":8080\"\n"
                           "[entryPoints.web.http.redirections.entryPoint]\n"
                           "to = \"websecure\"\n"
                           "[entryPoints.websecure]\n"
                           "address = \":8443\"\n"
                           "[entryPoints.websecure.forwardedHeaders]\n"
                           "trustedIPs = [\"10.0.0.0/8\", \"fd00::/16\", \"192.0.2.1\"]\n"
                           "[http.routers.low]\n"
                           "rule = \"PathPrefix(`/`)\"\n"
                           "service = \"s\"\n"
                           "[http.routers.low.tls]\n"
                           "[http.routers.high]\n"
                           "rule = \"Host(`a.test`) && !Path(`/x`)\"\n"
                           "service = \"s\"\n"
                           "entryPoints = [\"websecure\"]\n"
                           "[http.routers.high.tls]\n"
                           "options = \"strict\"\n"
                           "[[http.services.s.loadBalancer.servers]]\n"
                           "url = \"http://[::1]:9000\"\n"
                           "[[http.services.s.loadBalancer.servers]]\n"
                           "url = \"http://up.test\"\n"
                           "[http.routers.rich]\n"
                           "rule = \"Method(`get`) && HostRegexp(`^a`) && PathRegexp(`^/b`) && "
                           "HeaderRegexp(`X-A`, `^a`) && Query(`q`, `v`) && "
                           "ClientIP(`10.0.0.0/8`, `::1`)\"\n"
                           "service = \"s\"\n"
                           "priority = 1\n"
                           "[http.routers.rich.observability]\n"
                           "metrics = false\n"
                           "[entryPoints.web.observability]\n"
                           "accessLogs = false\n"
                           "[http.services.s.loadBalancer]\n"
                           "strategy = \"leasttime\"\n"
                           "[http.services.s.loadBalancer.sticky.cookie]\n"
                           "name = \"here\"\n"
                           "secure = true\n"
                           "httpOnly = true\n"
                           "sameSite = \"none\"\n"
                           "maxAge = -1\n"
                           "domain = \"a.test\"\n"
                           "[http.services.s.loadBalancer.passiveHealthCheck]\n"
                           "maxFailedAttempts = 4\n"
                           "[http.services.f.failover]\n"
                           "service = \"w\"\n"
                           "fallback = \"s\"\n"
                           "[http.services.w.weighted]\n"
                           "services = [{name = \"s\", weight = 3}, {name = \"s\"}]\n"
                           "[http.services.w.weighted.sticky.cookie]\n"
                           "[tls.options.strict]\n"
                           "minVersion = \"VersionTLS13\"\n"
                           "sniStrict = true\n";

static struct config *load(void)
{
    char path[] = "/tmp/snapshot-test-XXXXXX.toml";
    int fd = mkstemps(path, 5);
    assert_int_equal(write(fd, toml, sizeof toml - 1), sizeof toml - 1);
    close(fd);
    struct config *config = NULL;
    struct config_problems problems = {0};
    struct result r = config_load(path, NULL, 0, CONFIG_RUN, &config, &problems);
    for (uint32_t i = 0; i < problems.count; i++)
        print_message("%s\n", problems.items[i].text);
    assert_true(result_is_ok(r));
    config_problems_free(&problems);
    unlink(path);
    return config;
}

static const struct snap_entrypoint *entrypoint(const struct snapshot *s, const char *name)
{
    for (uint32_t i = 0; i < s->entrypoint_count; i++)
        if (span_eq(s->entrypoints[i].name, span_str(name)))
            return &s->entrypoints[i];
    fail();
    return NULL;
}

static void test_entrypoints(void **state)
{
    struct config *config = load();
    struct snapshot *s = snapshot_build(config, 7);
    const struct snap_entrypoint *web = entrypoint(s, "web"), *secure = entrypoint(s, "websecure");
    assert_int_equal(s->version, 7);
    assert_int_equal(web->redirect_status, 308);
    assert_int_equal(web->redirect_port, 8443);
    assert_true(span_eq(web->redirect_scheme, SPAN_LITERAL("https")));
    assert_int_equal(secure->redirect_status, 0);
    assert_true(secure->tls);
    assert_int_equal(secure->trusted_count, 3);
    const struct snap_prefix *p = &s->prefixes[secure->trusted_first];
    assert_int_equal(p[0].bits, 96 + 8);
    assert_int_equal(p[0].address[10], 0xff);
    assert_int_equal(p[0].address[12], 10);
    assert_int_equal(p[1].bits, 16);
    assert_int_equal(p[1].address[0], 0xfd);
    assert_int_equal(p[2].bits, 128);
    snapshot_build_free(s);
    config_free(config);
}

static void test_routers_best_first(void **state)
{
    struct config *config = load();
    struct snapshot *s = snapshot_build(config, 1);
    const struct snap_entrypoint *secure = entrypoint(s, "websecure");
    assert_int_equal(secure->router_count, 3);
    const struct snap_router *r = &s->routers[secure->first_router];
    assert_true(span_eq(r[0].name, SPAN_LITERAL("high")));
    assert_true(span_eq(r[1].name, SPAN_LITERAL("low")));
    assert_true(r[0].priority > r[1].priority);
    assert_int_equal(s->tls[r[0].tls].min_version, 0x0304);
    assert_true(s->tls[r[0].tls].sni_strict);
    assert_int_equal(r[1].tls, 0);
    const struct snap_rule_node *n = &s->rule_nodes[r[0].first_node];
    assert_int_equal(r[0].node_count, 4); /* a.test, /x, !, && */
    assert_int_equal(n[0].op, SNAP_RULE_HOST);
    assert_true(span_eq(n[0].text, SPAN_LITERAL("a.test")));
    assert_int_equal(n[2].op, SNAP_RULE_NOT);
    assert_int_equal(n[3].op, SNAP_RULE_AND);
    snapshot_build_free(s);
    config_free(config);
}

/* An expression stands in the snapshot once, whoever has it. */
static void test_rules(void **state)
{
    struct config *config = load();
    struct snapshot *s = snapshot_build(config, 1);
    for (uint32_t e = 0; e < 2; e++) {
        const struct snap_entrypoint *at = entrypoint(s, e ? "websecure" : "web");
        const struct snap_router *r = &s->routers[at->first_router + at->router_count - 1];
        assert_true(span_eq(r->name, SPAN_LITERAL("rich")));
        assert_int_equal(r->access_log, e);
        assert_false(r->metrics);
        const struct snap_rule_node *n = &s->rule_nodes[r->first_node];
        assert_true(span_eq(n[0].text, SPAN_LITERAL("GET")));
        assert_int_equal(n[1].op, SNAP_RULE_HOST_REGEXP);
        assert_true(span_eq(s->regexes[n[1].number].pattern, SPAN_LITERAL("^a")));
        assert_true(span_eq(s->regexes[n[3].number].pattern, SPAN_LITERAL("^/b")));
        assert_int_equal(n[5].number, n[1].number);
        assert_true(span_eq(n[5].name, SPAN_LITERAL("X-A")));
        assert_true(span_eq(n[7].name, SPAN_LITERAL("q")) && span_eq(n[7].text, SPAN_LITERAL("v")));
        assert_int_equal(s->prefixes[n[9].number].bits, 96 + 8);
        assert_int_equal(s->prefixes[n[10].number].bits, 128);
    }
    assert_int_equal(s->regex_count, 2);
    struct snapshot_rules *rules = snapshot_rules_create(&(struct snapshot){0});
    char text[1000][8];
    for (uint32_t i = 0; i < 1000; i++) {
        snprintf(text[i], sizeof text[i], "%u", i);
        assert_int_equal(snapshot_rules_regex(rules, span_str(text[i])), i);
        assert_int_equal(snapshot_rules_regex(rules, span_str(text[i / 2])), i / 2);
    }
    free(rules->s->regexes);
    snapshot_rules_destroy(rules);
    snapshot_build_free(s);
    config_free(config);
}

static const struct snap_service *service(const struct snapshot *s, const char *name)
{
    for (uint32_t i = 0; i < s->service_count; i++)
        if (span_eq(s->services[i].name, span_str(name)))
            return &s->services[i];
    fail();
    return NULL;
}

static void test_balance(void **state)
{
    struct config *config = load();
    struct snapshot *s = snapshot_build(config, 1);
    assert_true(result_is_ok(snapshot_check(s)));
    const struct snap_service *low = service(s, "s"), *w = service(s, "w"), *f = service(s, "f");
    assert_int_equal(low->strategy, SNAP_STRATEGY_LEAST_TIME);
    assert_int_equal(low->passive_failures, 4);
    assert_int_equal(low->passive_window_ms, 10000);
    assert_true(span_eq(low->cookie_name, SPAN_LITERAL("here")));
    assert_true(span_eq(low->cookie_attributes,
                        SPAN_LITERAL("; Path=/; Domain=a.test; Max-Age=0; HttpOnly; Secure; "
                                     "SameSite=None")));
    assert_int_equal(s->servers[0].cookie.len, 16);
    assert_false(span_eq(s->servers[0].cookie, s->servers[1].cookie));
    assert_int_equal(w->kind, SNAP_SERVICE_WEIGHTED);
    assert_int_equal(w->level, 1);
    assert_int_equal(w->member_count, 2);
    assert_int_equal(s->members[w->first_member].weight, 3);
    assert_int_equal(s->members[w->first_member].service, low - s->services);
    assert_int_equal(s->members[w->first_member + 1].weight, 1);
    assert_int_equal(w->cookie_name.len, 11);
    assert_int_equal(f->kind, SNAP_SERVICE_FAILOVER);
    assert_int_equal(f->level, 2);
    assert_int_equal(s->members[f->first_member].service, w - s->services);
    assert_int_equal(f->cookie_name.len, 0);
    snapshot_build_free(s);
    config_free(config);
}

/* The names that Traefik gives to a server: clients that move over find theirs again. */
static void test_cookies_of_servers(void **state)
{
    struct span got = server_cookie("http://127.0.0.1:9000");
    assert_true(span_eq(got, SPAN_LITERAL("450bb0aae979edf3")));
    free((void *)got.ptr);
}

static void test_servers(void **state)
{
    struct config *config = load();
    struct snapshot *s = snapshot_build(config, 1);
    assert_int_equal(s->service_count, 3);
    assert_int_equal(s->services[0].server_count, 2);
    assert_int_equal(s->servers[0].port, 9000);
    assert_true(span_eq(s->servers[0].host, SPAN_LITERAL("::1")));
    assert_int_equal(s->servers[1].port, 80);
    assert_false(s->servers[1].https);
    snapshot_build_free(s);
    config_free(config);
}

UNIT_TESTS(cmocka_unit_test(test_entrypoints), cmocka_unit_test(test_routers_best_first),
           cmocka_unit_test(test_rules), cmocka_unit_test(test_balance),
           cmocka_unit_test(test_cookies_of_servers), cmocka_unit_test(test_servers))

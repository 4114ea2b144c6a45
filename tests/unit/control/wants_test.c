/* SPDX-License-Identifier: Apache-2.0 */
#include "control/wants.c"

#include "unit.h"

#include <stdio.h>

#define NAMES_MAX 200

static struct config_resolver resolvers[2] = {{.name = "r0", .ca_server = "https://ca0"},
                                              {.name = "r1", .ca_server = "https://ca1"}};
static struct resolver runtime[2] = {{.config = &resolvers[0]}, {.config = &resolvers[1]}};
static struct resolver_set set = {.items = runtime, .count = 2};
static struct config_router routers[8];
static struct config_domain domains[8];
static const char *texts[8][NAMES_MAX];
static struct config config;
static struct wants wants;

static int set_up(void **state)
{
    memset(routers, 0, sizeof routers);
    config = (struct config){.routers = routers, .resolvers = resolvers, .resolver_count = 2};
    resolvers[0].domain_count = 0;
    return 0;
}

static int tear_down(void **state)
{
    wants_free(&wants);
    return 0;
}

static void router(uint32_t resolver, const char *a, const char *b)
{
    uint32_t i = config.router_count++;
    texts[i][0] = a;
    texts[i][1] = b;
    domains[i] = (struct config_domain){texts[i], b ? 2 : 1};
    routers[i] = (struct config_router){
        .tls = true, .resolver = resolver, .domains = &domains[i], .domain_count = 1};
}

static bool wanted(const char *label)
{
    for (uint32_t i = 0; i < wants.count; i++)
        if (!strcmp(wants.items[i].label, label))
            return true;
    return false;
}

static void test_equal_sets_are_one(void **state)
{
    router(0, "a.test", "b.test");
    router(0, "b.test", "a.test");
    router(1, "a.test", "b.test");
    wants_collect(&config, &set, &wants);
    assert_int_equal(wants.count, 2); /* one per resolver */
    for (uint32_t i = 0; i < wants.count; i++)
        assert_ptr_equal(wants_find(&wants, wants.items[i].id), &wants.items[i]);
    assert_null(wants_find(&wants, "00000000000000000000000000000000"));
    assert_null(wants_find(&wants, ""));
}

static void test_covered_sets_are_left_out(void **state)
{
    router(0, "demo.test", "*.demo.test");
    router(0, "demo.test", NULL);
    router(0, "x.demo.test", NULL);
    router(0, "y.x.demo.test", NULL); /* two labels: not covered */
    router(1, "x.demo.test", NULL);   /* another resolver's business */
    wants_collect(&config, &set, &wants);
    assert_int_equal(wants.count, 3);
    assert_true(wanted("demo.test, *.demo.test"));
    assert_true(wanted("y.x.demo.test"));
    assert_true(wanted("x.demo.test"));
}

static void test_overlap_is_not_cover(void **state)
{
    router(0, "a.test", "b.test");
    router(0, "b.test", "c.test");
    wants_collect(&config, &set, &wants);
    assert_int_equal(wants.count, 2);
}

static void test_who_does_not_ask(void **state)
{
    router(UINT32_MAX, "a.test", NULL);
    router(0, "b.test", NULL);
    routers[1].tls = false;
    router(0, "c.test", NULL);
    routers[2].domain_count = 0;
    wants_collect(&config, &set, &wants);
    assert_int_equal(wants.count, 0);
}

static void test_names_twice_and_domains_of_the_resolver(void **state)
{
    static const char *given[] = {"a.test", "a.test", "b.test"};
    static struct config_domain own = {given, 3};
    resolvers[0].domains = &own;
    resolvers[0].domain_count = 1;
    wants_collect(&config, &set, &wants);
    assert_int_equal(wants.count, 1);
    assert_true(wanted("a.test, b.test"));
}

static void test_too_many_names(void **state)
{
    static char names[NAMES_MAX][16];
    router(0, "ok.test", NULL);
    for (int i = 0; i < NAMES_MAX; i++) {
        snprintf(names[i], sizeof names[i], "n%d.test", i);
        texts[1][i] = names[i];
    }
    domains[1] = (struct config_domain){texts[1], ORDER_NAMES_MAX + 1};
    routers[1] = (struct config_router){.tls = true, .domains = &domains[1], .domain_count = 1};
    config.router_count = 2;
    wants_collect(&config, &set, &wants);
    assert_int_equal(wants.count, 1);
    assert_true(wanted("ok.test"));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
UNIT_TESTS(TEST(test_equal_sets_are_one), TEST(test_covered_sets_are_left_out),
           TEST(test_overlap_is_not_cover), TEST(test_who_does_not_ask),
           TEST(test_names_twice_and_domains_of_the_resolver), TEST(test_too_many_names))

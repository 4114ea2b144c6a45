/* SPDX-License-Identifier: Apache-2.0 */
#include "config/build_routers.c"

#include "unit.h"

#include "config_file.h"

#define RESOLVERS                                                                                  \
    "[certificatesResolvers.r.acme]\ndnsChallenge.provider = 'x'\ntlsChallenge = true\n"           \
    "[certificatesResolvers.q.acme]\ndnsChallenge.provider = 'y'\n"

static struct config *load(const char *text)
{
    struct config *c = config_file_load(text, NULL, 0, NULL);
    assert_non_null(c);
    return c;
}

static void best_first(void **state)
{
    struct config *c =
        load(CONFIG_FILE_WEB
             "[http.routers.b]\nrule = 'Path(`/b`)'\nservice = 's'\n"
             "[http.routers.a]\nrule = 'Path(`/a`)'\nservice = 's'\n"
             "[http.routers.long]\nrule = 'Path(`/long`)'\nservice = 's'\n"
             "[http.routers.z]\nrule = 'Path(`/`)'\nservice = 's'\npriority = 100\n"
             "[http.routers.low]\nrule = 'Path(`/low`)'\nservice = 's'\npriority = -1\n"
             "[http.routers.zero]\nrule = 'Path(`/zer`)'\nservice = 's'\npriority = 0\n");
    static const char *const want[] = {"z", "long", "zero", "a", "b", "low"};
    assert_int_equal(c->router_count, 6);
    for (uint32_t i = 0; i < 6; i++)
        assert_string_equal(c->routers[i].name, want[i]);
    assert_int_equal(c->routers[1].priority, strlen("Path(`/long`)"));
    assert_int_equal(c->routers[1].entrypoint_count, 2);
    assert_false(c->routers[1].tls);
    config_free(c);
}

static void wants_certificates(void **state)
{
    struct config *c = load(CONFIG_FILE_WEB RESOLVERS
                            "[tls.options.hard]\n"
                            "[http.routers.a]\nrule = 'Host(`B.test`) || Host(`a.test`)'\n"
                            "service = 's'\nentryPoints = ['tls', 'tls']\n"
                            "[http.routers.a.tls]\ncertResolver = 'q'\noptions = 'hard'\n"
                            "[http.routers.b]\nrule = 'PathPrefix(`/`)'\nservice = 's'\n"
                            "[http.routers.b.tls]\ncertResolver = 'r'\n"
                            "domains = [{main = 'X.test', sans = ['*.x.test', 'x.test']},"
                            " {sans = ['192.0.2.1', '2001:DB8::0:1']}]\n");
    const struct config_router *a = &c->routers[0], *b = &c->routers[1];
    assert_string_equal(a->name, "a");
    assert_int_equal(a->resolver, 1);
    assert_int_equal(a->tls_options, 1);
    assert_int_equal(a->entrypoint_count, 1);
    assert_int_equal(a->domain_count, 1);
    assert_int_equal(a->domains[0].count, 2);
    assert_string_equal(a->domains[0].names[0], "b.test");
    assert_int_equal(b->resolver, 0);
    assert_int_equal(b->tls_options, 0);
    assert_int_equal(b->domain_count, 2);
    assert_int_equal(b->domains[0].count, 2);
    assert_string_equal(b->domains[0].names[0], "x.test");
    assert_string_equal(b->domains[0].names[1], "*.x.test");
    assert_string_equal(b->domains[1].names[0], "192.0.2.1");
    assert_string_equal(b->domains[1].names[1], "2001:db8::1");
    config_free(c);
}

static void takes_tls_of_entry_points(void **state)
{
    struct config *c =
        load(CONFIG_FILE_WEB RESOLVERS
             "[entryPoints.tls.http.tls]\ncertResolver = 'r'\n"
             "[entryPoints.tls2]\naddress = ':1'\n[entryPoints.tls2.http.tls]\n"
             "domains = [{main = '*.d.test'}]\n"
             "[http.routers.both]\nrule = 'Host(`a.test`)'\nservice = 's'\n"
             "[http.routers.own]\nrule = 'Host(`b.test`)'\nservice = 's'\ntls = {}\n");
    assert_int_equal(c->router_count, 4);
    const struct config_router *plain = &c->routers[0], *one = &c->routers[1],
                               *two = &c->routers[2];
    assert_string_equal(plain->name, "both");
    assert_true(!plain->tls && plain->entrypoint_count == 1 && plain->entrypoints[0] == 0);
    assert_true(one->tls && one->entrypoints[0] == 1 && one->resolver == 0);
    assert_string_equal(one->domains[0].names[0], "a.test");
    assert_true(two->tls && two->entrypoints[0] == 2 && two->resolver == UINT32_MAX);
    assert_string_equal(two->domains[0].names[0], "*.d.test");
    assert_string_equal(c->routers[3].name, "own");
    assert_int_equal(c->routers[3].entrypoint_count, 3);
    assert_int_equal(c->routers[3].resolver, UINT32_MAX);
    assert_int_equal(c->entrypoints[1].tls_resolver, 0);
    config_free(c);
}

static void older_section(void **state)
{
    struct config *c =
        load(CONFIG_FILE_WEB RESOLVERS
             "[acme]\nonHostRule = true\ndnsChallenge.provider = 'z'\n"
             "[[acme.domains]]\nmain = '*.d.test'\nsans = ['d.test']\n"
             "[http.routers.a]\nrule = 'Host(a.test,b.test)'\nservice = 's'\ntls = {}\n"
             "[http.routers.b]\nrule = 'Host(`c`)'\nservice = 's'\ntls.certResolver = 'r'\n"
             "[http.routers.c]\nrule = 'Host(`c`)'\nservice = 's'\n");
    assert_int_equal(c->resolver_count, 3);
    assert_string_equal(c->resolvers[2].name, "acme");
    assert_int_equal(c->resolvers[2].domain_count, 1);
    assert_string_equal(c->resolvers[2].domains[0].names[1], "d.test");
    assert_int_equal(c->routers[0].resolver, 2);
    assert_string_equal(c->routers[0].domains[0].names[1], "b.test");
    assert_int_equal(c->routers[1].resolver, 0);
    assert_int_equal(c->routers[2].resolver, UINT32_MAX);
    config_free(c);
    c = load(CONFIG_FILE_WEB "[acme]\ndnsChallenge.provider = 'z'\n"
                             "[http.routers.a]\nrule = 'Host(`a`)'\nservice = 's'\ntls = {}\n");
    assert_int_equal(c->routers[0].resolver, UINT32_MAX);
    config_free(c);
}

static void warns_of_equals_only_where_they_meet(void **state)
{
    struct buf out = {0};
    struct config *c = config_file_load(
        CONFIG_FILE_WEB
        "[http.routers.a]\nrule = 'Host(`a`)'\nservice = 's'\nentryPoints = ['web']\n"
        "[http.routers.b]\nrule = 'Host(`a`)'\nservice = 's'\nentryPoints = ['tls']\n"
        "[http.routers.c]\nrule = 'Host(`a`)'\nservice = 's'\ntls = {}\n"
        "[http.routers.d]\nrule = 'Host(`a`)'\nservice = 's'\npriority = 3\n"
        "[http.routers.e]\nrule = 'Host(\"a\")'\nservice = 's'\n",
        NULL, 0, &out);
    assert_non_null(c);
    config_free(c);
    assert_string_equal(
        buf_cstr(&out),
        "f:23:15: warning: routers a and e have the same rule and priority on entry "
        "point web: a wins by its name; give one of them a priority\n");
    buf_free(&out);
}

static void bounds_the_names_of_a_certificate(void **state)
{
    for (int names = CONFIG_DOMAIN_NAMES_MAX; names <= CONFIG_DOMAIN_NAMES_MAX + 1; names++) {
        struct buf text = {0}, out = {0};
        buf_put_str(&text, CONFIG_FILE_WEB RESOLVERS "[http.routers.a]\nservice = 's'\n"
                                                     "tls.certResolver = 'r'\nrule = 'Host(");
        for (int i = 0; i < names; i++)
            buf_printf(&text, "%s`n%d`", i ? "," : "", i);
        buf_put_str(&text, ")'\n");
        struct config *c = config_file_load(buf_cstr(&text), NULL, 0, &out);
        assert_int_equal(c != NULL, names == CONFIG_DOMAIN_NAMES_MAX);
        assert_int_equal(strstr(buf_cstr(&out), "at most 100 names") != NULL, c == NULL);
        config_free(c);
        buf_free(&text);
        buf_free(&out);
    }
}

UNIT_TESTS(cmocka_unit_test(best_first), cmocka_unit_test(bounds_the_names_of_a_certificate),
           cmocka_unit_test(wants_certificates), cmocka_unit_test(takes_tls_of_entry_points),
           cmocka_unit_test(older_section), cmocka_unit_test(warns_of_equals_only_where_they_meet))

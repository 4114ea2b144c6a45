/* SPDX-License-Identifier: Apache-2.0 */
#include "config/build_tcp.c"

#include "unit.h"

#include "config_file.h"

#define TCP                                                                                        \
    "[tcp.services.s.loadBalancer]\nservers = [{address = 'A.test:25'}, {address = '[::1]:26'}]\n"

static struct config *load(const char *text)
{
    struct config *c = config_file_load(text, NULL, 0, NULL);
    assert_non_null(c);
    return c;
}

static void services(void **state)
{
    struct config *c =
        load(CONFIG_FILE_WEB TCP
             "[tcp.services.t.loadBalancer]\nserversTransport = 'x@file'\n"
             "servers = [{address = '10.0.0.1:1'}]\n"
             "[tcp.services.u.loadBalancer]\nserversTransport = 'x'\nproxyProtocol.version = 1\n"
             "servers = [{address = '10.0.0.1:1'}]\n"
             "[tcp.services.w.weighted]\nservices = [{name = 's', weight = 3}, {name = 't'}]\n"
             "[tcp.serversTransports.x]\nterminationDelay = '3s'\ndialTimeout = '2s'\n"
             "proxyProtocol = {}\n");
    const struct config_service *s = &c->services[c->first_tcp_service];
    assert_int_equal(c->service_count, 5);
    assert_int_equal(c->first_tcp_service, 1);
    assert_string_equal(s[0].name, "s"); /* as the one of [http] */
    assert_int_equal(s[0].server_count, 2);
    assert_string_equal(s[0].servers[0].host, "a.test");
    assert_int_equal(s[0].servers[0].port, 25);
    assert_string_equal(s[0].servers[1].host, "::1");
    assert_int_equal(s[0].termination_ms, 100);
    assert_int_equal(s[0].dial_timeout_ms, 30000);
    assert_int_equal(s[0].proxy_version, 0);
    assert_int_equal(s[1].termination_ms, 3000);
    assert_int_equal(s[1].dial_timeout_ms, 2000);
    assert_int_equal(s[1].proxy_version, 2);
    assert_int_equal(s[2].proxy_version, 1);
    assert_int_equal(s[3].kind, CONFIG_SERVICE_WEIGHTED);
    assert_int_equal(s[3].level, 1);
    assert_int_equal(s[3].members[0].service, 1);
    assert_int_equal(s[3].members[0].weight, 3);
    assert_int_equal(s[3].members[1].service, 2);
    config_free(c);
}

/* Transports stand behind HTTP's: first the one for services that name none. */
static void transports(void **state)
{
    struct config *c =
        load(CONFIG_FILE_WEB "[http.serversTransports.x]\nserverName = 'http.test'\n"
                             "[tcp.services.s.loadBalancer]\nservers = [{address = 'a.test:1'}, "
                             "{address = 'a.test:2', tls = true}]\n"
                             "[tcp.services.t.loadBalancer]\nserversTransport = 'x'\n"
                             "servers = [{address = 'a.test:1', tls = true}]\n"
                             "[tcp.serversTransports.w]\n"
                             "[tcp.serversTransports.x]\ndialKeepAlive = '2s'\n"
                             "tls = {serverName = 'tcp.test', insecureSkipVerify = true}\n");
    const struct config_service *s = &c->services[c->first_tcp_service];
    assert_int_equal(c->first_tcp_transport, 2);
    assert_int_equal(c->transport_count, 5);
    assert_false(s[0].servers[0].https);
    assert_true(s[0].servers[1].https && s[1].servers[0].https);
    assert_int_equal(s[0].transport, 2);
    assert_int_equal(s[0].keep_alive_ms, 15000);
    assert_false(c->transports[2].insecure);
    assert_string_equal(c->transports[2].server_name, "");
    assert_int_equal(s[1].transport, 4);
    assert_int_equal(s[1].keep_alive_ms, 2000);
    assert_string_equal(c->transports[4].server_name, "tcp.test");
    assert_true(c->transports[4].insecure && c->transports[4].tcp && !c->transports[1].tcp);
    config_free(c);
}

static void routers(void **state)
{
    struct config *c =
        load(CONFIG_FILE_WEB TCP
             "[http.middlewares.m.addPrefix]\nprefix = '/x'\n"
             "[tcp.middlewares.m.ipAllowList]\nsourceRange = ['10.0.0.0/8']\n"
             "[tcp.middlewares.f.inFlightConn]\namount = 3\n"
             "[tcp.routers.all]\nrule = 'HostSNI(`*`)'\nservice = 's'\ntls.passthrough = true\n"
             "[tcp.routers.plain]\nrule = 'HostSNI(`*`)'\nservice = 's'\npriority = 3\n"
             "entryPoints = ['web']\nmiddlewares = ['m', 'f@file']\n"
             "[tcp.routers.wild]\nrule = 'HostSNI(`*.a.test`)'\nservice = 's'\n"
             "[tcp.routers.wild.tls]\noptions = 'o'\n[tls.options.o]\nsniStrict = true\n");
    assert_int_equal(c->tcp_router_count, 3);
    const struct config_router *r = c->tcp_routers;
    assert_string_equal(r[0].name, "wild");
    assert_true(r[0].tcp && r[0].tls && !r[0].passthrough);
    assert_int_equal(r[0].tls_options, 1);
    assert_int_equal(r[0].entrypoint_count, 2);
    assert_string_equal(r[1].name, "plain");
    assert_false(r[1].tls);
    assert_int_equal(r[1].service, c->first_tcp_service);
    assert_int_equal(r[1].middlewares.count, 2);
    const struct config_middleware *m = &c->middlewares[r[1].middlewares.items[0]];
    assert_int_equal(m->kind, CONFIG_MIDDLEWARE_ALLOW_LIST);
    assert_string_equal(m->allow.ranges.items[0], "10.0.0.0/8");
    assert_int_equal(c->middlewares[r[1].middlewares.items[1]].limit.amount, 3);
    assert_string_equal(r[2].name, "all");
    assert_int_equal(r[2].priority, -1);
    assert_true(r[2].passthrough);
    config_free(c);
}

static void assert_error(const char *text, const char *want)
{
    struct buf all = {0}, out = {0};
    buf_put_str(&all, CONFIG_FILE_WEB TCP);
    buf_put_str(&all, text);
    assert_null(config_file_load(buf_cstr(&all), NULL, 0, &out));
    if (!strstr(buf_cstr(&out), want))
        fail_msg("%s is not in %s", want, buf_cstr(&out));
    buf_free(&all);
    buf_free(&out);
}

static void errors(void **state)
{
    assert_error("[tcp.routers.r]\nrule = 'HostSNI(`a.test`)'\nservice = 's'\n",
                 "10:8: error: TCP router r has no tls");
    assert_error("[tcp.routers.r]\nrule = 'HostSNI(`*`)'\nservice = 't'\n",
                 "11:11: error: there is no TCP service \"t\"");
    assert_error("[http.routers.r]\nrule = 'Path(`/`)'\nservice = 'u'\n[tcp.services.u]\n"
                 "loadBalancer.servers = [{address = 'a:1'}]\n",
                 "11:11: error: there is no service \"u\"");
    assert_error("[tcp.routers.r]\nrule = 'HostSNI(`*`)'\nservice = 's'\nmiddlewares = ['m']\n"
                 "[http.middlewares.m.addPrefix]\nprefix = '/x'\n",
                 "error: there is no middleware \"m\"");
    assert_error("[tcp.services.b.loadBalancer]\nservers = [{address = 'a.test'}]\n",
                 "10:23: error: the address of a server is");
    assert_error("[tcp.services.b.loadBalancer]\nserversTransport = 'none'\n",
                 "there is no tcp.serversTransports.none");
    assert_error("[tcp.services.a.weighted]\nservices = [{name = 'a'}]\n", "contains itself");
    assert_error("[tcp.services.a.weighted]\nservices = [{name = 's'}]\n"
                 "[tcp.services.a.loadBalancer]\nservers = [{address = 'a:1'}]\n",
                 "is weighted already");
    assert_error("[tcp.middlewares.m]\n[tcp.middlewares.m.inFlightConn]\namount = 1\n"
                 "[tcp.middlewares.m.ipAllowList]\nsourceRange = ['::1']\n",
                 "has one type");
}

UNIT_TESTS(cmocka_unit_test(services), cmocka_unit_test(transports), cmocka_unit_test(routers),
           cmocka_unit_test(errors))

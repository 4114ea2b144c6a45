/* SPDX-License-Identifier: Apache-2.0 */
#include "config/load.c"

#include "crypto/key.h"
#include "crypto/x509.h"
#include "unit.h"

#include "config_file.h"

static struct config *load(const char *text)
{
    struct config *c = config_file_load(text, NULL, 0, NULL);
    assert_non_null(c);
    return c;
}

static void fills_in_defaults(void **state)
{
    unsetenv("STATE_DIRECTORY");
    struct config *c = load(CONFIG_FILE_WEB);
    assert_int_equal(c->entrypoint_count, 2);
    const struct config_entrypoint *e = &c->entrypoints[0];
    assert_string_equal(e->name, "web");
    assert_int_equal(net_addr_port(&e->sockets[0]), 8080);
    assert_int_equal(e->read_timeout_ms, 60000);
    assert_int_equal(e->idle_timeout_ms, 180000);
    assert_int_equal(e->write_timeout_ms, 0);
    assert_int_equal(e->grace_timeout_ms, 10000);
    assert_int_equal(e->head_max_bytes, 32768);
    assert_true(e->default_of_routers && !e->redirect && !e->tls);
    assert_int_equal(e->redirect_to, UINT32_MAX);
    assert_int_equal(e->tls_resolver, UINT32_MAX);
    assert_int_equal(e->where.line, 1);
    const struct config_service *s = &c->services[0];
    assert_true(s->pass_host_header);
    assert_int_equal(s->dial_timeout_ms, 30000);
    assert_int_equal(s->idle_timeout_ms, 90000);
    assert_int_equal(s->response_header_timeout_ms, 60000);
    assert_int_equal(s->max_idle_per_server, 200);
    assert_string_equal(s->servers[0].host, "127.0.0.1");
    assert_int_equal(s->servers[0].port, 9000);
    assert_int_equal(s->servers[0].weight, 1);
    assert_int_equal(c->tls_option_count, 1);
    assert_string_equal(c->tls_options[0].name, "default");
    assert_int_equal(c->tls_options[0].min_version, 0x0303);
    assert_int_equal(c->tls_options[0].max_version, 0x0304);
    assert_true(c->workers >= 1);
    assert_int_equal(c->worker_connections, 65536);
    assert_int_equal(c->control_cpu, UINT32_MAX);
    assert_string_equal(c->state_directory, "/var/lib/ferrule");
    assert_string_equal(c->admin_socket, "/var/lib/ferrule/admin.sock");
    assert_int_equal(c->plugin_directory_count, 1);
    assert_string_equal(c->log_level, "INFO");
    assert_false(c->tls_prefer_acme);
    assert_int_equal(c->duplicate_budget, 5);
    assert_null(c->default_certificate);
    config_free(c);
}

static void takes_what_is_written(void **state)
{
    struct config *c = load(CONFIG_FILE_WEB
                            "[entryPoints.x]\nADDRESS = '[::1]:1'\nasDefault = true\n"
                            "[entryPoints.x.transport.respondingTimeouts]\nreadTimeout = 5\n"
                            "idleTimeout = '1m30s'\nheadTimeout = '250ms'\n"
                            "[entryPoints.x.forwardedHeaders]\ntrustedIPs = ['10.0.0.0/8', '::1']\n"
                            "[entryPoints.x.http]\nmaxHeaderBytes = 4096\n"
                            "[serversTransport]\nmaxIdleConnsPerHost = 7\n"
                            "[http.serversTransports.slow.forwardingTimeouts]\ndialTimeout = '1s'\n"
                            "[http.serversTransports.slow]\nserverName = 'b.test'\n"
                            "insecureSkipVerify = true\n"
                            "[http.services.t.loadBalancer]\nserversTransport = 'slow@file'\n"
                            "passHostHeader = false\n"
                            "servers = [{url = 'HTTP://A.test/'}, {url = 'https://b'}]\n"
                            "[tls]\nprefer = 'ACME'\n"
                            "[tls.options.default]\nsniStrict = true\n"
                            "[tls.options.new]\nminVersion = 'VersionTLS13'\n"
                            "[state]\ndirectory = 'st'\n[plugins]\ndirectories = ['p', '/q']\n"
                            "[control]\nduplicateBudget = 2\n[LOG]\nLevel = 'debug'\n");
    const struct config_entrypoint *e = &c->entrypoints[2];
    assert_int_equal(e->read_timeout_ms, 5000);
    assert_int_equal(e->idle_timeout_ms, 90000);
    assert_int_equal(e->head_timeout_ms, 250);
    assert_int_equal(e->trusted_count, 2);
    assert_string_equal(e->trusted_ips[1], "::1");
    assert_int_equal(e->head_max_bytes, 4096);
    assert_true(e->default_of_routers && !c->entrypoints[0].default_of_routers);
    assert_int_equal(c->services[0].max_idle_per_server, 7);
    assert_int_equal(c->services[1].max_idle_per_server, 200);
    assert_int_equal(c->services[1].dial_timeout_ms, 1000);
    assert_false(c->services[1].pass_host_header);
    assert_string_equal(c->services[1].servers[0].host, "a.test");
    assert_int_equal(c->services[1].servers[0].port, 80);
    assert_int_equal(c->services[0].transport, 0);
    assert_int_equal(c->services[1].transport, 1);
    assert_true(c->services[1].servers[1].https && !c->services[1].servers[0].https);
    assert_int_equal(c->services[1].servers[1].port, 443);
    assert_int_equal(c->transport_count, 3); /* the last is TCP's */
    assert_string_equal(c->transports[0].name, "");
    assert_false(c->transports[0].insecure);
    assert_string_equal(c->transports[1].name, "slow");
    assert_string_equal(c->transports[1].server_name, "b.test");
    assert_true(c->transports[1].insecure);
    assert_int_equal(c->transports[1].roots, UINT32_MAX);
    assert_int_equal(c->roots_count, 0); /* nobody needs the system's */
    assert_true(c->tls_prefer_acme);
    assert_true(c->tls_options[0].sni_strict);
    assert_int_equal(c->tls_options[1].min_version, 0x0304);
    assert_string_equal(c->state_directory, "/tmp/st");
    assert_string_equal(c->admin_socket, "/tmp/st/admin.sock");
    assert_string_equal(c->plugin_directories[0], "/tmp/p");
    assert_string_equal(c->plugin_directories[1], "/q");
    assert_int_equal(c->duplicate_budget, 2);
    assert_string_equal(c->log_level, "DEBUG");
    config_free(c);
}

static void builds_redirections(void **state)
{
    struct config *c = load("[entryPoints.a]\naddress = ':1'\n"
                            "[entryPoints.a.http.redirections.entryPoint]\nto = 'c'\n"
                            "[entryPoints.b]\naddress = ':2'\n"
                            "[entryPoints.b.http.redirections.entryPoint]\nto = ':444'\n"
                            "permanent = false\n"
                            "[entryPoints.c]\naddress = ':443'\n"
                            "[entryPoints.d]\naddress = ':8443'\n"
                            "[entryPoints.d.http.redirections.entryPoint]\nto = 'b'\n"
                            "scheme = 'http'\n");
    assert_true(c->entrypoints[0].redirect && c->entrypoints[0].redirect_permanent);
    assert_int_equal(c->entrypoints[0].redirect_to, 2);
    assert_int_equal(c->entrypoints[0].redirect_port, 0); /* 443 is usual */
    assert_string_equal(c->entrypoints[0].redirect_scheme, "https");
    assert_int_equal(c->entrypoints[1].redirect_to, UINT32_MAX);
    assert_int_equal(c->entrypoints[1].redirect_port, 444);
    assert_false(c->entrypoints[1].redirect_permanent);
    assert_false(c->entrypoints[2].redirect);
    assert_int_equal(c->entrypoints[3].redirect_port, 2);
    assert_string_equal(c->entrypoints[3].redirect_scheme, "http");
    config_free(c);
}

static void builds_resolvers(void **state)
{
    struct config *c =
        load(CONFIG_FILE_WEB "[state]\ndirectory = '/st'\n"
                             "[certificatesResolvers.r.acme]\nemail = 'a@b.test'\n"
                             "[certificatesResolvers.r.acme.dnsChallenge]\nprovider = 'rfc2136'\n"
                             "resolvers = ['1.1.1.1', '[::1]:5353', 'ns.test:54', '2001:db8::1']\n"
                             "delayBeforeCheck = '1500ms'\n"
                             "[certificatesResolvers.r.acme.dnsChallenge.propagation]\nport = 54\n"
                             "[certificatesResolvers.r.acme.dnsChallenge.env]\nA = 'x'\na = 'y'\n"
                             "[certificatesResolvers.q.acme]\nstorage = '/x/y.json'\n"
                             "keyType = 'rsa2048'\ncaServer = 'https://ca.test/dir'\n"
                             "dnsChallenge.provider = 'exec'\n");
    assert_int_equal(c->resolver_count, 2);
    const struct config_resolver *r = &c->resolvers[0];
    assert_string_equal(r->ca_server, "https://acme-v02.api.letsencrypt.org/directory");
    assert_string_equal(r->email, "a@b.test");
    assert_string_equal(r->storage, "/st/acme.json");
    assert_int_equal(r->key_type, KEY_EC256);
    assert_int_equal(r->certificates_duration_h, 0);
    assert_string_equal(r->dns_provider, "rfc2136");
    static const char *const want[] = {"1.1.1.1:53", "[::1]:5353", "ns.test:54",
                                       "[2001:db8::1]:53"};
    assert_int_equal(r->dns_resolver_count, 4);
    for (uint32_t i = 0; i < 4; i++)
        assert_string_equal(r->dns_resolvers[i], want[i]);
    assert_int_equal(r->delay_before_check_s, 2);
    assert_int_equal(r->propagation_port, 54);
    assert_int_equal(r->env_count, 2);
    assert_string_equal(r->env[1].name, "a");
    assert_string_equal(r->env[1].value, "y");
    assert_false(r->http_challenge || r->tls_challenge || r->propagation_recursive);
    assert_string_equal(c->resolvers[1].storage, "/x/y.json");
    assert_int_equal(c->resolvers[1].key_type, KEY_RSA2048);
    assert_int_equal(c->resolvers[1].propagation_port, 53);
    config_free(c);
}

#define DNS_PART CONFIG_FILE_WEB "[certificatesResolvers.r.acme.dnsChallenge]\nprovider = 'exec'\n"

/* Traefik's switches, old and new, and the one option that says it in a word. */
static void builds_propagation(void **state)
{
    static const struct {
        const char *text;
        bool authoritative, recursive;
        unsigned delay_s;
    } rows[] = {
        {"", true, false, 0},
        {"disablePropagationCheck = true\n", false, false, 0},
        {"propagation.disableChecks = true\npropagation.requireAllRNS = true\n", false, false, 0},
        {"propagation.requireAllRNS = true\n", true, true, 0},
        {"propagation.disableANSChecks = true\npropagation.requireAllRNS = true\n", false, true, 0},
        {"propagation.disableANSChecks = true\n", false, false, 0},
        {"propagation.mode = 'authoritative'\n", true, false, 0},
        {"propagation.mode = 'Recursive'\n", false, true, 0},
        {"propagation.mode = 'off'\n", false, false, 0},
        {"propagation.mode = 'wait'\ndelayBeforeCheck = 7\n", false, false, 7},
        {"propagation.delayBeforeChecks = '1m'\n", true, false, 60},
        {"propagation.delayBeforeChecks = 3\ndelayBeforeCheck = 9\n", true, false, 9},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char *text = mem_printf("%s%s", DNS_PART, rows[i].text);
        struct config *c = load(text);
        const struct config_resolver *r = &c->resolvers[0];
        assert_int_equal(r->propagation_authoritative, rows[i].authoritative);
        assert_int_equal(r->propagation_recursive, rows[i].recursive);
        assert_int_equal(r->delay_before_check_s, rows[i].delay_s);
        assert_int_equal(r->propagation_successes, 1);
        assert_int_equal(r->propagation_timeout_s, 0);
        assert_false(r->propagation_try);
        config_free(c);
        free(text);
    }
    struct config *c = load(DNS_PART "[certificatesResolvers.r.acme.dnsChallenge.propagation]\n"
                                     "successes = 3\ntimeout = '2m'\ninterval = '1500ms'\n"
                                     "onTimeout = 'try'\n");
    const struct config_resolver *r = &c->resolvers[0];
    assert_int_equal(r->propagation_successes, 3);
    assert_int_equal(r->propagation_timeout_s, 120);
    assert_int_equal(r->propagation_interval_s, 2);
    assert_true(r->propagation_try);
    config_free(c);
}

static void reads_certificates(void **state)
{
    const char *flags[] = {
        "--tls.certificates[0].certFile=" TEST_SOURCE_ROOT "/tests/fixtures/certs/a.crt",
        "--tls.certificates[0].keyFile=" TEST_SOURCE_ROOT "/tests/fixtures/certs/a.key",
        "--tls.stores.default.defaultCertificate.certFile=" TEST_SOURCE_ROOT
        "/tests/fixtures/certs/a.crt",
        "--tls.stores.default.defaultCertificate.keyFile=" TEST_SOURCE_ROOT
        "/tests/fixtures/certs/a.key",
    };
    struct config *c = config_file_load(CONFIG_FILE_WEB, flags, 4, NULL);
    assert_non_null(c);
    assert_int_equal(c->certificate_count, 1);
    struct span chain = buf_span(&c->certificates[0].chain);
    assert_true(chain.len > 3 && chain.ptr[3] == 0x30);
    assert_int_equal((size_t)chain.ptr[0] << 16 | chain.ptr[1] << 8 | chain.ptr[2], chain.len - 3);
    struct key *key = NULL;
    struct x509 leaf;
    struct why why;
    assert_true(result_is_ok(key_from_der(buf_span(&c->certificates[0].key), &key, &why)));
    assert_true(result_is_ok(x509_parse(span_skip(chain, 3), &leaf, &why)));
    assert_true(result_is_ok(x509_check_key(&leaf, key, &why)));
    assert_non_null(c->default_certificate);
    assert_true(c->default_certificate->key.len > 0);
    config_forget_certificates(c);
    assert_null(c->certificates[0].chain.ptr);
    assert_null(c->certificates[0].key.ptr);
    assert_null(c->default_certificate->key.ptr);
    assert_string_equal(c->certificates[0].cert_file,
                        TEST_SOURCE_ROOT "/tests/fixtures/certs/a.crt");
    key_free(key);
    x509_free(&leaf);
    config_free(c);
}

/* The supervisor's: not even whether the files are there is looked at. */
static void starts_without_certificates(void **state)
{
    static const char *const flags[] = {
        "--entryPoints.web.address=127.0.0.1:8080",
        "--tls.certificates[0].certFile=/nonexistent/a.crt",
        "--tls.certificates[0].keyFile=/nonexistent/a.key",
        "--tls.stores.default.defaultCertificate.certFile=/nonexistent/a.crt",
        "--tls.stores.default.defaultCertificate.keyFile=/nonexistent/a.key",
    };
    struct config_problems problems = {0};
    struct config *c = NULL;
    assert_true(result_is_ok(config_load(NULL, flags, 5, CONFIG_START, &c, &problems)));
    assert_int_equal(problems.count, 0);
    assert_int_equal(c->entrypoint_count, 1);
    assert_int_equal(c->certificate_count, 1);
    assert_string_equal(c->certificates[0].cert_file, "/nonexistent/a.crt");
    assert_int_equal(c->certificates[0].chain.len + c->certificates[0].key.len, 0);
    assert_non_null(c->default_certificate);
    config_forget_secrets(c);
    config_free(c);
    assert_false(result_is_ok(config_load(NULL, flags, 5, CONFIG_RUN, &c, &problems)));
    assert_int_equal(problems.errors, 4);
    config_problems_free(&problems);
}

static void flags_win(void **state)
{
    static const char *const flags[] = {"--entryPoints.web.address=:81",
                                        "--entrypoints.new.address=\":82\"",
                                        "--workers.count=3",
                                        "--workers.cpus=0",
                                        "--workers.count=1",
                                        "--http.routers.r.rule=Host(`a`)",
                                        "--http.routers.r.service=s",
                                        "--http.routers.r.tls=true",
                                        "--http.routers.r.entryPoints=web,new"};
    struct config *c = config_file_load(CONFIG_FILE_WEB, flags, 9, NULL);
    assert_non_null(c);
    assert_int_equal(net_addr_port(&c->entrypoints[0].sockets[0]), 81);
    assert_string_equal(c->entrypoints[2].name, "new");
    assert_int_equal(c->workers, 1);
    assert_int_equal(c->worker_cpus[0], 0);
    assert_true(c->routers[0].tls);
    assert_int_equal(c->routers[0].entrypoint_count, 2);
    assert_int_equal(c->routers[0].entrypoints[1], 2);
    config_free(c);
}

static void shows_no_secret(void **state)
{
    struct buf out = {0};
    assert_null(config_file_load(CONFIG_FILE_WEB
                                 "[certificatesResolvers.r.acme.dnsChallenge]\nprovider = 'x'\n"
                                 "[certificatesResolvers.r.acme.dnsChallenge.env]\n"
                                 "A = \"canary\\u0000\"\nB = 12345678\nC = ['canary']\n"
                                 "D = true\nE = 1.2345678\n",
                                 NULL, 0, &out));
    assert_null(strstr(buf_cstr(&out), "canary"));
    assert_null(strstr(buf_cstr(&out), "345678"));
    buf_free(&out);
}

static void fragments_need_nothing(void **state)
{
    static const char *const flags[] = {
        "--acme.httpChallenge.entryPoint=http", "--acme.onHostRule=true",
        "--http.routers.x.rule=Host(a.test,b.test)", "--http.routers.x.service=none"};
    struct config_problems problems = {0};
    struct config *config = NULL;
    assert_true(result_is_ok(config_load(NULL, flags, 4, CONFIG_FRAGMENT, &config, &problems)));
    assert_null(config);
    assert_int_equal(problems.count, 0);
    assert_false(result_is_ok(config_load(NULL, flags, 4, CONFIG_RUN, &config, &problems)));
    assert_null(config);
    assert_true(problems.errors >= 3);
    config_problems_free(&problems);
}

UNIT_TESTS(cmocka_unit_test(fills_in_defaults), cmocka_unit_test(takes_what_is_written),
           cmocka_unit_test(builds_redirections), cmocka_unit_test(builds_resolvers),
           cmocka_unit_test(builds_propagation), cmocka_unit_test(reads_certificates),
           cmocka_unit_test(starts_without_certificates), cmocka_unit_test(flags_win),
           cmocka_unit_test(shows_no_secret), cmocka_unit_test(fragments_need_nothing))

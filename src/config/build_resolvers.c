/* SPDX-License-Identifier: Apache-2.0 */
#include "config/build.h"

#include "base/must.h"
#include "config/value.h"
#include "crypto/digest.h"
#include "crypto/x509.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <stdio.h>

#define PEM_MAX_BYTES (4u << 20)
#define EAB_KEY_MIN   16
#define LE_PRODUCTION "https://acme-v02.api.letsencrypt.org/directory"
#define LE_STAGING    "https://acme-staging-v02.api.letsencrypt.org/directory"

static const char *resolver_name(const struct config *config, uint32_t i)
{
    return config->resolvers[i].name;
}

/* PEM text in the configuration, as it is or all of it in base64. */
static bool pem_in_place(const char *text, struct buf *pem)
{
    struct buf decoded = {0};
    struct span whole = span_str(text);
    if (result_is_ok(base64_get(whole, &decoded)))
        whole = buf_span(&decoded);
    const uint8_t *begin = whole.len ? memmem(whole.ptr, whole.len, "-----BEGIN ", 11) : NULL;
    if (begin && (decoded.len || begin == whole.ptr))
        buf_put(pem, begin, whole.len - (size_t)(begin - whole.ptr));
    buf_free(&decoded);
    return pem->len > 0;
}

static void build_roots(struct build *b, struct place acme, struct config_resolver *r)
{
    struct place list = build_at(acme, "caCertificates");
    r->ca_certificates = build_list(b, list, "", &r->ca_certificate_count);
    uint32_t i = 0;
    for (const struct node *n = NULL; (n = build_next(list, n));) {
        struct buf pem = {0}, chain = {0};
        struct why why;
        struct result read = result_ok();
        bool in_place = pem_in_place(n->text, &pem);
        const char *path = in_place
                               ? "(in the configuration)"
                               : build_absolute(b->arena, build_directory(b->arena, n), n->text);
        if (!in_place)
            read = build_read(path, PEM_MAX_BYTES, &pem, &why);
        if (!result_is_ok(read))
            problems_error(b->problems, n->at, "caCertificates: %s", why.text);
        else if (!result_is_ok(x509_chain_from_pem(buf_span(&pem), &chain, NULL, &why)))
            problems_error(b->problems, n->at, "caCertificates: %s: %s", path, why.text);
        r->ca_certificates[i++] = in_place ? arena_strndup(b->arena, pem.ptr, pem.len) : path;
        buf_free(&pem);
        buf_free(&chain);
    }
}

/* "host" becomes "host:53", an IPv6 address gets brackets. */
static const char *with_port(struct build *b, const char *text)
{
    struct span host;
    uint16_t port;
    must(result_is_ok(net_split_host_port(span_str(text), &host, &port)));
    bool v6 = span_find(host, ':') < host.len;
    return arena_printf(b->arena, v6 ? "[%.*s]:%u" : "%.*s:%u", SPAN_FMT(host), port ? port : 53);
}

static const char **build_servers(struct build *b, struct place from, const char *path,
                                  uint32_t *ret_count)
{
    const char **list = build_list(b, from, path, ret_count);
    for (uint32_t i = 0; i < *ret_count; i++)
        list[i] = with_port(b, list[i]);
    return list;
}

static void build_env(struct build *b, struct place table, struct config_resolver *r)
{
    r->env = arena_alloc(b->arena, (build_count(table) + 1) * sizeof *r->env);
    for (const struct node *n = NULL; (n = build_next(table, n));) {
        bool good = !isdigit((unsigned char)n->key[0]);
        for (const char *c = n->key; *c; c++)
            good = good && (isalnum((unsigned char)*c) || *c == '_');
        if (!good)
            problems_error(b->problems, n->key_at,
                           "\"%s\" is not a name of a variable: letters, digits and _", n->key);
        r->env[r->env_count++] =
            (struct config_env){arena_strdup(b->arena, n->key), arena_strdup(b->arena, n->text)};
    }
}

/* Traefik's switches, which say the same as propagation.mode in other words. */
static void build_switches(struct build *b, struct place dns, struct config_resolver *r)
{
    static const char *const names[] = {"propagation.disableChecks", "disablePropagationCheck",
                                        "propagation.disableANSChecks",
                                        "propagation.requireAllRNS"};
    const struct node *mode = build_at(dns, "propagation.mode").node;
    bool disabled = build_bool(dns, names[0]) || build_bool(dns, names[1]);
    for (size_t i = 0; mode && i < sizeof names / sizeof names[0]; i++)
        if (build_at(dns, names[i]).node)
            problems_error(b->problems, build_at(dns, names[i]).node->key_at,
                           "give propagation.mode or %s, not both", names[i]);
    if (mode)
        return;
    r->propagation_authoritative = !disabled && !build_bool(dns, names[2]);
    r->propagation_recursive = !disabled && build_bool(dns, names[3]);
    if (!disabled && !r->propagation_authoritative && !r->propagation_recursive)
        problems_warn(b->problems, build_at(dns, names[2]).node->key_at,
                      "without the authoritative servers nobody is asked for the TXT value: set "
                      "propagation.requireAllRNS to ask the resolvers");
}

static uint32_t build_seconds(struct place from, const char *path)
{
    return build_at(from, path).node ? (uint32_t)((build_ms(from, path) + 999) / 1000) : 0;
}

static void build_propagation(struct build *b, struct place dns, struct config_resolver *r)
{
    const struct node *n = build_at(dns, "propagation.mode").node;
    const char *mode = build_text(b, dns, "propagation.mode");
    uint64_t older_ms = build_ms(dns, "delayBeforeCheck");
    uint64_t newer_ms = build_ms(dns, "propagation.delayBeforeChecks");
    r->delay_before_check_s = ((older_ms > newer_ms ? older_ms : newer_ms) + 999) / 1000;
    r->propagation_authoritative = !strcmp(mode, "authoritative");
    r->propagation_recursive = !strcmp(mode, "recursive");
    build_switches(b, dns, r);
    if (!strcmp(mode, "wait") && !r->delay_before_check_s)
        problems_error(
            b->problems, n->at,
            "propagation.mode = \"wait\" needs propagation.delayBeforeChecks: how long to "
            "wait");
    r->propagation_port = (uint16_t)build_int(dns, "propagation.port");
    r->propagation_successes = (uint32_t)build_int(dns, "propagation.successes");
    r->propagation_timeout_s = build_seconds(dns, "propagation.timeout");
    r->propagation_interval_s = build_seconds(dns, "propagation.interval");
    r->propagation_try = !strcmp(build_text(b, dns, "propagation.onTimeout"), "try");
}

static void build_dns(struct build *b, struct place dns, struct config_resolver *r)
{
    build_propagation(b, dns, r);
    r->dns_resolvers = build_servers(b, dns, "resolvers", &r->dns_resolver_count);
    build_env(b, build_at(dns, "env"), r);
    if (dns.node && build_required(b, dns, "provider"))
        r->dns_provider = build_text(b, dns, "provider");
}

/* Without "/" and "/." at its end. */
static struct span trimmed(const char *path)
{
    size_t len = strlen(path);
    while (len > 1 && (path[len - 1] == '/' || (path[len - 1] == '.' && path[len - 2] == '/')))
        len--;
    return span_of(path, len);
}

static void build_storage(struct build *b, struct place acme, struct config_resolver *r)
{
    const struct node *n = build_at(acme, "storage").node;
    if (n && strstr(n->text, "://")) {
        problems_error(b->problems, n->at,
                       "\"%s\" is a URL: accounts and certificates are kept in a file that ends in "
                       ".json, or in a directory",
                       n->text);
        r->storage = "";
        return;
    }
    r->storage =
        build_absolute(b->arena, b->config->state_directory, build_text(b, acme, "storage"));
    if (span_eq(trimmed(r->storage), trimmed(b->config->state_directory)))
        problems_error(b->problems, n ? n->at : b->top,
                       "storage must be a path of its own: a file that ends in .json, or a "
                       "directory other than the state directory");
}

/* Is any challenge written, whether good or not? */
static bool has_challenge(const struct node *acme)
{
    return tree_child(acme, "dnsChallenge") || tree_child(acme, "httpChallenge") ||
           tree_child(acme, "tlsChallenge");
}

static void check_directory(struct build *b, const struct node *n)
{
    if (strncmp(n->text, "https://", 8) != 0 || !n->text[8])
        problems_error(b->problems, n->at,
                       "\"%s\" is no directory of a CA: a URL beginning with https://", n->text);
}

static void build_cas(struct build *b, struct place acme, struct config_resolver *r)
{
    struct place list = build_at(acme, "caServers");
    const struct node *staging = build_at(acme, "caStaging").node;
    const struct node *one = tree_child(acme.node, "caServer");
    r->ca_servers = build_list(b, list, "", &r->ca_server_count);
    for (const struct node *n = NULL; (n = build_next(list, n));)
        check_directory(b, n);
    if (r->ca_server_count && one)
        problems_error(b->problems, one->key_at, "give caServer or caServers, not both");
    if (r->ca_server_count > CONFIG_CAS_MAX)
        problems_error(b->problems, list.node->at, "caServers: at most %d CAs", CONFIG_CAS_MAX);
    if (!r->ca_server_count) {
        r->ca_servers = arena_alloc(b->arena, sizeof *r->ca_servers);
        r->ca_servers[r->ca_server_count++] = build_text(b, acme, "caServer");
    }
    r->ca_server = r->ca_servers[0];
    r->ca_staging = strcmp(r->ca_server, LE_PRODUCTION) ? "" : LE_STAGING;
    if (staging && staging->text[0])
        check_directory(b, staging);
    if (staging)
        r->ca_staging = arena_strdup(b->arena, staging->text);
}

static bool listens_on(const struct config_entrypoint *e, uint16_t port)
{
    for (uint32_t i = 0; i < e->address_count; i++)
        if (net_addr_port(&e->sockets[i]) == port)
            return true;
    return false;
}

/* The CA connects to port 80 and no other (RFC 8555 section 8.3). */
static void build_http_challenge(struct build *b, struct place http, struct config_resolver *r)
{
    r->http_challenge = http.node != NULL;
    r->http_challenge_entrypoint = build_text(b, http, "entryPoint");
    r->http_challenge_delay_s = (build_ms(http, "delay") + 999) / 1000;
    r->http_challenge_port = (uint16_t)build_int(http, "port");
    if (!r->http_challenge || !build_required(b, http, "entryPoint"))
        return;
    uint16_t port = r->http_challenge_port;
    uint32_t index = build_refer(b, &b->entry_names, build_at(http, "entryPoint").node,
                                 r->http_challenge_entrypoint, "entry point");
    if (index != UINT32_MAX && !listens_on(&b->config->entrypoints[index], port))
        problems_warn(b->problems, build_at(http, "entryPoint").node->at,
                      "entry point %s does not listen on port %u, where the CA looks for HTTP-01; "
                      "if something forwards port 80 to it, say so by httpChallenge.port",
                      r->http_challenge_entrypoint, port);
}

/* ... and to port 443 (RFC 8737 section 3). */
static void build_tls_challenge(struct build *b, struct place tls, struct config_resolver *r)
{
    r->tls_challenge = tls.node != NULL;
    r->tls_challenge_delay_s = (build_ms(tls, "delay") + 999) / 1000;
    r->tls_challenge_port = (uint16_t)build_int(tls, "port");
    if (!r->tls_challenge)
        return;
    uint16_t port = r->tls_challenge_port;
    for (uint32_t i = 0; i < b->config->entrypoint_count; i++)
        if (listens_on(&b->config->entrypoints[i], port))
            return;
    problems_warn(b->problems, tls.node->key_at,
                  "no entry point listens on port %u, where the CA looks for TLS-ALPN-01; if "
                  "something forwards port 443, say so by tlsChallenge.port",
                  port);
}

/* What can stand in a certificate's rfc822Name (RFC 5280 section 4.2.1.6). */
static bool is_mail_address(const char *text)
{
    const char *at = strchr(text, '@');
    if (!at || at == text || !at[1] || strchr(at + 1, '@'))
        return false;
    for (const char *c = text; *c; c++)
        if (*c <= 0x20 || *c >= 0x7f)
            return false;
    return true;
}

static uint8_t check_of(struct build *b, struct place acme, const char *path)
{
    const char *text = build_text(b, acme, path);
    return !strcmp(text, "stop")   ? CONFIG_CHECK_STOP
           : !strcmp(text, "warn") ? CONFIG_CHECK_WARN
                                   : CONFIG_CHECK_OFF;
}

static void build_public_addresses(struct build *b, struct place list, struct config_resolver *r)
{
    r->public_addresses = arena_alloc(b->arena, (build_count(list) + 1) * sizeof(struct net_addr));
    for (const struct node *n = NULL; (n = build_next(list, n));) {
        char text[NET_ADDR_TEXT_MAX];
        struct net_addr *a = &r->public_addresses[r->public_address_count];
        uint8_t raw[16];
        bool good = inet_pton(AF_INET, n->text, raw) == 1 || inet_pton(AF_INET6, n->text, raw) == 1;
        snprintf(text, sizeof text, strchr(n->text, ':') ? "[%.60s]" : "%.60s", n->text);
        if (good && result_is_ok(net_addr_parse(span_str(text), 1, a)))
            r->public_address_count++;
        else
            problems_error(b->problems, n->at, "\"%s\" is no IP address", n->text);
    }
}

static void build_checks(struct build *b, struct place acme, struct config_resolver *r)
{
    r->check_address = check_of(b, acme, "preflight.address");
    r->check_port = check_of(b, acme, "preflight.port");
    r->check_txt = check_of(b, acme, "preflight.txt");
    build_public_addresses(b, build_at(acme, "preflight.publicAddresses"), r);
    r->check_resolvers = build_servers(b, acme, "preflight.resolvers", &r->check_resolver_count);
    r->check_caa = check_of(b, acme, "preflight.caa");
    r->check_clock = check_of(b, acme, "preflight.clock");
    r->check_disk = check_of(b, acme, "preflight.disk");
}

static void build_request(struct build *b, struct place acme, struct config_resolver *r)
{
    struct place list = build_at(acme, "emailAddresses");
    r->email_addresses = build_list(b, list, "", &r->email_address_count);
    for (const struct node *n = NULL; (n = build_next(list, n));)
        if (!is_mail_address(n->text))
            problems_error(b->problems, n->at,
                           "\"%s\" is no mail address: somebody@example.com, in ASCII", n->text);
    r->no_common_name = build_bool(acme, "disableCommonName");
    r->must_staple = build_bool(acme, "mustStaple");
    r->client_timeout_ms = build_ms(acme, "clientTimeout");
    r->client_header_timeout_ms = build_ms(acme, "clientResponseHeaderTimeout");
    r->certificate_timeout_s = (uint32_t)((build_ms(acme, "certificateTimeout") + 999) / 1000);
}

/* RFC 8555 section 7.3.4. The key is a secret: it is not shown. */
static void build_eab(struct build *b, struct place acme, struct config_resolver *r)
{
    struct place eab = build_at(acme, "eab");
    const struct node *hmac = build_at(eab, "hmacEncoded").node;
    struct buf key = {0};
    r->eab_kid = build_text(b, eab, "kid");
    r->eab_hmac = build_text(b, eab, "hmacEncoded");
    if (!*r->eab_kid != !*r->eab_hmac)
        problems_error(b->problems, eab.node->at, "eab needs kid and hmacEncoded, not one of them");
    else if (hmac && *r->eab_hmac &&
             (!result_is_ok(base64url_get(span_str(r->eab_hmac), &key)) || key.len < EAB_KEY_MIN))
        problems_error(b->problems, hmac->at,
                       "eab.hmacEncoded must be base64url without padding (letters, digits, - and "
                       "_) for at least %d bytes",
                       EAB_KEY_MIN);
    buf_wipe_free(&key);
}

static void build_one(struct build *b, const char *name, struct place acme,
                      struct config_resolver *r)
{
    enum key_type type;
    r->name = arena_strdup(b->arena, name);
    r->where = build_where(b, acme.node->key_at);
    build_cas(b, acme, r);
    build_roots(b, acme, r);
    r->ca_system_pool = build_bool(acme, "caSystemCertPool");
    r->ca_server_name = build_text(b, acme, "caServerName");
    r->email = build_text(b, acme, "email");
    build_storage(b, acme, r);
    build_request(b, acme, r);
    build_checks(b, acme, r);
    must(result_is_ok(key_type_parse(span_str(build_text(b, acme, "keyType")), &type)));
    r->key_type = (uint8_t)type;
    if (build_at(acme, "certificatesDuration").node)
        r->certificates_duration_h = (uint64_t)build_int(acme, "certificatesDuration");
    r->preferred_chain = build_text(b, acme, "preferredChain");
    r->profile = build_text(b, acme, "profile");
    build_eab(b, acme, r);
    build_dns(b, build_at(acme, "dnsChallenge"), r);
    build_tls_challenge(b, build_at(acme, "tlsChallenge"), r);
    build_http_challenge(b, build_at(acme, "httpChallenge"), r);
    if (!has_challenge(acme.node))
        problems_error(b->problems, acme.node->key_at,
                       "%s has no challenge: it needs dnsChallenge, httpChallenge or tlsChallenge",
                       tree_path(b->arena, acme.node));
}

/* The older [acme]: a resolver of that name, with certificates of its own. */
static void build_older(struct build *b, struct place acme, struct config_resolver *r)
{
    build_one(b, "acme", acme, r);
    r->log_steps = build_bool(acme, "acmeLogging");
    r->domains = build_domains(b, build_at(acme, "domains"), &r->domain_count);
    const struct node *named = tree_child(build_at(b->root, "certificatesResolvers").node, "acme");
    if (named)
        problems_error(b->problems, named->key_at,
                       "[acme] makes a resolver named acme: give this one another name");
    for (uint32_t i = 0; i < r->domain_count; i++) {
        for (uint32_t k = 0; k < r->domains[i].count; k++) {
            if (r->domains[i].names[k][0] == '*' && has_challenge(acme.node) &&
                !tree_child(acme.node, "dnsChallenge"))
                problems_error(b->problems, build_at(acme, "domains").node->at,
                               "%s needs dnsChallenge: wildcards work with DNS-01 only",
                               r->domains[i].names[k]);
        }
    }
}

void build_resolvers(struct build *b)
{
    struct place all = build_at(b->root, "certificatesResolvers");
    struct place older = build_at(b->root, "acme");
    struct config *c = b->config;
    c->resolvers = arena_alloc(b->arena, (build_count(all) + 1) * sizeof *c->resolvers);
    for (const struct node *n = NULL; (n = build_next(all, n));) {
        struct place acme = build_at(build_child(all, n), "acme");
        if (acme.node)
            build_one(b, n->key, acme, &c->resolvers[c->resolver_count++]);
        else if (!tree_child(n, "acme") && !n->first)
            problems_error(b->problems, n->key_at, "resolver %s needs an acme part", n->key);
    }
    if (older.node)
        build_older(b, older, &c->resolvers[c->resolver_count++]);
    build_names(b, &b->resolver_names, c->resolver_count, resolver_name);
    for (uint32_t i = 0; i < c->entrypoint_count; i++) {
        const struct node *n = build_at(b->entry_places[i], "http.tls.certResolver").node;
        if (n)
            c->entrypoints[i].tls_resolver =
                build_refer(b, &b->resolver_names, n, n->text, "certificate resolver");
    }
}

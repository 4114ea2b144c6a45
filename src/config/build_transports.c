/* SPDX-License-Identifier: Apache-2.0 */
/* [serversTransport], [http.serversTransports] and [tcp.serversTransports]. */
#include "config/build.h"

#include "base/must.h"
#include "crypto/x509.h"

#include <stdlib.h>
#include <unistd.h>

#define PEM_MAX_BYTES (8u << 20)

/* Where systems keep the certificates of the CAs that they trust, in one file. */
static const char *const system_files[] = {
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
};

static const struct node *place_node(struct place p, const char *path)
{
    const struct node *n = build_at(p, path).node;
    return n ? n : p.node;
}

/* Appends the certificates of one rootCAs value. */
static void add_roots(struct build *b, const struct node *n, struct buf *certs)
{
    struct buf pem = {0};
    struct why why;
    const char *file = "(in the configuration)";
    struct result r = result_ok();
    if (strncmp(n->text, "-----BEGIN ", 11) == 0) {
        buf_put_str(&pem, n->text);
    } else {
        file = build_absolute(b->arena, build_directory(b->arena, n), n->text);
        r = build_read(file, PEM_MAX_BYTES, &pem, &why);
    }
    if (!result_is_ok(r))
        problems_error(b->problems, n->at, "rootCAs: %s", why.text);
    else if (!result_is_ok(x509_chain_from_pem(buf_span(&pem), certs, NULL, &why)))
        problems_error(b->problems, n->at, "rootCAs: %s: %s", file, why.text);
    buf_free(&pem);
}

static uint32_t new_roots(struct config *c, struct buf certs)
{
    c->roots[c->roots_count] = (struct config_roots){certs};
    return c->roots_count++;
}

static void build_certificate(struct build *b, struct place p, struct config_transport *t)
{
    struct place list = build_at(p, "certificates");
    const struct node *first = build_next(list, NULL);
    for (const struct node *n = NULL; (n = build_next(list, n));) {
        struct place one = {n, list.schema};
        if (n != first) {
            problems_error(b->problems, n->at,
                           "certificates: a transport shows one certificate, not several");
            return;
        }
        struct config_certificate *pair = arena_alloc(b->arena, sizeof *pair);
        if (build_pair(b, one, pair))
            t->certificate = pair;
    }
}

/* What only HTTP has. */
static void build_http(struct build *b, struct place p, struct config_transport *t)
{
    t->no_http2 = build_bool(p, "disableHTTP2");
    t->peer_uri = build_text(b, p, "peerCertURI");
    t->read_idle_timeout_ms = build_ms(p, "forwardingTimeouts.readIdleTimeout");
    t->ping_timeout_ms = build_ms(p, "forwardingTimeouts.pingTimeout");
}

static void build_one(struct build *b, const char *name, struct place p, bool tcp)
{
    struct config_transport *t = &b->config->transports[b->config->transport_count++];
    struct place roots = build_at(p, "rootCAs");
    struct buf certs = {0};
    t->name = arena_strdup(b->arena, name);
    t->where = p.node ? build_where(b, p.node->key_at) : (struct config_where){0};
    t->insecure = build_bool(p, "insecureSkipVerify");
    t->server_name = build_text(b, p, "serverName");
    t->peer_uri = "";
    t->tcp = tcp;
    if (!tcp)
        build_http(b, p, t);
    t->roots = UINT32_MAX;
    if (strlen(t->server_name) > 253)
        problems_error(b->problems, place_node(p, "serverName")->at,
                       "serverName: a name has at most 253 bytes");
    for (const struct node *n = NULL; (n = build_next(roots, n));)
        add_roots(b, n, &certs);
    if (certs.len)
        t->roots = new_roots(b->config, certs);
    build_certificate(b, p, t);
    if (t->insecure && (certs.len || *t->peer_uri))
        problems_warn(b->problems, place_node(p, "insecureSkipVerify")->at,
                      "insecureSkipVerify: rootCAs%s have no effect beside it",
                      tcp ? "" : " and peerCertURI");
}

/* The schema of a table under a name of the user's, for one that nobody has written. */
static struct place unwritten(struct place tables)
{
    return (struct place){NULL, options_child(tables.schema, "default")};
}

void build_transports(struct build *b)
{
    struct place all = build_at(b->root, "http.serversTransports");
    struct place tcp = build_at(b->root, "tcp.serversTransports");
    struct config *c = b->config;
    uint32_t max = build_count(all) + build_count(tcp) + 2;
    c->transports = arena_alloc(b->arena, max * sizeof *c->transports);
    c->roots = arena_alloc(b->arena, (max + 1) * sizeof *c->roots);
    build_one(b, "", build_at(b->root, "serversTransport"), false);
    for (const struct node *n = NULL; (n = build_next(all, n));)
        build_one(b, n->key, build_child(all, n), false);
    c->first_tcp_transport = c->transport_count;
    build_one(b, "", build_at(unwritten(tcp), "tls"), true);
    for (const struct node *n = NULL; (n = build_next(tcp, n));)
        build_one(b, n->key, build_at(build_child(tcp, n), "tls"), true);
}

/* SSL_CERT_FILE, else the first file that is there, is read once. */
static uint32_t system_roots(struct build *b, struct config_where at)
{
    const char *file = getenv("SSL_CERT_FILE");
    struct buf pem = {0}, certs = {0};
    struct why why = {"no CA certificates of the system were found"};
    if (b->system_roots_read)
        return b->system_roots;
    b->system_roots_read = true;
    b->system_roots = UINT32_MAX;
    for (size_t i = 0; !(file && *file) && i < sizeof system_files / sizeof *system_files; i++)
        file = access(system_files[i], R_OK) == 0 ? system_files[i] : NULL;
    if (file && *file && result_is_ok(build_read(file, PEM_MAX_BYTES, &pem, &why)) &&
        result_is_ok(x509_chain_from_pem(buf_span(&pem), &certs, NULL, &why)))
        b->system_roots = new_roots(b->config, certs);
    else
        problems_warn(b->problems, at,
                      "%s: servers that are verified by them are refused; name the right ones in "
                      "rootCAs",
                      why.text);
    buf_free(&pem);
    return b->system_roots;
}

void build_need_roots(struct build *b, uint32_t transport)
{
    struct config_transport *t = &b->config->transports[transport];
    if (t->roots == UINT32_MAX && !t->insecure)
        t->roots = system_roots(b, t->where.line ? t->where : b->top);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* [tls]: policies, certificates from files. */
#include "config/build.h"

#include "base/clock.h"
#include "crypto/key.h"
#include "crypto/x509.h"

#define PEM_MAX_BYTES (1u << 20)

static const char *tls_options_name(const struct config *config, uint32_t i)
{
    return config->tls_options[i].name;
}

static void build_policy(struct build *b, const char *name, struct place p,
                         struct config_tls_options *o)
{
    o->name = arena_strdup(b->arena, name);
    o->where = p.node ? build_where(b, p.node->key_at) : (struct config_where){0};
    o->min_version = strcmp(build_text(b, p, "minVersion"), "VersionTLS13") == 0 ? 0x0304 : 0x0303;
    o->max_version = strcmp(build_text(b, p, "maxVersion"), "VersionTLS12") == 0 ? 0x0303 : 0x0304;
    o->sni_strict = build_bool(p, "sniStrict");
    o->no_tickets = build_bool(p, "disableSessionTickets");
    if (o->min_version > o->max_version)
        problems_error(b->problems, p.node->key_at,
                       "tls.options.%s: minVersion is above maxVersion", name);
}

static void build_policies(struct build *b)
{
    struct place all = build_at(b->root, "tls.options");
    struct config *c = b->config;
    c->tls_options = arena_alloc(b->arena, (build_count(all) + 1) * sizeof *c->tls_options);
    struct place one = {NULL, options_at(all.schema, "default")};
    for (const struct node *n = NULL; (n = build_next(all, n));) {
        if (strcmp(n->key, "default") == 0)
            one.node = n;
    }
    build_policy(b, "default", one, &c->tls_options[c->tls_option_count++]);
    for (const struct node *n = NULL; (n = build_next(all, n));) {
        if (n != one.node)
            build_policy(b, n->key, build_child(all, n), &c->tls_options[c->tls_option_count++]);
    }
    build_names(b, &b->tls_names, c->tls_option_count, tls_options_name);
}

/* The PEM text that an option names, or holds itself. */
static bool read_pem(struct build *b, struct place p, const char *path, const char **ret_file,
                     struct buf *out)
{
    const struct node *n = build_at(p, path).node;
    struct why why;
    if (strncmp(n->text, "-----BEGIN ", 11) == 0) {
        *ret_file = "(in the configuration)";
        buf_put_str(out, n->text);
        return true;
    }
    *ret_file = build_path(b, p, path);
    if (result_is_ok(build_read(*ret_file, PEM_MAX_BYTES, out, &why)))
        return true;
    problems_error(b->problems, n->at, "%s: %s", path, why.text);
    return false;
}

static void warn_of_dates(struct build *b, const struct node *n, const char *file,
                          const struct x509 *leaf)
{
    char text[32];
    struct tm tm;
    int64_t now_s = clock_wall_s();
    bool expired = leaf->not_after_s < now_s;
    time_t when_s = (time_t)(expired ? leaf->not_after_s : leaf->not_before_s);
    if (!expired && leaf->not_before_s <= now_s)
        return;
    gmtime_r(&when_s, &tm);
    strftime(text, sizeof text, "%Y-%m-%d %H:%M:%S UTC", &tm);
    problems_warn(b->problems, n->at,
                  expired ? "%s: the certificate expired on %s"
                          : "%s: the certificate is not valid before %s",
                  file, text);
}

bool build_pair(struct build *b, struct place p, struct config_certificate *ret)
{
    struct buf cert_pem = {0}, key_pem = {0};
    struct x509 leaf = {0};
    struct key *key = NULL;
    struct why why;
    bool whole = build_required(b, p, "certFile");
    whole = build_required(b, p, "keyFile") && whole;
    if (!whole)
        return false;
    const struct node *cert_node = build_at(p, "certFile").node;
    const struct node *key_node = build_at(p, "keyFile").node;
    bool good = read_pem(b, p, "certFile", &ret->cert_file, &cert_pem);
    good = read_pem(b, p, "keyFile", &ret->key_file, &key_pem) && good;
    if (cert_pem.len &&
        !result_is_ok(x509_chain_from_pem(buf_span(&cert_pem), &ret->chain, &leaf, &why))) {
        problems_error(b->problems, cert_node->at, "%s: %s", ret->cert_file, why.text);
        good = false;
    }
    if (key_pem.len && !result_is_ok(key_from_pem(buf_span(&key_pem), &key, &why))) {
        problems_error(b->problems, key_node->at, "%s: %s", ret->key_file, why.text);
        good = false;
    }
    if (good && !result_is_ok(x509_check_key(&leaf, key, &why))) {
        problems_error(b->problems, key_node->at, "%s for %s: %s", ret->key_file, ret->cert_file,
                       why.text);
        good = false;
    }
    if (good && !result_is_ok(key_to_der(key, &ret->key))) {
        problems_error(b->problems, key_node->at, "%s: the key cannot be used", ret->key_file);
        good = false;
    }
    if (good)
        warn_of_dates(b, cert_node, ret->cert_file, &leaf);
    ret->where = build_where(b, p.node->key_at);
    x509_free(&leaf);
    key_free(key);
    buf_free(&cert_pem);
    buf_wipe_free(&key_pem);
    if (!good) {
        buf_free(&ret->chain);
        buf_wipe_free(&ret->key);
    }
    return good;
}

static void build_certificates(struct build *b)
{
    struct place list = build_at(b->root, "tls.certificates");
    struct config *c = b->config;
    c->certificates = arena_alloc(b->arena, (build_count(list) + 1) * sizeof *c->certificates);
    for (const struct node *n = NULL; (n = build_next(list, n));) {
        struct place p = {n, list.schema};
        c->certificate_count += build_pair(b, p, &c->certificates[c->certificate_count]);
    }
}

static void build_stores(struct build *b)
{
    struct place stores = build_at(b->root, "tls.stores");
    struct config *c = b->config;
    for (const struct node *n = NULL; (n = build_next(stores, n));) {
        struct place p = build_at(build_child(stores, n), "defaultCertificate");
        if (strcmp(n->key, "default") != 0) {
            problems_error(b->problems, n->key_at,
                           "there is one certificate store, tls.stores.default, not %s", n->key);
        } else if (p.node) {
            struct config_certificate *pair = arena_alloc(b->arena, sizeof *pair);
            if (build_pair(b, p, pair))
                c->default_certificate = pair;
        }
    }
}

void build_tls(struct build *b)
{
    build_policies(b);
    build_certificates(b);
    build_stores(b);
}

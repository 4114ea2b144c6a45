/* SPDX-License-Identifier: Apache-2.0 */
/* [tls]: policies, certificates from files. */
#include "config/build.h"

#include "base/clock.h"
#include "config/pair_index.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define CA_FILE_BYTES_MAX (16u << 20)
#define IN_PLACE          "(in the configuration)"

static const char *tls_options_name(const struct config *config, uint32_t i)
{
    return config->tls_options[i].name;
}

/* ---- client certificates ----------------------------------------------------------------------
 */

/* One certificate of a file of roots: false when it cannot vouch for anybody. */
static bool judge_root(struct build *b, const struct node *n, const char *file, struct span der)
{
    struct x509 root;
    struct why why;
    if (!result_is_ok(x509_parse(der, &root, &why))) {
        problems_error(b->problems, n->at, "%s: %s", file, why.text);
        return false;
    }
    int64_t now_s = clock_wall_s();
    bool is_ca = root.is_ca;
    if (!is_ca)
        problems_error(b->problems, n->at,
                       "%s: the certificate of \"%s\" is not that of an authority "
                       "(basicConstraints CA:TRUE)",
                       file, root.subject);
    else if (root.not_after_s < now_s || root.not_before_s > now_s)
        problems_warn(b->problems, n->at, "%s: the certificate of \"%s\" %s: it vouches for nobody",
                      file, root.subject,
                      root.not_after_s < now_s ? "has expired" : "is not valid yet");
    x509_free(&root);
    return is_ca;
}

static void add_roots(struct build *b, const struct node *n, const char **ret_file, struct buf *out)
{
    struct buf pem = {0}, chain = {0};
    struct why why;
    bool text = pair_is_text(n->text);
    *ret_file = text ? IN_PLACE : build_absolute(b->arena, build_directory(b->arena, n), n->text);
    struct result r = result_ok();
    if (text)
        buf_put_str(&pem, n->text);
    else
        r = build_read(*ret_file, CA_FILE_BYTES_MAX, &pem, &why);
    if (!result_is_ok(r)) {
        problems_error(b->problems, n->at, "%s", why.text);
    } else if (!result_is_ok(x509_chain_from_pem(buf_span(&pem), &chain, NULL, &why))) {
        problems_error(b->problems, n->at, "%s: %s", *ret_file, why.text);
    } else {
        struct reader in = reader_of(buf_span(&chain));
        while (in.left) {
            struct span der = reader_bytes(&in, reader_be(&in, 3));
            if (judge_root(b, n, *ret_file, der)) {
                buf_put_be(out, der.len, 3);
                buf_put_span(out, der);
            }
        }
    }
    buf_free(&pem);
    buf_free(&chain);
}

static enum config_client_auth client_auth_of(const char *type)
{
    static const char *const types[] = {
        [CONFIG_CLIENT_AUTH_NONE] = "NoClientCert",
        [CONFIG_CLIENT_AUTH_REQUEST] = "RequestClientCert",
        [CONFIG_CLIENT_AUTH_REQUIRE_ANY] = "RequireAnyClientCert",
        [CONFIG_CLIENT_AUTH_VERIFY_IF_GIVEN] = "VerifyClientCertIfGiven",
        [CONFIG_CLIENT_AUTH_VERIFY] = "RequireAndVerifyClientCert",
    };
    uint32_t i = 0;
    while (i < CONFIG_CLIENT_AUTH_VERIFY && strcmp(types[i], type) != 0)
        i++;
    return (enum config_client_auth)i;
}

static void build_client_auth(struct build *b, struct place p, struct config_tls_options *o)
{
    struct place files = build_at(p, "clientAuth.caFiles");
    struct place type = build_at(p, "clientAuth.clientAuthType");
    struct buf roots = {0};
    o->ca_files = arena_alloc(b->arena, (build_count(files) + 1) * sizeof *o->ca_files);
    for (const struct node *n = NULL; (n = build_next(files, n));) {
        const char *file;
        add_roots(b, n, &file, &roots);
        if (file[0] == '/')
            o->ca_files[o->ca_file_count++] = file;
    }
    o->client_cas = span_of(arena_dup(b->arena, roots.ptr, roots.len), roots.len);
    buf_free(&roots);
    bool some = files.node && files.node->first;
    o->client_auth = some ? CONFIG_CLIENT_AUTH_VERIFY : CONFIG_CLIENT_AUTH_NONE;
    if (!type.node)
        return;
    o->client_auth = client_auth_of(type.node->text);
    if (o->client_auth >= CONFIG_CLIENT_AUTH_VERIFY_IF_GIVEN && !some)
        problems_error(b->problems, type.node->at, "tls.options.%s: %s needs clientAuth.caFiles",
                       o->name, type.node->text);
    else if (o->client_auth < CONFIG_CLIENT_AUTH_VERIFY_IF_GIVEN && some)
        problems_warn(b->problems, type.node->at,
                      "tls.options.%s: with %s nothing is verified against clientAuth.caFiles",
                      o->name, type.node->text);
}

/* ---- policies ---------------------------------------------------------------------------------
 */

/* One name for each group: people write Go's, the RFCs' and OpenSSL's. */
static const char *group_name(const char *written)
{
    static const char *const names[][3] = {{"CurveP256", "secp256r1", "P-256"},
                                           {"CurveP384", "secp384r1", "P-384"},
                                           {"CurveP521", "secp521r1", "P-521"}};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (strcmp(written, names[i][0]) == 0 || strcmp(written, names[i][1]) == 0)
            return names[i][2];
    return written;
}

static bool is_tls13_suite(const char *name)
{
    return !strstr(name, "_WITH_");
}

static void judge_suites(struct build *b, struct place p, const struct config_tls_options *o)
{
    struct place list = build_at(p, "cipherSuites");
    uint32_t tls13 = 0;
    for (uint32_t i = 0; i < o->cipher_count; i++)
        tls13 += is_tls13_suite(o->ciphers[i]);
    if (o->cipher_count == 0)
        return;
    if (tls13 == o->cipher_count && o->max_version == 0x0303)
        problems_error(b->problems, list.node->at,
                       "tls.options.%s: maxVersion is VersionTLS12, but no suite of cipherSuites "
                       "is of TLS 1.2",
                       o->name);
    else if (tls13 == o->cipher_count && o->min_version == 0x0303)
        problems_warn(b->problems, list.node->at,
                      "tls.options.%s: no suite of cipherSuites is of TLS 1.2: clients without TLS "
                      "1.3 are refused, as with minVersion = \"VersionTLS13\"",
                      o->name);
    else if (tls13 == 0 && o->min_version == 0x0304)
        problems_warn(
            b->problems, list.node->at,
            "tls.options.%s: cipherSuites names suites of TLS 1.2 only, but minVersion is "
            "VersionTLS13: they change nothing",
            o->name);
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
    o->ciphers = build_list(b, p, "cipherSuites", &o->cipher_count);
    o->groups = build_list(b, p, "curvePreferences", &o->group_count);
    for (uint32_t i = 0; i < o->group_count; i++)
        o->groups[i] = group_name(o->groups[i]);
    const char **alpn = build_list(b, p, "alpnProtocols", &o->alpn_count);
    uint32_t count = 0;
    for (uint32_t i = 0; i < o->alpn_count; i++)
        if (strcmp(alpn[i], "acme-tls/1") != 0)
            alpn[count++] = alpn[i];
    if (o->alpn_count && count == 0)
        problems_error(b->problems, build_at(p, "alpnProtocols").node->at,
                       "tls.options.%s: alpnProtocols needs \"h2\" or \"http/1.1\"", name);
    o->alpn = alpn;
    o->alpn_count = count;
    judge_suites(b, p, o);
    build_client_auth(b, p, o);
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

/* ---- certificates -----------------------------------------------------------------------------
 */

struct pair_place {
    struct build *b;
    const struct node *nodes[2]; /* by enum pair_part */
};

static void report(void *arg, enum pair_part about, bool warning, const char *text)
{
    struct pair_place *p = arg;
    if (warning)
        problems_warn(p->b->problems, p->nodes[about]->at, "%s", text);
    else
        problems_error(p->b->problems, p->nodes[about]->at, "%s", text);
}

/* The path, absolute, or the text itself; *ret_name: for messages. */
static const char *part_of(struct build *b, struct place p, const char *option,
                           const struct node **ret_node, const char **ret_name)
{
    *ret_node = build_at(p, option).node;
    if (pair_is_text((*ret_node)->text)) {
        *ret_name = IN_PLACE;
        return (*ret_node)->text;
    }
    return *ret_name = build_path(b, p, option);
}

/* It need not be read: what an earlier reading found still holds. */
static bool use_known(struct build *b, const struct pair_source *source,
                      struct config_certificate *ret)
{
    struct pair_facts facts;
    if (!b->known || !b->known->index || !pair_index_find(b->known->index, source, &facts))
        return false;
    if (!pair_may_be_cold(&facts.leaf, b->config->ocsp.on)) {
        pair_facts_free(&facts);
        return false;
    }
    pair_record_tell(&facts.record, source);
    ret->facts = mem_dup(&facts, sizeof facts);
    b->known->used++;
    return true;
}

/* may_be_cold: its chain and key need not stay in memory. */
static bool read_pair(struct build *b, struct place p, bool may_be_cold,
                      struct config_certificate *ret)
{
    struct pair_place place = {.b = b};
    struct pair_source source = {.now_s = clock_wall_s(), .say = report, .arg = &place};
    struct pair pair;
    bool whole = build_required(b, p, "certFile");
    whole = build_required(b, p, "keyFile") && whole;
    if (!whole)
        return false;
    source.text[PAIR_CERT] =
        part_of(b, p, "certFile", &place.nodes[PAIR_CERT], &source.name[PAIR_CERT]);
    source.text[PAIR_KEY] =
        part_of(b, p, "keyFile", &place.nodes[PAIR_KEY], &source.name[PAIR_KEY]);
    *ret = (struct config_certificate){.cert_file = source.name[PAIR_CERT],
                                       .key_file = source.name[PAIR_KEY],
                                       .where = build_where(b, p.node->key_at)};
    if (b->without_pairs)
        return true;
    may_be_cold = may_be_cold && ret->cert_file[0] == '/' && ret->key_file[0] == '/';
    if (may_be_cold && use_known(b, &source, ret))
        return true;
    if (!pair_read(&source, &pair))
        return false;
    if (may_be_cold && pair_may_be_cold(&pair.leaf, b->config->ocsp.on)) {
        ret->facts = mem_alloc(sizeof *ret->facts);
        pair_facts_take(&pair, ret->facts);
        pair_free(&pair);
        return true;
    }
    ret->chain = pair.chain;
    ret->key = pair.key;
    x509_free(&pair.leaf);
    pair_record_free(&pair.record);
    return true;
}

bool build_pair(struct build *b, struct place p, struct config_certificate *ret)
{
    return read_pair(b, p, false, ret);
}

/* One that is damaged is as good as none: all is read then. */
static void open_known(struct build *b)
{
    struct config_known *known = b->known;
    struct buf bytes = {0};
    char *path = mem_printf("%s/" CONFIG_INDEX_FILE, b->config->state_directory);
    struct why why;
    known->why.text[0] = '\0';
    if (access(path, F_OK) == 0) {
        struct result r = build_read(path, PAIR_INDEX_BYTES_MAX, &bytes, &why);
        if (result_is_ok(r))
            r = pair_index_open(&bytes, known->made_by, &known->index, &why);
        if (!result_is_ok(r))
            snprintf(known->why.text, sizeof known->why.text, "%s", why.text);
    }
    buf_free(&bytes);
    free(path);
}

static void build_certificates(struct build *b)
{
    struct place list = build_at(b->root, "tls.certificates");
    struct config *c = b->config;
    bool cold = build_count(list) > c->files_keep;
    c->certificates = arena_alloc(b->arena, (build_count(list) + 1) * sizeof *c->certificates);
    if (cold && b->known && !b->known->index && !b->without_pairs)
        open_known(b);
    for (const struct node *n = NULL; (n = build_next(list, n));) {
        struct place p = {n, list.schema};
        c->certificate_count += read_pair(b, p, cold, &c->certificates[c->certificate_count]);
    }
}

/* The resolver wants the domain as if it stood in its own list. */
static void add_domain(struct build *b, struct config_resolver *r, const struct config_domain *d)
{
    struct config_domain *domains = arena_alloc(b->arena, (r->domain_count + 1) * sizeof *domains);
    if (r->domain_count)
        memcpy(domains, r->domains, r->domain_count * sizeof *domains);
    domains[r->domain_count++] = *d;
    r->domains = domains;
}

/* defaultGeneratedCert. */
static void build_generated(struct build *b, struct place p)
{
    struct config *c = b->config;
    const struct node *resolver = build_at(p, "resolver").node;
    struct place domain = build_at(p, "domain");
    struct config_domain *d = arena_alloc(b->arena, sizeof *d);
    build_required(b, p, "resolver");
    if (!domain.node)
        problems_error(b->problems, p.node->key_at, "%s needs domain.main",
                       tree_path(b->arena, p.node));
    else
        build_domain(b, domain, d);
    uint32_t index = resolver ? build_refer(b, &b->resolver_names, resolver, resolver->text,
                                            "certificate resolver")
                              : UINT32_MAX;
    if (index == UINT32_MAX || d->count == 0)
        return;
    struct config_resolver *r = &c->resolvers[index];
    for (uint32_t i = 0; i < d->count; i++)
        if (d->names[i][0] == '*' && !r->dns_provider)
            problems_error(b->problems, domain.node->key_at,
                           "%s needs DNS-01, but resolver %s has no dnsChallenge", d->names[i],
                           r->name);
    if (c->default_certificate) {
        problems_warn(b->problems, p.node->key_at,
                      "there is a defaultCertificate too: that one is served");
        return;
    }
    add_domain(b, r, d);
    c->default_domain = d;
    c->default_resolver = index;
}

static void build_stores(struct build *b)
{
    struct place stores = build_at(b->root, "tls.stores");
    struct config *c = b->config;
    for (const struct node *n = NULL; (n = build_next(stores, n));) {
        struct place store = build_child(stores, n);
        struct place given = build_at(store, "defaultCertificate");
        struct place generated = build_at(store, "defaultGeneratedCert");
        if (strcmp(n->key, "default") != 0) {
            problems_error(b->problems, n->key_at,
                           "there is one certificate store, tls.stores.default, not %s", n->key);
            continue;
        }
        if (given.node) {
            struct config_certificate *pair = arena_alloc(b->arena, sizeof *pair);
            if (build_pair(b, given, pair))
                c->default_certificate = pair;
        }
        if (generated.node)
            build_generated(b, generated);
    }
}

void build_tls(struct build *b)
{
    build_policies(b);
    build_certificates(b);
    build_stores(b);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* The middleware `headers`: what it sets, and when. Most of it is known now: the security fields
 * become lines of the list of response fields, in front of the custom ones, which win. */
#include "config/build.h"

#include "base/regex.h"

#include <ctype.h>

static bool is_token(const char *text)
{
    bool good = *text;
    for (; *text; text++)
        good = good && (isalnum((unsigned char)*text) || strchr("!#$%&'*+-.^_`|~", *text));
    return good;
}

bool build_field_is_good(struct build *b, const struct node *n, const char *name, const char *value)
{
    static const char *const ours[] = {
        "Connection", "Content-Length", "Keep-Alive",        "Proxy-Connection",
        "TE",         "Trailer",        "Transfer-Encoding", "Upgrade"};
    if (!is_token(name)) {
        problems_error(b->problems, n->key_at, "\"%s\" is no name of a header field", name);
        return false;
    }
    for (size_t i = 0; i < sizeof ours / sizeof *ours; i++) {
        if (strcasecmp(name, ours[i]) != 0)
            continue;
        problems_error(b->problems, n->key_at, "%s belongs to the connection, not to a middleware",
                       ours[i]);
        return false;
    }
    for (const char *c = value; *c; c++) {
        if (((unsigned char)*c >= ' ' && *c != 0x7f) || *c == '\t')
            continue;
        problems_error(b->problems, n->at, "%s: a header field holds no control characters",
                       tree_path(b->arena, n));
        return false;
    }
    return true;
}

static void add(struct config_pairs *pairs, const char *name, const char *value)
{
    pairs->items[pairs->count++] = (struct config_pair){name, value, false};
}

/* RFC 9110 section 4.2: an authority, as far as a request line can hold it. */
static bool is_authority(const char *text)
{
    bool good = *text;
    for (; *text; text++)
        good = good && (isalnum((unsigned char)*text) || strchr("-._~:[]", *text));
    return good;
}

static void add_custom(struct build *b, struct place fields, bool request,
                       struct config_pairs *pairs)
{
    for (const struct node *n = NULL; (n = build_next(fields, n));) {
        if (!build_field_is_good(b, n, n->key, n->text))
            continue;
        if (request && strcasecmp(n->key, "Host") == 0 && !is_authority(n->text)) {
            problems_error(b->problems, n->at, "%s must be a host, with or without a port",
                           tree_path(b->arena, n));
            continue;
        }
        add(pairs, arena_strdup(b->arena, n->key), arena_strdup(b->arena, n->text));
    }
}

/* A field with the value of an option, when that is written and not empty. */
static bool add_option(struct build *b, struct place p, const char *key, const char *name,
                       struct config_pairs *pairs)
{
    const struct node *n = build_at(p, key).node;
    if (!n || !*n->text || !build_field_is_good(b, n, name, n->text))
        return false;
    add(pairs, name, arena_strdup(b->arena, n->text));
    return true;
}

static void add_security(struct build *b, struct place p, struct config_pairs *pairs)
{
    int64_t seconds = build_int(p, "stsSeconds");
    if (seconds && !build_bool(p, "isDevelopment")) {
        add(pairs, "Strict-Transport-Security",
            arena_printf(b->arena, "max-age=%lld%s%s", (long long)seconds,
                         build_bool(p, "stsIncludeSubdomains") ? "; includeSubDomains" : "",
                         build_bool(p, "stsPreload") ? "; preload" : ""));
        pairs->items[pairs->count - 1].only_tls = !build_bool(p, "forceSTSHeader");
    }
    if (!add_option(b, p, "customFrameOptionsValue", "X-Frame-Options", pairs) &&
        build_bool(p, "frameDeny"))
        add(pairs, "X-Frame-Options", "DENY");
    if (build_bool(p, "contentTypeNosniff"))
        add(pairs, "X-Content-Type-Options", "nosniff");
    if (!add_option(b, p, "customBrowserXSSValue", "X-XSS-Protection", pairs) &&
        build_bool(p, "browserXssFilter"))
        add(pairs, "X-XSS-Protection", "1; mode=block");
    add_option(b, p, "contentSecurityPolicy", "Content-Security-Policy", pairs);
    add_option(b, p, "contentSecurityPolicyReportOnly", "Content-Security-Policy-Report-Only",
               pairs);
    add_option(b, p, "referrerPolicy", "Referrer-Policy", pairs);
    add_option(b, p, "permissionsPolicy", "Permissions-Policy", pairs);
}
#define SECURITY_FIELDS 8

static struct config_texts texts(struct build *b, struct place p, const char *key)
{
    struct config_texts list;
    list.items = build_list(b, p, key, &list.count);
    return list;
}

/* "A,B" of a list; *ret_any: "*" is in it. */
static const char *join(struct build *b, struct place p, const char *key, bool *ret_any)
{
    struct place list = build_at(p, key);
    struct buf line = {0};
    *ret_any = false;
    for (const struct node *n = NULL; (n = build_next(list, n));) {
        build_field_is_good(b, n, "X", n->text);
        buf_printf(&line, "%s%s", line.len ? "," : "", n->text);
        *ret_any = *ret_any || strcmp(n->text, "*") == 0;
    }
    const char *text = arena_strdup(b->arena, buf_cstr(&line));
    buf_free(&line);
    return text;
}

static void build_cors(struct build *b, struct place p, struct config_headers *h)
{
    struct place origins = build_at(p, "accessControlAllowOriginList");
    struct place regexes = build_at(p, "accessControlAllowOriginListRegex");
    h->origins = texts(b, p, "accessControlAllowOriginList");
    h->origin_regexes = texts(b, p, "accessControlAllowOriginListRegex");
    for (const struct node *n = NULL; (n = build_next(origins, n));)
        build_field_is_good(b, n, "X", n->text);
    for (const struct node *n = NULL; (n = build_next(regexes, n));) {
        struct regex_error error;
        struct regex *x = regex_create(n->text, strlen(n->text), &error);
        if (!x)
            problems_error(b->problems, n->at, "%s: %s", tree_path(b->arena, n), error.text);
        regex_destroy(x);
    }
    h->allow_headers = join(b, p, "accessControlAllowHeaders", &h->any_header);
    h->allow_methods = join(b, p, "accessControlAllowMethods", &h->any_method);
    h->expose_headers = join(b, p, "accessControlExposeHeaders", &h->any_exposed);
    const struct node *age = build_at(p, "accessControlMaxAge").node;
    h->max_age = age ? arena_printf(b->arena, "%lld", (long long)age->integer) : "";
    h->credentials = build_bool(p, "accessControlAllowCredentials");
    h->vary = build_bool(p, "addVaryHeader");
    h->cors = h->origins.count || h->origin_regexes.count || *h->allow_headers ||
              *h->allow_methods || *h->expose_headers || age || h->credentials || h->vary;
}

static void check_names(struct build *b, struct place list)
{
    for (const struct node *n = NULL; (n = build_next(list, n));)
        build_field_is_good(b, n, n->text, "");
}

void build_middlewares_headers(struct build *b, struct place p, struct config_middleware *m)
{
    struct config_headers *h = &m->headers;
    struct place request = build_at(p, "customRequestHeaders");
    struct place response = build_at(p, "customResponseHeaders");
    struct place tls = build_at(p, "sslProxyHeaders");
    h->request.items = arena_alloc(b->arena, (build_count(request) + 1) * sizeof *h->request.items);
    h->response.items = arena_alloc(b->arena, (build_count(response) + SECURITY_FIELDS) *
                                                  sizeof *h->response.items);
    h->tls_fields.items =
        arena_alloc(b->arena, (build_count(tls) + 1) * sizeof *h->tls_fields.items);
    add_custom(b, request, true, &h->request);
    add_security(b, p, &h->response);
    add_custom(b, response, false, &h->response);
    add_custom(b, tls, false, &h->tls_fields);
    check_names(b, build_at(p, "hostsProxyHeaders"));
    h->host_fields = texts(b, p, "hostsProxyHeaders");
    if (!build_bool(p, "isDevelopment"))
        h->hosts = texts(b, p, "allowedHosts");
    build_cors(b, p, h);
    if (p.node && !p.node->first)
        problems_error(b->problems, p.node->key_at, "%s sets nothing", tree_path(b->arena, p.node));
}

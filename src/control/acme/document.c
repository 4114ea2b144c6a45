/* SPDX-License-Identifier: Apache-2.0 */
#include "control/acme/document.h"

#include "base/buf.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define SUBPROBLEMS_SHOWN 3

static const char *const status_names[] = {
    [DOCUMENT_STATUS_UNKNOWN] = "unknown", [DOCUMENT_STATUS_PENDING] = "pending",
    [DOCUMENT_STATUS_READY] = "ready",     [DOCUMENT_STATUS_PROCESSING] = "processing",
    [DOCUMENT_STATUS_VALID] = "valid",     [DOCUMENT_STATUS_INVALID] = "invalid",
    [DOCUMENT_STATUS_EXPIRED] = "expired", [DOCUMENT_STATUS_DEACTIVATED] = "deactivated",
    [DOCUMENT_STATUS_REVOKED] = "revoked",
};

const char *document_status_name(enum document_status status)
{
    return status_names[status];
}

bool document_is_url(const char *text, bool plain)
{
    size_t len = strlen(text);
    size_t scheme = strncmp(text, "https://", 8) == 0           ? 8
                    : plain && strncmp(text, "http://", 7) == 0 ? 7
                                                                : 0;
    if (!scheme || len > DOCUMENT_URL_MAX || len <= scheme || text[scheme] == '/')
        return false;
    for (size_t i = 0; i < len; i++)
        if (text[i] <= 0x20 || text[i] >= 0x7f || strchr("\"\\<>^`{|}", text[i]))
            return false;
    return true;
}

/* Copies text for people: control bytes become '?', cut at the limit. */
static void clean_text(char *out, size_t cap, const char *in)
{
    size_t n = 0;
    for (; in && in[n] && n < cap - 1; n++)
        out[n] = (unsigned char)in[n] < 0x20 || in[n] == 0x7f ? '?' : in[n];
    out[n] = 0;
}

static struct result parse_object(struct span json, const char *what, json_t **ret, struct why *why)
{
    json_error_t error;
    json_t *root = json_loadb((const char *)json.ptr, json.len, JSON_REJECT_DUPLICATES, &error);
    if (root && json_is_object(root)) {
        *ret = root;
        return result_ok();
    }
    json_decref(root);
    return why_fail(why, ERR_FORMAT, "the CA's %s is not a JSON object", what);
}

static struct result take_url(const json_t *object, const char *member, bool required, char **ret,
                              struct why *why)
{
    const json_t *v = json_object_get(object, member);
    if (!v && !required)
        return result_ok();
    const char *text = json_string_value(v);
    if (!text || !document_is_url(text, true))
        return why_fail(why, ERR_FORMAT, "the CA's answer has no usable URL \"%s\"", member);
    *ret = mem_strdup(text);
    return result_ok();
}

static enum document_status take_status(const json_t *object)
{
    const char *text = json_string_value(json_object_get(object, "status"));
    for (size_t i = 1; text && i < sizeof status_names / sizeof status_names[0]; i++)
        if (!strcmp(text, status_names[i]))
            return (enum document_status)i;
    return DOCUMENT_STATUS_UNKNOWN;
}

/* ---- problems -------------------------------------------------------------------------------- */

static void add_subproblems(const json_t *list, struct document_problem *ret)
{
    size_t count = json_array_size(list);
    for (size_t i = 0; i < count && i < SUBPROBLEMS_SHOWN; i++) {
        const json_t *sub = json_array_get(list, i);
        const json_t *who = json_object_get(sub, "identifier");
        const char *name = json_string_value(json_object_get(who, "value"));
        const char *detail = json_string_value(json_object_get(sub, "detail"));
        char name_text[128], detail_text[DOCUMENT_TEXT_MAX];
        clean_text(name_text, sizeof name_text, name ? name : "?");
        clean_text(detail_text, sizeof detail_text, detail ? detail : "");
        size_t used = strlen(ret->detail);
        snprintf(ret->detail + used, sizeof ret->detail - used, "%s%s: %s", used ? "; " : "",
                 name_text, detail_text);
    }
}

static void take_problem(const json_t *object, struct document_problem *ret)
{
    *ret = (struct document_problem){{0}, {0}};
    const char *type = json_string_value(json_object_get(object, "type"));
    const char *detail = json_string_value(json_object_get(object, "detail"));
    clean_text(ret->type, sizeof ret->type, type);
    clean_text(ret->detail, sizeof ret->detail, detail);
    add_subproblems(json_object_get(object, "subproblems"), ret);
}

void document_problem_parse(struct span json, struct document_problem *ret)
{
    *ret = (struct document_problem){{0}, {0}};
    json_t *root = json_loadb((const char *)json.ptr, json.len, 0, NULL);
    if (json_is_object(root))
        take_problem(root, ret);
    json_decref(root);
}

/* ---- directory ------------------------------------------------------------------------------- */

static void take_profiles(const json_t *meta, struct document_directory *d)
{
    json_t *profiles = json_object_get(meta, "profiles");
    const char *name;
    json_t *v;
    json_object_foreach(profiles, name, v)
    {
        char text[128];
        if (d->profile_count == DOCUMENT_PROFILES_MAX)
            return;
        clean_text(text, sizeof text, name);
        d->profiles[d->profile_count++] = mem_strdup(text);
    }
}

static void take_caa(const json_t *meta, struct document_directory *d)
{
    json_t *v;
    size_t i;
    json_array_foreach(json_object_get(meta, "caaIdentities"), i, v)
    {
        char text[256];
        clean_text(text, sizeof text, json_string_value(v));
        if (text[0] && d->caa_identity_count < DOCUMENT_CAA_MAX)
            d->caa_identities[d->caa_identity_count++] = mem_strdup(text);
    }
}

static struct result take_directory(const json_t *root, struct document_directory *d,
                                    struct why *why)
{
    TRY(take_url(root, "newNonce", true, &d->new_nonce, why));
    TRY(take_url(root, "newAccount", true, &d->new_account, why));
    TRY(take_url(root, "newOrder", true, &d->new_order, why));
    TRY(take_url(root, "revokeCert", false, &d->revoke_cert, why));
    TRY(take_url(root, "keyChange", false, &d->key_change, why));
    TRY(take_url(root, "renewalInfo", false, &d->renewal_info, why));
    const json_t *meta = json_object_get(root, "meta");
    d->external_account_required = json_is_true(json_object_get(meta, "externalAccountRequired"));
    const char *terms = json_string_value(json_object_get(meta, "termsOfService"));
    if (terms && document_is_url(terms, true))
        d->terms = mem_strdup(terms);
    take_profiles(meta, d);
    take_caa(meta, d);
    return result_ok();
}

struct result document_directory_parse(struct span json, struct document_directory *ret,
                                       struct why *why)
{
    json_t *root = NULL;
    TRY(parse_object(json, "directory", &root, why));
    struct document_directory d = {0};
    struct result r = take_directory(root, &d, why);
    json_decref(root);
    if (result_is_ok(r))
        *ret = d;
    else
        document_directory_free(&d);
    return r;
}

void document_directory_free(struct document_directory *d)
{
    free(d->new_nonce);
    free(d->new_account);
    free(d->new_order);
    free(d->revoke_cert);
    free(d->key_change);
    free(d->renewal_info);
    free(d->terms);
    for (uint32_t i = 0; i < d->profile_count; i++)
        free(d->profiles[i]);
    for (uint32_t i = 0; i < d->caa_identity_count; i++)
        free(d->caa_identities[i]);
    *d = (struct document_directory){0};
}

/* ---- account, order -------------------------------------------------------------------------- */

struct result document_account_parse(struct span json, enum document_status *ret, struct why *why)
{
    json_t *root = NULL;
    TRY(parse_object(json, "account object", &root, why));
    enum document_status status = take_status(root);
    json_decref(root);
    if (status == DOCUMENT_STATUS_UNKNOWN)
        return why_fail(why, ERR_FORMAT, "the CA's account object has no known status");
    *ret = status;
    return result_ok();
}

static struct result take_authorizations(const json_t *root, struct document_order *o,
                                         struct why *why)
{
    const json_t *list = json_object_get(root, "authorizations");
    size_t count = json_array_size(list);
    if (!json_is_array(list) || count == 0 || count > DOCUMENT_AUTHORIZATIONS_MAX)
        return why_fail(why, ERR_FORMAT, "the CA's order lists %zu authorizations, not 1 to %d",
                        count, DOCUMENT_AUTHORIZATIONS_MAX);
    for (size_t i = 0; i < count; i++) {
        const char *url = json_string_value(json_array_get(list, i));
        if (!url || !document_is_url(url, true))
            return why_fail(why, ERR_FORMAT, "the CA's order has an authorization that is no URL");
        o->authorizations[o->authorization_count++] = mem_strdup(url);
    }
    return result_ok();
}

static struct result take_order(const json_t *root, struct document_order *o, struct why *why)
{
    o->status = take_status(root);
    if (o->status == DOCUMENT_STATUS_UNKNOWN)
        return why_fail(why, ERR_FORMAT, "the CA's order has no known status");
    TRY(take_authorizations(root, o, why));
    TRY(take_url(root, "finalize", true, &o->finalize, why));
    TRY(take_url(root, "certificate", o->status == DOCUMENT_STATUS_VALID, &o->certificate, why));
    take_problem(json_object_get(root, "error"), &o->problem);
    return result_ok();
}

struct result document_order_parse(struct span json, struct document_order *ret, struct why *why)
{
    json_t *root = NULL;
    TRY(parse_object(json, "order", &root, why));
    struct document_order o = {0};
    struct result r = take_order(root, &o, why);
    json_decref(root);
    if (result_is_ok(r))
        *ret = o;
    else
        document_order_free(&o);
    return r;
}

void document_order_free(struct document_order *o)
{
    for (uint32_t i = 0; i < o->authorization_count; i++)
        free(o->authorizations[i]);
    free(o->finalize);
    free(o->certificate);
    *o = (struct document_order){0};
}

/* ---- authorization --------------------------------------------------------------------------- */

/* Section 8.1: a token is base64url; it becomes part of a DNS value and of a URL path. */
static bool is_token(const char *text)
{
    size_t len = strlen(text);
    return len > 0 && len <= DOCUMENT_TOKEN_MAX &&
           strspn(text, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_") == len;
}

static struct result take_challenge(const json_t *object, struct document_challenge *c,
                                    struct why *why)
{
    clean_text(c->type, sizeof c->type, json_string_value(json_object_get(object, "type")));
    c->status = take_status(object);
    const char *token = json_string_value(json_object_get(object, "token"));
    if (token && !is_token(token))
        return why_fail(why, ERR_FORMAT, "the CA's %s challenge has a token that is not base64url",
                        c->type);
    TRY(take_url(object, "url", true, &c->url, why));
    c->token = token ? mem_strdup(token) : NULL;
    take_problem(json_object_get(object, "error"), &c->problem);
    return result_ok();
}

/* A fault in one of these is the CA's; other types may look as they like and are passed over. */
static bool is_known_challenge(const char *type)
{
    return !strcmp(type, "dns-01") || !strcmp(type, "http-01") || !strcmp(type, "tls-alpn-01");
}

/* Lower-case letters, digits, '-', '_', '.', and ':' of IPv6: what an identifier is made of. */
static struct result take_identifier(const json_t *root, struct document_authorization *a,
                                     struct why *why)
{
    const json_t *who = json_object_get(root, "identifier");
    const char *text = json_string_value(json_object_get(who, "value"));
    size_t len = text ? strlen(text) : 0;
    if (!len || len > 253)
        return why_fail(why, ERR_FORMAT, "the CA's authorization has no identifier");
    a->identifier = mem_strdup(text);
    for (char *p = a->identifier; *p; p++) {
        if (*p >= 'A' && *p <= 'Z')
            *p = (char)(*p + ('a' - 'A'));
        if (!strchr("abcdefghijklmnopqrstuvwxyz0123456789-_.:", *p))
            return why_fail(why, ERR_FORMAT, "the CA's authorization is for no host name");
    }
    a->wildcard = json_is_true(json_object_get(root, "wildcard"));
    return result_ok();
}

static struct result take_authorization(const json_t *root, struct document_authorization *a,
                                        struct why *why)
{
    a->status = take_status(root);
    if (a->status == DOCUMENT_STATUS_UNKNOWN)
        return why_fail(why, ERR_FORMAT, "the CA's authorization has no known status");
    TRY(take_identifier(root, a, why));
    const json_t *list = json_object_get(root, "challenges");
    size_t count = json_array_size(list);
    for (size_t i = 0; i < count && a->challenge_count < DOCUMENT_CHALLENGES_MAX; i++) {
        struct document_challenge *c = &a->challenges[a->challenge_count];
        struct result r = take_challenge(json_array_get(list, i), c, why);
        if (result_is_ok(r)) {
            a->challenge_count++;
            continue;
        }
        bool known = is_known_challenge(c->type);
        free(c->url);
        *c = (struct document_challenge){0};
        if (known)
            return r;
    }
    return result_ok();
}

struct result document_authorization_parse(struct span json, struct document_authorization *ret,
                                           struct why *why)
{
    json_t *root = NULL;
    TRY(parse_object(json, "authorization", &root, why));
    struct document_authorization *a = mem_zalloc(sizeof *a);
    struct result r = take_authorization(root, a, why);
    json_decref(root);
    if (result_is_ok(r))
        *ret = *a;
    else
        document_authorization_free(a);
    free(a);
    return r;
}

void document_authorization_free(struct document_authorization *a)
{
    free(a->identifier);
    for (uint32_t i = 0; i < a->challenge_count; i++) {
        free(a->challenges[i].url);
        free(a->challenges[i].token);
    }
    *a = (struct document_authorization){0};
}

/* ---- renewal information (RFC 9773) -----------------------------------------------------------
 */

/* `form` has a digit where one must be, any other character as it is. */
static bool has_form(const char *text, const char *form)
{
    for (; *form; form++, text++) {
        bool digit = *text >= '0' && *text <= '9';
        if (*form == '0' ? !digit : *text != *form)
            return false;
    }
    return true;
}

static int digits(const char *text, int count)
{
    int value = 0;
    for (int i = 0; i < count; i++)
        value = value * 10 + (text[i] - '0');
    return value;
}

/* "Z", "+01:30": seconds east of Greenwich. */
static struct result take_offset(const char *text, int64_t *ret_s)
{
    *ret_s = 0;
    if (!strcasecmp(text, "Z"))
        return result_ok();
    if ((text[0] != '+' && text[0] != '-') || !has_form(text + 1, "00:00") || text[6])
        return result_fail(ERR_FORMAT);
    *ret_s = (digits(text + 1, 2) * 60 + digits(text + 4, 2)) * 60;
    if (text[0] == '-')
        *ret_s = -*ret_s;
    return result_ok();
}

struct result document_time_parse(const char *text, int64_t *ret)
{
    int64_t offset_s = 0;
    if (!has_form(text, "0000-00-00T00:00:00") && !has_form(text, "0000-00-00t00:00:00"))
        return result_fail(ERR_FORMAT);
    struct tm tm = {.tm_year = digits(text, 4) - 1900,
                    .tm_mon = digits(text + 5, 2) - 1,
                    .tm_mday = digits(text + 8, 2),
                    .tm_hour = digits(text + 11, 2),
                    .tm_min = digits(text + 14, 2),
                    .tm_sec = digits(text + 17, 2)};
    if (tm.tm_year < 70 || tm.tm_mon < 0 || tm.tm_mon > 11 || tm.tm_mday < 1 || tm.tm_mday > 31 ||
        tm.tm_hour > 23 || tm.tm_min > 59 || tm.tm_sec > 60)
        return result_fail(ERR_FORMAT);
    const char *rest = text + 19;
    if (*rest == '.')
        rest += 1 + strspn(rest + 1, "0123456789");
    TRY(take_offset(rest, &offset_s));
    *ret = (int64_t)timegm(&tm) - offset_s;
    return result_ok();
}

static struct result take_renewal(const json_t *root, struct document_renewal *ret, struct why *why)
{
    const json_t *window = json_object_get(root, "suggestedWindow");
    const char *start = json_string_value(json_object_get(window, "start"));
    const char *end = json_string_value(json_object_get(window, "end"));
    const char *url = json_string_value(json_object_get(root, "explanationURL"));
    if (!start || !end || !result_is_ok(document_time_parse(start, &ret->start_s)) ||
        !result_is_ok(document_time_parse(end, &ret->end_s)) || ret->end_s < ret->start_s)
        return why_fail(why, ERR_FORMAT, "the CA's renewal information has no usable window");
    if (url && document_is_url(url, true))
        snprintf(ret->url, sizeof ret->url, "%s", url);
    return result_ok();
}

struct result document_renewal_parse(struct span json, struct document_renewal *ret,
                                     struct why *why)
{
    json_t *root = NULL;
    *ret = (struct document_renewal){0};
    TRY(parse_object(json, "renewal information", &root, why));
    struct result r = take_renewal(root, ret, why);
    json_decref(root);
    return r;
}

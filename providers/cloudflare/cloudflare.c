/* SPDX-License-Identifier: Apache-2.0 */
/* cloudflare: TXT values by Cloudflare's API v4.
 *
 *   GET    BASE/zones?name=ZONE&per_page=50                     the zone's id, kept for an hour
 *   POST   BASE/zones/ZID/dns_records                           one record per value
 *   GET    BASE/zones/ZID/dns_records?type=TXT&name=NAME&...    when the record's id is not known
 *   DELETE BASE/zones/ZID/dns_records/RID
 * Variables and requests are lego's. Record ids are kept in the state; without it a value is looked
 * up by name, type and content. */
#include "ferrule_provider.h"

#include "answer.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define URL_BYTES       1024
#define SECRET_BYTES    512
#define PAGES_MAX       50
#define ZONE_KEPT_NS    (3600 * (int64_t)1000000000)
#define STATE_VERSION   "1 "
#define TTL_MIN         120
#define STRINGIZE(x)    #x
#define STRINGIZED(x)   STRINGIZE(x)
#define KEY_VARIABLES   "CLOUDFLARE_EMAIL and CLOUDFLARE_API_KEY"
#define TOKEN_VARIABLE  "CLOUDFLARE_DNS_API_TOKEN"
#define ZTOKEN_VARIABLE "CLOUDFLARE_ZONE_API_TOKEN"

/* Which credential a request needs. */
enum right { ZONE_READ, DNS_EDIT };

struct instance {
    const struct ferrule_host *host;
    struct ferrule_str base, email, key, dns_token, zone_token; /* borrowed until close */
    bool by_key;                                                /* email and key, not a token */
};

struct url {
    char text[URL_BYTES];
    size_t len;
};

/* The answer that is being looked at: response and JSON live together. */
struct reply {
    const struct ferrule_http_response *http;
    struct answer answer;
};

/* --- options -------------------------------------------------------------------------------------
 */

static const char *const env_email[] = {"CLOUDFLARE_EMAIL", "CF_API_EMAIL", NULL};
static const char *const env_key[] = {"CLOUDFLARE_API_KEY", "CF_API_KEY", NULL};
static const char *const env_dns[] = {TOKEN_VARIABLE, "CF_DNS_API_TOKEN", NULL};
static const char *const env_zone[] = {ZTOKEN_VARIABLE, "CF_ZONE_API_TOKEN", NULL};
static const char *const env_base[] = {"CLOUDFLARE_BASE_URL", NULL};
static const char *const env_ttl[] = {"CLOUDFLARE_TTL", "CF_TTL", NULL};
static const char *const env_propagation[] = {"CLOUDFLARE_PROPAGATION_TIMEOUT",
                                              "CF_PROPAGATION_TIMEOUT", NULL};
static const char *const env_polling[] = {"CLOUDFLARE_POLLING_INTERVAL", "CF_POLLING_INTERVAL",
                                          NULL};
static const char *const env_http[] = {"CLOUDFLARE_HTTP_TIMEOUT", "CF_HTTP_TIMEOUT", NULL};

static const struct ferrule_option options[] = {
    {"dns_token", env_dns, NULL, "API token with the permission Zone > DNS > Edit.", FERRULE_STRING,
     FERRULE_OPTION_SECRET, 0, 0},
    {"zone_token", env_zone, NULL,
     "API token with the permission Zone > Zone > Read; without it the other one is used.",
     FERRULE_STRING, FERRULE_OPTION_SECRET, 0, 0},
    {"email", env_email, NULL,
     "Of the account, with the global API key. Both together win over tokens.", FERRULE_STRING, 0,
     0, 0},
    {"api_key", env_key, NULL, "The global API key, which may do everything: prefer a token.",
     FERRULE_STRING, FERRULE_OPTION_SECRET, 0, 0},
    {"base_url", env_base, "https://api.cloudflare.com/client/v4", "Where the API is.", FERRULE_URL,
     0, 0, 0},
    {"ttl", env_ttl, STRINGIZED(TTL_MIN), "Time to live of the TXT values.", FERRULE_SECONDS, 0,
     TTL_MIN, 86400},
    {"propagation_timeout", env_propagation, "120", "How long values may take to become visible.",
     FERRULE_SECONDS, 0, 0, 0},
    {"polling_interval", env_polling, "2", "Time between two looks at the name servers.",
     FERRULE_SECONDS, 0, 1, 3600},
    {"http_timeout", env_http, "30", "How long one answer may take.", FERRULE_SECONDS, 0, 1, 300},
};

static int32_t fail(struct ferrule_error *error, enum ferrule_status status, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

static int32_t fail(struct ferrule_error *error, enum ferrule_status status, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(error->text, sizeof error->text, fmt, ap);
    va_end(ap);
    return status;
}

/* A name without its final dot, as the API writes it. */
static struct ferrule_str bare(struct ferrule_str name)
{
    return (struct ferrule_str){name.ptr, name.len && name.ptr[name.len - 1] == '.' ? name.len - 1
                                                                                    : name.len};
}

/* --- what an answer means
 * ---------------------------------------------------------------------------------- */

static const int codes_unknown[] = {6003, 6103, 6111, 9103, 9106, 9107, 10001, 0};
static const int codes_auth[] = {9109, 10000, 0};
static const int codes_rate[] = {971, 10013, 0};
#define CODE_OTHER_TYPE "81053" /* a CNAME stands at the name */
static const int codes_exists[] = {81053, 81057, 81058, 0};
static const int codes_absent[] = {81044, 0};

static const char *variable_of(const struct instance *i, enum right right)
{
    if (i->by_key)
        return KEY_VARIABLES;
    return right == ZONE_READ && i->zone_token.len ? ZTOKEN_VARIABLE : TOKEN_VARIABLE;
}

static int32_t refuse_credentials(const struct instance *i, enum right right,
                                  const struct ferrule_request *q, uint32_t status, bool unknown,
                                  const char *text, struct ferrule_error *error)
{
    if (status == 403 && !unknown)
        return fail(error, FERRULE_DENIED,
                    "Cloudflare does not let %s do this (%s): it needs the permission %s for %.*s",
                    variable_of(i, right), text,
                    right == ZONE_READ ? "Zone > Zone > Read" : "Zone > DNS > Edit",
                    FERRULE_FMT(bare(q->zone)));
    return fail(error, FERRULE_AUTH,
                "Cloudflare does not accept %s (%s): copy it again, or make a new one in the "
                "dashboard",
                variable_of(i, right), text);
}

/* Everything but what the callers look at themselves: success, 404, and a record that exists. */
static int32_t judge(const struct instance *i, enum right right, const struct ferrule_request *q,
                     const struct reply *r, struct ferrule_error *error)
{
    uint32_t status = r->http->status;
    const struct answer *a = &r->answer;
    char errors[ANSWER_TEXT_BYTES], text[ANSWER_TEXT_BYTES + 32];
    answer_errors(a, errors);
    snprintf(text, sizeof text, "[status code %u]%s%s", status, errors[0] ? " " : "", errors);
    error->http_status = status;
    error->retry_after_ms = 0;
    if (status >= 200 && status < 300 && a->root && answer_is_success(a))
        return FERRULE_OK;
    if (status == 404 || answer_has_code(a, codes_exists) || answer_has_code(a, codes_absent))
        return FERRULE_OK;
    if (status == 429 || answer_has_code(a, codes_rate)) {
        error->retry_after_ms = r->http->retry_after_ms;
        return fail(error, FERRULE_RATE, "Cloudflare asks to slow down (%s)", text);
    }
    if (status >= 500 || status == 408) {
        error->retry_after_ms = r->http->retry_after_ms;
        return fail(error, FERRULE_RETRY, "Cloudflare has a problem (%s)", text);
    }
    bool unknown = answer_has_code(a, codes_unknown);
    if (status == 401 || status == 403 || unknown || answer_has_code(a, codes_auth))
        return refuse_credentials(i, right, q, status, unknown, text, error);
    if (status < 300 && !a->root)
        return fail(error, FERRULE_RETRY, "Cloudflare's answer is cut short, or no JSON (%s)",
                    text);
    return fail(error, FERRULE_FAILED, "Cloudflare refuses the request (%s)", text);
}

/* --- requests
 * ---------------------------------------------------------------------------------------
 */

static void url_put(struct url *u, const char *text, size_t len)
{
    if (len < sizeof u->text - u->len)
        memcpy(u->text + u->len, text, len);
    u->len += len < sizeof u->text ? len : sizeof u->text; /* too long: seen by url_fits() */
}

static void url_put_escaped(struct url *u, struct ferrule_str s)
{
    for (size_t n = 0; n < s.len && u->len < sizeof u->text; n++) {
        unsigned char c = (unsigned char)s.ptr[n];
        char hex[4];
        bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                     (c && strchr("-._~", c));
        snprintf(hex, sizeof hex, "%%%02X", c);
        url_put(u, plain ? s.ptr + n : hex, plain ? 1 : 3);
    }
}

static struct url url_begin(const struct instance *i, const char *path)
{
    struct url u = {.len = 0};
    size_t base_len = i->base.len;
    while (base_len && i->base.ptr[base_len - 1] == '/')
        base_len--;
    url_put(&u, i->base.ptr, base_len);
    url_put(&u, path, strlen(path));
    return u;
}

static struct url records_url(const struct instance *i, const char *zone_id)
{
    struct url u = url_begin(i, "/zones/");
    url_put(&u, zone_id, strlen(zone_id));
    url_put(&u, "/dns_records", 12);
    return u;
}

static uint32_t put_credentials(const struct instance *i, enum right right,
                                char bearer[SECRET_BYTES], struct ferrule_header *headers)
{
    if (i->by_key) {
        headers[0] = (struct ferrule_header){{"X-Auth-Email", 12}, i->email};
        headers[1] = (struct ferrule_header){{"X-Auth-Key", 10}, i->key};
        return 2;
    }
    struct ferrule_str token =
        right == ZONE_READ && i->zone_token.len ? i->zone_token : i->dns_token;
    int n = snprintf(bearer, SECRET_BYTES, "Bearer %.*s", FERRULE_FMT(token));
    headers[0] = (struct ferrule_header){{"Authorization", 13}, {bearer, (size_t)n}};
    return 1;
}

static void reply_free(const struct instance *i, struct reply *r)
{
    i->host->http_free(i->host, r->http);
    answer_free(&r->answer);
}

/* One exchange. On FERRULE_OK the caller frees *ret, which may be a 404 or a record that exists. */
static int32_t ask(const struct instance *i, enum right right, const struct ferrule_request *q,
                   const char *method, const struct url *u, const char *body, struct reply *ret,
                   struct ferrule_error *error)
{
    char bearer[SECRET_BYTES];
    struct ferrule_header headers[4];
    if (u->len >= sizeof u->text)
        return fail(error, FERRULE_CONFIG, "CLOUDFLARE_BASE_URL is too long");
    uint32_t count = put_credentials(i, right, bearer, headers);
    headers[count++] = (struct ferrule_header){{"Accept", 6}, {"application/json", 16}};
    if (body)
        headers[count++] = (struct ferrule_header){{"Content-Type", 12}, {"application/json", 16}};
    struct ferrule_http_request request = {
        .size = sizeof request,
        .method = {method, strlen(method)},
        .url = {u->text, u->len},
        .headers = headers,
        .header_count = count,
        .body = {body, body ? strlen(body) : 0},
    };
    int32_t status = i->host->http(i->host, &request, &ret->http, error);
    explicit_bzero(bearer, sizeof bearer);
    if (status != FERRULE_OK)
        return status;
    ret->answer = answer_read(ret->http->body);
    status = judge(i, right, q, ret, error);
    if (status != FERRULE_OK)
        reply_free(i, ret);
    return status;
}

/* --- zones
 * ------------------------------------------------------------------------------------------
 */

static struct ferrule_str zone_key(const struct ferrule_request *q)
{
    return bare(q->zone);
}

static bool cached_zone(const struct instance *i, const struct ferrule_request *q,
                        char id[ANSWER_ID_BYTES])
{
    struct ferrule_buf *b = i->host->buf_new(i->host);
    bool found = i->host->cache_get(i->host, zone_key(q), b) == FERRULE_OK &&
                 answer_take_id(i->host->buf_view(b), id);
    i->host->buf_free(b);
    return found;
}

static void remember_zone(const struct instance *i, const struct ferrule_request *q, const char *id,
                          int64_t how_long_ns)
{
    i->host->cache_put(i->host, zone_key(q), (struct ferrule_str){id, strlen(id)},
                       i->host->now_ns(i->host) + how_long_ns);
}

static int32_t find_zone(const struct instance *i, const struct ferrule_request *q,
                         char id[ANSWER_ID_BYTES], struct ferrule_error *error)
{
    if (cached_zone(i, q, id))
        return FERRULE_OK;
    struct url u = url_begin(i, "/zones?name=");
    url_put_escaped(&u, bare(q->zone));
    url_put(&u, "&per_page=50", 12);
    struct reply r;
    int32_t status = ask(i, ZONE_READ, q, "GET", &u, NULL, &r, error);
    if (status != FERRULE_OK)
        return status;
    bool is_list = answer_is_list(&r.answer) && r.http->status != 404;
    unsigned count = answer_zones(&r.answer, bare(q->zone), id);
    uint32_t http_status = r.http->status;
    reply_free(i, &r);
    if (http_status == 404)
        return fail(error, FERRULE_CONFIG,
                    "there is no Cloudflare API at CLOUDFLARE_BASE_URL (HTTP 404)");
    if (!is_list)
        return fail(error, FERRULE_RETRY, "Cloudflare's list of zones is damaged");
    if (count == 0)
        return fail(error, FERRULE_ZONE,
                    "zone %.*s could not be found: %s sees no zone of this name (is it in another "
                    "account, or not among the token's zones?)",
                    FERRULE_FMT(bare(q->zone)), variable_of(i, ZONE_READ));
    if (count > 1)
        return fail(error, FERRULE_ZONE,
                    "ambiguous zone name: %s sees %u zones %.*s; use a token that is limited to "
                    "one account",
                    variable_of(i, ZONE_READ), count, FERRULE_FMT(bare(q->zone)));
    remember_zone(i, q, id, ZONE_KEPT_NS);
    return FERRULE_OK;
}

/* The zone's id leads nowhere: it is asked for anew the next time. */
static int32_t zone_is_gone(const struct instance *i, const struct ferrule_request *q,
                            struct ferrule_error *error)
{
    remember_zone(i, q, "", 0);
    return fail(error, FERRULE_RETRY,
                "Cloudflare does not know the zone %.*s any more (HTTP 404): was it removed or "
                "added again?",
                FERRULE_FMT(bare(q->zone)));
}

/* --- records
 * ----------------------------------------------------------------------------------------
 */

/* Finds the record with exactly this value; id is empty when there is none. */
static int32_t look_up(const struct instance *i, const struct ferrule_request *q, const char *zone,
                       char id[ANSWER_ID_BYTES], struct ferrule_error *error)
{
    bool more = true;
    id[0] = 0;
    for (unsigned page = 1; more && !id[0] && page <= PAGES_MAX; page++) {
        char paging[48];
        struct url u = records_url(i, zone);
        url_put(&u, "?type=TXT&name=", 15);
        url_put_escaped(&u, bare(q->fqdn));
        int n = snprintf(paging, sizeof paging, "&page=%u&per_page=100", page);
        url_put(&u, paging, (size_t)n);
        struct reply r;
        int32_t status = ask(i, DNS_EDIT, q, "GET", &u, NULL, &r, error);
        if (status != FERRULE_OK)
            return status;
        if (r.http->status == 404)
            status = zone_is_gone(i, q, error);
        else if (!answer_is_list(&r.answer))
            status = fail(error, FERRULE_RETRY, "Cloudflare's list of records is damaged");
        else if (!answer_find_txt(&r.answer, bare(q->fqdn), q->value, id))
            id[0] = 0;
        more = answer_has_more(&r.answer, page);
        reply_free(i, &r);
        if (status != FERRULE_OK)
            return status;
    }
    return FERRULE_OK;
}

/* The value in quotes, as the API wants it. */
static json_t *quoted(struct ferrule_str value)
{
    char text[2 * 255 + 3];
    size_t n = 0;
    text[n++] = '"';
    for (size_t k = 0; k < value.len && k < 255; k++) {
        if (value.ptr[k] == '"' || value.ptr[k] == '\\')
            text[n++] = '\\';
        text[n++] = value.ptr[k];
    }
    text[n++] = '"';
    return json_stringn(text, n);
}

/* NULL when a name or value is not UTF-8. The caller frees. */
static char *record_body(const struct ferrule_request *q)
{
    struct ferrule_str name = bare(q->fqdn);
    json_t *o = json_object(), *label = json_stringn(name.ptr, name.len);
    json_t *content = quoted(q->value);
    bool good = label && content;
    json_object_set_new(o, "name", label);
    json_object_set_new(o, "ttl", json_integer(q->ttl_s));
    json_object_set_new(o, "type", json_string("TXT"));
    json_object_set_new(o, "content", content);
    char *text = good ? json_dumps(o, JSON_COMPACT) : NULL;
    json_decref(o);
    return text;
}

/* Makes the record. id is empty when it exists already or the answer does not name it; why then
 * holds what Cloudflare said. */
static int32_t create(const struct instance *i, const struct ferrule_request *q, const char *zone,
                      char id[ANSWER_ID_BYTES], char why[ANSWER_TEXT_BYTES],
                      struct ferrule_error *error)
{
    char *body = record_body(q);
    if (!body)
        return fail(error, FERRULE_FAILED, "the name or the value cannot be written as JSON");
    struct url u = records_url(i, zone);
    struct reply r;
    int32_t status = ask(i, DNS_EDIT, q, "POST", &u, body, &r, error);
    free(body);
    id[0] = 0;
    if (status != FERRULE_OK)
        return status;
    if (r.http->status >= 300 || !answer_record_id(&r.answer, id))
        id[0] = 0;
    answer_errors(&r.answer, why);
    uint32_t http_status = r.http->status;
    reply_free(i, &r);
    return http_status == 404 ? zone_is_gone(i, q, error) : FERRULE_OK;
}

/* ret_gone: it was not there any more. */
static int32_t delete_record(const struct instance *i, const struct ferrule_request *q,
                             const char *zone, const char *id, bool *ret_gone,
                             struct ferrule_error *error)
{
    struct url u = records_url(i, zone);
    url_put(&u, "/", 1);
    url_put(&u, id, strlen(id));
    struct reply r;
    int32_t status = ask(i, DNS_EDIT, q, "DELETE", &u, NULL, &r, error);
    if (status != FERRULE_OK)
        return status;
    *ret_gone = r.http->status == 404 || !answer_is_success(&r.answer);
    reply_free(i, &r);
    return FERRULE_OK;
}

/* --- entry points
 * ------------------------------------------------------------------------------------
 */

static int32_t check_credentials(struct instance *i, struct ferrule_error *error)
{
    const struct ferrule_host *host = i->host;
    host->option(host, "email", &i->email);
    host->option(host, "api_key", &i->key);
    host->option(host, "dns_token", &i->dns_token);
    host->option(host, "zone_token", &i->zone_token);
    i->by_key = i->email.len && i->key.len;
    if (i->dns_token.len > SECRET_BYTES - 8 || i->zone_token.len > SECRET_BYTES - 8)
        return fail(error, FERRULE_CONFIG, "the API token is too long");
    if (i->by_key || i->dns_token.len)
        return FERRULE_OK;
    if (i->email.len || i->key.len)
        return fail(error, FERRULE_CONFIG, "some credentials information are missing: %s",
                    i->email.len ? "CLOUDFLARE_API_KEY" : "CLOUDFLARE_EMAIL");
    return fail(error, FERRULE_CONFIG,
                "some credentials information are missing: set " TOKEN_VARIABLE
                ", or both " KEY_VARIABLES);
}

static int32_t cloudflare_open(const struct ferrule_host *host, void **ret,
                               struct ferrule_error *error)
{
    struct instance *i = calloc(1, sizeof *i);
    if (!i)
        return fail(error, FERRULE_RETRY, "out of memory");
    i->host = host;
    host->option(host, "base_url", &i->base);
    int32_t status = check_credentials(i, error);
    if (status == FERRULE_OK)
        *ret = i;
    else
        free(i);
    return status;
}

static void cloudflare_close(void *instance)
{
    free(instance);
}

static int32_t cloudflare_present(void *instance, const struct ferrule_request *q,
                                  struct ferrule_buf *state, struct ferrule_error *error)
{
    const struct instance *i = instance;
    char zone[ANSWER_ID_BYTES], id[ANSWER_ID_BYTES], why[ANSWER_TEXT_BYTES];
    int32_t status = find_zone(i, q, zone, error);
    if (status == FERRULE_OK)
        status = create(i, q, zone, id, why, error);
    /* It exists: an earlier try got through although its answer was lost. */
    if (status == FERRULE_OK && !id[0])
        status = look_up(i, q, zone, id, error);
    if (status != FERRULE_OK)
        return status;
    if (!id[0] && strncmp(why, CODE_OTHER_TYPE, strlen(CODE_OTHER_TYPE)) == 0)
        return fail(error, FERRULE_FAILED, "Cloudflare refuses the record (%s)", why);
    if (!id[0])
        return fail(error, FERRULE_RETRY, "Cloudflare has the value but does not list it (%s)",
                    why[0] ? why : "without an error");
    i->host->buf_put(state, STATE_VERSION, strlen(STATE_VERSION));
    i->host->buf_put(state, zone, strlen(zone));
    i->host->buf_put(state, " ", 1);
    i->host->buf_put(state, id, strlen(id));
    return FERRULE_OK;
}

/* "1 ZONE RECORD", as present() left it. */
static bool read_state(struct ferrule_str state, char zone[ANSWER_ID_BYTES],
                       char id[ANSWER_ID_BYTES])
{
    size_t skip = strlen(STATE_VERSION);
    if (state.len <= skip || memcmp(state.ptr, STATE_VERSION, skip) != 0)
        return false;
    struct ferrule_str first = {state.ptr + skip, state.len - skip};
    const char *space = memchr(first.ptr, ' ', first.len);
    if (!space)
        return false;
    struct ferrule_str second = {space + 1, first.len - (size_t)(space + 1 - first.ptr)};
    first.len = (size_t)(space - first.ptr);
    return answer_take_id(first, zone) && answer_take_id(second, id);
}

static int32_t cloudflare_cleanup(void *instance, const struct ferrule_request *q,
                                  struct ferrule_str state, struct ferrule_error *error)
{
    const struct instance *i = instance;
    char zone[ANSWER_ID_BYTES], id[ANSWER_ID_BYTES];
    bool gone = true;
    int32_t status = FERRULE_OK;
    if (read_state(state, zone, id))
        status = delete_record(i, q, zone, id, &gone, error);
    if (status != FERRULE_OK || !gone)
        return status;
    /* Without state, or made again by somebody under another id. */
    status = find_zone(i, q, zone, error);
    if (status == FERRULE_OK)
        status = look_up(i, q, zone, id, error);
    if (status == FERRULE_OK && id[0])
        status = delete_record(i, q, zone, id, &gone, error);
    return status;
}

/* Reads what both credentials must be able to read; whether records may be changed only a change
 * can tell. */
static int32_t cloudflare_probe(void *instance, const struct ferrule_request *q,
                                struct ferrule_error *error)
{
    const struct instance *i = instance;
    char zone[ANSWER_ID_BYTES], id[ANSWER_ID_BYTES];
    int32_t status = find_zone(i, q, zone, error);
    if (status == FERRULE_OK)
        status = look_up(i, q, zone, id, error);
    return status;
}

FERRULE_EXPORT const struct ferrule_provider ferrule_provider_v1 = {
    .size = sizeof(struct ferrule_provider),
    .abi_major = FERRULE_PROVIDER_ABI_MAJOR,
    .abi_minor = FERRULE_PROVIDER_ABI_MINOR,
    .code = "cloudflare",
    .version = "1",
    .summary = "Cloudflare",
    .flags = FERRULE_NEEDS_ZONE,
    .ttl_s = TTL_MIN,
    .ttl_min_s = TTL_MIN,
    .propagation_timeout_s = 120,
    .polling_interval_s = 2,
    .http_timeout_s = 30,
    .option_bytes = sizeof(struct ferrule_option),
    .option_count = sizeof options / sizeof options[0],
    .options = options,
    .open = cloudflare_open,
    .close = cloudflare_close,
    .present = cloudflare_present,
    .cleanup = cloudflare_cleanup,
    .probe = cloudflare_probe,
    /* An account may send 1,200 requests in five minutes. */
    .http_per_minute = 228,
    .http_burst = 60,
};

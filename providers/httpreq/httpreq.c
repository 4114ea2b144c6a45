/* SPDX-License-Identifier: Apache-2.0 */
/* httpreq: hands each TXT value to an HTTP server of the operator's own.
 *
 *   POST ENDPOINT/present, POST ENDPOINT/cleanup      Content-Type: application/json
 *   {"fqdn":"_acme-challenge.example.org.","value":"..."}            or, with HTTPREQ_MODE=RAW,
 *   {"domain":"example.org","token":"...","keyAuth":"..."}
 * Any 2xx is success. Variables, paths and bodies are lego's. */
#include "ferrule_provider.h"

#include <jansson.h>

#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define URL_BYTES    2048
#define REASON_BYTES 160

struct instance {
    const struct ferrule_host *host;
    struct ferrule_str endpoint, user, password; /* borrowed until close */
    bool raw;
};

static const char *const env_endpoint[] = {"HTTPREQ_ENDPOINT", NULL};
static const char *const env_mode[] = {"HTTPREQ_MODE", NULL};
static const char *const env_user[] = {"HTTPREQ_USERNAME", NULL};
static const char *const env_password[] = {"HTTPREQ_PASSWORD", NULL};
static const char *const env_propagation[] = {"HTTPREQ_PROPAGATION_TIMEOUT", NULL};
static const char *const env_polling[] = {"HTTPREQ_POLLING_INTERVAL", NULL};
static const char *const env_http[] = {"HTTPREQ_HTTP_TIMEOUT", NULL};

static const struct ferrule_option options[] = {
    {"endpoint", env_endpoint, NULL,
     "URL of the server; /present and /cleanup are added to its path.", FERRULE_URL,
     FERRULE_OPTION_REQUIRED, 0, 0},
    {"mode", env_mode, NULL,
     "RAW sends domain, token and keyAuth; anything else, or nothing, sends fqdn and value.",
     FERRULE_STRING, 0, 0, 0},
    {"username", env_user, NULL, "For Basic authentication, together with the password.",
     FERRULE_STRING, 0, 0, 0},
    {"password", env_password, NULL, "For Basic authentication, together with the user name.",
     FERRULE_STRING, FERRULE_OPTION_SECRET, 0, 0},
    {"propagation_timeout", env_propagation, "60", "How long values may take to become visible.",
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

static void warn(const struct ferrule_host *host, const char *text)
{
    host->log(host, FERRULE_LOG_WARN, (struct ferrule_str){text, strlen(text)});
}

/* --- the request ------------------------------------------------------------------------------ */

/* The endpoint with one more word at the end of its path: runs of slashes become one, the query
 * stays. Returns its length, 0 when it is too long. */
static size_t join_url(struct ferrule_str endpoint, const char *word, char out[URL_BYTES])
{
    const char *end = endpoint.ptr + endpoint.len;
    const char *at = memmem(endpoint.ptr, endpoint.len, "://", 3);
    at = at ? at + 3 : endpoint.ptr;
    while (at < end && !strchr("/?#", *at))
        at++;
    const char *tail = at;
    while (tail < end && *tail != '?' && *tail != '#')
        tail++;
    size_t n = (size_t)(at - endpoint.ptr);
    if (endpoint.len + strlen(word) + 2 >= URL_BYTES)
        return 0;
    memcpy(out, endpoint.ptr, n);
    for (; at < tail; at++)
        if (*at != '/' || out[n - 1] != '/')
            out[n++] = *at;
    if (out[n - 1] != '/')
        out[n++] = '/';
    memcpy(out + n, word, strlen(word));
    n += strlen(word);
    memcpy(out + n, tail, (size_t)(end - tail));
    return n + (size_t)(end - tail);
}

static bool put(json_t *o, const char *key, struct ferrule_str value)
{
    json_t *text = json_stringn(value.len ? value.ptr : "", value.len);
    return text && json_object_set_new(o, key, text) == 0;
}

/* The body, with the line end that lego sends; NULL when a name or value is not UTF-8. The caller
 * frees. */
static char *make_body(const struct instance *i, const struct ferrule_request *q)
{
    json_t *o = json_object();
    bool good = i->raw ? put(o, "domain", q->domain) && put(o, "token", q->token) &&
                             put(o, "keyAuth", q->key_auth)
                       : put(o, "fqdn", q->fqdn) && put(o, "value", q->value);
    char *text = good ? json_dumps(o, JSON_COMPACT) : NULL;
    json_decref(o);
    size_t len = text ? strlen(text) : 0;
    char *body = text ? malloc(len + 2) : NULL;
    if (body) {
        memcpy(body, text, len);
        memcpy(body + len, "\n", 2);
    }
    free(text);
    return body;
}

/* The first line of an answer, as far as it is for people: the server's own reason. */
static const char *reason_of(const struct ferrule_http_response *r, char out[REASON_BYTES])
{
    size_t n = 0;
    if (r->body.len && r->body.ptr[0] != '<')
        while (n < r->body.len && n + 3 < REASON_BYTES && r->body.ptr[n] != '\n' &&
               r->body.ptr[n] != '\r')
            n++;
    snprintf(out, REASON_BYTES, "%s%.*s", n ? ": " : "", (int)n, n ? r->body.ptr : "");
    return out;
}

static int32_t judge(const struct ferrule_http_response *r, struct ferrule_error *error)
{
    char reason[REASON_BYTES];
    reason_of(r, reason);
    error->http_status = r->status;
    switch (r->status) {
    case 401:
        return fail(error, FERRULE_AUTH,
                    "the server does not accept HTTPREQ_USERNAME and HTTPREQ_PASSWORD (HTTP 401%s)",
                    reason);
    case 403:
        return fail(error, FERRULE_DENIED, "the server does not allow this name (HTTP 403%s)",
                    reason);
    case 404:
    case 405:
        return fail(error, FERRULE_CONFIG,
                    "the server has nothing to POST to there (HTTP %u%s): compare HTTPREQ_ENDPOINT "
                    "with the server's address, without /present",
                    r->status, reason);
    case 429:
        error->retry_after_ms = r->retry_after_ms;
        return fail(error, FERRULE_RATE, "the server asks to slow down (HTTP 429%s)", reason);
    default:
        break;
    }
    if (r->status >= 200 && r->status < 300)
        return FERRULE_OK;
    if (r->status >= 500 || r->status == 408) {
        error->retry_after_ms = r->retry_after_ms;
        return fail(error, FERRULE_RETRY, "the server has a problem (HTTP %u%s)", r->status,
                    reason);
    }
    return fail(error, FERRULE_FAILED, "the server refuses the request (HTTP %u%s)", r->status,
                reason);
}

static int32_t post(const struct instance *i, const char *word, const struct ferrule_request *q,
                    struct ferrule_error *error)
{
    static const struct ferrule_header headers[] = {
        {{"Accept", 6}, {"application/json", 16}},
        {{"Content-Type", 12}, {"application/json", 16}},
    };
    char url[URL_BYTES];
    size_t url_len = join_url(i->endpoint, word, url);
    if (!url_len)
        return fail(error, FERRULE_CONFIG, "HTTPREQ_ENDPOINT is too long");
    char *body = make_body(i, q);
    if (!body)
        return fail(error, FERRULE_FAILED, "the name or the value cannot be written as JSON");
    struct ferrule_http_request request = {
        .size = sizeof request,
        .method = {"POST", 4},
        .url = {url, url_len},
        .headers = headers,
        .header_count = sizeof headers / sizeof headers[0],
        .body = {body, strlen(body)},
        .user = i->user,
        .password = i->password,
    };
    const struct ferrule_http_response *r;
    int32_t status = i->host->http(i->host, &request, &r, error);
    free(body);
    if (status != FERRULE_OK)
        return status;
    status = judge(r, error);
    i->host->http_free(i->host, r);
    return status;
}

/* --- entry points ------------------------------------------------------------------------------
 */

static void take_credentials(struct instance *i)
{
    bool user = i->host->option(i->host, "username", &i->user) == FERRULE_OK;
    bool password = i->host->option(i->host, "password", &i->password) == FERRULE_OK;
    if (user && password)
        return;
    i->user = i->password = (struct ferrule_str){NULL, 0};
    if (user || password)
        warn(i->host, user ? "HTTPREQ_USERNAME without HTTPREQ_PASSWORD: requests go without both"
                           : "HTTPREQ_PASSWORD without HTTPREQ_USERNAME: requests go without both");
}

static int32_t httpreq_open(const struct ferrule_host *host, void **ret,
                            struct ferrule_error *error)
{
    struct instance *i = calloc(1, sizeof *i);
    if (!i)
        return fail(error, FERRULE_RETRY, "out of memory");
    i->host = host;
    host->option(host, "endpoint", &i->endpoint);
    struct ferrule_str mode;
    if (host->option(host, "mode", &mode) == FERRULE_OK) {
        i->raw = mode.len == 3 && memcmp(mode.ptr, "RAW", 3) == 0;
        if (!i->raw)
            warn(host, "HTTPREQ_MODE is not RAW: fqdn and value are sent");
    }
    take_credentials(i);
    *ret = i;
    return FERRULE_OK;
}

static void httpreq_close(void *instance)
{
    free(instance);
}

static int32_t httpreq_present(void *instance, const struct ferrule_request *q,
                               struct ferrule_buf *state, struct ferrule_error *error)
{
    return post(instance, "present", q, error);
}

static int32_t httpreq_cleanup(void *instance, const struct ferrule_request *q,
                               struct ferrule_str state, struct ferrule_error *error)
{
    return post(instance, "cleanup", q, error);
}

FERRULE_EXPORT const struct ferrule_provider ferrule_provider_v1 = {
    .size = sizeof(struct ferrule_provider),
    .abi_major = FERRULE_PROVIDER_ABI_MAJOR,
    .abi_minor = FERRULE_PROVIDER_ABI_MINOR,
    .code = "httpreq",
    .version = "1",
    .summary = "POST to an HTTP server of your own",
    .propagation_timeout_s = 60,
    .polling_interval_s = 2,
    .http_timeout_s = 30,
    .option_bytes = sizeof(struct ferrule_option),
    .option_count = sizeof options / sizeof options[0],
    .options = options,
    .open = httpreq_open,
    .close = httpreq_close,
    .present = httpreq_present,
    .cleanup = httpreq_cleanup,
};

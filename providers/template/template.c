/* SPDX-License-Identifier: Apache-2.0 */
/* A provider to begin with: copy this folder, rename it, and replace the service.
 *
 * Its service is invented and as simple as can be, in plain text:
 *   POST   URL/txt?name=NAME     body VALUE     -> 201, the new record's id; 409 when it exists
 *   GET    URL/txt?name=NAME                    -> 200, one line "ID VALUE" per record
 *   DELETE URL/txt/ID                           -> 204; 404 when there is none
 * with the header "Authorization: Bearer TOKEN".
 *
 * Build it with nothing but the header:
 *   cc -std=c11 -shared -fPIC -fvisibility=hidden -I PREFIX/include -o template.so template.c
 * and try it before it meets a real service: ferrule-provider-test --script template.json
 *   --set TEMPLATE_TOKEN=x --set TEMPLATE_URL=https://api.test ./template.so */
#include "ferrule_provider.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define URL_BYTES 1024
#define ID_BYTES  64
/* What stands in front of the state, so that a later version can tell what it reads. */
#define STATE_VERSION "1 "

struct instance {
    const struct ferrule_host *host;
    struct ferrule_str url, token; /* borrowed until close */
};

/* --- options -------------------------------------------------------------------------------------
 * The host reads variables, files and defaults, checks types, and says what is missing. The first
 * name is the one that people see; NAME_FILE works by itself. */

static const char *const env_url[] = {"TEMPLATE_URL", NULL};
static const char *const env_token[] = {"TEMPLATE_TOKEN", "TEMPLATE_API_TOKEN", NULL};
static const char *const env_ttl[] = {"TEMPLATE_TTL", NULL};
static const char *const env_timeout[] = {"TEMPLATE_HTTP_TIMEOUT", NULL};

static const struct ferrule_option options[] = {
    {"url", env_url, "https://api.template.example", "Address of the service.", FERRULE_URL, 0, 0,
     0},
    {"token", env_token, NULL, "Token with the right to change TXT records.", FERRULE_STRING,
     FERRULE_OPTION_REQUIRED | FERRULE_OPTION_SECRET, 0, 0},
    {"ttl", env_ttl, "120", "Time to live of the TXT values.", FERRULE_SECONDS, 0, 60, 86400},
    {"http_timeout", env_timeout, "30", "How long one answer may take.", FERRULE_SECONDS, 0, 1,
     300},
};

/* One sentence for a person, and the status that tells the host what to do next. */
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

/* --- the service
 * ----------------------------------------------------------------------------------- */

/* What a status code means for the host. Not found and conflict are the caller's business. */
static int32_t judge(const struct ferrule_http_response *r, struct ferrule_error *error)
{
    error->http_status = r->status;
    if (r->status < 300 || r->status == 404 || r->status == 409)
        return FERRULE_OK;
    if (r->status == 401)
        return fail(error, FERRULE_AUTH,
                    "the service does not accept TEMPLATE_TOKEN: make a new one");
    if (r->status == 403)
        return fail(error, FERRULE_DENIED,
                    "TEMPLATE_TOKEN may not change TXT records of this zone");
    if (r->status == 429) {
        error->retry_after_ms = r->retry_after_ms;
        return fail(error, FERRULE_RATE, "the service asks to slow down");
    }
    if (r->status >= 500)
        return fail(error, FERRULE_RETRY, "the service has a problem (HTTP %u)", r->status);
    return fail(error, FERRULE_FAILED, "the service refuses the request (HTTP %u)", r->status);
}

/* One request. On success *ret must be freed with http_free(). */
static int32_t request(const struct instance *i, const char *method, const char *path,
                       struct ferrule_str body, const struct ferrule_http_response **ret,
                       struct ferrule_error *error)
{
    char url[URL_BYTES], authorization[URL_BYTES];
    int n = snprintf(url, sizeof url, "%.*s%s", FERRULE_FMT(i->url), path);
    int m = snprintf(authorization, sizeof authorization, "Bearer %.*s", FERRULE_FMT(i->token));
    if (n < 0 || (size_t)n >= sizeof url || m < 0 || (size_t)m >= sizeof authorization)
        return fail(error, FERRULE_CONFIG, "TEMPLATE_URL or TEMPLATE_TOKEN is too long");
    struct ferrule_header header = {{"Authorization", 13}, {authorization, (size_t)m}};
    struct ferrule_http_request q = {
        .size = sizeof q,
        .method = {method, strlen(method)},
        .url = {url, (size_t)n},
        .headers = &header,
        .header_count = 1,
        .body = body,
    };
    int32_t status = i->host->http(i->host, &q, ret, error);
    if (status != FERRULE_OK)
        return status; /* the host has said why */
    status = judge(*ret, error);
    if (status != FERRULE_OK)
        i->host->http_free(i->host, *ret);
    return status;
}

/* Copies an id when it looks like one: it becomes part of a URL. */
static int take_id(struct ferrule_str text, char id[ID_BYTES])
{
    if (text.len == 0 || text.len >= ID_BYTES)
        return 0;
    for (size_t i = 0; i < text.len; i++)
        if (text.ptr[i] < '0' || text.ptr[i] > '9')
            return 0;
    memcpy(id, text.ptr, text.len);
    id[text.len] = 0;
    return 1;
}

/* Finds the id of the record with exactly this value among those at the name. Never trust that a
 * service filters: compare here. */
static int32_t look_up(const struct instance *i, const struct ferrule_request *q, char id[ID_BYTES],
                       struct ferrule_error *error)
{
    char path[URL_BYTES];
    snprintf(path, sizeof path, "/txt?name=%.*s", FERRULE_FMT(q->fqdn));
    const struct ferrule_http_response *r;
    int32_t status = request(i, "GET", path, (struct ferrule_str){"", 0}, &r, error);
    id[0] = 0;
    if (status != FERRULE_OK)
        return status;
    const char *at = r->body.ptr, *end = r->body.ptr + r->body.len;
    if (r->status != 200 || (r->body.len && end[-1] != '\n'))
        status = fail(error, FERRULE_RETRY, "the service's list of records is cut short (HTTP %u)",
                      r->status);
    while (status == FERRULE_OK && at < end && !id[0]) {
        const char *line_end = memchr(at, '\n', (size_t)(end - at));
        const char *space = memchr(at, ' ', (size_t)(line_end - at));
        if (space && (size_t)(line_end - space - 1) == q->value.len &&
            memcmp(space + 1, q->value.ptr, q->value.len) == 0)
            take_id((struct ferrule_str){at, (size_t)(space - at)}, id);
        at = line_end + 1;
    }
    i->host->http_free(i->host, r);
    return status;
}

/* --- entry points
 * -------------------------------------------------------------------------------------- */

static int32_t template_open(const struct ferrule_host *host, void **ret,
                             struct ferrule_error *error)
{
    struct instance *i = calloc(1, sizeof *i);
    if (!i)
        return fail(error, FERRULE_RETRY, "out of memory");
    i->host = host;
    /* Both have a value: one is required, the other has a default. */
    host->option(host, "url", &i->url);
    host->option(host, "token", &i->token);
    *ret = i;
    return FERRULE_OK;
}

static void template_close(void *instance)
{
    free(instance);
}

static int32_t template_present(void *instance, const struct ferrule_request *q,
                                struct ferrule_buf *state, struct ferrule_error *error)
{
    const struct instance *i = instance;
    char path[URL_BYTES], id[ID_BYTES] = "";
    snprintf(path, sizeof path, "/txt?name=%.*s", FERRULE_FMT(q->fqdn));
    const struct ferrule_http_response *r;
    int32_t status = request(i, "POST", path, q->value, &r, error);
    if (status != FERRULE_OK)
        return status;
    uint32_t http_status = r->status;
    int known = http_status == 201 && take_id(r->body, id);
    i->host->http_free(i->host, r);
    if (http_status == 404)
        return fail(error, FERRULE_ZONE, "the service has no zone for %.*s", FERRULE_FMT(q->fqdn));
    /* 409: an earlier try got through although its answer was lost. That is success, and its id is
     * still to be found; the same for an answer without an id. */
    if (!known)
        status = look_up(i, q, id, error);
    if (status == FERRULE_OK && !id[0])
        status = fail(error, FERRULE_RETRY, "the service took the value but does not list it");
    if (status != FERRULE_OK)
        return status;
    i->host->buf_put(state, STATE_VERSION, strlen(STATE_VERSION));
    i->host->buf_put(state, id, strlen(id));
    return FERRULE_OK;
}

static int32_t template_cleanup(void *instance, const struct ferrule_request *q,
                                struct ferrule_str state, struct ferrule_error *error)
{
    const struct instance *i = instance;
    char path[URL_BYTES], id[ID_BYTES] = "";
    size_t skip = strlen(STATE_VERSION);
    int32_t status = FERRULE_OK;
    if (state.len > skip && memcmp(state.ptr, STATE_VERSION, skip) == 0)
        take_id((struct ferrule_str){state.ptr + skip, state.len - skip}, id);
    if (!id[0]) /* lost, or of another version */
        status = look_up(i, q, id, error);
    if (status != FERRULE_OK || !id[0])
        return status; /* nothing there: that is success */
    const struct ferrule_http_response *r;
    snprintf(path, sizeof path, "/txt/%s", id);
    status = request(i, "DELETE", path, (struct ferrule_str){"", 0}, &r, error);
    if (status == FERRULE_OK)
        i->host->http_free(i->host, r); /* 404: already gone, success */
    return status;
}

/* The whole of the plug-in as the host sees it. */
FERRULE_EXPORT const struct ferrule_provider ferrule_provider_v1 = {
    .size = sizeof(struct ferrule_provider),
    .abi_major = FERRULE_PROVIDER_ABI_MAJOR,
    .abi_minor = FERRULE_PROVIDER_ABI_MINOR,
    .code = "template", /* the file must be named template.so */
    .version = "1",
    .summary = "an invented service, to copy from",
    .ttl_s = 120,
    .ttl_min_s = 60,
    .propagation_timeout_s = 120,
    .polling_interval_s = 4,
    .http_timeout_s = 30,
    .option_bytes = sizeof(struct ferrule_option),
    .option_count = sizeof options / sizeof options[0],
    .options = options,
    .open = template_open,
    .close = template_close,
    .present = template_present,
    .cleanup = template_cleanup,
    /* What the service takes from one account: the host spaces the requests. */
    .http_per_minute = 300,
    .http_burst = 10,
};

/* SPDX-License-Identifier: Apache-2.0 */
#include "control/provider/fetch.h"

#include "base/clock.h"
#include "base/secret.h"
#include "control/provider/child_log.h"
#include "control/provider/services.h"
#include "crypto/digest.h"

#include <curl/curl.h>
#include <stdlib.h>

#define BODY_BYTES_MAX   (4u << 20)
#define HEADERS_MAX      128
#define TRIES            3
#define REDIRECTS        5
#define FIRST_PAUSE_MS   500
#define CONNECT_LIMIT_MS 10000

const char *const fetch_variables[] = {
    "http_proxy", "HTTP_PROXY", "https_proxy",   "HTTPS_PROXY",    "all_proxy",    "ALL_PROXY",
    "no_proxy",   "NO_PROXY",   "SSL_CERT_FILE", "CURL_CA_BUNDLE", "SSL_CERT_DIR", NULL};

/* What libcurl itself looks at, and the names that are taken for it; the first that is set counts.
 * libcurl does not read HTTP_PROXY, for in a CGI program a client could set it; here nobody can. */
static const char *const effective[][2] = {
    {"http_proxy", "HTTP_PROXY"}, {"https_proxy", "HTTPS_PROXY"},      {"all_proxy", "ALL_PROXY"},
    {"no_proxy", "NO_PROXY"},     {"SSL_CERT_FILE", "CURL_CA_BUNDLE"}, {"SSL_CERT_DIR", NULL},
};

static CURL *fetch_handle;

/* A response and the memory it points into. */
struct fetch_response {
    struct ferrule_http_response view;
    struct list node;
    struct buf body, lines; /* lines: header bytes; offsets while they grow */
    struct ferrule_header headers[HEADERS_MAX];
    bool too_large;
};

/* One request while it is tried. */
struct fetch {
    struct services *s;
    const struct ferrule_http_request *request;
    struct curl_slist *headers;
    char *url, *method, *user, *password, *sigv4;
    char curl_text[CURL_ERROR_SIZE];
    uint32_t held_ms; /* with CURLE_AGAIN: how long until the request may go */
    struct fetch_response *response;
    struct ferrule_error *error;
};

static bool find_variable(const struct wire_list *list, const char *name, struct span *ret)
{
    for (uint32_t i = 0; name && i + 1 < list->count; i += 2) {
        if (span_eq(list->items[i], span_str(name)) && list->items[i + 1].len) {
            *ret = list->items[i + 1];
            return true;
        }
    }
    return false;
}

/* A URL may hold "user:password@"; the password must not be printed. */
static void hide_password(struct redact *redact, const char *url)
{
    CURLU *parts = curl_url();
    char *password = NULL;
    if (redact && curl_url_set(parts, CURLUPART_URL, url, CURLU_GUESS_SCHEME) == CURLUE_OK) {
        for (unsigned flags = 0; flags <= CURLU_URLDECODE; flags += CURLU_URLDECODE) {
            if (curl_url_get(parts, CURLUPART_PASSWORD, &password, flags) != CURLUE_OK)
                break;
            redact_add(redact, span_str(password));
            secret_wipe(password, strlen(password));
            curl_free(password);
        }
    }
    curl_url_cleanup(parts);
}

void fetch_environment(const struct wire_list *overlay, const struct wire_list *variables,
                       struct redact *redact)
{
    for (size_t i = 0; i < sizeof effective / sizeof effective[0]; i++) {
        const char *const *names = effective[i];
        struct span value;
        if (!find_variable(overlay, names[0], &value) &&
            !find_variable(overlay, names[1], &value) &&
            !find_variable(variables, names[0], &value) &&
            !find_variable(variables, names[1], &value))
            continue;
        char *text = mem_strndup(value.ptr, value.len);
        setenv(names[0], text, 1);
        if (strstr(names[0], "_proxy"))
            hide_password(redact, text);
        secret_wipe(text, value.len);
        free(text);
    }
}

static char *text_of(struct ferrule_str s)
{
    return mem_strndup(s.ptr, s.len);
}

static void wipe_free(char *text)
{
    if (text)
        secret_wipe(text, strlen(text));
    free(text);
}

static size_t take_body(char *ptr, size_t one, size_t n, void *arg)
{
    struct fetch_response *r = arg;
    if (n > BODY_BYTES_MAX - r->body.len) {
        r->too_large = true;
        return 0;
    }
    buf_put(&r->body, ptr, n);
    return n;
}

/* One header line; a status line begins a new answer (after 100 Continue or a proxy's CONNECT). */
static size_t take_header(char *ptr, size_t one, size_t n, void *arg)
{
    struct fetch_response *r = arg;
    if (n > 5 && memcmp(ptr, "HTTP/", 5) == 0) {
        r->lines.len = 0;
        r->view.header_count = 0;
        return n;
    }
    char *colon = memchr(ptr, ':', n);
    if (!colon || r->view.header_count == HEADERS_MAX || r->lines.len > BODY_BYTES_MAX)
        return n;
    char *value = colon + 1, *end = ptr + n;
    while (end > value && (end[-1] == '\r' || end[-1] == '\n' || end[-1] == ' '))
        end--;
    while (value < end && (*value == ' ' || *value == '\t'))
        value++;
    /* Offsets for now: `lines` may still move. */
    struct ferrule_header *h = &r->headers[r->view.header_count++];
    h->name = (struct ferrule_str){(const char *)(uintptr_t)r->lines.len, (size_t)(colon - ptr)};
    buf_put(&r->lines, ptr, h->name.len);
    h->value = (struct ferrule_str){(const char *)(uintptr_t)r->lines.len, (size_t)(end - value)};
    buf_put(&r->lines, value, h->value.len);
    return n;
}

static void finish_response(struct fetch_response *r)
{
    for (uint32_t i = 0; i < r->view.header_count; i++) {
        r->headers[i].name.ptr = (const char *)r->lines.ptr + (uintptr_t)r->headers[i].name.ptr;
        r->headers[i].value.ptr = (const char *)r->lines.ptr + (uintptr_t)r->headers[i].value.ptr;
    }
    r->view.headers = r->headers;
    r->view.body = (struct ferrule_str){(const char *)r->body.ptr, r->body.len};
    long status = 0;
    curl_off_t retry_s = 0;
    curl_easy_getinfo(fetch_handle, CURLINFO_RESPONSE_CODE, &status);
    curl_easy_getinfo(fetch_handle, CURLINFO_RETRY_AFTER, &retry_s);
    r->view.status = (uint32_t)status;
    r->view.retry_after_ms = retry_s > 0 && retry_s < 86400 ? (uint32_t)retry_s * 1000 : 0;
}

static void drop_response(struct fetch_response *r)
{
    list_remove(&r->node);
    buf_wipe_free(&r->body);
    buf_wipe_free(&r->lines);
    free(r);
}

static bool method_is_idempotent(const char *method)
{
    static const char *const names[] = {"GET", "HEAD", "PUT", "DELETE"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        if (strcmp(method, names[i]) == 0)
            return true;
    return false;
}

static void set_method(CURL *c, const struct fetch *f)
{
    const struct ferrule_http_request *q = f->request;
    if (strcmp(f->method, "HEAD") == 0)
        curl_easy_setopt(c, CURLOPT_NOBODY, 1L);
    bool sends = q->body.len || strcmp(f->method, "POST") == 0 || strcmp(f->method, "PUT") == 0 ||
                 strcmp(f->method, "PATCH") == 0;
    if (sends) {
        curl_easy_setopt(c, CURLOPT_POST, 1L);
        curl_easy_setopt(c, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)q->body.len);
        curl_easy_setopt(c, CURLOPT_POSTFIELDS, q->body.len ? q->body.ptr : "");
    }
    curl_easy_setopt(c, CURLOPT_CUSTOMREQUEST, f->method);
    /* On a kept connection that ends without an answer libcurl sends a request again by itself:
     * the service may have heard it already. */
    bool once = !method_is_idempotent(f->method) || (q->flags & FERRULE_HTTP_NO_RETRY);
    curl_easy_setopt(c, CURLOPT_FRESH_CONNECT, once ? 1L : 0L);
}

static void set_credentials(CURL *c, const struct fetch *f)
{
    if (f->user[0]) {
        curl_easy_setopt(c, CURLOPT_USERNAME, f->user);
        curl_easy_setopt(c, CURLOPT_PASSWORD, f->password);
        curl_easy_setopt(c, CURLOPT_HTTPAUTH, (long)CURLAUTH_BASIC);
    }
    if (f->sigv4[0])
        curl_easy_setopt(c, CURLOPT_AWS_SIGV4, f->sigv4);
}

static void set_options(CURL *c, struct fetch *f, int timeout_ms)
{
    curl_easy_reset(c);
    curl_easy_setopt(c, CURLOPT_URL, f->url);
    curl_easy_setopt(c, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(c, CURLOPT_ERRORBUFFER, f->curl_text);
    curl_easy_setopt(c, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(c, CURLOPT_USERAGENT, f->s->host.program);
    curl_easy_setopt(c, CURLOPT_TIMEOUT_MS, (long)timeout_ms);
    curl_easy_setopt(c, CURLOPT_CONNECTTIMEOUT_MS,
                     (long)(timeout_ms < CONNECT_LIMIT_MS ? timeout_ms : CONNECT_LIMIT_MS));
    curl_easy_setopt(c, CURLOPT_HTTPHEADER, f->headers);
    curl_easy_setopt(c, CURLOPT_ACCEPT_ENCODING, "");
    curl_easy_setopt(c, CURLOPT_WRITEFUNCTION, take_body);
    curl_easy_setopt(c, CURLOPT_WRITEDATA, f->response);
    curl_easy_setopt(c, CURLOPT_HEADERFUNCTION, take_header);
    curl_easy_setopt(c, CURLOPT_HEADERDATA, f->response);
    const char *ca_file = getenv("SSL_CERT_FILE"), *ca_dir = getenv("SSL_CERT_DIR");
    if (ca_file && ca_file[0])
        curl_easy_setopt(c, CURLOPT_CAINFO, ca_file);
    if (ca_dir && ca_dir[0])
        curl_easy_setopt(c, CURLOPT_CAPATH, ca_dir);
    set_method(c, f);
    set_credentials(c, f);
}

/* What a transport failure means; the URL is not in the text, for it may hold a token. */
static int32_t fail_curl(struct fetch *f, CURLcode code)
{
    const char *text = f->curl_text[0] ? f->curl_text : curl_easy_strerror(code);
    switch (code) {
    case CURLE_AGAIN:
        if (f->error)
            f->error->retry_after_ms = f->held_ms;
        return services_fail(f->error, FERRULE_RATE,
                             "the service wants no request for %u s, which is longer than this one "
                             "can wait",
                             f->held_ms / 1000 + 1);
    case CURLE_OPERATION_TIMEDOUT:
        return services_fail(f->error, FERRULE_TIMEOUT, "no HTTP answer in time: %s", text);
    case CURLE_PEER_FAILED_VERIFICATION:
    case CURLE_SSL_CACERT_BADFILE:
        return services_fail(
            f->error, FERRULE_CONFIG,
            "the HTTP server's certificate is not trusted: %s (SSL_CERT_FILE may name "
            "another CA file)",
            text);
    case CURLE_URL_MALFORMAT:
    case CURLE_UNSUPPORTED_PROTOCOL:
        return services_fail(f->error, FERRULE_CONFIG, "the URL cannot be used: %s", text);
    case CURLE_WRITE_ERROR:
        if (f->response->too_large)
            return services_fail(f->error, FERRULE_FAILED, "the HTTP answer is larger than 4 MiB");
        break;
    default:
        break;
    }
    return services_fail(f->error, FERRULE_RETRY, "HTTP request failed: %s", text);
}

/* Whether another try may help and can do no harm. */
static bool may_retry(const struct fetch *f, CURLcode code)
{
    if (f->request->flags & FERRULE_HTTP_NO_RETRY)
        return false;
    if (code == CURLE_COULDNT_CONNECT || code == CURLE_COULDNT_RESOLVE_HOST ||
        code == CURLE_COULDNT_RESOLVE_PROXY)
        return true;
    if (!method_is_idempotent(f->method))
        return false;
    uint32_t status = f->response->view.status;
    return code == CURLE_SEND_ERROR || code == CURLE_RECV_ERROR || code == CURLE_GOT_NOTHING ||
           code == CURLE_PARTIAL_FILE ||
           (code == CURLE_OK && (status == 502 || status == 503 || status == 504));
}

/* Waits for the request's turn; false when that comes after the deadline. */
static bool wait_turn(struct fetch *f)
{
    const struct ferrule_host *host = &f->s->host;
    struct pace *pace = &f->s->pace;
    int64_t now = host->now_ns(host), at = pace_when(pace, now);
    if (at > now && host->sleep_until(host, at) != FERRULE_OK) {
        f->held_ms = (uint32_t)((at - now) / (int64_t)NS_PER_MS);
        return false;
    }
    pace_take(pace, at);
    return true;
}

/* The service has said when it wants to hear of us again. */
static void heed(struct fetch *f)
{
    const struct ferrule_http_response *r = &f->response->view;
    int64_t now = f->s->host.now_ns(&f->s->host);
    if (r->status == 429 && r->retry_after_ms)
        pace_close(&f->s->pace, now + r->retry_after_ms * (int64_t)NS_PER_MS);
}

/* CURLE_AGAIN, which curl_easy_perform() does not know, when it was not sent. */
static CURLcode try_once(struct fetch *f)
{
    if (!wait_turn(f))
        return CURLE_AGAIN;
    const struct ferrule_http_request *q = f->request;
    uint32_t limit_ms = q->timeout_ms ? q->timeout_ms : f->s->http_timeout_ms;
    int timeout_ms = services_left_ms(f->s, limit_ms);
    if (timeout_ms == 0)
        return CURLE_OPERATION_TIMEDOUT;
    f->curl_text[0] = 0;
    f->response->body.len = 0;
    set_options(fetch_handle, f, timeout_ms);
    CURLcode code = curl_easy_perform(fetch_handle);
    if (code == CURLE_OK) {
        finish_response(f->response);
        heed(f);
    }
    return code;
}

static CURLcode try_again_and_again(struct fetch *f)
{
    uint32_t pause_ms = FIRST_PAUSE_MS;
    for (int try = 1;; try++) {
        CURLcode code = try_once(f);
        if (try == TRIES || !may_retry(f, code))
            return code;
        uint32_t wait_ms = f->response->view.retry_after_ms > pause_ms && code == CURLE_OK
                               ? f->response->view.retry_after_ms
                               : pause_ms;
        int64_t at_ns = f->s->host.now_ns(&f->s->host) + wait_ms * (int64_t)NS_PER_MS;
        if (f->s->host.sleep_until(&f->s->host, at_ns) != FERRULE_OK)
            return code;
        child_log(LOG_LEVEL_DEBUG, "HTTP %s: try %d failed, once more", f->method, try);
        pause_ms *= 2;
    }
}

/* Whether two URLs have the same scheme, host and port. */
static bool same_origin(const char *a, const char *b)
{
    static const CURLUPart parts[] = {CURLUPART_SCHEME, CURLUPART_HOST, CURLUPART_PORT};
    CURLU *x = curl_url(), *y = curl_url();
    bool same = curl_url_set(x, CURLUPART_URL, a, 0) == CURLUE_OK &&
                curl_url_set(y, CURLUPART_URL, b, 0) == CURLUE_OK;
    for (size_t i = 0; same && i < sizeof parts / sizeof parts[0]; i++) {
        char *p = NULL, *q = NULL;
        same = curl_url_get(x, parts[i], &p, CURLU_DEFAULT_PORT) == CURLUE_OK &&
               curl_url_get(y, parts[i], &q, CURLU_DEFAULT_PORT) == CURLUE_OK && strcmp(p, q) == 0;
        curl_free(p);
        curl_free(q);
    }
    curl_url_cleanup(x);
    curl_url_cleanup(y);
    return same;
}

/* Takes the redirection's target as the next URL; false when it is not to be followed. */
static bool next_url(struct fetch *f)
{
    char *target = NULL;
    bool reads = strcmp(f->method, "GET") == 0 || strcmp(f->method, "HEAD") == 0;
    curl_easy_getinfo(fetch_handle, CURLINFO_REDIRECT_URL, &target);
    if (!(f->request->flags & FERRULE_HTTP_FOLLOW) || !reads || !target ||
        !same_origin(f->url, target))
        return false;
    char *copy = mem_strdup(target);
    wipe_free(f->url);
    f->url = copy;
    return true;
}

/* What a service may print of what it got: a URL's password, and the pair of Basic as it travels.
 */
static void hide_derived(const struct fetch *f)
{
    struct buf pair = {0}, coded = {0};
    hide_password(f->s->redact, f->url);
    if (f->s->redact && f->user[0] && !f->sigv4[0]) {
        buf_printf(&pair, "%s:%s", f->user, f->password);
        base64_put(&coded, buf_span(&pair));
        redact_add(f->s->redact, buf_span(&coded));
    }
    buf_wipe_free(&pair);
    buf_wipe_free(&coded);
}

static struct fetch fetch_begin(struct services *s, const struct ferrule_http_request *q,
                                struct ferrule_error *error)
{
    struct fetch f = {.s = s, .request = q, .error = error};
    f.url = text_of(q->url);
    f.method = text_of(q->method);
    f.user = text_of(q->user);
    f.password = text_of(q->password);
    f.sigv4 = text_of(q->aws_sigv4);
    hide_derived(&f);
    for (uint32_t i = 0; i < q->header_count; i++) {
        char *line = mem_printf("%.*s: %.*s", FERRULE_FMT(q->headers[i].name),
                                FERRULE_FMT(q->headers[i].value));
        f.headers = curl_slist_append(f.headers, line);
        wipe_free(line);
    }
    f.response = mem_zalloc(sizeof *f.response);
    f.response->view.size = sizeof f.response->view;
    list_append(&s->responses, &f.response->node);
    return f;
}

static void fetch_end(struct fetch *f)
{
    /* The handle must not keep pointers to what is freed here. */
    curl_easy_reset(fetch_handle);
    curl_slist_free_all(f->headers);
    wipe_free(f->url);
    free(f->method);
    wipe_free(f->user);
    wipe_free(f->password);
    free(f->sigv4);
}

int32_t fetch_http(const struct ferrule_host *host, const struct ferrule_http_request *request,
                   const struct ferrule_http_response **ret, struct ferrule_error *error)
{
    if (!fetch_handle)
        fetch_handle = curl_easy_init();
    if (!fetch_handle)
        return services_fail(error, FERRULE_RETRY, "libcurl does not start");
    struct fetch f = fetch_begin(services_of(host), request, error);
    CURLcode code = try_again_and_again(&f);
    for (int i = 0; i < REDIRECTS && code == CURLE_OK && next_url(&f); i++)
        code = try_again_and_again(&f);
    int32_t status = FERRULE_OK;
    if (code == CURLE_OK) {
        *ret = &f.response->view;
    } else {
        status = fail_curl(&f, code);
        drop_response(f.response);
    }
    fetch_end(&f);
    return status;
}

void fetch_free(const struct ferrule_host *host, const struct ferrule_http_response *response)
{
    if (response)
        drop_response((struct fetch_response *)response);
}

void fetch_free_all(struct services *s)
{
    while (!list_is_empty(&s->responses))
        drop_response(LIST_ENTRY(s->responses.next, struct fetch_response, node));
}

void fetch_fini(void)
{
    if (fetch_handle)
        curl_easy_cleanup(fetch_handle);
    fetch_handle = NULL;
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "control/acme/http_client.h"

#include "base/clock.h"
#include "base/list.h"
#include "base/must.h"
#include "control/curl_loop.h"

#include <stdio.h>
#include <stdlib.h>

#define HEADER_MAX       (16u << 10) /* bytes of one value that is kept */
#define REDIRECTS_MAX    3L
#define CONNECTIONS_MAX  8L
#define CONNECT_S        15L
#define TIMEOUT_MS       30000u
#define CA_FILE_MAX      (4u << 20)
#define LOW_SPEED_BYTES  1L
#define FALLBACK_CA_FILE "/etc/ssl/certs/ca-certificates.crt"

struct http_client {
    struct curl_loop *curl;
    struct list calls;
    struct buf roots; /* PEM; empty = the library's default */
    char *server_name;
    uint64_t timeout_ms, header_timeout_ms;
    struct loop *loop;
};

struct http_call {
    struct list node;
    struct http_client *client;
    CURL *easy;
    struct curl_slist *headers, *connect_to;
    enum http_method method;
    http_done *done;
    void *arg;
    struct buf request_body, body;
    bool too_large;
    char *nonce, *location, *content_type;
    char *alternates[HTTP_ALTERNATES_MAX];
    uint32_t alternate_count;
    int64_t date_s;
    struct loop_timer timer; /* until the answer begins */
    char error[CURL_ERROR_SIZE];
};

static void call_ended(void *arg, CURL *easy, CURLcode code);

/* ---- client --------------------------------------------------------------------------------- */

static struct result append_file(struct buf *out, const char *path, struct why *why)
{
    FILE *f = fopen(path, "re");
    if (!f)
        return why_fail(why, ERR_CONFIG, "cannot read the CA certificates in %s: %m", path);
    size_t before = out->len;
    size_t n;
    do {
        n = fread(buf_reserve(out, 65536), 1, 65536, f);
        out->len += n;
    } while (n && out->len - before <= CA_FILE_MAX);
    bool failed = ferror(f);
    fclose(f);
    if (failed || out->len - before > CA_FILE_MAX)
        return why_fail(why, ERR_CONFIG, "cannot read the CA certificates in %s: %s", path,
                        failed ? "read error" : "larger than 4 MB");
    if (!memmem(out->ptr + before, out->len - before, "-----BEGIN CERTIFICATE-----", 27))
        return why_fail(why, ERR_CONFIG, "there is no PEM certificate in %s", path);
    buf_put_str(out, "\n");
    return result_ok();
}

static struct result read_roots(struct http_client *client, const struct http_client_options *o,
                                struct why *why)
{
    if (!o->ca_file_count)
        return result_ok();
    for (uint32_t i = 0; i < o->ca_file_count; i++) {
        if (o->ca_files[i][0] == '-')
            buf_printf(&client->roots, "%s\n", o->ca_files[i]);
        else
            TRY(append_file(&client->roots, o->ca_files[i], why));
    }
    if (!o->system_pool)
        return result_ok();
    const char *path = NULL;
    CURL *easy = curl_easy_init();
    must(easy);
    curl_easy_getinfo(easy, CURLINFO_CAINFO, &path);
    struct result r = append_file(&client->roots, path ? path : FALLBACK_CA_FILE, why);
    curl_easy_cleanup(easy);
    return r;
}

struct result http_client_create(struct loop *loop, const struct http_client_options *options,
                                 struct http_client **ret, struct why *why)
{
    struct http_client *client = mem_zalloc(sizeof *client);
    list_init(&client->calls);
    client->timeout_ms = options->timeout_ms ? options->timeout_ms : TIMEOUT_MS;
    client->header_timeout_ms = options->header_timeout_ms;
    client->loop = loop;
    client->server_name = mem_strdup(options->server_name ? options->server_name : "");
    client->curl = curl_loop_create(loop, CONNECTIONS_MAX, call_ended, client);
    struct result r = read_roots(client, options, why);
    if (!result_is_ok(r)) {
        http_client_destroy(client);
        return r;
    }
    *ret = client;
    return result_ok();
}

void http_client_destroy(struct http_client *client)
{
    if (!client)
        return;
    while (!list_is_empty(&client->calls))
        http_call_cancel(LIST_ENTRY(client->calls.next, struct http_call, node));
    curl_loop_destroy(client->curl);
    buf_free(&client->roots);
    free(client->server_name);
    free(client);
}

/* ---- one call ------------------------------------------------------------------------------- */

static size_t on_body(char *ptr, size_t size, size_t count, void *arg)
{
    struct http_call *call = arg;
    if (call->body.len + size * count > HTTP_BODY_MAX) {
        call->too_large = true;
        return 0;
    }
    buf_put(&call->body, ptr, size * count);
    return size * count;
}

static struct span trim(struct span s)
{
    while (s.len && (s.ptr[0] == ' ' || s.ptr[0] == '\t'))
        s = span_skip(s, 1);
    while (s.len && strchr(" \t\r\n", s.ptr[s.len - 1]))
        s.len--;
    return s;
}

static void keep(char **where, struct span value)
{
    if (value.len > HEADER_MAX)
        return;
    for (size_t i = 0; i < value.len; i++)
        if (value.ptr[i] < 0x20 || value.ptr[i] >= 0x7f)
            return;
    free(*where);
    *where = mem_strndup(value.ptr, value.len);
}

/* RFC 8288: `<url>;rel="alternate"`, several separated by commas. */
static void keep_links(struct http_call *call, struct span value)
{
    while (value.len && call->alternate_count < HTTP_ALTERNATES_MAX) {
        size_t open = span_find(value, '<');
        struct span rest = span_skip(value, open + 1);
        size_t close = span_find(rest, '>');
        if (open == value.len || close == rest.len)
            return;
        struct span url = span_first(rest, close);
        struct span params = span_skip(rest, close + 1);
        size_t next = span_find(params, '<');
        value = span_skip(params, next);
        params = span_first(params, next);
        if (memmem(params.ptr, params.len, "rel=\"alternate\"", 15) ||
            memmem(params.ptr, params.len, "rel=alternate", 13)) {
            char *kept = NULL;
            keep(&kept, url);
            if (kept)
                call->alternates[call->alternate_count++] = kept;
        }
    }
}

static void forget_headers(struct http_call *call)
{
    free(call->nonce);
    free(call->location);
    free(call->content_type);
    for (uint32_t i = 0; i < call->alternate_count; i++)
        free(call->alternates[i]);
    call->nonce = call->location = call->content_type = NULL;
    call->alternate_count = 0;
}

/* 0 when it is none. */
static int64_t read_date(struct span value)
{
    char *text = mem_strndup(value.ptr, value.len);
    time_t at = curl_getdate(text, NULL);
    free(text);
    return at > 0 ? (int64_t)at : 0;
}

static size_t on_header(char *ptr, size_t size, size_t count, void *arg)
{
    struct http_call *call = arg;
    struct span line = span_of(ptr, size * count);
    if (span_starts_with(line, SPAN_LITERAL("HTTP/"))) {
        /* A redirect or an interim answer came before: only the last head counts. */
        loop_timer_cancel(call->client->loop, &call->timer);
        forget_headers(call);
        buf_free(&call->body);
        return line.len;
    }
    size_t colon = span_find(line, ':');
    struct span name = span_first(line, colon);
    struct span value = trim(span_skip(line, colon + 1));
    if (span_eq_nocase(name, SPAN_LITERAL("replay-nonce")))
        keep(&call->nonce, value);
    else if (span_eq_nocase(name, SPAN_LITERAL("location")))
        keep(&call->location, value);
    else if (span_eq_nocase(name, SPAN_LITERAL("content-type")))
        keep(&call->content_type, value);
    else if (span_eq_nocase(name, SPAN_LITERAL("date")))
        call->date_s = read_date(value);
    else if (span_eq_nocase(name, SPAN_LITERAL("link")))
        keep_links(call, value);
    return line.len;
}

static void call_free(struct http_call *call)
{
    list_remove(&call->node);
    loop_timer_cancel(call->client->loop, &call->timer);
    curl_loop_remove(call->client->curl, call->easy);
    curl_easy_cleanup(call->easy);
    curl_slist_free_all(call->headers);
    curl_slist_free_all(call->connect_to);
    forget_headers(call);
    buf_free(&call->request_body);
    buf_free(&call->body);
    free(call);
}

void http_call_cancel(struct http_call *call)
{
    if (call)
        call_free(call);
}

/* curl verifies the name in the URL, so the URL gets that name while the connection goes to the
 * real host and the Host header stays the real one. */
static void verify_other_name(struct http_call *call, const char *url)
{
    CURLU *u = curl_url();
    char *host = NULL, *port = NULL, *changed = NULL;
    must(u);
    if (curl_url_set(u, CURLUPART_URL, url, 0) == CURLUE_OK &&
        curl_url_get(u, CURLUPART_HOST, &host, 0) == CURLUE_OK &&
        curl_url_get(u, CURLUPART_PORT, &port, CURLU_DEFAULT_PORT) == CURLUE_OK &&
        curl_url_set(u, CURLUPART_HOST, call->client->server_name, 0) == CURLUE_OK &&
        curl_url_get(u, CURLUPART_URL, &changed, 0) == CURLUE_OK) {
        char *to = mem_printf("%s:%s:%s:%s", call->client->server_name, port, host, port);
        char *header = mem_printf(strcmp(port, "443") ? "Host: %s:%s" : "Host: %s", host, port);
        call->connect_to = curl_slist_append(NULL, to);
        call->headers = curl_slist_append(call->headers, header);
        curl_easy_setopt(call->easy, CURLOPT_CONNECT_TO, call->connect_to);
        curl_easy_setopt(call->easy, CURLOPT_URL, changed);
        free(to);
        free(header);
    }
    curl_free(host);
    curl_free(port);
    curl_free(changed);
    curl_url_cleanup(u);
}

static void add_header(struct http_call *call, const char *name, const char *value)
{
    char *line = mem_printf("%s: %s", name, value);
    call->headers = curl_slist_append(call->headers, line);
    must(call->headers);
    free(line);
}

static void set_method(struct http_call *call, const struct http_request *request)
{
    CURL *e = call->easy;
    if (request->method == HTTP_METHOD_HEAD)
        curl_easy_setopt(e, CURLOPT_NOBODY, 1L);
    if (request->method == HTTP_METHOD_GET) {
        curl_easy_setopt(e, CURLOPT_FOLLOWLOCATION, 1L);
        curl_easy_setopt(e, CURLOPT_MAXREDIRS, REDIRECTS_MAX);
        curl_easy_setopt(e, CURLOPT_REDIR_PROTOCOLS_STR, "https");
    }
    if (request->method == HTTP_METHOD_POST) {
        buf_put_span(&call->request_body, request->body);
        curl_easy_setopt(e, CURLOPT_POST, 1L);
        curl_easy_setopt(e, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)request->body.len);
        curl_easy_setopt(e, CURLOPT_POSTFIELDS, buf_cstr(&call->request_body));
        add_header(call, "Content-Type", request->content_type);
        call->headers = curl_slist_append(call->headers, "Expect:");
    }
    if (request->accept)
        add_header(call, "Accept", request->accept);
}

static void set_tls(struct http_call *call)
{
    struct http_client *client = call->client;
    if (!client->roots.len)
        return;
    struct curl_blob blob = {client->roots.ptr, client->roots.len, CURL_BLOB_NOCOPY};
    curl_easy_setopt(call->easy, CURLOPT_CAINFO_BLOB, &blob);
    curl_easy_setopt(call->easy, CURLOPT_CAPATH, NULL);
}

static void call_finish(struct http_call *call, CURLcode code);

static void no_header(struct loop_timer *t)
{
    struct http_call *call = LIST_ENTRY(t, struct http_call, timer);
    snprintf(call->error, sizeof call->error, "the answer did not begin within %llu s",
             (unsigned long long)(call->client->header_timeout_ms / 1000));
    list_remove(&call->node);
    call_finish(call, CURLE_OPERATION_TIMEDOUT);
    call_free(call);
}

struct http_call *http_client_start(struct http_client *client, const struct http_request *request,
                                    http_done *done, void *arg)
{
    struct http_call *call = mem_zalloc(sizeof *call);
    call->client = client;
    call->method = request->method;
    call->done = done;
    call->arg = arg;
    call->easy = curl_easy_init();
    must(call->easy);
    CURL *e = call->easy;
    curl_easy_setopt(e, CURLOPT_PRIVATE, call);
    curl_easy_setopt(e, CURLOPT_URL, request->url);
    curl_easy_setopt(e, CURLOPT_PROTOCOLS_STR, "https,http");
    curl_easy_setopt(e, CURLOPT_USERAGENT, "ferrule");
    curl_easy_setopt(e, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(e, CURLOPT_PROXY, "");
    curl_easy_setopt(e, CURLOPT_TIMEOUT_MS, (long)client->timeout_ms);
    curl_easy_setopt(e, CURLOPT_CONNECTTIMEOUT, CONNECT_S);
    curl_easy_setopt(e, CURLOPT_ERRORBUFFER, call->error);
    curl_easy_setopt(e, CURLOPT_WRITEFUNCTION, on_body);
    curl_easy_setopt(e, CURLOPT_WRITEDATA, call);
    curl_easy_setopt(e, CURLOPT_HEADERFUNCTION, on_header);
    curl_easy_setopt(e, CURLOPT_HEADERDATA, call);
    set_method(call, request);
    /* A kept connection that the server closes without a word makes the library send the request
     * again, and again; a new one does not. */
    curl_easy_setopt(e, CURLOPT_FRESH_CONNECT, request->once ? 1L : 0L);
    set_tls(call);
    if (client->server_name[0])
        verify_other_name(call, request->url);
    curl_easy_setopt(e, CURLOPT_HTTPHEADER, call->headers);
    list_init(&call->node);
    list_append(&client->calls, &call->node);
    loop_timer_init(&call->timer, no_header);
    if (client->header_timeout_ms)
        loop_timer_set(client->loop, &call->timer,
                       clock_now_ns() + client->header_timeout_ms * NS_PER_MS);
    curl_loop_add(client->curl, e);
    return call;
}

static bool never_sent(CURLcode code)
{
    switch (code) {
    case CURLE_UNSUPPORTED_PROTOCOL:
    case CURLE_URL_MALFORMAT:
    case CURLE_COULDNT_RESOLVE_HOST:
    case CURLE_COULDNT_CONNECT:
    case CURLE_SSL_CONNECT_ERROR:
    case CURLE_PEER_FAILED_VERIFICATION:
    case CURLE_SSL_CACERT_BADFILE:
        return true;
    default:
        return false;
    }
}

static const char *text_or_empty(const char *s)
{
    return s ? s : "";
}

static void call_finish(struct http_call *call, CURLcode code)
{
    struct http_reply reply = {.nonce = text_or_empty(call->nonce),
                               .location = text_or_empty(call->location),
                               .content_type = text_or_empty(call->content_type),
                               .alternate_count = call->alternate_count,
                               .date_s = call->date_s,
                               .body = buf_span(&call->body),
                               .text = ""};
    for (uint32_t i = 0; i < call->alternate_count; i++)
        reply.alternates[i] = call->alternates[i];
    long status = 0;
    curl_off_t uploaded = 0, retry = 0;
    curl_easy_getinfo(call->easy, CURLINFO_RESPONSE_CODE, &status);
    curl_easy_getinfo(call->easy, CURLINFO_SIZE_UPLOAD_T, &uploaded);
    curl_easy_getinfo(call->easy, CURLINFO_RETRY_AFTER, &retry);
    reply.answered = code == CURLE_OK;
    reply.sent = reply.answered || (!never_sent(code) && uploaded > 0);
    reply.status = (uint32_t)status;
    reply.retry_after_s = retry <= 0                 ? 0
                          : retry > HTTP_RETRY_MAX_S ? HTTP_RETRY_MAX_S
                                                     : (uint32_t)retry;
    if (call->too_large)
        reply.text = "the answer is larger than 1 MB";
    else if (!reply.answered)
        reply.text = call->error[0] ? call->error : curl_easy_strerror(code);
    call->done(call->arg, &reply);
}

static void call_ended(void *arg, CURL *easy, CURLcode code)
{
    struct http_call *call = NULL;
    curl_easy_getinfo(easy, CURLINFO_PRIVATE, &call);
    /* Off the list first: the callback may not cancel what is finishing. */
    list_remove(&call->node);
    loop_timer_cancel(call->client->loop, &call->timer);
    call_finish(call, code);
    call_free(call);
}

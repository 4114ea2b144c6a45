/* SPDX-License-Identifier: Apache-2.0 */
#include "control/health.h"

#include "base/clock.h"
#include "base/must.h"
#include "base/rand.h"
#include "control/curl_loop.h"
#include "crypto/pem.h"

#include <arpa/inet.h>
#include <stdlib.h>

#define OPEN_MAX      64 /* questions at once */
#define REDIRECTS_MAX 10L
#define SPREAD_MS     200 /* the first questions are not asked all at once */
#define FULL_WAIT_MS  20

struct check {
    struct loop_timer timer;
    struct health *all;
    uint32_t number;
    const struct config_health *how;
    const struct config_server *server;
    const struct config_transport *transport;
    bool healthy;
    uint64_t began_ns;
    CURL *easy; /* NULL: no question is open */
    struct curl_slist *resolve, *headers;
    char error[CURL_ERROR_SIZE];
};

struct health {
    struct loop *loop;
    struct curl_loop *curl;
    const struct config *config;
    struct buf *roots; /* PEM, by index in config->roots; empty = not made yet */
    health_changed *changed;
    health_addresses *addresses;
    void *arg;
    struct check **checks;
    uint32_t count, capacity, open;
};

static void ask_again(struct check *c)
{
    uint64_t every_ms = c->healthy ? c->how->interval_ms : c->how->unhealthy_interval_ms;
    loop_timer_set(c->all->loop, &c->timer, c->began_ns + every_ms * NS_PER_MS);
}

static void close_question(struct check *c)
{
    if (!c->easy)
        return;
    curl_loop_remove(c->all->curl, c->easy);
    curl_easy_cleanup(c->easy);
    curl_slist_free_all(c->resolve);
    curl_slist_free_all(c->headers);
    c->easy = NULL;
    c->resolve = c->headers = NULL;
    c->all->open--;
}

static void judge(struct check *c, bool healthy, const char *text)
{
    bool changed = healthy != c->healthy;
    c->healthy = healthy;
    ask_again(c);
    if (changed)
        c->all->changed(c->all->arg, c->number, healthy, text);
}

static void ended(void *arg, CURL *easy, CURLcode code)
{
    struct check *c = NULL;
    char text[CURL_ERROR_SIZE + 32];
    long status = 0;
    curl_easy_getinfo(easy, CURLINFO_PRIVATE, &c);
    curl_easy_getinfo(easy, CURLINFO_RESPONSE_CODE, &status);
    snprintf(text, sizeof text, "%s", c->error[0] ? c->error : curl_easy_strerror(code));
    close_question(c);
    if (code != CURLE_OK || c->how->tcp) {
        judge(c, code == CURLE_OK, text);
        return;
    }
    bool good = c->how->status ? (uint32_t)status == c->how->status : status >= 200 && status < 400;
    snprintf(text, sizeof text, "it answers with status %ld", status);
    judge(c, good, text);
}

static size_t drop_body(char *ptr, size_t size, size_t count, void *arg)
{
    return size * count;
}

/* ---- TLS, as the service's transport says ---------------------------------------------------- */

static void put_certs(struct buf *out, struct span certs)
{
    struct reader r = reader_of(certs);
    while (r.left && !r.bad) {
        size_t len = reader_be(&r, 3);
        pem_put(out, "CERTIFICATE", reader_bytes(&r, len));
    }
}

static void set_roots(struct check *c)
{
    const struct config *config = c->all->config;
    struct buf *pem = &c->all->roots[c->transport->roots];
    if (pem->len == 0)
        put_certs(pem, buf_span(&config->roots[c->transport->roots].certs));
    struct curl_blob blob = {pem->ptr, pem->len, CURL_BLOB_NOCOPY};
    curl_easy_setopt(c->easy, CURLOPT_CAINFO_BLOB, &blob);
    curl_easy_setopt(c->easy, CURLOPT_CAPATH, NULL);
}

static void set_certificate(struct check *c)
{
    const struct config_certificate *own = c->transport->certificate;
    struct buf chain = {0};
    put_certs(&chain, buf_span(&own->chain));
    struct curl_blob cert = {chain.ptr, chain.len, CURL_BLOB_COPY};
    struct curl_blob key = {own->key.ptr, own->key.len, CURL_BLOB_NOCOPY};
    curl_easy_setopt(c->easy, CURLOPT_SSLCERTTYPE, "PEM");
    curl_easy_setopt(c->easy, CURLOPT_SSLCERT_BLOB, &cert);
    curl_easy_setopt(c->easy, CURLOPT_SSLKEYTYPE, "DER");
    curl_easy_setopt(c->easy, CURLOPT_SSLKEY_BLOB, &key);
    buf_free(&chain);
}

static void set_tls(struct check *c)
{
    if (c->transport->insecure) {
        curl_easy_setopt(c->easy, CURLOPT_SSL_VERIFYPEER, 0L);
        curl_easy_setopt(c->easy, CURLOPT_SSL_VERIFYHOST, 0L);
    } else if (c->transport->roots != UINT32_MAX) {
        set_roots(c);
    }
    if (c->transport->certificate)
        set_certificate(c);
}

/* ---- the question ---------------------------------------------------------------------------- */

/* "name:port:192.0.2.1,[2001:db8::1]": curl tries one after the other. */
static void set_addresses(struct check *c, const char *host, uint16_t port,
                          const struct net_addr *addrs, uint32_t count)
{
    struct in6_addr literal;
    if (inet_pton(AF_INET, host, &literal) == 1 || inet_pton(AF_INET6, host, &literal) == 1)
        return; /* it is its own address; curl cannot read an entry for IPv6 */
    struct buf line = {0};
    buf_printf(&line, "%s:%u:", host, port);
    for (uint32_t i = 0; i < count; i++) {
        char ip[NET_ADDR_TEXT_MAX];
        net_addr_print_ip(&addrs[i], ip);
        bool v6 = strchr(ip, ':') != NULL;
        buf_printf(&line, "%s%s%s%s", i ? "," : "", v6 ? "[" : "", ip, v6 ? "]" : "");
    }
    c->resolve = curl_slist_append(NULL, buf_cstr(&line));
    curl_easy_setopt(c->easy, CURLOPT_RESOLVE, c->resolve);
    buf_free(&line);
}

static void add_header(struct check *c, const char *name, const char *value)
{
    /* curl takes "Name;" for a field without value. */
    char *line = mem_printf(*value ? "%s: %s" : "%s;%s", name, value);
    c->headers = curl_slist_append(c->headers, line);
    must(c->headers);
    free(line);
}

static void set_request(struct check *c)
{
    CURL *e = c->easy;
    const struct config_health *how = c->how;
    if (how->tcp) {
        curl_easy_setopt(e, CURLOPT_CONNECT_ONLY, 1L);
        return;
    }
    if (strcmp(how->method, "HEAD") == 0)
        curl_easy_setopt(e, CURLOPT_NOBODY, 1L);
    else
        curl_easy_setopt(e, CURLOPT_CUSTOMREQUEST, how->method);
    curl_easy_setopt(e, CURLOPT_FOLLOWLOCATION, (long)how->follow_redirects);
    curl_easy_setopt(e, CURLOPT_MAXREDIRS, REDIRECTS_MAX);
    curl_easy_setopt(e, CURLOPT_PATH_AS_IS, 1L);
    if (how->hostname[0])
        add_header(c, "Host", how->hostname);
    else if (c->transport->server_name[0])
        add_header(c, "Host", c->server->host);
    for (uint32_t i = 0; i < how->header_count; i++)
        add_header(c, how->headers[i].name, how->headers[i].value);
    curl_easy_setopt(e, CURLOPT_HTTPHEADER, c->headers);
}

/* Asks for and expects the name of the URL, so that is the one that the transport verifies; which
 * addresses it has is said by set_addresses(). */
static char *url_of(const struct check *c, const char *host, uint16_t port)
{
    const struct config_health *how = c->how;
    const char *scheme = how->tcp           ? "http"
                         : how->scheme[0]   ? how->scheme
                         : c->server->https ? "https"
                                            : "http";
    bool v6 = strchr(host, ':') != NULL;
    return mem_printf("%s://%s%s%s:%u%s", scheme, v6 ? "[" : "", host, v6 ? "]" : "", port,
                      how->path);
}

static void ask(struct check *c, const struct net_addr *addrs, uint32_t count)
{
    const struct config_health *how = c->how;
    uint16_t port = how->port ? how->port : c->server->port;
    const char *name = c->transport->server_name;
    const char *host = name[0] ? name : c->server->host;
    char *url = url_of(c, host, port);
    c->all->open++;
    c->error[0] = 0;
    c->easy = curl_easy_init();
    must(c->easy);
    CURL *e = c->easy;
    curl_easy_setopt(e, CURLOPT_PRIVATE, c);
    curl_easy_setopt(e, CURLOPT_URL, url);
    curl_easy_setopt(e, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(e, CURLOPT_REDIR_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(e, CURLOPT_HTTP_VERSION, CURL_HTTP_VERSION_1_1);
    curl_easy_setopt(e, CURLOPT_USERAGENT, "ferrule");
    curl_easy_setopt(e, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(e, CURLOPT_PROXY, "");
    curl_easy_setopt(e, CURLOPT_TIMEOUT_MS, (long)how->timeout_ms);
    /* A kept connection would say nothing about new ones. */
    curl_easy_setopt(e, CURLOPT_FRESH_CONNECT, 1L);
    curl_easy_setopt(e, CURLOPT_FORBID_REUSE, 1L);
    curl_easy_setopt(e, CURLOPT_ERRORBUFFER, c->error);
    curl_easy_setopt(e, CURLOPT_WRITEFUNCTION, drop_body);
    set_addresses(c, host, port, addrs, count);
    set_tls(c);
    set_request(c);
    curl_loop_add(c->all->curl, e);
    free(url);
}

static void due(struct loop_timer *t)
{
    struct check *c = LIST_ENTRY(t, struct check, timer);
    struct health *h = c->all;
    const struct net_addr *addrs;
    if (h->open >= OPEN_MAX) {
        loop_timer_set(h->loop, t, clock_now_ns() + FULL_WAIT_MS * NS_PER_MS);
        return;
    }
    c->began_ns = clock_now_ns();
    uint32_t count = h->addresses(h->arg, c->number, &addrs);
    if (count)
        ask(c, addrs, count);
    else
        loop_timer_set(h->loop, t, c->began_ns + NS_PER_S); /* DNS is still being asked */
}

struct health *health_create(struct loop *loop, const struct config *config,
                             health_changed *changed, health_addresses *addresses, void *arg)
{
    struct health *h = mem_zalloc(sizeof *h);
    h->loop = loop;
    h->config = config;
    h->roots = mem_zalloc((config->roots_count + 1) * sizeof *h->roots);
    h->changed = changed;
    h->addresses = addresses;
    h->arg = arg;
    h->curl = curl_loop_create(loop, 0, ended, h);
    return h;
}

void health_destroy(struct health *h)
{
    if (!h)
        return;
    for (uint32_t i = 0; i < h->count; i++) {
        close_question(h->checks[i]);
        loop_timer_cancel(h->loop, &h->checks[i]->timer);
        free(h->checks[i]);
    }
    curl_loop_destroy(h->curl);
    for (uint32_t i = 0; i < h->config->roots_count; i++)
        buf_free(&h->roots[i]);
    free(h->roots);
    free(h->checks);
    free(h);
}

void health_add(struct health *h, uint32_t number, const struct config_service *service,
                const struct config_server *server, bool healthy)
{
    struct check *c = mem_zalloc(sizeof *c);
    if (h->count == h->capacity) {
        h->capacity = h->capacity ? h->capacity * 2 : 16;
        h->checks = mem_grow(h->checks, h->capacity * sizeof(struct check *));
    }
    h->checks[h->count++] = c;
    c->all = h;
    c->number = number;
    c->how = &service->health;
    c->server = server;
    c->transport = &h->config->transports[service->transport];
    c->healthy = healthy;
    loop_timer_init(&c->timer, due);
}

void health_start(struct health *h)
{
    for (uint32_t i = 0; i < h->count; i++)
        loop_timer_set(h->loop, &h->checks[i]->timer,
                       clock_now_ns() + rand_below(SPREAD_MS * NS_PER_MS));
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "data/log/access_format.h"

#include "base/must.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>
#include <time.h>

static const char *const field_names[ACCESS_FIELDS] = {
#define ACCESS_FIELD(id, name) name,
#include "base/access_fields.def"
#undef ACCESS_FIELD
};

static_assert(ACCESS_FIELDS <= 64, "fields are bits of snap_access.dropped");

#define TEXT(out, text) writer_bytes(out, text, sizeof(text) - 1)

static bool keeps(const struct snap_access *a, enum access_field field)
{
    return !(a->dropped >> field & 1);
}

static void put_number(struct writer *out, uint64_t n)
{
    char text[24];
    size_t at = sizeof text;
    do
        text[--at] = (char)('0' + n % 10);
    while (n /= 10);
    writer_bytes(out, text + at, sizeof text - at);
}

/* ---- text of strangers ---------------------------------------------------------------------- */

/* Bytes of the well-formed UTF-8 sequence at the beginning; 0: there is none (RFC 3629). */
static size_t utf8_len(const uint8_t *p, size_t left)
{
    static const struct {
        uint8_t from, to, second_from, second_to, len;
    } rows[] = {{0xc2, 0xdf, 0x80, 0xbf, 2}, {0xe0, 0xe0, 0xa0, 0xbf, 3},
                {0xe1, 0xec, 0x80, 0xbf, 3}, {0xed, 0xed, 0x80, 0x9f, 3},
                {0xee, 0xef, 0x80, 0xbf, 3}, {0xf0, 0xf0, 0x90, 0xbf, 4},
                {0xf1, 0xf3, 0x80, 0xbf, 4}, {0xf4, 0xf4, 0x80, 0x8f, 4}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        if (p[0] < rows[i].from || p[0] > rows[i].to || left < rows[i].len)
            continue;
        if (p[1] < rows[i].second_from || p[1] > rows[i].second_to)
            continue;
        size_t n = 2;
        while (n < rows[i].len && (p[n] & 0xc0) == 0x80)
            n++;
        return n == rows[i].len ? n : 0;
    }
    return 0;
}

/* Copies; what could break the line is written as an escape: \xNN, or JSON's. */
static void put_escaped(struct writer *out, struct span s, bool json)
{
    size_t clean = 0;
    for (size_t i = 0; i < s.len;) {
        uint8_t c = s.ptr[i];
        size_t wide = c < 0x80 ? 0 : utf8_len(s.ptr + i, s.len - i);
        if (wide || (c >= 0x20 && c < 0x7f && c != '"' && c != '\\')) {
            i += wide ? wide : 1;
            continue;
        }
        char text[8];
        int n = c == '"' || c == '\\' ? snprintf(text, sizeof text, "\\%c", c)
                : !json               ? snprintf(text, sizeof text, "\\x%02x", c)
                : c < 0x80            ? snprintf(text, sizeof text, "\\u%04x", c)
                                      : snprintf(text, sizeof text, "\\ufffd");
        writer_bytes(out, s.ptr + clean, i - clean);
        writer_bytes(out, text, (size_t)n);
        clean = ++i;
    }
    writer_bytes(out, s.ptr + clean, s.len - clean);
}

/* ---- which lines, which header fields ------------------------------------------------------- */

bool access_passes(const struct snapshot *s, const struct access_record *r)
{
    const struct snap_access *a = &s->access;
    if (!s->access_status_count && !a->only_retried && !a->min_ms)
        return true;
    for (uint32_t i = 0; i < s->access_status_count; i++)
        if (r->status >= s->access_statuses[i].first && r->status <= s->access_statuses[i].last)
            return true;
    return (a->only_retried && r->retries > 0) ||
           (a->min_ms && r->duration_ns > a->min_ms * 1000000ull);
}

enum snap_access_mode access_header_mode(const struct snapshot *s, struct span name)
{
    for (uint32_t i = 0; i < s->access_header_count; i++) {
        const struct snap_access_header *h = &s->access_headers[i];
        if (h->name.len == name.len &&
            strncasecmp((const char *)h->name.ptr, (const char *)name.ptr, name.len) == 0)
            return (enum snap_access_mode)h->mode;
    }
    return (enum snap_access_mode)s->access.header_mode;
}

bool access_header(struct span prefix, struct span name, struct span value, struct writer *out)
{
    size_t before = out->len;
    TEXT(out, ",\"");
    writer_span(out, prefix);
    put_escaped(out, name, true);
    TEXT(out, "\":\"");
    put_escaped(out, value, true);
    TEXT(out, "\"");
    if (!out->bad)
        return true;
    out->bad = false;
    out->len = before;
    return false;
}

/* ---- Common Log Format, with Traefik's additions --------------------------------------------- */

static void put_clf_text(const struct snap_access *a, enum access_field field, struct span text,
                         struct writer *out)
{
    if (!keeps(a, field) || text.len == 0)
        TEXT(out, "-");
    else
        put_escaped(out, text, false);
}

static void put_clf_quoted(struct span text, bool keep, struct writer *out)
{
    TEXT(out, "\"");
    if (!keep || text.len == 0)
        TEXT(out, "-");
    else
        put_escaped(out, text, false);
    TEXT(out, "\"");
}

static void put_clf_number(const struct snap_access *a, enum access_field field, uint64_t number,
                           struct writer *out)
{
    if (keeps(a, field))
        put_number(out, number);
    else
        TEXT(out, "-");
}

/* Names of months do not depend on the locale here. */
static void put_clf_time(int64_t at_s, struct writer *out)
{
    static const char months[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
    struct tm tm;
    char text[48];
    time_t t = (time_t)at_s;
    gmtime_r(&t, &tm);
    int n = snprintf(text, sizeof text, "%02d/%.3s/%04d:%02d:%02d:%02d +0000", tm.tm_mday,
                     months + 3 * tm.tm_mon, tm.tm_year + 1900, tm.tm_hour, tm.tm_min, tm.tm_sec);
    writer_bytes(out, text, (size_t)n);
}

static void format_common(const struct snap_access *a, const struct access_record *r,
                          struct writer *out)
{
    put_clf_text(a, ACCESS_FIELD_CLIENT_HOST, r->client_ip, out);
    TEXT(out, " - ");
    put_clf_text(a, ACCESS_FIELD_CLIENT_USERNAME, (struct span){0}, out);
    TEXT(out, " [");
    if (keeps(a, ACCESS_FIELD_START_UTC))
        put_clf_time(r->start_s, out);
    else
        TEXT(out, "-");
    TEXT(out, "] \"");
    put_clf_text(a, ACCESS_FIELD_REQUEST_METHOD, r->method, out);
    TEXT(out, " ");
    if (r->tcp)
        put_clf_text(a, ACCESS_FIELD_REQUEST_HOST, r->host, out);
    else
        put_clf_text(a, ACCESS_FIELD_REQUEST_PATH, r->target, out);
    TEXT(out, " ");
    put_clf_text(a, ACCESS_FIELD_REQUEST_PROTOCOL, r->protocol, out);
    TEXT(out, "\" ");
    put_clf_number(a, ACCESS_FIELD_DOWNSTREAM_STATUS, r->status, out);
    TEXT(out, " ");
    put_clf_number(a, ACCESS_FIELD_DOWNSTREAM_CONTENT_SIZE, r->response_bytes, out);
    TEXT(out, " ");
    put_clf_quoted(r->referer, true, out);
    TEXT(out, " ");
    put_clf_quoted(r->user_agent, true, out);
    TEXT(out, " ");
    put_clf_number(a, ACCESS_FIELD_REQUEST_COUNT, r->number, out);
    TEXT(out, " ");
    put_clf_quoted(r->router, keeps(a, ACCESS_FIELD_ROUTER_NAME), out);
    TEXT(out, " ");
    put_clf_quoted(r->server_url, keeps(a, ACCESS_FIELD_SERVICE_URL), out);
    TEXT(out, " ");
    put_clf_number(a, ACCESS_FIELD_DURATION, r->duration_ns / 1000000, out);
    TEXT(out, "ms\n");
}

/* ---- JSON ------------------------------------------------------------------------------------ */

struct json {
    const struct snap_access *access;
    struct writer *out;
};

static bool begin(struct json *j, enum access_field field)
{
    if (!keeps(j->access, field))
        return false;
    TEXT(j->out, ",\"");
    writer_span(j->out, span_str(field_names[field]));
    TEXT(j->out, "\":");
    return true;
}

static void put_json_text(struct json *j, enum access_field field, struct span text)
{
    if (text.len == 0 || !begin(j, field))
        return;
    TEXT(j->out, "\"");
    put_escaped(j->out, text, true);
    TEXT(j->out, "\"");
}

static void put_json_number(struct json *j, enum access_field field, uint64_t number)
{
    if (begin(j, field))
        put_number(j->out, number);
}

/* RFC 3339, with nanoseconds. */
static struct span time_text(int64_t at_s, uint32_t ns, bool local, char *room, size_t cap)
{
    struct tm tm;
    time_t t = (time_t)at_s;
    if (local)
        localtime_r(&t, &tm);
    else
        gmtime_r(&t, &tm);
    int n = snprintf(room, cap, "%04d-%02d-%02dT%02d:%02d:%02d.%09u", tm.tm_year + 1900,
                     tm.tm_mon + 1, tm.tm_mday, tm.tm_hour, tm.tm_min, tm.tm_sec, ns);
    long zone = local ? tm.tm_gmtoff / 60 : 0;
    if (zone == 0)
        n += snprintf(room + n, cap - (size_t)n, "Z");
    else
        n += snprintf(room + n, cap - (size_t)n, "%c%02ld:%02ld", zone < 0 ? '-' : '+',
                      labs(zone) / 60, labs(zone) % 60);
    return span_of(room, (size_t)n);
}

/* "host", "host:80", "[::1]:80": the host without brackets, and the port. */
static void split_host(struct span authority, struct span *ret_host, struct span *ret_port)
{
    size_t colon = span_find(authority, ':');
    *ret_port = (struct span){0};
    if (authority.len && authority.ptr[0] == '[') {
        size_t end = span_find(authority, ']');
        *ret_host = span_first(span_skip(authority, 1), end > 0 ? end - 1 : 0);
        if (end + 2 < authority.len)
            *ret_port = span_skip(authority, end + 2);
    } else {
        *ret_host = span_first(authority, colon);
        if (colon + 1 < authority.len)
            *ret_port = span_skip(authority, colon + 1);
    }
}

static void put_client(struct json *j, const struct access_record *r)
{
    char address[80], port[8];
    bool v6 = span_find(r->client_ip, ':') < r->client_ip.len;
    int n = snprintf(address, sizeof address, "%s%.*s%s:%u", v6 ? "[" : "", SPAN_FMT(r->client_ip),
                     v6 ? "]" : "", r->client_port);
    put_json_text(j, ACCESS_FIELD_CLIENT_ADDR, span_of(address, (size_t)n));
    put_json_text(j, ACCESS_FIELD_CLIENT_HOST, r->client_ip);
    n = snprintf(port, sizeof port, "%u", r->client_port);
    put_json_text(j, ACCESS_FIELD_CLIENT_PORT, span_of(port, (size_t)n));
    put_json_text(j, ACCESS_FIELD_CLIENT_USERNAME, SPAN_LITERAL("-"));
}

static void put_request(struct json *j, const struct access_record *r)
{
    struct span host, port;
    split_host(r->host, &host, &port);
    put_json_text(j, ACCESS_FIELD_REQUEST_ADDR, r->host);
    put_json_text(j, ACCESS_FIELD_REQUEST_HOST, host);
    if (!r->tcp)
        put_json_text(j, ACCESS_FIELD_REQUEST_PORT, port.len ? port : SPAN_LITERAL("-"));
    put_json_text(j, ACCESS_FIELD_REQUEST_METHOD, r->method);
    put_json_text(j, ACCESS_FIELD_REQUEST_PATH, r->target);
    put_json_text(j, ACCESS_FIELD_REQUEST_PROTOCOL, r->protocol);
    put_json_text(j, ACCESS_FIELD_REQUEST_SCHEME,
                  r->tcp   ? r->tls ? SPAN_LITERAL("tls") : SPAN_LITERAL("tcp")
                    : r->tls ? SPAN_LITERAL("https")
                           : SPAN_LITERAL("http"));
    put_json_number(j, ACCESS_FIELD_REQUEST_CONTENT_SIZE, r->request_bytes);
    put_json_number(j, ACCESS_FIELD_REQUEST_COUNT, r->number);
    put_json_text(j, ACCESS_FIELD_TLS_VERSION, r->tls_version);
    put_json_text(j, ACCESS_FIELD_TLS_CIPHER, r->tls_cipher);
}

/* The host and port of a URL; of TCP's that is all there is. */
static struct span address_of(const struct access_record *r)
{
    size_t scheme = span_find(r->server_url, '/');
    if (r->tcp || scheme == r->server_url.len)
        return r->tcp ? r->server_url : (struct span){0};
    struct span address = span_skip(r->server_url, scheme + 2);
    return span_first(address, span_find(address, '/'));
}

static void put_origin(struct json *j, const struct access_record *r)
{
    put_json_text(j, ACCESS_FIELD_ENTRY_POINT_NAME, r->entrypoint);
    put_json_text(j, ACCESS_FIELD_ROUTER_NAME, r->router);
    put_json_text(j, ACCESS_FIELD_SERVICE_NAME, r->service);
    if (!r->tcp)
        put_json_text(j, ACCESS_FIELD_SERVICE_URL, r->server_url);
    put_json_text(j, ACCESS_FIELD_SERVICE_ADDR, address_of(r));
    put_json_number(j, ACCESS_FIELD_ORIGIN_STATUS, r->origin_status);
    put_json_number(j, ACCESS_FIELD_ORIGIN_DURATION, r->origin_ns);
    put_json_number(j, ACCESS_FIELD_ORIGIN_HEAD_DURATION, r->origin_head_ns);
    put_json_number(j, ACCESS_FIELD_ORIGIN_CONTENT_SIZE, r->origin_status ? r->response_bytes : 0);
    put_json_number(j, ACCESS_FIELD_RETRY_ATTEMPTS, r->retries);
}

static void format_json(const struct snap_access *a, const struct access_record *r,
                        struct writer *out)
{
    struct json j = {a, out};
    char text[48];
    TEXT(out, "{\"level\":\"info\",\"msg\":\"\"");
    put_client(&j, r);
    put_request(&j, r);
    put_origin(&j, r);
    put_json_number(&j, ACCESS_FIELD_DOWNSTREAM_STATUS, r->status);
    put_json_number(&j, ACCESS_FIELD_DOWNSTREAM_CONTENT_SIZE, r->response_bytes);
    put_json_number(&j, ACCESS_FIELD_DURATION, r->duration_ns);
    put_json_number(&j, ACCESS_FIELD_OVERHEAD, r->duration_ns - r->origin_ns);
    put_json_text(&j, ACCESS_FIELD_START_UTC,
                  time_text(r->start_s, r->start_ns, false, text, sizeof text));
    put_json_text(&j, ACCESS_FIELD_START_LOCAL,
                  time_text(r->start_s, r->start_ns, true, text, sizeof text));
    writer_span(out, r->headers);
    TEXT(out, ",\"time\":\"");
    writer_span(out, time_text(r->start_s + (int64_t)(r->duration_ns / 1000000000u), 0, false, text,
                               sizeof text));
    TEXT(out, "\"}\n");
}

bool access_format(const struct snap_access *a, const struct access_record *r, struct writer *out)
{
    if (a->json)
        format_json(a, r, out);
    else
        format_common(a, r, out);
    return !out->bad;
}

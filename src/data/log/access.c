/* SPDX-License-Identifier: Apache-2.0 */
#include "data/log/access.h"

#include "data/conn.h"
#include "data/exchange.h"
#include "data/log/access_format.h"
#include "data/log/access_ring.h"
#include "data/request.h"
#include "data/tls/session.h"

#include <assert.h>
#include <time.h>

#define METHOD_MAX 32u
#define AGENT_MAX  512u
#define HOST_MAX   255u
#define TARGET_MAX 512u
#define LINE_MAX   16384u
/* The client left before there was an answer: nginx's and Traefik's number. */
#define CLIENT_LEFT 499

/* At the beginning of an exchange's block of notes. */
struct notes {
    uint64_t head_ns; /* when the response head came */
    uint16_t origin_status;
    uint16_t client_port;
    uint16_t referer_len, agent_len, headers_len, target_len;
    uint8_t host_len;
    uint8_t method_len, ip_len, major, minor;
    bool tls, tcp;
    const char *tls_version, *tls_cipher; /* static memory */
    char method[METHOD_MAX], ip[NET_ADDR_TEXT_MAX];
    char referer[AGENT_MAX], agent[AGENT_MAX];
    char host[HOST_MAX], target[TARGET_MAX];
    uint8_t headers[BLOCK_HEAD_BYTES - 2200]; /* JSON members; TCP: names, each behind its length */
};

static_assert(sizeof(struct notes) <= BLOCK_HEAD_BYTES, "notes lie in one block");

static struct notes *notes_of(const struct block *log)
{
    return (struct notes *)(void *)log->data;
}

static struct span first(struct span s, size_t max)
{
    return span_first(s, s.len < max ? s.len : max);
}

static bool is_name(struct span name, const char *wanted)
{
    return name.len == strlen(wanted) && strncasecmp((const char *)name.ptr, wanted, name.len) == 0;
}

static struct span shown(const struct http_field *f, enum snap_access_mode mode)
{
    return mode == SNAP_ACCESS_REDACT ? SPAN_LITERAL("REDACTED") : f->value;
}

/* Header fields that are logged at all: for a common line two of a request, else as configured. */
static void note_headers(const struct snapshot *s, const struct http_head *head, struct span prefix,
                         struct notes *n)
{
    if (s->access.header_mode == SNAP_ACCESS_DROP && s->access_header_count == 0)
        return;
    struct writer out = {n->headers, sizeof n->headers, n->headers_len, false};
    for (uint32_t i = 0; i < head->field_count; i++) {
        const struct http_field *f = &head->fields[i];
        enum snap_access_mode mode = access_header_mode(s, f->name);
        if (mode == SNAP_ACCESS_DROP)
            continue;
        struct span value = shown(f, mode);
        if (s->access.json) {
            (void)access_header(prefix, f->name, value, &out);
        } else if (!head->is_response && is_name(f->name, "Referer")) {
            n->referer_len = (uint16_t)first(value, AGENT_MAX).len;
            memcpy(n->referer, value.ptr, n->referer_len);
        } else if (!head->is_response && is_name(f->name, "User-Agent")) {
            n->agent_len = (uint16_t)first(value, AGENT_MAX).len;
            memcpy(n->agent, value.ptr, n->agent_len);
        }
    }
    n->headers_len = (uint16_t)out.len;
}

static void note_tls(const struct conn *conn, struct notes *n)
{
    n->tls_version = conn->secure.tls ? session_version(conn->secure.tls) : "";
    n->tls_cipher = conn->secure.tls ? session_suite(conn->secure.tls) : "";
}

static void note_client(struct worker *w, struct conn *conn, struct span host, struct notes *n)
{
    struct span ip = conn_ip(w, conn);
    host = first(host, HOST_MAX);
    n->ip_len = (uint8_t)ip.len;
    memcpy(n->ip, ip.ptr, ip.len);
    n->client_port = net_addr_port(&conn->peer);
    n->host_len = (uint8_t)host.len;
    if (host.len)
        memcpy(n->host, host.ptr, host.len);
    n->tls = conn->is_tls;
    note_tls(conn, n);
}

static void note_request(struct worker *w, struct conn *conn, const struct http_head *head,
                         struct notes *n)
{
    struct span method = first(head->method_text, METHOD_MAX);
    *n = (struct notes){.major = head->major, .minor = head->minor};
    note_client(w, conn, head->authority, n);
    struct span target = first(head->path, TARGET_MAX);
    n->target_len = (uint16_t)target.len;
    if (target.len)
        memcpy(n->target, target.ptr, target.len);
    n->method_len = (uint8_t)method.len;
    memcpy(n->method, method.ptr, method.len);
    note_headers(w->snapshot, head, SPAN_LITERAL("request_"), n);
}

static struct span protocol_of(const struct notes *n)
{
    if (n->tcp)
        return SPAN_LITERAL("TCP");
    if (n->major == 2)
        return SPAN_LITERAL("HTTP/2.0");
    return n->minor ? SPAN_LITERAL("HTTP/1.1") : SPAN_LITERAL("HTTP/1.0");
}

static void take_notes(const struct notes *n, struct access_record *r)
{
    r->client_ip = span_of(n->ip, n->ip_len);
    r->client_port = n->client_port;
    r->method = span_of(n->method, n->method_len);
    r->target = span_of(n->target, n->target_len);
    r->host = span_of(n->host, n->host_len);
    r->protocol = protocol_of(n);
    r->tls = n->tls;
    r->tcp = n->tcp;
    /* As Traefik writes it: without what every version begins with. */
    struct span version = span_str(n->tls_version);
    r->tls_version = version.len > 4 ? span_skip(version, 4) : version;
    r->tls_cipher = span_str(n->tls_cipher);
    r->referer = span_of(n->referer, n->referer_len);
    r->user_agent = span_of(n->agent, n->agent_len);
    r->headers = span_of(n->headers, n->tcp ? 0 : n->headers_len);
    r->origin_status = n->origin_status;
}

static void write_line(struct worker *w, const struct snapshot *s, struct access_record *r)
{
    uint8_t line[LINE_MAX];
    struct writer out = writer_of(line, sizeof line);
    struct timespec now;
    r->number = ++w->access_count;
    if (!access_passes(s, r))
        return;
    clock_gettime(CLOCK_REALTIME, &now);
    uint64_t start = (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec - r->duration_ns;
    r->start_s = (int64_t)(start / 1000000000u);
    r->start_ns = (uint32_t)(start % 1000000000u);
    if (access_format(&s->access, r, &out) && access_ring_put(w->access, writer_done(&out)))
        report_add(w->report, REPORT_ACCESS_LINES, 1);
    else
        report_add(w->report, REPORT_ACCESS_DROPPED, 1);
}

static struct block *take_block(struct worker *w)
{
    struct block *log = block_take(&w->blocks, BLOCK_HEAD_BYTES, false);
    if (!log)
        report_add(w->report, REPORT_ACCESS_DROPPED, 1);
    return log;
}

struct block *access_begin(struct worker *w, struct conn *conn, const struct http_head *head)
{
    struct block *log = take_block(w);
    if (log)
        note_request(w, conn, head, notes_of(log));
    return log;
}

void access_head(struct worker *w, struct exchange *x, const struct http_head *head)
{
    struct notes *n = notes_of(x->log);
    n->head_ns = w->now_ns;
    n->origin_status = head->status;
    note_headers(x->snapshot, head, SPAN_LITERAL("downstream_"), n);
}

static void name_from_snapshot(const struct exchange *x, struct access_record *r)
{
    r->entrypoint = x->snapshot->entrypoints[x->router->entrypoint].name;
    r->router = x->router->name;
    r->service = x->service->name;
    r->server_url = x->server ? x->snapshot->servers[x->server_index].url : (struct span){0};
}

void access_end(struct worker *w, struct exchange *x)
{
    const struct notes *n = notes_of(x->log);
    const struct exchange_request *q = &x->request;
    struct access_record r = {
        .duration_ns = w->now_ns - q->begun_ns,
        .origin_ns = w->now_ns - q->begun_ns,
        .origin_head_ns = n->head_ns ? n->head_ns - q->begun_ns : 0,
        .status = x->status ? x->status : CLIENT_LEFT,
        .request_bytes = x->up.bytes,
        .response_bytes = x->down.bytes,
        .retries = (uint32_t)x->tries + x->retried,
    };
    name_from_snapshot(x, &r);
    take_notes(n, &r);
    if (!r.origin_status && x->status) /* our own answer */
        r.response_bytes =
            h1_answer_bytes(&(struct http_answer){.status = x->status}, q->method == HTTP_HEAD);
    write_line(w, x->snapshot, &r);
    access_drop(w, x->log);
    x->log = NULL;
}

void access_reply(struct worker *w, struct request *rq, uint16_t status, uint64_t bytes)
{
    struct access_record r = {
        .entrypoint = rq->entrypoint ? rq->entrypoint->name : (struct span){0},
        .router = rq->router ? rq->router->name : (struct span){0},
        .status = status,
        .response_bytes = bytes,
    };
    take_notes(notes_of(rq->log), &r);
    write_line(w, w->snapshot, &r);
    access_drop(w, rq->log);
    rq->log = NULL;
}

/* ---- TCP connections ------------------------------------------------------------------------- */

struct block *access_begin_tcp(struct worker *w, struct conn *conn, struct span name)
{
    struct block *log = take_block(w);
    if (log) {
        *notes_of(log) = (struct notes){.tcp = true};
        note_client(w, conn, name, notes_of(log));
    }
    return log;
}

/* One that has no room is empty. */
static void keep_name(struct span name, struct notes *n)
{
    struct writer out = {n->headers, sizeof n->headers, n->headers_len, false};
    if (name.len > sizeof n->headers - n->headers_len - 8)
        name.len = 0;
    writer_be(&out, name.len, 2);
    writer_span(&out, name);
    n->headers_len = (uint16_t)out.len;
}

static void name_from_notes(const struct notes *n, struct access_record *r)
{
    struct reader in = reader_of(span_of(n->headers, n->headers_len));
    r->entrypoint = reader_bytes(&in, reader_be(&in, 2));
    r->router = reader_bytes(&in, reader_be(&in, 2));
    r->service = reader_bytes(&in, reader_be(&in, 2));
    r->server_url = reader_bytes(&in, reader_be(&in, 2));
}

void access_tunnel(struct worker *w, struct exchange *x)
{
    struct notes *n = notes_of(x->log);
    struct access_record r;
    name_from_snapshot(x, &r);
    n->head_ns = w->now_ns;
    note_tls(stream_conn(w, stream_get(w, x->stream)), n); /* since the hello it was set up */
    keep_name(r.entrypoint, n);
    keep_name(r.router, n);
    keep_name(r.service, n);
    keep_name(r.server_url, n);
}

void access_end_tcp(struct worker *w, struct exchange *x)
{
    const struct notes *n = notes_of(x->log);
    bool stood = n->head_ns;
    uint16_t status = stood ? 200 : x->status ? x->status : CLIENT_LEFT;
    struct access_record r = {
        .duration_ns = w->now_ns - x->request.begun_ns,
        .origin_ns = w->now_ns - x->request.begun_ns,
        .origin_head_ns = stood ? n->head_ns - x->request.begun_ns : 0,
        .status = status,
        .request_bytes = stood ? x->tunnel.up.bytes : 0,
        .response_bytes = stood ? x->tunnel.down.bytes : 0,
    };
    take_notes(n, &r);
    if (stood)
        name_from_notes(n, &r);
    else
        name_from_snapshot(x, &r);
    r.origin_status = stood ? 200 : 0;
    if (access_is_on(w)) /* it may not be by now */
        write_line(w, x->snapshot ? x->snapshot : w->snapshot, &r);
    access_drop(w, x->log);
    x->log = NULL;
}

void access_refuse_tcp(struct worker *w, struct block *log, const struct snap_router *router,
                       uint16_t status)
{
    const struct snapshot *s = w->snapshot;
    struct access_record r = {.entrypoint = s->entrypoints[router->entrypoint].name,
                              .router = router->name,
                              .service = s->services[router->service].name,
                              .status = status};
    take_notes(notes_of(log), &r);
    write_line(w, s, &r);
    access_drop(w, log);
}

/* ---- the end -------------------------------------------------------------------------------- */

void access_drop(struct worker *w, struct block *log)
{
    block_give_back(&w->blocks, log);
}

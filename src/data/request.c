/* SPDX-License-Identifier: Apache-2.0 */
#include "data/request.h"

#include "data/conn.h"
#include "data/exchange.h"
#include "data/forward.h"
#include "data/upstream/pick.h"

#include <stdio.h>

static void answer(struct worker *w, const struct request *rq, uint16_t status)
{
    stream_reply_status(w, rq->stream, status, rq->whole);
}

static struct span path_of(const struct http_head *head)
{
    return span_first(head->path, span_find(head->path, '?'));
}

static bool is_default_port(struct span scheme, uint16_t port)
{
    return port == 0 || port == (span_eq(scheme, SPAN_LITERAL("https")) ? 443 : 80);
}

/* RFC 9110 section 10.2.2. */
static void redirect(struct worker *w, struct request *rq)
{
    const struct snap_entrypoint *ep = rq->entrypoint;
    struct span authority = rq->head->authority, host = authority;
    if (host.len && host.ptr[0] == '[')
        host.len = span_find(host, ']') + 1;
    else
        host.len = span_find(host, ':');
    if (host.len == 0 || host.len > authority.len) { /* nowhere to send it to */
        answer(w, rq, 400);
        return;
    }
    size_t from = rq->text.len;
    writer_span(&rq->text, ep->redirect_scheme);
    writer_bytes(&rq->text, "://", 3);
    writer_span(&rq->text, host);
    if (!is_default_port(ep->redirect_scheme, ep->redirect_port)) {
        char port[8];
        int n = snprintf(port, sizeof port, ":%u", ep->redirect_port);
        writer_bytes(&rq->text, port, (size_t)n);
    }
    if (rq->head->path.len && rq->head->path.ptr[0] == '/')
        writer_span(&rq->text, rq->head->path);
    if (rq->text.bad) {
        answer(w, rq, 414);
        return;
    }
    struct http_field location = {.name = SPAN_LITERAL("Location"),
                                  .value = span_skip(writer_done(&rq->text), from)};
    struct http_answer moved = {
        .status = (uint16_t)ep->redirect_status, .fields = &location, .field_count = 1};
    stream_reply(w, rq->stream, &moved, rq->whole);
}

static bool is_trusted(struct worker *w, struct conn *conn, const struct snap_entrypoint *ep)
{
    if (conn->trusted_version != w->snapshot->version + 1) {
        conn->trusted = forward_is_trusted(w->snapshot, ep, &conn->peer);
        conn->trusted_version = w->snapshot->version + 1;
    }
    return conn->trusted;
}

/* "name", "name:8080", "[::1]:8080". */
static struct span server_host(const struct snap_server *s, char *memory, size_t room)
{
    bool v6 = span_find(s->host, ':') < s->host.len;
    int n = snprintf(memory, room, "%s%.*s%s", v6 ? "[" : "", SPAN_FMT(s->host), v6 ? "]" : "");
    if (s->port != (s->https ? 443 : 80) && n > 0 && (size_t)n < room)
        n += snprintf(memory + n, room - (size_t)n, ":%u", s->port);
    return span_of(memory, n < 0 ? 0 : (size_t)n < room ? (size_t)n : room - 1);
}

static void pass_expect(struct http_head *head)
{
    for (uint32_t i = 0; i < head->field_count; i++)
        if (head->fields[i].known == HTTP_NAME_EXPECT)
            head->fields[i].drop = false;
}

/* The head in wire form, in the smallest block that takes it; NULL: none does, or none is free. */
static struct block *write_head(struct worker *w, struct request *rq, const struct exchange *x)
{
    struct http_head *head = rq->head;
    struct span ip = conn_ip(w, rq->conn);
    struct forward_client client = {
        .ip = ip,
        .server = span_str(w->config->host_name),
        .tls = rq->conn->is_tls,
        .trusted = is_trusted(w, rq->conn, rq->entrypoint),
    };
    if (!result_is_ok(forward_apply(head, &client, &rq->text)))
        return NULL;
    char host[300];
    if (!x->service->pass_host_header || head->authority.len == 0) { /* none in HTTP/1.0 */
        head->authority = server_host(&w->snapshot->servers[x->server_index], host, sizeof host);
    }
    if (head->expect_continue) /* the upstream decides, its 100 is passed on */
        pass_expect(head);
    static const uint32_t rooms[] = {BLOCK_HEAD_BYTES, BLOCK_RECORD_BYTES, BLOCK_BODY_BYTES};
    for (size_t i = 0; i < sizeof rooms / sizeof *rooms; i++) {
        struct block *block = block_take(&w->blocks, rooms[i], false);
        if (!block)
            return NULL;
        struct writer out = writer_of(block->data, block->cap);
        if (result_is_ok(h1_write_request(head, head->path, &out))) {
            block->end = (uint32_t)out.len;
            return block;
        }
        block_give_back(&w->blocks, block);
    }
    return NULL;
}

static void begin_exchange(struct worker *w, struct request *rq)
{
    const struct snap_service *service = &w->snapshot->services[rq->router->service];
    uint32_t server = pick_server(w, service, SNAP_NONE);
    struct exchange *x =
        server == SNAP_NONE ? NULL : exchange_open(w, rq->stream, rq->head, rq->router, server);
    if (!x) {
        answer(w, rq, 503);
        return;
    }
    struct block *block = write_head(w, rq, x);
    if (!block) {
        rq->stream->exchange = (struct handle){0};
        exchange_cancel(w, x);
        answer(w, rq, 503);
        return;
    }
    if (rq->whole) {
        stream_take_end(w, rq->stream);
        x->request_done = true;
    }
    exchange_start(w, x, block);
}

/* A connection that was made under other TLS options than the host has is the wrong one for it
 * (RFC 9110 section 15.5.20). Options belong to names, not to the router that a path selects: a
 * client that connects anew must not meet the same answer. */
static bool has_policy_of(const struct worker *w, const struct conn *conn, uint32_t entrypoint,
                          struct span host)
{
    uint32_t tls = router_tls(w->routes, entrypoint, host);
    return w->policies.entries[tls].tag == conn->policy_tag;
}

/* Finds the router. Between its being found and the exchange its middlewares act on the request. */
static void route(struct worker *w, struct request *rq)
{
    char memory[ROUTER_HOST_MAX + 1];
    struct conn *conn = rq->conn;
    struct span host = router_host(rq->head->authority, memory);
    uint32_t entrypoint = w->listeners[conn->listener].entrypoint_index;
    rq->router = router_match(w->routes, entrypoint, conn->is_tls, host, path_of(rq->head));
    if (!rq->router) {
        report_add(w->report, REPORT_NO_ROUTE, 1);
        answer(w, rq, 404);
    } else if (conn->is_tls && !has_policy_of(w, conn, entrypoint, host)) {
        answer(w, rq, 421);
    } else {
        begin_exchange(w, rq);
    }
}

void request_begin(struct worker *w, struct stream *s, struct http_head *head)
{
    struct request rq = {
        .stream = s,
        .conn = stream_conn(w, s),
        .head = head,
        .text = writer_of(w->lines, WORKER_LINES_BYTES),
        .whole = head->body == HTTP_BODY_NONE ||
                 (head->body == HTTP_BODY_LENGTH && head->content_length == 0),
    };
    const struct snap_entrypoint *ep = rq.entrypoint = conn_entrypoint(w, rq.conn);
    report_add(w->report, REPORT_REQUESTS, 1);
    s->is_head = head->method == HTTP_HEAD;
    s->minor = head->minor;
    if (!head->keep_alive || worker_is_draining(w) || !ep)
        stream_close_after(w, s);
    if (!ep) {
        answer(w, &rq, 404);
        return;
    }
    stream_limit_in(w, s, rq.whole ? 0 : ep->read_timeout_ms);
    stream_limit_out(w, s, ep->write_timeout_ms);
    if (ep->redirect_status)
        redirect(w, &rq);
    else
        route(w, &rq);
}

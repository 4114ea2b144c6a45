/* SPDX-License-Identifier: Apache-2.0 */
#include "data/request.h"

#include "data/challenge.h"
#include "data/conn.h"
#include "data/exchange.h"
#include "data/forward.h"
#include "data/held.h"
#include "data/http/rules.h"
#include "data/log/access.h"
#include "data/passage.h"
#include "data/route/target.h"
#include "data/upstream/pick.h"

#include <stdio.h>

static void answer(struct worker *w, struct request *rq, uint16_t status)
{
    passage_refuse(w, rq, status);
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
    w->response.status = moved.status;
    w->response.content_length = h1_answer_bytes(&moved, rq->stream->is_head);
    stream_reply(w, rq->stream, &moved, rq->whole);
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

/* The head in wire form, in the smallest block that takes it. Returns 0 or the status that says
 * what is wrong. */
static uint16_t write_head(struct worker *w, struct request *rq, struct exchange *x,
                           struct block **ret)
{
    struct http_head *head = rq->head;
    struct result asked =
        tunnel_ask(&x->tunnel, head, &rq->text, rq->entrypoint->tunnel_timeout_ms);
    if (!result_is_ok(asked))
        return asked.code == ERR_TOO_LARGE ? 431 : 503;
    if (!rq->notes->hide_client &&
        !result_is_ok(forward_add_client(head, conn_ip(w, rq->conn), &rq->text)))
        return 431;
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
            return 503;
        struct writer out = writer_of(block->data, block->cap);
        if (result_is_ok(h1_write_request(head, head->path, &out))) {
            block->end = (uint32_t)out.len;
            *ret = block;
            return 0;
        }
        block_give_back(&w->blocks, block);
    }
    return 431;
}

/* While ferrule stops, but not when another process of it goes on, balancers before it are to look
 * for another one. */
static void answer_ping(struct worker *w, struct request *rq)
{
    if (rq->head->connect) { /* success would say that a tunnel stands */
        answer(w, rq, 501);
        return;
    }
    bool stops = w->config->shared->stopping;
    uint16_t status = stops ? w->snapshot->metrics.ping_status : 200;
    passage_reply(w, rq, status, status == 200 ? SPAN_LITERAL("OK") : span_str(h1_reason(status)));
}

static void begin_exchange(struct worker *w, struct request *rq)
{
    const struct snap_service *service = &w->snapshot->services[rq->router->service];
    if (service->ping) {
        answer_ping(w, rq);
        return;
    }
    uint8_t client[16];
    router_client(&rq->conn->peer, client);
    struct pick_request asked = {.head = rq->head, .client = client};
    struct pick pick;
    struct exchange *x = rq->exchange;
    if (!pick_server(w, service, &asked, &pick))
        x = NULL;
    else if (x)
        exchange_bind(w, x, &pick);
    else
        x = exchange_open(w, rq->stream, rq->head, rq->router, &pick);
    if (!x) {
        answer(w, rq, 503);
        return;
    }
    rq->has_exchange = true;
    x->marks = rq->marks;
    x->marks.service = x->service->series;
    middleware_notes_move(&x->notes, rq->notes);
    if (rq->log)
        x->log = rq->log;
    rq->log = NULL;
    struct block *block;
    uint16_t status = write_head(w, rq, x, &block);
    held_drop(w, x); /* the head is written */
    if (status) {
        rq->exchange = x;
        answer(w, rq, status);
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
    const struct http_head *head = rq->head;
    conn_ip(w, conn); /* asks the kernel for `peer` the first time */
    struct router_request asked = {
        .entrypoint = w->listeners[conn->listener].entrypoint_index,
        .tls = conn->is_tls,
        .host = router_host(head->authority, memory),
        .method = head->method_text,
        .query = target_query(head->path),
        .fields = head->fields,
        .field_count = head->field_count,
        .trusted = passage_is_trusted(w, conn, rq->entrypoint),
    };
    router_client(&conn->peer, asked.client);
    struct result r = router_path(w->routes, head->path, &asked.path);
    if (!result_is_ok(r)) {
        answer(w, rq, r.code == ERR_FORMAT ? 400 : 414);
        return;
    }
    rq->router = router_match(w->routes, &asked);
    if (rq->entrypoint->redirect_status && !(rq->router && rq->router->internal)) {
        rq->router = NULL;
        redirect(w, rq);
        return;
    }
    if (!rq->router) {
        report_add(w->report, REPORT_NO_ROUTE, 1);
        answer(w, rq, 404);
        return;
    }
    metrics_route(&rq->marks, rq->router);
    if (conn->is_tls && !has_policy_of(w, conn, asked.entrypoint, asked.host)) {
        answer(w, rq, 421);
    } else if (passage_go(w, rq)) {
        if (rq->log && !rq->router->access_log) {
            access_drop(w, rq->log);
            rq->log = NULL;
        }
        begin_exchange(w, rq);
    }
}

/* There is no exchange: what was sent stands in w->response. */
static void answered(struct worker *w, struct request *rq)
{
    if (!rq->router || rq->router->access_log)
        access_reply(w, rq, w->response.status, w->response.content_length);
    else
        access_drop(w, rq->log);
}

void request_resume(struct worker *w, struct request *rq, bool good)
{
    if (!good)
        answer(w, rq, 503);
    else if (passage_go(w, rq))
        begin_exchange(w, rq);
}

void request_begin(struct worker *w, struct stream *s, struct http_head *head)
{
    struct middleware_notes notes;
    middleware_notes_init(&notes);
    struct request rq = {
        .stream = s,
        .notes = &notes,
        .conn = stream_conn(w, s),
        .head = head,
        .text = writer_of(w->lines, WORKER_LINES_BYTES),
        .whole = head->body == HTTP_BODY_NONE ||
                 (head->body == HTTP_BODY_LENGTH && head->content_length == 0),
    };
    const struct snap_entrypoint *ep = rq.entrypoint = conn_entrypoint(w, rq.conn);
    if (!ep) { /* a reload took it away; an answer would say something of the request */
        stream_refuse(w, s);
        return;
    }
    report_add(w->report, REPORT_REQUESTS, 1);
    s->is_head = head->method == HTTP_HEAD;
    s->minor = head->minor;
    if (!head->keep_alive || worker_is_draining(w))
        stream_close_after(w, s);
    conn_count_request(w, rq.conn, ep);
    stream_limit_in(w, s, rq.whole ? 0 : ep->read_timeout_ms);
    stream_limit_out(w, s, ep->write_timeout_ms);
    if (challenge_answer(w, &rq)) /* nothing of the configuration stands before it */
        return;
    metrics_begin(w, rq.conn, ep, head, &rq.marks);
    if (access_is_on(w))
        rq.log = access_begin(w, rq.conn, head);
    if (ep->redirect_status && !ep->internal)
        redirect(w, &rq);
    else
        route(w, &rq);
    if (!rq.has_exchange)
        metrics_reply(w, &rq.marks, w->response.status, w->response.content_length);
    if (rq.log)
        answered(w, &rq);
}

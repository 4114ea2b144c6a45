/* SPDX-License-Identifier: Apache-2.0 */
#include "data/request.h"

#include "data/exchange.h"
#include "data/forward.h"
#include "data/route/target.h"
#include "data/upstream/pick.h"

#include <stdio.h>

static const struct span nowhere = {NULL, 0};

static bool is_default_port(struct span scheme, uint16_t port)
{
    return port == 0 || port == (span_eq(scheme, SPAN_LITERAL("https")) ? 443 : 80);
}

/* RFC 9110 section 10.2.2. */
static void redirect(struct worker *w, struct conn *conn, const struct snap_entrypoint *ep,
                     const struct http_head *head, bool whole)
{
    struct writer to = writer_of(w->lines, WORKER_LINES_BYTES);
    struct span host = head->authority;
    if (host.len && host.ptr[0] == '[')
        host.len = span_find(host, ']') + 1;
    else
        host.len = span_find(host, ':');
    if (host.len == 0 || host.len > head->authority.len) { /* nowhere to send it to */
        conn_reply(w, conn, 400, nowhere, whole);
        return;
    }
    writer_span(&to, ep->redirect_scheme);
    writer_bytes(&to, "://", 3);
    writer_span(&to, host);
    if (!is_default_port(ep->redirect_scheme, ep->redirect_port)) {
        char port[8];
        int n = snprintf(port, sizeof port, ":%u", ep->redirect_port);
        writer_bytes(&to, port, (size_t)n);
    }
    if (head->path.len && head->path.ptr[0] == '/')
        writer_span(&to, head->path);
    if (to.bad)
        conn_reply(w, conn, 414, nowhere, whole);
    else
        conn_reply(w, conn, (uint16_t)ep->redirect_status, writer_done(&to), whole);
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
    if (s->port != 80 && n > 0 && (size_t)n < room)
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
static struct block *write_head(struct worker *w, struct conn *conn, struct http_head *head,
                                const struct snap_service *service, uint32_t server)
{
    struct writer lines = writer_of(w->lines, WORKER_LINES_BYTES);
    struct span ip = conn_ip(w, conn);
    struct forward_client client = {
        .ip = ip,
        .server = span_str(w->config->host_name),
        .tls = conn->is_tls,
        .trusted = is_trusted(w, conn, conn_entrypoint(w, conn)),
    };
    if (!result_is_ok(forward_apply(head, &client, &lines)))
        return NULL;
    char host[300];
    if (!service->pass_host_header || head->authority.len == 0) { /* none in HTTP/1.0 */
        head->authority = server_host(&w->snapshot->servers[server], host, sizeof host);
    }
    if (head->expect_continue) /* the upstream decides, its 100 is passed on */
        pass_expect(head);
    static const uint32_t rooms[] = {BLOCK_HEAD_BYTES, BLOCK_RECORD_BYTES, BLOCK_BODY_BYTES};
    for (size_t i = 0; i < sizeof rooms / sizeof *rooms; i++) {
        struct block *block = block_take(&w->blocks, rooms[i], false);
        if (!block)
            return NULL;
        struct writer out = writer_of(block->data, block->cap);
        if (result_is_ok(h1_write_request(head, head->path, writer_done(&lines), &out))) {
            block->end = (uint32_t)out.len;
            return block;
        }
        block_give_back(&w->blocks, block);
    }
    return NULL;
}

static void begin_exchange(struct worker *w, struct conn *conn, struct http_head *head,
                           const struct snap_service *service, bool whole)
{
    uint32_t server = pick_server(w, service, SNAP_NONE);
    struct exchange *x = server == SNAP_NONE ? NULL : exchange_open(w, conn, head, server);
    if (!x) {
        conn_reply(w, conn, 503, nowhere, whole);
        return;
    }
    x->service = service;
    x->can_move = service->pass_host_header;
    struct block *block = write_head(w, conn, head, service, server);
    if (!block) {
        conn->exchange = (struct handle){0};
        exchange_cancel(w, x);
        conn_reply(w, conn, 503, nowhere, whole);
        return;
    }
    if (whole) {
        size_t used = 0;
        struct http_event ev = h1_feed(&conn->h1, nowhere, &used);
        must(ev.kind == HTTP_EVENT_END && used == 0);
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

void request_begin(struct worker *w, struct conn *conn, struct http_head *head)
{
    const struct snap_entrypoint *ep = conn_entrypoint(w, conn);
    bool whole = head->body == HTTP_BODY_NONE ||
                 (head->body == HTTP_BODY_LENGTH && head->content_length == 0);
    report_add(w->report, REPORT_REQUESTS, 1);
    conn->is_head = head->method == HTTP_HEAD;
    if (!head->keep_alive || worker_is_draining(w) || !ep)
        conn->close_after = true;
    if (!ep) {
        conn_reply(w, conn, 404, nowhere, whole);
        return;
    }
    limit_set_ms(&w->wheel, &conn->in, w->now_ns, whole ? 0 : ep->read_timeout_ms);
    if (ep->write_timeout_ms)
        conn->send_limit_ns = w->now_ns + ep->write_timeout_ms * 1000000ull;
    if (ep->redirect_status) {
        redirect(w, conn, ep, head, whole);
        return;
    }
    char memory[ROUTER_HOST_MAX + 1];
    struct router_request asked = {
        .entrypoint = w->listeners[conn->listener].entrypoint_index,
        .tls = conn->is_tls,
        .host = router_host(head->authority, memory),
        .method = head->method_text,
        .query = target_query(head->path),
        .fields = head->fields,
        .field_count = head->field_count,
        .trusted = is_trusted(w, conn, ep),
    };
    router_client(&conn->peer, asked.client);
    struct result r = router_path(w->routes, head->path, &asked.path);
    if (!result_is_ok(r)) {
        conn_reply(w, conn, r.code == ERR_FORMAT ? 400 : 414, nowhere, whole);
        return;
    }
    const struct snap_router *router = router_match(w->routes, &asked);
    if (!router) {
        report_add(w->report, REPORT_NO_ROUTE, 1);
        conn_reply(w, conn, 404, nowhere, whole);
    } else if (conn->is_tls && !has_policy_of(w, conn, asked.entrypoint, asked.host)) {
        conn_reply(w, conn, 421, nowhere, whole);
    } else {
        begin_exchange(w, conn, head, &w->snapshot->services[router->service], whole);
    }
}

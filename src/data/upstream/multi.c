/* SPDX-License-Identifier: Apache-2.0 */
#include "data/upstream/multi.h"

#include "base/clock.h"
#include "base/log.h"
#include "data/exchange.h"
#include "data/http/h1.h"
#include "data/http/rules.h"
#include "data/upstream/upconn.h"

/* Payload of one request that may wait for the server's window. */
#define OUT_HIGH 65536u
/* Interim heads that may come before the exchange looks at them. */
#define HEADS_MAX 16u
/* Leases of one connection, whatever the server allows: each may hold a stream's window. */
#define LEASES_MAX 100u
/* With so much that clients have not read, new requests go to another connection. */
#define UNREAD_HIGH (1u << 20)
/* Where all pools have less than a quarter free, the connection gets no credit; with less than
 * three sixteenths nothing is read for it. Both are above what sinks leave (sink_room()), so that
 * what waits can still be passed on. */
#define CREDIT_SIXTEENTHS 4u
#define READ_SIXTEENTHS   3u
/* A server that fails each request is complained of so often. */
#define TELL_NS (10 * NS_PER_S)

static struct multi *multi_of(struct h2_client *c)
{
    return (struct multi *)(void *)c;
}

static struct exchange *exchange_of(struct worker *w, const struct multi_lease *l)
{
    return slab_get(&w->exchanges, l->lease.exchange.index, l->lease.exchange.gen);
}

/* The upconn sends in its own turn, once for all its leases. */
static void wake(struct worker *w, struct multi_lease *l)
{
    if (l->upconn && l->upconn->multi && !l->upconn->multi->running)
        worker_ready(w, &l->upconn->wire);
}

static void lease_ready(struct multi_lease *l)
{
    if (list_is_empty(&l->ready))
        list_append(&l->upconn->multi->ready, &l->ready);
}

/* ---- what the codec tells ------------------------------------------------------------------- */

/* Without memory the stream is given up: as if the server had reset it. The codec may still tell
 * of what comes after the gap; nothing of that is taken. */
static void give_up(struct multi_lease *l)
{
    struct multi *m = l->upconn->multi;
    h2_client_cancel(&m->codec, l->id);
    l->closed = true;
    lease_ready(l);
}

static void on_head(struct h2_client *c, void *stream, uint16_t status, struct block *lines,
                    bool ends)
{
    struct multi_lease *l = stream;
    struct blocks *blocks = c->blocks;
    uint8_t first[3] = {(uint8_t)(status >> 8), (uint8_t)status, ends};
    struct block *head = block_take(blocks, sizeof first + (lines ? block_len(lines) : 0), false);
    if (head) {
        block_append(head, first, sizeof first);
        if (lines)
            block_append(head, block_span(lines).ptr, block_len(lines));
    }
    if (lines)
        block_give_back(blocks, lines);
    if (head)
        block_queue_push(&l->heads, head);
    if (l->closed)
        return;
    if (!head || l->heads.count > HEADS_MAX)
        give_up(l);
    else
        lease_ready(l);
}

static void on_data(struct h2_client *c, void *stream, struct span bytes)
{
    struct multi *m = multi_of(c);
    struct multi_lease *l = stream;
    /* Also for what is not kept: the stream ends, the connection goes on. */
    m->owed += (uint32_t)bytes.len;
    m->unread += bytes.len;
    l->unread += (uint32_t)bytes.len;
    if (l->closed)
        return;
    if (!block_queue_copy(c->blocks, &l->in.queue, bytes))
        give_up(l);
    else
        lease_ready(l);
}

/* Fields of lines "name: value". */
static bool read_fields(struct span lines, struct http_head *head)
{
    memset(head, 0, offsetof(struct http_head, fields));
    head->major = 1;
    head->minor = 1;
    while (lines.len) {
        struct span line = span_first(lines, span_find(lines, '\r'));
        size_t colon = span_find(line, ':');
        if (head->field_count == HTTP_FIELDS_MAX)
            return false;
        head->fields[head->field_count++] = (struct http_field){
            .name = span_first(line, colon), .value = span_skip(line, colon + 2)};
        lines = span_skip(lines, line.len + 2);
    }
    return true;
}

static void on_trailers(struct h2_client *c, void *stream, struct block *lines)
{
    struct multi_lease *l = stream;
    struct http_head *fields = &multi_of(c)->w->response;
    if (!l->closed && !l->in.trailers && read_fields(block_span(lines), fields) &&
        !rules_trailers(fields))
        l->in.trailers = relay_keep_fields(c->blocks, fields);
    block_give_back(c->blocks, lines);
}

static void on_end(struct h2_client *c, void *stream)
{
    struct multi_lease *l = stream;
    l->in.ended = !l->closed;
    lease_ready(l);
}

static void on_close(struct h2_client *c, void *stream, bool refused)
{
    struct multi_lease *l = stream;
    l->closed = true;
    l->refused = refused;
    lease_ready(l);
}

static uint32_t on_waiting(struct h2_sender *sender, void *stream, bool *ret_last)
{
    const struct multi_lease *l = stream;
    *ret_last = l->out_last;
    return l->out.bytes;
}

static void on_move(struct h2_sender *sender, void *stream, uint32_t n, struct writer *to)
{
    struct multi_lease *l = stream;
    struct blocks *blocks = &l->upconn->multi->w->blocks;
    while (n) {
        struct span part = span_first(block_span(l->out.first), n);
        writer_span(to, part);
        n -= (uint32_t)part.len;
        block_queue_take(blocks, &l->out, (uint32_t)part.len);
    }
    l->told = l->shutting && l->out.bytes == 0;
    if (l->told || (l->refill && !multi_is_full(l)))
        lease_ready(l);
}

static struct span on_lines(struct h2_sender *sender, void *stream)
{
    const struct multi_lease *l = stream;
    return l->trailers ? block_span(l->trailers) : (struct span){0};
}

static void ask(struct worker *w, struct multi_lease *l);

/* From here on it is known what the server takes. */
static void on_settings(struct h2_client *c)
{
    struct multi *m = multi_of(c);
    m->upconn->server->takes_connect = h2_client_takes_connect(c);
    for (struct list *at = m->leases.next; at != &m->leases; at = at->next) {
        struct multi_lease *l = LIST_ENTRY(at, struct multi_lease, all);
        if (l->head)
            ask(m->w, l);
    }
}

static const struct h2_client_handler handler = {
    .settings = on_settings,
    .head = on_head,
    .data = on_data,
    .trailers = on_trailers,
    .end = on_end,
    .close = on_close,
    .payload = {.waiting = on_waiting, .move = on_move, .lines = on_lines},
};

/* ---- connections ---------------------------------------------------------------------------- */

bool multi_open(struct worker *w, struct upconn *upconn)
{
    uint32_t slot;
    struct multi *m = slab_take(&w->multis, &slot);
    if (!m)
        return false;
    if (!result_is_ok(h2_client_init(&m->codec, &handler, &w->blocks))) {
        slab_give_back(&w->multis, slot);
        return false;
    }
    m->w = w;
    m->upconn = upconn;
    m->slot = slot;
    m->heard_ns = m->idle_at_ns = w->now_ns;
    list_init(&m->leases);
    list_init(&m->ready);
    upconn->multi = m;
    return true;
}

void multi_close(struct worker *w, struct upconn *upconn)
{
    struct multi *m = upconn->multi;
    struct list *node;
    upconn->multi = NULL;
    h2_client_fini(&m->codec);
    while ((node = list_pop(&m->leases))) {
        struct multi_lease *l = LIST_ENTRY(node, struct multi_lease, all);
        list_remove(&l->ready);
        l->closed = true;
        l->upconn = NULL;
        exchange_turn(w, exchange_of(w, l));
    }
    slab_give_back(&w->multis, m->slot);
}

bool multi_has_room(const struct worker *w, const struct upconn *upconn)
{
    const struct multi *m = upconn->multi;
    uint32_t allowed = h2_client_allowed(&m->codec);
    return m->open < (allowed < LEASES_MAX ? allowed : LEASES_MAX) && m->unread < UNREAD_HIGH &&
           !upconn->wire.eof && !upconn->wire.recv_failed && !upconn->wire.send_failed;
}

void multi_retire(struct worker *w, struct upconn *upconn)
{
    upconn->multi->codec.going_away = true;
    if (upconn->multi->open == 0)
        upconn_close_begin(w, upconn);
}

/* No pool has `sixteenths` of its blocks free. */
static bool is_short(const struct worker *w, uint32_t sixteenths)
{
    for (int kind = BLOCK_POOL_FIRST; kind < BLOCK_KINDS; kind++) {
        const struct block_pool *p = &w->blocks.pools[kind];
        if (p->count - p->used > p->count / 16 * sixteenths)
            return false;
    }
    return true;
}

/* Feeds the codec; stops while the pools are short and blocks of its own would come back. False:
 * the connection is broken. */
static bool receive(struct worker *w, struct upconn *upconn)
{
    struct multi *m = upconn->multi;
    for (;;) {
        upconn_fill(w, upconn);
        struct block_queue *in = upconn_input(upconn);
        if (!in->first)
            return true;
        m->heard_ns = w->now_ns;
        m->pinged = false;
        while (in->first) {
            struct span bytes = block_span(in->first);
            m->paused = m->unread && is_short(w, READ_SIXTEENTHS);
            if (m->paused) {
                worker_hungry(w, &upconn->wire);
                return true;
            }
            if (!h2_client_receive(&m->codec, bytes))
                return false;
            block_queue_take(&w->blocks, in, (uint32_t)bytes.len);
        }
    }
}

/* What was received is under way no more, whether or not it was passed on. */
static void credit(struct worker *w, struct multi *m)
{
    if (m->owed == 0)
        return;
    if (m->unread && is_short(w, CREDIT_SIXTEENTHS)) {
        worker_hungry(w, &m->upconn->wire);
        return;
    }
    h2_client_credit(&m->codec, m->owed);
    m->owed = 0;
}

/* The upconn was woken because a block is free: it does not say which lease waited for one. */
static void feed_hungry(struct multi *m)
{
    if (!m->hungry || !list_is_empty(&m->upconn->wire.hungry))
        return;
    m->hungry = false;
    for (struct list *at = m->leases.next; at != &m->leases; at = at->next)
        lease_ready(LIST_ENTRY(at, struct multi_lease, all));
}

static void run_leases(struct worker *w, struct multi *m)
{
    struct list *node;
    while ((node = list_pop(&m->ready)))
        exchange_turn(w, exchange_of(w, LIST_ENTRY(node, struct multi_lease, ready)));
}

static void settle_limit(struct worker *w, struct upconn *upconn)
{
    const struct multi *m = upconn->multi;
    const struct pool_server *server = upconn->server;
    uint64_t at = TIMER_NO_LIMIT;
    if (m->open == 0 && m->idle_ms)
        at = m->idle_at_ns + m->idle_ms * 1000000ull;
    uint64_t ms = server->read_idle_ms;
    if (m->pinged)
        ms = server->ping_ms ? ms + server->ping_ms : 0;
    if (ms && m->heard_ns + ms * 1000000ull < at)
        at = m->heard_ns + ms * 1000000ull;
    limit_set(&w->wheel, &upconn->limit, at);
}

void multi_turn(struct worker *w, struct upconn *upconn)
{
    struct multi *m = upconn->multi;
    m->running = true;
    feed_hungry(m);
    bool good = receive(w, upconn);
    run_leases(w, m);
    credit(w, m);
    struct sink sink = sink_of(w, &upconn->wire, upconn->secure.tls);
    good = h2_client_send(&m->codec, &sink) && good; /* a GOAWAY that says why */
    sink_flush(&sink);
    m->running = false;
    bool over = (upconn_is_over(upconn) && !m->paused) || upconn->wire.send_failed ||
                h2_client_is_over(&m->codec);
    bool idle_end =
        m->open == 0 && (m->codec.going_away || upconn->server->retired || worker_is_draining(w));
    if (!good || sink.failed || over || idle_end) {
        wire_settle(w, &upconn->wire);
        upconn_close_begin(w, upconn);
        return;
    }
    if (!list_is_empty(&m->ready))
        worker_ready(w, &upconn->wire);
    settle_limit(w, upconn);
    upconn->wire.want = upconn->server->large >= POOL_LARGE ? WIRE_WANT_LARGE : WIRE_WANT_SMALL;
    if (m->paused)
        upconn->wire.want = WIRE_WANT_NOTHING;
    wire_settle(w, &upconn->wire);
}

void multi_limit(struct worker *w, struct upconn *upconn)
{
    struct multi *m = upconn->multi;
    uint64_t read_idle_ns = upconn->server->read_idle_ms * 1000000ull;
    bool silent = read_idle_ns && !m->paused && w->now_ns >= m->heard_ns + read_idle_ns;
    bool idle = m->open == 0 && m->idle_ms && w->now_ns >= m->idle_at_ns + m->idle_ms * 1000000ull;
    if (idle || (silent && m->pinged)) {
        upconn_close_begin(w, upconn);
        return;
    }
    if (silent) {
        m->pinged = true;
        h2_client_ping(&m->codec);
    }
    worker_ready(w, &upconn->wire);
}

/* ---- leases --------------------------------------------------------------------------------- */

static struct multi_lease *lease_new(struct worker *w, struct upconn *upconn,
                                     struct handle exchange, struct lease_ref *ret)
{
    uint32_t slot;
    struct multi_lease *l = slab_take(&w->leases, &slot);
    if (!l)
        return NULL;
    l->lease = (struct lease){.exchange = exchange, .shared = true};
    l->upconn = upconn;
    l->slot = slot;
    list_init(&l->all);
    list_init(&l->ready);
    limit_init(&l->limit, WORKER_LIMIT_LEASE);
    *ret = (struct lease_ref){.slot = {slot, slab_gen(&w->leases, slot)}, .shared = true};
    return l;
}

bool multi_wait(struct worker *w, struct upconn *upconn, struct handle exchange,
                struct lease_ref *ret)
{
    struct multi_lease *l = lease_new(w, upconn, exchange, ret);
    if (l)
        list_append(&upconn->waiting, &l->all);
    return l;
}

void multi_join(struct worker *w, struct multi_lease *l)
{
    struct multi *m = l->upconn->multi;
    limit_clear(&l->limit);
    list_remove(&l->all);
    list_append(&m->leases, &l->all);
    m->open++;
    m->idle_at_ns = 0;
}

bool multi_take(struct worker *w, struct upconn *upconn, struct handle exchange,
                struct lease_ref *ret)
{
    struct multi_lease *l = lease_new(w, upconn, exchange, ret);
    if (l)
        multi_join(w, l);
    return l;
}

void multi_lease_free(struct worker *w, struct multi_lease *l)
{
    struct upconn *upconn = l->upconn;
    struct multi *m = upconn ? upconn->multi : NULL;
    list_remove(&l->all);
    list_remove(&l->ready);
    limit_remove(&l->limit);
    if (m) {
        m->unread -= l->unread;
        if (l->id > 0 && !l->closed)
            h2_client_cancel(&m->codec, l->id);
        wake(w, l);
        if (--m->open == 0)
            m->idle_at_ns = w->now_ns;
    }
    block_queue_clear(&w->blocks, &l->in.queue);
    block_queue_clear(&w->blocks, &l->heads);
    block_queue_clear(&w->blocks, &l->out);
    if (l->head)
        block_give_back(&w->blocks, l->head);
    if (l->in.trailers)
        block_give_back(&w->blocks, l->in.trailers);
    if (l->trailers)
        block_give_back(&w->blocks, l->trailers);
    slab_give_back(&w->leases, l->slot);
    if (upconn && !m && list_is_empty(&upconn->waiting) && !upconn->lease.exchange.gen)
        upconn_close_begin(w, upconn); /* nobody waits for it any more */
}

void multi_lease_limit(struct worker *w, struct multi_lease *l)
{
    exchange_upstream_timeout(w, exchange_of(w, l));
}

/* ---- request -------------------------------------------------------------------------------- */

/* The server takes no WebSockets on streams. Where it may speak HTTP/1, that will do. */
static void decline(struct worker *w, struct multi_lease *l)
{
    struct pool_server *server = l->upconn->server;
    l->closed = true;
    server->takes_connect = false; /* also where another connection of it said otherwise */
    if (!server->h2c) {
        l->refused = true;
        return;
    }
    l->reject = rules_reject(HTTP_RULE_tunnel_unknown);
    if (server->told_ns && w->now_ns - server->told_ns < TELL_NS)
        return;
    server->told_ns = w->now_ns;
    const struct exchange *x = exchange_of(w, l);
    log_warn("the server %.*s speaks HTTP/2 alone and takes no WebSockets (RFC 8441)",
             SPAN_FMT(x->snapshot->servers[x->server_index].url));
}

/* Its head can go out. */
static void ask(struct worker *w, struct multi_lease *l)
{
    struct multi *m = l->upconn->multi;
    struct h2_client_ask asked = {
        .head = block_span(l->head),
        .https = l->upconn->secure.tls,
        .connect = l->connect,
        .more = !l->out_last,
    };
    if (l->connect && !h2_client_takes_connect(&m->codec)) {
        decline(w, l);
    } else if ((l->id = h2_client_request(&m->codec, &asked, l)) < 0) {
        l->closed = l->refused = true;
        m->codec.going_away = true; /* no id is left: another connection will do */
    }
    block_give_back(&w->blocks, l->head);
    l->head = NULL;
    if (l->closed || !l->out_last) /* its exchange has a body to move */
        lease_ready(l);
    wake(w, l);
}

void multi_send_head(struct worker *w, struct multi_lease *l, enum http_method method,
                     struct block *head, bool whole)
{
    l->method = (uint8_t)method;
    l->connect = exchange_of(w, l)->tunnel.has_accept;
    l->out_last = whole && !l->connect;
    l->head = head;
    if (!l->connect || l->upconn->multi->codec.settled)
        ask(w, l);
}

struct sink multi_sink(struct worker *w, struct multi_lease *l)
{
    return sink_into(w, &l->upconn->wire, &l->out, OUT_HIGH);
}

bool multi_is_full(const struct multi_lease *l)
{
    return l->out.bytes >= OUT_HIGH || l->out.count >= WIRE_SEND_BLOCKS;
}

void multi_request_done(struct worker *w, struct multi_lease *l, struct block *trailers)
{
    l->trailers = trailers;
    l->out_last = true;
    l->refill = false;
    if (l->upconn && l->id > 0 && !l->closed)
        h2_client_resume(&l->upconn->multi->codec, l->id);
    wake(w, l);
}

/* The end goes out behind what is queued. */
bool multi_shut(struct worker *w, struct multi_lease *l)
{
    if (!l->shutting) {
        l->shutting = true;
        multi_request_done(w, l, NULL);
    }
    return l->told || l->closed;
}

/* ---- response ------------------------------------------------------------------------------- */

/* A 2xx to CONNECT is what HTTP/1 says by 101 and fields (RFC 8441 section 5). */
static const struct http_reject *read_switch(struct worker *w, struct multi_lease *l,
                                             struct http_head *head)
{
    const struct tunnel *t = &exchange_of(w, l)->tunnel;
    head->status = 101;
    must(http_head_add(head, SPAN_LITERAL("Connection"), SPAN_LITERAL("upgrade")) &&
         http_head_add(head, SPAN_LITERAL("Upgrade"), SPAN_LITERAL("websocket")));
    const struct http_reject *reject = rules_response(head, HTTP_GET);
    websocket_drop_accept(head);
    must(http_head_add(head, SPAN_LITERAL("Sec-WebSocket-Accept"),
                       span_of(t->accept, sizeof t->accept)));
    return reject;
}

enum http_event_kind multi_head(struct worker *w, struct multi_lease *l, struct http_head **ret)
{
    struct http_head *head = &w->response;
    if (!l->heads.first)
        return l->reject ? HTTP_EVENT_BAD : HTTP_EVENT_MORE;
    struct span bytes = block_span(l->heads.first);
    uint16_t status = (uint16_t)(bytes.ptr[0] << 8 | bytes.ptr[1]);
    bool ends = bytes.ptr[2];
    if (!read_fields(span_skip(bytes, 3), head))
        return HTTP_EVENT_BAD;
    head->is_response = true;
    head->status = status;
    l->reject = l->connect && status >= 200 && status < 300
                    ? read_switch(w, l, head)
                    : rules_response(head, (enum http_method)l->method);
    if (l->reject)
        return HTTP_EVENT_BAD;
    if (ends && head->body != HTTP_BODY_NONE) {
        head->body = HTTP_BODY_LENGTH;
        head->content_length = 0;
    }
    head->keep_alive = true;
    head->reason = span_str(h1_reason(head->status)); /* HTTP/2 has none */
    *ret = head;
    return HTTP_EVENT_HEAD;
}

void multi_head_taken(struct worker *w, struct multi_lease *l)
{
    block_queue_take(&w->blocks, &l->heads, block_len(l->heads.first));
}

void multi_took(struct worker *w, struct multi_lease *l, uint64_t bytes)
{
    if (!l->upconn)
        return;
    struct multi *m = l->upconn->multi;
    must(bytes <= l->unread);
    l->unread -= (uint32_t)bytes;
    m->unread -= bytes;
    if (!l->closed)
        h2_client_took(&m->codec, l->id, (uint32_t)bytes);
    wake(w, l);
}

void multi_settle(struct worker *w, struct multi_lease *l)
{
    l->refill = multi_is_full(l);
    if (l->upconn)
        l->upconn->multi->hungry |= !list_is_empty(&l->upconn->wire.hungry);
    if (l->out.bytes && l->upconn && l->id > 0 && !l->closed) {
        h2_client_resume(&l->upconn->multi->codec, l->id);
        wake(w, l);
    }
}

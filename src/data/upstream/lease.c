/* SPDX-License-Identifier: Apache-2.0 */
#include "data/upstream/lease.h"

#include "data/http/rules.h"
#include "data/tls/session.h"
#include "data/upstream/multi.h"
#include "data/upstream/upconn.h"

static struct upconn *upconn_of(const struct lease *l)
{
    return LIST_ENTRY(l, struct upconn, lease);
}

struct lease *lease_get(struct worker *w, struct lease_ref ref)
{
    if (ref.shared) {
        struct multi_lease *shared = slab_get(&w->leases, ref.slot.index, ref.slot.gen);
        return shared ? &shared->lease : NULL;
    }
    struct upconn *upconn = slab_get(&w->upconns, ref.slot.index, ref.slot.gen);
    return upconn ? &upconn->lease : NULL;
}

struct lease_ref lease_ref_of(const struct upconn *upconn)
{
    return (struct lease_ref){.slot = {upconn->wire.id.slot, upconn->wire.id.gen}};
}

bool lease_take(struct worker *w, struct pool_server *server, struct handle exchange, bool alone,
                struct lease_ref *ret)
{
    struct upconn *upconn = alone ? NULL : pool_shared(w, server);
    if (upconn)
        return multi_take(w, upconn, exchange, ret);
    upconn = pool_take(w, server);
    if (!upconn)
        return false;
    upconn_lease(w, upconn, exchange);
    *ret = lease_ref_of(upconn);
    return true;
}

/* ---- request -------------------------------------------------------------------------------- */

void lease_send_head(struct worker *w, struct lease *l, enum http_method method, struct block *head,
                     bool whole)
{
    if (l->shared) {
        multi_send_head(w, multi_lease_of(l), method, head, whole);
        return;
    }
    struct upconn *upconn = upconn_of(l);
    h1_expect(&upconn->h1, method);
    if (!upconn->secure.tls) {
        wire_push(&upconn->wire, head);
        return;
    }
    struct sink sink = lease_sink(w, l);
    for (struct span left = block_span(head), piece; left.len; left = span_skip(left, piece.len)) {
        piece = span_first(left, TLS_RECORD_PLAIN_MAX);
        sink_copy(&sink, piece);
    }
    sink_flush(&sink);
    block_give_back(&w->blocks, head);
    if (sink.failed) /* as if the server had gone */
        upconn->wire.send_failed = upconn->wire.recv_failed = true;
}

enum http_body lease_framing(const struct lease *l, enum http_body framing)
{
    if (framing != HTTP_BODY_CHUNKED && framing != HTTP_BODY_FRAMES)
        return framing;
    return l->shared ? HTTP_BODY_FRAMES : HTTP_BODY_CHUNKED;
}

bool lease_is_lost(const struct lease *l)
{
    return !l->shared || !multi_lease_of(l)->upconn;
}

bool lease_is_refused(const struct lease *l)
{
    return l->shared && multi_lease_of(l)->refused;
}

static struct limit *limit_of(struct lease *l)
{
    return l->shared ? &multi_lease_of(l)->limit : &upconn_of(l)->limit;
}

void lease_limit(struct worker *w, struct lease *l, uint32_t ms)
{
    limit_set_ms(&w->wheel, limit_of(l), w->now_ns, ms);
}

void lease_limit_clear(struct lease *l)
{
    limit_clear(limit_of(l));
}

bool lease_is_limited(struct lease *l)
{
    return limit_of(l)->at_ns != TIMER_NO_LIMIT;
}

struct sink lease_sink(struct worker *w, struct lease *l)
{
    if (l->shared)
        return multi_sink(w, multi_lease_of(l));
    struct upconn *upconn = upconn_of(l);
    return sink_of(w, &upconn->wire, upconn->secure.tls);
}

void lease_request_done(struct worker *w, struct lease *l, struct block *trailers)
{
    if (l->shared) {
        multi_request_done(w, multi_lease_of(l), trailers);
        return;
    }
    must(!trailers); /* the sink took them */
}

bool lease_shut(struct worker *w, struct lease *l)
{
    return l->shared ? multi_shut(w, multi_lease_of(l)) : upconn_shut(w, upconn_of(l));
}

bool lease_is_full(const struct lease *l)
{
    if (l->shared)
        return multi_is_full(multi_lease_of(l));
    return wire_send_is_full(&upconn_of(l)->wire);
}

bool lease_is_deaf(const struct lease *l)
{
    if (l->shared)
        return multi_lease_of(l)->closed;
    return upconn_of(l)->wire.send_failed;
}

/* ---- response ------------------------------------------------------------------------------- */

void lease_fill(struct worker *w, struct lease *l)
{
    if (l->shared)
        return;
    upconn_fill(w, upconn_of(l));
}

bool lease_fills_again(const struct lease *l)
{
    if (l->shared)
        return false;
    const struct upconn *upconn = upconn_of(l);
    return upconn->secure.tls && decrypt_has_more(&upconn->secure, &upconn->wire);
}

bool lease_has_input(const struct lease *l)
{
    if (l->shared)
        return multi_lease_of(l)->heads.first;
    return upconn_input(upconn_of(l))->first;
}

enum http_event_kind lease_head(struct worker *w, struct lease *l, struct http_head **ret)
{
    if (l->shared)
        return multi_head(w, multi_lease_of(l), ret);
    struct upconn *upconn = upconn_of(l);
    struct block_queue *in = upconn_input(upconn);
    while (in->first) {
        size_t used = 0;
        struct http_event ev = h1_feed(&upconn->h1, block_span(in->first), &used);
        if (ev.kind == HTTP_EVENT_HEAD) {
            upconn->head_bytes = (uint32_t)used;
            *ret = upconn->h1.head;
            return HTTP_EVENT_HEAD;
        }
        if (ev.kind == HTTP_EVENT_END) { /* of an interim response */
            block_queue_take(&w->blocks, in, (uint32_t)used);
            h1_next(&upconn->h1);
            continue;
        }
        if (ev.kind != HTTP_EVENT_MORE)
            return HTTP_EVENT_BAD;
        bool more = in->first->next;
        if ((more || block_is_lent(in->first)) &&
            !result_is_ok(block_queue_gather(&w->blocks, in, UPCONN_HEAD_MAX)))
            return HTTP_EVENT_BAD;
        if (!more)
            return HTTP_EVENT_MORE;
    }
    return HTTP_EVENT_MORE;
}

const struct http_reject *lease_broken_rule(const struct lease *l)
{
    const struct http_reject *known =
        l->shared ? multi_lease_of(l)->reject : upconn_of(l)->h1.reject;
    if (known)
        return known;
    /* What the codec did not refuse was too large for it to see, or is not all there. */
    return rules_reject(lease_is_over(l) ? HTTP_RULE_truncated : HTTP_RULE_head_too_large);
}

void lease_head_taken(struct worker *w, struct lease *l)
{
    if (l->shared) {
        multi_head_taken(w, multi_lease_of(l));
        return;
    }
    struct upconn *upconn = upconn_of(l);
    block_queue_take(&w->blocks, upconn_input(upconn), upconn->head_bytes);
}

struct source lease_source(struct lease *l)
{
    if (l->shared) {
        struct body *body = &multi_lease_of(l)->in;
        return (struct source){.in = &body->queue, .body = body};
    }
    struct upconn *upconn = upconn_of(l);
    return (struct source){.h1 = &upconn->h1, .in = upconn_input(upconn)};
}

struct wire *lease_wire(struct lease *l)
{
    return l->shared || upconn_of(l)->secure.tls ? NULL : &upconn_of(l)->wire;
}

void lease_took(struct worker *w, struct lease *l, uint64_t bytes)
{
    if (l->shared) /* TCP has its own window */
        multi_took(w, multi_lease_of(l), bytes);
}

bool lease_has_rest(const struct lease *l)
{
    return l->shared && multi_lease_of(l)->in.ended;
}

bool lease_is_over(const struct lease *l)
{
    if (l->shared)
        return multi_lease_of(l)->closed;
    return upconn_is_over(upconn_of(l));
}

bool lease_is_broken(const struct lease *l)
{
    if (l->shared)
        return multi_lease_of(l)->closed && !multi_lease_of(l)->in.ended;
    return upconn_is_broken(upconn_of(l));
}

enum wire_want lease_want_head(const struct lease *l)
{
    if (l->shared)
        return WIRE_WANT_SMALL;
    return upconn_want(upconn_of(l));
}

void lease_settle(struct worker *w, struct lease *l, enum wire_want want)
{
    if (l->shared) {
        multi_settle(w, multi_lease_of(l));
        return;
    }
    struct upconn *upconn = upconn_of(l);
    upconn->wire.want = (uint8_t)want;
    wire_settle(w, &upconn->wire);
}

/* ---- end ------------------------------------------------------------------------------------ */

void lease_release(struct worker *w, struct lease *l, bool reuse, uint32_t idle_ms, uint32_t max)
{
    if (l->shared) {
        multi_lease_free(w, multi_lease_of(l));
        return;
    }
    upconn_release(w, upconn_of(l), reuse, idle_ms, max);
}

void lease_reset(struct lease *l)
{
    must(!l->shared);
    upconn_of(l)->reset = true;
}

void lease_cancel(struct worker *w, struct lease *l)
{
    if (l && l->shared)
        multi_lease_free(w, multi_lease_of(l));
    else if (l)
        upconn_close_begin(w, upconn_of(l));
}

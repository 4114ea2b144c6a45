/* SPDX-License-Identifier: Apache-2.0 */
#include "data/held.h"

#include "base/secret.h"
#include "data/conn.h"
#include "data/exchange.h"
#include "data/log/access.h"
#include "data/verify.h"

/* ---- copies of heads ------------------------------------------------------------------------ */

static struct span copy(struct writer *to, struct span s)
{
    size_t from = to->len;
    writer_span(to, s);
    return span_skip(writer_done(to), from);
}

/* The whole head into one block. False: it does not fit. */
static bool copy_head(struct held *h, const struct request *rq)
{
    struct writer to = writer_of(h->block->data, h->block->cap);
    const struct http_head *from = rq->head;
    h->head = *from;
    h->head.method_text = copy(&to, from->method_text);
    h->head.authority = copy(&to, from->authority);
    h->head.path = copy(&to, from->path);
    for (uint32_t i = 0; i < from->field_count; i++) {
        struct http_field *f = &h->head.fields[i];
        f->name = copy(&to, f->name);
        f->value = copy(&to, f->value);
    }
    h->block->end = (uint32_t)to.len;
    return !to.bad;
}

/* ---- places --------------------------------------------------------------------------------- */

static struct held *find_place(struct worker *w)
{
    for (uint32_t i = 0; i < HELD_MAX; i++)
        if (w->held[i].exchange.gen == 0)
            return &w->held[i];
    return NULL;
}

static bool is_asked(const struct worker *w, const uint8_t *digest)
{
    for (uint32_t i = 0; i < HELD_MAX; i++)
        if (w->held[i].exchange.gen && memcmp(w->held[i].digest, digest, KNOWN_DIGEST_BYTES) == 0)
            return true;
    return false;
}

static void free_place(struct worker *w, struct held *h)
{
    if (h->block) {
        secret_wipe(h->block->data, h->block->end); /* it holds a password */
        block_give_back(&w->blocks, h->block);
    }
    h->block = NULL;
    h->exchange = (struct handle){0};
}

bool held_begin(struct worker *w, struct request *rq, const struct known_question *q)
{
    struct verify_lane *lane = w->config->verify;
    struct held *h = lane ? find_place(w) : NULL;
    if (!h || !(h->block = block_take(&w->blocks, BLOCK_BODY_BYTES, false)))
        return false;
    struct exchange *x = NULL;
    if (copy_head(h, rq) && (is_asked(w, q->digest) || verify_ask(lane, q)))
        x = exchange_open(w, rq->stream, rq->head, rq->router, NULL);
    if (!x) {
        free_place(w, h);
        return false;
    }
    rq->has_exchange = true;
    x->marks = rq->marks;
    if (rq->exchange) { /* one request, counted once */
        x->request.begun_ns = rq->exchange->request.begun_ns;
        rq->exchange->marks.on = false;
    }
    middleware_notes_move(&x->notes, rq->notes);
    x->log = rq->log ? rq->log : rq->exchange ? rq->exchange->log : NULL;
    rq->log = NULL;
    if (rq->exchange)
        rq->exchange->log = NULL;
    if (x->log && !rq->router->access_log) {
        access_drop(w, x->log);
        x->log = NULL;
    }
    x->held = (uint8_t)(h - w->held + 1);
    h->exchange = x->self;
    memcpy(h->digest, q->digest, sizeof h->digest);
    h->whole = rq->whole;
    h->step = rq->step;
    w->held_count++;
    return true;
}

void held_drop(struct worker *w, struct exchange *x)
{
    if (!x->held)
        return;
    struct held *h = &w->held[x->held - 1];
    must(h->exchange.index == x->self.index && h->exchange.gen == x->self.gen);
    free_place(w, h);
    x->held = 0;
    w->held_count--;
}

/* ---- verdicts ------------------------------------------------------------------------------- */

/* Goes on where it stopped. A new snapshot has other middlewares: those who come in the moment of a
 * reload are asked to come again. */
static void resume(struct worker *w, struct held *h)
{
    struct exchange *x = slab_get(&w->exchanges, h->exchange.index, h->exchange.gen);
    must(x);
    struct stream *s = stream_get(w, x->stream);
    struct handle self = x->self;
    struct middleware_notes notes;
    middleware_notes_move(&notes, &x->notes); /* the request's again */
    struct request rq = {
        .stream = s,
        .conn = stream_conn(w, s),
        .exchange = x,
        .router = x->router,
        .head = &h->head,
        .text = writer_of(w->lines, WORKER_LINES_BYTES),
        .whole = h->whole,
        .step = h->step,
        .marks = x->marks,
        .notes = &notes,
    };
    struct handle conn = {rq.conn->wire.id.slot, rq.conn->wire.id.gen};
    rq.entrypoint = conn_entrypoint(w, rq.conn);
    request_resume(w, &rq, x->snapshot == w->snapshot && rq.entrypoint);
    if ((x = slab_get(&w->exchanges, self.index, self.gen)))
        exchange_turn(w, x);
    if ((rq.conn = slab_get(&w->conns, conn.index, conn.gen)))
        worker_ready(w, &rq.conn->wire);
}

void held_settle(struct worker *w)
{
    uint8_t digest[KNOWN_DIGEST_BYTES];
    bool good;
    if (!w->config->verify)
        return;
    while (verify_verdict(w->config->verify, digest, &good)) {
        known_remember(&w->middlewares.known, digest, good);
        for (uint32_t i = 0; i < HELD_MAX && w->held_count; i++) {
            struct held *h = &w->held[i];
            if (h->exchange.gen && memcmp(h->digest, digest, sizeof digest) == 0)
                resume(w, h);
        }
    }
}

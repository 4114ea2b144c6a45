/* SPDX-License-Identifier: Apache-2.0 */
#include "data/passage.h"

#include "base/secret.h"
#include "data/conn.h"
#include "data/exchange.h"
#include "data/forward.h"
#include "data/held.h"
#include "data/http/rules.h"

/* Sends what stands in w->response. */
static void send_answer(struct worker *w, struct stream *s, const struct snapshot *snapshot,
                        const struct middleware_notes *notes, struct http_answer *answer,
                        bool whole)
{
    middleware_response(snapshot, notes, &w->response);
    answer->status = w->response.status;
    answer->fields = w->response.fields;
    answer->field_count = w->response.field_count;
    w->response.content_length = h1_answer_bytes(answer, s->is_head);
    stream_reply(w, s, answer, whole);
}

void passage_answer(struct worker *w, struct stream *s, const struct snapshot *snapshot,
                    const struct middleware_notes *notes, uint16_t status, bool whole)
{
    w->response.is_response = true;
    w->response.status = status;
    w->response.field_count = 0;
    send_answer(w, s, snapshot, notes, &(struct http_answer){0}, whole);
}

/* Before a request is answered: its stream has no exchange. What the answer points to may lie in
 * the place where it was held back, so that goes behind it. */
static void detach(struct request *rq)
{
    rq->stream->exchange = (struct handle){0};
}

static void give_back(struct worker *w, struct request *rq, uint16_t status)
{
    middleware_end(&w->middlewares, rq->notes);
    if (!rq->exchange)
        return;
    rq->exchange->status = status;
    exchange_cancel(w, rq->exchange);
}

void passage_refuse(struct worker *w, struct request *rq, uint16_t status)
{
    /* The notes of a request that was held back are of the snapshot of then. */
    const struct snapshot *s = rq->exchange ? rq->exchange->snapshot : w->snapshot;
    detach(rq);
    passage_answer(w, rq->stream, s, rq->notes, status, rq->whole);
    give_back(w, rq, status);
}

bool passage_is_trusted(struct worker *w, struct conn *conn, const struct snap_entrypoint *ep)
{
    if (conn->trusted_version != w->snapshot->version + 1) {
        conn->trusted = forward_is_trusted(w->snapshot, ep, &conn->peer);
        conn->trusted_version = w->snapshot->version + 1;
    }
    return conn->trusted;
}

/* What middlewares may read and change of what the upstream is told. */
static bool introduce(struct worker *w, struct request *rq)
{
    struct forward_client client = {
        .ip = conn_ip(w, rq->conn),
        .server = span_str(w->config->host_name),
        .tls = rq->conn->is_tls,
        .websocket = span_eq_nocase(rules_upgrade(rq->head), SPAN_LITERAL("websocket")),
        .trusted = passage_is_trusted(w, rq->conn, rq->entrypoint),
    };
    return result_is_ok(forward_apply(rq->head, &client));
}

/* Makes the response that a middleware decided on. */
static void answer_run(struct worker *w, struct request *rq, const struct middleware_run *run)
{
    struct http_answer answer = {.body = run->body, .bare = run->bare};
    uint16_t status = w->response.status;
    if (run->body.len)
        (void)http_head_add(&w->response, SPAN_LITERAL("Content-Type"),
                            SPAN_LITERAL("text/plain; charset=utf-8"));
    detach(rq);
    send_answer(w, rq->stream, w->snapshot, rq->notes, &answer, rq->whole);
    give_back(w, rq, status);
}

void passage_reply(struct worker *w, struct request *rq, uint16_t status, struct span body)
{
    w->response.is_response = true;
    w->response.status = status;
    w->response.field_count = 0;
    (void)http_head_add(&w->response, SPAN_LITERAL("Content-Type"),
                        SPAN_LITERAL("text/plain; charset=utf-8"));
    detach(rq);
    send_answer(w, rq->stream, w->snapshot, rq->notes, &(struct http_answer){.body = body},
                rq->whole);
    give_back(w, rq, status);
}

/* A password has to be judged first. */
static void hold(struct worker *w, struct request *rq, const struct known_question *q)
{
    struct exchange *before = rq->exchange;
    if (!held_begin(w, rq, q)) {
        passage_refuse(w, rq, 503);
        return;
    }
    if (before) /* held back once more, in another place */
        exchange_cancel(w, before);
}

bool passage_go(struct worker *w, struct request *rq)
{
    if (!rq->exchange && !introduce(w, rq)) {
        passage_refuse(w, rq, 431);
        return false;
    }
    if (rq->router->steps.count == 0)
        return true;
    struct middleware_run run = {
        .snapshot = w->snapshot,
        .set = w->middleware_set,
        .tables = &w->middlewares,
        .head = rq->head,
        .answer = &w->response,
        .peer_text = conn_ip(w, rq->conn),
        .peer = &rq->conn->peer,
        .tls = rq->conn->is_tls,
        .now_ns = w->now_ns,
        .text = &rq->text,
        .notes = rq->notes,
    };
    switch (middleware_request(&run, rq->router->steps, &rq->step)) {
    case MIDDLEWARE_PASS:
        return true;
    case MIDDLEWARE_ANSWER:
        answer_run(w, rq, &run);
        break;
    case MIDDLEWARE_WAIT:
        hold(w, rq, &run.question);
        secret_wipe(&run.question, sizeof run.question);
        break;
    }
    return false;
}

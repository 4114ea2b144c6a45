/* SPDX-License-Identifier: Apache-2.0 */
#include "data/log/metrics.h"

#include "data/conn.h"
#include "data/exchange.h"
#include "data/http/rules.h"
#include "data/tls/session.h"

/* The client left before there was an answer, as in the access log. */
#define CLIENT_LEFT 499

/* One request as it is counted. */
struct counted {
    uint16_t status;
    uint64_t in_bytes, out_bytes, duration_ns;
};

static bool accepts_events(const struct http_head *head)
{
    static const struct span wanted = SPAN_LITERAL("text/event-stream");
    for (uint32_t i = 0; i < head->field_count; i++) {
        const struct http_field *f = &head->fields[i];
        if (!span_eq_nocase(f->name, SPAN_LITERAL("Accept")))
            continue;
        if (memmem(f->value.ptr, f->value.len, wanted.ptr, wanted.len))
            return true;
    }
    return false;
}

static uint8_t protocol_of(const struct http_head *head)
{
    if (head->upgrade && span_eq_nocase(rules_upgrade(head), SPAN_LITERAL("websocket")))
        return SERIES_WEBSOCKET;
    return accepts_events(head) ? SERIES_EVENTS : SERIES_HTTP;
}

void metrics_begin(struct worker *w, const struct conn *conn, const struct snap_entrypoint *ep,
                   const struct http_head *head, struct metrics_marks *ret)
{
    *ret = (struct metrics_marks){.on = w->config->series && w->snapshot->metrics.on};
    if (!ret->on)
        return;
    ret->entrypoint = ep->series;
    ret->method = (uint8_t)head->method;
    ret->protocol = protocol_of(head);
    if (!conn->secure.tls)
        return;
    ret->suite = session_suite_number(conn->secure.tls);
    ret->tls13 = session_is_tls13(conn->secure.tls);
}

void metrics_route(struct metrics_marks *m, const struct snap_router *router)
{
    m->on = m->on && router->metrics;
    m->router = router->series;
}

static uint32_t bucket_of(const struct snap_metrics *m, uint64_t ns)
{
    uint32_t i = 0;
    while (i < m->bound_count && ns > m->bounds_ns[i])
        i++;
    return i;
}

static struct series_cell *find(struct worker *w, uint64_t id, uint64_t labels)
{
    struct series_cell *cell = series_find(w->config->series, id, labels);
    if (!cell)
        report_add(w->report, REPORT_SERIES_FULL, 1);
    return cell;
}

static void count(struct worker *w, const struct metrics_marks *m, const struct counted *c)
{
    const uint64_t ids[] = {m->entrypoint, m->router, m->service};
    uint64_t labels =
        series_labels(SERIES_REQUESTS, (enum series_protocol)m->protocol, m->method, c->status);
    uint64_t tls = series_labels(SERIES_TLS, (enum series_protocol)m->tls13, 0, m->suite);
    /* Bounds of another snapshot than that of the ids: those few fall into the present ones. */
    uint32_t bucket = bucket_of(&w->snapshot->metrics, c->duration_ns);
    for (size_t i = 0; i < sizeof ids / sizeof *ids; i++) {
        struct series_cell *cell = ids[i] ? find(w, ids[i], labels) : NULL;
        if (!cell)
            continue;
        series_add(&cell->in_bytes, c->in_bytes);
        series_add(&cell->out_bytes, c->out_bytes);
        series_add(&cell->sum_ns, c->duration_ns);
        series_add(&cell->buckets[bucket], 1);
        if (m->suite && (cell = find(w, ids[i], tls)))
            series_add(&cell->buckets[0], 1);
    }
}

void metrics_end(struct worker *w, const struct exchange *x)
{
    const struct metrics_marks *m = &x->marks;
    if (!m->on)
        return;
    struct counted c = {.status = x->status ? x->status : CLIENT_LEFT,
                        .in_bytes = x->up.bytes,
                        .duration_ns = w->now_ns - x->request.begun_ns};
    if (x->phase == EXCHANGE_PHASE_TUNNEL) {
        c.in_bytes = x->tunnel.up.bytes;
        c.out_bytes = x->tunnel.down.bytes;
    } else if (x->phase == EXCHANGE_PHASE_RELAY) {
        c.out_bytes = x->down.bytes;
    } else if (x->status) { /* our own answer */
        c.out_bytes = h1_answer_bytes(&(struct http_answer){.status = x->status},
                                      x->request.method == HTTP_HEAD);
    }
    count(w, m, &c);
    uint64_t retries = (uint64_t)x->tries + x->retried;
    struct series_cell *cell = NULL;
    if (retries && m->service)
        cell = find(w, m->service, series_labels(SERIES_RETRIES, SERIES_HTTP, 0, 0));
    if (cell)
        series_add(&cell->buckets[0], retries);
}

void metrics_reply(struct worker *w, const struct metrics_marks *m, uint16_t status, uint64_t bytes)
{
    if (m->on)
        count(w, m, &(struct counted){.status = status, .out_bytes = bytes});
}

struct series_cell *metrics_open_cell(struct worker *w, const struct snap_entrypoint *ep)
{
    if (!w->config->series || !ep->open_series)
        return NULL;
    return find(w, ep->open_series, series_labels(SERIES_OPEN, SERIES_HTTP, 0, 0));
}

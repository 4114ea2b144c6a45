/* SPDX-License-Identifier: Apache-2.0 */
#include "data/cold_wait.h"

#include "data/conn.h"

static struct conn *conn_of(struct worker *w, const struct cold_place *p)
{
    struct conn *conn = slab_get(&w->conns, p->conn.index, p->conn.gen);
    must(conn && conn->cold_at == (uint32_t)(p - w->cold.places) + 1);
    return conn;
}

static void ask(struct worker *w, struct cold_place *p)
{
    /* A question that finds no room is put again with the next answer. */
    if (reader_ask(w->reader, span_of(p->name, p->len)))
        w->cold.asked = true;
}

/* All questions of a step wake the publisher's thread once. */
static void tell(struct worker *w)
{
    if (w->cold.asked)
        worker_notify(w);
    w->cold.asked = false;
}

bool cold_wait_begin(struct worker *w, struct conn *conn, struct span name)
{
    struct cold_waits *c = &w->cold;
    if (conn->cold_at)
        return true;
    if (!conn->cold_until_ns) {
        conn->cold_until_ns = w->now_ns + w->snapshot->store_wait_ms * 1000000ull;
        report_add(w->report, REPORT_COLD_HELLOS, 1);
    }
    bool lent = block_is_lent(conn->wire.received.first); /* the kernel needs its buffer */
    if (w->now_ns >= conn->cold_until_ns || c->count == COLD_WAIT_MAX ||
        (lent &&
         !result_is_ok(block_queue_gather(&w->blocks, &conn->wire.received, BLOCK_RECORD_BYTES)))) {
        conn->cold_until_ns = w->now_ns;
        report_add(w->report, REPORT_COLD_FAILED, 1);
        return false;
    }
    struct cold_place *p = &c->places[c->count++];
    p->conn = (struct handle){conn->wire.id.slot, conn->wire.id.gen};
    p->len = (uint8_t)name.len;
    memcpy(p->name, name.ptr, name.len);
    conn->cold_at = (uint16_t)c->count;
    ask(w, p);
    tell(w);
    if (conn->cold_until_ns < c->limit.at_ns)
        limit_set(&w->wheel, &c->limit, conn->cold_until_ns);
    report_add(w->report, REPORT_COLD_WAITING_NOW, 1);
    return true;
}

void cold_wait_end(struct worker *w, struct conn *conn)
{
    struct cold_waits *c = &w->cold;
    if (!conn->cold_at)
        return;
    struct cold_place *hole = &c->places[conn->cold_at - 1], *last = &c->places[c->count - 1];
    if (hole != last) {
        conn_of(w, last)->cold_at = conn->cold_at;
        *hole = *last;
    }
    c->count--;
    conn->cold_at = 0;
    report_sub(w->report, REPORT_COLD_WAITING_NOW, 1);
}

/* Its hello is looked at again. */
static void resume(struct worker *w, struct conn *conn)
{
    cold_wait_end(w, conn);
    if (list_is_empty(&conn->hello))
        list_append(&w->hellos, &conn->hello);
}

void cold_wait_settle(struct worker *w)
{
    struct cold_waits *c = &w->cold;
    struct reader_answers now = reader_answers(w->reader);
    if (now.count == c->answers.count && now.stream == c->answers.stream)
        return;
    c->answers = now;
    for (uint32_t i = c->count; i-- > 0;) { /* the last one takes the place of one that goes */
        struct cold_place *p = &c->places[i];
        if (!reader_is_cold(w->reader, span_of(p->name, p->len)))
            resume(w, conn_of(w, p));
        else /* it may be cold again already; what is still being answered is not asked twice */
            ask(w, p);
    }
    tell(w);
}

void cold_wait_limit(struct worker *w)
{
    struct cold_waits *c = &w->cold;
    uint64_t next_ns = TIMER_NO_LIMIT;
    for (uint32_t i = c->count; i-- > 0;) {
        struct conn *conn = conn_of(w, &c->places[i]);
        if (conn->cold_until_ns <= w->now_ns)
            resume(w, conn);
        else if (conn->cold_until_ns < next_ns)
            next_ns = conn->cold_until_ns;
    }
    limit_set(&w->wheel, &c->limit, next_ns);
}

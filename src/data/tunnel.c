/* SPDX-License-Identifier: Apache-2.0 */
#include "data/tunnel.h"

#include "data/http/rules.h"
#include "data/shunt.h"

/* How long nothing may pass when one side has ended already. */
#define HALF_CLOSED_MS 60000u
/* What one turn must pass on to count as much. */
#define LARGE_BYTES 16384u

/* A client's own key means nothing in HTTP/2. */
static struct result make_key(struct http_head *head, struct writer *text)
{
    char key[WEBSOCKET_KEY_LEN];
    TRY(websocket_key(key));
    size_t from = text->len;
    writer_bytes(text, key, sizeof key);
    websocket_drop_key(head);
    bool fits = !text->bad && http_head_add(head, SPAN_LITERAL("Sec-WebSocket-Key"),
                                            span_skip(writer_done(text), from));
    return fits ? result_ok() : result_fail(ERR_TOO_LARGE);
}

struct result tunnel_ask(struct tunnel *t, struct http_head *head, struct writer *text,
                         uint32_t idle_ms)
{
    struct span protocol = rules_upgrade(head);
    if (protocol.len == 0 || protocol.len > sizeof t->protocol)
        return result_ok();
    if (head->connect)
        TRY(make_key(head, text));
    if (websocket_is(protocol))
        t->has_accept = websocket_accept(websocket_key_of(head), t->accept);
    memcpy(t->protocol, protocol.ptr, protocol.len);
    t->protocol_len = (uint8_t)protocol.len;
    t->connect = head->connect;
    t->idle_ms = idle_ms;
    rules_pass_upgrade(head);
    return result_ok();
}

bool tunnel_agrees(const struct tunnel *t, const struct http_head *answer)
{
    struct span asked = span_of(t->protocol, t->protocol_len);
    struct span got = rules_upgrade(answer);
    if (asked.len == 0 || !span_eq_nocase(asked, got))
        return false;
    return !t->connect ||
           span_eq(websocket_accept_of(answer), span_of(t->accept, sizeof t->accept));
}

/* One side was told of the other's end, so it has all that came before. */
static bool is_ending(const struct tunnel *t)
{
    return t->up_shut || t->down_shut;
}

static void watch(struct worker *w, const struct tunnel *t, struct stream *s)
{
    bool half = t->end_ms ? is_ending(t) : t->up_over || t->down_over;
    uint32_t half_ms = t->end_ms ? t->end_ms : HALF_CLOSED_MS;
    bool short_of = t->idle_ms == 0 || t->idle_ms > half_ms;
    stream_limit_in(w, s, half && short_of ? half_ms : t->idle_ms);
}

void tunnel_begin(struct worker *w, struct tunnel *t, struct stream *s, struct lease *l)
{
    relay_init(&t->up, HTTP_BODY_UNTIL_CLOSE);
    relay_init(&t->down, HTTP_BODY_UNTIL_CLOSE);
    lease_limit_clear(l);
    stream_limit_out(w, s, 0);
    stream_close_after(w, s);
    watch(w, t, s);
}

/* What a codec gives is payload from here on: none of it is HTTP/1. */
static enum relay_state pump(struct relay *r, struct source from, bool ended, struct sink *to)
{
    struct body rest = {.ended = ended};
    if (from.h1) {
        from.h1 = NULL;
        from.body = &rest;
    }
    return relay_pump(r, &from, to);
}

static enum tunnel_state pump_up(struct worker *w, struct tunnel *t, struct stream *s,
                                 struct lease *l)
{
    struct sink sink = lease_sink(w, l);
    enum relay_state state;
    uint64_t passed = t->up.bytes;
    uint32_t before, after;
    do {
        if (!stream_fill(w, s))
            return TUNNEL_GONE;
        struct source from = stream_source(w, s);
        bool ended = stream_is_half_closed(w, s) && !stream_may_hold_more(w, s, false);
        before = from.in->bytes;
        state = pump(&t->up, from, ended, &sink);
        after = from.in->bytes;
    } while (state == RELAY_MORE && after != before && stream_fills_again(s));
    sink_flush(&sink);
    if (state == RELAY_MORE)
        t->got_on |= shunt_tunnel(w, &t->up, &t->up_large, stream_wire(s), lease_wire(l));
    passed = t->up.bytes - passed;
    if (passed) {
        stream_took(w, s, passed);
        t->up_large = t->up.shunted || passed >= LARGE_BYTES;
    }
    t->up_over = state == RELAY_END;
    return state == RELAY_FAILED || sink.failed ? TUNNEL_BROKEN : TUNNEL_GOES_ON;
}

static enum tunnel_state pump_down(struct worker *w, struct tunnel *t, struct stream *s,
                                   struct lease *l)
{
    struct sink sink = stream_sink(w, s);
    enum relay_state state;
    uint64_t passed = t->down.bytes;
    uint32_t before, after;
    do {
        lease_fill(w, l);
        if (lease_is_broken(l)) { /* TLS has found that: what was not sent must not end well */
            sink_flush(&sink);
            return TUNNEL_BROKEN;
        }
        struct source from = lease_source(l);
        before = from.in->bytes;
        state = pump(&t->down, from, lease_is_over(l), &sink);
        after = from.in->bytes;
    } while (state == RELAY_MORE && after != before && lease_fills_again(l));
    sink_flush(&sink);
    if (state == RELAY_MORE)
        t->got_on |= shunt_tunnel(w, &t->down, &t->down_large, lease_wire(l), stream_wire(s));
    passed = t->down.bytes - passed;
    if (passed) {
        lease_took(w, l, passed);
        t->down_large = t->down.shunted || passed >= LARGE_BYTES;
    }
    t->down_over = state == RELAY_END;
    return state == RELAY_FAILED || sink.failed ? TUNNEL_BROKEN : TUNNEL_GOES_ON;
}

static enum tunnel_state pump_both(struct worker *w, struct tunnel *t, struct stream *s,
                                   struct lease *l)
{
    enum tunnel_state state = TUNNEL_GOES_ON;
    uint64_t passed = t->up.bytes + t->down.bytes;
    bool half = t->up_over || t->down_over;
    t->got_on = false;
    if (!t->up_over)
        state = pump_up(w, t, s, l);
    if (state == TUNNEL_GOES_ON && !t->down_over)
        state = pump_down(w, t, s, l);
    if (state != TUNNEL_GOES_ON)
        return state;
    bool ends = half != (t->up_over || t->down_over);
    t->got_on |= t->up.bytes + t->down.bytes != passed;
    bool passes = t->got_on && !(t->end_ms && is_ending(t));
    if (passes || ends)
        watch(w, t, s);
    return state;
}

static enum stream_want want_of_client(const struct tunnel *t, const struct lease *l)
{
    if (t->up_over || t->up.full || lease_is_full(l))
        return STREAM_WANT_NOTHING;
    if (t->up.shunted)
        return STREAM_WANT_POLL;
    return t->up_large ? STREAM_WANT_LARGE : STREAM_WANT_SMALL;
}

static enum wire_want want_of_upstream(struct worker *w, const struct tunnel *t, struct stream *s)
{
    if (t->down_over || t->down.full || stream_is_full(w, s))
        return WIRE_WANT_NOTHING;
    if (t->down.shunted)
        return WIRE_WANT_POLL;
    return t->down_large ? WIRE_WANT_LARGE : WIRE_WANT_SMALL;
}

enum tunnel_state tunnel_turn(struct worker *w, struct tunnel *t, struct stream *s, struct lease *l)
{
    /* An upstream that has ended takes nothing more: that it resets what comes late is no fault. */
    bool deaf = lease_is_deaf(l);
    if (lease_is_broken(l) || (deaf && !lease_has_rest(l)))
        return t->down_over ? TUNNEL_OVER : TUNNEL_BROKEN;
    if (deaf)
        t->up_over = t->up_shut = true;
    enum tunnel_state state = pump_both(w, t, s, l);
    if (state != TUNNEL_GOES_ON)
        return state;
    bool was_ending = is_ending(t);
    if (t->up_over && !t->up_shut)
        t->up_shut = lease_shut(w, l);
    if (t->up_shut && t->down_over) /* what is queued for the client still goes out */
        return TUNNEL_OVER;
    if (t->down_over && !t->down_shut)
        t->down_shut = stream_shut(w, s);
    if (t->end_ms && !was_ending && is_ending(t))
        watch(w, t, s);
    stream_settle(w, s, want_of_client(t, l));
    lease_settle(w, l, want_of_upstream(w, t, s));
    return TUNNEL_GOES_ON;
}

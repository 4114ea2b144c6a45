/* SPDX-License-Identifier: Apache-2.0 */
/* Clients and origins: strict about what they get, free in how they send. */
#include "world.h"

#include "h2_client.h"

#include <stdio.h>
#include <stdlib.h>

/* ---- both ----------------------------------------------------------------------------------- */

static size_t head_len(const struct buf *b)
{
    const uint8_t *at = b->len ? memmem(b->ptr, b->len, "\r\n\r\n", 4) : NULL;
    return at ? (size_t)(at - b->ptr) + 4 : 0;
}

/* Value of a field in a head, or an empty span. */
static struct span field(struct span head, const char *name)
{
    size_t n = strlen(name);
    for (size_t at = span_find(head, '\n') + 1; at < head.len;) {
        struct span line = span_skip(head, at);
        line.len = span_find(line, '\n');
        if (line.len > n + 2 && !strncasecmp((const char *)line.ptr, name, n) && line.ptr[n] == ':')
            return span_of(line.ptr + n + 2, line.len - n - 3);
        at += line.len + 1;
    }
    return (struct span){0};
}

static uint64_t number(struct span s)
{
    uint64_t n = 0;
    for (size_t i = 0; i < s.len && s.ptr[i] >= '0' && s.ptr[i] <= '9'; i++)
        n = n * 10 + s.ptr[i] - '0';
    return n;
}

static void put_body(struct buf *out, uint64_t from, uint64_t n)
{
    uint8_t *p = buf_reserve(out, n);
    for (uint64_t i = 0; i < n; i++)
        p[i] = body_byte(from + i);
    out->len += n;
}

static void put_chunked(struct world *world, struct buf *out, uint64_t n)
{
    for (uint64_t at = 0; at < n;) {
        uint64_t piece = 1 + world_random(world, world_chance(world, 3) ? 40000 : 30);
        if (piece > n - at)
            piece = n - at;
        buf_printf(out, world_chance(world, 8) ? "%llX;x=\"y\"\r\n" : "%llx\r\n",
                   (unsigned long long)piece);
        put_body(out, at, piece);
        buf_put_str(out, "\r\n");
        at += piece;
    }
}

/* Pushes a part of what waits, the whole mostly. */
static void push(struct world *world, int peer, struct buf *out)
{
    if (!out->len || ring_sim_is_closed(world->sim, peer))
        return;
    size_t n = out->len;
    if (!world->calm && world_chance(world, 2))
        n = 1 + world_random(world, n < 50 || world_chance(world, 2) ? n : 50);
    ring_sim_push(world->sim, peer, span_of(out->ptr, n));
    buf_consume(out, n);
}

static void take(struct world *world, int peer, struct buf *in, bool slow)
{
    struct span s = ring_sim_sent(world->sim, peer);
    if (!s.len || (slow && !world_chance(world, 6)))
        return;
    buf_put_span(in, s);
    ring_sim_take(world->sim, peer, s.len);
}

/* Goes on reading a chunked body that starts at `from`, checks its bytes. Returns the length with
 * the end of it, 0 when it is incomplete. */
static size_t read_chunked(struct world *world, struct chunked *c, struct span in, size_t from)
{
    size_t at = c->at ? c->at : from;
    for (;;) {
        struct span line = span_skip(in, at);
        line.len = span_find(line, '\n');
        if (at + line.len >= in.len)
            return 0;
        if (c->last) { /* trailers and the empty line */
            c->at = at += line.len + 1;
            if (line.len == 1)
                return at;
            continue;
        }
        uint64_t n = strtoull((const char *)line.ptr, NULL, 16);
        at += line.len + 1;
        if (n > 0 && in.len - at < n + 2)
            return 0;
        c->last = n == 0;
        c->at = at;
        if (c->last)
            continue;
        for (uint64_t i = 0; i < n; i++)
            if (in.ptr[at + i] != body_byte(c->size + i))
                world_fail(world, "byte %llu of a chunked body is wrong",
                           (unsigned long long)(c->size + i));
        c->size += n;
        c->at = at += n + 2;
        if (in.ptr[at - 2] != '\r' || in.ptr[at - 1] != '\n')
            world_fail(world, "a chunk does not end with CRLF");
    }
}

static void check_body(struct world *world, const uint8_t *p, uint64_t n, const char *whose)
{
    for (uint64_t i = 0; i < n; i++)
        if (p[i] != body_byte(i))
            world_fail(world, "byte %llu of %s body is wrong", (unsigned long long)i, whose);
}

/* ---- clients -------------------------------------------------------------------------------- */

static void put_request(struct world *world, struct client *c, const struct request *r)
{
    bool body = r->body > 0;
    buf_printf(&c->out, "%s /%d/%u HTTP/1.%d\r\nHost: a.test\r\n",
               r->head ? "HEAD"
               : body  ? "POST"
                       : "GET",
               r->kind, r->size, !r->old);
    if (r->kind == KIND_TUNNEL)
        buf_put_str(&c->out, "Connection: upgrade\r\nUpgrade: sim/1\r\n");
    if (r->close)
        buf_put_str(&c->out, "Connection: close\r\n");
    if (r->head_bytes)
        buf_printf(&c->out, "X-Filler: %0*d\r\n", (int)r->head_bytes, 0);
    else if (world_chance(world, 4))
        buf_printf(&c->out, "X-Filler: %0*d\r\n", (int)world_random(world, 6000) + 1, 0);
    if (body && r->chunked)
        buf_put_str(&c->out, "Transfer-Encoding: chunked\r\n\r\n");
    else if (body)
        buf_printf(&c->out, "Content-Length: %u\r\n\r\n", r->body);
    else
        buf_put_str(&c->out, "\r\n");
    if (r->kind == KIND_TUNNEL && c->early)
        put_body(&c->out, 0, r->size);
    if (body && r->chunked) {
        put_chunked(world, &c->out, r->body);
        if (r->late)
            buf_printf(&c->out, "0\r\nX-Late: %0*d\r\n\r\n", (int)r->late, 0);
        else
            buf_put_str(&c->out, world_chance(world, 2) ? "0\r\n\r\n" : "0\r\nX-Sum: 1\r\n\r\n");
    } else {
        put_body(&c->out, 0, r->body);
    }
}

/* The connection ended before the answer to request `r` was whole. Is that how it may be? */
static void client_ended(struct world *world, struct client *c)
{
    if (c->h2) {
        if (!world->may_close && !c->aborts && !worker_is_draining(world->w))
            world_fail(world, "client %ld: closed with %u of %u answers",
                       (long)(c - world->clients), c->answered, c->count);
        c->outcome = OUTCOME_CLOSED;
        return;
    }
    const struct request *r = &c->requests[c->answered];
    bool earlier_closed = c->answered > 0 && c->requests[c->answered - 1].close;
    bool may = world->may_close || r->kind >= KIND_GOOD || c->aborts || earlier_closed ||
               c->failures > 0 || worker_is_draining(world->w);
    for (uint32_t i = 0; i < c->answered; i++)
        may |= c->requests[i].kind == KIND_EARLY || c->requests[i].kind == KIND_CLOSE ||
               c->requests[i].old;
    if (!may)
        world_fail(world, "client %ld: closed in the middle of answer %u (kind %d, %u bytes of it)",
                   (long)(c - world->clients), c->answered, r->kind, (unsigned)c->in.len);
    c->outcome = OUTCOME_CLOSED;
}

/* A whole answer of `len` bytes stands at the front of c->in. */
static void client_answered(struct world *world, struct client *c, uint16_t status, uint64_t size,
                            size_t len)
{
    const struct request *r = &c->requests[c->answered];
    bool ours = status == 502 || status == 503 || status == 504 || status == 408;
    uint16_t good = r->kind == KIND_EMPTY ? 204 : 200;
    if (ours) {
        c->failures++;
    } else {
        if (status != good && status != 413)
            world_fail(world, "status %u for kind %d", status, r->kind);
        if (status == good && !r->head && r->kind != KIND_ZERO && r->kind != KIND_EMPTY &&
            size != r->size)
            world_fail(world, "answer of %llu bytes instead of %u (kind %d)",
                       (unsigned long long)size, r->size, r->kind);
        if (r->kind == KIND_CUT && r->size > 1 && !r->head)
            world_fail(world, "half an answer looked whole");
    }
    buf_consume(&c->in, len);
    c->chunked = (struct chunked){0};
    c->answered++;
    if (c->answered == c->count)
        c->outcome = OUTCOME_DONE;
}

/* Checks what came through a tunnel; `got` so far. */
static void through(struct world *world, struct buf *in, uint64_t *got, uint64_t size)
{
    for (size_t i = 0; i < in->len; i++)
        if (in->ptr[i] != body_byte(*got + i))
            world_fail(world, "byte %llu of a tunnel is wrong", (unsigned long long)(*got + i));
    *got += in->len;
    buf_consume(in, in->len);
    if (*got > size)
        world_fail(world, "%llu bytes came through a tunnel, not %llu", (unsigned long long)*got,
                   (unsigned long long)size);
}

static bool client_tunnel(struct world *world, struct client *c)
{
    const struct request *r = &c->requests[c->answered];
    through(world, &c->in, &c->got, r->size);
    if (c->got < r->size || c->out.len || (c->tls && tls_client_out(c->tls)->len))
        return false;
    c->answered++;
    c->outcome = OUTCOME_DONE;
    return false;
}

/* Looks for a whole answer. False: there is none yet. */
static bool client_read(struct world *world, struct client *c)
{
    const struct request *r = &c->requests[c->answered];
    if (c->switched)
        return client_tunnel(world, c);
    size_t head = head_len(&c->in);
    if (!head)
        return false;
    struct span text = span_of(c->in.ptr, head);
    uint16_t status = (uint16_t)number(span_skip(text, 9));
    if (!span_starts_with(text, SPAN_LITERAL("HTTP/1.1 ")))
        world_fail(world, "not an answer: %.*s", SPAN_FMT(text));
    if (status < 200) {
        if (r->old)
            world_fail(world, "an interim answer for HTTP/1.0");
        c->switched = status == 101;
        if (c->switched != (r->kind == KIND_TUNNEL))
            world_fail(world, "status %u for kind %d", status, r->kind);
        buf_consume(&c->in, head);
        if (c->switched && !c->early)
            put_body(&c->out, 0, r->size);
        return true;
    }
    struct span length = field(text, "Content-Length"), coding = field(text, "Transfer-Encoding");
    uint64_t size = 0;
    size_t len = head;
    if (r->head || status == 204 || status == 304) {
        size = r->size;
    } else if (coding.len) {
        if (r->old)
            world_fail(world, "chunked for HTTP/1.0");
        len = read_chunked(world, &c->chunked, buf_span(&c->in), head);
        size = c->chunked.size;
        if (!len)
            return false;
    } else if (length.len) {
        size = number(length);
        len = head + size;
        if (c->in.len < len)
            return false;
        if (status == 200)
            check_body(world, c->in.ptr + head, size, "an answer's");
    } else {
        if (c->tls ? !tls_client_is_closed(c->tls)
                   : !ring_sim_saw_fin(world->sim, c->peer) ||
                         ring_sim_saw_reset(world->sim, c->peer) ||
                         ring_sim_sent(world->sim, c->peer).len)
            return false;
        size = c->in.len - head;
        len = c->in.len;
        check_body(world, c->in.ptr + head, size, "an answer's");
    }
    client_answered(world, c, status, size, len);
    return true;
}

void client_turn(struct world *world, struct client *c)
{
    if (c->gone)
        return;
    if (c->h2)
        h2_client_turn(c->h2);
    else if (c->sent < c->count && (c->sent == c->answered || c->pipelines))
        put_request(world, c, &c->requests[c->sent++]);
    if (c->slow && world_chance(world, 20))
        ring_sim_set_window(world->sim, c->peer, 1 + world_random(world, 20000));
    if (!c->slow || world_chance(world, 3))
        push(world, c->peer, c->tls ? tls_client_out(c->tls) : &c->out);
    take(world, c->peer, c->tls ? tls_client_in(c->tls) : &c->in, c->slow);
    if (c->tls && !tls_client_turn(c->tls, &c->out, &c->in))
        world_fail(world, "client %ld: TLS failed", (long)(c - world->clients));
    if (c->h2)
        h2_client_turn(c->h2);
    while (!c->h2 && c->outcome == OUTCOME_OPEN && client_read(world, c))
        ;
    bool over = ring_sim_saw_fin(world->sim, c->peer) && !ring_sim_sent(world->sim, c->peer).len;
    if (c->outcome == OUTCOME_OPEN && over)
        client_ended(world, c);
    if (c->aborts && c->outcome == OUTCOME_OPEN && world_chance(world, 40)) {
        c->outcome = OUTCOME_CLOSED;
        if (world_chance(world, 2))
            ring_sim_reset(world->sim, c->peer);
        else
            ring_sim_end(world->sim, c->peer);
        c->gone = true;
    } else if (c->outcome == OUTCOME_DONE && world_chance(world, 2)) {
        ring_sim_end(world->sim, c->peer); /* the others are closed by a time limit */
        c->gone = true;
    }
}

/* ---- origins -------------------------------------------------------------------------------- */

static void origin_end(struct world *world, struct origin *o, bool reset)
{
    o->ended = true;
    buf_consume(&o->out, o->out.len);
    if (ring_sim_is_closed(world->sim, o->peer))
        return;
    if (reset)
        ring_sim_reset(world->sim, o->peer);
    else
        ring_sim_end(world->sim, o->peer);
}

static void put_length(struct origin *o, const struct request *r, const char *more)
{
    buf_printf(&o->out, "HTTP/1.1 200 OK\r\n%sContent-Length: %u\r\n\r\n", more, r->size);
    if (!r->head)
        put_body(&o->out, 0, r->size);
}

static void put_half(struct origin *o, const struct request *r, bool length)
{
    buf_put_str(&o->out, "HTTP/1.1 200 OK\r\n");
    if (length)
        buf_printf(&o->out, "Content-Length: %u\r\n\r\n", r->size + 1);
    else
        buf_printf(&o->out, "Transfer-Encoding: chunked\r\n\r\n%x\r\n", r->size + 1);
    put_body(&o->out, 0, r->size / 2);
    o->close_after = true;
}

static void put_surplus(struct world *world, struct origin *o)
{
    put_length(o, &o->request, "");
    buf_put_str(&o->out, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nwrong");
    ring_sim_push(world->sim, o->peer, span_of(o->out.ptr, 500));
    buf_consume(&o->out, 500);
    o->pause = 5; /* so that no receive is armed when the rest comes */
}

static void switch_protocols(struct origin *o)
{
    o->switched = true;
    buf_put_str(&o->out, "HTTP/1.1 101 Now\r\nConnection: upgrade\r\nUpgrade: SIM/1\r\n\r\n");
    put_body(&o->out, 0, o->request.size);
}

static void answer(struct world *world, struct origin *o)
{
    const struct request *r = &o->request;
    switch (r->kind) {
    case KIND_INTERIM:
        buf_put_str(&o->out, "HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n");
        put_length(o, r, "");
        break;
    case KIND_STALE:
        o->close_after = true;
        put_length(o, r, "");
        break;
    case KIND_EARLY:
        o->close_after = true;
        buf_put_str(&o->out, "HTTP/1.1 413 No\r\nContent-Length: 2\r\n\r\nno");
        break;
    case KIND_CHUNK:
    case KIND_TRAILER:
        buf_put_str(&o->out, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
        if (r->head)
            break;
        put_chunked(world, &o->out, r->size);
        buf_put_str(&o->out, r->kind == KIND_CHUNK ? "0\r\n\r\n" : "0\r\nX-A: b\r\nX-C: d\r\n\r\n");
        break;
    case KIND_LATE: /* 65,536 bytes; written anew each field is a space longer */
        buf_put_str(&o->out, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
        if (r->head)
            break;
        put_chunked(world, &o->out, r->size);
        buf_printf(&o->out, "0\r\nX-Late:%0*d\r\n\r\n", 65536 - 7 - 4, 0);
        break;
    case KIND_CLOSE:
        buf_put_str(&o->out, "HTTP/1.1 200 OK\r\n\r\n");
        if (!r->head)
            put_body(&o->out, 0, r->size);
        o->close_after = true;
        break;
    case KIND_EMPTY:
        buf_put_str(&o->out, "HTTP/1.1 204 No Content\r\n\r\n");
        break;
    case KIND_ZERO:
        buf_put_str(&o->out, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
        break;
    case KIND_CUT:
        put_half(o, r, world_chance(world, 2));
        break;
    case KIND_GARBAGE:
        buf_put_str(&o->out, "BLAH blah\r\n\r\n");
        break;
    case KIND_HALF:
        buf_put_str(&o->out, "HTTP/1.1 200 OK\r\nContent-Le");
        o->close_after = true;
        break;
    case KIND_TUNNEL:
        switch_protocols(o);
        break;
    case KIND_SURPLUS:
        put_surplus(world, o);
        break;
    case KIND_RESET:
        origin_end(world, o, true);
        break;
    case KIND_NEVER:
        break;
    default:
        put_length(o, r, "");
    }
}

/* Takes a request head off what was received. False: none yet. */
static bool origin_head(struct world *world, struct origin *o)
{
    size_t head = head_len(&o->in);
    if (!head)
        return false;
    struct span text = span_of(o->in.ptr, head);
    o->request = (struct request){.head = text.ptr[0] == 'H'};
    struct span path = span_skip(text, span_find(text, '/') + 1);
    o->request.kind = (enum kind)number(path);
    o->request.size = (uint32_t)number(span_skip(path, span_find(path, '/') + 1));
    if (o->request.kind > KIND_SURPLUS || !field(text, "X-Forwarded-For").len ||
        !span_eq(field(text, "Host"), SPAN_LITERAL("a.test")))
        world_fail(world, "the origin got: %.*s", SPAN_FMT(text));
    o->chunked_in = field(text, "Transfer-Encoding").len > 0;
    o->left = number(field(text, "Content-Length"));
    o->has_request = true;
    buf_consume(&o->in, head);
    if (o->request.kind == KIND_EARLY)
        answer(world, o);
    return true;
}

/* Takes the request's body. False: it is not whole yet. */
static bool origin_body(struct world *world, struct origin *o)
{
    if (o->chunked_in) {
        size_t len = read_chunked(world, &o->chunked, buf_span(&o->in), 0);
        if (!len)
            return false;
        o->chunked = (struct chunked){0};
        buf_consume(&o->in, len);
        return true;
    }
    if (o->in.len < o->left)
        return false;
    check_body(world, o->in.ptr, o->left, "a request's");
    buf_consume(&o->in, o->left);
    return true;
}

void origin_turn(struct world *world, struct origin *o)
{
    if (o->ended)
        return;
    take(world, o->peer, &o->in, false);
    if (o->switched)
        through(world, &o->in, &o->got, o->request.size);
    while (!o->ended && !o->switched && !o->close_after &&
           (o->has_request || origin_head(world, o)) && origin_body(world, o)) {
        o->has_request = false;
        answer(world, o);
    }
    if (o->pause)
        o->pause--;
    else if (!o->ended)
        push(world, o->peer, &o->out);
    bool idle = o->out.len == 0;
    if (!o->ended && idle && (o->close_after || ring_sim_saw_fin(world->sim, o->peer)))
        origin_end(world, o, false);
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "h2_client.h"

#include "base/must.h"

#include <nghttp2/nghttp2.h>
#include <stdio.h>
#include <stdlib.h>

struct answer {
    struct h2_client *h;
    const struct request *request;
    uint16_t status;
    uint64_t got;  /* bytes of its body */
    uint64_t sent; /* of the request's */
    bool whole;
};

struct h2_client {
    nghttp2_session *session;
    struct world *world;
    struct client *c;
    struct answer answers[REQUESTS_MAX];
    bool lost; /* GOAWAY came: what is open may end in any way */
};

static struct answer *answer_of(nghttp2_session *session, int32_t id)
{
    return nghttp2_session_get_stream_user_data(session, id);
}

static int on_header(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name,
                     size_t name_len, const uint8_t *value, size_t value_len, uint8_t flags,
                     void *user)
{
    struct answer *a = answer_of(session, frame->hd.stream_id);
    if (a && name_len == 7 && memcmp(name, ":status", 7) == 0)
        a->status = (uint16_t)strtoul((const char *)value, NULL, 10);
    return 0;
}

static int on_data(nghttp2_session *session, uint8_t flags, int32_t id, const uint8_t *data,
                   size_t len, void *user)
{
    struct answer *a = answer_of(session, id);
    must(a);
    for (size_t i = 0; a->status == 200 && i < len; i++)
        if (data[i] != body_byte(a->got + i))
            world_fail(a->h->world, "byte %llu of an answer's body is wrong",
                       (unsigned long long)(a->got + i));
    a->got += len;
    return 0;
}

static int on_frame(nghttp2_session *session, const nghttp2_frame *frame, void *user)
{
    struct h2_client *h = user;
    h->lost |= frame->hd.type == NGHTTP2_GOAWAY;
    struct answer *a = answer_of(session, frame->hd.stream_id);
    bool message = frame->hd.type == NGHTTP2_HEADERS || frame->hd.type == NGHTTP2_DATA;
    if (a && message)
        a->whole |= frame->hd.flags & NGHTTP2_FLAG_END_STREAM;
    return 0;
}

static void judge(struct h2_client *h, const struct answer *a)
{
    const struct request *r = a->request;
    uint16_t good = r->kind == KIND_EMPTY ? 204 : 200;
    bool ours = a->status == 502 || a->status == 503 || a->status == 504 || a->status == 408;
    if (!a->whole) {
        if (r->kind < KIND_GOOD && !h->world->may_close && !h->c->aborts && !h->lost)
            world_fail(h->world, "an answer of kind %d was cut", r->kind);
        h->c->failures++;
        return;
    }
    if (ours) {
        h->c->failures++;
        return;
    }
    if (a->status != good && a->status != 413)
        world_fail(h->world, "status %u for kind %d", a->status, r->kind);
    bool has_body = !r->head && r->kind != KIND_ZERO && r->kind != KIND_EMPTY;
    if (a->status == good && has_body && a->got != r->size)
        world_fail(h->world, "answer of %llu bytes instead of %u (kind %d)",
                   (unsigned long long)a->got, r->size, r->kind);
    if (r->kind == KIND_CUT && r->size > 1 && !r->head)
        world_fail(h->world, "half an answer looked whole");
}

static int on_close(nghttp2_session *session, int32_t id, uint32_t error, void *user)
{
    struct h2_client *h = user;
    struct answer *a = answer_of(session, id);
    must(a);
    judge(h, a);
    if (++h->c->answered == h->c->count)
        h->c->outcome = OUTCOME_DONE;
    return 0;
}

static ssize_t on_read(nghttp2_session *session, int32_t id, uint8_t *buf, size_t len,
                       uint32_t *flags, nghttp2_data_source *source, void *user)
{
    struct answer *a = source->ptr;
    uint64_t left = a->request->body - a->sent;
    size_t n = 1 + world_random(a->h->world, len);
    n = n < left ? n : left;
    for (size_t i = 0; i < n; i++)
        buf[i] = body_byte(a->sent + i);
    a->sent += n;
    if (a->sent == a->request->body)
        *flags |= NGHTTP2_DATA_FLAG_EOF;
    return (ssize_t)n;
}

static nghttp2_nv nv(const char *name, const char *value)
{
    return (nghttp2_nv){(uint8_t *)(uintptr_t)name, (uint8_t *)(uintptr_t)value, strlen(name),
                        strlen(value), NGHTTP2_NV_FLAG_NONE};
}

static void submit(struct h2_client *h, uint32_t i)
{
    struct answer *a = &h->answers[i];
    const struct request *r = &h->c->requests[i];
    char path[64], length[16];
    *a = (struct answer){.h = h, .request = r};
    snprintf(path, sizeof path, "/%d/%u", r->kind, r->size);
    snprintf(length, sizeof length, "%u", r->body);
    nghttp2_nv fields[] = {nv(":method", r->head   ? "HEAD"
                                         : r->body ? "POST"
                                                   : "GET"),
                           nv(":scheme", "http"), nv(":authority", "a.test"), nv(":path", path),
                           nv("content-length", length)};
    size_t count = sizeof fields / sizeof *fields - (r->chunked || !r->body);
    nghttp2_data_provider body = {.source.ptr = a, .read_callback = on_read};
    must(nghttp2_submit_request(h->session, NULL, fields, count, r->body ? &body : NULL, a) > 0);
}

struct h2_client *h2_client_create(struct world *world, struct client *c)
{
    struct h2_client *h = calloc(1, sizeof *h);
    nghttp2_session_callbacks *callbacks;
    must(h && nghttp2_session_callbacks_new(&callbacks) == 0);
    nghttp2_session_callbacks_set_on_header_callback(callbacks, on_header);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, on_data);
    nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks, on_frame);
    nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, on_close);
    must(nghttp2_session_client_new(&h->session, callbacks, h) == 0);
    nghttp2_session_callbacks_del(callbacks);
    h->world = world;
    h->c = c;
    nghttp2_settings_entry window = {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE,
                                     (uint32_t)(world_chance(world, 3) ? 1000 : 65535)};
    must(nghttp2_submit_settings(h->session, NGHTTP2_FLAG_NONE, &window, 1) == 0);
    for (uint32_t i = 0; i < c->count; i++)
        submit(h, i);
    return h;
}

void h2_client_free(struct h2_client *h)
{
    if (h)
        nghttp2_session_del(h->session);
    free(h);
}

void h2_client_turn(struct h2_client *h)
{
    struct client *c = h->c;
    const uint8_t *out;
    if (c->in.len) {
        ssize_t n = nghttp2_session_mem_recv(h->session, c->in.ptr, c->in.len);
        if (n != (ssize_t)c->in.len)
            world_fail(h->world, "the client does not understand what it was sent: %s",
                       nghttp2_strerror((int)n));
        buf_consume(&c->in, c->in.len);
    }
    for (ssize_t n; c->out.len < 100000 && (n = nghttp2_session_mem_send(h->session, &out)) > 0;)
        buf_put_span(&c->out, span_of(out, (size_t)n));
}

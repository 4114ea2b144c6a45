/* SPDX-License-Identifier: Apache-2.0 */
#include "data/http/h2_client.h"

#include <nghttp2/nghttp2.h>

/* Payload of one response that may wait here; and that of all together which may be under way: the
 * connection gets its credit back without waiting for any reader. */
#define STREAM_WINDOW 65536
#define CONN_WINDOW   1048576
#define NV_MAX        (HTTP_FIELDS_MAX + HTTP_FIELDS_OWN + 8)

/* ---- from the server ------------------------------------------------------------------------ */

static void forget_gathered(struct h2_client *c)
{
    if (c->gathered)
        block_give_back(c->blocks, c->gathered);
    c->gathered = NULL;
    c->status = 0;
    c->lost = false;
}

/* Room for `need` more bytes of lines. */
static bool make_room(struct h2_client *c, size_t need)
{
    struct block *old = c->gathered;
    size_t have = old ? block_len(old) : 0;
    if (old && block_room(old) >= need)
        return true;
    if (have + need > H2_CLIENT_HEAD_MAX)
        return false;
    struct block *block = block_take(c->blocks, (uint32_t)(have + need), false);
    if (!block)
        return false;
    if (old) {
        block_append(block, old->data + old->start, block_len(old));
        block_give_back(c->blocks, old);
    }
    c->gathered = block;
    return true;
}

static void *stream_of(const struct h2_client *c, int32_t id)
{
    return nghttp2_session_get_stream_user_data(c->session, id);
}

static int on_begin_headers(nghttp2_session *session, const nghttp2_frame *frame, void *user)
{
    forget_gathered(user);
    return 0;
}

static int on_header(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name,
                     size_t name_len, const uint8_t *value, size_t value_len, uint8_t flags,
                     void *user)
{
    struct h2_client *c = user;
    if (name_len && name[0] == ':') { /* three digits: nghttp2 looked, not at the first */
        for (size_t i = 0; i < value_len; i++)
            c->status = (uint16_t)(c->status * 10 + (value[i] - '0'));
        c->lost |= c->status < 100;
        return 0;
    }
    c->lost = c->lost || !make_room(c, name_len + value_len + 4);
    if (c->lost || !stream_of(c, frame->hd.stream_id))
        return 0;
    block_append(c->gathered, name, (uint32_t)name_len);
    block_append(c->gathered, ": ", 2);
    block_append(c->gathered, value, (uint32_t)value_len);
    block_append(c->gathered, "\r\n", 2);
    return 0;
}

static void headers_done(struct h2_client *c, void *stream, int32_t id, bool ends)
{
    struct block *lines = c->gathered;
    if (lines && block_len(lines) == 0) {
        block_give_back(c->blocks, lines);
        lines = NULL;
    }
    c->gathered = NULL;
    if (c->lost) {
        if (lines)
            block_give_back(c->blocks, lines);
        (void)nghttp2_submit_rst_stream(c->session, NGHTTP2_FLAG_NONE, id, NGHTTP2_INTERNAL_ERROR);
    } else if (c->status) {
        c->handler->head(c, stream, c->status, lines, ends);
    } else if (lines) {
        c->handler->trailers(c, stream, lines);
    }
}

static int on_frame_recv(nghttp2_session *session, const nghttp2_frame *frame, void *user)
{
    struct h2_client *c = user;
    if (frame->hd.type == NGHTTP2_GOAWAY)
        c->going_away = true;
    if (frame->hd.type == NGHTTP2_SETTINGS && !(frame->hd.flags & NGHTTP2_FLAG_ACK)) {
        c->settled = true;
        c->handler->settings(c);
    }
    if (frame->hd.type != NGHTTP2_HEADERS && frame->hd.type != NGHTTP2_DATA)
        return 0;
    bool ends = frame->hd.flags & NGHTTP2_FLAG_END_STREAM;
    void *stream = stream_of(c, frame->hd.stream_id);
    if (stream && frame->hd.type == NGHTTP2_HEADERS)
        headers_done(c, stream, frame->hd.stream_id, ends);
    forget_gathered(c);
    if (stream && ends && stream_of(c, frame->hd.stream_id))
        c->handler->end(c, stream);
    return 0;
}

static int on_data(nghttp2_session *session, uint8_t flags, int32_t id, const uint8_t *data,
                   size_t len, void *user)
{
    struct h2_client *c = user;
    void *stream = stream_of(c, id);
    if (stream)
        c->handler->data(c, stream, span_of(data, len));
    else
        h2_client_credit(c, (uint32_t)len);
    return 0;
}

static int on_stream_close(nghttp2_session *session, int32_t id, uint32_t error, void *user)
{
    struct h2_client *c = user;
    void *stream = stream_of(c, id);
    if (stream)
        c->handler->close(c, stream, error == NGHTTP2_REFUSED_STREAM);
    return 0;
}

bool h2_client_receive(struct h2_client *c, struct span bytes)
{
    return nghttp2_session_mem_recv(c->session, bytes.ptr, bytes.len) == (ssize_t)bytes.len;
}

/* ---- to the server -------------------------------------------------------------------------- */

static ssize_t on_send(nghttp2_session *session, const uint8_t *data, size_t len, int flags,
                       void *user)
{
    struct h2_client *c = user;
    if (sink_room(c->out, 1) == 0)
        return NGHTTP2_ERR_WOULDBLOCK;
    sink_copy(c->out, span_of(data, len));
    return c->out->failed ? NGHTTP2_ERR_CALLBACK_FAILURE : (ssize_t)len;
}

static nghttp2_nv nv_of(struct span name, struct span value)
{
    return (nghttp2_nv){(uint8_t *)(uintptr_t)name.ptr, (uint8_t *)(uintptr_t)value.ptr, name.len,
                        value.len, NGHTTP2_NV_FLAG_NONE};
}

/* The next "Name: value" line; the name becomes lower case where it lies. False at the end. */
static bool next_line(struct span *lines, struct span *ret_name, struct span *ret_value)
{
    struct span line = span_first(*lines, span_find(*lines, '\r'));
    size_t colon = span_find(line, ':');
    if (colon == line.len)
        return false;
    uint8_t *name = (uint8_t *)(uintptr_t)line.ptr; /* the caller's block, not shared */
    for (size_t i = 0; i < colon; i++)
        if (name[i] >= 'A' && name[i] <= 'Z')
            name[i] |= 0x20;
    *ret_name = span_first(line, colon);
    *ret_value = span_skip(line, colon + 2);
    *lines = span_skip(*lines, line.len + 2);
    return true;
}

static int submit_trailers(struct h2_client *c, int32_t id, struct span lines)
{
    nghttp2_nv nv[NV_MAX];
    size_t n = 0;
    struct span name, value;
    while (n < NV_MAX && next_line(&lines, &name, &value))
        nv[n++] = nv_of(name, value);
    return nghttp2_submit_trailer(c->session, id, nv, n);
}

static ssize_t on_read(nghttp2_session *session, int32_t id, uint8_t *buf, size_t len,
                       uint32_t *flags, nghttp2_data_source *source, void *user)
{
    struct h2_client *c = user;
    bool last = false;
    if (!stream_of(c, id)) /* cancelled; RST_STREAM is on its way */
        return NGHTTP2_ERR_DEFERRED;
    uint32_t n = c->handler->waiting(c, source->ptr, &last);
    if (n == 0 && !last)
        return NGHTTP2_ERR_DEFERRED;
    *flags |= NGHTTP2_DATA_FLAG_NO_COPY;
    if (n > len)
        return (ssize_t)len;
    if (!last)
        return (ssize_t)n;
    *flags |= NGHTTP2_DATA_FLAG_EOF;
    struct span lines = c->handler->lines(c, source->ptr);
    if (lines.len) {
        *flags |= NGHTTP2_DATA_FLAG_NO_END_STREAM;
        if (submit_trailers(c, id, lines))
            return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
    }
    return (ssize_t)n;
}

/* The frame that on_read() promised; nothing is padded. */
static int on_send_data(nghttp2_session *session, nghttp2_frame *frame, const uint8_t *head,
                        size_t len, nghttp2_data_source *source, void *user)
{
    struct h2_client *c = user;
    if (!stream_of(c, frame->hd.stream_id))
        return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
    if (sink_room(c->out, 1) == 0)
        return NGHTTP2_ERR_WOULDBLOCK;
    struct writer to = sink_writer(c->out, (uint32_t)(9 + len));
    if (to.bad)
        return NGHTTP2_ERR_CALLBACK_FAILURE;
    writer_bytes(&to, head, 9);
    c->handler->move(c, source->ptr, (uint32_t)len, &to);
    sink_commit(c->out, &to);
    return c->out->failed ? NGHTTP2_ERR_CALLBACK_FAILURE : 0;
}

bool h2_client_send(struct h2_client *c, struct sink *out)
{
    c->out = out;
    int rv = nghttp2_session_send(c->session);
    c->out = NULL;
    return rv == 0;
}

bool h2_client_is_over(const struct h2_client *c)
{
    return !nghttp2_session_want_read(c->session) && !nghttp2_session_want_write(c->session);
}

uint32_t h2_client_allowed(const struct h2_client *c)
{
    if (c->going_away || !nghttp2_session_check_request_allowed(c->session))
        return 0;
    return nghttp2_session_get_remote_settings(c->session, NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS);
}

bool h2_client_takes_connect(const struct h2_client *c)
{
    return nghttp2_session_get_remote_settings(c->session,
                                               NGHTTP2_SETTINGS_ENABLE_CONNECT_PROTOCOL) == 1;
}

/* What is said otherwise in HTTP/2, or not at all (RFC 9113 section 8.2.2, RFC 8441 section 5). */
static bool is_of_http1(struct span name, bool connect)
{
    return span_eq(name, SPAN_LITERAL("connection")) ||
           span_eq(name, SPAN_LITERAL("transfer-encoding")) ||
           span_eq(name, SPAN_LITERAL("upgrade")) || span_eq(name, SPAN_LITERAL("host")) ||
           (connect && span_eq(name, SPAN_LITERAL("sec-websocket-key")));
}

int32_t h2_client_request(struct h2_client *c, const struct h2_client_ask *ask, void *stream)
{
    nghttp2_nv nv[NV_MAX];
    struct span method = span_first(ask->head, span_find(ask->head, ' '));
    struct span rest = span_skip(ask->head, method.len + 1);
    struct span target = span_first(rest, span_find(rest, ' '));
    struct span lines = span_skip(rest, span_find(rest, '\n') + 1), name, value;
    struct span scheme = ask->https ? SPAN_LITERAL("https") : SPAN_LITERAL("http");
    size_t n = 0, authority = 2;
    nv[n++] = nv_of(SPAN_LITERAL(":method"), ask->connect ? SPAN_LITERAL("CONNECT") : method);
    nv[n++] = nv_of(SPAN_LITERAL(":scheme"), scheme);
    nv[n++] = nv_of(SPAN_LITERAL(":authority"), (struct span){0});
    nv[n++] = nv_of(SPAN_LITERAL(":path"), target);
    if (ask->connect)
        nv[n++] = nv_of(SPAN_LITERAL(":protocol"), SPAN_LITERAL("websocket"));
    while (n < NV_MAX && next_line(&lines, &name, &value)) {
        if (span_eq(name, SPAN_LITERAL("host")))
            nv[authority] = nv_of(SPAN_LITERAL(":authority"), value);
        else if (!is_of_http1(name, ask->connect))
            nv[n++] = nv_of(name, value);
    }
    nghttp2_data_provider from = {.source.ptr = stream, .read_callback = on_read};
    return nghttp2_submit_request(c->session, NULL, nv, n, ask->more ? &from : NULL, stream);
}

void h2_client_resume(struct h2_client *c, int32_t id)
{
    (void)nghttp2_session_resume_data(c->session, id); /* not deferred: nothing to do */
}

void h2_client_took(struct h2_client *c, int32_t id, uint32_t bytes)
{
    (void)nghttp2_session_consume_stream(c->session, id, bytes); /* closed: nothing to do */
}

void h2_client_credit(struct h2_client *c, uint32_t bytes)
{
    (void)nghttp2_session_consume_connection(c->session, bytes);
}

void h2_client_forget(struct h2_client *c, int32_t id)
{
    (void)nghttp2_session_set_stream_user_data(c->session, id, NULL);
}

void h2_client_cancel(struct h2_client *c, int32_t id)
{
    h2_client_forget(c, id);
    (void)nghttp2_submit_rst_stream(c->session, NGHTTP2_FLAG_NONE, id, NGHTTP2_CANCEL);
}

void h2_client_ping(struct h2_client *c)
{
    (void)nghttp2_submit_ping(c->session, NGHTTP2_FLAG_NONE, NULL);
}

/* ---- birth and end -------------------------------------------------------------------------- */

static nghttp2_session_callbacks *callbacks_new(void)
{
    nghttp2_session_callbacks *c;
    if (nghttp2_session_callbacks_new(&c))
        return NULL;
    nghttp2_session_callbacks_set_on_begin_headers_callback(c, on_begin_headers);
    nghttp2_session_callbacks_set_on_header_callback(c, on_header);
    nghttp2_session_callbacks_set_on_frame_recv_callback(c, on_frame_recv);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(c, on_data);
    nghttp2_session_callbacks_set_on_stream_close_callback(c, on_stream_close);
    nghttp2_session_callbacks_set_send_callback(c, on_send);
    nghttp2_session_callbacks_set_send_data_callback(c, on_send_data);
    return c;
}

static int begin(struct h2_client *c)
{
    static const nghttp2_settings_entry settings[] = {
        {NGHTTP2_SETTINGS_ENABLE_PUSH, 0},
        {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, STREAM_WINDOW},
        {NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, H2_CLIENT_HEAD_MAX},
    };
    int rv = nghttp2_submit_settings(c->session, NGHTTP2_FLAG_NONE, settings,
                                     sizeof settings / sizeof *settings);
    return rv ? rv
              : nghttp2_session_set_local_window_size(c->session, NGHTTP2_FLAG_NONE, 0,
                                                      CONN_WINDOW);
}

struct result h2_client_init(struct h2_client *c, const struct h2_client_handler *handler,
                             struct blocks *blocks)
{
    *c = (struct h2_client){.handler = handler, .blocks = blocks};
    nghttp2_session_callbacks *callbacks = callbacks_new();
    nghttp2_option *option = NULL;
    int rv = callbacks && nghttp2_option_new(&option) == 0 ? 0 : NGHTTP2_ERR_NOMEM;
    if (rv == 0) {
        nghttp2_option_set_no_auto_window_update(option, 1);
        rv = nghttp2_session_client_new2(&c->session, callbacks, c, option);
    }
    nghttp2_option_del(option);
    nghttp2_session_callbacks_del(callbacks);
    if (rv == 0)
        rv = begin(c);
    if (rv == 0)
        return result_ok();
    h2_client_fini(c);
    return result_fail(ERR_NO_MEMORY);
}

void h2_client_fini(struct h2_client *c)
{
    forget_gathered(c);
    nghttp2_session_del(c->session);
    c->session = NULL;
}

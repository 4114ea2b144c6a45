/* SPDX-License-Identifier: Apache-2.0 */
#include "data/http/h2_client.h"

#include "data/http/h2_send_impl.h"

/* Payload of one response that may wait here; and that of all together which may be under way: the
 * connection gets its credit back without waiting for any reader. */
#define STREAM_WINDOW 65536
#define CONN_WINDOW   1048576
#define NV_MAX        (HTTP_FIELDS_MAX + HTTP_FIELDS_OWN + 8)

static_assert(offsetof(struct h2_client, sender) == 0, "a sender is its codec");

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
    return nghttp2_session_get_stream_user_data(c->sender.session, id);
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
        (void)nghttp2_submit_rst_stream(c->sender.session, NGHTTP2_FLAG_NONE, id,
                                        NGHTTP2_INTERNAL_ERROR);
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
    ssize_t n = nghttp2_session_mem_recv(c->sender.session, bytes.ptr, bytes.len);
    if (n == (ssize_t)bytes.len)
        return true;
    /* After a failure of its own, as when too many answers wait, nghttp2 has nothing queued that
     * would say so (RFC 9113 section 5.4.1). */
    (void)nghttp2_session_terminate_session(c->sender.session, n == NGHTTP2_ERR_FLOODED
                                                                   ? NGHTTP2_ENHANCE_YOUR_CALM
                                                                   : NGHTTP2_INTERNAL_ERROR);
    return false;
}

/* ---- to the server -------------------------------------------------------------------------- */

bool h2_client_send(struct h2_client *c, struct sink *out)
{
    return h2_send_all(&c->sender, out);
}

bool h2_client_is_over(const struct h2_client *c)
{
    return !nghttp2_session_want_read(c->sender.session) &&
           !nghttp2_session_want_write(c->sender.session);
}

uint32_t h2_client_allowed(const struct h2_client *c)
{
    if (c->going_away || !nghttp2_session_check_request_allowed(c->sender.session))
        return 0;
    return nghttp2_session_get_remote_settings(c->sender.session,
                                               NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS);
}

bool h2_client_takes_connect(const struct h2_client *c)
{
    return nghttp2_session_get_remote_settings(c->sender.session,
                                               NGHTTP2_SETTINGS_ENABLE_CONNECT_PROTOCOL) == 1;
}

/* What is said otherwise in HTTP/2, or not at all (RFC 9113 section 8.2.2, RFC 8441 section 5). */
static bool is_of_http1(struct span name, bool connect)
{
    return span_eq_nocase(name, SPAN_LITERAL("connection")) ||
           span_eq_nocase(name, SPAN_LITERAL("transfer-encoding")) ||
           span_eq_nocase(name, SPAN_LITERAL("upgrade")) ||
           span_eq_nocase(name, SPAN_LITERAL("host")) ||
           (connect && span_eq_nocase(name, SPAN_LITERAL("sec-websocket-key")));
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
    nv[n++] = h2_send_nv(SPAN_LITERAL(":method"), ask->connect ? SPAN_LITERAL("CONNECT") : method);
    nv[n++] = h2_send_nv(SPAN_LITERAL(":scheme"), scheme);
    nv[n++] = h2_send_nv(SPAN_LITERAL(":authority"), (struct span){0});
    nv[n++] = h2_send_nv(SPAN_LITERAL(":path"), target);
    if (ask->connect)
        nv[n++] = h2_send_nv(SPAN_LITERAL(":protocol"), SPAN_LITERAL("websocket"));
    while (n < NV_MAX && h2_send_line(&lines, &name, &value)) {
        if (span_eq_nocase(name, SPAN_LITERAL("host")))
            nv[authority] = h2_send_nv(SPAN_LITERAL(":authority"), value);
        else if (!is_of_http1(name, ask->connect))
            nv[n++] = h2_send_nv(name, value);
    }
    nghttp2_data_provider from = h2_send_provider(stream);
    return nghttp2_submit_request(c->sender.session, NULL, nv, n, ask->more ? &from : NULL, stream);
}

void h2_client_resume(struct h2_client *c, int32_t id)
{
    h2_send_resume(&c->sender, id);
}

void h2_client_took(struct h2_client *c, int32_t id, uint32_t bytes)
{
    (void)nghttp2_session_consume_stream(c->sender.session, id, bytes); /* closed: nothing to do */
}

void h2_client_credit(struct h2_client *c, uint32_t bytes)
{
    (void)nghttp2_session_consume_connection(c->sender.session, bytes);
}

void h2_client_forget(struct h2_client *c, int32_t id)
{
    (void)nghttp2_session_set_stream_user_data(c->sender.session, id, NULL);
}

void h2_client_cancel(struct h2_client *c, int32_t id)
{
    h2_client_forget(c, id);
    (void)nghttp2_submit_rst_stream(c->sender.session, NGHTTP2_FLAG_NONE, id, NGHTTP2_CANCEL);
}

void h2_client_ping(struct h2_client *c)
{
    (void)nghttp2_submit_ping(c->sender.session, NGHTTP2_FLAG_NONE, NULL);
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
    h2_send_callbacks(c);
    return c;
}

static int begin(struct h2_client *c)
{
    static const nghttp2_settings_entry settings[] = {
        {NGHTTP2_SETTINGS_ENABLE_PUSH, 0},
        {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, STREAM_WINDOW},
        {NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, H2_CLIENT_HEAD_MAX},
    };
    int rv = nghttp2_submit_settings(c->sender.session, NGHTTP2_FLAG_NONE, settings,
                                     sizeof settings / sizeof *settings);
    return rv ? rv
              : nghttp2_session_set_local_window_size(c->sender.session, NGHTTP2_FLAG_NONE, 0,
                                                      CONN_WINDOW);
}

struct result h2_client_init(struct h2_client *c, const struct h2_client_handler *handler,
                             struct blocks *blocks)
{
    *c = (struct h2_client){
        .sender.payload = &handler->payload, .handler = handler, .blocks = blocks};
    nghttp2_session_callbacks *callbacks = callbacks_new();
    nghttp2_option *option = NULL;
    int rv = callbacks && nghttp2_option_new(&option) == 0 ? 0 : NGHTTP2_ERR_NOMEM;
    if (rv == 0) {
        nghttp2_option_set_no_auto_window_update(option, 1);
        rv = nghttp2_session_client_new2(&c->sender.session, callbacks, c, option);
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
    nghttp2_session_del(c->sender.session);
    c->sender.session = NULL;
}

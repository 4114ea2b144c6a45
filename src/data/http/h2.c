/* SPDX-License-Identifier: Apache-2.0 */
#include "data/http/h2.h"

#include "data/http/h2_head.h"
#include "data/http/h2_send_impl.h"

/* Bytes of a header list that we send: upstreams may give us 64 KB, and fields are added. */
#define SEND_HEAD_MAX 131072u
#define BUDGET_NS     10000000000ull
/* How long frames may be on their way that were sent before our reset was seen. */
#define LENIENT_NS 30000000000ull

static_assert(offsetof(struct h2, sender) == 0, "a sender is its codec");
static_assert((int)H2_INTERNAL_ERROR == NGHTTP2_INTERNAL_ERROR, "");
static_assert((int)H2_REFUSED_STREAM == NGHTTP2_REFUSED_STREAM, "");
static_assert((int)H2_CANCEL == NGHTTP2_CANCEL, "");

int h2_is_preface(struct span bytes)
{
    struct span preface = span_of(NGHTTP2_CLIENT_MAGIC, NGHTTP2_CLIENT_MAGIC_LEN);
    static_assert(NGHTTP2_CLIENT_MAGIC_LEN == H2_PREFACE_BYTES, "");
    if (bytes.len >= preface.len)
        return span_starts_with(bytes, preface);
    return span_starts_with(preface, bytes) ? -1 : 0;
}

/* ---- bounds --------------------------------------------------------------------------------- */

/* The connection is given up; the callback fails, so that nothing more is looked at. */
static int exceed(struct h2 *h2, enum h2_excess excess)
{
    if (!h2->excess) {
        h2->excess = (uint8_t)excess;
        (void)nghttp2_session_terminate_session(h2->sender.session, NGHTTP2_ENHANCE_YOUR_CALM);
    }
    return NGHTTP2_ERR_CALLBACK_FAILURE;
}

/* One of `allowed` in ten seconds. `full` is when the whole budget is there again. */
static bool spend(const struct h2 *h2, uint64_t *full, uint32_t allowed)
{
    if (*full < h2->now_ns)
        *full = h2->now_ns;
    *full += BUDGET_NS / allowed;
    return *full - h2->now_ns <= BUDGET_NS;
}

static int glitch(struct h2 *h2)
{
    return spend(h2, &h2->glitches, h2->bounds.glitches) ? 0 : exceed(h2, H2_EXCESS_GLITCHES);
}

/* HEADERS for a stream that is closed, and not because we reset it: then they may have been on
 * their way (RFC 9113 sections 5.1 and 5.1.1). nghttp2 leaves that to us. */
static bool is_late(const struct h2 *h2, int32_t id)
{
    return id > 0 && id <= h2->last_id && h2->now_ns >= h2->lenient_until_ns &&
           !nghttp2_session_find_stream(h2->sender.session, id);
}

static int refuse_late(struct h2 *h2)
{
    (void)nghttp2_session_terminate_session(h2->sender.session, NGHTTP2_STREAM_CLOSED);
    return NGHTTP2_ERR_CALLBACK_FAILURE;
}

/* Every frame's header passes here before anything is done with the frame. */
static int on_begin_frame(nghttp2_session *session, const nghttp2_frame_hd *hd, void *user)
{
    struct h2 *h2 = user;
    switch (hd->type) {
    case NGHTTP2_HEADERS:
        h2->frames = 1;
        return is_late(h2, hd->stream_id) ? refuse_late(h2) : 0;
    case NGHTTP2_CONTINUATION:
        return ++h2->frames > h2->bounds.head_frames ? exceed(h2, H2_EXCESS_HEAD_FRAMES) : 0;
    case NGHTTP2_DATA:
        if (hd->length > 0 || (hd->flags & NGHTTP2_FLAG_END_STREAM))
            return 0;
        return spend(h2, &h2->empties, h2->bounds.empty_frames) ? 0 : exceed(h2, H2_EXCESS_EMPTY);
    case NGHTTP2_RST_STREAM:
        return spend(h2, &h2->resets, h2->bounds.resets) ? 0 : exceed(h2, H2_EXCESS_RESETS);
    case NGHTTP2_WINDOW_UPDATE:
    case NGHTTP2_GOAWAY:
        return 0;
    default: /* SETTINGS, PING, PRIORITY, and types that nobody knows */
        return spend(h2, &h2->controls, h2->bounds.control_frames) ? 0
                                                                   : exceed(h2, H2_EXCESS_CONTROL);
    }
}

/* Frames of unknown types are ignored (RFC 9113 section 5.5), once they are counted. */
static int on_extension(nghttp2_session *session, void **ret_payload, const nghttp2_frame_hd *hd,
                        void *user)
{
    return NGHTTP2_ERR_CANCEL;
}

/* ---- from the client ------------------------------------------------------------------------ */

static void forget_gathered(struct h2 *h2)
{
    if (h2->gathered)
        block_give_back(h2->blocks, h2->gathered);
    h2->gathered = NULL;
    h2->list_bytes = h2->list_fields = 0;
    h2->too_large = h2->no_block = false;
}

static int on_invalid_frame(nghttp2_session *session, const nghttp2_frame *frame, int error,
                            void *user)
{
    struct h2 *h2 = user;
    if (frame->hd.type == NGHTTP2_HEADERS) /* what nghttp2 refuses does not come to its end */
        forget_gathered(h2);
    return glitch(h2);
}

static int on_begin_headers(nghttp2_session *session, const nghttp2_frame *frame, void *user)
{
    struct h2 *h2 = user;
    int32_t id = frame->hd.stream_id;
    forget_gathered(h2);
    if (frame->headers.cat != NGHTTP2_HCAT_REQUEST)
        return 0;
    h2->last_id = id;
    bool above = h2->open >= h2->bounds.streams_max;
    void *stream = above ? NULL : h2->handler->open(h2, id);
    if (!stream) {
        (void)nghttp2_submit_rst_stream(session, NGHTTP2_FLAG_NONE, id, NGHTTP2_REFUSED_STREAM);
        return above ? glitch(h2) : 0;
    }
    (void)nghttp2_session_set_stream_user_data(session, id, stream);
    h2->open++;
    return 0;
}

static int on_header(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name,
                     size_t name_len, const uint8_t *value, size_t value_len, uint8_t flags,
                     void *user)
{
    struct h2 *h2 = user;
    h2->list_bytes += (uint32_t)(name_len + value_len + 32);
    h2->list_fields++;
    if (h2->list_bytes > h2->bounds.head_max) {
        h2->too_large = true;
        /* Fields have to be decoded to keep the compression's state, but not for ever. */
        return h2->list_bytes / 8 > h2->bounds.head_max ? exceed(h2, H2_EXCESS_HEAD_BYTES) : 0;
    }
    if (!h2->no_block && !h2_head_gather(h2->blocks, &h2->gathered, span_of(name, name_len),
                                         span_of(value, value_len)))
        h2->no_block = true;
    return 0;
}

/* A request's head is complete. */
static int head_done(struct h2 *h2, void *stream, int32_t id, bool ends)
{
    const struct http_reject *reject = NULL;
    int rv = 0;
    if (h2->no_block)
        h2_reset(h2, id, H2_REFUSED_STREAM);
    else if (h2->too_large)
        reject = rules_reject(HTTP_RULE_head_too_large);
    else
        reject = h2_head_read(h2->blocks, &h2->gathered, h2->head, !ends);
    if (reject) {
        rv = glitch(h2);
        h2->handler->reject(h2, stream, reject);
    } else if (!h2->no_block) {
        h2->handler->head(h2, stream, h2->head);
    }
    forget_gathered(h2);
    return rv;
}

/* Trailers that break a rule, or have no memory, are worth a reset, and the request did not end
 * (RFC 9113 section 8.1.1). */
static int trailers_done(struct h2 *h2, void *stream, int32_t id, bool *ret_good)
{
    bool bad = h2->no_block || h2->too_large;
    if (!bad)
        bad = h2_head_read_trailers(h2->gathered, h2->head) != NULL;
    if (bad)
        h2_reset(h2, id, H2_PROTOCOL_ERROR);
    else if (h2->list_fields > 0)
        h2->handler->trailers(h2, stream, h2->head);
    forget_gathered(h2);
    *ret_good = !bad;
    return bad ? glitch(h2) : 0;
}

static int on_frame_recv(nghttp2_session *session, const nghttp2_frame *frame, void *user)
{
    struct h2 *h2 = user;
    if (frame->hd.type != NGHTTP2_HEADERS && frame->hd.type != NGHTTP2_DATA)
        return 0;
    int32_t id = frame->hd.stream_id;
    bool ends = frame->hd.flags & NGHTTP2_FLAG_END_STREAM;
    void *stream = nghttp2_session_get_stream_user_data(session, id);
    int rv = 0;
    bool good = true;
    if (!stream) {
        forget_gathered(h2);
        return 0;
    }
    if (frame->hd.type == NGHTTP2_HEADERS)
        rv = frame->headers.cat == NGHTTP2_HCAT_REQUEST ? head_done(h2, stream, id, ends)
                                                        : trailers_done(h2, stream, id, &good);
    if (rv == 0 && good && ends)
        h2->handler->end(h2, stream);
    return rv;
}

static int on_data(nghttp2_session *session, uint8_t flags, int32_t id, const uint8_t *data,
                   size_t len, void *user)
{
    struct h2 *h2 = user;
    void *stream = nghttp2_session_get_stream_user_data(session, id);
    if (stream)
        h2->handler->data(h2, stream, span_of(data, len));
    else
        h2_drop(h2, (uint32_t)len);
    return 0;
}

static int on_stream_close(nghttp2_session *session, int32_t id, uint32_t error, void *user)
{
    struct h2 *h2 = user;
    void *stream = nghttp2_session_get_stream_user_data(session, id);
    if (!stream)
        return 0;
    h2->open--;
    h2->handler->close(h2, stream);
    return 0;
}

bool h2_receive(struct h2 *h2, struct span bytes, uint64_t now_ns)
{
    h2->now_ns = now_ns;
    ssize_t n = nghttp2_session_mem_recv(h2->sender.session, bytes.ptr, bytes.len);
    if (n >= 0)
        return true;
    /* After a failure that is not ours nghttp2 has nothing queued that would say so. */
    if (!h2->excess)
        (void)nghttp2_session_terminate_session(
            h2->sender.session,
            n == NGHTTP2_ERR_BAD_CLIENT_MAGIC ? NGHTTP2_PROTOCOL_ERROR : NGHTTP2_ENHANCE_YOUR_CALM);
    if (!h2->excess && n == NGHTTP2_ERR_FLOODED) /* a bound of its own: answers that wait */
        h2->excess = H2_EXCESS_CONTROL;
    return false;
}

/* ---- to the client -------------------------------------------------------------------------- */

static int on_frame_send(nghttp2_session *session, const nghttp2_frame *frame, void *user)
{
    struct h2 *h2 = user;
    if (frame->hd.type == NGHTTP2_RST_STREAM)
        h2->lenient_until_ns = h2->now_ns + LENIENT_NS;
    bool message = frame->hd.type == NGHTTP2_HEADERS || frame->hd.type == NGHTTP2_DATA;
    if (!message || !(frame->hd.flags & NGHTTP2_FLAG_END_STREAM))
        return 0;
    void *stream = nghttp2_session_get_stream_user_data(session, frame->hd.stream_id);
    if (stream)
        h2->handler->sent(h2, stream);
    return 0;
}

/* A head or trailer section that cannot be sent: without it the stream would never end. */
static int on_frame_not_send(nghttp2_session *session, const nghttp2_frame *frame, int error,
                             void *user)
{
    if (frame->hd.type == NGHTTP2_HEADERS)
        h2_reset(user, frame->hd.stream_id, H2_INTERNAL_ERROR);
    return 0;
}

/* Streams above SETTINGS_MAX_CONCURRENT_STREAMS are to be refused one by one (RFC 9113 section
 * 5.1.2); nghttp2 would end the connection. So it is told of more than the client is, in the frame
 * that it begins with: of as many as there may be faults before the connection ends for those. */
static bool greet(struct h2 *h2, struct sink *out)
{
    const uint8_t *made;
    uint8_t frame[64];
    ssize_t n = nghttp2_session_mem_send(h2->sender.session, &made);
    if (n <= 9 || n > (ssize_t)sizeof frame || made[3] != NGHTTP2_SETTINGS)
        return false;
    memcpy(frame, made, (size_t)n);
    for (ssize_t at = 9; at + 6 <= n; at += 6)
        if (frame[at + 1] == NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS)
            for (int i = 0; i < 4; i++)
                frame[at + 2 + i] = (uint8_t)(h2->bounds.streams_max >> (24 - 8 * i));
    sink_copy(out, span_of(frame, (size_t)n));
    h2->greeted = true;
    return !out->failed;
}

bool h2_send(struct h2 *h2, struct sink *out)
{
    if (!h2->greeted && sink_room(out, 1) == 0)
        return true;
    return (h2->greeted || greet(h2, out)) && h2_send_all(&h2->sender, out);
}

bool h2_wants_send(const struct h2 *h2)
{
    return nghttp2_session_want_write(h2->sender.session);
}

bool h2_is_over(const struct h2 *h2)
{
    return !nghttp2_session_want_read(h2->sender.session) &&
           !nghttp2_session_want_write(h2->sender.session);
}

struct result h2_respond(struct h2 *h2, int32_t id, const struct http_head *head, void *stream,
                         bool more)
{
    nghttp2_nv nv[HTTP_FIELDS_MAX + HTTP_FIELDS_OWN + 2];
    char status[4], length[24];
    size_t n = 0;
    must(head->status >= 100 && head->status <= 999);
    for (int i = 2, s = head->status; i >= 0; i--, s /= 10)
        status[i] = (char)('0' + s % 10);
    nv[n++] = h2_send_nv(SPAN_LITERAL(":status"), span_of(status, 3));
    for (uint32_t i = 0; i < head->field_count; i++)
        if (!head->fields[i].drop)
            nv[n++] = h2_send_nv(head->fields[i].name, head->fields[i].value);
    if (head->body == HTTP_BODY_LENGTH)
        nv[n++] =
            h2_send_nv(SPAN_LITERAL("content-length"), h2_decimal(head->content_length, length));
    nghttp2_data_provider from = h2_send_provider(stream);
    int rv;
    if (head->status < 200)
        rv = nghttp2_submit_headers(h2->sender.session, NGHTTP2_FLAG_NONE, id, NULL, nv, n, NULL);
    else
        rv = nghttp2_submit_response(h2->sender.session, id, nv, n, more ? &from : NULL);
    return rv == 0 ? result_ok() : result_fail(ERR_NO_MEMORY);
}

void h2_resume(struct h2 *h2, int32_t id)
{
    h2_send_resume(&h2->sender, id);
}

void h2_took(struct h2 *h2, int32_t id, uint32_t bytes)
{
    (void)nghttp2_session_consume(h2->sender.session, id, bytes);
}

void h2_drop(struct h2 *h2, uint32_t bytes)
{
    (void)nghttp2_session_consume_connection(h2->sender.session, bytes);
}

void h2_reset(struct h2 *h2, int32_t id, enum h2_error error)
{
    (void)nghttp2_submit_rst_stream(h2->sender.session, NGHTTP2_FLAG_NONE, id, (uint32_t)error);
}

void h2_announce_end(struct h2 *h2)
{
    (void)nghttp2_submit_shutdown_notice(h2->sender.session);
}

void h2_end(struct h2 *h2)
{
    (void)nghttp2_submit_goaway(h2->sender.session, NGHTTP2_FLAG_NONE,
                                nghttp2_session_get_last_proc_stream_id(h2->sender.session),
                                NGHTTP2_NO_ERROR, NULL, 0);
}

void h2_terminate(struct h2 *h2)
{
    (void)nghttp2_session_terminate_session(h2->sender.session, NGHTTP2_NO_ERROR);
}

/* ---- birth and end -------------------------------------------------------------------------- */

static nghttp2_session_callbacks *callbacks_new(void)
{
    nghttp2_session_callbacks *c;
    if (nghttp2_session_callbacks_new(&c))
        return NULL;
    nghttp2_session_callbacks_set_on_begin_frame_callback(c, on_begin_frame);
    nghttp2_session_callbacks_set_unpack_extension_callback(c, on_extension);
    nghttp2_session_callbacks_set_on_invalid_frame_recv_callback(c, on_invalid_frame);
    nghttp2_session_callbacks_set_on_begin_headers_callback(c, on_begin_headers);
    nghttp2_session_callbacks_set_on_header_callback(c, on_header);
    nghttp2_session_callbacks_set_on_frame_recv_callback(c, on_frame_recv);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(c, on_data);
    nghttp2_session_callbacks_set_on_stream_close_callback(c, on_stream_close);
    h2_send_callbacks(c);
    nghttp2_session_callbacks_set_on_frame_send_callback(c, on_frame_send);
    nghttp2_session_callbacks_set_on_frame_not_send_callback(c, on_frame_not_send);
    return c;
}

static int begin(struct h2 *h2)
{
    const struct h2_bounds *b = &h2->bounds;
    nghttp2_settings_entry settings[] = {
        {NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, b->streams_max + b->glitches + 1},
        {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, b->stream_window},
        {NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, b->head_max},
        {NGHTTP2_SETTINGS_ENABLE_CONNECT_PROTOCOL, 1},
    };
    int rv = nghttp2_submit_settings(h2->sender.session, NGHTTP2_FLAG_NONE, settings,
                                     sizeof settings / sizeof *settings);
    if (rv == 0)
        rv = nghttp2_session_set_local_window_size(h2->sender.session, NGHTTP2_FLAG_NONE, 0,
                                                   (int32_t)b->conn_window);
    return rv;
}

struct result h2_init(struct h2 *h2, const struct h2_handler *handler,
                      const struct h2_bounds *bounds, struct blocks *blocks, struct http_head *head)
{
    *h2 = (struct h2){.sender.payload = &handler->payload,
                      .handler = handler,
                      .bounds = *bounds,
                      .blocks = blocks,
                      .head = head};
    nghttp2_session_callbacks *callbacks = callbacks_new();
    nghttp2_option *option = NULL;
    int rv = callbacks && nghttp2_option_new(&option) == 0 ? 0 : NGHTTP2_ERR_NOMEM;
    if (rv == 0) {
        nghttp2_option_set_no_auto_window_update(option, 1);
        nghttp2_option_set_no_closed_streams(option, 1);
        for (unsigned type = NGHTTP2_CONTINUATION + 1; type <= UINT8_MAX; type++)
            nghttp2_option_set_user_recv_extension_type(option, (uint8_t)type);
        nghttp2_option_set_max_send_header_block_length(option, SEND_HEAD_MAX);
        rv = nghttp2_session_server_new2(&h2->sender.session, callbacks, h2, option);
    }
    nghttp2_option_del(option);
    nghttp2_session_callbacks_del(callbacks);
    if (rv == 0)
        rv = begin(h2);
    if (rv == 0)
        return result_ok();
    h2_fini(h2);
    return result_fail(ERR_NO_MEMORY);
}

void h2_fini(struct h2 *h2)
{
    forget_gathered(h2);
    nghttp2_session_del(h2->sender.session);
    h2->sender.session = NULL;
}

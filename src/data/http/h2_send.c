/* SPDX-License-Identifier: Apache-2.0 */
#include "data/http/h2_send.h"

#include "data/http/h2_send_impl.h"
#include "data/http/message.h"

#define TRAILERS_MAX (HTTP_FIELDS_MAX + HTTP_FIELDS_OWN)

bool h2_send_line(struct span *lines, struct span *ret_name, struct span *ret_value)
{
    size_t end = span_find(*lines, '\r');
    struct span line = span_first(*lines, end);
    size_t colon = span_find(line, ':');
    if (lines->len == 0 || colon == line.len)
        return false;
    *ret_name = span_first(line, colon);
    *ret_value = span_skip(line, colon + 2);
    *lines = span_skip(*lines, end + 2);
    return true;
}

static ssize_t on_send(nghttp2_session *session, const uint8_t *data, size_t len, int flags,
                       void *user)
{
    struct h2_sender *s = user;
    if (sink_room(s->out, 1) == 0)
        return NGHTTP2_ERR_WOULDBLOCK;
    sink_copy(s->out, span_of(data, len));
    return s->out->failed ? NGHTTP2_ERR_CALLBACK_FAILURE : (ssize_t)len;
}

static int submit_trailers(struct h2_sender *s, int32_t id, struct span lines)
{
    nghttp2_nv nv[TRAILERS_MAX];
    size_t n = 0;
    struct span name, value;
    while (n < TRAILERS_MAX && h2_send_line(&lines, &name, &value))
        nv[n++] = h2_send_nv(name, value);
    return nghttp2_submit_trailer(s->session, id, nv, n);
}

static ssize_t on_read(nghttp2_session *session, int32_t id, uint8_t *buf, size_t len,
                       uint32_t *flags, nghttp2_data_source *source, void *user)
{
    struct h2_sender *s = user;
    bool last = false;
    if (!nghttp2_session_get_stream_user_data(session, id)) /* RST_STREAM is on its way */
        return NGHTTP2_ERR_DEFERRED;
    uint32_t n = s->payload->waiting(s, source->ptr, &last);
    if (n == 0 && !last)
        return NGHTTP2_ERR_DEFERRED;
    *flags |= NGHTTP2_DATA_FLAG_NO_COPY;
    if (n > len)
        return (ssize_t)len;
    if (!last)
        return (ssize_t)n;
    *flags |= NGHTTP2_DATA_FLAG_EOF;
    struct span lines = s->payload->lines(s, source->ptr);
    if (lines.len) {
        *flags |= NGHTTP2_DATA_FLAG_NO_END_STREAM;
        if (submit_trailers(s, id, lines))
            return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
    }
    return (ssize_t)n;
}

/* The frame that on_read() promised; nothing is padded. */
static int on_send_data(nghttp2_session *session, nghttp2_frame *frame, const uint8_t *head,
                        size_t len, nghttp2_data_source *source, void *user)
{
    struct h2_sender *s = user;
    if (!nghttp2_session_get_stream_user_data(session, frame->hd.stream_id))
        return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
    if (sink_room(s->out, 1) == 0)
        return NGHTTP2_ERR_WOULDBLOCK;
    struct writer to = sink_writer(s->out, (uint32_t)(9 + len));
    if (to.bad)
        return NGHTTP2_ERR_CALLBACK_FAILURE;
    writer_bytes(&to, head, 9);
    s->payload->move(s, source->ptr, (uint32_t)len, &to);
    sink_commit(s->out, &to);
    return s->out->failed ? NGHTTP2_ERR_CALLBACK_FAILURE : 0;
}

void h2_send_callbacks(nghttp2_session_callbacks *c)
{
    nghttp2_session_callbacks_set_send_callback(c, on_send);
    nghttp2_session_callbacks_set_send_data_callback(c, on_send_data);
}

nghttp2_data_provider h2_send_provider(void *stream)
{
    return (nghttp2_data_provider){.source.ptr = stream, .read_callback = on_read};
}

bool h2_send_all(struct h2_sender *s, struct sink *out)
{
    s->out = out;
    int rv = nghttp2_session_send(s->session);
    s->out = NULL;
    return rv == 0;
}

void h2_send_resume(struct h2_sender *s, int32_t id)
{
    (void)nghttp2_session_resume_data(s->session, id); /* not deferred: nothing to do */
}

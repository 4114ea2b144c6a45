/* SPDX-License-Identifier: Apache-2.0 */
/* data/http/h2_send.h - the sending half of an HTTP/2 connection, the same for server and client:
 * frames go into a sink, payload is asked for when the peer's windows let it go.
 * Thread: the worker's.   Owns: nothing; the codec that it begins does.
 * Never: receives, copies payload more than once. */
#pragma once

#include "data/sink.h"

struct h2_sender;

/* Whom a codec asks for payload; `stream` is what the request or response was queued with. */
struct h2_payload {
    /* Payload that waits to be sent, and whether nothing will come behind it. */
    uint32_t (*waiting)(struct h2_sender *s, void *stream, bool *ret_last);
    /* Moves n bytes of it, at most what waiting() said, into `to`. */
    void (*move)(struct h2_sender *s, void *stream, uint32_t n, struct writer *to);
    /* Field lines that end the message behind the payload; an empty span: none. */
    struct span (*lines)(struct h2_sender *s, void *stream);
};

/* Stands first in a codec. */
struct h2_sender {
    struct nghttp2_session *session; /* its user is the codec; a stream without user is forgotten */
    const struct h2_payload *payload;
    struct sink *out; /* during h2_send_all() */
};

/* Puts into `out` what there is to send, as far as `out` takes it. False: a failure; close. */
bool h2_send_all(struct h2_sender *s, struct sink *out);
/* There is payload again, or the end, for a stream that had none. */
void h2_send_resume(struct h2_sender *s, int32_t id);
/* Takes the next "Name: value" line out of `lines`. False at the end. */
bool h2_send_line(struct span *lines, struct span *ret_name, struct span *ret_value);

/* SPDX-License-Identifier: Apache-2.0 */
/* data/http/h2_send_impl.h - what the two codecs of HTTP/2 need of their common half.
 * Thread: the worker's.   Owns: nothing.
 * Never: is included by anybody else: nghttp2's types stay with the codecs. */
#pragma once

#include "data/http/h2_send.h"

#include <nghttp2/nghttp2.h>

/* For a new session whose user begins with a h2_sender. */
void h2_send_callbacks(nghttp2_session_callbacks *c);
/* Payload, and what follows it, from the sender's `payload`. */
nghttp2_data_provider h2_send_provider(void *stream);

/* nghttp2 copies it, with the name in lower case. */
static inline nghttp2_nv h2_send_nv(struct span name, struct span value)
{
    return (nghttp2_nv){(uint8_t *)(uintptr_t)name.ptr, (uint8_t *)(uintptr_t)value.ptr, name.len,
                        value.len, NGHTTP2_NV_FLAG_NONE};
}

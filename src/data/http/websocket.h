/* SPDX-License-Identifier: Apache-2.0 */
/* data/http/websocket.h - the two fields by which an HTTP/1.1 server shows that it means WebSocket
 * (RFC 6455 section 4). HTTP/2 has none of them (RFC 8441 section 5): where one side speaks that,
 * they are made and checked here.
 * Thread: any.   Owns: nothing.   Never: looks at WebSocket's own frames. */
#pragma once

#include "base/result.h"
#include "data/http/message.h"

#define WEBSOCKET_KEY_LEN    24u
#define WEBSOCKET_ACCEPT_LEN 28u

/* Whether the name of a protocol is WebSocket's. */
static inline bool websocket_is(struct span protocol)
{
    return span_eq_nocase(protocol, SPAN_LITERAL("websocket"));
}

/* A new value for Sec-WebSocket-Key. ERR_SYSTEM: no random bytes. */
struct result websocket_key(char ret[WEBSOCKET_KEY_LEN]);
/* The value of Sec-WebSocket-Accept that answers a key (RFC 6455 section 4.2.2). False: nobody
 * would send such a key. */
bool websocket_accept(struct span key, char ret[WEBSOCKET_ACCEPT_LEN]);

/* Value of the first Sec-WebSocket-Key, or -Accept, that would be passed on; empty: there is none.
 */
struct span websocket_key_of(const struct http_head *head);
struct span websocket_accept_of(const struct http_head *head);
/* Keeps them from being passed on. */
void websocket_drop_key(struct http_head *head);
void websocket_drop_accept(struct http_head *head);

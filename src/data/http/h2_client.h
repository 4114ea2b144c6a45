/* SPDX-License-Identifier: Apache-2.0 */
/* data/http/h2_client.h - the client's side of one HTTP/2 connection, from messages to bytes and
 * back (RFC 9113).
 * Thread: the worker's.   Owns: the nghttp2 session, the block that a header section is gathered
 * in. Never: does I/O, gives a stream credit for payload that nobody has taken, accepts pushed
 * responses. */
#pragma once

#include "data/block.h"
#include "data/http/h2_send.h"
#include "data/http/message.h"

/* Bytes of a response's header section, as lines. */
#define H2_CLIENT_HEAD_MAX 65536u

struct h2_client;

/* Whom the codec tells; `stream` is what h2_client_request() got. Handlers may call the functions
 * below but receive, send and fini. */
struct h2_client_handler {
    /* The server's SETTINGS came, the first time or once more. */
    void (*settings)(struct h2_client *c);
    /* A head, interim or final, as lines "name: value"; the block is the handler's from here on,
     * NULL: no fields.
     *   ends   nothing follows it */
    void (*head)(struct h2_client *c, void *stream, uint16_t status, struct block *lines,
                 bool ends);
    /* Payload; h2_client_credit() is due for it soon, h2_client_took() when it was passed on. */
    void (*data)(struct h2_client *c, void *stream, struct span bytes);
    /* Trailers, as lines; the block is the handler's. */
    void (*trailers)(struct h2_client *c, void *stream, struct block *lines);
    /* The response is complete. */
    void (*end)(struct h2_client *c, void *stream);
    /* The stream is closed, whoever did it; it is not mentioned again.
     *   refused   the server says that it has done nothing with the request (RFC 9113 section 8.7)
     */
    void (*close)(struct h2_client *c, void *stream, bool refused);
    struct h2_payload payload;
};

struct h2_client {
    struct h2_sender sender; /* first */
    const struct h2_client_handler *handler;
    struct blocks *blocks;
    struct block *gathered; /* header section in the making */
    uint16_t status;        /* of it; 0 = trailers */
    bool lost;              /* its status is none, it is too large, or there was no memory */
    bool going_away;        /* the server takes no further requests */
    bool settled;           /* its SETTINGS have come */
};

/* A new connection: preface and SETTINGS are queued. ERR_NO_MEMORY. */
struct result h2_client_init(struct h2_client *c, const struct h2_client_handler *handler,
                             struct blocks *blocks);
/* Forgets everything; no handler is called. */
void h2_client_fini(struct h2_client *c);

/* Takes all bytes. False: the connection is broken; what h2_client_send() still has tells why. */
bool h2_client_receive(struct h2_client *c, struct span bytes);
/* Puts into `out` what there is to send, as far as `out` takes it. False: a failure; close. */
bool h2_client_send(struct h2_client *c, struct sink *out);
/* Nothing is to be received or sent any more. */
bool h2_client_is_over(const struct h2_client *c);
/* How many requests the server allows at a time, 0 when it takes no further ones. */
uint32_t h2_client_allowed(const struct h2_client *c);

/* The server takes WebSockets on streams (RFC 8441 section 3). */
bool h2_client_takes_connect(const struct h2_client *c);

struct h2_client_ask {
    struct span head; /* as h1_write_request() made it */
    bool https;       /* the scheme */
    bool connect;     /* an upgrade to WebSocket, which is asked for by CONNECT */
    bool more;        /* payload or trailers follow */
};

/* Queues a request. Returns the stream's id, or -1: no memory, or no id is left. */
int32_t h2_client_request(struct h2_client *c, const struct h2_client_ask *ask, void *stream);
/* There is payload again, or the end, for a stream that had none. */
void h2_client_resume(struct h2_client *c, int32_t id);
/* Lets the server send as much more on this stream; on one that is closed it does nothing. */
void h2_client_took(struct h2_client *c, int32_t id, uint32_t bytes);
/* The same for the connection: until then all its streams have so much less. */
void h2_client_credit(struct h2_client *c, uint32_t bytes);
/* RST_STREAM with CANCEL; nothing of the stream is mentioned any more. */
void h2_client_cancel(struct h2_client *c, int32_t id);
/* Nothing of the stream is mentioned any more; it is at its end. */
void h2_client_forget(struct h2_client *c, int32_t id);
/* PING; its answer is bytes like any others. */
void h2_client_ping(struct h2_client *c);

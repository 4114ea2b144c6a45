/* SPDX-License-Identifier: Apache-2.0 */
/* data/relay.h - moves one message body from a codec to the peer on the other side, framed anew.
 * Thread: the worker's.   Owns: the position inside the input's first block, finished trailers.
 * Never: copies a large body on its way between plain connections: the received buffer itself is
 * sent; holds more than one block back. */
#pragma once

#include "data/http/h1.h"
#include "data/sink.h"

/* A body of which more than this is to come is received into large buffers. */
#define RELAY_LARGE_REST 32768u
/* A body of unknown length counts as large from here on. */
#define RELAY_LARGE_SO_FAR 16384u

enum relay_state {
    RELAY_MORE = 0, /* the input is used up */
    RELAY_FULL,     /* the sink takes no more at present */
    RELAY_END,      /* the message is complete and passed on */
    RELAY_BAD,      /* the sender broke the protocol */
    RELAY_FAILED,   /* the sink failed */
};

/* Received payload of a message whose codec takes it out of frames by itself (HTTP/2). */
struct body {
    struct block_queue queue;
    struct block *trailers; /* field lines, or NULL */
    bool ended;             /* nothing more comes behind the queue, and that is the proper end */
};

/* Where a message body comes from within one turn. */
struct source {
    struct h1 *h1; /* decodes `in`; NULL: it holds payload alone */
    struct block_queue *in;
    struct body *body; /* without h1: what `in` is the queue of */
};

struct relay {
    uint8_t framing;        /* enum http_body towards the receiver */
    bool crlf_due;          /* the CRLF behind the latest chunk is still to come */
    bool ended, bad;        /* what the codec said behind the pending bytes */
    bool full;              /* relay_pump() said RELAY_FULL the last time: the source must rest */
    bool shunted;           /* the rest passes by shunt_body(), which wants WIRE_WANT_POLL */
    uint8_t meagre;         /* what shunt_body() moved lately was little so often */
    uint32_t pending;       /* decoded bytes at the front of the first block */
    uint32_t gap;           /* bytes behind them that the codec has used */
    struct block *trailers; /* field lines (see h1_write_fields()), or NULL */
    uint64_t bytes;         /* payload passed on */
};

void relay_init(struct relay *r, enum http_body framing);
/* Gives back what it holds. The input's first block is left as it is. */
void relay_fini(struct relay *r, struct blocks *blocks);
/* Trailer fields as lines, in a block that is the caller's. NULL: there are none, or no block holds
 * them: they may be dropped (RFC 9110 section 6.5.1). */
struct block *relay_keep_fields(struct blocks *blocks, const struct http_head *fields);
/* Goes on until one of the states above is reached. */
enum relay_state relay_pump(struct relay *r, const struct source *from, struct sink *to);
/* The sender closed: true when that ends the message well; relay_pump() then gives RELAY_END. */
bool relay_eof(struct relay *r, const struct source *from);
/* With HTTP_BODY_FRAMES, behind RELAY_END: gives the trailers to the caller; NULL: none. */
struct block *relay_trailers(struct relay *r);
/* Much of the body of `bytes` is still to come; of an unknown length (UINT64_MAX): much has come.
 */
static inline bool relay_is_large(const struct relay *r, uint64_t bytes)
{
    return bytes == UINT64_MAX ? r->bytes > RELAY_LARGE_SO_FAR
                               : bytes - r->bytes > RELAY_LARGE_REST;
}

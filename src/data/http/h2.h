/* SPDX-License-Identifier: Apache-2.0 */
/* data/http/h2.h - the server's side of one HTTP/2 connection, from bytes to messages and back
 * (RFC 9113).
 * Thread: the worker's.   Owns: the nghttp2 session, the block that a header section is gathered
 * in. Never: does I/O, routes, gives credit for payload that nobody has taken, lets a peer make it
 * keep more than a bound. What has no bound in the protocol (control frames, resets, empty frames)
 * has a budget of so many per ten seconds; whoever exceeds it gets GOAWAY with ENHANCE_YOUR_CALM.
 */
#pragma once

#include "data/block.h"
#include "data/http/h2_send.h"
#include "data/http/rules.h"

#define H2_PREFACE_BYTES 24u

/* Bounds of one connection. */
struct h2_bounds {
    uint32_t streams_max;    /* requests at a time */
    uint32_t stream_window;  /* bytes of body that one request may have waiting, 65,535.. */
    uint32_t conn_window;    /* ... all together, 65,535.. */
    uint32_t head_max;       /* bytes of a header list, as RFC 9113 section 10.5.1 counts */
    uint32_t head_frames;    /* frames of one header section */
    uint32_t resets;         /* streams that the client resets, in ten seconds */
    uint32_t control_frames; /* SETTINGS, PING, PRIORITY and unknown ones, in ten seconds */
    uint32_t empty_frames;   /* DATA without payload, in ten seconds */
    uint32_t glitches;       /* broken requests and other faults, in ten seconds */
};

/* Which bound was exceeded. */
enum h2_excess {
    H2_EXCESS_NONE = 0,
    H2_EXCESS_RESETS,
    H2_EXCESS_CONTROL,
    H2_EXCESS_EMPTY,
    H2_EXCESS_GLITCHES,
    H2_EXCESS_HEAD_FRAMES,
    H2_EXCESS_HEAD_BYTES,
    H2_EXCESSES,
};

struct h2;

/* Whom the codec tells. `stream` is what open() gave. Handlers may call the functions below but
 * h2_receive(), h2_send() and h2_fini(). */
struct h2_handler {
    /* A request begins. NULL: it is refused (REFUSED_STREAM), as one above the bound is. */
    void *(*open)(struct h2 *h2, int32_t id);
    /* Its head was read and judged; only valid during the call. */
    void (*head)(struct h2 *h2, void *stream, struct http_head *head);
    /* Its head breaks a rule. */
    void (*reject)(struct h2 *h2, void *stream, const struct http_reject *reject);
    /* Payload; h2_took() gives credit for it. */
    void (*data)(struct h2 *h2, void *stream, struct span bytes);
    void (*trailers)(struct h2 *h2, void *stream, struct http_head *fields);
    /* The request is complete. */
    void (*end)(struct h2 *h2, void *stream);
    /* The response is sent to its end. */
    void (*sent)(struct h2 *h2, void *stream);
    /* The stream is closed, whoever did it; it is not mentioned again. */
    void (*close)(struct h2 *h2, void *stream);
    struct h2_payload payload;
};

struct h2 {
    struct h2_sender sender; /* first */
    const struct h2_handler *handler;
    struct blocks *blocks;
    struct http_head *head; /* shared by all codecs of a worker */
    struct h2_bounds bounds;
    uint64_t now_ns;                              /* of this step */
    uint64_t resets, controls, empties, glitches; /* budgets: when each is full again */
    uint64_t lenient_until_ns;        /* what comes late for a stream that we reset is ignored */
    int32_t last_id;                  /* of the latest stream that the client opened */
    uint32_t open;                    /* streams of the handler's */
    bool greeted;                     /* our SETTINGS are out */
    struct block *gathered;           /* header section in the making */
    uint32_t list_bytes, list_fields; /* of it */
    uint16_t frames;                  /* of it */
    bool too_large;                   /* it is */
    bool no_block;                    /* there was no memory for it */
    uint8_t excess;                   /* enum h2_excess, once */
};

/* Whether bytes begin an HTTP/2 connection (RFC 9113 section 3.4): 1 they do, 0 they do not, -1
 * more of them would tell. */
int h2_is_preface(struct span bytes);

/* A new connection: SETTINGS are queued. `head`: storage for one parsed head, shared by all codecs
 * of a worker. ERR_NO_MEMORY. */
struct result h2_init(struct h2 *h2, const struct h2_handler *handler,
                      const struct h2_bounds *bounds, struct blocks *blocks,
                      struct http_head *head);
/* Forgets everything; no handler is called. */
void h2_fini(struct h2 *h2);

/* Takes all bytes. False: the connection is at its end, after what h2_send() still has. */
bool h2_receive(struct h2 *h2, struct span bytes, uint64_t now_ns);
/* Puts into `out` what there is to send, as far as `out` takes it. False: a failure; close. */
bool h2_send(struct h2 *h2, struct sink *out);
/* Something is to be sent, though the peer's windows may forbid it. */
bool h2_wants_send(const struct h2 *h2);
/* Nothing is to be received or sent any more. */
bool h2_is_over(const struct h2 *h2);

/* Queues a response head.
 *   stream   with `more`: where the payload comes from
 *   more     payload or trailers follow; else the head ends the response
 * ERR_NO_MEMORY. An interim head (100 to 199) ends nothing. */
struct result h2_respond(struct h2 *h2, int32_t id, const struct http_head *head, void *stream,
                         bool more);
/* There is payload again, or the end, for a stream that had none. */
void h2_resume(struct h2 *h2, int32_t id);
/* Gives credit for payload of a stream that lives; for that of one that does not, or is not
 * wanted any more, h2_drop(). */
void h2_took(struct h2 *h2, int32_t id, uint32_t bytes);
void h2_drop(struct h2 *h2, uint32_t bytes);
/* RST_STREAM. */
enum h2_error {
    H2_NO_ERROR = 0,
    H2_PROTOCOL_ERROR = 1,
    H2_INTERNAL_ERROR = 2,
    H2_REFUSED_STREAM = 7,
    H2_CANCEL = 8,
};
void h2_reset(struct h2 *h2, int32_t id, enum h2_error error);
/* Announces that no further streams will be taken, and later takes none (RFC 9113 section 6.8). */
void h2_announce_end(struct h2 *h2);
void h2_end(struct h2 *h2);
/* Ends at once: GOAWAY, then h2_is_over(). */
void h2_terminate(struct h2 *h2);

/* SPDX-License-Identifier: Apache-2.0 */
/* data/tunnel.h - a stream that became a tunnel: bytes both ways between a client and its upstream
 * after both have agreed on another protocol (RFC 9110 section 7.8).
 * Thread: the worker's.   Owns: how far each direction is, the time limit; its exchange has stream
 * and lease.
 * Never: looks at the bytes, holds a snapshot, touches a socket: it works on whatever stream and
 * lease are. */
#pragma once

#include "data/http/websocket.h"
#include "data/relay.h"
#include "data/stream.h"
#include "data/upstream/lease.h"

/* Bytes of the name of a protocol. */
#define TUNNEL_PROTOCOL_MAX 31u

struct tunnel {
    uint8_t protocol_len; /* 0: none was asked for */
    char protocol[TUNNEL_PROTOCOL_MAX];
    bool connect;    /* the client asked for it by CONNECT: nothing else is of use to it */
    bool has_accept; /* a WebSocket, with a key: */
    char accept[WEBSOCKET_ACCEPT_LEN]; /* its answer */
    bool up_large, down_large;         /* much came the last time: receive into large buffers */
    bool up_over, down_over;           /* that side has ended, and all of it is passed on */
    bool up_shut, down_shut;           /* and the other side was told */
    bool got_on;                       /* something passed in this turn */
    uint32_t idle_ms;                  /* 0: no limit */
    uint32_t end_ms; /* for one side from when it was told of the other's end; 0: as long as
                        something passes now and then */
    struct relay up, down;
};

enum tunnel_state {
    TUNNEL_GOES_ON = 0,
    TUNNEL_OVER,   /* both sides have ended well */
    TUNNEL_BROKEN, /* the upstream broke, or a pool is empty */
    TUNNEL_GONE,   /* the client's connection is closing, the exchange was cancelled */
};

/* Whether a request asks for a tunnel: remembers that, and lets the fields pass that say so. Those
 * that its client's protocol does not have are made.
 *   text      memory for their values
 *   idle_ms   how long nothing may pass, 0: no limit
 * ERR_SYSTEM: there are no random bytes. */
struct result tunnel_ask(struct tunnel *t, struct http_head *head, struct writer *text,
                         uint32_t idle_ms);
/* Whether an upstream's 101 may be passed on: it switches to what was asked for, and has
 * understood it. (A client of HTTP/1 judges Sec-WebSocket-Accept itself.) */
bool tunnel_agrees(const struct tunnel *t, const struct http_head *answer);
/* Both sides have switched: the limits of a request end, those of a tunnel begin. Bytes that came
 * with the heads or before them stand in stream and lease and are passed on first. */
void tunnel_begin(struct worker *w, struct tunnel *t, struct stream *s, struct lease *l);
/* One turn; settles both sides unless it is over. */
enum tunnel_state tunnel_turn(struct worker *w, struct tunnel *t, struct stream *s,
                              struct lease *l);

/* SPDX-License-Identifier: Apache-2.0 */
/* data/shunt.h - lets the kernel move the pages of large bodies from one plain socket to another,
 * through a pipe, so that no byte of them is copied here.
 * Thread: the worker's.   Owns: the pipes; the one with bytes in it is with the wire that they are
 * sent on.
 * Never: keeps an empty pipe with a wire, uses a pipe again that was not emptied, takes more from a
 * socket than belongs to the body, waits: what cannot be moved now is told by polls of the ring. */
#pragma once

#include "data/wire.h"

struct relay;
struct source;

/* Bytes of a body of which at least so many are to come are shunted: from there on it pays. */
#define SHUNT_MIN 131072u
/* What one pipe holds, where the kernel allows that. */
#define SHUNT_PIPE_BYTES 262144u
/* A pipe below that (a user with too many pages in pipes gets such) is not worth it. */
#define SHUNT_PIPE_LEAST 65536u
/* Pipes of one worker; as many slow receivers may keep one each. Two descriptors each. */
#define SHUNT_PIPES 32u

struct pipe {
    struct pipe *next; /* free ones */
    int fds[2];        /* as of ring_pipe_open() */
    uint32_t cap;      /* bytes that it takes */
    uint32_t bytes;    /* that are in it */
};

struct shunt {
    struct pipe pipes[SHUNT_PIPES];
    struct pipe *free;      /* open and empty; last given back first */
    struct pipe *closed;    /* places without a pipe */
    uint64_t rest_until_ns; /* no more can be opened before */
};

/* Room for `count` (<= SHUNT_PIPES) pipes, none of them open yet; 0: nothing is ever shunted. */
void shunt_init(struct worker *w, uint32_t count);
/* No wire may have a pipe any more. */
void shunt_fini(struct worker *w);

/* Behind relay_pump() that gave RELAY_MORE: when the rest of a body is long, and neither side is
 * encrypted or framed, moves what can be moved now, and sets r->shunted while this is the way for
 * what follows. The codec knows what passed; what went wrong stands in the wires.
 *   in, out   NULL: that side is not a socket of the message's own, without TLS
 * True: something passed, which may have been the last. */
bool shunt_body(struct worker *w, struct relay *r, const struct source *from, struct wire *in,
                struct wire *out);
/* The same for one direction of a tunnel, of which `*large` says that much comes at once. It is
 * cleared when that is no longer so. True: something got on, be it that the receiver took some of
 * what it was given before. */
bool shunt_tunnel(struct worker *w, struct relay *r, bool *large, struct wire *in,
                  struct wire *out);
/* What a shunted side has sent waits for the other: it is not the one to be waited for. */
static inline bool shunt_waits(const struct wire *in)
{
    return in->readable;
}

/* There is room for more of what was left in a pipe. NULL is fine. */
static inline bool shunt_takes_rest(const struct wire *out)
{
    return out && out->pipe && out->writable;
}

/* For wire.c: sends what wire->pipe holds. True: it has none any more, or the wire failed; false:
 * the socket takes no more at present. */
bool shunt_send(struct worker *w, struct wire *wire);
/* Closes the pipe of a wire with what it holds. */
void shunt_drop(struct worker *w, struct wire *wire);

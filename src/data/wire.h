/* SPDX-License-Identifier: Apache-2.0 */
/* data/wire.h - one TCP socket as its worker drives it: what is armed in the kernel, what was
 * received and not yet used, what is to be sent.
 * Thread: the worker's.   Owns: the socket, the blocks in its two queues.
 * Never: interprets a byte, decides when to close, frees anything that the kernel still has:
 * `inflight` counts requests without their last completion, and the socket is closed only when it
 * is 0. */
#pragma once

#include "data/block.h"

#include "base/list.h"

struct worker;
struct pipe;

/* What the owner wants to receive. */
enum wire_want {
    WIRE_WANT_NOTHING = 0,
    WIRE_WANT_SMALL = 1, /* heads: multishot into small buffers */
    WIRE_WANT_LARGE = 2, /* bodies: one-shot into large buffers */
    WIRE_WANT_POLL = 3,  /* nothing: to be told when there is something (shunt.h) */
};

/* Bytes and blocks that may wait for sending before the source is paused; one piece more fits. The
 * pools are so large that every connection may have as many. */
#define WIRE_SEND_HIGH   65536u
#define WIRE_SEND_BLOCKS 6u
/* Received bytes that may wait before receiving is paused. */
#define WIRE_RECV_HIGH 32768u
#define WIRE_PIECES    8

struct wire {
    int fd;             /* -1 when closed */
    struct op_id id;    /* .op is filled in for each request */
    struct list ready;  /* in worker.ready while there is something to look at */
    struct list parked; /* in worker.starved[] */
    struct list hungry; /* in worker.hungry */
    struct block_queue received, sending;
    uint32_t inflight;
    uint8_t want, armed; /* enum wire_want */
    bool cancelling;     /* the armed receive is being cancelled */
    bool starved;        /* parked until provided buffers are free */
    bool send_busy;      /* a send is in the kernel, or: */
    bool polls_out;      /* OP_POLL_OUT is: the peer takes nothing more of `pipe` at present */
    bool readable;       /* WIRE_WANT_POLL: there is something, or was */
    bool writable;       /* OP_POLL_OUT: there is room */
    bool eof;            /* the peer will send nothing more */
    bool recv_failed, send_failed;
    bool connecting;     /* OP_CONNECT is in the kernel */
    bool closing, swept; /* by wire_close_begin(); all requests of the socket were cancelled */
    bool connected;      /* OP_CONNECT completed well */
    bool connect_failed;
    int32_t error;       /* errno of the latest failure */
    uint64_t send_at_ns; /* when the send in the kernel was begun */
    struct pipe *pipe;   /* has bytes that go out behind `sending`; nothing may be queued while it
                            is there. NULL: none */
    struct msghdr message;
    struct iovec pieces[WIRE_PIECES];
};

/* The fd is the wire's from here on. id names owner, slot and generation. */
void wire_open(struct wire *wire, int fd, struct op_id id);
/* Takes one completion in; runs nothing. Returns bytes received (> 0), or 0. */
uint32_t wire_event(struct worker *w, struct wire *wire, const struct ring_event *ev);
/* Brings what is armed in line with `want`, and starts a send when there is something to send.
 * Called once at the end of every turn of the owner. */
void wire_settle(struct worker *w, struct wire *wire);
void wire_connect(struct worker *w, struct wire *wire, const struct sockaddr *sa, socklen_t len);
/* Queues a block for sending; takes it. */
void wire_push(struct wire *wire, struct block *block);
/* Queues a copy of bytes; false when no pool block is free (nothing was queued). */
bool wire_push_copy(struct worker *w, struct wire *wire, struct span bytes);
void wire_shutdown(struct worker *w, struct wire *wire);
/* Cancels everything; afterwards only completions come. Received bytes are dropped. */
void wire_close_begin(struct worker *w, struct wire *wire);
/* True when the kernel has nothing of it any more. */
static inline bool wire_is_quiet(const struct wire *wire)
{
    return wire->inflight == 0;
}
/* Drops the queues and closes the socket; with reset the peer sees RST instead of a clean end.
 * The wire must be quiet. */
void wire_close_finish(struct worker *w, struct wire *wire, bool reset);

static inline bool wire_send_is_empty(const struct wire *wire)
{
    return wire->sending.bytes == 0 && !wire->send_busy && !wire->pipe;
}

static inline bool wire_send_is_full(const struct wire *wire)
{
    return wire->sending.bytes >= WIRE_SEND_HIGH || wire->sending.count >= WIRE_SEND_BLOCKS ||
           wire->pipe;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* data/sink.h - where bytes for one peer go within one turn: copied together while they are small,
 * passed on as whole blocks when large, encrypted when the peer speaks TLS. Or to a queue that a
 * codec frames later.
 * Thread: the worker's.   Owns: what is staged, until sink_flush(); there is one at a time.
 * Never: sends (wire_settle() does), grows beyond what back-pressure allows. */
#pragma once

#include "data/wire.h"

struct tls_session;

struct sink {
    struct worker *w;
    struct wire *wire;         /* of the peer; its owner is woken when there is room again */
    struct block_queue *queue; /* where finished blocks go: the wire's, or a codec's */
    uint32_t queue_high;       /* bytes in it from which on it is full */
    struct tls_session *tls;   /* NULL: plain */
    struct block *fresh;       /* reserved, not yet queued */
    uint32_t staged;           /* bytes of worker.stage, TLS only */
    bool failed;               /* no pool block, or the session broke: close the connection */
};

struct sink sink_of(struct worker *w, struct wire *wire, struct tls_session *tls);
/* A plain sink into `queue`, which is full from `high` bytes on. */
struct sink sink_into(struct worker *w, struct wire *wire, struct block_queue *queue,
                      uint32_t high);
/* A writer over at least `need` contiguous bytes (<= WORKER_STAGE_BYTES); a failed sink gives one
 * that is `bad`. sink_commit() makes what was written part of the output; a writer that is not
 * committed is forgotten by the next call. */
struct writer sink_writer(struct sink *s, uint32_t need);
void sink_commit(struct sink *s, const struct writer *w);
/* Copies. For small things. */
void sink_copy(struct sink *s, struct span bytes);
/* How many payload bytes may be given now, at most `want`; 0: the peer is slow or no pool block is
 * free, in which case the owner is woken when there is. */
uint32_t sink_room(struct sink *s, uint32_t want);
/* Payload by reference (plain sinks only); takes the block. */
void sink_block(struct sink *s, struct block *block);
/* Payload that is encrypted from where it lies (TLS sinks only), at most what sink_room() said. */
void sink_encrypt(struct sink *s, struct span bytes);
/* Everything staged goes to the queue. */
void sink_flush(struct sink *s);

static inline bool sink_is_full(const struct sink *s)
{
    bool piped = s->queue == &s->wire->sending && s->wire->pipe; /* nothing goes behind that */
    return piped || s->queue->bytes >= s->queue_high || s->queue->count >= WIRE_SEND_BLOCKS;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* fuzz/fuzz_sink.h - what the codecs of HTTP/2 need around them: a sink that keeps nothing, and no
 * ring. Part of the one target that includes it.
 * Thread: one.   Owns: nothing.
 * Never: holds a codec back. */
#pragma once

#include "base/must.h"
#include "data/sink.h"

static struct block_queue sent;

/* A sink that keeps nothing: the codec writes into blocks that are given back at once. */
struct sink sink_of(struct worker *w, struct wire *wire, struct tls_session *tls)
{
    return (struct sink){.queue = &sent, .queue_high = 1u << 20};
}

static uint8_t scratch[WIRE_PIECES * 65536];

struct writer sink_writer(struct sink *s, uint32_t need)
{
    must(need <= sizeof scratch);
    return writer_of(scratch, sizeof scratch);
}

void sink_commit(struct sink *s, const struct writer *w)
{
    must(!w->bad);
}

void sink_copy(struct sink *s, struct span bytes)
{
    must(bytes.len <= sizeof scratch);
    memcpy(scratch, bytes.ptr, bytes.len);
}

uint32_t sink_room(struct sink *s, uint32_t want)
{
    return want;
}

uint8_t *ring_buffer(struct ring *ring, enum ring_group group, uint16_t buffer)
{
    return NULL;
}

void ring_give_back(struct ring *ring, enum ring_group group, uint16_t buffer)
{
}

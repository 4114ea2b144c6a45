/* SPDX-License-Identifier: Apache-2.0 */
#include "data/decrypt.h"

#include "data/worker.h"

/* A block with room for plaintext at the end of the queue, or NULL. */
static struct block *plain_tail(struct worker *w, struct decrypt *d, uint32_t waiting)
{
    struct block *tail = d->plain.last;
    if (tail && block_room(tail) > 0)
        return tail;
    uint32_t room = waiting > BLOCK_RECORD_BYTES ? BLOCK_BODY_BYTES
                    : waiting > BLOCK_HEAD_BYTES ? BLOCK_RECORD_BYTES
                                                 : BLOCK_HEAD_BYTES;
    tail = block_take(&w->blocks, room, true);
    if (tail)
        block_queue_push(&d->plain, tail);
    return tail;
}

/* From the first received block into the tail. */
static struct result step(struct worker *w, struct decrypt *d, struct wire *wire,
                          struct block *tail)
{
    struct block *in = wire->received.first;
    struct writer flight = writer_of(w->flight, WORKER_FLIGHT_BYTES);
    struct writer plain = writer_of(tail->data + tail->end, block_room(tail));
    struct session_io io = {.in = in ? block_span(in) : (struct span){0}, .out = &flight};
    size_t before = io.in.len;
    struct result r = session_read(d->tls, &io, &plain);
    if (in)
        block_queue_take(&w->blocks, &wire->received, (uint32_t)(before - io.in.len));
    tail->end += (uint32_t)plain.len;
    d->plain.bytes += (uint32_t)plain.len;
    d->pending = r.code == ERR_FULL;
    if (!wire_push_copy(w, wire, writer_done(&flight)))
        return result_fail(ERR_NO_SLOT);
    return r;
}

struct result decrypt_fill(struct worker *w, struct decrypt *d, struct wire *wire, uint32_t enough)
{
    struct result r = result_ok();
    while (decrypt_has_more(d, wire) && d->plain.bytes <= enough) {
        struct block *tail = plain_tail(w, d, wire->received.bytes);
        if (!tail) {
            worker_hungry(w, wire);
            break;
        }
        r = step(w, d, wire, tail);
        if (result_is_ok(r) || r.code == ERR_AGAIN || r.code == ERR_FULL) {
            r = result_ok();
            continue;
        }
        if (r.code != ERR_PEER_CLOSED)
            break;
        r = result_ok();
        d->ended = wire->eof = true;
        block_queue_clear(&w->blocks, &wire->received);
    }
    if (d->plain.bytes == 0) /* empty blocks stand only at the end of the queue */
        block_queue_clear(&w->blocks, &d->plain);
    return r;
}

void decrypt_end(struct worker *w, struct decrypt *d)
{
    session_close(d->tls);
    d->tls = NULL;
    d->pending = false;
    block_queue_clear(&w->blocks, &d->plain);
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "data/wire.h"

#include "data/shunt.h"
#include "data/worker.h"

#include <errno.h>

static struct op_id op_of(const struct wire *wire, enum op op)
{
    struct op_id id = wire->id;
    id.op = op;
    return id;
}

void wire_open(struct wire *wire, int fd, struct op_id id)
{
    must(fd >= 0);
    *wire = (struct wire){.fd = fd, .id = id};
    list_init(&wire->ready);
    list_init(&wire->parked);
    list_init(&wire->hungry);
}

static uint32_t recv_event(struct worker *w, struct wire *wire, const struct ring_event *ev)
{
    uint32_t got = 0;
    struct block *block = ev->has_buffer ? block_lent(&w->blocks, ev) : NULL;
    if (!ev->more) {
        must(wire->armed != WIRE_WANT_NOTHING);
        wire->armed = WIRE_WANT_NOTHING;
        wire->cancelling = false;
    }
    if (ev->res > 0) {
        must(block);
        got = (uint32_t)ev->res;
        block_queue_push(&wire->received, block);
        return got;
    }
    if (block)
        block_give_back(&w->blocks, block);
    if (ev->res == 0) {
        wire->eof = true;
    } else if (ev->res == -ENOBUFS) {
        wire->starved = true;
        report_add(w->report, REPORT_BUFFERS_STARVED, 1);
    } else if (ev->res != -ECANCELED && ev->res != -EINTR && ev->res != -EAGAIN) {
        wire->recv_failed = true;
        wire->error = -ev->res;
    }
    return got;
}

static void send_event(struct worker *w, struct wire *wire, const struct ring_event *ev)
{
    must(wire->send_busy);
    wire->send_busy = false;
    if (ev->res > 0) {
        block_queue_advance(&w->blocks, &wire->sending, (uint32_t)ev->res);
    } else if (ev->res != -EINTR && ev->res != -EAGAIN && ev->res != -ECANCELED) {
        wire->send_failed = true;
        wire->error = ev->res ? -ev->res : EPIPE;
    }
}

static void poll_event(struct wire *wire, const struct ring_event *ev)
{
    if (ev->id.op == OP_POLL_OUT) {
        must(wire->polls_out);
        wire->send_busy = wire->polls_out = false;
        wire->writable = true;
        return;
    }
    must(wire->armed == WIRE_WANT_POLL);
    wire->armed = WIRE_WANT_NOTHING;
    wire->cancelling = false;
    /* That it failed, reading will tell. */
    wire->readable = ev->res != -ECANCELED;
}

/* What a cancel did shows in the completion of its target. A target that was not found in a moment
 * when it was neither here nor there is looked for once more, the thorough way. */
static void cancel_event(struct worker *w, struct wire *wire, const struct ring_event *ev)
{
    bool left = wire->armed != WIRE_WANT_NOTHING || wire->send_busy || wire->connecting;
    if (!wire->closing || wire->swept || !left || ev->res != -ENOENT)
        return;
    ring_cancel_fd(w->ring, wire->fd, op_of(wire, OP_CANCEL));
    wire->swept = true;
    wire->inflight++;
}

uint32_t wire_event(struct worker *w, struct wire *wire, const struct ring_event *ev)
{
    must(wire->inflight > 0);
    if (!ev->more)
        wire->inflight--;
    switch (ev->id.op) {
    case OP_RECV:
        return recv_event(w, wire, ev);
    case OP_SEND:
        send_event(w, wire, ev);
        break;
    case OP_CONNECT:
        wire->connecting = false;
        wire->connected = ev->res == 0;
        wire->connect_failed = ev->res != 0;
        wire->error = -ev->res;
        break;
    case OP_POLL_IN:
    case OP_POLL_OUT:
        poll_event(wire, ev);
        break;
    case OP_CANCEL:
        cancel_event(w, wire, ev);
        break;
    case OP_SHUTDOWN:
        break;
    default:
        never();
    }
    return 0;
}

static void cancel(struct worker *w, struct wire *wire, enum op op)
{
    ring_cancel(w->ring, op_of(wire, op), op_of(wire, OP_CANCEL));
    wire->inflight++;
}

static void arm(struct worker *w, struct wire *wire)
{
    if (wire->want == WIRE_WANT_POLL) {
        if (wire->readable) /* what keeps it from being read now will lead to a turn */
            return;
        ring_poll(w->ring, wire->fd, false, op_of(wire, OP_POLL_IN));
        wire->armed = WIRE_WANT_POLL;
        wire->inflight++;
        return;
    }
    wire->readable = false;
    bool large = wire->want == WIRE_WANT_LARGE;
    ring_recv(w->ring, wire->fd, large ? RING_LARGE : RING_SMALL, !large, op_of(wire, OP_RECV));
    wire->armed = wire->want;
    wire->inflight++;
}

static void settle_receive(struct worker *w, struct wire *wire)
{
    if (wire->starved && wire->want == WIRE_WANT_POLL) { /* that needs no buffer */
        list_remove(&wire->parked);
        wire->starved = false;
    }
    if (wire->armed == WIRE_WANT_NOTHING) {
        if (wire->starved) {
            if (list_is_empty(&wire->parked))
                list_append(&w->starved[wire->want == WIRE_WANT_LARGE], &wire->parked);
        } else if (wire->want != WIRE_WANT_NOTHING && !wire->eof && !wire->recv_failed) {
            arm(w, wire);
        }
        return;
    }
    /* A pending one-shot takes one buffer at most, and a poll nothing: they may stay, and what is
     * wanted is armed when they are over. A multishot takes all there is. */
    if (wire->armed == WIRE_WANT_SMALL && wire->want != WIRE_WANT_SMALL && !wire->cancelling) {
        cancel(w, wire, OP_RECV);
        wire->cancelling = true;
    }
}

/* What a pipe has left waits for room in the socket. */
static void settle_pipe(struct worker *w, struct wire *wire)
{
    if (wire->writable && shunt_send(w, wire)) { /* its owner has to see that */
        worker_ready(w, wire);
        return;
    }
    ring_poll(w->ring, wire->fd, true, op_of(wire, OP_POLL_OUT));
    wire->send_busy = wire->polls_out = true;
    wire->send_at_ns = w->now_ns;
    wire->inflight++;
}

static void settle_send(struct worker *w, struct wire *wire)
{
    if (wire->send_busy || wire->send_failed)
        return;
    if (wire->sending.bytes == 0) {
        if (wire->pipe)
            settle_pipe(w, wire);
        return;
    }
    struct block *block = wire->sending.first;
    struct op_id id = op_of(wire, OP_SEND);
    wire->send_busy = true;
    wire->send_at_ns = w->now_ns;
    wire->inflight++;
    if (!block->next) {
        ring_send(w->ring, wire->fd, block->data + block->start, block_len(block), false, id);
        return;
    }
    size_t n = 0;
    for (; block && n < WIRE_PIECES; block = block->next)
        wire->pieces[n++] = (struct iovec){block->data + block->start, block_len(block)};
    wire->message = (struct msghdr){.msg_iov = wire->pieces, .msg_iovlen = n};
    ring_sendmsg(w->ring, wire->fd, &wire->message, id);
}

/* What was received and has to wait is copied out of the kernel's buffers when those get scarce:
 * else a few slow peers could keep all of them. */
static void settle_waiting(struct worker *w, struct wire *wire)
{
    for (uint32_t i = wire->received.count; i > 0; i--) {
        struct block *block = block_queue_pop(&wire->received);
        struct block *copy = NULL;
        if (block_is_lent(block) && block_is_scarce(&w->blocks, (enum ring_group)block->kind))
            copy = block_detach(&w->blocks, block, 0);
        block_queue_push(&wire->received, copy ? copy : block);
    }
}

void wire_settle(struct worker *w, struct wire *wire)
{
    must(wire->fd >= 0);
    if (wire->received.first)
        settle_waiting(w, wire);
    settle_send(w, wire);
    settle_receive(w, wire);
}

void wire_connect(struct worker *w, struct wire *wire, const struct sockaddr *sa, socklen_t len)
{
    ring_connect(w->ring, wire->fd, sa, len, op_of(wire, OP_CONNECT));
    wire->connecting = true;
    wire->inflight++;
}

void wire_push(struct wire *wire, struct block *block)
{
    must(block_len(block) > 0 && !wire->pipe);
    block_queue_push(&wire->sending, block);
}

bool wire_push_copy(struct worker *w, struct wire *wire, struct span bytes)
{
    if (bytes.len == 0)
        return true;
    must(bytes.len <= BLOCK_BODY_BYTES);
    struct block *block = block_take(&w->blocks, (uint32_t)bytes.len, false);
    if (!block)
        return false;
    block_append(block, bytes.ptr, (uint32_t)bytes.len);
    wire_push(wire, block);
    return true;
}

void wire_shutdown(struct worker *w, struct wire *wire)
{
    ring_shutdown(w->ring, wire->fd, SHUT_WR, op_of(wire, OP_SHUTDOWN));
    wire->inflight++;
}

/* One by one: to find all requests on a socket the kernel walks over those of all sockets. */
void wire_close_begin(struct worker *w, struct wire *wire)
{
    list_remove(&wire->parked);
    list_remove(&wire->hungry);
    wire->starved = false;
    wire->want = WIRE_WANT_NOTHING;
    if (wire->armed != WIRE_WANT_NOTHING && !wire->cancelling)
        cancel(w, wire, wire->armed == WIRE_WANT_POLL ? OP_POLL_IN : OP_RECV);
    if (wire->send_busy)
        cancel(w, wire, wire->polls_out ? OP_POLL_OUT : OP_SEND);
    if (wire->connecting)
        cancel(w, wire, OP_CONNECT);
    wire->cancelling = wire->armed != WIRE_WANT_NOTHING;
    wire->closing = true;
}

void wire_close_finish(struct worker *w, struct wire *wire, bool reset)
{
    must(wire_is_quiet(wire) && wire->fd >= 0);
    block_queue_clear(&w->blocks, &wire->received);
    block_queue_clear(&w->blocks, &wire->sending);
    if (wire->pipe)
        shunt_drop(w, wire);
    list_remove(&wire->ready);
    list_remove(&wire->parked);
    list_remove(&wire->hungry);
    if (reset)
        ring_set_reset(w->ring, wire->fd);
    worker_close_fd(w, wire->fd);
    wire->fd = -1;
}

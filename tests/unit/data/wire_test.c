/* SPDX-License-Identifier: Apache-2.0 */
/* What a wire arms in the kernel, as its owner's wishes and the kernel's buffers change. */
#include "data/wire.c"

#include "unit.h"

static struct worker w;
static struct report_page page;
static struct wire wire;
static int received, polled; /* requests that the kernel got */

struct block *block_lent(struct blocks *b, const struct ring_event *ev)
{
    never();
}

struct block *block_take(struct blocks *b, uint32_t room, bool smaller)
{
    never();
}

struct block *block_detach(struct blocks *b, struct block *block, uint32_t room)
{
    never();
}

bool block_is_scarce(const struct blocks *b, enum ring_group group)
{
    never();
}

void block_give_back(struct blocks *b, struct block *block)
{
    never();
}

void block_queue_push(struct block_queue *q, struct block *block)
{
    never();
}

struct block *block_queue_pop(struct block_queue *q)
{
    never();
}

void block_queue_advance(struct blocks *b, struct block_queue *q, uint32_t n)
{
    never();
}

void block_queue_clear(struct blocks *b, struct block_queue *q)
{
}

void ring_recv(struct ring *ring, int fd, enum ring_group group, bool multishot, struct op_id id)
{
    received++;
}

void ring_poll(struct ring *ring, int fd, bool writable, struct op_id id)
{
    polled++;
}

void ring_send(struct ring *ring, int fd, const void *bytes, size_t len, bool more, struct op_id id)
{
}

void ring_sendmsg(struct ring *ring, int fd, const struct msghdr *message, struct op_id id)
{
}

void ring_connect(struct ring *ring, int fd, const struct sockaddr *sa, socklen_t len,
                  struct op_id id)
{
}

void ring_shutdown(struct ring *ring, int fd, int how, struct op_id id)
{
}

void ring_cancel(struct ring *ring, struct op_id target, struct op_id id)
{
}

void ring_cancel_fd(struct ring *ring, int fd, struct op_id id)
{
}

void ring_set_reset(struct ring *ring, int fd)
{
}

void worker_ready(struct worker *worker, struct wire *of)
{
}

void worker_close_fd(struct worker *worker, int fd)
{
}

bool shunt_send(struct worker *worker, struct wire *of)
{
    return true;
}

void shunt_drop(struct worker *worker, struct wire *of)
{
}

static struct ring_event event(enum op op, int res)
{
    struct op_id id = wire.id;
    id.op = op;
    return (struct ring_event){.id = id, .res = res};
}

static void want(enum wire_want wanted)
{
    wire.want = wanted;
    wire_settle(&w, &wire);
}

/* One that waits for a buffer to receive into may be told of bytes without any. */
static void a_starved_wire_still_polls(void **state)
{
    w = (struct worker){.report = &page};
    for (int g = 0; g < RING_GROUPS; g++)
        list_init(&w.starved[g]);
    wire_open(&wire, 1, (struct op_id){.owner = OP_OWNER_UPCONN, .gen = 1});
    want(WIRE_WANT_LARGE);
    assert_int_equal(received, 1);
    struct ring_event ev = event(OP_RECV, -ENOBUFS);
    wire_event(&w, &wire, &ev);
    want(WIRE_WANT_LARGE);
    assert_int_equal(received, 1);
    assert_false(list_is_empty(&w.starved[RING_LARGE]));
    want(WIRE_WANT_POLL);
    assert_int_equal(polled, 1);
    assert_true(list_is_empty(&w.starved[RING_LARGE]) && list_is_empty(&wire.parked));
    ev = event(OP_POLL_IN, 1);
    wire_event(&w, &wire, &ev);
    assert_true(wire.readable && wire_is_quiet(&wire));
    want(WIRE_WANT_SMALL); /* back to buffers */
    assert_int_equal(received, 2);
}

UNIT_TESTS(cmocka_unit_test(a_starved_wire_still_polls))

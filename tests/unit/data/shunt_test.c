/* SPDX-License-Identifier: Apache-2.0 */
/* The pipes of a worker and what goes through them, over a kernel that does as the test says. */
#include "data/shunt.c"

#include "unit.h"

#include <fcntl.h>

static struct worker w;
static struct report_page page;
static struct ring_features features;
static int opened, closed, woken;
static int pipe_size, in_result, out_result; /* what the next calls give */
static uint32_t asked;                       /* bytes of the last move into a pipe */
static struct wire from, to;
static struct relay r;

const struct ring_features *ring_features(const struct ring *ring)
{
    return &features;
}

int ring_pipe_open(struct ring *ring, uint32_t bytes, int ret[2])
{
    if (pipe_size < 0)
        return pipe_size;
    ret[0] = 100 + 2 * opened++;
    ret[1] = ret[0] + 1;
    return pipe_size;
}

void ring_pipe_close(struct ring *ring, const int fds[2])
{
    assert_int_equal(fds[1], fds[0] + 1);
    closed++;
}

int ring_splice(struct ring *ring, int source, int target, uint32_t len)
{
    if (source >= 100)
        return out_result > 0 && (uint32_t)out_result > len ? (int)len : out_result;
    asked = len;
    return in_result > 0 && (uint32_t)in_result > len ? (int)len : in_result;
}

void worker_ready(struct worker *worker, struct wire *wire)
{
    woken++;
}

uint64_t h1_rest(const struct h1 *h1)
{
    return h1->left;
}

void h1_passed(struct h1 *h1, uint64_t bytes)
{
    h1->left -= bytes;
}

static void begin(uint32_t pipes)
{
    w = (struct worker){.report = &page, .now_ns = NS_PER_S};
    page = (struct report_page){0};
    features.splice = true;
    opened = closed = woken = 0;
    pipe_size = SHUNT_PIPE_BYTES;
    in_result = out_result = 1 << 30;
    from = (struct wire){.fd = 1, .id.owner = OP_OWNER_UPCONN, .readable = true};
    to = (struct wire){.fd = 2, .id.owner = OP_OWNER_CONN};
    r = (struct relay){.framing = HTTP_BODY_LENGTH};
    shunt_init(&w, pipes);
}

static void end(void)
{
    if (to.pipe)
        shunt_drop(&w, &to);
    shunt_fini(&w);
    assert_int_equal(opened, closed);
    assert_int_equal(page.values[REPORT_PIPES_NOW], 0);
}

static bool body(uint64_t *left)
{
    struct h1 h1 = {.left = *left};
    struct source source = {.h1 = &h1};
    from.readable = true;
    bool moved = shunt_body(&w, &r, &source, &from, &to);
    *left = h1.left;
    return moved;
}

static void a_long_body_is_moved_to_its_last_byte(void **state)
{
    uint64_t left = SHUNT_MIN - 1;
    begin(2);
    assert_false(body(&left));
    assert_false(r.shunted);
    assert_int_equal(opened, 0);
    left = SHUNT_MIN + SHUNT_PIPE_BYTES;
    assert_true(body(&left));
    assert_int_equal(left, SHUNT_MIN);
    assert_true(r.shunted && !to.pipe);
    in_result = SHUNT_MIN - 1;
    assert_true(body(&left));
    assert_int_equal(left, 1);
    assert_true(body(&left)); /* what has begun goes on, and nothing behind it is asked for */
    assert_int_equal(asked, 1);
    assert_int_equal(left, 0);
    assert_false(body(&left));
    assert_false(r.shunted);
    assert_int_equal(r.bytes, SHUNT_MIN + SHUNT_PIPE_BYTES);
    assert_int_equal(page.values[REPORT_BYTES_SPLICED], r.bytes);
    assert_int_equal(page.values[REPORT_BYTES_OUT], r.bytes);
    assert_int_equal(opened, 1);
    end();
}

static void what_is_not_plain_is_left_alone(void **state)
{
    struct h1 h1 = {.left = 1 << 20};
    struct source source = {.h1 = &h1}, bare = {0};
    begin(2);
    assert_false(shunt_body(&w, &r, &source, NULL, &to));
    assert_false(shunt_body(&w, &r, &source, &from, NULL));
    assert_false(shunt_body(&w, &r, &bare, &from, &to));
    r.framing = HTTP_BODY_CHUNKED;
    assert_false(shunt_body(&w, &r, &source, &from, &to));
    assert_false(r.shunted);
    end();
    begin(0);
    assert_false(shunt_body(&w, &r, &source, &from, &to));
    assert_false(r.shunted);
    end();
    features.splice = false;
    w.shunt = (struct shunt){0};
    shunt_init(&w, 2);
    assert_false(shunt_body(&w, &r, &source, &from, &to));
    end();
}

/* Bytes keep their order: nothing is moved past what stands in buffers. */
static void it_waits_for_both_sides(void **state)
{
    struct block block = {0};
    uint64_t left = 1 << 20;
    begin(2);
    to.send_busy = true;
    assert_false(body(&left));
    assert_true(r.shunted);
    to.send_busy = false;
    to.sending.bytes = 5;
    assert_false(body(&left));
    to.sending.bytes = 0;
    from.armed = WIRE_WANT_SMALL;
    assert_false(body(&left));
    from.armed = WIRE_WANT_NOTHING;
    from.received.first = &block;
    assert_false(body(&left));
    from.received.first = NULL;
    assert_int_equal(left, 1 << 20);
    assert_true(body(&left));
    end();
}

static void a_slow_receiver_keeps_one_pipe(void **state)
{
    uint64_t left = 1 << 20;
    begin(2);
    out_result = 1000;
    assert_true(body(&left));
    struct pipe *pipe = to.pipe;
    struct block_queue codec = {0};
    struct sink sink = {.wire = &to, .queue = &to.sending, .queue_high = WIRE_SEND_HIGH};
    assert_non_null(pipe);
    assert_true(wire_send_is_full(&to) && sink_is_full(&sink)); /* nothing may overtake it */
    sink.queue = &codec;
    assert_false(sink_is_full(&sink));
    assert_int_equal(pipe->bytes, SHUNT_PIPE_BYTES - 1000);
    assert_false(body(&left)); /* no room yet: nothing is read, nothing is sent */
    assert_int_equal(pipe->bytes, SHUNT_PIPE_BYTES - 1000);
    to.writable = true;
    assert_false(body(&left));
    assert_int_equal(pipe->bytes, SHUNT_PIPE_BYTES - 2000);
    assert_ptr_equal(to.pipe, pipe);
    assert_true(r.shunted);
    assert_int_equal(opened, 1);
    out_result = -EAGAIN;
    assert_false(shunt_send(&w, &to));
    out_result = -EPIPE;
    assert_true(shunt_send(&w, &to));
    assert_true(to.send_failed && to.error == EPIPE);
    shunt_drop(&w, &to);
    assert_null(to.pipe);
    assert_int_equal(closed, 1); /* with bytes in it, it is of no use any more */
    end();
}

static void pipes_run_out(void **state)
{
    uint64_t left = 1 << 20;
    begin(1);
    struct pipe *only = NULL;
    out_result = -EAGAIN;
    assert_true(body(&left));
    only = to.pipe;
    to.pipe = NULL;
    assert_false(body(&left));
    assert_false(r.shunted);
    to.pipe = only;
    out_result = 1 << 30;
    assert_true(shunt_send(&w, &to));
    r.shunted = false;
    assert_true(body(&left)); /* it is there again */
    end();
}

static void the_kernel_has_none(void **state)
{
    static const int none[] = {-EMFILE, 8192};
    for (size_t i = 0; i < sizeof none / sizeof *none; i++) {
        uint64_t left = 1 << 20;
        begin(1);
        pipe_size = none[i];
        assert_false(body(&left));
        assert_false(r.shunted);
        assert_int_equal(opened, closed);
        int before = opened;
        pipe_size = SHUNT_PIPE_LEAST;
        assert_false(body(&left)); /* it is not asked again at once */
        assert_int_equal(opened, before);
        w.now_ns += REST_NS;
        assert_true(body(&left));
        assert_int_equal(left, (1 << 20) - SHUNT_PIPE_LEAST);
        end();
    }
}

static void ends_and_failures_are_the_wires(void **state)
{
    uint64_t left = 1 << 20;
    begin(1);
    in_result = 0; /* perhaps not the end: buffers tell */
    assert_false(body(&left));
    assert_true(!r.shunted && !from.eof && !from.recv_failed);
    in_result = 1 << 30;
    assert_false(body(&left));
    assert_int_equal(left, 1 << 20);
    end();
    begin(1);
    in_result = -ECONNRESET;
    assert_false(body(&left));
    assert_true(from.recv_failed && from.error == ECONNRESET && woken > 0);
    end();
    begin(1);
    in_result = -EAGAIN;
    assert_false(body(&left));
    assert_true(r.shunted && !from.recv_failed && !from.eof && !from.readable);
    end();
    begin(1);
    in_result = -EINVAL; /* not for these sockets: buffers, until the body's end */
    assert_false(body(&left));
    in_result = 1 << 30;
    assert_false(body(&left));
    assert_true(!r.shunted && !from.recv_failed);
    end();
}

static void small_pieces_go_back_to_buffers(void **state)
{
    uint64_t left = 1 << 20;
    bool large = true;
    begin(1);
    in_result = MEAGRE_BYTES - 1;
    for (int i = 0; i < MEAGRE_TIMES; i++)
        assert_true(body(&left));
    assert_false(r.shunted);
    assert_false(body(&left));
    end();
    begin(1);
    in_result = -EAGAIN; /* and so do none at all, though they are announced */
    for (int i = 0; i < MEAGRE_TIMES; i++)
        assert_false(body(&left));
    assert_false(r.shunted);
    end();
    begin(1);
    in_result = MEAGRE_BYTES - 1;
    for (int i = 0; i < MEAGRE_TIMES; i++) {
        from.readable = true;
        assert_true(shunt_tunnel(&w, &r, &large, &from, &to));
    }
    assert_true(!large && !r.shunted);
    from.readable = true;
    assert_false(shunt_tunnel(&w, &r, &large, &from, &to));
    large = true; /* a tunnel may become bulky again */
    in_result = 1 << 30;
    assert_true(shunt_tunnel(&w, &r, &large, &from, &to));
    assert_true(large && r.shunted);
    end();
}

static void a_tunnel_gets_on_while_its_receiver_takes(void **state)
{
    bool large = true;
    begin(1);
    out_result = 1000;
    assert_true(shunt_tunnel(&w, &r, &large, &from, &to));
    assert_false(shunt_tunnel(&w, &r, &large, &from, &to));
    to.writable = true;
    assert_true(shunt_tunnel(&w, &r, &large, &from, &to));
    assert_int_equal(r.bytes, SHUNT_PIPE_BYTES);
    end();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_long_body_is_moved_to_its_last_byte),
        cmocka_unit_test(what_is_not_plain_is_left_alone),
        cmocka_unit_test(it_waits_for_both_sides),
        cmocka_unit_test(a_slow_receiver_keeps_one_pipe),
        cmocka_unit_test(pipes_run_out),
        cmocka_unit_test(the_kernel_has_none),
        cmocka_unit_test(ends_and_failures_are_the_wires),
        cmocka_unit_test(small_pieces_go_back_to_buffers),
        cmocka_unit_test(a_tunnel_gets_on_while_its_receiver_takes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

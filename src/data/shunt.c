/* SPDX-License-Identifier: Apache-2.0 */
#include "data/shunt.h"

#include "base/clock.h"
#include "data/relay.h"
#include "data/worker.h"

#include <errno.h>

/* Moving less than this at once is dearer than a buffer; so often in a row, and the rest of the
 * body goes through buffers: its source has only small fragments to give, or none at all although
 * it can be read (splice stands still before urgent data of TCP, which a receive skips). */
#define MEAGRE_BYTES 8192
#define MEAGRE_TIMES 16
/* How long no pipe is asked for after the kernel had none. */
#define REST_NS (10 * NS_PER_S)

void shunt_init(struct worker *w, uint32_t count)
{
    struct shunt *s = &w->shunt;
    must(count <= SHUNT_PIPES);
    if (!ring_features(w->ring)->splice)
        return;
    for (uint32_t i = count; i-- > 0;) {
        s->pipes[i].next = s->closed;
        s->closed = &s->pipes[i];
    }
}

static void close_pipe(struct worker *w, struct pipe *pipe)
{
    struct shunt *s = &w->shunt;
    ring_pipe_close(w->ring, pipe->fds);
    pipe->bytes = 0;
    pipe->next = s->closed;
    s->closed = pipe;
    report_sub(w->report, REPORT_PIPES_NOW, 1);
}

void shunt_fini(struct worker *w)
{
    struct shunt *s = &w->shunt;
    while (s->free) {
        struct pipe *pipe = s->free;
        s->free = pipe->next;
        close_pipe(w, pipe);
    }
}

static bool open_pipe(struct worker *w)
{
    struct shunt *s = &w->shunt;
    struct pipe *pipe = s->closed;
    if (!pipe || w->now_ns < s->rest_until_ns)
        return false;
    int cap = ring_pipe_open(w->ring, SHUNT_PIPE_BYTES, pipe->fds);
    if (cap < (int)SHUNT_PIPE_LEAST) {
        if (cap >= 0)
            ring_pipe_close(w->ring, pipe->fds);
        s->rest_until_ns = w->now_ns + REST_NS;
        return false;
    }
    s->closed = pipe->next;
    pipe->cap = (uint32_t)cap < SHUNT_PIPE_BYTES ? (uint32_t)cap : SHUNT_PIPE_BYTES;
    pipe->bytes = 0;
    pipe->next = s->free;
    s->free = pipe;
    report_add(w->report, REPORT_PIPES_NOW, 1);
    return true;
}

/* One for `out`: the one that it has, or another. */
static bool has_pipe(struct worker *w, const struct wire *out)
{
    return out->pipe || w->shunt.free || open_pipe(w);
}

bool shunt_send(struct worker *w, struct wire *wire)
{
    struct pipe *pipe = wire->pipe;
    wire->writable = false;
    int n = ring_splice(w->ring, pipe->fds[0], wire->fd, pipe->bytes);
    if (n == -EAGAIN || n == -EINTR)
        return false;
    if (n <= 0) {
        wire->send_failed = true;
        wire->error = n ? -n : EPIPE;
        return true;
    }
    must((uint32_t)n <= pipe->bytes);
    pipe->bytes -= (uint32_t)n;
    if (wire->id.owner == OP_OWNER_CONN)
        report_add(w->report, REPORT_BYTES_OUT, (uint64_t)n);
    if (pipe->bytes > 0)
        return false;
    wire->pipe = NULL;
    pipe->next = w->shunt.free;
    w->shunt.free = pipe;
    return true;
}

void shunt_drop(struct worker *w, struct wire *wire)
{
    close_pipe(w, wire->pipe);
    wire->pipe = NULL;
}

/* Reading said so; *ret_fit is false when buffers may do better. */
static void read_failed(struct worker *w, struct wire *in, int error, bool *ret_fit)
{
    switch (error) {
    case EAGAIN:
    case EINTR:
        break;
    case EINVAL:
    case ENOMEM:
    case ENOSYS:
    case EOPNOTSUPP:
    case EPERM:
        *ret_fit = false;
        break;
    default:
        in->recv_failed = true;
        in->error = error;
        worker_ready(w, in);
    }
}

/* One piece from socket to socket, at most `max` bytes; how many left the first.
 *   ret_fit   false: this is not the way for these two */
static uint32_t move(struct worker *w, struct wire *in, struct wire *out, uint64_t max,
                     bool *ret_fit)
{
    struct pipe *pipe = w->shunt.free;
    uint32_t want = max < pipe->cap ? (uint32_t)max : pipe->cap;
    int n = ring_splice(w->ring, in->fd, pipe->fds[1], want);
    in->readable = false;
    if (n < 0) {
        read_failed(w, in, -n, ret_fit);
        return 0;
    }
    if (n == 0) { /* the end, or urgent data with the end behind it: a receive tells which */
        *ret_fit = false;
        return 0;
    }
    must((uint32_t)n <= want);
    w->shunt.free = pipe->next;
    pipe->bytes = (uint32_t)n;
    out->pipe = pipe;
    report_add(w->report, REPORT_BYTES_SPLICED, (uint64_t)n);
    if (in->id.owner == OP_OWNER_CONN)
        report_add(w->report, REPORT_BYTES_IN, (uint64_t)n);
    if (shunt_send(w, out) && out->send_failed)
        worker_ready(w, out);
    return (uint32_t)n;
}

static bool is_idle(const struct wire *out)
{
    return !out->pipe && !out->send_busy && !out->send_failed && out->sending.bytes == 0;
}

/* Notes how much came at once. False: it was little too often. */
static bool pays(struct relay *r, uint32_t n, uint64_t max)
{
    r->meagre = n < MEAGRE_BYTES && n < max ? r->meagre + 1 : 0;
    return r->meagre < MEAGRE_TIMES;
}

/* Moves what can be moved now of `rest` bytes; how many left `in`. */
static uint32_t turn(struct worker *w, struct relay *r, uint64_t rest, struct wire *in,
                     struct wire *out)
{
    if (out->pipe && out->writable && shunt_send(w, out) && out->send_failed)
        worker_ready(w, out);
    if (!in->readable || in->armed != WIRE_WANT_NOTHING || in->received.first || !is_idle(out))
        return 0;
    bool fit = true;
    uint32_t n = move(w, in, out, rest, &fit);
    r->bytes += n;
    r->shunted = fit && pays(r, n, rest);
    return n;
}

bool shunt_body(struct worker *w, struct relay *r, const struct source *from, struct wire *in,
                struct wire *out)
{
    uint64_t rest = from->h1 ? h1_rest(from->h1) : 0;
    bool was = r->shunted;
    r->shunted = in && out && rest >= (was ? 1 : SHUNT_MIN) && r->meagre < MEAGRE_TIMES &&
                 r->framing == HTTP_BODY_LENGTH && has_pipe(w, out);
    if (!r->shunted)
        return false;
    uint32_t n = turn(w, r, rest, in, out);
    h1_passed(from->h1, n);
    if (!r->shunted)
        r->meagre = MEAGRE_TIMES;
    return n > 0;
}

bool shunt_tunnel(struct worker *w, struct relay *r, bool *large, struct wire *in, struct wire *out)
{
    r->shunted = in && out && *large && has_pipe(w, out);
    if (!r->shunted)
        return false;
    uint32_t left = out->pipe ? out->pipe->bytes : 0;
    uint32_t n = turn(w, r, UINT64_MAX, in, out);
    if (!r->shunted) { /* until much has come at once again */
        r->meagre = 0;
        *large = false;
    }
    return n > 0 || left != (out->pipe ? out->pipe->bytes : 0);
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "ring/ring_sim_private.h"

#include <arpa/inet.h>
#include <stdlib.h>

#define START_NS (1000 * NS_PER_S)

uint64_t sim_random(struct ring_sim *sim, uint64_t below)
{
    if (sim->seed == 0 || below == 0)
        return 0;
    /* xorshift64*: the run is a function of the seed alone. */
    sim->random ^= sim->random >> 12;
    sim->random ^= sim->random << 25;
    sim->random ^= sim->random >> 27;
    return (sim->random * 2685821657736338717ull >> 16) % below;
}

bool sim_chance(struct ring_sim *sim, unsigned n)
{
    return sim->seed != 0 && sim_random(sim, n) == 0;
}

size_t sim_piece(struct ring_sim *sim, size_t n)
{
    return n <= 1 || !sim_chance(sim, 2) ? n : 1 + (size_t)sim_random(sim, n - 1);
}

struct ring_sim *ring_sim_create(uint64_t seed)
{
    struct ring_sim *sim = mem_zalloc(sizeof *sim);
    sim->seed = seed;
    sim->random = seed * 0x9e3779b97f4a7c15ull + 1;
    sim->now_ns = START_NS;
    list_init(&sim->rings);
    return sim;
}

void ring_sim_destroy(struct ring_sim *sim)
{
    must(list_is_empty(&sim->rings));
    for (unsigned i = 0; i < sim->fd_count; i++)
        buf_free(&sim->fds[i].waiting);
    for (int i = 0; i < sim->conn_count; i++) {
        buf_free(&sim->conns[i].in);
        buf_free(&sim->conns[i].out);
    }
    buf_free(&sim->accepted);
    buf_free(&sim->ports);
    buf_free(&sim->wakeups);
    free(sim->fds);
    free(sim->conns);
    free(sim);
}

/* --- sockets ------------------------------------------------------------------------------- */

int sim_pop(struct buf *queue)
{
    int v;
    if (queue->len < sizeof v)
        return -1;
    memcpy(&v, queue->ptr, sizeof v);
    buf_consume(queue, sizeof v);
    return v;
}

struct sim_fd *sim_fd_at(struct ring_sim *sim, int fd)
{
    must(fd >= RING_SIM_FD_BASE && (unsigned)(fd - RING_SIM_FD_BASE) < sim->fd_count);
    struct sim_fd *f = &sim->fds[fd - RING_SIM_FD_BASE];
    must(f->kind != SIM_FD_FREE);
    return f;
}

struct sim_conn *sim_conn_at(struct ring_sim *sim, int peer)
{
    must(peer >= 0 && peer < sim->conn_count);
    return &sim->conns[peer];
}

int sim_fd_take(struct ring_sim *sim, enum sim_fd_kind kind, int conn)
{
    unsigned i = 0;
    while (i < sim->fd_count && sim->fds[i].kind != SIM_FD_FREE)
        i++;
    if (i == sim->fd_count) {
        sim->fds = mem_grow(sim->fds, ++sim->fd_count * sizeof *sim->fds);
        sim->fds[i] = (struct sim_fd){0};
    }
    sim->fds[i].kind = kind;
    sim->fds[i].conn = conn;
    int fd = RING_SIM_FD_BASE + (int)i;
    if (kind == SIM_FD_CONN)
        sim->conns[conn].fd = fd;
    return fd;
}

void sim_fd_close(struct ring_sim *sim, int fd)
{
    struct sim_fd *f = sim_fd_at(sim, fd);
    if (f->kind == SIM_FD_CONN) {
        struct sim_conn *c = sim_conn_at(sim, f->conn);
        c->closed = true;
        c->out_ended = true;
        c->close_reset = c->reset_on_close || c->in.len > 0;
        c->fd = -1;
    }
    buf_free(&f->waiting);
    *f = (struct sim_fd){0};
}

int sim_conn_add(struct ring_sim *sim)
{
    sim->conns = mem_grow(sim->conns, (size_t)(sim->conn_count + 1) * sizeof *sim->conns);
    sim->conns[sim->conn_count] = (struct sim_conn){.fd = -1, .window = SIZE_MAX};
    return sim->conn_count++;
}

static struct sim_port *port_of(struct ring_sim *sim, uint16_t port)
{
    struct sim_port *p = (struct sim_port *)(void *)sim->ports.ptr;
    for (size_t i = 0; i < sim->ports.len / sizeof *p; i++)
        if (p[i].port == port)
            return &p[i];
    return NULL;
}

int sim_connect_result(struct ring_sim *sim, uint16_t port)
{
    const struct sim_port *p = port_of(sim, port);
    return p ? -p->sys : 0;
}

struct sim_wakeup *sim_wakeup_of(struct ring_sim *sim, int eventfd)
{
    size_t n = sim->wakeups.len / sizeof(struct sim_wakeup);
    struct sim_wakeup *w = (struct sim_wakeup *)(void *)sim->wakeups.ptr;
    for (size_t i = 0; i < n; i++)
        if (w[i].eventfd == eventfd)
            return &w[i];
    buf_put(&sim->wakeups, &(struct sim_wakeup){.eventfd = eventfd}, sizeof *w);
    return (struct sim_wakeup *)(void *)sim->wakeups.ptr + n;
}

/* --- the side of the test ------------------------------------------------------------------ */

int ring_sim_listener(struct ring_sim *sim)
{
    return sim_fd_take(sim, SIM_FD_LISTENER, -1);
}

int ring_sim_client(struct ring_sim *sim, int listener)
{
    struct sim_fd *f = sim_fd_at(sim, listener);
    must(f->kind == SIM_FD_LISTENER);
    int conn = sim_conn_add(sim);
    sim->conns[conn].connected = true;
    buf_put(&f->waiting, &conn, sizeof conn);
    return conn;
}

int ring_sim_accepted(struct ring_sim *sim, uint16_t *ret_port)
{
    int conn = sim_pop(&sim->accepted);
    if (conn >= 0 && ret_port)
        *ret_port = sim->conns[conn].port;
    return conn;
}

void ring_sim_set_connect(struct ring_sim *sim, uint16_t port, int sys)
{
    struct sim_port *p = port_of(sim, port);
    if (p)
        p->sys = sys;
    else
        buf_put(&sim->ports, &(struct sim_port){port, sys}, sizeof *p);
}

void ring_sim_push(struct ring_sim *sim, int peer, struct span bytes)
{
    struct sim_conn *c = sim_conn_at(sim, peer);
    must(!c->in_ended && !c->reset);
    if (!c->closed)
        buf_put_span(&c->in, bytes);
}

void ring_sim_end(struct ring_sim *sim, int peer)
{
    sim_conn_at(sim, peer)->in_ended = true;
}

void ring_sim_reset(struct ring_sim *sim, int peer)
{
    struct sim_conn *c = sim_conn_at(sim, peer);
    c->reset = true;
    if (sim_chance(sim, 2)) /* what was not received may be lost with it */
        buf_consume(&c->in, c->in.len);
}

struct span ring_sim_sent(struct ring_sim *sim, int peer)
{
    return buf_span(&sim_conn_at(sim, peer)->out);
}

void ring_sim_take(struct ring_sim *sim, int peer, size_t n)
{
    buf_consume(&sim_conn_at(sim, peer)->out, n);
}

void ring_sim_set_window(struct ring_sim *sim, int peer, size_t bytes)
{
    sim_conn_at(sim, peer)->window = bytes;
}

size_t ring_sim_unread(struct ring_sim *sim, int peer)
{
    return sim_conn_at(sim, peer)->in.len;
}

bool ring_sim_saw_fin(struct ring_sim *sim, int peer)
{
    return sim_conn_at(sim, peer)->out_ended;
}

bool ring_sim_is_closed(struct ring_sim *sim, int peer)
{
    return sim_conn_at(sim, peer)->closed;
}

bool ring_sim_saw_reset(struct ring_sim *sim, int peer)
{
    return sim_conn_at(sim, peer)->close_reset;
}

void ring_sim_fail_next(struct ring_sim *sim, enum op op, int sys)
{
    sim->fail[op] = sys;
}

void ring_sim_wake(struct ring_sim *sim, int eventfd)
{
    sim_wakeup_of(sim, eventfd)->count++;
}

uint64_t ring_sim_now_ns(const struct ring_sim *sim)
{
    return sim->now_ns;
}

void ring_sim_sleep(struct ring_sim *sim, uint64_t ns)
{
    sim->now_ns += ns;
}

bool ring_sim_is_idle(const struct ring_sim *sim)
{
    for (struct list *n = sim->rings.next; n != &sim->rings; n = n->next) {
        struct ring *ring = LIST_ENTRY(n, struct ring, node);
        if (ring->events.len || !list_is_empty(&ring->prepared))
            return false;
        for (struct list *m = ring->pending.next; m != &ring->pending; m = m->next)
            if (sim_req_can_go_on(ring, LIST_ENTRY(m, struct sim_req, node)))
                return false;
    }
    return true;
}

static unsigned count_fds(const struct ring_sim *sim, enum sim_fd_kind kind)
{
    unsigned n = 0;
    for (unsigned i = 0; i < sim->fd_count; i++)
        n += sim->fds[i].kind == kind;
    return n;
}

unsigned ring_sim_open_fds(const struct ring_sim *sim)
{
    return count_fds(sim, SIM_FD_CONN);
}

unsigned ring_sim_open_pipes(const struct ring_sim *sim)
{
    return count_fds(sim, SIM_FD_PIPE) / 2;
}

/* --- what a worker asks outside the queues -------------------------------------------------- */

int ring_socket(struct ring *ring, int family)
{
    return sim_fd_take(ring->sim, SIM_FD_CONN, sim_conn_add(ring->sim));
}

void ring_tune_tcp(struct ring *ring, int fd, uint32_t probe_ms)
{
    (void)sim_fd_at(ring->sim, fd);
}

void ring_set_reset(struct ring *ring, int fd)
{
    sim_conn_at(ring->sim, sim_fd_at(ring->sim, fd)->conn)->reset_on_close = true;
}

struct result ring_address(struct ring *ring, int fd, bool peer, struct net_addr *ret)
{
    struct sim_fd *f = sim_fd_at(ring->sim, fd);
    if (peer && (f->kind != SIM_FD_CONN || ring->sim->conns[f->conn].reset))
        return result_fail_sys(ERR_SYSTEM, ENOTCONN);
    struct net_addr a = {.len = sizeof a.in};
    a.in.sin_family = AF_INET;
    a.in.sin_addr.s_addr = htonl(peer ? 0xc0000200u + (uint32_t)f->conn % 250 + 1 : 0xc6336401u);
    a.in.sin_port = htons(peer ? (uint16_t)(10000 + f->conn) : 443);
    *ret = a;
    return result_ok();
}

bool ring_has_waiting(struct ring *ring, int fd)
{
    const struct sim_fd *f = sim_fd_at(ring->sim, fd);
    if (f->kind != SIM_FD_CONN)
        return f->waiting.len > 0;
    const struct sim_conn *c = sim_conn_at(ring->sim, f->conn);
    return c->in.len > 0 || c->in_ended || c->reset;
}

int ring_pipe_open(struct ring *ring, uint32_t bytes, int ret[2])
{
    struct ring_sim *sim = ring->sim;
    if (sim_chance(sim, 8))
        return sim_chance(sim, 2) ? -EMFILE : -ENFILE;
    ret[0] = sim_fd_take(sim, SIM_FD_PIPE, -1);
    ret[1] = sim_fd_take(sim, SIM_FD_PIPE, ret[0]);
    /* What a user gets who has little, or very little, left. */
    size_t cap = !sim_chance(sim, 2) ? bytes : sim_chance(sim, 4) ? 8192 : 65536;
    sim_fd_at(sim, ret[0])->cap = cap;
    return (int)cap;
}

void ring_pipe_close(struct ring *ring, const int fds[2])
{
    must(sim_fd_at(ring->sim, fds[1])->conn == fds[0]);
    sim_fd_close(ring->sim, fds[1]);
    sim_fd_close(ring->sim, fds[0]);
}

static int splice_in(struct ring_sim *sim, struct sim_fd *from, struct sim_fd *pipe, uint32_t len)
{
    struct sim_conn *c = sim_conn_at(sim, from->conn);
    must(!from->busy[REQ_RECV]); /* bytes would be taken out of order */
    size_t room = pipe->cap - pipe->waiting.len;
    if (c->in.len == 0)
        return c->reset ? -ECONNRESET : !c->connected ? -ENOTCONN : c->in_ended ? 0 : -EAGAIN;
    if (room == 0 || sim_chance(sim, 16))
        return -EAGAIN;
    if (sim_chance(sim, 64))
        return sim_chance(sim, 2) ? -ENOMEM : -EINTR;
    len = len < room ? len : (uint32_t)room;
    size_t n = sim_piece(sim, c->in.len < len ? c->in.len : len);
    buf_put_span(&pipe->waiting, span_of(c->in.ptr, n));
    buf_consume(&c->in, n);
    return (int)n;
}

static int splice_out(struct ring_sim *sim, struct sim_fd *pipe, struct sim_fd *to, uint32_t len)
{
    struct sim_conn *c = sim_conn_at(sim, to->conn);
    must(!to->busy[REQ_SEND] && pipe->waiting.len > 0);
    if (c->reset || c->out_ended || !c->connected)
        return sim_chance(sim, 2) ? -ECONNRESET : -EPIPE;
    size_t room = c->window > c->out.len ? c->window - c->out.len : 0;
    if (room == 0 || sim_chance(sim, 16))
        return -EAGAIN;
    len = len < pipe->waiting.len ? len : (uint32_t)pipe->waiting.len;
    size_t n = sim_piece(sim, room < len ? room : len);
    buf_put_span(&c->out, span_of(pipe->waiting.ptr, n));
    buf_consume(&pipe->waiting, n);
    return (int)n;
}

int ring_splice(struct ring *ring, int from, int to, uint32_t len)
{
    struct sim_fd *source = sim_fd_at(ring->sim, from), *target = sim_fd_at(ring->sim, to);
    must(len > 0 && !source->closing && !target->closing);
    if (source->kind == SIM_FD_CONN)
        return splice_in(ring->sim, source, sim_fd_at(ring->sim, target->conn), len);
    return splice_out(ring->sim, source, target, len);
}

uint64_t ring_now_ns(const struct ring *ring)
{
    return ring->sim->now_ns;
}

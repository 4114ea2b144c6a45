/* SPDX-License-Identifier: Apache-2.0 */
#include "ring/ring_sim_private.h"

#include <netinet/in.h>
#include <stdlib.h>

#define QUANTUM_NS NS_PER_MS

static struct ring_sim *current;

static const unsigned group_bytes[RING_GROUPS] = {RING_SMALL_BYTES, RING_LARGE_BYTES};

void ring_sim_set_current(struct ring_sim *sim)
{
    current = sim;
}

struct result ring_probe(struct why *why)
{
    return result_ok();
}

struct result ring_open(const struct ring_config *config, struct ring **ret, struct why *why)
{
    must(current);
    struct ring *ring = mem_zalloc(sizeof *ring);
    ring->sim = current;
    ring->cq_entries = config->cq_entries;
    ring->features = (struct ring_features){.multishot_accept = !config->one_shot_accept,
                                            .multishot_recv = !config->one_shot_recv,
                                            .splice = true};
    for (unsigned g = 0; g < RING_GROUPS; g++) {
        unsigned n = config->buffers[g];
        ring->groups[g] = (struct sim_group){.count = n, .bytes = group_bytes[g], .free = n};
        ring->groups[g].mem = mem_zalloc((n + 1) * sizeof(uint8_t *));
        ring->groups[g].state = mem_zalloc(n + 1);
    }
    list_init(&ring->prepared);
    list_init(&ring->pending);
    list_append(&current->rings, &ring->node);
    *ret = ring;
    return result_ok();
}

void ring_close(struct ring *ring)
{
    must(ring->live == 0);
    for (unsigned g = 0; g < RING_GROUPS; g++) {
        must(ring->groups[g].free == ring->groups[g].count);
        free(ring->groups[g].mem);
        free(ring->groups[g].state);
    }
    struct list *n;
    while ((n = list_pop(&ring->prepared)) || (n = list_pop(&ring->pending)))
        free(LIST_ENTRY(n, struct sim_req, node));
    buf_free(&ring->events);
    list_remove(&ring->node);
    free(ring);
}

const struct ring_features *ring_features(const struct ring *ring)
{
    return &ring->features;
}

/* --- preparing ------------------------------------------------------------------------------- */

/* A request; with fd >= 0 it counts there. */
static struct sim_req *req_add(struct ring *ring, enum req_kind kind, int fd, struct op_id id)
{
    must(id.op < OP_COUNT && id.slot < 1u << 24 && id.gen < 1u << 24);
    struct sim_req *r = mem_zalloc(sizeof *r);
    r->kind = kind;
    r->fd = fd;
    r->id = id;
    if (fd >= 0) {
        struct sim_fd *f = sim_fd_at(ring->sim, fd);
        must(!f->closing);
        f->requests++;
        if (kind == REQ_RECV || kind == REQ_RECV_INTO || kind == REQ_SEND || kind == REQ_ACCEPT ||
            kind == REQ_POLL_IN || kind == REQ_POLL_OUT) {
            enum req_kind busy = kind == REQ_RECV_INTO ? REQ_RECV : kind;
            must(!f->busy[busy]); /* a second one in flight on this socket */
            f->busy[busy] = true;
        }
    }
    ring->live += id.op != OP_NONE;
    list_append(&ring->prepared, &r->node);
    return r;
}

void ring_accept(struct ring *ring, int fd, struct op_id id)
{
    must(sim_fd_at(ring->sim, fd)->kind == SIM_FD_LISTENER);
    req_add(ring, REQ_ACCEPT, fd, id)->multishot = ring->features.multishot_accept;
}

void ring_recv(struct ring *ring, int fd, enum ring_group group, bool multishot, struct op_id id)
{
    must(ring->groups[group].count);
    struct sim_req *r = req_add(ring, REQ_RECV, fd, id);
    r->group = group;
    r->multishot = multishot && ring->features.multishot_recv;
}

void ring_recv_into(struct ring *ring, int fd, void *ptr, size_t len, struct op_id id)
{
    must(len > 0);
    struct sim_req *r = req_add(ring, REQ_RECV_INTO, fd, id);
    r->ptr = ptr;
    r->len = len;
}

/* Byte `at` of what is to be sent. */
static struct span send_part(const struct sim_req *r, size_t at)
{
    if (!r->msg)
        return span_of(r->ptr + at, r->len - at);
    for (size_t i = 0; i < r->msg->msg_iovlen; i++) {
        struct iovec v = r->msg->msg_iov[i];
        if (at < v.iov_len)
            return span_of((uint8_t *)v.iov_base + at, v.iov_len - at);
        at -= v.iov_len;
    }
    return span_of(NULL, 0);
}

static uint64_t send_hash(const struct sim_req *r)
{
    uint64_t h = 14695981039346656037ull;
    for (size_t at = 0; at < r->len;) {
        struct span part = send_part(r, at);
        must(part.len > 0);
        for (size_t i = 0; i < part.len; i++)
            h = (h ^ part.ptr[i]) * 1099511628211ull;
        at += part.len;
    }
    return h;
}

void ring_send(struct ring *ring, int fd, const void *ptr, size_t len, bool more, struct op_id id)
{
    must(len > 0);
    struct sim_req *r = req_add(ring, REQ_SEND, fd, id);
    r->ptr = (uint8_t *)(uintptr_t)ptr;
    r->len = len;
    r->hash = send_hash(r);
}

void ring_sendmsg(struct ring *ring, int fd, const struct msghdr *msg, struct op_id id)
{
    struct sim_req *r = req_add(ring, REQ_SEND, fd, id);
    r->msg = msg;
    for (size_t i = 0; i < msg->msg_iovlen; i++)
        r->len += msg->msg_iov[i].iov_len;
    must(r->len > 0);
    r->hash = send_hash(r);
}

void ring_connect(struct ring *ring, int fd, const struct sockaddr *sa, socklen_t len,
                  struct op_id id)
{
    struct sim_req *r = req_add(ring, REQ_CONNECT, fd, id);
    must(!sim_conn_at(ring->sim, sim_fd_at(ring->sim, fd)->conn)->connected);
    r->port =
        ntohs(sa->sa_family == AF_INET6 ? ((const struct sockaddr_in6 *)(const void *)sa)->sin6_port
                                        : ((const struct sockaddr_in *)(const void *)sa)->sin_port);
}

void ring_shutdown(struct ring *ring, int fd, int how, struct op_id id)
{
    req_add(ring, REQ_SHUTDOWN, fd, id)->arg = how;
}

void ring_poll(struct ring *ring, int fd, bool out, struct op_id id)
{
    req_add(ring, out ? REQ_POLL_OUT : REQ_POLL_IN, fd, id);
}

void ring_cancel_fd(struct ring *ring, int fd, struct op_id id)
{
    (void)sim_fd_at(ring->sim, fd);
    req_add(ring, REQ_CANCEL_FD, -1, id)->arg = fd;
}

void ring_cancel(struct ring *ring, struct op_id target, struct op_id id)
{
    req_add(ring, REQ_CANCEL, -1, id)->target = op_pack(target);
}

void ring_close_fd(struct ring *ring, int fd, struct op_id id)
{
    struct sim_fd *f = sim_fd_at(ring->sim, fd);
    must(!f->closing && f->requests == 0); /* close does not cancel: join first */
    f->closing = true;
    req_add(ring, REQ_CLOSE, -1, id)->arg = fd;
}

void ring_wake_arm(struct ring *ring, int eventfd, struct op_id id)
{
    req_add(ring, REQ_WAKE, -1, id)->arg = eventfd;
}

/* --- the kernel's side ----------------------------------------------------------------------- */

/* Posts one completion. more == false ends the request. */
static void post(struct ring *ring, struct sim_req *r, int res, bool more, int buffer)
{
    if (more && ring->events.len / sizeof(struct sim_event) >= ring->cq_entries) {
        more = false; /* an overflow ends multishot requests */
        ring->overflows++;
    }
    struct sim_event event = {
        .e = {.id = r->id, .res = res, .more = more},
        .fd = r->fd,
        .kind = r->kind == REQ_RECV_INTO ? REQ_RECV : r->kind,
    };
    if (buffer >= 0) {
        event.e.has_buffer = true;
        event.e.group = (uint8_t)r->group;
        event.e.buffer = (uint16_t)buffer;
    }
    buf_put(&ring->events, &event, sizeof event);
    if (!more) {
        list_remove(&r->node);
        free(r);
    }
}

static uint64_t delay_ns(struct ring_sim *sim)
{
    switch (sim_random(sim, 8)) {
    case 4:
    case 5:
    case 6:
        return sim_random(sim, 50000);
    case 7:
        return sim_random(sim, 2 * NS_PER_MS);
    default:
        return 0;
    }
}

/* A multishot request goes on, or ends for no reason that is told. */
static bool goes_on(struct ring *ring, struct sim_req *r)
{
    r->ready_ns = ring->sim->now_ns + delay_ns(ring->sim);
    return r->multishot && !sim_chance(ring->sim, 16);
}

static int pick_buffer(struct ring *ring, enum ring_group group)
{
    struct sim_group *g = &ring->groups[group];
    if (g->free == g->given_back)
        return -1;
    unsigned i = (unsigned)sim_random(ring->sim, g->count);
    while (g->state[i] != SIM_BUFFER_FREE)
        i = (i + 1) % g->count;
    g->state[i] = SIM_BUFFER_LENT;
    g->mem[i] = mem_alloc(g->bytes);
    g->free--;
    return (int)i;
}

static struct sim_conn *conn_of(struct ring *ring, const struct sim_req *r)
{
    const struct sim_fd *f = sim_fd_at(ring->sim, r->fd);
    must(f->kind == SIM_FD_CONN);
    return sim_conn_at(ring->sim, f->conn);
}

static bool group_is_empty(const struct ring *ring, const struct sim_req *r)
{
    return ring->groups[r->group].free == ring->groups[r->group].given_back;
}

bool sim_req_can_go_on(struct ring *ring, const struct sim_req *r)
{
    if (r->cancelled || r->decided)
        return true;
    switch (r->kind) {
    case REQ_ACCEPT:
        return sim_fd_at(ring->sim, r->fd)->waiting.len > 0;
    case REQ_RECV:
        if (!r->armed && group_is_empty(ring, r))
            return true; /* -ENOBUFS, data or not */
        /* fall through */
    case REQ_POLL_IN:
    case REQ_RECV_INTO: {
        const struct sim_conn *c = conn_of(ring, r);
        return c->in.len || c->in_ended || c->reset || c->in_shut || !c->connected;
    }
    case REQ_POLL_OUT:
    case REQ_SEND: {
        const struct sim_conn *c = conn_of(ring, r);
        return c->out.len < c->window || c->reset || c->out_ended || !c->connected;
    }
    case REQ_CONNECT:
        return sim_connect_result(ring->sim, r->port) != -EINPROGRESS;
    case REQ_WAKE:
        return sim_wakeup_of(ring->sim, r->arg)->count > 0;
    default:
        return true;
    }
}

static void go_on_accept(struct ring *ring, struct sim_req *r)
{
    int conn = sim_pop(&sim_fd_at(ring->sim, r->fd)->waiting);
    int fd = sim_fd_take(ring->sim, SIM_FD_CONN, conn);
    post(ring, r, fd, goes_on(ring, r), -1);
}

static void go_on_recv(struct ring *ring, struct sim_req *r)
{
    struct sim_conn *c = conn_of(ring, r);
    size_t room = r->kind == REQ_RECV ? ring->groups[r->group].bytes : r->len;
    if (r->kind == REQ_RECV && group_is_empty(ring, r)) {
        post(ring, r, -ENOBUFS, false, -1);
        return;
    }
    if (c->in.len == 0) {
        post(ring, r, c->reset ? -ECONNRESET : c->connected ? 0 : -ENOTCONN, false, -1);
        return;
    }
    size_t n = sim_piece(ring->sim, c->in.len < room ? c->in.len : room);
    int buffer = r->kind == REQ_RECV ? pick_buffer(ring, r->group) : -1;
    memcpy(buffer >= 0 ? ring->groups[r->group].mem[buffer] : r->ptr, c->in.ptr, n);
    buf_consume(&c->in, n);
    /* Kernels before 6.8 try again at once, and want a buffer for that. */
    r->armed = !sim_chance(ring->sim, 2);
    post(ring, r, (int)n, goes_on(ring, r), buffer);
}

static void go_on_send(struct ring *ring, struct sim_req *r)
{
    struct sim_conn *c = conn_of(ring, r);
    must(send_hash(r) == r->hash); /* else the memory was changed or freed while in flight */
    if (c->reset || c->out_ended || !c->connected) {
        int sys = sim_chance(ring->sim, 2) ? -ECONNRESET : -EPIPE;
        post(ring, r, r->done ? (int)r->done : sys, false, -1);
        return;
    }
    size_t room = c->window > c->out.len ? c->window - c->out.len : 0;
    size_t n = sim_piece(ring->sim, room < r->len - r->done ? room : r->len - r->done);
    for (size_t left = n; left > 0;) {
        struct span part = span_first(send_part(r, r->done), left);
        buf_put_span(&c->out, part);
        r->done += part.len;
        left -= part.len;
    }
    r->ready_ns = ring->sim->now_ns + delay_ns(ring->sim);
    if (r->done == r->len || (r->done > 0 && sim_chance(ring->sim, 32)))
        post(ring, r, (int)r->done, false, -1);
}

static void go_on_connect(struct ring *ring, struct sim_req *r)
{
    int sys = sim_connect_result(ring->sim, r->port);
    struct sim_conn *c = conn_of(ring, r);
    if (sys == 0) {
        int peer = (int)(c - ring->sim->conns);
        c->connected = true;
        c->port = r->port;
        buf_put(&ring->sim->accepted, &peer, sizeof peer);
    }
    post(ring, r, sys, false, -1);
}

static void go_on_cancelled(struct ring *ring, struct sim_req *r)
{
    if (r->kind == REQ_SEND && r->done > 0)
        post(ring, r, (int)r->done, false, -1);
    else if (r->kind == REQ_RECV && sim_chance(ring->sim, 16))
        post(ring, r, -ENOBUFS, false, -1); /* as kernels before 6.5 say */
    else
        post(ring, r, -ECANCELED, false, -1);
}

/* Lets a request go on that can; most end by it. */
static void go_on(struct ring *ring, struct sim_req *r)
{
    if (r->decided) {
        post(ring, r, r->res, false, -1);
        return;
    }
    if (r->cancelled) {
        r->cancelled = false;
        bool wins = r->kind != REQ_WAKE && sim_req_can_go_on(ring, r) && sim_chance(ring->sim, 4);
        r->cancelled = true;
        if (!wins) {
            go_on_cancelled(ring, r);
            return;
        }
    }
    switch (r->kind) {
    case REQ_ACCEPT:
        go_on_accept(ring, r);
        break;
    case REQ_RECV:
    case REQ_RECV_INTO:
        go_on_recv(ring, r);
        break;
    case REQ_SEND:
        go_on_send(ring, r);
        break;
    case REQ_CONNECT:
        go_on_connect(ring, r);
        break;
    case REQ_POLL_IN:
    case REQ_POLL_OUT:
        post(ring, r, 1, false, -1);
        break;
    case REQ_WAKE:
        sim_wakeup_of(ring->sim, r->arg)->count = 0;
        post(ring, r, 8, false, -1);
        break;
    default:
        never();
    }
}

/* Cancels what is pending on the descriptor (fd >= 0) or has the user_data; what the cancel
 * completes with. */
static int cancel(struct ring *ring, int fd, uint64_t target)
{
    int n = 0;
    bool denied = false;
    for (struct list *at = ring->pending.next; at != &ring->pending; at = at->next) {
        struct sim_req *r = LIST_ENTRY(at, struct sim_req, node);
        bool hit = fd >= 0 ? r->fd == fd : op_pack(r->id) == target;
        if (!hit || r->decided || r->cancelled)
            continue;
        r->cancelled = true;
        n++;
        if (fd < 0) {
            denied = sim_chance(ring->sim, 16);
            break;
        }
    }
    if (fd >= 0)
        return n;
    return n == 0 || denied ? -ENOENT : 0;
}

static void shut_down(struct ring *ring, struct sim_req *r)
{
    struct sim_conn *c = conn_of(ring, r);
    if (!c->connected || c->reset) {
        r->res = -ENOTCONN;
        return;
    }
    c->out_ended |= r->arg != SHUT_RD;
    c->in_shut |= r->arg != SHUT_WR;
}

/* What the kernel does at submission; the rest happens in pump(). */
static void issue(struct ring *ring, struct sim_req *r)
{
    struct ring_sim *sim = ring->sim;
    r->ready_ns = sim->now_ns + delay_ns(sim);
    r->decided = true;
    if (r->kind == REQ_CLOSE)
        sim_fd_close(sim, r->arg); /* a close that fails closes all the same */
    if (sim->fail[r->id.op]) {
        r->res = -sim->fail[r->id.op];
        sim->fail[r->id.op] = 0;
    } else if (r->kind == REQ_SHUTDOWN) {
        shut_down(ring, r);
    } else if (r->kind == REQ_CANCEL_FD || r->kind == REQ_CANCEL) {
        r->res = cancel(ring, r->kind == REQ_CANCEL_FD ? r->arg : -1, r->target);
    } else if (r->kind != REQ_CLOSE) {
        r->decided = false;
    }
    list_append(&ring->pending, &r->node);
}

/* One pass over the requests in random order. True when something moved. */
static bool pump_once(struct ring *ring)
{
    struct buf order = {0};
    for (struct list *at = ring->pending.next; at != &ring->pending; at = at->next) {
        struct sim_req *r = LIST_ENTRY(at, struct sim_req, node);
        buf_put(&order, &r, sizeof r);
    }
    struct sim_req **reqs = (struct sim_req **)(void *)order.ptr;
    size_t n = order.len / sizeof *reqs;
    bool moved = false;
    for (size_t i = 0; i < n; i++) {
        size_t j = i + (size_t)sim_random(ring->sim, n - i);
        struct sim_req *r = reqs[j];
        reqs[j] = reqs[i];
        if (r->ready_ns > ring->sim->now_ns)
            continue;
        if (!sim_req_can_go_on(ring, r)) {
            r->armed = true;
            continue;
        }
        go_on(ring, r);
        moved = true;
    }
    buf_free(&order);
    return moved;
}

static void pump(struct ring *ring)
{
    while (pump_once(ring) && !sim_chance(ring->sim, 2))
        ;
}

/* When the first request that can go on is ready; UINT64_MAX: none. */
static uint64_t next_ready_ns(struct ring *ring)
{
    uint64_t next = UINT64_MAX;
    for (struct list *at = ring->pending.next; at != &ring->pending; at = at->next) {
        struct sim_req *r = LIST_ENTRY(at, struct sim_req, node);
        if (r->ready_ns < next && sim_req_can_go_on(ring, r))
            next = r->ready_ns;
    }
    return next;
}

struct result ring_submit_wait(struct ring *ring, bool wait, uint64_t deadline_ns)
{
    for (unsigned g = 0; g < RING_GROUPS; g++) {
        struct sim_group *group = &ring->groups[g];
        for (unsigned i = 0; group->given_back && i < group->count; i++)
            if (group->state[i] == SIM_BUFFER_GIVEN_BACK)
                group->state[i] = SIM_BUFFER_FREE;
        group->given_back = 0;
    }
    struct list *n;
    while ((n = list_pop(&ring->prepared)))
        issue(ring, LIST_ENTRY(n, struct sim_req, node));
    ring->sim->now_ns += 1000;
    pump(ring);
    if (!wait || ring->events.len)
        return result_ok();
    uint64_t until = ring->sim->now_ns + QUANTUM_NS;
    uint64_t ready = next_ready_ns(ring);
    until = ready < until ? ready : until;
    until = deadline_ns < until ? deadline_ns : until;
    if (until > ring->sim->now_ns)
        ring->sim->now_ns = until;
    pump(ring);
    return ring->events.len ? result_ok() : result_fail(ERR_TIMEOUT);
}

unsigned ring_drain(struct ring *ring, struct ring_event *events, unsigned max)
{
    unsigned n = 0;
    for (; n < max && ring->events.len; n++) {
        struct sim_event event;
        memcpy(&event, ring->events.ptr, sizeof event);
        buf_consume(&ring->events, sizeof event);
        events[n] = event.e;
        if (event.e.more)
            continue;
        ring->live -= event.e.id.op != OP_NONE;
        if (event.fd >= 0) {
            struct sim_fd *f = sim_fd_at(ring->sim, event.fd);
            f->requests--;
            f->busy[event.kind] = false;
        }
    }
    return n;
}

/* --- buffers --------------------------------------------------------------------------------- */

uint8_t *ring_buffer(struct ring *ring, enum ring_group group, uint16_t buffer)
{
    struct sim_group *g = &ring->groups[group];
    must(buffer < g->count && g->state[buffer] == SIM_BUFFER_LENT);
    return g->mem[buffer];
}

void ring_give_back(struct ring *ring, enum ring_group group, uint16_t buffer)
{
    struct sim_group *g = &ring->groups[group];
    must(buffer < g->count && g->state[buffer] == SIM_BUFFER_LENT);
    memset(g->mem[buffer], 0xdb, g->bytes);
    free(g->mem[buffer]);
    g->mem[buffer] = NULL;
    g->state[buffer] = SIM_BUFFER_GIVEN_BACK;
    g->free++;
    g->given_back++;
}

unsigned ring_buffers_free(const struct ring *ring, enum ring_group group)
{
    return ring->groups[group].free;
}

uint64_t ring_overflows(const struct ring *ring)
{
    return ring->overflows;
}

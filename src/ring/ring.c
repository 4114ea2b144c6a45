/* SPDX-License-Identifier: Apache-2.0 */
#include "ring/ring.h"

#include "base/buf.h"
#include "base/clock.h"
#include "base/must.h"
#include "ring/bufring.h"
#include "ring/probe.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdlib.h>
#include <unistd.h>

/* Newer than the headers of Linux 6.1. */
#define ENTER_NO_IOWAIT        (1u << 7)
#define FEATURE_NO_IOWAIT      (1u << 17)
#define SETUP_NO_SQARRAY       (1u << 16)
#define REGISTER_SEND_MSG_RING 31u
#define REGISTER_RESIZE_RINGS  33u

/* Buffer ids of the large group have this bit, so a completion tells its group. */
#define LARGE_ID 0x8000u

struct ring {
    struct io_uring uring;
    struct bufring groups[RING_GROUPS];
    struct ring_features features;
    unsigned enter_flags;
    uint64_t overflows;
    uint64_t wake_value; /* where the eventfd's counter is read to */
};

static const unsigned group_bytes[RING_GROUPS] = {RING_SMALL_BYTES, RING_LARGE_BYTES};

static_assert(RING_GROUPS == 2, "LARGE_ID tells two groups apart");

/* Tells whether the kernel knows a registration opcode: a known one reads its argument, which
 * points nowhere, before it does anything. */
static bool knows_register(int fd, unsigned opcode)
{
    return io_uring_register((unsigned)fd, opcode, (const void *)1, 1) == -EFAULT;
}

/* Whether splice(2) may be called at all: a filter may forbid it. */
static bool knows_splice(void)
{
    return splice(-1, NULL, -1, NULL, 1, SPLICE_F_NONBLOCK) < 0 && errno == EBADF;
}

static void ring_find_features(struct ring *ring, const struct ring_config *config)
{
    struct io_uring *u = &ring->uring;
    struct io_uring_probe *probe = io_uring_get_probe_ring(u);
    bool accept = probe && io_uring_opcode_supported(probe, IORING_OP_ACCEPT);
    bool recv = probe && io_uring_opcode_supported(probe, IORING_OP_RECV);
    /* Both multishot forms are older than DEFER_TASKRUN, with which the ring was set up. */
    ring->features = (struct ring_features){
        .multishot_accept = accept && !config->one_shot_accept,
        .multishot_recv = recv && !config->one_shot_recv,
        .send_zc = probe && io_uring_opcode_supported(probe, IORING_OP_SEND_ZC),
        .msg_ring_sync = knows_register(-1, REGISTER_SEND_MSG_RING),
        .cq_resize = knows_register(u->ring_fd, REGISTER_RESIZE_RINGS),
        .splice = probe && io_uring_opcode_supported(probe, IORING_OP_POLL_ADD) && knows_splice(),
    };
    io_uring_free_probe(probe);
}

struct result ring_open(const struct ring_config *config, struct ring **ret, struct why *why)
{
    struct ring *ring = mem_zalloc(sizeof *ring);
    struct result r = probe_setup(&ring->uring, config->sq_entries, config->cq_entries, why);
    if (!result_is_ok(r)) {
        free(ring);
        return r;
    }
    struct io_uring *u = &ring->uring;
    /* Saves a file look-up at each enter. Every entering works without it too. */
    bool registered = io_uring_register_ring_fd(u) == 1;
    ring->enter_flags = IORING_ENTER_GETEVENTS | (registered ? IORING_ENTER_REGISTERED_RING : 0);
    if (u->features & FEATURE_NO_IOWAIT)
        ring->enter_flags |= ENTER_NO_IOWAIT;
    if (!(u->flags & SETUP_NO_SQARRAY))
        for (unsigned i = 0; i < u->sq.ring_entries; i++)
            u->sq.array[i] = i;
    ring_find_features(ring, config);
    for (unsigned g = 0; g < RING_GROUPS; g++) {
        if (!config->buffers[g])
            continue;
        r = bufring_init(&ring->groups[g], u, (uint16_t)g, g == RING_LARGE ? LARGE_ID : 0,
                         config->buffers[g], config->shown[g], group_bytes[g]);
        if (!result_is_ok(r)) {
            r = r.code == ERR_IO_URING
                    ? probe_refused("io_uring_register", r.sys, 0, why)
                    : why_fail(why, r.code, "no memory for %u buffers of %u bytes",
                               config->buffers[g], group_bytes[g]);
            ring_close(ring);
            return r;
        }
    }
    *ret = ring;
    return result_ok();
}

void ring_close(struct ring *ring)
{
    for (unsigned g = 0; g < RING_GROUPS; g++)
        bufring_fini(&ring->groups[g], &ring->uring);
    io_uring_queue_exit(&ring->uring);
    free(ring);
}

const struct ring_features *ring_features(const struct ring *ring)
{
    return &ring->features;
}

/* Makes prepared entries visible to the kernel; returns how many it has not taken yet. The index
 * array is the identity from ring_open() on, whatever version of liburing made the ring. */
static unsigned ring_flush(struct ring *ring)
{
    struct io_uring_sq *sq = &ring->uring.sq;
    sq->sqe_head = sq->sqe_tail;
    __atomic_store_n(sq->ktail, sq->sqe_tail, __ATOMIC_RELEASE);
    return sq->sqe_tail - __atomic_load_n(sq->khead, __ATOMIC_ACQUIRE);
}

static int ring_enter(struct ring *ring, unsigned submit, unsigned min_complete, unsigned flags,
                      struct io_uring_getevents_arg *arg)
{
    return io_uring_enter2((unsigned)ring->uring.enter_ring_fd, submit, min_complete, flags,
                           (sigset_t *)(void *)arg, arg ? sizeof *arg : 0);
}

static struct io_uring_sqe *ring_sqe(struct ring *ring)
{
    struct io_uring_sqe *sqe = io_uring_get_sqe(&ring->uring);
    for (int tries = 0; !sqe && tries < 8; tries++) {
        (void)ring_enter(ring, ring_flush(ring), 0, ring->enter_flags & ~IORING_ENTER_GETEVENTS,
                         NULL);
        sqe = io_uring_get_sqe(&ring->uring);
    }
    /* A submission frees its entry at once; only a kernel that is out of memory does not. */
    must(sqe);
    return sqe;
}

/* The one place where flags and user_data are set: prep functions of some versions clear them. */
static void ring_put(struct io_uring_sqe *sqe, unsigned flags, struct op_id id)
{
    sqe->flags = (uint8_t)flags;
    sqe->user_data = op_pack(id);
}

void ring_accept(struct ring *ring, int fd, struct op_id id)
{
    struct io_uring_sqe *sqe = ring_sqe(ring);
    io_uring_prep_accept(sqe, fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (ring->features.multishot_accept)
        sqe->ioprio |= IORING_ACCEPT_MULTISHOT;
    ring_put(sqe, 0, id);
}

void ring_recv(struct ring *ring, int fd, enum ring_group group, bool multishot, struct op_id id)
{
    must(ring->groups[group].count);
    struct io_uring_sqe *sqe = ring_sqe(ring);
    io_uring_prep_recv(sqe, fd, NULL, 0, 0); /* length 0: as long as the buffer */
    if (multishot && ring->features.multishot_recv)
        sqe->ioprio |= IORING_RECV_MULTISHOT;
    sqe->buf_group = (uint16_t)group;
    ring_put(sqe, IOSQE_BUFFER_SELECT, id);
}

void ring_recv_into(struct ring *ring, int fd, void *ptr, size_t len, struct op_id id)
{
    struct io_uring_sqe *sqe = ring_sqe(ring);
    io_uring_prep_recv(sqe, fd, ptr, len, 0);
    ring_put(sqe, 0, id);
}

void ring_send(struct ring *ring, int fd, const void *ptr, size_t len, bool more, struct op_id id)
{
    struct io_uring_sqe *sqe = ring_sqe(ring);
    io_uring_prep_send(sqe, fd, ptr, len, MSG_NOSIGNAL | MSG_WAITALL | (more ? MSG_MORE : 0));
    ring_put(sqe, 0, id);
}

void ring_sendmsg(struct ring *ring, int fd, const struct msghdr *msg, struct op_id id)
{
    struct io_uring_sqe *sqe = ring_sqe(ring);
    io_uring_prep_sendmsg(sqe, fd, msg, MSG_NOSIGNAL | MSG_WAITALL);
    ring_put(sqe, 0, id);
}

void ring_connect(struct ring *ring, int fd, const struct sockaddr *sa, socklen_t len,
                  struct op_id id)
{
    struct io_uring_sqe *sqe = ring_sqe(ring);
    io_uring_prep_connect(sqe, fd, sa, len);
    ring_put(sqe, 0, id);
}

void ring_shutdown(struct ring *ring, int fd, int how, struct op_id id)
{
    struct io_uring_sqe *sqe = ring_sqe(ring);
    io_uring_prep_shutdown(sqe, fd, how);
    ring_put(sqe, 0, id);
}

void ring_poll(struct ring *ring, int fd, bool out, struct op_id id)
{
    struct io_uring_sqe *sqe = ring_sqe(ring);
    io_uring_prep_poll_add(sqe, fd, out ? POLLOUT : POLLIN | POLLRDHUP);
    ring_put(sqe, 0, id);
}

void ring_cancel_fd(struct ring *ring, int fd, struct op_id id)
{
    struct io_uring_sqe *sqe = ring_sqe(ring);
    io_uring_prep_cancel_fd(sqe, fd, IORING_ASYNC_CANCEL_ALL);
    ring_put(sqe, 0, id);
}

void ring_cancel(struct ring *ring, struct op_id target, struct op_id id)
{
    struct io_uring_sqe *sqe = ring_sqe(ring);
    io_uring_prep_cancel64(sqe, op_pack(target), 0);
    ring_put(sqe, 0, id);
}

void ring_close_fd(struct ring *ring, int fd, struct op_id id)
{
    struct io_uring_sqe *sqe = ring_sqe(ring);
    io_uring_prep_close(sqe, fd);
    ring_put(sqe, 0, id);
}

void ring_wake_arm(struct ring *ring, int eventfd, struct op_id id)
{
    struct io_uring_sqe *sqe = ring_sqe(ring);
    io_uring_prep_read(sqe, eventfd, &ring->wake_value, sizeof ring->wake_value, 0);
    ring_put(sqe, 0, id);
}

int ring_socket(struct ring *ring, int family)
{
    int fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    return fd < 0 ? -errno : fd;
}

void ring_tune_tcp(struct ring *ring, int fd, uint32_t probe_ms)
{
    int probe_s = probe_ms > 1000 ? (int)(probe_ms / 1000) : 1;
    const struct {
        int level, option, value;
    } options[] = {
        {IPPROTO_TCP, TCP_NODELAY, 1},
        {SOL_SOCKET, SO_KEEPALIVE, 1},
        {IPPROTO_TCP, TCP_KEEPIDLE, probe_ms ? probe_s : 60},
        {IPPROTO_TCP, TCP_KEEPINTVL, probe_ms ? probe_s : 15},
        {IPPROTO_TCP, TCP_KEEPCNT, 4},
    };
    for (size_t i = 0; i < sizeof options / sizeof *options; i++)
        (void)setsockopt(fd, options[i].level, options[i].option, &options[i].value, sizeof(int));
}

void ring_set_reset(struct ring *ring, int fd)
{
    struct linger now = {.l_onoff = 1, .l_linger = 0};
    (void)setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof now);
}

struct result ring_address(struct ring *ring, int fd, bool peer, struct net_addr *ret)
{
    struct net_addr a = {.len = sizeof a.in6};
    int r = peer ? getpeername(fd, &a.sa, &a.len) : getsockname(fd, &a.sa, &a.len);
    if (r < 0)
        return result_fail_sys(ERR_SYSTEM, errno);
    *ret = a;
    return result_ok();
}

bool ring_has_waiting(struct ring *ring, int fd)
{
    struct pollfd p = {.fd = fd, .events = POLLIN};
    return poll(&p, 1, 0) == 1 && (p.revents & POLLIN);
}

int ring_pipe_open(struct ring *ring, uint32_t bytes, int ret[2])
{
    int fds[2];
    if (pipe2(fds, O_CLOEXEC | O_NONBLOCK) < 0)
        return -errno;
    int size = fcntl(fds[1], F_SETPIPE_SZ, (int)bytes);
    if (size < 0) /* this user has too many pages in pipes */
        size = fcntl(fds[1], F_GETPIPE_SZ);
    if (size < 0) {
        int error = errno;
        ring_pipe_close(ring, fds);
        return -error;
    }
    ret[0] = fds[0];
    ret[1] = fds[1];
    return size;
}

void ring_pipe_close(struct ring *ring, const int fds[2])
{
    close(fds[0]);
    close(fds[1]);
}

int ring_splice(struct ring *ring, int from, int to, uint32_t len)
{
    ssize_t n = splice(from, NULL, to, NULL, len, SPLICE_F_MOVE | SPLICE_F_NONBLOCK);
    return n < 0 ? -errno : (int)n;
}

uint64_t ring_now_ns(const struct ring *ring)
{
    return clock_now_ns();
}

struct result ring_submit_wait(struct ring *ring, bool wait, uint64_t deadline_ns)
{
    for (unsigned g = 0; g < RING_GROUPS; g++)
        bufring_publish(&ring->groups[g]);
    struct io_uring *u = &ring->uring;
    unsigned submit = ring_flush(ring);
    bool pending = io_uring_cq_ready(u) > 0;
    bool deferred = __atomic_load_n(u->sq.kflags, __ATOMIC_RELAXED) &
                    (IORING_SQ_TASKRUN | IORING_SQ_CQ_OVERFLOW);
    if (!submit && !deferred && (pending || !wait))
        return result_ok();

    struct __kernel_timespec ts = {0};
    struct io_uring_getevents_arg arg = {.ts = (uint64_t)(uintptr_t)&ts};
    bool block = wait && !pending;
    bool timed = block && deadline_ns != UINT64_MAX;
    if (timed) {
        uint64_t now = clock_now_ns();
        uint64_t left = deadline_ns > now ? deadline_ns - now : 0;
        ts.tv_sec = (int64_t)(left / NS_PER_S);
        ts.tv_nsec = (int64_t)(left % NS_PER_S);
        block = left > 0;
    }
    int n = ring_enter(ring, submit, block ? 1 : 0,
                       ring->enter_flags | (timed ? IORING_ENTER_EXT_ARG : 0), timed ? &arg : NULL);
    if (io_uring_cq_has_overflow(u))
        ring->overflows++;
    switch (n < 0 ? -n : 0) {
    case 0:
    case EINTR:
    case EAGAIN: /* out of memory for a request: what is left goes with the next call */
    case EBUSY:  /* overflow that does not fit the CQ yet */
        return result_ok();
    case ETIME:
        return result_fail(ERR_TIMEOUT);
    default: /* EBADR: a completion was lost for want of memory */
        return result_fail_sys(ERR_SYSTEM, -n);
    }
}

/* Fills one event. A buffer without bytes in it (some kernels flag one with an error) goes
 * straight back. */
static void ring_event_of(struct ring *ring, const struct io_uring_cqe *cqe, struct ring_event *e)
{
    *e = (struct ring_event){
        .id = op_unpack(cqe->user_data),
        .res = cqe->res,
        .more = cqe->flags & IORING_CQE_F_MORE,
    };
    if (!(cqe->flags & IORING_CQE_F_BUFFER))
        return;
    uint16_t wire_id = (uint16_t)(cqe->flags >> IORING_CQE_BUFFER_SHIFT);
    e->group = wire_id & LARGE_ID ? RING_LARGE : RING_SMALL;
    e->buffer = (uint16_t)(wire_id & ~LARGE_ID);
    e->has_buffer = true;
    bufring_lend(&ring->groups[e->group], e->buffer);
    if (e->res <= 0) {
        bufring_give_back(&ring->groups[e->group], e->buffer);
        e->has_buffer = false;
    }
}

unsigned ring_drain(struct ring *ring, struct ring_event *events, unsigned max)
{
    struct io_uring *u = &ring->uring;
    unsigned ready = io_uring_cq_ready(u);
    unsigned n = ready < max ? ready : max;
    unsigned head = *u->cq.khead;
    for (unsigned i = 0; i < n; i++)
        ring_event_of(ring, &u->cq.cqes[(head + i) & u->cq.ring_mask], &events[i]);
    io_uring_cq_advance(u, n);
    return n;
}

uint8_t *ring_buffer(struct ring *ring, enum ring_group group, uint16_t buffer)
{
    const struct bufring *b = &ring->groups[group];
    must(buffer < b->count && b->lent[buffer]);
    return b->mem + (size_t)buffer * b->bytes;
}

void ring_give_back(struct ring *ring, enum ring_group group, uint16_t buffer)
{
    bufring_give_back(&ring->groups[group], buffer);
}

unsigned ring_buffers_free(const struct ring *ring, enum ring_group group)
{
    return ring->groups[group].free;
}

uint64_t ring_overflows(const struct ring *ring)
{
    return ring->overflows + __atomic_load_n(ring->uring.cq.koverflow, __ATOMIC_RELAXED);
}

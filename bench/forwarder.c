/* SPDX-License-Identifier: Apache-2.0 */
/* bench/forwarder - the limit that proxies are measured against: passes bytes between two sockets
 * with io_uring and looks at none of them. One thread, one connection to the upstream for each
 * connection, multishot accept and receive, buffers that the ring provides, each sent from where
 * it was received. Usage: forwarder LISTEN_PORT UPSTREAM_PORT (both on 127.0.0.1) */
#include <liburing.h>

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/* A buffer's place is not a power of two apart from the next one's, else the first bytes of all
 * would share a few lines of the cache. */
enum {
    PAIRS = 32768,
    BUFFERS = 1024, /* a power of two */
    BUFFER_BYTES = 65536,
    BUFFER_STRIDE = BUFFER_BYTES + 4096 + 192,
    SQ_ENTRIES = 4096,
    CQ_ENTRIES = 32768,
    SHOWN_MIN = 16,
    CALM_TURNS = 4096,
    BACKLOG = 4096,
    NOBODY = 0xffff,
};

enum op { OP_ACCEPT, OP_CONNECT, OP_RECV, OP_SEND };

/* What goes from fd[side] to fd[!side]: received buffers that wait to be sent, in order. */
struct way {
    uint16_t first, last; /* ids of buffers, or NOBODY */
    bool receiving, sending, starved, ended;
};

struct pair {
    int fd[2]; /* 0: the client, 1: the upstream */
    struct way way[2];
    unsigned inflight;
    bool closing;
    uint32_t next_free;
};

static struct io_uring ring;
static struct io_uring_buf_ring *buffers;
static uint8_t *memory;
static struct {
    uint16_t next;
    uint32_t len;
} held[BUFFERS];
static uint16_t spare[BUFFERS]; /* a stack: what was used last is still in the cache */
static unsigned spare_count;
static unsigned shown;  /* buffers that the kernel may fill */
static unsigned wanted; /* so many are to be shown: few, so that they stay in the cache */
static unsigned calm;   /* turns since somebody found none */
static struct pair pairs[PAIRS];
static uint32_t free_pairs;
static uint32_t starved[2 * PAIRS]; /* ways that found no buffer: pair << 1 | side */
static unsigned starved_count;
static struct sockaddr_in upstream;
static int listener;

static _Noreturn void fail(const char *what, int error)
{
    fprintf(stderr, "forwarder: %s: %s\n", what, strerror(error));
    exit(1);
}

static uint64_t pack(enum op op, unsigned side, uint32_t pair, uint16_t buffer)
{
    return (uint64_t)op | (uint64_t)side << 4 | (uint64_t)pair << 8 | (uint64_t)buffer << 40;
}

static struct io_uring_sqe *next_sqe(void)
{
    struct io_uring_sqe *sqe = io_uring_get_sqe(&ring);
    if (!sqe) {
        io_uring_submit(&ring);
        sqe = io_uring_get_sqe(&ring);
        if (!sqe)
            fail("submission queue", EBUSY);
    }
    return sqe;
}

static uint8_t *buffer_at(uint16_t id)
{
    return memory + (size_t)id * BUFFER_STRIDE;
}

static void buffer_give_back(uint16_t id)
{
    spare[spare_count++] = id;
}

/* Shows buffers to the kernel. It fills them in the order in which they are shown. */
static void buffers_show(void)
{
    int count = 0;
    if (++calm > CALM_TURNS) {
        calm = 0;
        wanted = wanted / 2 < SHOWN_MIN ? SHOWN_MIN : wanted / 2;
    }
    for (; shown < wanted && spare_count; shown++) {
        uint16_t id = spare[--spare_count];
        io_uring_buf_ring_add(buffers, buffer_at(id), BUFFER_BYTES, id,
                              io_uring_buf_ring_mask(BUFFERS), count++);
    }
    if (count)
        io_uring_buf_ring_advance(buffers, count);
}

static void arm_accept(void)
{
    uint64_t data = pack(OP_ACCEPT, 0, 0, 0);
    struct io_uring_sqe *sqe = next_sqe();
    io_uring_prep_multishot_accept(sqe, listener, NULL, NULL, SOCK_CLOEXEC);
    io_uring_sqe_set_data64(sqe, data);
}

static void arm_recv(struct pair *p, unsigned side)
{
    uint64_t data = pack(OP_RECV, side, (uint32_t)(p - pairs), 0);
    struct io_uring_sqe *sqe = next_sqe();
    io_uring_prep_recv_multishot(sqe, p->fd[side], NULL, 0, 0);
    sqe->flags |= IOSQE_BUFFER_SELECT;
    sqe->buf_group = 0;
    io_uring_sqe_set_data64(sqe, data);
    p->way[side].receiving = true;
    p->inflight++;
}

static void send_next(struct pair *p, unsigned side)
{
    struct way *w = &p->way[side];
    uint16_t id = w->first;
    uint64_t data = pack(OP_SEND, side, (uint32_t)(p - pairs), id);
    struct io_uring_sqe *sqe = next_sqe();
    io_uring_prep_send(sqe, p->fd[!side], buffer_at(id), held[id].len, MSG_WAITALL | MSG_NOSIGNAL);
    io_uring_sqe_set_data64(sqe, data);
    w->sending = true;
    p->inflight++;
}

/* Ends what the kernel still does for the pair; the pair is free when nothing is left. */
static void pair_close(struct pair *p)
{
    if (!p->closing) {
        p->closing = true;
        for (int i = 0; i < 2; i++)
            if (p->fd[i] >= 0)
                shutdown(p->fd[i], SHUT_RDWR);
    }
    if (p->inflight)
        return;
    for (int i = 0; i < 2; i++) {
        if (p->fd[i] >= 0)
            close(p->fd[i]);
        while (p->way[i].first != NOBODY) {
            uint16_t id = p->way[i].first;
            p->way[i].first = held[id].next;
            buffer_give_back(id);
        }
    }
    p->next_free = free_pairs;
    free_pairs = (uint32_t)(p - pairs) + 1;
}

static void on_accept(int fd, unsigned flags)
{
    int one = 1;
    if (!(flags & IORING_CQE_F_MORE))
        arm_accept();
    if (fd < 0)
        fail("accept", -fd);
    if (!free_pairs)
        fail("connections", EMFILE);
    struct pair *p = &pairs[free_pairs - 1];
    free_pairs = p->next_free;
    *p = (struct pair){.fd = {fd, socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)},
                       .way = {{NOBODY, NOBODY}, {NOBODY, NOBODY}}};
    if (p->fd[1] < 0)
        fail("socket", errno);
    for (int i = 0; i < 2; i++)
        setsockopt(p->fd[i], IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    uint64_t data = pack(OP_CONNECT, 0, (uint32_t)(p - pairs), 0);
    struct io_uring_sqe *sqe = next_sqe();
    io_uring_prep_connect(sqe, p->fd[1], (struct sockaddr *)&upstream, sizeof upstream);
    io_uring_sqe_set_data64(sqe, data);
    p->inflight++;
}

static void on_connect(struct pair *p, int res)
{
    p->inflight--;
    if (res < 0 || p->closing) {
        pair_close(p);
        return;
    }
    arm_recv(p, 0);
    arm_recv(p, 1);
}

static void on_recv(struct pair *p, unsigned side, int res, unsigned flags)
{
    struct way *w = &p->way[side];
    if (!(flags & IORING_CQE_F_MORE)) {
        w->receiving = false;
        p->inflight--;
    }
    if (flags & IORING_CQE_F_BUFFER) {
        uint16_t id = (uint16_t)(flags >> IORING_CQE_BUFFER_SHIFT);
        shown--;
        if (res <= 0 || p->closing) {
            buffer_give_back(id);
        } else {
            held[id].next = NOBODY;
            held[id].len = (uint32_t)res;
            if (w->first == NOBODY)
                w->first = id;
            else
                held[w->last].next = id;
            w->last = id;
            if (!w->sending)
                send_next(p, side);
        }
    }
    if (res == -ENOBUFS && !p->closing) {
        w->starved = true;
        wanted = wanted * 2 > BUFFERS ? BUFFERS : wanted * 2;
        calm = 0;
        starved[starved_count++] = (uint32_t)(p - pairs) << 1 | side;
    } else if (res <= 0) {
        w->ended = true;
        if (p->closing || w->first == NOBODY)
            pair_close(p);
    } else if (!w->receiving && !p->closing) {
        arm_recv(p, side);
    } else if (p->closing) {
        pair_close(p);
    }
}

static void on_send(struct pair *p, unsigned side, uint16_t id, int res)
{
    struct way *w = &p->way[side];
    bool whole = res == (int)held[id].len;
    w->sending = false;
    w->first = held[id].next;
    p->inflight--;
    buffer_give_back(id);
    if (p->closing || !whole)
        pair_close(p);
    else if (w->first != NOBODY)
        send_next(p, side);
    else if (w->ended)
        pair_close(p);
}

static void handle(const struct io_uring_cqe *cqe)
{
    uint64_t data = cqe->user_data;
    struct pair *p = &pairs[(uint32_t)(data >> 8)];
    unsigned side = data >> 4 & 1;
    switch ((enum op)(data & 15)) {
    case OP_ACCEPT:
        on_accept(cqe->res, cqe->flags);
        break;
    case OP_CONNECT:
        on_connect(p, cqe->res);
        break;
    case OP_RECV:
        on_recv(p, side, cqe->res, cqe->flags);
        break;
    case OP_SEND:
        on_send(p, side, (uint16_t)(data >> 40), cqe->res);
        break;
    }
}

/* There are buffers again: whoever found none asks again. */
static void feed_starved(void)
{
    unsigned count = starved_count;
    starved_count = 0;
    for (unsigned i = 0; i < count; i++) {
        struct pair *p = &pairs[starved[i] >> 1];
        unsigned side = starved[i] & 1;
        if (p->way[side].starved && !p->closing) {
            p->way[side].starved = false;
            arm_recv(p, side);
        }
    }
}

static void turn(void)
{
    struct io_uring_cqe *cqe;
    unsigned head, count = 0;
    int r = io_uring_submit_and_wait(&ring, 1);
    if (r < 0 && r != -EINTR && r != -EBUSY)
        fail("io_uring_enter", -r);
    io_uring_for_each_cqe(&ring, head, cqe)
    {
        handle(cqe);
        count++;
    }
    io_uring_cq_advance(&ring, count);
    buffers_show();
    if (shown)
        feed_starved();
}

static uint16_t port_of(const char *text)
{
    char *end;
    long port = strtol(text, &end, 10);
    if (*end || port < 1 || port > 65535) {
        fprintf(stderr, "forwarder: '%s' is no port\n", text);
        exit(2);
    }
    return htons((uint16_t)port);
}

static void open_listener(const char *port)
{
    int one = 1;
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = port_of(port)};
    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (listener < 0 || bind(listener, (struct sockaddr *)&at, sizeof at) != 0 ||
        listen(listener, BACKLOG) != 0)
        fail(port, errno);
}

static void open_ring(void)
{
    struct io_uring_params params = {.flags = IORING_SETUP_SINGLE_ISSUER |
                                              IORING_SETUP_DEFER_TASKRUN | IORING_SETUP_SUBMIT_ALL |
                                              IORING_SETUP_CLAMP | IORING_SETUP_CQSIZE,
                                     .cq_entries = CQ_ENTRIES};
    int r = io_uring_queue_init_params(SQ_ENTRIES, &ring, &params);
    if (r < 0)
        fail("io_uring", -r);
    io_uring_register_ring_fd(&ring);

    size_t ring_bytes = BUFFERS * sizeof(struct io_uring_buf);
    size_t bytes = (size_t)BUFFERS * BUFFER_STRIDE;
    buffers = mmap(NULL, ring_bytes, PROT_READ | PROT_WRITE, MAP_ANONYMOUS | MAP_PRIVATE, -1, 0);
    memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_ANONYMOUS | MAP_PRIVATE, -1, 0);
    if (buffers == MAP_FAILED || memory == MAP_FAILED)
        fail("memory", errno);
    struct io_uring_buf_reg reg = {.ring_addr = (uint64_t)(uintptr_t)buffers,
                                   .ring_entries = BUFFERS};
    r = io_uring_register_buf_ring(&ring, &reg, 0);
    if (r < 0)
        fail("provided buffers", -r);
    io_uring_buf_ring_init(buffers);
    wanted = SHOWN_MIN;
    for (int i = 0; i < BUFFERS; i++)
        buffer_give_back((uint16_t)i);
    buffers_show();
}

int main(int argc, char **argv)
{
    if (argc != 3) {
        fprintf(stderr, "usage: forwarder LISTEN_PORT UPSTREAM_PORT\n");
        return 2;
    }
    upstream.sin_family = AF_INET;
    upstream.sin_port = port_of(argv[2]);
    upstream.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    for (uint32_t i = PAIRS; i--;) {
        pairs[i].next_free = free_pairs;
        free_pairs = i + 1;
    }
    open_listener(argv[1]);
    open_ring();
    arm_accept();
    for (;;)
        turn();
}

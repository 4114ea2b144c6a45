/* SPDX-License-Identifier: Apache-2.0 */
/* ring/ring_sim_private.h - what the two halves of the scripted kernel share: ring_sim.c is the
 * side of the worker, ring_sim_net.c the sockets and the side of the test.
 * Thread: the test's.   Owns: see each struct.   Never: included by anything else. */
#pragma once

#include "base/buf.h"
#include "base/clock.h"
#include "base/list.h"
#include "base/must.h"
#include "ring/ring_sim.h"

#include <errno.h>

enum req_kind {
    REQ_ACCEPT = 0,
    REQ_RECV,      /* into a buffer of a group */
    REQ_RECV_INTO, /* into the worker's memory */
    REQ_SEND,
    REQ_CONNECT,
    REQ_WAKE,
    REQ_SHUTDOWN,
    REQ_CANCEL_FD,
    REQ_CANCEL,
    REQ_POLL_IN,
    REQ_POLL_OUT,
    REQ_CLOSE,
};

/* A request between its preparation and its last completion. */
struct sim_req {
    struct list node;
    struct op_id id;
    enum req_kind kind;
    int fd; /* counted in sim_fd.requests; -1 when it belongs to none any more */
    bool multishot, cancelled;
    bool armed;   /* a receive that was tried once and waits for the socket */
    bool decided; /* `res` stands, only the completion is to come */
    enum ring_group group;
    uint8_t *ptr;
    size_t len, done;
    const struct msghdr *msg; /* instead of ptr */
    uint64_t hash;            /* of the bytes to send */
    uint64_t ready_ns;        /* makes no progress before */
    uint64_t target;          /* user_data to cancel */
    uint16_t port;            /* to connect to */
    int arg;                  /* how to shut down, eventfd */
    int res;                  /* with decided */
};

enum sim_fd_kind { SIM_FD_FREE = 0, SIM_FD_LISTENER, SIM_FD_CONN, SIM_FD_PIPE };

struct sim_fd {
    enum sim_fd_kind kind;
    int conn;                 /* index, with SIM_FD_CONN; the end to read from, with SIM_FD_PIPE */
    size_t cap;               /* bytes, with SIM_FD_PIPE */
    struct buf waiting;       /* ints: connections to accept, with SIM_FD_LISTENER; what the pipe
                                 holds, at the end to read from */
    unsigned requests;        /* whose last completion was not drained */
    bool closing;             /* its close was prepared */
    bool busy[REQ_CLOSE + 1]; /* by kind: one is in flight (sends, receives, accepts) */
};

/* One connection; its index is the peer number of the test. */
struct sim_conn {
    int fd;         /* of the worker, -1: none (yet, or any more) */
    struct buf in;  /* pushed by the peer, not received */
    struct buf out; /* arrived at the peer, not taken */
    size_t window;
    uint16_t port;
    bool connected;
    bool in_ended;  /* FIN of the peer */
    bool reset;     /* RST of the peer */
    bool in_shut;   /* the worker shut down its receiving side */
    bool out_ended; /* FIN of the worker */
    bool closed;    /* by the worker */
    bool reset_on_close;
    bool close_reset; /* with unread bytes, or so asked for */
};

struct sim_port {
    uint16_t port;
    int sys;
};

struct sim_wakeup {
    int eventfd;
    uint64_t count;
};

struct ring_sim {
    uint64_t seed, random, now_ns;
    struct sim_fd *fds;
    unsigned fd_count;
    struct sim_conn *conns;
    int conn_count;
    struct buf accepted; /* ints: connections made by workers, not yet asked for by the test */
    struct buf ports;    /* struct sim_port */
    struct buf wakeups;  /* struct sim_wakeup */
    int fail[OP_COUNT];
    struct list rings;
};

/* A picked buffer is fresh memory, so that a sanitizer sees a use after its return. */
struct sim_group {
    unsigned count, bytes, free, given_back;
    uint8_t **mem;  /* NULL unless lent */
    uint8_t *state; /* enum sim_buffer */
};

enum sim_buffer { SIM_BUFFER_FREE = 0, SIM_BUFFER_LENT, SIM_BUFFER_GIVEN_BACK };

/* A completion on its way. */
struct sim_event {
    struct ring_event e;
    int fd;
    enum req_kind kind;
};

struct ring {
    struct list node; /* in ring_sim.rings */
    struct ring_sim *sim;
    struct ring_features features;
    struct sim_group groups[RING_GROUPS];
    struct list prepared, pending; /* struct sim_req */
    struct buf events;             /* struct sim_event */
    unsigned cq_entries;
    unsigned live; /* requests whose last completion was not drained, but for OP_NONE */
    uint64_t overflows;
};

/* 0..below-1; always 0 in a calm kernel. */
uint64_t sim_random(struct ring_sim *sim, uint64_t below);
/* True once in n times; never in a calm kernel. */
bool sim_chance(struct ring_sim *sim, unsigned n);
/* How much of n is moved at once: often all, else a part. */
size_t sim_piece(struct ring_sim *sim, size_t n);

/* The open descriptor; aborts for any other number. */
struct sim_fd *sim_fd_at(struct ring_sim *sim, int fd);
struct sim_conn *sim_conn_at(struct ring_sim *sim, int peer);
/* The lowest free number, as a kernel gives. */
int sim_fd_take(struct ring_sim *sim, enum sim_fd_kind kind, int conn);
void sim_fd_close(struct ring_sim *sim, int fd);
int sim_conn_add(struct ring_sim *sim);
/* -sys for connecting to the port, or 0. */
int sim_connect_result(struct ring_sim *sim, uint16_t port);
struct sim_wakeup *sim_wakeup_of(struct ring_sim *sim, int eventfd);
/* Takes the first int of a queue; -1 when it is empty. */
int sim_pop(struct buf *queue);

/* Whether the request can complete, or go on, without another act of the test. */
bool sim_req_can_go_on(struct ring *ring, const struct sim_req *r);

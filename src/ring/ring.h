/* SPDX-License-Identifier: Apache-2.0 */
/* ring/ring.h - one io_uring per worker: set-up, submission, completion, provided buffers.
 * Thread: the worker that called ring_open(); SINGLE_ISSUER and DEFER_TASKRUN make every other
 * thread an error.   Owns: the ring, its buffer groups and their memory.
 * Never: runs a handler (ring_drain() copies completions out), knows of TLS or HTTP, retries.
 * tests/sim links ring_sim.c instead: the same functions over a scripted kernel. */
#pragma once

#include "base/net.h"
#include "base/result.h"
#include "base/span.h"
#include "ring/op.h"

#include <sys/socket.h>

/* Two groups of provided buffers per worker. */
enum ring_group {
    RING_SMALL = 0, /* RING_SMALL_BYTES each: heads and small messages, multishot receive */
    RING_LARGE = 1, /* RING_LARGE_BYTES each: bodies, one-shot receive */
    RING_GROUPS = 2,
};
#define RING_SMALL_BYTES 4096u
#define RING_LARGE_BYTES 65536u

struct ring_config {
    unsigned sq_entries;           /* power of two, e.g. 4096 */
    unsigned cq_entries;           /* power of two, e.g. 32768 */
    unsigned buffers[RING_GROUPS]; /* per group, power of two, <= 32768 */
    unsigned shown[RING_GROUPS];   /* of those, how many the kernel sees at a time (0 = all): it
                                      goes round and round them, so few stay in the cache; when
                                      they do not last for one wait, receives end -ENOBUFS */
    bool one_shot_accept;          /* switch off multishot accept (kernel bugs) */
    bool one_shot_recv;            /* switch off multishot receive */
};

/* What the running kernel has; probed feature by feature, never by version. */
struct ring_features {
    bool multishot_accept, multishot_recv, send_zc, msg_ring_sync, cq_resize;
    bool splice; /* the functions of pipes below, and ring_poll() */
};

/* A copy of one completion. */
struct ring_event {
    struct op_id id;
    int32_t res;     /* >= 0, or -errno */
    bool more;       /* the multishot request lives on */
    bool has_buffer; /* `buffer` was picked by the kernel and is lent until ring_give_back();
                        res is then > 0 (an empty buffer goes back by itself) */
    uint8_t group;   /* enum ring_group */
    uint16_t buffer;
};

struct ring; /* opaque; one per worker */

/* Creates the ring in the calling thread. On ERR_IO_URING `why` names the sysctl, seccomp profile
 * or kernel that is the cause, and the remedy. ERR_NO_MEMORY. */
struct result ring_open(const struct ring_config *config, struct ring **ret, struct why *why);
/* All requests must have completed or been cancelled. */
void ring_close(struct ring *ring);
const struct ring_features *ring_features(const struct ring *ring);

/* Checks in a throw-away ring whether io_uring can be used here at all. Any thread. */
struct result ring_probe(struct why *why);

/* Requests. Each takes one SQE (a full queue is submitted first) and causes one completion, or
 * with multishot several of which the last has more == false. Pointers stay valid until then. */
void ring_accept(struct ring *ring, int fd, struct op_id id); /* multishot where available;
                                             accepted sockets are CLOEXEC and NONBLOCK */
/* Multishot receive ends (more == false) on its own account too: after -ENOBUFS, an overflow of the
 * CQ, or for no reason that is told; the caller arms it again. 0 is the end of the stream. */
void ring_recv(struct ring *ring, int fd, enum ring_group group, bool multishot, struct op_id id);
void ring_recv_into(struct ring *ring, int fd, void *ptr, size_t len, struct op_id id);
/* MSG_NOSIGNAL and MSG_WAITALL: the kernel goes on after a short send, so a result below len is
 * rare (cancelled half-way, interrupted, the socket failed after some bytes): the caller sends the
 * rest, and an error shows then. At most one send per socket at a time (sendmsg included), or bytes
 * may be reordered. `more` sets MSG_MORE. */
void ring_send(struct ring *ring, int fd, const void *ptr, size_t len, bool more, struct op_id id);
void ring_sendmsg(struct ring *ring, int fd, const struct msghdr *msg, struct op_id id);
void ring_connect(struct ring *ring, int fd, const struct sockaddr *sa, socklen_t len,
                  struct op_id id);
void ring_shutdown(struct ring *ring, int fd, int how, struct op_id id);
/* Completes with a result > 0 when the socket can be read (out == false; its end and its failure
 * can be read, too) or written. One-shot. */
void ring_poll(struct ring *ring, int fd, bool out, struct op_id id);
/* Cancels every request on the socket; they complete with -ECANCELED or their result. The
 * cancel's own completion comes before or after theirs. */
void ring_cancel_fd(struct ring *ring, int fd, struct op_id id);
/* Cancels the one request with this user_data. */
void ring_cancel(struct ring *ring, struct op_id target, struct op_id id);
void ring_close_fd(struct ring *ring, int fd, struct op_id id);
/* Reads 8 bytes of an eventfd into memory of the ring. */
void ring_wake_arm(struct ring *ring, int eventfd, struct op_id id);

/* What a worker asks about sockets and time outside the queues; behind the ring so that the
 * scripted kernel answers in tests. None of them blocks. */
/* A CLOEXEC and NONBLOCK stream socket for ring_connect(); the descriptor, or -errno. */
int ring_socket(struct ring *ring, int family);
/* No Nagle, and a dead peer is noticed: probed after `probe_ms` of silence and as often as that
 * then, 0: so that it takes at most two minutes. Without effect on other sockets. Accepted sockets
 * inherit it from the listener. */
void ring_tune_tcp(struct ring *ring, int fd, uint32_t probe_ms);
/* Closing the socket will reset the connection: what the peer got must not pass for whole. */
void ring_set_reset(struct ring *ring, int fd);
/* Address of this (peer == false) or the other end. ERR_SYSTEM, e.g. when it is gone already. */
struct result ring_address(struct ring *ring, int fd, bool peer, struct net_addr *ret);
/* A connection waits at this listening socket, for anybody who accepts there; or bytes, or the end,
 * at a connection, for who receives from it. */
bool ring_has_waiting(struct ring *ring, int fd);
/* A pipe for ring_splice(), not inherited, of `bytes` where the kernel allows that, else of less;
 * ret[0] is read from. Its size in bytes, or -errno. */
int ring_pipe_open(struct ring *ring, uint32_t bytes, int ret[2]);
/* What is still in it is lost. */
void ring_pipe_close(struct ring *ring, const int fds[2]);
/* Moves up to `len` (> 0) bytes from a non-blocking stream socket into a pipe, or from a pipe into
 * one, without copying them: a system call of its own, since io_uring would hand it to a thread.
 * How many it moved, 0 at the end of the stream, or -errno; -EAGAIN: the socket has none, or takes
 * none, at present. SIGPIPE must be ignored. */
int ring_splice(struct ring *ring, int from, int to, uint32_t len);
/* CLOCK_MONOTONIC, ns. */
uint64_t ring_now_ns(const struct ring *ring);

/* Submits what was prepared and waits until a completion is there or `deadline_ns`
 * (CLOCK_MONOTONIC; UINT64_MAX = for ever) has passed; with wait == false only submits and lets
 * the kernel run deferred work. Returns at once when completions are pending. ERR_TIMEOUT is not
 * an error for the caller's loop; ERR_SYSTEM is fatal. */
struct result ring_submit_wait(struct ring *ring, bool wait, uint64_t deadline_ns);
/* Copies out up to `max` completions; returns how many. */
unsigned ring_drain(struct ring *ring, struct ring_event *events, unsigned max);

/* Memory of a lent buffer; res bytes of it are valid. */
uint8_t *ring_buffer(struct ring *ring, enum ring_group group, uint16_t buffer);
/* Returns a lent buffer. It is visible to the kernel after ring_publish_buffers() (called by
 * ring_submit_wait() itself). */
void ring_give_back(struct ring *ring, enum ring_group group, uint16_t buffer);
/* Buffers of a group that the kernel may still pick. After -ENOBUFS a conn is parked and re-armed
 * only when this is large enough again: re-arming at once would fail at once. */
unsigned ring_buffers_free(const struct ring *ring, enum ring_group group);
/* How often since ring_open() the kernel was seen to keep completions that the CQ had no room for,
 * plus those it lost. They arrive late; a larger CQ avoids it. */
uint64_t ring_overflows(const struct ring *ring);

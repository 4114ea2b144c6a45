/* SPDX-License-Identifier: Apache-2.0 */
/* data/worker.h - one core of the data plane: ring, slots, buffers, timers, and the loop.
 * Thread: its own; nothing here is touched by another but worker_wake_fd() and the flags of
 * struct worker_shared.   Owns: everything below it.
 * Never: blocks outside ring_submit_wait(), locks, allocates for a request. */
#pragma once

#include "base/list.h"
#include "base/slab.h"
#include "base/timer.h"
#include "bridge/publish.h"
#include "bridge/report.h"
#include "data/block.h"
#include "data/http/message.h"
#include "data/limit.h"
#include "data/listener.h"
#include "data/policy.h"
#include "data/route/middleware.h"
#include "data/route/router.h"
#include "data/shunt.h"
#include "data/upstream/pool.h"
#include "data/wire.h"
#include "ring/ring.h"

/* Completions taken per step. */
#define WORKER_BATCH 256
/* ClientHellos that one step turns into TLS state: each costs about 70 microseconds, and those who
 * are connected wait meanwhile. */
#define WORKER_HELLOS 8

struct access_ring;

/* An object across steps: pointers live inside one. gen 0 never matches. */
struct handle {
    uint32_t index, gen;
};

/* What the workers and the publisher thread tell each other; atomics only. */
struct worker_shared {
    _Atomic bool accept;   /* the first sync is complete: listen */
    _Atomic bool stopping; /* ping says so; the drain may come later */
    _Atomic bool drain;
    _Atomic bool retire;               /* drain without haste: another process accepts already */
    _Atomic uint32_t retire_ms;        /* set before: what has begun may take so long */
    _Atomic uint32_t accepting;        /* workers that listen */
    _Atomic uint32_t deaf;             /* workers that have stopped to listen for good */
    _Atomic uint32_t finished;         /* workers that ended */
    _Atomic uint32_t listener_changes; /* counts: sockets were offered or recalled */
    int notify_fd; /* eventfd that a worker writes when it changed one of those; -1 */
};

struct worker_config {
    uint32_t index;
    uint32_t conns;                  /* client connections, 1..2^22 */
    uint32_t ring_small, ring_large; /* provided buffers, powers of two */
    uint32_t blocks[BLOCK_KINDS];    /* pool blocks; 0 = from conns. The ring's are not used */
    uint32_t pipes; /* 0..SHUNT_PIPES, two descriptors each, for bodies that the kernel moves */
    bool one_shot_accept, one_shot_recv;
    struct listener_config *listeners; /* of this worker; must outlive it */
    uint32_t listener_count;
    struct publisher *publisher;
    struct report_page *report;
    struct series_table *series; /* counts by name; NULL: nothing is */
    struct worker_shared *shared;
    int wake_fd;                /* eventfd */
    struct access_ring *access; /* for lines of the access log; NULL: none can be written */
    struct verify_lane *verify; /* judges passwords; NULL: nobody does */
    const char *host_name;      /* for X-Forwarded-Server; must outlive the worker */
};

struct cold_place;
struct held;
struct verify_lane;

/* Hellos that wait for a certificate. */
struct cold_waits {
    struct cold_place *places; /* COLD_WAIT_MAX, the first `count` in use */
    uint32_t count;
    bool asked;                    /* in this step */
    struct reader_answers answers; /* that were looked at */
    struct limit limit;            /* not later than the first one's */
};

enum worker_phase {
    WORKER_PHASE_WAITING = 0, /* for the first sync */
    WORKER_PHASE_SERVING,
    WORKER_PHASE_DRAINING, /* no new connections */
    WORKER_PHASE_CLOSING,  /* everything is being closed */
    WORKER_PHASE_DONE,
    WORKER_PHASES,
};

/* Kinds of timer: whose it is. */
enum worker_limit {
    WORKER_LIMIT_CONN_IN = 0,
    WORKER_LIMIT_CONN_OUT,
    WORKER_LIMIT_STREAM_IN,
    WORKER_LIMIT_STREAM_OUT,
    WORKER_LIMIT_UPCONN,
    WORKER_LIMIT_LEASE,
    WORKER_LIMIT_EXCHANGE,
    WORKER_LIMIT_LISTENER,
    WORKER_LIMIT_GRACE,
    WORKER_LIMIT_COLD,
};

struct worker {
    const struct worker_config *config;
    enum worker_phase phase;
    struct ring *ring;
    struct bridge_reader *reader;
    struct report_page *report;
    uint64_t now_ns; /* of this step */
    struct timer_wheel wheel;
    struct limit grace;

    const struct snapshot *snapshot; /* of this step; NULL before the first */
    uint64_t snapshot_version;
    struct router_index *routes;
    struct policy_set policies;
    struct tls_policy *challenge_policy;   /* of TLS-ALPN-01; NULL until used */
    struct middleware_set *middleware_set; /* of the snapshot */
    struct middleware_tables middlewares;
    struct held *held; /* HELD_MAX places for requests whose password is being judged */
    uint32_t held_count;
    struct cold_waits cold;
    struct pool pool;

    struct slab conns, exchanges, upconns;
    struct slab h2_conns, streams; /* HTTP/2 */
    struct slab multis, leases;    /* HTTP/2 to servers */
    struct list kept;              /* idle upconns of all servers, the longest idle first */
    uint32_t kept_count;
    struct blocks blocks;
    uint64_t blocks_seen; /* blocks.given_back when `hungry` was last woken */
    struct list ready;    /* wires that something happened to */
    struct list hellos;   /* conns with a ClientHello to look at */
    struct list hungry;   /* wires that wait for a pool block */
    struct list starved[RING_GROUPS];
    struct listener *listeners;
    uint32_t listener_count; /* slots that were ever used */
    uint32_t listener_changes;
    uint64_t overflows_seen;
    uint32_t pending; /* requests of the worker itself that are in the kernel */
    bool waking;      /* the read of the wake-up eventfd is */
    bool cancelling;  /* it is being cancelled */
    bool retiring;    /* draining without haste */
    bool deaf;        /* draining, and no listener is armed any more */
    bool failed;      /* the kernel refuses to go on */

    struct access_ring *access; /* config's */
    uint64_t access_count;      /* requests that were offered to the access log */

    struct shunt shunt;

    struct http_head request, response; /* of the message being handled in this turn */
    uint8_t *stage;                     /* plaintext before encryption, within one turn */
    uint8_t *flight;                    /* what TLS answers with, within one turn */
    uint8_t *lines;                     /* header lines of our own, within one turn */
    struct ring_event events[WORKER_BATCH];
};
#define WORKER_STAGE_BYTES  65536u
#define WORKER_FLIGHT_BYTES 49152u
#define WORKER_LINES_BYTES  131072u

/* Makes everything in the calling thread, which is the worker's from here on, and joins the
 * publisher's readers. config must outlive it. ERR_IO_URING, ERR_NO_MEMORY. */
struct result worker_open(const struct worker_config *config, struct worker **ret, struct why *why);
/* Leaves the readers and frees everything. The phase is DONE, or the process ends anyway. */
void worker_close(struct worker *w);
/* One turn of the loop; waits at most until `deadline_ns`. False when the worker is DONE or the
 * kernel failed for good. */
bool worker_step(struct worker *w, uint64_t deadline_ns);
/* Steps until done, then returns. */
void worker_run(struct worker *w);

/* Wakes the publisher thread: something of worker_shared or a listener's state has changed. */
void worker_notify(struct worker *w);
/* Has this wire's owner looked at in this step. */
void worker_ready(struct worker *w, struct wire *wire);
/* Has this wire's owner looked at again when a pool block was given back. */
void worker_hungry(struct worker *w, struct wire *wire);
/* Closes a socket that has nothing in the kernel any more. */
void worker_close_fd(struct worker *w, int fd);
static inline bool worker_is_draining(const struct worker *w)
{
    return w->phase >= WORKER_PHASE_DRAINING;
}

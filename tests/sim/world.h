/* SPDX-License-Identifier: Apache-2.0 */
/* tests/sim/world.h - a whole worker over the scripted kernel, with clients and origins that the
 * test plays.
 * Thread: the test's.   Owns: the kernel, the publisher, the worker, all peers.
 * Never: waits for real time or opens a socket; a run is a function of its seed. */
#pragma once

#include "bridge/publish.h"
#include "data/worker.h"
#include "ring/ring_sim.h"
#include "tls_client.h"

#define WORLD_CLIENTS 24
#define WORLD_SERVERS 3
#define WORLD_PORT    8000 /* of server 0; the others follow */
#define REQUESTS_MAX  6

/* What an origin does with a request; stands in the path. */
enum kind {
    KIND_LEN = 0,         /* Content-Length */
    KIND_CHUNK,           /* chunked, in odd pieces */
    KIND_CLOSE,           /* until close */
    KIND_EMPTY,           /* 204 */
    KIND_ZERO,            /* Content-Length: 0 */
    KIND_INTERIM,         /* 103, then as KIND_LEN */
    KIND_STALE,           /* answers, then closes without having said so */
    KIND_TRAILER,         /* chunked with trailers */
    KIND_GOOD,            /* all below this one fail */
    KIND_CUT = KIND_GOOD, /* closes in the middle of the body */
    KIND_RESET,           /* RST instead of an answer */
    KIND_GARBAGE,         /* not HTTP */
    KIND_NEVER,           /* no answer */
    KIND_HALF,            /* half a head, then closes */
    KIND_EARLY,           /* answers before the body has come, and closes */
    KIND_LATE,            /* chunked with as many bytes of trailers as a head may have */
    KIND_COUNT,
    KIND_TUNNEL,  /* switches protocols; then `size` bytes go each way */
    KIND_SURPLUS, /* as KIND_LEN, and at once one more answer that nobody asked for */
};

struct request {
    enum kind kind;
    uint32_t size;       /* of the answer's body */
    uint32_t body;       /* of the request, 0 = none */
    bool chunked;        /* request body */
    bool head;           /* HEAD */
    bool old;            /* HTTP/1.0 */
    bool close;          /* Connection: close */
    uint32_t late;       /* bytes of the trailers of a chunked body, 0 = as it comes */
    uint32_t head_bytes; /* of a field without meaning, 0 = as it comes */
};

enum outcome {
    OUTCOME_OPEN = 0,
    OUTCOME_DONE,   /* got an answer for every request */
    OUTCOME_CLOSED, /* the connection ended where it may */
};

/* How far a chunked body was read. */
struct chunked {
    size_t at; /* 0 = not begun */
    uint64_t size;
    bool last;
};

struct client {
    int peer;
    struct tls_client *tls; /* NULL = plain */
    struct h2_client *h2;   /* HTTP/2 (never with TLS), else NULL */
    struct request requests[REQUESTS_MAX];
    uint32_t count, answered;
    struct buf out; /* not pushed yet */
    struct buf in;
    struct chunked chunked;
    uint32_t sent; /* requests put into `out` */
    bool pipelines;
    bool slow;   /* has a small window and reads now and then */
    bool aborts; /* goes away in the middle */
    bool early;  /* sends bytes for the tunnel before it stands */
    bool switched;
    uint64_t got; /* bytes through the tunnel */
    bool gone;
    enum outcome outcome;
    uint32_t failures; /* answers of our own: 502, 503, 504, 408 */
};

struct origin {
    int peer;
    uint16_t port;
    struct buf in, out;
    struct request request; /* being received */
    bool has_request, chunked_in;
    struct chunked chunked;
    uint64_t left;  /* of its body */
    uint32_t pause; /* turns for which it sends nothing */
    bool close_after, ended;
    bool switched;
    uint64_t got; /* bytes through the tunnel */
};

struct world {
    uint64_t seed, random;
    const char *scenario;
    struct ring_sim *sim;
    struct publisher *publisher;
    struct worker_shared shared;
    struct report_page page;
    struct listener_config listeners[2]; /* plain, TLS */
    struct worker_config config;
    struct worker *w;
    struct client clients[WORLD_CLIENTS];
    uint32_t client_count;
    struct origin *origins;
    uint32_t origin_count;
    uint64_t version;
    uint32_t servers;
    /* what the scenario sets before world_open() */
    uint32_t ring_small, ring_large, blocks[BLOCK_KINDS], conns, pipes;
    uint32_t max_idle, head_max;
    uint32_t body_ms;   /* how long an answer's body may stand still, one of a request 10 s; 0 = no
                           limit */
    bool calm;          /* the kernel does all it can at once, and fails in nothing */
    bool origins_pause; /* they take little and say nothing */
    bool may_close;     /* any connection may end at any time */
    uint32_t cold;   /* 1 in so many questions for the cold name is answered; 0 = it is not cold */
    bool no_control; /* nobody answers them */
};

uint64_t world_random(struct world *world, uint64_t below);
bool world_chance(struct world *world, unsigned n);
/* Makes kernel, publisher and worker; publishes a snapshot of one entry point and `servers`. */
void world_open(struct world *world);
/* A new snapshot of the same content: the pool, the index and the policies are made anew. */
void world_publish(struct world *world);
/* A client that will send these requests. */
struct client *world_client(struct world *world, const struct request *requests, uint32_t count,
                            bool tls);
/* Runs until every client has its outcome; fails when that takes too long. */
void world_run(struct world *world);
/* Says that the name of all clients is cold. */
void world_make_cold(struct world *world);
/* One turn of everything. */
void world_turn(struct world *world);
/* Drains, checks that nothing is left, frees all. */
void world_close(struct world *world);
/* Prints scenario, seed and the text, and ends the program. */
_Noreturn void world_fail(const struct world *world, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

/* peer.c */
void client_turn(struct world *world, struct client *c);
void origin_turn(struct world *world, struct origin *o);
/* Byte `i` of every body. */
static inline uint8_t body_byte(uint64_t i)
{
    return (uint8_t)(i * 7 + (i >> 8) * 13 + (i >> 16));
}

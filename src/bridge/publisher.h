/* SPDX-License-Identifier: Apache-2.0 */
/* bridge/publisher.h - what the publisher and the readers share in memory.
 * Thread: the publisher writes; readers load the pointers that rcu_load() is for, and write their
 * own pin counts.   Owns: everything published.
 * Never: used outside bridge/. */
#pragma once

#include "bridge/answers.h"
#include "bridge/publish.h"
#include "bridge/rcu.h"
#include "bridge/table.h"

#include <pthread.h>

/* A count of one worker, alone on its cache line. */
struct pin {
    _Alignas(64) uint32_t count;
};

struct server_slot {
    struct rcu_dead dead;
    struct server_state state;
};

/* A snapshot with what belongs to it. Its end has two grace periods: after the first nobody can
 * pin it any more; once all pins are gone, the second lets the steps end that still look at it. */
struct published {
    uint64_t magic;
    struct rcu_dead dead;
    struct snapshot *snapshot; /* its owner field points back here */
    uint64_t stream;           /* which stream brought it: versions start again in each */
    struct published *next;    /* in publisher.old */
    bool grace_passed;         /* nobody can pin it for the first time any more */
    struct pin *pins;          /* one per worker */
    uint32_t server_count;
    struct server_slot *servers[]; /* by index; NULL = unknown; rcu_load() */
};
#define PUBLISHED_MAGIC 0x7075626c69736864ull

struct ticket_slot {
    struct rcu_dead dead;
    struct ticket_keys keys;
};

/* A server's state that came before its snapshot. */
struct early_server {
    uint64_t version;
    uint32_t server;
    struct server_state state;
};

/* Names that a worker asks for: it puts, the publisher takes. A power of two. */
#define ASKS_MAX 256u
struct asks {
    _Alignas(64) uint32_t put;
    _Alignas(64) uint32_t taken;
    struct {
        uint8_t len;
        uint8_t name[PUBLISH_NAME_MAX];
    } slots[ASKS_MAX];
};

struct bridge_reader {
    struct publisher *publisher;
    uint32_t worker;
    struct asks asks;
};

struct publisher {
    /* loaded by readers */
    struct table *table;
    struct answers *answers;
    struct published *current;
    struct ticket_slot *tickets;
    bool ready;
    uint32_t answered;   /* grows when names that were asked for are not cold any more */
    uint32_t ask_stream; /* grows when what was asked is not answered any more */
    uint32_t workers;

    /* the publisher's own */
    struct rcu_pen pen;
    struct published *old;
    uint64_t stream, last_version, fence;
    bool in_sync, wake_wanted;
    uint32_t answers_seen; /* of the table */
    struct early_server *early;
    size_t early_count, early_cap;

    /* joining, leaving and waking; never on the path of a step */
    pthread_mutex_t lock;
    struct bridge_reader *readers[PUBLISH_WORKERS_MAX];
    int wake_fds[PUBLISH_WORKERS_MAX];
};

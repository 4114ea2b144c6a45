/* SPDX-License-Identifier: Apache-2.0 */
/* data/listener.h - one listening socket of one worker: accepts, sheds what does not fit.
 * Thread: the worker's; the publisher thread offers and recalls sockets by listener_config.state.
 * Owns: its accept request; the socket is the publisher thread's and stays open until the worker
 * has given it back.
 * Never: accepts before the first sync, or while draining what was not there when it began. */
#pragma once

#include "bridge/snapshot.h"
#include "data/limit.h"
#include "ring/ring.h"

struct worker;

/* Bytes of an entry point's name, with its NUL. */
#define LISTENER_NAME_MAX 128
/* Sockets of one worker, and slots: a slot stays taken while connections refer to it. */
#define LISTENER_CONFIGS_MAX 1024
#define LISTENERS_MAX        2048

/* Who writes the next state stands behind it. */
enum listener_state {
    LISTENER_OFFERED = 0, /* the worker */
    LISTENER_TAKEN,       /* the publisher thread */
    LISTENER_RECALLED,    /* the worker: nothing of it is in the kernel any more */
    LISTENER_FREE,        /* the publisher thread */
};

struct listener_config {
    int fd;
    const char *entrypoint; /* its name in the snapshot */
    uint64_t socket;        /* the kernel's name for it, the same for every duplicate; 0: unknown */
    _Atomic int state;      /* enum listener_state */
};

struct listener {
    struct listener_config *config; /* NULL: the socket is gone; connections may be left */
    char name[LISTENER_NAME_MAX];   /* of the entry point, also without a socket */
    uint64_t socket;                /* config's; stays without it */
    const struct snap_entrypoint *entrypoint; /* in the present snapshot; NULL: not in it */
    uint32_t entrypoint_index;
    bool known;      /* the snapshot has its entry point, or the one before had */
    uint32_t index;  /* in worker.listeners */
    bool armed;      /* an accept is in the kernel */
    bool cancelling; /* a cancel is */
    bool took;       /* the present sweep found a connection */
    bool empty;      /* draining: nothing waits to be accepted any more */
    uint16_t sweeps;
    struct series_cell *open; /* where its connections are counted as open, or NULL */
    struct limit retry;       /* after the kernel was out of descriptors or memory */
    int reserve_fd; /* given up for a moment to shed a connection when descriptors are out; -1 */
};

/* Takes what was offered to the worker and lets go of what was recalled. At the worker's start, and
 * when the publisher thread says that there is something. */
void listener_look(struct worker *w);
/* The worker ends: gives up its means. */
void listener_fini(struct listener *l);
/* Has all find their entry points in a new snapshot: by name, or where an entry point was only
 * renamed, by the socket that it shares with the listener of the new name. *ret_lost: one has none
 * any more; *ret_moved: one goes on as another. */
void listener_adopt(struct worker *w, bool *ret_lost, bool *ret_moved);
/* Arms or cancels accept, as the worker's phase and the snapshot say. A worker that drains takes
 * what the kernel has accepted for it already: closing the socket would reset those clients. */
void listener_settle(struct worker *w, struct listener *l);
/* A completion: a new connection, or an error. */
void listener_event(struct worker *w, struct listener *l, const struct ring_event *ev);
void listener_limit(struct worker *w, struct listener *l);
/* Nothing of it is with the kernel, and nothing will be. The worker drains or closes. */
bool listener_is_deaf(const struct worker *w, const struct listener *l);

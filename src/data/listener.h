/* SPDX-License-Identifier: Apache-2.0 */
/* data/listener.h - one listening socket of one worker: accepts, sheds what does not fit.
 * Thread: the worker's.   Owns: its accept request; the socket is the supervisor's and stays open.
 * Never: accepts before the first sync, or while draining what was not there when it began. */
#pragma once

#include "bridge/snapshot.h"
#include "data/limit.h"
#include "ring/ring.h"

struct worker;

struct listener_config {
    int fd;
    const char *entrypoint; /* its name in the snapshot */
};

struct listener {
    const struct listener_config *config;
    const struct snap_entrypoint *entrypoint; /* in the present snapshot; NULL: not in it */
    uint32_t entrypoint_index;
    uint32_t index;  /* in worker.listeners */
    bool armed;      /* an accept is in the kernel */
    bool cancelling; /* it is being cancelled */
    bool took;       /* the present sweep found a connection */
    bool empty;      /* draining: nothing waits to be accepted any more */
    uint16_t sweeps;
    struct limit retry; /* after the kernel was out of descriptors or memory */
    int reserve_fd; /* given up for a moment to shed a connection when descriptors are out; -1 */
};

void listener_init(struct worker *w, struct listener *l, uint32_t index,
                   const struct listener_config *config);
void listener_fini(struct listener *l);
/* Finds its entry point in the worker's present snapshot. */
void listener_adopt(struct worker *w, struct listener *l);
/* Arms or cancels accept, as the worker's phase and the snapshot say. A worker that drains takes
 * what the kernel has accepted for it already: closing the socket would reset those clients. */
void listener_settle(struct worker *w, struct listener *l);
/* A completion: a new connection, or an error. */
void listener_event(struct worker *w, struct listener *l, const struct ring_event *ev);
void listener_limit(struct worker *w, struct listener *l);
/* Nothing of it is with the kernel, and nothing will be. The worker drains or closes. */
bool listener_is_deaf(const struct worker *w, const struct listener *l);

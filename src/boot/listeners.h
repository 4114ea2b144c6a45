/* SPDX-License-Identifier: Apache-2.0 */
/* boot/listeners.h - the listening sockets: for each address of an entry point a group with one
 * SO_REUSEPORT socket per worker, or the one that systemd passed.
 * Thread: the supervisor's.   Owns: the descriptors, for as long as the configuration names them,
 * so that a restart of data refuses no connection.
 * Never: shares a port with another program: an address that somebody listens on is an error. */
#pragma once

#include "config/plan.h"

/* Every worker accepts on it. */
#define LISTENER_ALL_WORKERS UINT32_MAX

struct listener_group {
    uint32_t id; /* never used twice */
    char *entrypoint;
    char *address;          /* as written */
    struct net_addr socket; /* as configured */
    struct net_addr bound;  /* differs where the kernel has no IPv6 */
    bool adopted;           /* systemd's; one socket for all workers */
    bool wanted;            /* by the plan that was staged last */
    bool was_wanted;        /* by the one before */
    bool is_new;            /* opened for the plan that was staged last, which is not committed */
    uint32_t settled;       /* sockets that were there before it */
    uint32_t known;         /* sockets that the data process has been told of */
    int *fds;
    uint32_t count;
    uint32_t shared; /* the first ones are duplicates, and others listen on the same sockets */
};

struct listener_set {
    struct listener_group *groups;
    uint32_t count;
    uint32_t next_id;
};

/* Opens or adopts what the plan has and the set has not; groups that are there already stay as they
 * are. On failure nothing has changed, and `why` names address, entry point and remedy.
 * ERR_SYSTEM, ERR_PERMISSION, ERR_BUSY. Accepted sockets inherit TCP_NODELAY. */
struct result listeners_stage(struct listener_set *set, const struct plan *plan, uint32_t workers,
                              struct why *why);
/* The plan that was staged last does not hold: closes what was opened for it, after telling
 * gone(arg, group) of groups that the data process knows. */
void listeners_rollback(struct listener_set *set,
                        void (*gone)(void *arg, const struct listener_group *group), void *arg);
/* The staged plan holds: closes what it does not want, after telling gone(arg, group). */
void listeners_commit(struct listener_set *set,
                      void (*gone)(void *arg, const struct listener_group *group), void *arg);
/* Who accepts on the group's index-th socket. */
uint32_t listeners_worker(const struct listener_group *group, uint32_t index, uint32_t workers);
void listeners_close(struct listener_set *set);

/* SPDX-License-Identifier: Apache-2.0 */
/* control/propagation/channel.h - one c-ares channel on the control loop.
 * Thread: control.   Owns: the channel, its watched descriptors and its timer.
 * Never: uses c-ares's query cache (it would keep a negative answer); waits. */
#pragma once

#include "base/net.h"
#include "control/loop.h"

#include <ares.h>

#define CHANNEL_FDS_MAX 16

enum {
    CHANNEL_RECURSE = 1, /* set RD: the servers are resolvers */
    CHANNEL_TCP = 2,
    CHANNEL_ADDRESSES = 4, /* for addresses of hosts: an error is a reason to ask the next server */
    CHANNEL_HOSTS = 8,     /* ... and /etc/hosts is looked at first */
};

struct channel {
    struct loop *loop;
    ares_channel ares; /* NULL = closed */
    struct loop_timer timer;
    struct channel_fd {
        struct loop_fd watch;
        struct channel *channel;
    } fds[CHANNEL_FDS_MAX];
};

/* Opens a channel to these servers; none = /etc/resolv.conf. ERR_SYSTEM. The object must not move.
 */
struct result channel_open(struct channel *c, struct loop *loop, const struct net_addr *servers,
                           uint32_t count, unsigned flags, struct why *why);
/* To be called after a question was given to c->ares: sets the timer for its time limit. */
void channel_pump(struct channel *c);
/* Open questions are called back with ARES_EDESTRUCTION. Not from such a callback. Harmless when it
 * is closed. */
void channel_close(struct channel *c);
/* The servers of /etc/resolv.conf, at most max. */
uint32_t channel_resolvers(struct net_addr *ret, uint32_t max);

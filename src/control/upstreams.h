/* SPDX-License-Identifier: Apache-2.0 */
/* control/upstreams.h - the addresses of configured servers: literals at once, names through DNS,
 * asked again and again; and whether the servers are well, where a health check says how to ask.
 * Thread: control.   Owns: its questions and the last good answers.
 * Never: takes a server's addresses away because DNS does not answer. */
#pragma once

#include "bridge/publish.h"
#include "config/config.h"
#include "control/loop.h"

struct upstreams;

/* config and the snapshot that was built of it are borrowed for its life. changed(arg, out):
 * messages to send to the workers. */
struct upstreams *upstreams_create(struct loop *loop, const struct config *config,
                                   const struct snapshot *snapshot,
                                   void (*changed)(void *arg, struct span messages), void *arg);
void upstreams_destroy(struct upstreams *u);
/* Takes over the last good answers for names that are in both, and which servers are not well. */
void upstreams_inherit(struct upstreams *u, const struct upstreams *old);
/* Asks for every name; literals are known from the start. */
void upstreams_start(struct upstreams *u);
/* Appends the addresses of every server. */
void upstreams_sync(const struct upstreams *u, struct buf *out);

/* One server, for people; valid until anything changes. */
struct upstreams_server {
    const char *service, *url;
    const struct net_addr *addrs;
    uint32_t addr_count;
    bool healthy;     /* or nobody asks */
    const char *text; /* why it is not well, "" when it is */
};
uint32_t upstreams_count(const struct upstreams *u);
struct upstreams_server upstreams_at(const struct upstreams *u, uint32_t i);

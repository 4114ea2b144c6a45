/* SPDX-License-Identifier: Apache-2.0 */
/* control/bridge_link.h - the socket to the data process: an ordered stream of messages, never
 * waited for.
 * Thread: control.   Owns: the socket and what has not been taken from it yet (wiped: keys pass
 * here).
 * Never: drops a message and goes on: a link that is too far behind is closed, and the next one
 * begins with a full sync. */
#pragma once

#include "base/buf.h"
#include "control/loop.h"

/* What the link calls. */
struct bridge_events {
    /* A fence came back (publish_fence()). */
    void (*fenced)(void *arg, uint64_t number);
    /* A client waits for this name (publish_cold_name()). */
    void (*wanted)(void *arg, struct span name);
    /* Much was waiting, and most of it is sent. */
    void (*room)(void *arg);
    void *arg;
};

struct bridge_link {
    struct loop *loop;
    struct loop_fd w;
    struct buf out;
    size_t sent;   /* bytes of `out` already written */
    struct buf in; /* the beginning of a message */
    bool crowded;
    struct bridge_events events;
};

void bridge_link_init(struct bridge_link *l, struct loop *loop, const struct bridge_events *events);
/* Takes the socket; what was there before is closed. Its first message is the caller's. */
void bridge_link_open(struct bridge_link *l, int fd);
void bridge_link_close(struct bridge_link *l);
bool bridge_link_is_open(const struct bridge_link *l);
/* Queues; nothing happens while closed. */
void bridge_link_send(struct bridge_link *l, struct span messages);
/* So much is waiting that who can wait should: `room` tells when to go on. */
bool bridge_link_is_crowded(struct bridge_link *l);

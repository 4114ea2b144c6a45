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

struct bridge_link {
    struct loop *loop;
    struct loop_fd w;
    struct buf out;
    size_t sent; /* bytes of `out` already written */
    uint8_t fence[8];
    uint32_t fence_len; /* bytes of it that have come */
    /* A fence came back (publish_fence()). */
    void (*fenced)(void *arg, uint64_t number);
    void *arg;
};

void bridge_link_init(struct bridge_link *l, struct loop *loop,
                      void (*fenced)(void *arg, uint64_t number), void *arg);
/* Takes the socket; what was there before is closed. Its first message is the caller's. */
void bridge_link_open(struct bridge_link *l, int fd);
void bridge_link_close(struct bridge_link *l);
bool bridge_link_is_open(const struct bridge_link *l);
/* Queues; nothing happens while closed. */
void bridge_link_send(struct bridge_link *l, struct span messages);

/* SPDX-License-Identifier: Apache-2.0 */
/* control/upstreams.h - the addresses of configured servers: literals at once, names through DNS,
 * asked again and again.
 * Thread: control.   Owns: its questions and the last good answers.
 * Never: takes a server's addresses away because DNS does not answer. */
#pragma once

#include "bridge/publish.h"
#include "control/loop.h"

struct upstreams;

/* snapshot is borrowed for its life. changed(arg, out): messages to send to the workers. */
struct upstreams *upstreams_create(struct loop *loop, const struct snapshot *snapshot,
                                   void (*changed)(void *arg, struct span messages), void *arg);
void upstreams_destroy(struct upstreams *u);
/* Takes over the last good answers for names that are in both. */
void upstreams_inherit(struct upstreams *u, const struct upstreams *old);
/* Asks for every name; literals are known from the start. */
void upstreams_start(struct upstreams *u);
/* Appends the addresses of every server. */
void upstreams_sync(const struct upstreams *u, struct buf *out);

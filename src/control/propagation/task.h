/* SPDX-License-Identifier: Apache-2.0 */
/* control/propagation/task.h - what every kind of question of propagation.h begins with.
 * Thread: control.   Owns: nothing.
 * Never: included outside this folder. */
#pragma once

#include "control/propagation/ask.h"
#include "control/propagation/propagation.h"

#include <assert.h>

#define TASK_RESOLVERS_MAX 8

static_assert(TASK_RESOLVERS_MAX <= ASK_SERVERS_MAX, "one question may go to every resolver");

struct propagation {
    void (*destroy)(struct propagation *p); /* frees all, calls nobody back */
    struct loop *loop;
};

/* The resolvers that every question goes to: the configured ones, else /etc/resolv.conf's. options
 * may be NULL. At least one on success. ERR_CONFIG. */
struct result task_resolvers(const struct propagation_options *options,
                             struct net_addr ret[TASK_RESOLVERS_MAX], uint32_t *ret_count,
                             struct why *why);

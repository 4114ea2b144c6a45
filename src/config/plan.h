/* SPDX-License-Identifier: Apache-2.0 */
/* config/plan.h - what the supervisor has to know of a configuration, and the messages in which
 * control tells it: where to listen, how long a drain may take, how much to log.
 * Thread: any.   Owns: what plan_free() frees.
 * Never: carries a secret; trusts a message (a broken one is ERR_FORMAT). */
#pragma once

#include "base/buf.h"
#include "base/net.h"
#include "base/result.h"

struct config;

/* One address of one entry point. */
struct plan_listener {
    const char *entrypoint;
    const char *address; /* as written */
    struct net_addr socket;
};

struct plan {
    const char *log_level;
    uint64_t grace_ms;  /* the longest of all entry points */
    uint64_t accept_ms; /* accepting goes on so long after the stop signal; the longest too */
    uint64_t drain_ms;  /* what an old data process gets after an upgrade */
    struct plan_listener *listeners;
    uint32_t count;
    char *memory; /* plan_free()'s; NULL when the texts belong to a configuration */
};

/* A longer message is not sent: PLAN_BYTES_MAX. */
#define PLAN_BYTES_MAX     131072
#define PLAN_LISTENERS_MAX 256

/* Borrows every text of the configuration. */
void plan_of_config(const struct config *config, struct plan *ret);
void plan_free(struct plan *plan);
/* Appends the wire form. */
void plan_encode(const struct plan *plan, struct buf *out);
/* Copies `in`. ERR_FORMAT. */
struct result plan_decode(struct span in, struct plan *ret);

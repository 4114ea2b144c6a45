/* SPDX-License-Identifier: Apache-2.0 */
/* control/provider/services.h - what a plug-in may ask its host for: the table of the ABI.
 * Thread: the provider child's only one.   Owns: buffers, responses and cache entries of the
 * plug-in. Never: waits past the deadline of the running call. */
#pragma once

#include "base/list.h"
#include "control/provider/pace.h"
#include "control/provider/plugin_options.h"

#include "ferrule_provider.h"

#define SERVICES_BUF_BYTES_MAX (16u << 20)

struct ferrule_buf {
    struct list node;
    struct buf data;
    size_t bytes_max;
};

struct services {
    struct ferrule_host host; /* first: the plug-in gives its address back */
    const struct plugin_options *options;
    int64_t deadline_ns; /* of the running call, CLOCK_MONOTONIC */
    uint32_t http_timeout_ms;
    struct pace pace;      /* of the HTTP requests; pace_init() may follow services_init() */
    struct redact *redact; /* gets what is derived from secrets; may be NULL */
    struct list bufs;      /* struct ferrule_buf, of the running call */
    struct list responses; /* struct fetch_response (fetch.c), of the running call */
    struct list cache;     /* oldest first */
    uint32_t cache_count;
    char **inherited; /* NAME=VALUE: what programs see with FERRULE_SPAWN_INHERIT */
    uint32_t inherited_count;
    bool no_programs; /* the plug-in may not run any */
};

/* options is borrowed until services_fini(). http_timeout_s 0 = 30. */
void services_init(struct services *s, const struct plugin_options *options,
                   uint32_t http_timeout_s);
/* Adds a variable for programs; one of the same name takes its place. */
void services_inherit(struct services *s, struct span name, struct span value);
/* Around every entry point of the plug-in: sets the deadline; frees what the plug-in left. */
void services_begin(struct services *s, int64_t deadline_ns);
void services_end(struct services *s);
void services_fini(struct services *s);

/* The services behind a table that a plug-in gave back. */
struct services *services_of(const struct ferrule_host *host);
/* CLOCK_MONOTONIC in ms from now to the deadline, or to timeout_ms from now when that is earlier
 * and not 0. 0 when it has passed. */
int services_left_ms(const struct services *s, uint32_t timeout_ms);
/* Fills *error (which may be NULL) and returns the status. */
int32_t services_fail(struct ferrule_error *error, enum ferrule_status status, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

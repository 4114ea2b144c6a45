/* SPDX-License-Identifier: Apache-2.0 */
/* control/admin_answer.h - what the admin socket answers: status, certificates, why one is served.
 * Thread: control.   Owns: nothing.
 * Never: changes anything but by `stop`; puts a key, token or password into an answer. */
#pragma once

#include "bridge/report.h"
#include "control/publish_state.h"
#include "control/scheduler.h"
#include "control/upstreams.h"

/* What the answers are about; all borrowed. */
struct admin_view {
    const char *version;
    const struct config *config;
    const struct scheduler *scheduler;
    struct publish_state *certificates;
    const struct upstreams *upstreams;
    const struct report *report; /* NULL = no counters */
    int64_t started_s;
    void (*stop)(void *arg); /* ends all of ferrule */
    void *arg;
};

/* Requests: {"command":"status"}, {"command":"stop"}, {"command":"cert-list"},
 * {"command":"cert-show","name":"a.test"}, {"command":"cert-explain","sni":"a.test"}. Appends one
 * JSON object with "ok" in it, without line end; "error" says what was wrong. */
void admin_answer(const struct admin_view *view, struct span request, struct buf *out);

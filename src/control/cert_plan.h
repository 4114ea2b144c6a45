/* SPDX-License-Identifier: Apache-2.0 */
/* control/cert_plan.h - what would be ordered, when and why, and what would stand in its way.
 * Thread: control.   Owns: what it asks DNS, while it does.
 * Never: orders or changes anything; keeps its answer back for longer than CERT_PLAN_S. */
#pragma once

#include "control/scheduler.h"

#include <jansson.h>

#define CERT_PLAN_S 15
#define CERT_PLAN_CHECKED                                                                          \
    16 /* orders whose surroundings are looked at; the first ones that are due */

struct cert_plan;

struct cert_plan_options {
    struct loop *loop;
    struct scheduler *scheduler;
    struct state *state;
    /* Takes the answer; the plan is gone after it. */
    void (*done)(void *arg, json_t *answer);
    void *arg;
};

/* The answer comes from the loop. */
struct cert_plan *cert_plan_start(const struct cert_plan_options *options);
/* No answer comes. NULL is fine. */
void cert_plan_cancel(struct cert_plan *p);

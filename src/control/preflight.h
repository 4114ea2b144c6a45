/* SPDX-License-Identifier: Apache-2.0 */
/* control/preflight.h - what would make an order fail at the CA, or spoil its certificate, looked
 * for before it goes out.
 * Thread: control.   Owns: its questions while they are open.
 * Never: changes anything, here or in DNS; decides what a finding means for an order. */
#pragma once

#include "control/order_journal.h"
#include "control/resolver.h"

enum preflight_check {
    PREFLIGHT_CLOCK = 0,
    PREFLIGHT_DISK,
    PREFLIGHT_CAA,
    PREFLIGHT_ADDRESS, /* the names lead to this machine, where the CA is to connect to it */
    PREFLIGHT_PORT,    /* ... and something takes its connections */
    PREFLIGHT_CHECKS
};

enum preflight_verdict {
    PREFLIGHT_OFF = 0, /* not looked at */
    PREFLIGHT_GOOD,
    PREFLIGHT_BAD,
    PREFLIGHT_UNKNOWN, /* no clear answer */
};

struct preflight_finding {
    uint8_t policy; /* enum config_check */
    enum preflight_verdict verdict;
    struct why why; /* of BAD and UNKNOWN: the first thing that was met */
};

/* What the order is going to be. Borrowed until the end. */
struct preflight_subject {
    struct loop *loop;
    const struct resolver *resolver;
    const struct resolver_ca *ca; /* with its client */
    const char *const *names;
    const uint8_t *challenges; /* enum order_challenge of each name */
    uint32_t count;
};

struct preflight;
/* findings: PREFLIGHT_CHECKS of them, valid during the callback. */
typedef void preflight_done(void *arg, const struct preflight_finding *findings);

/* `done` is called once, from the loop; then the object is gone by itself. */
struct preflight *preflight_start(const struct preflight_subject *subject, preflight_done *done,
                                  void *arg);
/* Ends it; no callback is called. NULL is harmless. */
void preflight_cancel(struct preflight *p);
/* "clock", "disk", "caa", "address", "port". */
const char *preflight_name(enum preflight_check check);

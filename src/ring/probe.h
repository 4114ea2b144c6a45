/* SPDX-License-Identifier: Apache-2.0 */
/* ring/probe.h - why a kernel refuses io_uring, in words; private to ring/.
 * Thread: any.   Owns: nothing.
 * Never: guesses by version number; the release is only printed. */
#pragma once

#include "base/result.h"

#include <liburing.h>

/* What stands in the way on this machine, read once a call failed. */
struct probe_facts {
    int sysctl;             /* kernel.io_uring_disabled: 0, 1, 2, or -1 when there is none */
    bool seccomp;           /* a filter is installed in this process */
    unsigned long memlock;  /* RLIMIT_MEMLOCK, bytes */
    const char *release;    /* of the kernel */
    unsigned missing_flags; /* IORING_SETUP_* that had to be left out for a set-up to succeed */
};

/* Flags without which a ring is of no use here. DEFER_TASKRUN is what makes 6.1 the floor. */
#define PROBE_SETUP_FLAGS                                                                          \
    (IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN | IORING_SETUP_SUBMIT_ALL |           \
     IORING_SETUP_CLAMP | IORING_SETUP_CQSIZE | IORING_SETUP_TASKRUN_FLAG)

/* Sets up a ring with PROBE_SETUP_FLAGS. On failure `why` names cause and remedy: ERR_IO_URING
 * with the errno of io_uring_setup(2). */
struct result probe_setup(struct io_uring *uring, unsigned sq_entries, unsigned cq_entries,
                          struct why *why);
/* Turns the errno of `call` ("io_uring_setup", "io_uring_enter", ...) into ERR_IO_URING and a
 * sentence with the cause and the remedy, reading /proc. */
struct result probe_refused(const char *call, int sys, unsigned missing_flags, struct why *why);
/* The same from given facts. */
struct result probe_explain(const char *call, int sys, const struct probe_facts *facts,
                            struct why *why);

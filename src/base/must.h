/* SPDX-License-Identifier: Apache-2.0 */
/* base/must.h - assertions that stay on in every build.
 * Thread: any.   Owns: nothing.
 * Never: checks anything that a peer, CA, plug-in, disk or kernel can cause: that is a result. */
#pragma once

/* Prints where and what to stderr, then aborts; the supervisor restarts the process. */
_Noreturn void must_failed(const char *expr, const char *file, int line);

#define must(cond)                                                                                 \
    do {                                                                                           \
        if (__builtin_expect(!(cond), 0))                                                          \
            must_failed(#cond, __FILE__, __LINE__);                                                \
    } while (0)

/* Marks a place that cannot be reached. */
#define never() must_failed("unreachable", __FILE__, __LINE__)

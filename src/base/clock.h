/* SPDX-License-Identifier: Apache-2.0 */
/* base/clock.h - the two clocks.
 * Thread: any.   Owns: nothing.
 * Never: mixed: deadlines are monotonic nanoseconds, certificates and journals wall seconds.
 * Code under test takes `now` as an argument; only event loops read these. */
#pragma once

#include <stdint.h>
#include <time.h>

#define NS_PER_MS 1000000ull
#define NS_PER_S  1000000000ull

/* CLOCK_MONOTONIC, ns. */
static inline uint64_t clock_now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * NS_PER_S + (uint64_t)t.tv_nsec;
}

/* CLOCK_REALTIME, seconds since 1970. */
static inline int64_t clock_wall_s(void)
{
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    return (int64_t)t.tv_sec;
}

/* The clock that the times of files are taken from, ns since 1970. It stands still between the
 * kernel's ticks, which are some milliseconds apart, but hundreds when a virtual machine is kept
 * from running: whoever compares with another clock takes a new file for an old one. */
static inline int64_t clock_file_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_REALTIME_COARSE, &t);
    return (int64_t)t.tv_sec * (int64_t)NS_PER_S + t.tv_nsec;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* control/provider/pace.h - when the next HTTP request of a plug-in may go: a token bucket, and
 * what the service itself has asked for by 429 and Retry-After. Thread: the provider child's only
 * one.   Owns: nothing. Never: waits; reads a clock. All times are CLOCK_MONOTONIC nanoseconds. */
#pragma once

#include <stdint.h>

struct pace {
    int64_t interval_ns; /* between two requests in the long run; 0 = no limit */
    int64_t burst_ns;    /* how far ahead of that a burst may run */
    int64_t next_ns;     /* when the bucket is full again */
    int64_t closed_ns;   /* the service wants nothing before */
};

/* per_minute 0 = no limit; burst 0 = 1. The bucket begins full. */
void pace_init(struct pace *p, uint32_t per_minute, uint32_t burst);
/* The earliest time for the next request; at most now_ns when it may go at once. */
int64_t pace_when(const struct pace *p, int64_t now_ns);
/* Counts a request that goes out now. */
void pace_take(struct pace *p, int64_t now_ns);
/* Lets nothing out before until_ns; never shortens an earlier wish. */
void pace_close(struct pace *p, int64_t until_ns);

/* SPDX-License-Identifier: Apache-2.0 */
/* base/timer.h - a hierarchical timer wheel; pure: `now` is always an argument.
 * Thread: the owner's.   Owns: nothing (timers are embedded in their objects).
 * Never: fires early; may fire up to one tick late. Set, move and cancel are O(1).
 * Four levels of 64 slots, tick 8 ms: 512 ms, 32 s, 35 min, 37 h; later deadlines wait in the
 * last level and are put again. */
#pragma once

#include "base/list.h"

#include <stdint.h>

#define TIMER_TICK_NS  8000000ull
#define TIMER_LEVELS   4
#define TIMER_SLOTS    64
#define TIMER_NO_LIMIT UINT64_MAX

struct timer {
    struct list node;
    uint64_t at_ns; /* TIMER_NO_LIMIT when not set */
    uint8_t kind;   /* the owner's; tells what the timer means when it fires */
};

struct timer_wheel {
    struct list slots[TIMER_LEVELS][TIMER_SLOTS];
    uint64_t occupied[TIMER_LEVELS]; /* one bit per slot that may hold timers */
    uint64_t tick;                   /* ticks done */
};

void timer_wheel_init(struct timer_wheel *w, uint64_t now_ns);
/* Makes a timer valid and unset. */
void timer_init(struct timer *t, uint8_t kind);
/* Sets or moves. at_ns in the past fires at the next timer_pop(). */
void timer_set(struct timer_wheel *w, struct timer *t, uint64_t at_ns);
/* Unsets; harmless when unset. */
void timer_cancel(struct timer *t);
static inline bool timer_is_set(const struct timer *t)
{
    return t->at_ns != TIMER_NO_LIMIT;
}
/* The next timer that is due at now_ns, unset, or NULL when none is left.
 * Called in a loop; handlers may set and cancel any timer between calls. */
struct timer *timer_pop(struct timer_wheel *w, uint64_t now_ns);
/* A time not later than the next deadline (may be earlier: then timer_pop() finds nothing),
 * or TIMER_NO_LIMIT when the wheel is empty. */
uint64_t timer_next_ns(const struct timer_wheel *w);

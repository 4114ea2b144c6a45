/* SPDX-License-Identifier: Apache-2.0 */
/* data/limit.h - a deadline that is moved far more often than it is reached.
 * Thread: the worker's.   Owns: nothing; embedded in its object.
 * Never: touches the timer wheel to move a deadline later: the wheel's timer then fires early, and
 * limit_check() puts it again. So a request costs the wheel nothing. */
#pragma once

#include "base/timer.h"

struct limit {
    struct timer timer;
    uint64_t at_ns; /* TIMER_NO_LIMIT when off */
};

/* kind: the owner's, tells what its timer means. */
static inline void limit_init(struct limit *l, uint8_t kind)
{
    timer_init(&l->timer, kind);
    l->at_ns = TIMER_NO_LIMIT;
}

static inline void limit_set(struct timer_wheel *w, struct limit *l, uint64_t at_ns)
{
    l->at_ns = at_ns;
    if (at_ns < l->timer.at_ns)
        timer_set(w, &l->timer, at_ns);
}

/* ms == 0 switches the limit off, as in the configuration. */
static inline void limit_set_ms(struct timer_wheel *w, struct limit *l, uint64_t now_ns,
                                uint32_t ms)
{
    limit_set(w, l, ms ? now_ns + ms * 1000000ull : TIMER_NO_LIMIT);
}

/* Off; the wheel may still hold the timer. */
static inline void limit_clear(struct limit *l)
{
    l->at_ns = TIMER_NO_LIMIT;
}

/* Off, and out of the wheel: before the object's memory is given back. */
static inline void limit_remove(struct limit *l)
{
    l->at_ns = TIMER_NO_LIMIT;
    timer_cancel(&l->timer);
}

/* For the timer that the wheel just popped: true when the deadline has passed (it is off then);
 * else the timer is put where it belongs. */
static inline bool limit_check(struct timer_wheel *w, struct limit *l, uint64_t now_ns)
{
    if (l->at_ns == TIMER_NO_LIMIT)
        return false;
    if (l->at_ns > now_ns) {
        timer_set(w, &l->timer, l->at_ns);
        return false;
    }
    l->at_ns = TIMER_NO_LIMIT;
    return true;
}

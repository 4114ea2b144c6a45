/* SPDX-License-Identifier: Apache-2.0 */
/* control/renewal.h - when a certificate is due for renewal; pure.
 * Thread: any.   Owns: nothing.
 * Never: reads a clock; says "now" for ever: the period is always shorter than the lifetime. */
#pragma once

#include "base/result.h"

struct renewal {
    int64_t lifetime_s; /* notAfter - notBefore + 1 */
    int64_t period_s;   /* before the end, when renewal begins */
    int64_t interval_s; /* between attempts */
    int64_t due_s;      /* wall time, with jitter */
};

/* The table's row for a lifetime in seconds (>= 1 year: 4 months / 1 week, >= 90 days: 30 days /
 * 1 day, >= 30 days: 10 days / 12 h, >= 7 days: 1 day / 1 h, >= 6 days: 2 days / 2 h, >= 24 h:
 * 6 h / 10 min, less: 20 min / 1 min). */
void renewal_row(int64_t lifetime_s, int64_t *ret_period_s, int64_t *ret_interval_s);
/* Plans the renewal of one certificate.
 *   duration_h  certificatesDuration, 0 = not given: it chooses the row instead of the lifetime
 *   seed        any number that stays with the certificate; spreads renewals over one interval
 * `warning` is filled ("" = none) when the given duration contradicts the real lifetime. */
struct renewal renewal_plan(int64_t not_before_s, int64_t not_after_s, uint64_t duration_h,
                            uint64_t seed, struct why *warning);

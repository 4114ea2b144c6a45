/* SPDX-License-Identifier: Apache-2.0 */
#include "control/renewal.h"

#include <stddef.h>
#include <stdio.h>

#define MINUTE 60
#define HOUR   3600
#define DAY    (24 * HOUR)

static const struct row {
    int64_t at_least_s, period_s, interval_s;
} rows[] = {
    {365ll * DAY, 120ll * DAY, 7 * DAY},
    {90 * DAY, 30 * DAY, DAY},
    {30 * DAY, 10 * DAY, 12 * HOUR},
    {7 * DAY, DAY, HOUR},
    {6 * DAY, 2 * DAY, 2 * HOUR},
    {DAY, 6 * HOUR, 10 * MINUTE},
    {0, 20 * MINUTE, MINUTE},
};

static const struct row *row_of(int64_t lifetime_s)
{
    size_t last = sizeof rows / sizeof rows[0] - 1;
    for (size_t i = 0; i < last; i++)
        if (lifetime_s >= rows[i].at_least_s)
            return &rows[i];
    return &rows[last];
}

void renewal_row(int64_t lifetime_s, int64_t *ret_period_s, int64_t *ret_interval_s)
{
    const struct row *row = row_of(lifetime_s);
    *ret_period_s = row->period_s;
    *ret_interval_s = row->interval_s;
}

static void warn_contradiction(const struct renewal *r, uint64_t duration_h, bool used,
                               struct why *warning)
{
    snprintf(warning->text, sizeof warning->text,
             "certificatesDuration is %llu h, but the certificate lives %lld h: %s",
             (unsigned long long)duration_h, (long long)(r->lifetime_s / HOUR),
             used
                 ? "renewal follows the setting"
                 : "the setting would renew it at once and for ever, so its real lifetime decides");
}

struct renewal renewal_plan(int64_t not_before_s, int64_t not_after_s, uint64_t duration_h,
                            uint64_t seed, struct why *warning)
{
    struct renewal r = {.lifetime_s = not_after_s - not_before_s + 1};
    const struct row *row = row_of(r.lifetime_s);
    warning->text[0] = 0;
    if (duration_h && duration_h <= INT64_MAX / HOUR) {
        const struct row *chosen = row_of((int64_t)duration_h * HOUR);
        bool used = chosen->period_s < r.lifetime_s;
        if (chosen != row)
            warn_contradiction(&r, duration_h, used, warning);
        if (used)
            row = chosen;
    }
    r.period_s = row->period_s;
    r.interval_s = row->interval_s;
    /* A lifetime of minutes: the last row alone would order without end. */
    if (r.lifetime_s < 2 * r.period_s) {
        r.period_s = r.lifetime_s > 3 ? r.lifetime_s / 3 : 1;
        if (r.interval_s > r.period_s)
            r.interval_s = r.period_s;
    }
    r.due_s = not_after_s - r.period_s + (int64_t)(seed % (uint64_t)r.interval_s);
    return r;
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "control/provider/pace.h"

#define MINUTE_NS (60 * (int64_t)1000000000)

void pace_init(struct pace *p, uint32_t per_minute, uint32_t burst)
{
    *p = (struct pace){.interval_ns = per_minute ? MINUTE_NS / per_minute : 0};
    p->burst_ns = p->interval_ns * (burst ? burst - 1 : 0);
}

int64_t pace_when(const struct pace *p, int64_t now_ns)
{
    int64_t at = p->interval_ns ? p->next_ns - p->burst_ns : now_ns;
    at = at < now_ns ? now_ns : at;
    return at < p->closed_ns ? p->closed_ns : at;
}

void pace_take(struct pace *p, int64_t now_ns)
{
    p->next_ns = (p->next_ns < now_ns ? now_ns : p->next_ns) + p->interval_ns;
}

void pace_close(struct pace *p, int64_t until_ns)
{
    if (until_ns > p->closed_ns)
        p->closed_ns = until_ns;
}

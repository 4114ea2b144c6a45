/* SPDX-License-Identifier: Apache-2.0 */
#include "kit.h"

#include "base/clock.h"

#include <string.h>

struct kit *kit_of(const struct ferrule_host *host)
{
    return (struct kit *)services_of(host);
}

int64_t kit_now_ns(const struct kit *k)
{
    return (int64_t)clock_now_ns() + k->skew_ns;
}

static int64_t now_ns(const struct ferrule_host *host)
{
    return kit_now_ns(kit_of(host));
}

static int64_t wall_s(const struct ferrule_host *host)
{
    return clock_wall_s() + kit_of(host)->skew_ns / (int64_t)NS_PER_S;
}

/* The clock jumps; nobody waits. */
static int32_t sleep_until(const struct ferrule_host *host, int64_t at_ns)
{
    struct kit *k = kit_of(host);
    if (at_ns > k->services.deadline_ns)
        return FERRULE_TIMEOUT;
    int64_t now = kit_now_ns(k);
    if (at_ns > now)
        k->skew_ns += at_ns - now;
    return FERRULE_OK;
}

static void take_log(const struct ferrule_host *host, int32_t level, struct ferrule_str text)
{
    struct kit *k = kit_of(host);
    snprintf(k->log, sizeof k->log, "%.*s", FERRULE_FMT(text));
}

enum kit_fault kit_count_call(struct kit *k)
{
    k->calls++;
    if (kit_now_ns(k) >= k->services.deadline_ns) {
        k->late_calls++;
        return FAULT_DEADLINE;
    }
    if (k->fault == FAULT_NONE || k->calls != k->fault_at)
        return FAULT_NONE;
    k->fault_happened = true;
    return k->fault;
}

int32_t kit_fail_transport(struct kit *k, enum kit_fault fault, struct ferrule_error *error)
{
    int64_t left_ns = k->services.deadline_ns - kit_now_ns(k);
    switch (fault) {
    case FAULT_DEADLINE:
        k->skew_ns += left_ns > 0 ? left_ns + 1 : 0;
        return services_fail(error, FERRULE_TIMEOUT, "the deadline passed");
    case FAULT_SILENT:
    case FAULT_LOST:
        k->skew_ns += left_ns / 10;
        return services_fail(error, FERRULE_TIMEOUT, "no answer in time");
    case FAULT_BROKEN:
        return services_fail(error, FERRULE_RETRY, "connection refused");
    default:
        return FERRULE_OK;
    }
}

void kit_init(struct kit *k)
{
    services_init(&k->services, &k->options, 0);
    struct ferrule_host *host = &k->services.host;
    host->program = "ferrule-provider-test";
    host->log = take_log;
    host->now_ns = now_ns;
    host->wall_s = wall_s;
    host->sleep_until = sleep_until;
    host->dns_exchange = fake_dns_exchange;
    host->dns_query = fake_dns_query;
    host->http = fake_http;
    host->http_free = fake_http_free;
}

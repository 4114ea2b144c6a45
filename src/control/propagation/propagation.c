/* SPDX-License-Identifier: Apache-2.0 */
#include "control/propagation/task.h"

#define DNS_PORT 53

struct result task_resolvers(const struct propagation_options *options,
                             struct net_addr ret[TASK_RESOLVERS_MAX], uint32_t *ret_count,
                             struct why *why)
{
    uint32_t given = options ? options->resolver_count : 0, count = 0;
    if (given == 0)
        count = channel_resolvers(ret, TASK_RESOLVERS_MAX);
    for (uint32_t i = 0; i < given && count < TASK_RESOLVERS_MAX; i++, count++) {
        const char *text = options->resolvers[i];
        if (!result_is_ok(net_addr_parse(span_str(text), DNS_PORT, &ret[count])))
            return why_fail(why, ERR_CONFIG,
                            "dnsChallenge.resolvers: \"%.100s\" must be an IP address or IP:port",
                            text);
    }
    if (count == 0)
        return why_fail(why, ERR_CONFIG,
                        "/etc/resolv.conf names no resolver: set dnsChallenge.resolvers");
    *ret_count = count;
    return result_ok();
}

void propagation_cancel(struct propagation *p)
{
    if (p)
        p->destroy(p);
}

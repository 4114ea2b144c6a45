/* SPDX-License-Identifier: Apache-2.0 */
/* Targets: net_addr_parse net_addr_print net_split_host_port */
#include "fuzz.h"

#include "base/net.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct span text = {data, size};
    struct net_addr a, again;
    if (result_is_ok(net_addr_parse(text, 443, &a))) {
        char printed[NET_ADDR_TEXT_MAX], twice[NET_ADDR_TEXT_MAX];
        net_addr_print(&a, printed);
        must(result_is_ok(net_addr_parse(span_str(printed), 0, &again)));
        must(strcmp(printed, net_addr_print(&again, twice)) == 0);
    }
    struct span host;
    uint16_t port;
    if (result_is_ok(net_split_host_port(text, &host, &port)))
        must(host.len <= size && host.ptr >= data && host.ptr + host.len <= data + size);
    return 0;
}

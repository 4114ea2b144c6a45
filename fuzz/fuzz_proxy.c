/* SPDX-License-Identifier: Apache-2.0 */
/* Targets: proxy_parse, proxy_write */
#include "fuzz.h"

#include "data/proxy.h"

/* What was read means the same when it is written anew, in either version. */
static void check_again(const struct proxy_header *h, uint32_t version)
{
    uint8_t memory[PROXY_WRITE_MAX];
    struct writer out = writer_of(memory, sizeof memory);
    struct proxy_header again;
    char text[2][NET_ADDR_TEXT_MAX];
    proxy_write(version, &h->client, &h->server, &out);
    must(!out.bad);
    must(result_is_ok(proxy_parse(writer_done(&out), &again)));
    must(again.known == h->known && again.len == out.len);
    if (!h->known)
        return;
    must(!strcmp(net_addr_print(&h->client, text[0]), net_addr_print(&again.client, text[1])));
    must(!strcmp(net_addr_print(&h->server, text[0]), net_addr_print(&again.server, text[1])));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct span in = {data, size};
    struct proxy_header h, cut;
    enum err_code code = proxy_parse(in, &h).code;
    must(code == ERR_NONE || code == ERR_AGAIN || code == ERR_FORMAT || code == ERR_TOO_LARGE);
    must(code != ERR_AGAIN || in.len < PROXY_BYTES_MAX);
    /* Every part of it: more is asked for, or the verdict is the same. */
    for (size_t n = 0; n < in.len && n < 300; n++) {
        enum err_code less = proxy_parse(span_first(in, n), &cut).code;
        must(less == ERR_AGAIN || (less == code && (code != ERR_NONE || n >= h.len)));
    }
    if (code != ERR_NONE)
        return 0;
    must(h.len > 0 && h.len <= in.len && h.len <= PROXY_BYTES_MAX);
    check_again(&h, 1);
    check_again(&h, 2);
    return 0;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Targets: publisher_feed wire_next snapshot_decode table_select
 * First byte: how many bytes at a time the stream is given in (0: all at once). */
#include "fuzz.h"

#include "bridge/publish.h"

#include <stdlib.h>

static void try_snapshot(struct span in)
{
    struct snapshot *s, *again;
    struct buf a = {0}, b = {0};
    if (!result_is_ok(snapshot_decode(in, &s)))
        return;
    must(result_is_ok(snapshot_check(s)));
    snapshot_encode(s, &a);
    must(result_is_ok(snapshot_decode(buf_span(&a), &again)));
    snapshot_encode(again, &b);
    must(span_eq(buf_span(&a), buf_span(&b)));
    snapshot_free(s);
    snapshot_free(again);
    buf_free(&a);
    buf_free(&b);
}

static void look_around(struct bridge_reader *r)
{
    static const char *const names[] = {"", "a.test", "x.a.test", "192.0.2.1"};
    reader_online(r);
    for (size_t i = 0; i < 4; i++) {
        bool is_default;
        const struct table_cert *c = table_select(r, span_str(names[i]), span_str("192.0.2.1"),
                                                  true, i & 1, &is_default, NULL);
        must(!c || (c->id && c->key.len && c->chain.len > 3));
    }
    must(reader_ticket_keys(r)->count <= TICKET_KEY_COUNT);
    const struct snapshot *s = reader_snapshot(r);
    for (uint32_t i = 0; s && i < s->server_count; i++)
        must(reader_server(r, s, i)->addr_count <= PUBLISH_ADDRS_MAX);
    reader_offline(r);
}

/* Bytes come as from a socket: what is not taken is given again with more behind it. */
static void try_stream(struct span in, size_t piece)
{
    struct publisher *p;
    size_t at = 0, have = 0;
    must(result_is_ok(publisher_create(1, 1, &p, NULL)));
    struct bridge_reader *r = reader_join(p, 0, -1);
    publisher_reset_stream(p);
    do {
        size_t used = 0;
        have = piece && in.len - have > piece ? have + piece : in.len;
        struct span part = span_skip(span_first(in, have), at);
        uint8_t *exact = malloc(part.len + 1); /* a block of its own: a read past it is seen */
        must(exact);
        if (part.len)
            memcpy(exact, part.ptr, part.len);
        struct why why;
        struct result result = publisher_feed(p, span_of(exact, part.len), &used, &why);
        free(exact);
        must(used <= part.len);
        at += used;
        look_around(r);
        if (!result_is_ok(result)) {
            publisher_reset_stream(p);
            break;
        }
    } while (have < in.len);
    publisher_collect(p);
    look_around(r);
    reader_leave(r);
    publisher_destroy(p);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct span in = {data, size};
    try_snapshot(in);
    struct span head = fuzz_take(&in, 1);
    try_stream(in, head.len ? head.ptr[0] : 0);
    return 0;
}

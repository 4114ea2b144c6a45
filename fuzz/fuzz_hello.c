/* SPDX-License-Identifier: Apache-2.0 */
/* Targets: hello_parse */
#include "fuzz.h"

#include "data/tls/hello.h"

/* What a caller relies on. */
static void check(const struct hello *h)
{
    must(h->name_len <= 253 && h->name[h->name_len] == 0);
    must(strlen(h->name) == h->name_len);
    must(!h->name_refused || h->name_len == 0);
    must(h->name_len == 0 || h->name[h->name_len - 1] != '.');
    for (size_t i = 0; i < h->name_len; i++) {
        char c = h->name[i];
        must((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '_' || c == '.');
    }
    must(!h->alpn_h2 || h->has_alpn);
    must(!h->ticket_len || h->has_ticket);
}

/* The same message in records of other lengths means the same. */
static void check_other_records(struct span in, const struct hello *h, size_t part)
{
    static uint8_t mem[6 * HELLO_BYTES_MAX];
    struct writer w = writer_of(mem, sizeof mem);
    uint8_t flat[HELLO_BYTES_MAX];
    size_t have = 0, want = 4;
    struct hello again;

    for (size_t at = 0; have < want; at += 5 + ((size_t)in.ptr[at + 3] << 8 | in.ptr[at + 4])) {
        size_t n = (size_t)in.ptr[at + 3] << 8 | in.ptr[at + 4];
        must(have + n <= sizeof flat && at + 5 + n <= in.len);
        memcpy(flat + have, in.ptr + at + 5, n);
        have += n;
        if (have >= 4)
            want = 4 + ((size_t)flat[1] << 16 | (size_t)flat[2] << 8 | flat[3]);
    }
    must(have == want);
    for (size_t at = 0; at < have; at += part) {
        size_t n = part < have - at ? part : have - at;
        writer_bytes(&w, "\x16\x03\x01", 3);
        writer_be(&w, n, 2);
        writer_bytes(&w, flat + at, n);
    }
    must(!w.bad);
    struct result r = hello_parse(writer_done(&w), &again);
    if (r.code == ERR_TOO_LARGE && w.len > HELLO_BYTES_MAX)
        return;
    must(result_is_ok(r));
    /* So does the one record that is made of them, with what followed. */
    writer_bytes(&w, "behind", 6);
    must(!w.bad);
    if (again.records > 1) {
        size_t void_bytes = hello_join(mem, w.len);
        struct span joined = span_skip(span_of(mem, w.len), void_bytes);
        must(result_is_ok(hello_parse(joined, &again)));
        must(have > 16384 || (again.records == 1 && joined.len == 5 + have + 6));
        must(memcmp(joined.ptr + joined.len - 6, "behind", 6) == 0);
    }
    again.records = h->records;
    must(memcmp(&again, h, sizeof again) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct span in = {data, size};
    struct hello h, cut;
    size_t part = 1 + (fuzz_take(&in, 1).len ? data[0] : 0);

    enum err_code code = hello_parse(in, &h).code;
    must(code == ERR_NONE || code == ERR_AGAIN || code == ERR_FORMAT || code == ERR_TOO_LARGE ||
         code == ERR_PEER_PROTOCOL);
    must(code != ERR_AGAIN || in.len < HELLO_BYTES_MAX);
    if (code == ERR_NONE) {
        check(&h);
        check_other_records(in, &h, part);
    }
    /* Fewer bytes: more are asked for, or the verdict is the same. */
    enum err_code less = hello_parse(span_first(in, in.len / 2), &cut).code;
    must(less == ERR_AGAIN || less == code);
    return 0;
}

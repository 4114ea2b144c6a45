/* SPDX-License-Identifier: Apache-2.0 */
/* Targets: wire_decode wire_encode redact_text */
#include "fuzz.h"

#include "control/provider/redact.h"
#include "control/provider/wire.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct wire_message m, again;
    if (result_is_ok(wire_decode(span_of(data, size), &m))) {
        /* What was read is written as the same bytes, and read again. */
        struct buf bytes = {0};
        must(result_is_ok(wire_encode(&m, &bytes)));
        must(span_eq(buf_span(&bytes), span_of(data, size)));
        must(result_is_ok(wire_decode(buf_span(&bytes), &again)));
        buf_free(&bytes);
    }
    struct span rest = {data, size}, secret = fuzz_take(&rest, 8);
    char *text = mem_strndup(rest.ptr, rest.len);
    struct redact r = {0};
    redact_add(&r, secret);
    redact_text(&r, text);
    must(strlen(text) <= rest.len);
    if (secret.len == 8 && !memchr(secret.ptr, '*', 8) && !memchr(secret.ptr, 0, 8))
        must(!memmem(text, strlen(text), secret.ptr, 8));
    redact_fini(&r);
    free(text);
    return 0;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Targets: target_path target_query target_normal target_next_param target_param_is
 * target_param_decode */
#include "fuzz.h"
#include "base/buf.h"
#include "data/route/target.h"

#include <stdlib.h>

/* A normal path has no empty segment and no dot segment, and is its own normal form. */
static void see_path(struct span path, enum target_form form)
{
    uint8_t *memory = mem_alloc(path.len + 1), *again = mem_alloc(path.len + 1);
    struct span once, twice;
    struct result r = target_normal(path, form, memory, path.len, &once);
    must(result_is_ok(r) || r.code == ERR_FORMAT);
    if (result_is_ok(r) && path.len && path.ptr[0] == '/') {
        must(once.len > 0 && once.len <= path.len && once.ptr[0] == '/');
        for (size_t i = 0; i + 1 < once.len; i++) {
            struct span rest = span_skip(once, i);
            must(!span_starts_with(rest, SPAN_LITERAL("//")));
            must(!span_starts_with(rest, SPAN_LITERAL("/./")));
            must(!span_starts_with(rest, SPAN_LITERAL("/../")));
        }
        must(result_is_ok(target_normal(once, form, again, once.len, &twice)));
        must(span_eq(once, twice));
    }
    free(memory);
    free(again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct span target = span_of(data, size), query = target_query(target), plain;
    see_path(target_path(target), TARGET_CLEAN);
    see_path(target_path(target), TARGET_ROUTE);
    struct target_param p;
    while (target_next_param(&query, &p)) {
        uint8_t *memory = mem_alloc(p.value.len + 1);
        must(result_is_ok(target_param_decode(p.value, memory, p.value.len, &plain)));
        must(target_param_is(p.value, plain));
        free(memory);
    }
    return 0;
}

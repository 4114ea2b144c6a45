/* SPDX-License-Identifier: Apache-2.0 */
/* fuzz/fuzz.h - what every fuzz target defines, and what it may use.
 * Thread: one.   Owns: nothing.
 * Never: prints on good input; an invariant that does not hold aborts (must()), which libFuzzer
 * and the replay program both report with the input. */
#pragma once

#include "base/must.h"
#include "base/span.h"

/* Runs the target once. Returns 0. `data` may be NULL when size is 0. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Takes n bytes off the front of *s as settings for the run (fewer when there are fewer). */
static inline struct span fuzz_take(struct span *s, size_t n)
{
    struct span head = span_first(*s, n);
    *s = span_skip(*s, head.len);
    return head;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Targets: pair_index_open pair_index_find enter_all take_facts take_leaf */
#include "fuzz.h"

#include "config/pair_index.h"
#include "crypto/digest.h"

/* What the index has is the input behind a head with the right digest. What it knows of two files
 * that are not there is never believed. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct pair_index *index = NULL;
    struct pair_source source = {.text = {"/nowhere/c", "/nowhere/k"}, .now_s = 1000};
    struct pair_facts facts;
    struct buf bytes = {0};
    struct why why;
    uint8_t digest[32];
    digest_once(DIGEST_SHA256, span_of(data, size), digest);
    buf_put_str(&bytes, "ferrpidx");
    buf_put(&bytes, digest, sizeof digest);
    buf_put(&bytes, data, size);
    if (result_is_ok(pair_index_open(&bytes, "1", &index, &why)))
        must(!pair_index_find(index, &source, &facts));
    pair_index_close(index);
    return 0;
}

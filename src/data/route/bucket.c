/* SPDX-License-Identifier: Apache-2.0 */
#include "data/route/bucket.h"

#include "base/must.h"

#include <stdlib.h>

struct result bucket_table_init(struct bucket_table *t)
{
    t->slots = calloc(BUCKET_COUNT, sizeof *t->slots);
    return t->slots ? result_ok() : result_fail(ERR_NO_MEMORY);
}

void bucket_table_fini(struct bucket_table *t)
{
    free(t->slots);
    t->slots = NULL;
}

/* The bucket of this key, or the place for it. */
static struct bucket *place_of(struct bucket_table *t, uint64_t key)
{
    struct bucket *set = &t->slots[(key % (BUCKET_COUNT / BUCKET_WAYS)) * BUCKET_WAYS];
    struct bucket *oldest = set;
    for (uint32_t i = 0; i < BUCKET_WAYS; i++) {
        if (set[i].key == key)
            return &set[i];
        if (set[i].key == 0 || (oldest->key != 0 && set[i].seen_ns < oldest->seen_ns))
            oldest = oldest->key == 0 ? oldest : &set[i];
    }
    return oldest;
}

/* Tokens that may be owed. */
static double credit(double per_ns)
{
    double per_half_second = per_ns * 5e8;
    return per_half_second < 0.5 ? per_half_second : 0.5;
}

bool bucket_take(struct bucket_table *t, uint64_t key, uint64_t average, uint64_t period_ns,
                 uint64_t burst, uint64_t now_ns, uint64_t *ret_wait_ns)
{
    must(key && average && period_ns && burst);
    struct bucket *b = place_of(t, key);
    double per_ns = (double)average / (double)period_ns;
    if (b->key != key)
        *b = (struct bucket){key, now_ns, (double)burst};
    double tokens = b->tokens + (double)(now_ns - b->seen_ns) * per_ns;
    if (tokens > (double)burst)
        tokens = (double)burst;
    b->seen_ns = now_ns;
    b->tokens = tokens;
    if (tokens - 1 < -credit(per_ns)) {
        *ret_wait_ns = (uint64_t)((1 - tokens) / per_ns);
        return false;
    }
    b->tokens = tokens - 1;
    return true;
}

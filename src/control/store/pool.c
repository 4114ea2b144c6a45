/* SPDX-License-Identifier: Apache-2.0 */
#include "control/store/pool.h"

#include "base/must.h"

#include <stdlib.h>

struct result store_pool_take(struct store_pool *pool, const char *path, struct store **ret,
                              struct why *why)
{
    for (uint32_t i = 0; i < pool->count; i++)
        if (!strcmp(pool->entries[i].path, path)) {
            pool->entries[i].users++;
            *ret = pool->entries[i].store;
            return result_ok();
        }
    struct store *store = NULL;
    TRY(store_open(path, &store, why));
    pool->entries = mem_grow(pool->entries, (pool->count + 1) * sizeof *pool->entries);
    pool->entries[pool->count++] = (struct store_pool_entry){mem_strdup(path), store, 1};
    *ret = store;
    return result_ok();
}

void store_pool_give_back(struct store_pool *pool, struct store *store)
{
    for (uint32_t i = 0; i < pool->count; i++) {
        struct store_pool_entry *e = &pool->entries[i];
        if (e->store != store)
            continue;
        if (--e->users)
            return;
        store_close(e->store);
        free(e->path);
        *e = pool->entries[--pool->count];
        return;
    }
    never();
}

uint32_t store_pool_users(const struct store_pool *pool, const struct store *store)
{
    for (uint32_t i = 0; i < pool->count; i++)
        if (pool->entries[i].store == store)
            return pool->entries[i].users;
    return 0;
}

void store_pool_fini(struct store_pool *pool)
{
    must(pool->count == 0);
    free(pool->entries);
    *pool = (struct store_pool){0};
}

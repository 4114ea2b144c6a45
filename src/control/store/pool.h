/* SPDX-License-Identifier: Apache-2.0 */
/* control/store/pool.h - stores by path, each open once, however many resolvers and configurations
 * use it.
 * Thread: control.   Owns: the stores.
 * Never: opens a path twice: a store locks its file. */
#pragma once

#include "control/store/store.h"

/* Zero-initialised is valid and empty. */
struct store_pool {
    struct store_pool_entry {
        char *path;
        struct store *store;
        uint32_t users;
    } * entries;
    uint32_t count;
};

/* Opens it, or counts another user. As store_open(). */
struct result store_pool_take(struct store_pool *pool, const char *path, struct store **ret,
                              struct why *why);
/* Closes it after the last user. */
void store_pool_give_back(struct store_pool *pool, struct store *store);
/* How many use it; 0 = it is not there. */
uint32_t store_pool_users(const struct store_pool *pool, const struct store *store);
/* All users are gone. */
void store_pool_fini(struct store_pool *pool);

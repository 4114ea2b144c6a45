/* SPDX-License-Identifier: Apache-2.0 */
/* control/store/lmdb_index.h - the table of a storage directory that says which certificates a name
 * has, and when they end. Every function runs within a transaction of the caller's and returns what
 * LMDB returns.
 * Thread: that of the transaction.   Owns: nothing.
 * Never: looks at a certificate.
 *
 *   name -> id (8), not before (8), not after (8), RSA or not (1); big-endian; one such value for
 *           each certificate, so in the order of ids */
#pragma once

#include "control/store/store.h"

#include <lmdb.h>

#define LMDB_INDEX_FLAGS    MDB_DUPSORT
#define LMDB_INDEX_NAME_MAX 511 /* bytes of a key */

/* name: 1 to LMDB_INDEX_NAME_MAX bytes. Harmless when it is there already. */
int lmdb_index_put(MDB_txn *txn, MDB_dbi table, struct span name, const struct store_place *place);
/* Takes one certificate out of those of a name. Harmless when it is not there. */
int lmdb_index_remove(MDB_txn *txn, MDB_dbi table, struct span name, uint64_t id);
/* The newest ones of a name, the oldest of them first; none for a name that cannot be there. */
int lmdb_index_get(MDB_txn *txn, MDB_dbi table, struct span name,
                   struct store_place ret[STORE_PLACES_MAX], uint32_t *ret_count);
/* As store_walk(): MDB_NOTFOUND when there are no more names, 0 when there may be. max: not 0. */
int lmdb_index_walk(MDB_txn *txn, MDB_dbi table, struct buf *last, uint32_t max,
                    store_each_name *each, void *arg);

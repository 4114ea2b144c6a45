/* SPDX-License-Identifier: Apache-2.0 */
#include "control/store/state.h"

#include "base/must.h"
#include "control/store/lmdb_dir.h"

#include <stdlib.h>

#define STATE_MAP_BYTES (1ull << 30)

static const struct lmdb_dir_kind kind = {
    .what = "state directory",
    .option = "[state] directory",
    .damaged = "; the files are damaged: move them away, orders start anew from the store",
    .map_bytes = STATE_MAP_BYTES,
    .table_count = STATE_TABLES,
    .tables = {{"journal", 0}, {"ledger", 0}, {"keys", 0}, {"ari", 0}, {"ocsp", 0}},
};
_Static_assert(STATE_TABLES <= LMDB_DIR_TABLES_MAX, "a table has no place");

struct state {
    struct lmdb_dir dir;
};

struct result state_lock(const char *directory, int *ret_fd, struct why *why)
{
    return lmdb_dir_lock(&kind, directory, ret_fd, why);
}

struct result state_open(const char *directory, struct state **ret, struct why *why)
{
    struct lmdb_dir dir;
    TRY(lmdb_dir_open(&dir, &kind, directory, why));
    *ret = mem_alloc(sizeof **ret);
    (*ret)->dir = dir;
    return result_ok();
}

void state_close(struct state *s)
{
    if (!s)
        return;
    lmdb_dir_close(&s->dir);
    free(s);
}

static MDB_val val_of(struct span s)
{
    return (MDB_val){s.len, (void *)s.ptr};
}

/* One write transaction: put (value given) or delete (value NULL). */
static struct result write_one(struct state *s, enum state_table table, struct span key,
                               const struct span *value, struct why *why)
{
    must(key.len > 0 && key.len <= 511);
    MDB_txn *txn;
    MDB_val k = val_of(key), v;
    int rc = lmdb_dir_begin(&s->dir, 0, &txn);
    if (rc)
        return lmdb_dir_fail(&s->dir, why, rc, "cannot write to");
    if (value) {
        v = val_of(*value);
        rc = mdb_put(txn, s->dir.tables[table], &k, &v, 0);
    } else {
        rc = mdb_del(txn, s->dir.tables[table], &k, NULL);
        if (rc == MDB_NOTFOUND)
            rc = 0;
    }
    if (rc)
        mdb_txn_abort(txn);
    else
        rc = mdb_txn_commit(txn);
    return rc ? lmdb_dir_fail(&s->dir, why, rc, "cannot write to") : result_ok();
}

struct result state_put(struct state *s, enum state_table table, struct span key, struct span value,
                        struct why *why)
{
    return write_one(s, table, key, &value, why);
}

struct result state_remove(struct state *s, enum state_table table, struct span key,
                           struct why *why)
{
    return write_one(s, table, key, NULL, why);
}

struct result state_get(struct state *s, enum state_table table, struct span key, struct buf *ret)
{
    MDB_txn *txn;
    MDB_val k = val_of(key), v;
    int rc = lmdb_dir_begin(&s->dir, MDB_RDONLY, &txn);
    if (rc)
        return result_fail_sys(ERR_STORE, rc);
    rc = mdb_get(txn, s->dir.tables[table], &k, &v);
    if (!rc)
        buf_put(ret, v.mv_data, v.mv_size);
    mdb_txn_abort(txn);
    if (rc == MDB_NOTFOUND)
        return result_fail(ERR_NOT_FOUND);
    return rc ? result_fail_sys(ERR_STORE, rc) : result_ok();
}

/* Copies all records into `out` as (4-byte key length, 4-byte value length, key, value)*. */
static int copy_all(struct state *s, enum state_table table, struct buf *out)
{
    MDB_txn *txn;
    MDB_cursor *cursor;
    MDB_val k, v;
    int rc = lmdb_dir_begin(&s->dir, MDB_RDONLY, &txn);
    if (rc)
        return rc;
    rc = mdb_cursor_open(txn, s->dir.tables[table], &cursor);
    if (!rc) {
        while ((rc = mdb_cursor_get(cursor, &k, &v, MDB_NEXT)) == 0) {
            buf_put_be(out, k.mv_size, 4);
            buf_put_be(out, v.mv_size, 4);
            buf_put(out, k.mv_data, k.mv_size);
            buf_put(out, v.mv_data, v.mv_size);
        }
        mdb_cursor_close(cursor);
    }
    mdb_txn_abort(txn);
    return rc == MDB_NOTFOUND ? 0 : rc;
}

struct result state_each(struct state *s, enum state_table table,
                         void (*each)(void *arg, struct span key, struct span value), void *arg,
                         struct why *why)
{
    struct buf all = {0};
    int rc = copy_all(s, table, &all);
    struct reader r = reader_of(buf_span(&all));
    while (!rc && r.left) {
        uint32_t key_len = reader_u32(&r), value_len = reader_u32(&r);
        struct span key = reader_bytes(&r, key_len);
        each(arg, key, reader_bytes(&r, value_len));
    }
    buf_wipe_free(&all);
    return rc ? lmdb_dir_fail(&s->dir, why, rc, "cannot read") : result_ok();
}

static int remove_gone(MDB_txn *txn, MDB_dbi table,
                       bool (*gone)(void *arg, struct span key, struct span value), void *arg)
{
    MDB_cursor *cursor;
    MDB_val k, v;
    int rc = mdb_cursor_open(txn, table, &cursor);
    if (rc)
        return rc;
    while ((rc = mdb_cursor_get(cursor, &k, &v, MDB_NEXT)) == 0)
        if (gone(arg, span_of(k.mv_data, k.mv_size), span_of(v.mv_data, v.mv_size)) &&
            (rc = mdb_cursor_del(cursor, 0)) != 0)
            break;
    mdb_cursor_close(cursor);
    return rc == MDB_NOTFOUND ? 0 : rc;
}

struct result state_prune(struct state *s, enum state_table table,
                          bool (*gone)(void *arg, struct span key, struct span value), void *arg,
                          struct why *why)
{
    MDB_txn *txn;
    int rc = lmdb_dir_begin(&s->dir, 0, &txn);
    if (rc)
        return lmdb_dir_fail(&s->dir, why, rc, "cannot write to");
    rc = remove_gone(txn, s->dir.tables[table], gone, arg);
    if (rc)
        mdb_txn_abort(txn);
    else
        rc = mdb_txn_commit(txn);
    return rc ? lmdb_dir_fail(&s->dir, why, rc, "cannot write to") : result_ok();
}

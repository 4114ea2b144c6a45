/* SPDX-License-Identifier: Apache-2.0 */
#include "control/store/lmdb_index.h"

#include "base/must.h"

#define PLACE_BYTES 25

static MDB_val val_of(struct span s)
{
    return (MDB_val){s.len, (void *)s.ptr};
}

static struct span span_of_val(const MDB_val *v)
{
    return span_of(v->mv_data, v->mv_size);
}

static struct store_place place_of(const MDB_val *v)
{
    struct reader r = reader_of(span_of_val(v));
    struct store_place p = {.id = reader_u64(&r)};
    p.not_before_s = (int64_t)reader_u64(&r);
    p.not_after_s = (int64_t)reader_u64(&r);
    p.is_rsa = reader_u8(&r);
    return p;
}

int lmdb_index_put(MDB_txn *txn, MDB_dbi table, struct span name, const struct store_place *place)
{
    uint8_t bytes[PLACE_BYTES];
    struct writer w = writer_of(bytes, sizeof bytes);
    writer_be(&w, place->id, 8);
    writer_be(&w, (uint64_t)place->not_before_s, 8);
    writer_be(&w, (uint64_t)place->not_after_s, 8);
    writer_be(&w, place->is_rsa, 1);
    must(!w.bad && w.len == PLACE_BYTES);
    MDB_val k = val_of(name), v = {sizeof bytes, bytes};
    int rc = mdb_put(txn, table, &k, &v, MDB_NODUPDATA);
    return rc == MDB_KEYEXIST ? 0 : rc;
}

int lmdb_index_remove(MDB_txn *txn, MDB_dbi table, struct span name, uint64_t id)
{
    MDB_cursor *cursor;
    MDB_val k = val_of(name), v;
    int rc = mdb_cursor_open(txn, table, &cursor);
    if (rc)
        return rc;
    rc = mdb_cursor_get(cursor, &k, &v, MDB_SET_KEY);
    while (!rc && place_of(&v).id != id)
        rc = mdb_cursor_get(cursor, &k, &v, MDB_NEXT_DUP);
    if (!rc)
        rc = mdb_cursor_del(cursor, 0);
    mdb_cursor_close(cursor);
    return rc == MDB_NOTFOUND ? 0 : rc;
}

/* All places of the name that the cursor stands at; it stands at the last one afterwards. */
static int take_places(MDB_cursor *cursor, MDB_val *k, MDB_val *v,
                       struct store_place ret[STORE_PLACES_MAX], uint32_t *ret_count)
{
    uint32_t count = 0;
    int rc = 0;
    for (; !rc; rc = mdb_cursor_get(cursor, k, v, MDB_NEXT_DUP)) {
        if (count == STORE_PLACES_MAX)
            memmove(ret, ret + 1, --count * sizeof *ret);
        ret[count++] = place_of(v);
    }
    *ret_count = count;
    return rc == MDB_NOTFOUND ? 0 : rc;
}

int lmdb_index_get(MDB_txn *txn, MDB_dbi table, struct span name,
                   struct store_place ret[STORE_PLACES_MAX], uint32_t *ret_count)
{
    MDB_cursor *cursor;
    MDB_val k = val_of(name), v;
    *ret_count = 0;
    if (!name.len || name.len > LMDB_INDEX_NAME_MAX)
        return 0;
    int rc = mdb_cursor_open(txn, table, &cursor);
    if (rc)
        return rc;
    rc = mdb_cursor_get(cursor, &k, &v, MDB_SET_KEY);
    if (!rc)
        rc = take_places(cursor, &k, &v, ret, ret_count);
    mdb_cursor_close(cursor);
    return rc == MDB_NOTFOUND ? 0 : rc;
}

static int seek(MDB_cursor *cursor, struct span last, MDB_val *k, MDB_val *v)
{
    *k = val_of(last);
    int rc = mdb_cursor_get(cursor, k, v, last.len ? MDB_SET_RANGE : MDB_FIRST);
    if (!rc && last.len && span_eq(span_of_val(k), last))
        rc = mdb_cursor_get(cursor, k, v, MDB_NEXT_NODUP);
    return rc;
}

int lmdb_index_walk(MDB_txn *txn, MDB_dbi table, struct buf *last, uint32_t max,
                    store_each_name *each, void *arg)
{
    MDB_cursor *cursor;
    MDB_val k, v;
    struct store_place places[STORE_PLACES_MAX];
    uint32_t count;
    must(max > 0);
    int rc = mdb_cursor_open(txn, table, &cursor);
    if (rc)
        return rc;
    for (rc = seek(cursor, buf_span(last), &k, &v); !rc;
         rc = mdb_cursor_get(cursor, &k, &v, MDB_NEXT_NODUP)) {
        struct span name = span_of_val(&k);
        if ((rc = take_places(cursor, &k, &v, places, &count)))
            break;
        each(arg, name, places, count);
        if (--max == 0) {
            last->len = 0;
            buf_put_span(last, name);
            break;
        }
    }
    mdb_cursor_close(cursor);
    return rc;
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "control/store/state.h"

#include "base/log.h"
#include "base/must.h"
#include "control/store/lmdb_dir.h"

#include <errno.h>
#include <stdlib.h>

#define STATE_MAP_BYTES (1ull << 30)
#define KEY_BYTES_MAX   511

static const struct lmdb_dir_kind kind = {
    .what = "state directory",
    .option = "[state] directory",
    .damaged = "; the files are damaged: move them away, orders start anew from the store",
    .map_bytes = STATE_MAP_BYTES,
    .table_count = STATE_TABLES,
    .tables = {{"journal", 0}, {"ledger", 0}, {"keys", 0}, {"ari", 0}, {"ocsp", 0}, {"learnt", 0}},
};
_Static_assert(STATE_TABLES <= LMDB_DIR_TABLES_MAX, "a table has no place");

struct record {
    enum state_table table;
    bool removed;
    struct buf key, value;
};

/* Records in the order in which they came, one for each key. */
struct batch {
    struct record *items;
    uint32_t count, cap;
    struct list waits;
};

struct state {
    struct lmdb_dir dir;
    struct loop *loop; /* NULL: nothing is put off */
    struct batch filling, writing;
    struct loop_job job; /* writes `writing` */
    struct loop_timer start;
    int rc; /* of the job */
};

static void start_batch(struct loop_timer *t);
static void write_batch(struct loop_job *job);
static void batch_written(struct loop_job *job);

struct result state_lock(const char *directory, int *ret_fd, struct why *why)
{
    return lmdb_dir_lock(&kind, directory, ret_fd, why);
}

struct result state_open(const char *directory, struct state **ret, struct why *why)
{
    struct lmdb_dir dir;
    TRY(lmdb_dir_open(&dir, &kind, directory, why));
    struct state *s = mem_zalloc(sizeof *s);
    s->dir = dir;
    list_init(&s->filling.waits);
    list_init(&s->writing.waits);
    loop_timer_init(&s->start, start_batch);
    loop_job_init(&s->job, write_batch, batch_written);
    *ret = s;
    return result_ok();
}

void state_use_loop(struct state *s, struct loop *loop)
{
    must(!s->loop);
    s->loop = loop;
}

static MDB_val val_of(struct span s)
{
    return (MDB_val){s.len, (void *)s.ptr};
}

/* ---- batches -------------------------------------------------------------------------------- */

static void batch_clear(struct batch *b)
{
    for (uint32_t i = 0; i < b->count; i++) {
        buf_free(&b->items[i].key);
        buf_wipe_free(&b->items[i].value);
    }
    b->count = 0;
}

static struct record *batch_find(const struct batch *b, enum state_table table, struct span key)
{
    for (uint32_t i = b->count; i-- > 0;)
        if (b->items[i].table == table && span_eq(buf_span(&b->items[i].key), key))
            return &b->items[i];
    return NULL;
}

/* r: NULL is fine. */
static void batch_drop(struct batch *b, struct record *r)
{
    if (!r)
        return;
    buf_free(&r->key);
    buf_wipe_free(&r->value);
    memmove(r, r + 1, (size_t)(b->items + --b->count - r) * sizeof *r);
}

/* What is on its way; NULL = what the disk has holds. */
static const struct record *find_pending(const struct state *s, enum state_table table,
                                         struct span key)
{
    const struct record *r = batch_find(&s->filling, table, key);
    return r ? r : batch_find(&s->writing, table, key);
}

static int write_record(const struct state *s, MDB_txn *txn, enum state_table table,
                        struct span key, const struct span *value)
{
    MDB_val k = val_of(key);
    if (value) {
        MDB_val v = val_of(*value);
        return mdb_put(txn, s->dir.tables[table], &k, &v, 0);
    }
    int rc = mdb_del(txn, s->dir.tables[table], &k, NULL);
    return rc == MDB_NOTFOUND ? 0 : rc;
}

/* In the helper thread. */
static void write_batch(struct loop_job *job)
{
    struct state *s = LIST_ENTRY(job, struct state, job);
    MDB_txn *txn;
    if (!s->rc && s->writing.count)
        s->rc = lmdb_dir_begin_lent(&s->dir, &txn);
    if (s->rc || !s->writing.count)
        return;
    for (uint32_t i = 0; i < s->writing.count && !s->rc; i++) {
        const struct record *r = &s->writing.items[i];
        struct span value = buf_span(&r->value);
        s->rc = write_record(s, txn, r->table, buf_span(&r->key), r->removed ? NULL : &value);
    }
    if (s->rc)
        mdb_txn_abort(txn);
    else
        s->rc = mdb_txn_commit(txn);
}

static void move_waits(struct list *from, struct list *to)
{
    struct list *node;
    while ((node = list_pop(from)))
        list_append(to, node);
}

/* Nobody waits for these records, who could say that they are lost. */
static void warn_of(const struct state *s)
{
    struct why why;
    if (!s->rc)
        return;
    (void)!result_is_ok(lmdb_dir_fail(&s->dir, &why, s->rc, "cannot write to"));
    log_warn("%s", why.text);
}

static void plan_start(struct state *s)
{
    loop_timer_set(s->loop, &s->start, loop_now_ns(s->loop));
}

/* The two change places. */
static void fill_writing(struct state *s)
{
    struct batch *to = &s->writing, *from = &s->filling;
    must(to->count == 0 && list_is_empty(&to->waits));
    struct record *items = to->items;
    uint32_t cap = to->cap;
    to->items = from->items;
    to->count = from->count;
    to->cap = from->cap;
    move_waits(&from->waits, &to->waits);
    from->items = items;
    from->count = 0;
    from->cap = cap;
}

/* What was put in this turn of the loop, and while the batch before was written, goes together. */
static void start_batch(struct loop_timer *t)
{
    struct state *s = LIST_ENTRY(t, struct state, start);
    if (!loop_job_is_idle(&s->job))
        return; /* its end starts the next one */
    fill_writing(s);
    s->rc = lmdb_dir_lend(&s->dir);
    loop_job_start(s->loop, &s->job);
}

/* The helper thread does nothing any more: what it wrote is on disk, or is lost. */
static void settle(struct state *s)
{
    if (!s->loop || loop_job_is_idle(&s->job) || !s->dir.lent)
        return;
    loop_job_settle(s->loop, &s->job);
    lmdb_dir_take_back(&s->dir);
    batch_clear(&s->writing);
}

static void batch_written(struct loop_job *job)
{
    struct state *s = LIST_ENTRY(job, struct state, job);
    struct list told;
    struct list *node;
    struct why why;
    if (s->dir.lent) { /* else somebody could not wait for this */
        lmdb_dir_take_back(&s->dir);
        batch_clear(&s->writing);
    }
    list_init(&told);
    move_waits(&s->writing.waits, &told);
    if (list_is_empty(&told))
        warn_of(s);
    else if (s->rc)
        (void)!result_is_ok(lmdb_dir_fail(&s->dir, &why, s->rc, "cannot write to"));
    if (s->filling.count || !list_is_empty(&s->filling.waits))
        plan_start(s);
    const struct why *failure = s->rc ? &why : NULL;
    while ((node = list_pop(&told))) {
        struct state_wait *wait = LIST_ENTRY(node, struct state_wait, node);
        void (*done)(struct state_wait * w, const struct why *f) = wait->done;
        wait->done = NULL;
        done(wait, failure);
    }
}

static void put_soon(struct state *s, enum state_table table, struct span key,
                     const struct span *value)
{
    must(key.len > 0 && key.len <= KEY_BYTES_MAX);
    struct record *r = batch_find(&s->filling, table, key);
    if (!r) {
        if (s->filling.count == s->filling.cap) {
            s->filling.cap = s->filling.cap ? 2 * s->filling.cap : 16;
            s->filling.items =
                mem_grow(s->filling.items, s->filling.cap * sizeof *s->filling.items);
        }
        r = &s->filling.items[s->filling.count++];
        *r = (struct record){.table = table};
        buf_put_span(&r->key, key);
    }
    buf_wipe_free(&r->value);
    r->removed = !value;
    if (value)
        buf_put_span(&r->value, *value);
    plan_start(s);
}

void state_put_soon(struct state *s, enum state_table table, struct span key, struct span value)
{
    struct why why;
    if (s->loop)
        put_soon(s, table, key, &value);
    else if (!result_is_ok(state_put(s, table, key, value, &why)))
        log_warn("%s", why.text);
}

void state_remove_soon(struct state *s, enum state_table table, struct span key)
{
    struct why why;
    if (s->loop)
        put_soon(s, table, key, NULL);
    else if (!result_is_ok(state_remove(s, table, key, &why)))
        log_warn("%s", why.text);
}

void state_wait(struct state *s, struct state_wait *wait,
                void (*done)(struct state_wait *wait, const struct why *failure))
{
    must(s->loop && !wait->done);
    wait->done = done;
    list_init(&wait->node);
    list_append(&s->filling.waits, &wait->node);
    plan_start(s);
}

void state_wait_cancel(struct state_wait *wait)
{
    if (wait->done)
        list_remove(&wait->node);
    wait->done = NULL;
}

/* ---- at once -------------------------------------------------------------------------------- */

static struct result write_one(struct state *s, enum state_table table, struct span key,
                               const struct span *value, struct why *why)
{
    must(key.len > 0 && key.len <= KEY_BYTES_MAX);
    MDB_txn *txn;
    settle(s);
    int rc = lmdb_dir_begin(&s->dir, 0, &txn);
    if (rc)
        return lmdb_dir_fail(&s->dir, why, rc, "cannot write to");
    rc = write_record(s, txn, table, key, value);
    if (rc)
        mdb_txn_abort(txn);
    else
        rc = mdb_txn_commit(txn);
    if (!rc) /* what was put before is older */
        batch_drop(&s->filling, batch_find(&s->filling, table, key));
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

/* ---- reading -------------------------------------------------------------------------------- */

static int begin_reading(struct state *s, MDB_txn **ret)
{
    int rc = lmdb_dir_begin(&s->dir, MDB_RDONLY, ret);
    if (rc != EBUSY || !s->dir.lent)
        return rc;
    settle(s);
    return lmdb_dir_begin(&s->dir, MDB_RDONLY, ret);
}

struct result state_get(struct state *s, enum state_table table, struct span key, struct buf *ret)
{
    MDB_txn *txn;
    MDB_val k = val_of(key), v;
    const struct record *pending = find_pending(s, table, key);
    if (pending && pending->removed)
        return result_fail(ERR_NOT_FOUND);
    if (pending) {
        buf_put_span(ret, buf_span(&pending->value));
        return result_ok();
    }
    int rc = begin_reading(s, &txn);
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

/* One record as (4-byte key length, 4-byte value length, key, value). */
static void copy_one(struct span key, struct span value, struct buf *out)
{
    buf_put_be(out, key.len, 4);
    buf_put_be(out, value.len, 4);
    buf_put_span(out, key);
    buf_put_span(out, value);
}

static void copy_pending(const struct state *s, const struct batch *b, enum state_table table,
                         struct buf *out)
{
    for (uint32_t i = 0; i < b->count; i++) {
        const struct record *r = &b->items[i];
        if (r->table == table && !r->removed && find_pending(s, table, buf_span(&r->key)) == r)
            copy_one(buf_span(&r->key), buf_span(&r->value), out);
    }
}

static int copy_all(struct state *s, enum state_table table, struct buf *out)
{
    MDB_txn *txn;
    MDB_cursor *cursor;
    MDB_val k, v;
    int rc = begin_reading(s, &txn);
    if (rc)
        return rc;
    rc = mdb_cursor_open(txn, s->dir.tables[table], &cursor);
    if (!rc) {
        while ((rc = mdb_cursor_get(cursor, &k, &v, MDB_NEXT)) == 0) {
            struct span key = span_of(k.mv_data, k.mv_size);
            if (!find_pending(s, table, key))
                copy_one(key, span_of(v.mv_data, v.mv_size), out);
        }
        mdb_cursor_close(cursor);
    }
    mdb_txn_abort(txn);
    copy_pending(s, &s->writing, table, out);
    copy_pending(s, &s->filling, table, out);
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
    settle(s);
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

/* ---- the end -------------------------------------------------------------------------------- */

static void write_rest(struct state *s)
{
    if (!loop_job_is_idle(&s->job)) {
        settle(s);
        loop_job_drop(s->loop, &s->job);
    }
    loop_timer_cancel(s->loop, &s->start);
    fill_writing(s);
    s->rc = lmdb_dir_lend(&s->dir);
    write_batch(&s->job);
    lmdb_dir_take_back(&s->dir);
    warn_of(s);
}

void state_close(struct state *s)
{
    if (!s)
        return;
    if (s->loop)
        write_rest(s);
    batch_clear(&s->filling);
    batch_clear(&s->writing);
    free(s->filling.items);
    free(s->writing.items);
    lmdb_dir_close(&s->dir);
    free(s);
}

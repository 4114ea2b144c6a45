/* SPDX-License-Identifier: Apache-2.0 */
/* A directory with an LMDB environment: `names` says which certificates a name has and when they
 * end, so that start-up need not read them; `certs` has them. */
#include "base/log.h"
#include "base/must.h"
#include "control/store/lmdb_dir.h"
#include "control/store/lmdb_index.h"
#include "control/store/store_impl.h"
#include "control/store/store_record.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define MAP_BYTES    (64ull << 30)
#define FORM         1 /* of the whole directory */
#define KEY_BYTES    LMDB_INDEX_NAME_MAX
#define ID_BYTES     8
#define META_FORM    "form"
#define META_LAST_ID "last id"

enum table { NAMES = 0, CERTS, ACCOUNTS, META, TABLES };

/* names: lmdb_index.h. certs: id (8) -> record. accounts: resolver -> record. meta: text -> number
 * (8). All big-endian. An id is never used twice. */
static const struct lmdb_dir_kind kind = {
    .what = "storage directory",
    .option = "storage",
    .damaged = "; the files are damaged: restore them from a copy, or move them away to begin with "
               "an empty store",
    .map_bytes = MAP_BYTES,
    .table_count = TABLES,
    .tables = {{"names", LMDB_INDEX_FLAGS}, {"certs", 0}, {"accounts", 0}, {"meta", 0}},
};

struct store_lmdb {
    struct store base;
    struct lmdb_dir dir;
    int lock_fd;
    MDB_txn *batch; /* between begin and end; else NULL */
    uint64_t *ids;  /* of all certificates, ascending; only once somebody asks for all */
    uint32_t count, cap;
    bool ids_known;
    struct store_cert cert; /* what is lent */
    struct store_account account;
    char name[KEY_BYTES + 1];
};

static struct store_lmdb *lmdb_of(struct store *s)
{
    return (struct store_lmdb *)s;
}

static MDB_val val_of(struct span s)
{
    return (MDB_val){s.len, (void *)s.ptr};
}

static struct span span_of_val(const MDB_val *v)
{
    return span_of(v->mv_data, v->mv_size);
}

struct number {
    uint8_t bytes[8];
};

static struct number number_of(uint64_t n)
{
    struct number ret;
    for (int i = 7; i >= 0; i--, n >>= 8)
        ret.bytes[i] = (uint8_t)n;
    return ret;
}

static uint64_t number_get(const MDB_val *v)
{
    struct reader r = reader_of(span_of_val(v));
    return reader_u64(&r);
}

/* ---- within a transaction ------------------------------------------------------------------- */

static int get(const struct store_lmdb *s, MDB_txn *txn, enum table table, struct span key,
               MDB_val *ret)
{
    MDB_val k = val_of(key);
    return mdb_get(txn, s->dir.tables[table], &k, ret);
}

static int put(const struct store_lmdb *s, MDB_txn *txn, enum table table, struct span key,
               struct span value)
{
    MDB_val k = val_of(key), v = val_of(value);
    /* Ids ascend: told so, LMDB fills its pages instead of halving them. */
    return mdb_put(txn, s->dir.tables[table], &k, &v, table == CERTS ? MDB_APPEND : 0);
}

static int get_cert_bytes(const struct store_lmdb *s, MDB_txn *txn, uint64_t id, struct span *ret)
{
    MDB_val v;
    struct number key = number_of(id);
    int rc = get(s, txn, CERTS, span_of(key.bytes, ID_BYTES), &v);
    if (!rc)
        *ret = span_of_val(&v);
    return rc;
}

/* The certificate of this resolver and set of names; 0 = none. Damaged ones are passed over. */
static int find(const struct store_lmdb *s, MDB_txn *txn, const struct store_cert *cert,
                uint64_t *ret)
{
    MDB_cursor *cursor;
    MDB_val k = val_of(span_str(cert->main)), v;
    *ret = 0;
    if (!k.mv_size || k.mv_size > KEY_BYTES)
        return 0;
    int rc = mdb_cursor_open(txn, s->dir.tables[NAMES], &cursor);
    if (rc)
        return rc;
    for (rc = mdb_cursor_get(cursor, &k, &v, MDB_SET_KEY); !rc && !*ret;
         rc = rc ? rc : mdb_cursor_get(cursor, &k, &v, MDB_NEXT_DUP)) {
        struct span bytes;
        struct store_record record;
        uint64_t id = number_get(&v);
        rc = get_cert_bytes(s, txn, id, &bytes);
        if (!rc && store_record_read(bytes, &record) && store_record_is_of(&record, cert))
            *ret = id;
        rc = rc == MDB_NOTFOUND ? 0 : rc;
    }
    mdb_cursor_close(cursor);
    return rc == MDB_NOTFOUND ? 0 : rc;
}

static int remove_id(const struct store_lmdb *s, MDB_txn *txn, uint64_t id)
{
    struct span bytes;
    struct store_record record;
    struct buf copy = {0}; /* pages move while names go */
    int rc = get_cert_bytes(s, txn, id, &bytes);
    if (rc)
        return rc;
    buf_put_span(&copy, bytes);
    if (store_record_read(buf_span(&copy), &record)) {
        struct span names = record.names;
        for (uint32_t i = 0; i < record.name_count && !rc; i++)
            rc = lmdb_index_remove(txn, s->dir.tables[NAMES], store_record_name(&names), id);
    }
    buf_wipe_free(&copy);
    struct number key = number_of(id);
    MDB_val k = val_of(span_of(key.bytes, ID_BYTES));
    return rc ? rc : mdb_del(txn, s->dir.tables[CERTS], &k, NULL);
}

/* The largest id that a certificate has; 0 = there are none. */
static int last_id(const struct store_lmdb *s, MDB_txn *txn, uint64_t *ret)
{
    MDB_cursor *cursor;
    MDB_val k, v;
    *ret = 0;
    int rc = mdb_cursor_open(txn, s->dir.tables[CERTS], &cursor);
    if (rc)
        return rc;
    rc = mdb_cursor_get(cursor, &k, &v, MDB_LAST);
    if (!rc)
        *ret = number_get(&k);
    mdb_cursor_close(cursor);
    return rc == MDB_NOTFOUND ? 0 : rc;
}

static int next_id(const struct store_lmdb *s, MDB_txn *txn, uint64_t *ret)
{
    MDB_val v;
    uint64_t used;
    int rc = get(s, txn, META, SPAN_LITERAL(META_LAST_ID), &v);
    if (rc && rc != MDB_NOTFOUND)
        return rc;
    uint64_t noted = rc ? 0 : number_get(&v);
    if ((rc = last_id(s, txn, &used)))
        return rc;
    *ret = (noted > used ? noted : used) + 1; /* what is noted may be damaged */
    struct number last = number_of(*ret);
    return put(s, txn, META, SPAN_LITERAL(META_LAST_ID), span_of(last.bytes, ID_BYTES));
}

/* A transaction to read in: the batch's, or one of its own, which end_reading() ends. */
static int begin_reading(struct store_lmdb *s, MDB_txn **ret)
{
    *ret = s->batch;
    int rc = s->batch ? 0 : lmdb_dir_begin(&s->dir, MDB_RDONLY, ret);
    if (rc != EBUSY || !s->base.lent)
        return rc;
    store_settle(&s->base);
    return lmdb_dir_begin(&s->dir, MDB_RDONLY, ret);
}

static void end_reading(const struct store_lmdb *s, MDB_txn *txn)
{
    if (!s->batch)
        mdb_txn_abort(txn);
}

/* ---- the list of ids ------------------------------------------------------------------------ */

static void ids_add(struct store_lmdb *s, uint64_t id)
{
    if (!s->ids_known)
        return;
    must(!s->count || s->ids[s->count - 1] < id);
    if (s->count == s->cap) {
        s->cap = s->cap ? 2 * s->cap : 64;
        s->ids = mem_grow(s->ids, s->cap * sizeof *s->ids);
    }
    s->ids[s->count++] = id;
}

static void ids_remove(struct store_lmdb *s, uint64_t id)
{
    if (!s->ids_known)
        return;
    uint32_t low = 0, high = s->count;
    while (low < high) {
        uint32_t mid = low + (high - low) / 2;
        if (s->ids[mid] < id)
            low = mid + 1;
        else
            high = mid;
    }
    must(low < s->count && s->ids[low] == id);
    s->count--;
    memmove(&s->ids[low], &s->ids[low + 1], (s->count - low) * sizeof *s->ids);
}

static int ids_load(struct store_lmdb *s)
{
    MDB_txn *txn;
    MDB_cursor *cursor;
    MDB_val k, v;
    if (s->ids_known)
        return 0;
    if (s->base.lent) /* what is being written comes into the list when it is taken back */
        store_settle(&s->base);
    s->count = 0;
    int rc = begin_reading(s, &txn);
    if (rc)
        return rc;
    s->ids_known = true;
    rc = mdb_cursor_open(txn, s->dir.tables[CERTS], &cursor);
    if (!rc) {
        while ((rc = mdb_cursor_get(cursor, &k, &v, MDB_NEXT)) == 0) {
            uint64_t id = number_get(&k);
            if (s->count && s->ids[s->count - 1] >= id) {
                rc = MDB_CORRUPTED;
                break;
            }
            ids_add(s, id);
        }
        mdb_cursor_close(cursor);
    }
    end_reading(s, txn);
    rc = rc == MDB_NOTFOUND ? 0 : rc;
    s->ids_known = !rc;
    return rc;
}

/* ---- changes -------------------------------------------------------------------------------- */

/* Runs `apply` in the batch's transaction, or in one of its own. */
static struct result change(struct store_lmdb *s,
                            int (*apply)(const struct store_lmdb *s, MDB_txn *txn, void *arg),
                            void *arg, struct why *why)
{
    MDB_txn *txn = s->batch;
    int rc = txn ? 0 : lmdb_dir_begin(&s->dir, 0, &txn);
    if (rc)
        return lmdb_dir_fail(&s->dir, why, rc, "cannot write to");
    rc = apply(s, txn, arg);
    if (rc && !s->batch)
        mdb_txn_abort(txn);
    else if (!s->batch)
        rc = mdb_txn_commit(txn);
    return rc ? lmdb_dir_fail(&s->dir, why, rc, "cannot write to") : result_ok();
}

struct addition {
    const struct store_cert *cert;
    const struct x509 *leaf;
    struct span record;
    uint64_t id, replaced; /* results; 0 = none */
};

static int apply_addition(const struct store_lmdb *s, MDB_txn *txn, void *arg)
{
    struct addition *a = arg;
    int rc = find(s, txn, a->cert, &a->replaced);
    if (!rc && a->replaced)
        rc = remove_id(s, txn, a->replaced);
    if (!rc)
        rc = next_id(s, txn, &a->id);
    if (rc)
        return rc;
    struct number key = number_of(a->id);
    struct store_place place = {.id = a->id,
                                .not_before_s = a->leaf->not_before_s,
                                .not_after_s = a->leaf->not_after_s,
                                .is_rsa = a->leaf->is_rsa};
    rc = put(s, txn, CERTS, span_of(key.bytes, ID_BYTES), a->record);
    for (uint32_t i = 0; i <= a->cert->san_count && !rc; i++)
        rc = lmdb_index_put(txn, s->dir.tables[NAMES],
                            span_str(i ? a->cert->sans[i - 1] : a->cert->main), &place);
    return rc;
}

static struct result put_cert(struct store *store, const struct store_cert *cert, struct why *why)
{
    struct store_lmdb *s = lmdb_of(store);
    struct buf record = {0};
    struct x509 leaf = {0};
    TRY(store_record_put_cert(&record, cert, &leaf, why));
    struct addition a = {.cert = cert, .leaf = &leaf, .record = buf_span(&record)};
    struct result r = change(s, apply_addition, &a, why);
    if (result_is_ok(r)) {
        if (a.replaced)
            ids_remove(s, a.replaced);
        ids_add(s, a.id);
    }
    buf_wipe_free(&record);
    x509_free(&leaf);
    return r;
}

/* ---- put soon ------------------------------------------------------------------------------- */

static void lend(struct store *store)
{
    (void)lmdb_dir_lend(&lmdb_of(store)->dir); /* what is wrong is met by the one who writes */
}

/* One certificate within the batch; one that cannot be read spoils nothing. Returns what LMDB
 * returns. */
static int write_item(const struct store_lmdb *s, MDB_txn *txn, struct store_item *item)
{
    struct buf record = {0};
    struct x509 leaf = {0};
    int rc = 0;
    if (result_is_ok(store_record_put_cert(&record, &item->cert, &leaf, &item->why))) {
        struct addition a = {.cert = &item->cert, .leaf = &leaf, .record = buf_span(&record)};
        rc = apply_addition(s, txn, &a);
        item->id = a.id;
        item->replaced = a.replaced;
        x509_free(&leaf);
    }
    buf_wipe_free(&record);
    return rc;
}

/* In the writing thread. */
static void write_items(struct store *store, struct list *items)
{
    struct store_lmdb *s = lmdb_of(store);
    MDB_txn *txn;
    struct why why = {""};
    int rc = lmdb_dir_begin_lent(&s->dir, &txn);
    bool begun = !rc;
    for (struct list *n = items->next; n != items && !rc; n = n->next)
        rc = write_item(s, txn, LIST_ENTRY(n, struct store_item, node));
    if (begun && rc)
        mdb_txn_abort(txn);
    else if (begun)
        rc = mdb_txn_commit(txn);
    if (!rc)
        return;
    (void)!result_is_ok(lmdb_dir_fail(&s->dir, &why, rc, "cannot write to"));
    for (struct list *n = items->next; n != items; n = n->next)
        LIST_ENTRY(n, struct store_item, node)->why = why;
}

static void take_back(struct store *store, struct list *items)
{
    struct store_lmdb *s = lmdb_of(store);
    lmdb_dir_take_back(&s->dir);
    for (struct list *n = items->next; n != items; n = n->next) {
        const struct store_item *item = LIST_ENTRY(n, struct store_item, node);
        if (item->why.text[0])
            continue;
        if (item->replaced)
            ids_remove(s, item->replaced);
        ids_add(s, item->id);
    }
}

struct removal {
    const struct store_cert *cert;
    uint64_t removed; /* result; 0 = there was none */
};

static int apply_removal(const struct store_lmdb *s, MDB_txn *txn, void *arg)
{
    struct removal *r = arg;
    int rc = find(s, txn, r->cert, &r->removed);
    return !rc && r->removed ? remove_id(s, txn, r->removed) : rc;
}

static struct result remove_cert(struct store *store, const struct store_cert *cert,
                                 struct why *why)
{
    struct store_lmdb *s = lmdb_of(store);
    struct removal r = {.cert = cert};
    TRY(change(s, apply_removal, &r, why));
    if (r.removed)
        ids_remove(s, r.removed);
    return result_ok();
}

struct account_change {
    const char *resolver;
    struct span record;
};

static int apply_account(const struct store_lmdb *s, MDB_txn *txn, void *arg)
{
    const struct account_change *c = arg;
    return put(s, txn, ACCOUNTS, span_str(c->resolver), c->record);
}

static struct result put_account(struct store *s, const char *resolver,
                                 const struct store_account *account, struct why *why)
{
    struct buf record = {0};
    size_t len = strlen(resolver);
    if (!len || len > KEY_BYTES)
        return why_fail(why, ERR_FORMAT,
                        "the name of a resolver has %zu bytes: 1 to %d can be "
                        "stored",
                        len, KEY_BYTES);
    store_record_put_account(&record, account);
    struct account_change c = {resolver, buf_span(&record)};
    struct result r = change(lmdb_of(s), apply_account, &c, why);
    buf_wipe_free(&record);
    return r;
}

static struct result begin(struct store *store, struct why *why)
{
    struct store_lmdb *s = lmdb_of(store);
    must(!s->batch);
    int rc = lmdb_dir_begin(&s->dir, 0, &s->batch);
    if (rc)
        s->batch = NULL;
    return rc ? lmdb_dir_fail(&s->dir, why, rc, "cannot write to") : result_ok();
}

static struct result end(struct store *store, bool keep, struct why *why)
{
    struct store_lmdb *s = lmdb_of(store);
    int rc = 0;
    must(s->batch);
    if (keep)
        rc = mdb_txn_commit(s->batch);
    else
        mdb_txn_abort(s->batch);
    s->batch = NULL;
    if (rc || !keep)
        s->ids_known = false;
    return rc ? lmdb_dir_fail(&s->dir, why, rc, "cannot write to") : result_ok();
}

/* ---- reading -------------------------------------------------------------------------------- */

static const struct store_account *get_account(struct store *store, const char *resolver)
{
    struct store_lmdb *s = lmdb_of(store);
    MDB_txn *txn;
    MDB_val v;
    struct why why;
    store_free_account(&s->account);
    if (!resolver[0] || strlen(resolver) > KEY_BYTES)
        return NULL;
    int rc = begin_reading(s, &txn);
    bool good = false;
    if (!rc) {
        rc = get(s, txn, ACCOUNTS, span_str(resolver), &v);
        good = !rc && store_record_get_account(span_of_val(&v), &s->account);
        end_reading(s, txn);
    }
    if (rc && rc != MDB_NOTFOUND) {
        (void)!result_is_ok(lmdb_dir_fail(&s->dir, &why, rc, "cannot read"));
        log_error("%s", why.text);
        s->account.unreadable = true;
        return &s->account;
    } else if (!rc && !good) {
        log_error("%s: the account of \"%s\" is damaged: restore the directory from a copy, or "
                  "another account is registered",
                  s->dir.directory, resolver);
    }
    return good ? &s->account : NULL;
}

static const char *account_name(struct store *store, uint32_t index)
{
    struct store_lmdb *s = lmdb_of(store);
    MDB_txn *txn;
    MDB_cursor *cursor;
    MDB_val k, v;
    if (begin_reading(s, &txn))
        return NULL;
    int rc = mdb_cursor_open(txn, s->dir.tables[ACCOUNTS], &cursor);
    if (!rc) {
        for (uint32_t i = 0; i <= index && !rc; i++)
            rc = mdb_cursor_get(cursor, &k, &v, MDB_NEXT);
        if (!rc)
            snprintf(s->name, sizeof s->name, "%.*s", SPAN_FMT(span_of_val(&k)));
        mdb_cursor_close(cursor);
    }
    end_reading(s, txn);
    return rc ? NULL : s->name;
}

static uint32_t cert_count(const struct store *store)
{
    struct store_lmdb *s = lmdb_of((struct store *)store);
    MDB_txn *txn;
    MDB_stat stat = {0};
    if (s->ids_known || begin_reading(s, &txn))
        return s->count;
    int rc = mdb_stat(txn, s->dir.tables[CERTS], &stat);
    end_reading(s, txn);
    return rc ? 0 : (uint32_t)stat.ms_entries;
}

static struct result find_record(struct store_lmdb *s, MDB_txn *txn, uint64_t id,
                                 struct store_record *ret, struct why *why)
{
    struct span bytes;
    int rc = get_cert_bytes(s, txn, id, &bytes);
    if (rc == MDB_NOTFOUND)
        return why_fail(why, ERR_NOT_FOUND, "certificate %llu is not in %s any more",
                        (unsigned long long)id, s->dir.directory);
    if (rc)
        return lmdb_dir_fail(&s->dir, why, rc, "cannot read");
    return store_record_read(bytes, ret)
               ? result_ok()
               : why_fail(why, ERR_FORMAT,
                          "certificate %llu in %s is damaged: another one is obtained",
                          (unsigned long long)id, s->dir.directory);
}

/* As DER, or (ret_chain NULL) as what is lent. */
static struct result read_cert(struct store *store, uint64_t id, struct buf *ret_chain,
                               struct buf *ret_key, struct why *why)
{
    struct store_lmdb *s = lmdb_of(store);
    struct store_record record;
    MDB_txn *txn;
    int rc = begin_reading(s, &txn);
    if (rc)
        return lmdb_dir_fail(&s->dir, why, rc, "cannot read");
    struct result r = find_record(s, txn, id, &record, why);
    if (result_is_ok(r) && ret_chain) {
        buf_put_span(ret_chain, record.chain);
        buf_put_span(ret_key, record.key);
    } else if (result_is_ok(r)) {
        r = store_record_get_cert(&record, &s->cert, why);
    }
    end_reading(s, txn);
    return r;
}

static const struct store_cert *cert_of(struct store *store, uint64_t id, struct why *why)
{
    store_free_cert(&lmdb_of(store)->cert);
    return result_is_ok(read_cert(store, id, NULL, NULL, why)) ? &lmdb_of(store)->cert : NULL;
}

static const struct store_cert *cert_at(struct store *store, uint32_t index, struct why *why)
{
    struct store_lmdb *s = lmdb_of(store);
    if (s->base.lent) /* else the list changes under who goes through it */
        store_settle(&s->base);
    int rc = ids_load(s);
    if (rc) {
        (void)!result_is_ok(lmdb_dir_fail(&s->dir, why, rc, "cannot read"));
        return NULL;
    }
    must(index < s->count);
    return cert_of(store, s->ids[index], why);
}

/* ---- the index ------------------------------------------------------------------------------ */

static struct result get_places(struct store *store, struct span name,
                                struct store_place ret[STORE_PLACES_MAX], uint32_t *ret_count,
                                struct why *why)
{
    struct store_lmdb *s = lmdb_of(store);
    MDB_txn *txn;
    int rc = begin_reading(s, &txn);
    if (rc)
        return lmdb_dir_fail(&s->dir, why, rc, "cannot read");
    rc = lmdb_index_get(txn, s->dir.tables[NAMES], name, ret, ret_count);
    end_reading(s, txn);
    return rc ? lmdb_dir_fail(&s->dir, why, rc, "cannot read") : result_ok();
}

static struct result walk_names(struct store *store, struct buf *last, uint32_t max,
                                store_each_name *each, void *arg, bool *ret_end, struct why *why)
{
    struct store_lmdb *s = lmdb_of(store);
    MDB_txn *txn;
    int rc = begin_reading(s, &txn);
    if (rc)
        return lmdb_dir_fail(&s->dir, why, rc, "cannot read");
    rc = lmdb_index_walk(txn, s->dir.tables[NAMES], last, max, each, arg);
    end_reading(s, txn);
    *ret_end = rc == MDB_NOTFOUND;
    return rc && rc != MDB_NOTFOUND ? lmdb_dir_fail(&s->dir, why, rc, "cannot read") : result_ok();
}

static struct result find_id(struct store *store, const struct store_cert *cert, uint64_t *ret)
{
    struct store_lmdb *s = lmdb_of(store);
    MDB_txn *txn;
    if (begin_reading(s, &txn))
        return result_fail(ERR_STORE);
    int rc = find(s, txn, cert, ret);
    end_reading(s, txn);
    if (rc)
        return result_fail(ERR_STORE);
    return *ret ? result_ok() : result_fail(ERR_NOT_FOUND);
}

static bool has_cert(struct store *store, const struct store_cert *cert)
{
    struct store_lmdb *s = lmdb_of(store);
    MDB_txn *txn;
    uint64_t id = 0;
    if (begin_reading(s, &txn))
        return false;
    int rc = find(s, txn, cert, &id);
    end_reading(s, txn);
    return !rc && id;
}

/* ---- opening -------------------------------------------------------------------------------- */

static void close_lmdb(struct store *store)
{
    struct store_lmdb *s = lmdb_of(store);
    must(!s->batch);
    store_free_cert(&s->cert);
    store_free_account(&s->account);
    lmdb_dir_close(&s->dir);
    if (s->lock_fd != -1)
        close(s->lock_fd);
    free(s->ids);
    free(s);
}

/* A later ferrule may write otherwise: what it wrote is left alone. */
static struct result check_form(struct store_lmdb *s, struct why *why)
{
    MDB_txn *txn;
    MDB_val v;
    struct number form = number_of(FORM);
    int rc = lmdb_dir_begin(&s->dir, 0, &txn);
    if (rc)
        return lmdb_dir_fail(&s->dir, why, rc, "cannot open");
    rc = get(s, txn, META, SPAN_LITERAL(META_FORM), &v);
    if (!rc) {
        uint64_t found = number_get(&v);
        mdb_txn_abort(txn);
        return found == FORM ? result_ok()
                             : why_fail(why, ERR_VERSION,
                                        "the storage directory %s was written by another version "
                                        "of ferrule, in form %llu: this one knows form %d",
                                        s->dir.directory, (unsigned long long)found, FORM);
    }
    if (rc == MDB_NOTFOUND)
        rc = put(s, txn, META, SPAN_LITERAL(META_FORM), span_of(form.bytes, sizeof form.bytes));
    if (rc)
        mdb_txn_abort(txn);
    else
        rc = mdb_txn_commit(txn);
    return rc ? lmdb_dir_fail(&s->dir, why, rc, "cannot open") : result_ok();
}

static const struct store_ops lmdb_ops = {
    .close = close_lmdb,
    .account = get_account,
    .put_account = put_account,
    .account_name = account_name,
    .cert_count = cert_count,
    .cert_at = cert_at,
    .put_cert = put_cert,
    .remove_cert = remove_cert,
    .has_cert = has_cert,
    .begin = begin,
    .end = end,
    .places = get_places,
    .walk = walk_names,
    .read = read_cert,
    .cert_of = cert_of,
    .find = find_id,
    .lend = lend,
    .write = write_items,
    .take_back = take_back,
};

/* One with other things in it was named by mistake: its mode is not ours to change, and keys do not
 * belong there. One that cannot be read, or is not there, is judged later. */
static struct result check_own(const char *path, struct why *why)
{
    DIR *directory = opendir(path);
    bool ours = false, others = false;
    if (!directory)
        return result_ok();
    for (const struct dirent *e; (e = readdir(directory));) {
        const char *name = e->d_name;
        ours = ours || !strcmp(name, "data.mdb");
        others = others || (strcmp(name, ".") && strcmp(name, "..") && strcmp(name, "lock") &&
                            strcmp(name, "lost+found"));
    }
    closedir(directory);
    return ours || !others
               ? result_ok()
               : why_fail(why, ERR_CONFIG,
                          "the directory %s holds other files and no certificates: name "
                          "a directory of its own as storage",
                          path);
}

struct result store_lmdb_open(const char *path, struct store **ret, struct why *why)
{
    TRY(check_own(path, why));
    struct store_lmdb *s = mem_zalloc(sizeof *s);
    store_init(&s->base, &lmdb_ops);
    s->lock_fd = -1;
    struct result r = lmdb_dir_lock(&kind, path, &s->lock_fd, why);
    if (result_is_ok(r))
        r = lmdb_dir_open(&s->dir, &kind, path, why);
    if (result_is_ok(r))
        r = check_form(s, why);
    if (!result_is_ok(r)) {
        close_lmdb(&s->base);
        return r;
    }
    *ret = &s->base;
    return r;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* bench/names_store - makes a storage directory with many certificates, in bulk.
 *
 *   names_store DIRECTORY NAMES
 *
 * Each name host-0000000.names.test ... has a certificate of its own, signed for it; all share one
 * key, and behind each stands the same issuer with an RSA key, as long as real ones. It writes the
 * tables of store_lmdb.c itself, a transaction for every 20,000: store_put_cert() would parse PEM
 * and look for what it replaces. Prints bytes and seconds. */
#include "control/store/store_lmdb.c"

#include "base/clock.h"
#include "crypto/digest.h"

#define BATCH 20000

struct maker {
    struct key *key;
    struct buf key_der, issuer; /* issuer: behind its 3-byte length */
    struct buf record, leaf;
    uint64_t bytes;
};

_Noreturn static void fail(const struct why *why)
{
    fprintf(stderr, "names_store: %s\n", why->text);
    exit(1);
}

static void make_keys(struct maker *m)
{
    static const char *const names[] = {"issuer.names.test"};
    struct why why = {""};
    struct key *rsa;
    struct buf der = {0};
    if (!result_is_ok(key_generate(KEY_EC256, &m->key, &why)) ||
        !result_is_ok(key_to_der(m->key, &m->key_der)) ||
        !result_is_ok(key_generate(KEY_RSA2048, &rsa, &why)) ||
        !result_is_ok(x509_self_signed(rsa, names, 1, 3650, &der, &why)))
        fail(&why);
    buf_put_be(&m->issuer, der.len, 3);
    buf_put_span(&m->issuer, buf_span(&der));
    buf_free(&der);
    key_free(rsa);
}

/* The form that store_record.h describes. */
static void make_record(struct maker *m, const char *name)
{
    static const uint8_t room[8];
    uint8_t digest[DIGEST_BYTES_MAX];
    struct why why = {""};
    struct buf *r = &m->record;
    m->leaf.len = r->len = 0;
    if (!result_is_ok(x509_self_signed(m->key, &name, 1, 90, &m->leaf, &why)))
        fail(&why);
    buf_put(r, room, sizeof room);
    buf_put_be(r, 1, 1);
    buf_put_be(r, 2, 2);
    buf_put_str(r, "le");
    buf_put_be(r, 1, 2);
    buf_put_be(r, strlen(name), 2);
    buf_put_str(r, name);
    buf_put_be(r, 3 + m->leaf.len + m->issuer.len, 4);
    buf_put_be(r, m->leaf.len, 3);
    buf_put_span(r, buf_span(&m->leaf));
    buf_put_span(r, buf_span(&m->issuer));
    buf_put_be(r, m->key_der.len, 4);
    buf_put_span(r, buf_span(&m->key_der));
    digest_once(DIGEST_SHA256, span_skip(buf_span(r), sizeof room), digest);
    memcpy(r->ptr, digest, sizeof room);
    m->bytes += r->len;
}

/* Names and ids ascend, so both tables only grow at their ends. */
static int add(const struct store_lmdb *s, MDB_txn *txn, struct maker *m, uint64_t i)
{
    char name[32];
    uint64_t id;
    int64_t now_s = clock_wall_s();
    snprintf(name, sizeof name, "host-%07llu.names.test", (unsigned long long)i);
    make_record(m, name);
    int rc = next_id(s, txn, &id);
    if (rc)
        return rc;
    struct number key = number_of(id);
    struct store_place place = {
        .id = id, .not_before_s = now_s - 3600, .not_after_s = now_s + 89 * 86400};
    rc = put(s, txn, CERTS, span_of(key.bytes, ID_BYTES), buf_span(&m->record));
    return rc ? rc : lmdb_index_put(txn, s->dir.tables[NAMES], span_str(name), &place);
}

int main(int argc, char **argv)
{
    struct maker m = {0};
    struct store *store;
    struct why why = {""};
    uint64_t from_ns = clock_now_ns(), names = argc == 3 ? strtoull(argv[2], NULL, 10) : 0;
    if (!names) {
        fprintf(stderr, "usage: names_store DIRECTORY NAMES\n");
        return 2;
    }
    make_keys(&m);
    if (!result_is_ok(store_open(argv[1], &store, &why)))
        fail(&why);
    struct store_lmdb *s = lmdb_of(store);
    int rc = mdb_env_set_flags(s->dir.env, MDB_NOSYNC, 1); /* until all is there */
    if (rc && !result_is_ok(lmdb_dir_fail(&s->dir, &why, rc, "cannot open")))
        fail(&why);
    for (uint64_t i = 0; i < names;) {
        if (!result_is_ok(begin(store, &why)))
            fail(&why);
        for (uint64_t to = i + BATCH; i < to && i < names; i++) {
            rc = add(s, s->batch, &m, i);
            if (rc && !result_is_ok(lmdb_dir_fail(&s->dir, &why, rc, "cannot write to")))
                fail(&why);
        }
        if (!result_is_ok(end(store, true, &why)))
            fail(&why);
    }
    rc = mdb_env_sync(s->dir.env, 1);
    if (rc && !result_is_ok(lmdb_dir_fail(&s->dir, &why, rc, "cannot write to")))
        fail(&why);
    store_close(store);
    printf("{\"names\": %llu, \"record_bytes\": %llu, \"seconds\": %.1f}\n",
           (unsigned long long)names, (unsigned long long)(m.bytes / names),
           (double)(clock_now_ns() - from_ns) / 1e9);
    return 0;
}

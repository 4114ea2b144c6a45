/* SPDX-License-Identifier: Apache-2.0 */
#include "bridge/table.h"

#include "base/must.h"
#include "base/rand.h"

#include <stdlib.h>

#include <urcu/urcu-qsbr.h>

#include <urcu/rculfhash.h>

#define NAME_MAX_BYTES 255
#define BUCKETS_MIN    1024ull
/* Address space, not memory: 16 bytes for each bucket that could ever be. */
#define BUCKETS_MAX (1ull << 24)

/* ---- certificates -------------------------------------------------------------------------- */

/* An OCSP response; constant once linked. */
struct staple {
    struct rcu_dead dead;
    int64_t until_s;
    size_t len;
    uint8_t der[];
};

struct cert {
    struct table_cert pub; /* what readers see; constant once linked, but for the staple */
    uint32_t staple_mark;
    struct rcu_dead dead;
    uint32_t names; /* nodes that point here */
    bool fresh;     /* put since a name last took it */
    bool listed;    /* in the index of ids */
    size_t bytes;
    uint8_t der[]; /* chain, then key */
};

static struct cert *cert_create(const struct publish_cert *from)
{
    size_t bytes = from->chain.len + from->key.len;
    struct cert *c = mem_zalloc(sizeof *c + bytes);
    c->pub.id = from->id;
    c->pub.is_rsa = from->is_rsa;
    c->pub.not_after_s = from->not_after_s;
    c->bytes = bytes;
    if (from->chain.len)
        memcpy(c->der, from->chain.ptr, from->chain.len);
    if (from->key.len)
        memcpy(c->der + from->chain.len, from->key.ptr, from->key.len);
    c->pub.chain = span_of(c->der, from->chain.len);
    c->pub.key = span_of(c->der + from->chain.len, from->key.len);
    return c;
}

static void cert_free(struct cert *c)
{
    secret_wipe(c->der, c->bytes);
    free(c->pub.staple);
    free(c);
}

static void cert_destroy(struct rcu_dead *dead)
{
    cert_free((struct cert *)((char *)dead - offsetof(struct cert, dead)));
}

static bool cert_equals(const struct cert *c, const struct publish_cert *other)
{
    return c->pub.is_rsa == other->is_rsa && c->pub.not_after_s == other->not_after_s &&
           span_eq(c->pub.chain, other->chain) && span_eq(c->pub.key, other->key);
}

/* ---- id -> certificate, only for the publisher: open addressing, linear probing ------------- */

struct ids {
    struct cert **slots;
    size_t cap, used; /* cap: a power of two */
};

static size_t ids_home(const struct ids *m, uint64_t id)
{
    return (size_t)(id * 0x9e3779b97f4a7c15ull >> 17) & (m->cap - 1);
}

/* The slot that holds the id, or the free one where it would go. */
static size_t ids_slot(const struct ids *m, uint64_t id)
{
    size_t at = ids_home(m, id);
    while (m->slots[at] && m->slots[at]->pub.id != id)
        at = (at + 1) & (m->cap - 1);
    return at;
}

static struct cert *ids_get(const struct ids *m, uint64_t id)
{
    return m->cap ? m->slots[ids_slot(m, id)] : NULL;
}

static void ids_put(struct ids *m, struct cert *c)
{
    if (2 * (m->used + 1) > m->cap) {
        struct ids old = *m;
        m->cap = old.cap ? 2 * old.cap : 1024;
        m->slots = mem_zalloc(m->cap * sizeof *m->slots);
        for (size_t i = 0; i < old.cap; i++)
            if (old.slots[i])
                m->slots[ids_slot(m, old.slots[i]->pub.id)] = old.slots[i];
        free(old.slots);
    }
    size_t at = ids_slot(m, c->pub.id);
    m->used += !m->slots[at];
    m->slots[at] = c;
    c->listed = true;
}

static void ids_remove(struct ids *m, struct cert *c)
{
    size_t hole = ids_slot(m, c->pub.id), mask = m->cap - 1;
    must(m->slots[hole] == c);
    /* Close the hole: what stands behind it moves up unless it is between home and hole. */
    for (size_t at = (hole + 1) & mask; m->slots[at]; at = (at + 1) & mask) {
        size_t home = ids_home(m, m->slots[at]->pub.id);
        if (((at - home) & mask) >= ((at - hole) & mask)) {
            m->slots[hole] = m->slots[at];
            hole = at;
        }
    }
    m->slots[hole] = NULL;
    m->used--;
    c->listed = false;
}

/* ---- names --------------------------------------------------------------------------------- */

struct node {
    struct cds_lfht_node link;
    struct cert *ecdsa, *rsa; /* constant once linked, as are tag and name; both NULL: cold */
    uint64_t tag;             /* of what a store has for the name; 0 = nothing */
    struct rcu_dead dead;
    uint32_t mark;     /* the publisher's, as the next two; readers do not look at them */
    uint32_t warm_at;  /* place among the warm ones, + 1; 0 = not warm */
    uint32_t asked_ms; /* when control was asked for it, low bits; 0 = never */
    uint16_t asked_in; /* table.stream then */
    uint8_t used;      /* a reader's mark: it was looked up */
    uint8_t len;
    uint8_t name[];
};

struct table {
    struct cds_lfht *hash;
    uint64_t seed, buckets, names;
    uint32_t mark;
    struct ids ids;
    struct node **warm; /* in no order; the hand points at the next to be looked at */
    uint32_t warm_count, warm_cap, warm_max, hand;
    uint16_t stream; /* what was asked in another one does not count */
    uint32_t answers;
};

static bool is_cold(const struct node *n)
{
    return !n->ecdsa && !n->rsa;
}

/* Folds 8 bytes at a time: names are short and hashed on the path of every handshake. */
static uint64_t fold(uint64_t a, uint64_t b)
{
    __extension__ typedef unsigned __int128 wide;
    wide product = (wide)a * b;
    return (uint64_t)product ^ (uint64_t)(product >> 64);
}

static unsigned long hash_of(const struct table *t, struct span name)
{
    uint64_t h = t->seed ^ name.len, part;
    for (; name.len > 8; name = span_skip(name, 8)) {
        memcpy(&part, name.ptr, 8);
        h = fold(h ^ part, 0xa0761d6478bd642full);
    }
    part = 0;
    if (name.len)
        memcpy(&part, name.ptr, name.len);
    return fold(h ^ part, 0xe7037ed1a0b428dbull);
}

static struct node *node_of(struct cds_lfht_node *link)
{
    return (struct node *)((char *)link - offsetof(struct node, link));
}

static int node_matches(struct cds_lfht_node *link, const void *key)
{
    const struct node *n = node_of(link);
    const struct span *name = key;
    RCU_TSAN_ACQUIRE(n);
    return span_eq(span_of(n->name, n->len), *name);
}

static void node_destroy(struct rcu_dead *dead)
{
    free((char *)dead - offsetof(struct node, dead));
}

static struct node *lookup(const struct table *t, struct span name)
{
    struct cds_lfht_iter iter;
    if (name.len > NAME_MAX_BYTES)
        return NULL;
    cds_lfht_lookup(t->hash, hash_of(t, name), node_matches, &name, &iter);
    struct cds_lfht_node *link = cds_lfht_iter_get_node(&iter);
    return link ? node_of(link) : NULL;
}

struct result table_create(uint64_t expected_names, struct table **ret)
{
    struct table *t = mem_zalloc(sizeof *t);
    t->seed = rand_u64();
    t->buckets = BUCKETS_MIN;
    t->warm_max = UINT32_MAX;
    while (t->buckets < expected_names && t->buckets < BUCKETS_MAX)
        t->buckets *= 2;
    /* No automatic resize: a bulk insert outruns its thread, and lookups degrade 100 times. */
    t->hash = cds_lfht_new_flavor(t->buckets, BUCKETS_MIN, BUCKETS_MAX, 0, &urcu_qsbr_flavor, NULL);
    if (!t->hash) {
        free(t);
        return result_fail(ERR_NO_MEMORY);
    }
    *ret = t;
    return result_ok();
}

/* Unlinks one node's claims; both it and certificates without a name die. */
static void drop_cert(struct table *t, struct cert *c, struct rcu_pen *pen)
{
    if (!c)
        return;
    must(c->names > 0);
    if (--c->names || (c->fresh && c->listed))
        return;
    if (c->listed)
        ids_remove(&t->ids, c);
    rcu_retire(pen, &c->dead, cert_destroy);
}

/* ---- warm names ---------------------------------------------------------------------------- */

static void warm_add(struct table *t, struct node *n)
{
    if (t->warm_count == t->warm_cap) {
        t->warm_cap = t->warm_cap ? 2 * t->warm_cap : 256;
        t->warm = mem_grow(t->warm, t->warm_cap * sizeof *t->warm);
    }
    t->warm[t->warm_count++] = n;
    n->warm_at = t->warm_count;
    n->used = 1; /* somebody waits for it */
}

static void warm_remove(struct table *t, struct node *n)
{
    if (!n->warm_at)
        return;
    struct node *last = t->warm[--t->warm_count];
    t->warm[n->warm_at - 1] = last;
    last->warm_at = n->warm_at;
    n->warm_at = 0;
}

static void drop_node(struct table *t, struct node *n, struct rcu_pen *pen)
{
    warm_remove(t, n);
    if (n->asked_ms)
        t->answers++;
    drop_cert(t, n->ecdsa, pen);
    drop_cert(t, n->rsa, pen);
    rcu_retire(pen, &n->dead, node_destroy);
}

void table_destroy(struct table *t)
{
    struct rcu_pen pen = {0};
    table_mark_begin(t);
    table_sweep(t, &pen);
    must(t->names == 0 && t->ids.used == 0);
    rcu_pen_empty(&pen);
    must(cds_lfht_destroy(t->hash, NULL) == 0);
    free(t->ids.slots);
    free(t->warm);
    free(t);
}

void table_put_cert(struct table *t, const struct publish_cert *cert, struct rcu_pen *pen)
{
    must(cert->id != 0);
    struct cert *old = ids_get(&t->ids, cert->id);
    if (old && cert_equals(old, cert)) {
        old->fresh = true;
        return;
    }
    struct cert *c = cert_create(cert);
    c->fresh = true;
    if (old)
        ids_remove(&t->ids, old);
    ids_put(&t->ids, c);
    if (old && old->names == 0)
        rcu_retire(pen, &old->dead, cert_destroy);
}

static void staple_destroy(struct rcu_dead *dead)
{
    free((char *)dead - offsetof(struct staple, dead));
}

static void set_staple(struct cert *c, struct staple *s, struct rcu_pen *pen)
{
    struct staple *old = c->pub.staple;
    if (s)
        RCU_TSAN_RELEASE(s);
    rcu_store(&c->pub.staple, s);
    if (old)
        rcu_retire(pen, &old->dead, staple_destroy);
}

void table_put_staple(struct table *t, uint64_t id, struct span response, int64_t until_s,
                      struct rcu_pen *pen)
{
    struct cert *c = ids_get(&t->ids, id);
    struct staple *s = NULL;
    if (!c)
        return;
    c->staple_mark = t->mark;
    if (response.len ? c->pub.staple && c->pub.staple->until_s == until_s &&
                           span_eq(span_of(c->pub.staple->der, c->pub.staple->len), response)
                     : !c->pub.staple)
        return;
    if (response.len) {
        s = mem_zalloc(sizeof *s + response.len);
        s->until_s = until_s;
        s->len = response.len;
        memcpy(s->der, response.ptr, response.len);
    }
    set_staple(c, s, pen);
}

static struct result cert_for(const struct table *t, uint64_t id, bool is_rsa, struct cert **ret)
{
    *ret = id ? ids_get(&t->ids, id) : NULL;
    if (id && !*ret)
        return result_fail(ERR_NOT_FOUND);
    return *ret && (*ret)->pub.is_rsa != is_rsa ? result_fail(ERR_MISMATCH) : result_ok();
}

static void claim(struct cert *c)
{
    if (!c)
        return;
    c->names++;
    c->fresh = false;
}

static struct node *node_create(const struct table *t, struct span name, uint64_t tag)
{
    struct node *n = mem_zalloc(sizeof *n + name.len);
    cds_lfht_node_init(&n->link);
    n->tag = tag;
    n->mark = t->mark;
    n->len = (uint8_t)name.len;
    if (name.len)
        memcpy(n->name, name.ptr, name.len);
    return n;
}

/* Insert or replace. */
static void link_node(struct table *t, struct node *n, struct rcu_pen *pen)
{
    struct span name = span_of(n->name, n->len);
    RCU_TSAN_RELEASE(n);
    struct cds_lfht_node *old =
        cds_lfht_add_replace(t->hash, hash_of(t, name), node_matches, &name, &n->link);
    if (old)
        drop_node(t, node_of(old), pen);
    else
        t->names++;
    if (t->names > 2 * t->buckets && t->buckets < BUCKETS_MAX) {
        t->buckets *= 2;
        cds_lfht_resize(t->hash, t->buckets);
    }
}

static struct result put_name(struct table *t, struct span name, uint64_t ecdsa, uint64_t rsa,
                              uint64_t tag, struct rcu_pen *pen)
{
    struct cert *certs[2];
    must(name.len <= NAME_MAX_BYTES && (ecdsa || rsa));
    TRY(cert_for(t, ecdsa, false, &certs[0]));
    TRY(cert_for(t, rsa, true, &certs[1]));

    struct node *n = lookup(t, name);
    if (n && n->ecdsa == certs[0] && n->rsa == certs[1] && n->tag == tag) {
        n->mark = t->mark;
        for (int i = 0; i < 2; i++)
            if (certs[i])
                certs[i]->fresh = false;
        return result_ok();
    }
    n = node_create(t, name, tag);
    n->ecdsa = certs[0];
    n->rsa = certs[1];
    claim(n->ecdsa);
    claim(n->rsa);
    link_node(t, n, pen);
    return result_ok();
}

struct result table_put_name(struct table *t, struct span name, uint64_t ecdsa, uint64_t rsa,
                             struct rcu_pen *pen)
{
    return put_name(t, name, ecdsa, rsa, 0, pen);
}

void table_put_cold(struct table *t, struct span name, uint64_t tag, struct rcu_pen *pen)
{
    must(name.len && name.len <= NAME_MAX_BYTES && tag);
    struct node *n = lookup(t, name);
    if (n && n->tag == tag)
        n->mark = t->mark;
    else
        link_node(t, node_create(t, name, tag), pen);
}

/* Names become cold until so many are warm as may be. Each is spared once when it was used. */
static void cool(struct table *t, struct rcu_pen *pen)
{
    while (t->warm_count > t->warm_max) {
        t->hand = t->hand < t->warm_count ? t->hand : 0;
        struct node *n = t->warm[t->hand];
        if (__atomic_exchange_n(&n->used, 0, __ATOMIC_RELAXED)) {
            t->hand++;
            continue;
        }
        struct node *cold = node_create(t, span_of(n->name, n->len), n->tag);
        cold->mark = n->mark;
        link_node(t, cold, pen);
    }
}

struct result table_put_warm(struct table *t, struct span name, uint64_t ecdsa, uint64_t rsa,
                             uint64_t tag, struct rcu_pen *pen)
{
    must(name.len && tag);
    TRY(put_name(t, name, ecdsa, rsa, tag, pen));
    struct node *n = lookup(t, name);
    if (!n->warm_at) {
        warm_add(t, n);
        cool(t, pen);
    }
    return result_ok();
}

void table_keep_warm(struct table *t, uint32_t max, struct rcu_pen *pen)
{
    t->warm_max = max;
    cool(t, pen);
}

uint64_t table_warm(const struct table *t)
{
    return t->warm_count;
}

enum table_ask table_ask(struct table *t, struct span name, uint64_t now_ms, uint32_t again_ms)
{
    struct node *n = lookup(t, name);
    uint32_t now = (uint32_t)now_ms;
    if (!n || !is_cold(n))
        return TABLE_ASK_OVER;
    if (n->asked_ms && n->asked_in == t->stream && now - n->asked_ms < again_ms)
        return TABLE_ASK_AGAIN;
    n->asked_ms = now ? now : 1;
    n->asked_in = t->stream;
    return TABLE_ASK_NOW;
}

void table_forget_asks(struct table *t)
{
    t->stream++;
}

uint32_t table_answers(const struct table *t)
{
    return t->answers;
}

static void unlink_node(struct table *t, struct node *n, struct rcu_pen *pen)
{
    must(cds_lfht_del(t->hash, &n->link) == 0);
    must(t->names > 0);
    t->names--;
    drop_node(t, n, pen);
}

bool table_remove(struct table *t, struct span name, struct rcu_pen *pen)
{
    struct node *n = lookup(t, name);
    if (n)
        unlink_node(t, n, pen);
    return n != NULL;
}

void table_mark_begin(struct table *t)
{
    t->mark++;
}

void table_sweep(struct table *t, struct rcu_pen *pen)
{
    struct cds_lfht_iter iter;
    cds_lfht_first(t->hash, &iter);
    for (struct cds_lfht_node *at; (at = cds_lfht_iter_get_node(&iter));) {
        cds_lfht_next(t->hash, &iter);
        if (node_of(at)->mark != t->mark)
            unlink_node(t, node_of(at), pen);
    }
    /* Removal moves entries towards the front, so a slot is looked at until it stays. */
    for (size_t i = 0; i < t->ids.cap;) {
        struct cert *c = t->ids.slots[i];
        if (c && c->names == 0) {
            ids_remove(&t->ids, c);
            rcu_retire(pen, &c->dead, cert_destroy);
        } else {
            if (c && c->pub.staple && c->staple_mark != t->mark)
                set_staple(c, NULL, pen);
            i++;
        }
    }
}

uint64_t table_names(const struct table *t)
{
    return t->names;
}

uint64_t table_certs(const struct table *t)
{
    return t->ids.used;
}

/* ---- readers ------------------------------------------------------------------------------- */

struct span table_staple(const struct table_cert *cert, int64_t now_s)
{
    const struct staple *s = rcu_load(&cert->staple);
    if (!s)
        return (struct span){NULL, 0};
    RCU_TSAN_ACQUIRE(s);
    return s->until_s > now_s ? span_of(s->der, s->len) : (struct span){NULL, 0};
}

/* What a name has that a store has, too: NULL for a cold one. */
static __attribute__((noinline)) const struct node *use_stored(struct node *n,
                                                               struct span *ret_cold)
{
    if (is_cold(n)) {
        if (ret_cold)
            *ret_cold = span_of(n->name, n->len);
        return NULL;
    }
    if (!__atomic_load_n(&n->used, __ATOMIC_RELAXED))
        __atomic_store_n(&n->used, 1, __ATOMIC_RELAXED);
    return n;
}

/* What the name has; NULL when that is nothing. A cold one is named in *ret_cold, if that is asked
 * for. */
static inline const struct node *find_usable(const struct table *t, struct span name,
                                             struct span *ret_cold)
{
    struct node *n = lookup(t, name);
    return n && n->tag ? use_stored(n, ret_cold) : n;
}

bool table_find(const struct table *t, struct span name, const struct table_cert **ret_ecdsa,
                const struct table_cert **ret_rsa)
{
    const struct node *n = find_usable(t, name, NULL);
    if (!n)
        return false;
    *ret_ecdsa = n->ecdsa ? &n->ecdsa->pub : NULL;
    *ret_rsa = n->rsa ? &n->rsa->pub : NULL;
    return true;
}

bool table_is_cold(const struct table *t, struct span name)
{
    const struct node *n = lookup(t, name);
    return n && is_cold(n);
}

/* "a.b.c" -> "*.b.c" */
static struct span wildcard_of(struct span name, uint8_t out[NAME_MAX_BYTES + 1])
{
    size_t dot = span_find(name, '.');
    struct span rest = span_skip(name, dot);
    if (dot == 0 || rest.len < 2 || rest.len >= NAME_MAX_BYTES)
        return (struct span){NULL, 0};
    out[0] = '*';
    memcpy(out + 1, rest.ptr, rest.len);
    return span_of(out, rest.len + 1);
}

/* Exact, then wildcard; or the address. NULL: nothing, or a cold one in *ret_cold. */
static const struct node *find_entry(const struct table *t, struct span name, struct span local_ip,
                                     struct span *ret_cold)
{
    uint8_t text[NAME_MAX_BYTES + 1];
    if (!name.len)
        return local_ip.len ? find_usable(t, local_ip, ret_cold) : NULL;
    const struct node *n = find_usable(t, name, ret_cold);
    if (n || (ret_cold && ret_cold->len))
        return n;
    struct span wildcard = wildcard_of(name, text);
    return wildcard.len ? find_usable(t, wildcard, ret_cold) : NULL;
}

const struct table_cert *table_find_best(const struct table *t, struct span name,
                                         struct span local_ip, bool ecdsa, bool rsa,
                                         bool *ret_default, struct span *ret_cold)
{
    *ret_default = false;
    if (ret_cold)
        *ret_cold = (struct span){NULL, 0};
    const struct node *n = find_entry(t, name, local_ip, ret_cold);
    if (!n && ret_cold && ret_cold->len)
        return NULL;
    *ret_default = !n;
    if (!n && !(n = find_usable(t, (struct span){NULL, 0}, NULL)))
        return NULL;
    const struct table_cert *e = n->ecdsa ? &n->ecdsa->pub : NULL;
    const struct table_cert *r = n->rsa ? &n->rsa->pub : NULL;
    if (e && (ecdsa || !rsa || !r))
        return e;
    return r && (rsa || !e) ? r : e;
}

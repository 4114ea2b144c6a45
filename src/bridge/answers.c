/* SPDX-License-Identifier: Apache-2.0 */
#include "bridge/answers.h"

#include "base/rand.h"
#include "base/siphash.h"

#include <stdlib.h>

#define BUCKETS 1024u /* a power of two; PUBLISH_CHALLENGES_MAX makes chains of four */

enum kind { KIND_HTTP = 1, KIND_TLS };

/* Constant once linked, but for `next` and the publisher's mark. */
struct answer {
    struct rcu_dead dead;
    struct answer *next; /* rcu_load() */
    uint32_t mark;       /* the publisher's; readers do not look at it */
    uint8_t kind;        /* enum kind */
    struct span key;     /* token or name */
    struct http_challenge http;
    struct table_cert cert;
    size_t bytes;
    uint8_t memory[];
};

struct answers {
    struct siphash_key seed;
    uint32_t mark;
    uint64_t count;
    struct answer *buckets[BUCKETS]; /* rcu_load() */
};

struct answers *answers_create(void)
{
    struct answers *a = mem_zalloc(sizeof *a);
    a->seed = (struct siphash_key){{rand_u64(), rand_u64()}};
    return a;
}

static void answer_destroy(struct rcu_dead *dead)
{
    struct answer *n = (struct answer *)((char *)dead - offsetof(struct answer, dead));
    secret_wipe(n->memory, n->bytes);
    free(n);
}

void answers_destroy(struct answers *a)
{
    struct rcu_pen pen = {0};
    answers_mark_begin(a);
    answers_sweep(a, &pen);
    rcu_pen_empty(&pen);
    free(a);
}

static uint32_t bucket_of(const struct answers *a, enum kind kind, struct span key)
{
    uint8_t first = (uint8_t)kind;
    return (uint32_t)siphash(&a->seed, span_of(&first, 1), key) & (BUCKETS - 1);
}

static bool is_for(const struct answer *n, enum kind kind, struct span key)
{
    return n->kind == kind && span_eq(n->key, key);
}

static const struct answer *find(const struct answers *a, enum kind kind, struct span key)
{
    const struct answer *n = rcu_load(&a->buckets[bucket_of(a, kind, key)]);
    while (n && !is_for(n, kind, key))
        n = rcu_load(&n->next);
    return n;
}

/* The publisher's: the pointer to the answer, or to the end of its chain. */
static struct answer **place_of(struct answers *a, enum kind kind, struct span key)
{
    struct answer **at = &a->buckets[bucket_of(a, kind, key)];
    while (*at && !is_for(*at, kind, key))
        at = &(*at)->next;
    return at;
}

static struct span keep(struct answer *n, struct span bytes)
{
    uint8_t *to = n->memory + n->bytes;
    if (bytes.len)
        memcpy(to, bytes.ptr, bytes.len);
    n->bytes += bytes.len;
    return span_of(to, bytes.len);
}

static struct answer *answer_create(enum kind kind, struct span key, size_t more)
{
    struct answer *n = mem_zalloc(sizeof *n + key.len + more);
    n->kind = (uint8_t)kind;
    n->key = keep(n, key);
    return n;
}

static bool is_same(const struct answer *x, const struct answer *y)
{
    return x->bytes == y->bytes && memcmp(x->memory, y->memory, x->bytes) == 0 &&
           x->http.entrypoint.len == y->http.entrypoint.len &&
           x->cert.chain.len == y->cert.chain.len;
}

/* Takes `n`. */
static bool put(struct answers *a, struct answer *n, struct rcu_pen *pen)
{
    struct answer **at = place_of(a, (enum kind)n->kind, n->key), *old = *at;
    bool good = old || a->count < PUBLISH_CHALLENGES_MAX;
    if (!good || (old && is_same(old, n))) {
        if (old)
            old->mark = a->mark;
        answer_destroy(&n->dead);
        return good;
    }
    n->mark = a->mark;
    n->next = old ? old->next : NULL;
    rcu_store(at, n);
    if (old)
        rcu_retire(pen, &old->dead, answer_destroy);
    else
        a->count++;
    return true;
}

static void unlink_at(struct answers *a, struct answer **at, struct rcu_pen *pen)
{
    struct answer *n = *at;
    rcu_store(at, n->next);
    a->count--;
    rcu_retire(pen, &n->dead, answer_destroy);
}

static void take_out(struct answers *a, enum kind kind, struct span key, struct rcu_pen *pen)
{
    struct answer **at = place_of(a, kind, key);
    if (*at)
        unlink_at(a, at, pen);
}

bool answers_put_http(struct answers *a, struct span token, const struct http_challenge *answer,
                      struct rcu_pen *pen)
{
    struct answer *n = answer_create(KIND_HTTP, token, answer->entrypoint.len + answer->answer.len);
    n->http.entrypoint = keep(n, answer->entrypoint);
    n->http.answer = keep(n, answer->answer);
    return put(a, n, pen);
}

bool answers_put_tls(struct answers *a, struct span name, struct span chain, struct span key,
                     struct rcu_pen *pen)
{
    struct answer *n = answer_create(KIND_TLS, name, chain.len + key.len);
    n->cert.chain = keep(n, chain);
    n->cert.key = keep(n, key);
    return put(a, n, pen);
}

void answers_remove_http(struct answers *a, struct span token, struct rcu_pen *pen)
{
    take_out(a, KIND_HTTP, token, pen);
}

void answers_remove_tls(struct answers *a, struct span name, struct rcu_pen *pen)
{
    take_out(a, KIND_TLS, name, pen);
}

void answers_mark_begin(struct answers *a)
{
    a->mark++;
}

void answers_sweep(struct answers *a, struct rcu_pen *pen)
{
    for (uint32_t i = 0; i < BUCKETS; i++) {
        struct answer **at = &a->buckets[i];
        while (*at) {
            if ((*at)->mark != a->mark)
                unlink_at(a, at, pen);
            else
                at = &(*at)->next;
        }
    }
}

uint64_t answers_count(const struct answers *a)
{
    return a->count;
}

const struct http_challenge *answers_find_http(const struct answers *a, struct span token)
{
    const struct answer *n = find(a, KIND_HTTP, token);
    return n ? &n->http : NULL;
}

const struct table_cert *answers_find_tls(const struct answers *a, struct span name)
{
    const struct answer *n = find(a, KIND_TLS, name);
    return n ? &n->cert : NULL;
}

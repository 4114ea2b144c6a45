/* SPDX-License-Identifier: Apache-2.0 */
#include "control/cold_names.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/must.h"
#include "base/siphash.h"

#include <stdlib.h>

#define STEP_NAMES 1024
/* Certificates of one name that are compared: of a name that has more, those of the first stores.
 */
#define FOUND_MAX (4 * STORE_PLACES_MAX)

struct cold_names {
    struct publish_state *certificates;
    cold_names_join *join;
    void *arg;
    struct store **stores;
    uint32_t count;
    struct cold_walk walk; /* that tells the workers */
    bool telling;
    struct buf *out;
    bool untold;
    bool told_of_failure;
};

struct found {
    struct store *store;
    struct store_place place;
    bool bad; /* cannot be read */
};

/* ---- what stores have ----------------------------------------------------------------------- */

/* False: a store cannot be read. */
static bool find(struct cold_names *c, struct span name, struct found ret[FOUND_MAX],
                 uint32_t *ret_count)
{
    struct why why;
    uint32_t count = 0;
    for (uint32_t i = 0; i < c->count && count + STORE_PLACES_MAX <= FOUND_MAX; i++) {
        struct store_place places[STORE_PLACES_MAX];
        uint32_t n;
        if (!result_is_ok(store_places(c->stores[i], name, places, &n, &why))) {
            if (!c->told_of_failure)
                log_error("%s", why.text);
            c->told_of_failure = true;
            return false;
        }
        for (uint32_t k = 0; k < n; k++)
            ret[count++] = (struct found){.store = c->stores[i], .place = places[k]};
    }
    c->told_of_failure = false;
    *ret_count = count;
    return true;
}

/* Another one whenever the stores have other certificates. */
static uint64_t make_tag(const struct found *found, uint32_t count)
{
    static const struct siphash_key key = {{0x636f6c64206e616dull, 0x6573206861766521ull}};
    uint64_t tag = count;
    for (uint32_t i = 0; i < count; i++) {
        uint8_t bytes[24];
        struct writer w = writer_of(bytes, sizeof bytes);
        writer_be(&w, tag, 8);
        writer_be(&w, found[i].place.id, 8);
        writer_be(&w, (uint64_t)found[i].place.not_after_s, 8);
        tag = siphash(&key, span_of(bytes, sizeof bytes), span_str(store_path(found[i].store)));
    }
    return count && !tag ? 1 : tag;
}

static uint64_t tag_of(void *arg, const char *name)
{
    struct found found[FOUND_MAX];
    uint32_t count = 0;
    struct cold_names *c = arg;
    return c->count && find(c, span_str(name), found, &count) ? make_tag(found, count) : 0;
}

void cold_names_each(struct cold_names *c, const char *name, cold_names_join *each, void *arg)
{
    struct found found[FOUND_MAX];
    uint32_t count = 0;
    if (!c->count || !find(c, span_str(name), found, &count))
        return;
    for (uint32_t i = 0; i < count; i++) {
        struct why why;
        const struct store_cert *cert = store_cert_of(found[i].store, found[i].place.id, &why);
        if (cert)
            each(arg, cert, name);
        else
            log_error("%s: %s", name, why.text);
    }
}

static void join_name(void *arg, const char *name)
{
    struct cold_names *c = arg;
    cold_names_each(c, name, c->join, c->arg);
}

/* ---- the list of stores --------------------------------------------------------------------- */

struct cold_names *cold_names_create(struct publish_state *certificates, cold_names_join *join,
                                     void *arg)
{
    struct cold_names *c = mem_zalloc(sizeof *c);
    struct publish_cold hooks = {.tag = tag_of, .join = join_name, .arg = c};
    c->certificates = certificates;
    c->join = join;
    c->arg = arg;
    publish_state_use_cold(certificates, &hooks);
    return c;
}

void cold_names_destroy(struct cold_names *c)
{
    struct publish_cold none = {.tag = NULL};
    if (!c)
        return;
    publish_state_use_cold(c->certificates, &none);
    buf_free(&c->walk.last);
    free(c->stores);
    free(c);
}

bool cold_names_has(const struct cold_names *c, const struct store *store)
{
    for (uint32_t i = 0; i < c->count; i++)
        if (c->stores[i] == store)
            return true;
    return false;
}

void cold_names_add(struct cold_names *c, struct store *store)
{
    must(store_has_index(store));
    if (cold_names_has(c, store))
        return;
    c->stores = mem_grow(c->stores, (c->count + 1) * sizeof(struct store *));
    c->stores[c->count++] = store;
    c->telling = false;
    c->untold = true;
}

bool cold_names_is_untold(const struct cold_names *c)
{
    return c->untold;
}

void cold_names_remove(struct cold_names *c, const struct store *store)
{
    for (uint32_t i = 0; i < c->count; i++) {
        if (c->stores[i] != store)
            continue;
        memmove(&c->stores[i], &c->stores[i + 1], (--c->count - i) * sizeof(struct store *));
        c->telling = false;
        return;
    }
}

uint64_t cold_names_count(const struct cold_names *c)
{
    uint64_t count = 0;
    for (uint32_t i = 0; i < c->count; i++)
        count += store_cert_count(c->stores[i]);
    return count;
}

/* ---- all names ------------------------------------------------------------------------------ */

bool cold_names_walk(struct cold_names *c, struct cold_walk *at, uint32_t max,
                     store_each_name *each, void *arg)
{
    struct why why;
    bool end = true;
    if (at->store < c->count &&
        !result_is_ok(store_walk(c->stores[at->store], &at->last, max, each, arg, &end, &why))) {
        log_error("some names are passed over: %s", why.text);
        end = true;
    }
    if (end) {
        at->store++;
        at->last.len = 0;
    }
    if (at->store < c->count)
        return true;
    at->store = 0;
    return false;
}

void cold_names_begin(struct cold_names *c)
{
    c->walk.store = 0;
    c->walk.last.len = 0;
    c->telling = c->count > 0;
    c->untold = false;
}

static bool fits(struct span name)
{
    return name.len && name.len <= PUBLISH_NAME_MAX && !memchr(name.ptr, 0, name.len);
}

static void tell(void *arg, struct span name, const struct store_place *places, uint32_t count)
{
    struct cold_names *c = arg;
    char text[PUBLISH_NAME_MAX + 1];
    if (!fits(name))
        return;
    memcpy(text, name.ptr, name.len);
    text[name.len] = '\0';
    if (publish_state_serves(c->certificates, text))
        return;
    struct found found[FOUND_MAX];
    for (uint32_t i = 0; i < count; i++)
        found[i] = (struct found){.store = c->stores[c->walk.store], .place = places[i]};
    /* With other stores, they are looked into as well; telling it once for each is harmless. */
    uint64_t tag = c->count == 1 ? make_tag(found, count) : tag_of(c, text);
    if (tag)
        publish_cold_name(c->out, name, tag);
}

bool cold_names_step(struct cold_names *c, struct buf *out)
{
    if (!c->telling)
        return false;
    c->out = out;
    c->telling = cold_names_walk(c, &c->walk, STEP_NAMES, tell, c);
    c->out = NULL;
    return c->telling;
}

/* ---- one name ------------------------------------------------------------------------------- */

static bool is_valid(const struct store_place *p, int64_t now_s)
{
    return p->not_before_s <= now_s && now_s <= p->not_after_s;
}

/* By the order of publish_state: valid ones, then the later end. */
static bool is_better(const struct found *a, const struct found *b, int64_t now_s)
{
    bool valid = is_valid(&a->place, now_s);
    if (valid != is_valid(&b->place, now_s))
        return valid;
    if (a->place.not_after_s != b->place.not_after_s)
        return a->place.not_after_s > b->place.not_after_s;
    return a->place.id > b->place.id;
}

static struct found *best(struct found *found, uint32_t count, bool rsa, int64_t now_s)
{
    struct found *ret = NULL;
    for (uint32_t i = 0; i < count; i++)
        if (!found[i].bad && found[i].place.is_rsa == rsa &&
            (!ret || is_better(&found[i], ret, now_s)))
            ret = &found[i];
    return ret;
}

/* What was read for one kind of key. */
struct loaded {
    uint64_t id; /* 0 = nothing */
    bool valid;
    struct buf chain, key;
};

static void loaded_free(struct loaded *l)
{
    buf_free(&l->chain);
    buf_wipe_free(&l->key);
    *l = (struct loaded){0};
}

/* ERR_STORE: the disk fails. ERR_NOT_FOUND: see store_read(). What is damaged is passed over. */
static struct result load(struct found *found, uint32_t count, bool rsa, int64_t now_s,
                          struct loaded *ret)
{
    struct found *f;
    while ((f = best(found, count, rsa, now_s))) {
        struct why why;
        struct loaded l = {.valid = is_valid(&f->place, now_s)};
        struct result r = store_read(f->store, f->place.id, &l.chain, &l.key, &why);
        if (result_is_ok(r) &&
            (l.chain.len <= 3 || !l.key.len || l.chain.len + l.key.len > PUBLISH_CERT_BYTES_MAX))
            r = why_fail(&why, ERR_FORMAT, "certificate %llu in %s has no size that can be used",
                         (unsigned long long)f->place.id, store_path(f->store));
        if (result_is_ok(r)) {
            l.id = x509_chain_id(buf_span(&l.chain));
            *ret = l;
            return r;
        }
        loaded_free(&l);
        if (r.code == ERR_NOT_FOUND)
            return r;
        log_error("%s", why.text);
        f->bad = true;
        if (r.code == ERR_STORE)
            return r;
    }
    return result_ok();
}

static void put(struct buf *out, const struct loaded *l, bool rsa, int64_t not_after_s)
{
    struct publish_cert cert = {.id = l->id,
                                .is_rsa = rsa,
                                .not_after_s = not_after_s,
                                .chain = buf_span(&l->chain),
                                .key = buf_span(&l->key)};
    if (l->id)
        publish_cert(out, &cert);
}

static struct result answer_once(struct cold_names *c, struct span name, struct buf *out)
{
    struct found found[FOUND_MAX];
    struct loaded ecdsa = {0}, rsa = {0};
    uint32_t count = 0;
    int64_t now_s = clock_wall_s();
    if (!find(c, name, found, &count))
        return result_fail(ERR_STORE);
    struct result result = load(found, count, false, now_s, &ecdsa);
    if (result_is_ok(result))
        result = load(found, count, true, now_s, &rsa);
    if (result_is_ok(result)) {
        /* No expired one is served because of a client's algorithms. */
        if (ecdsa.id && rsa.id && ecdsa.valid != rsa.valid)
            loaded_free(ecdsa.valid ? &rsa : &ecdsa);
        const struct found *e = best(found, count, false, now_s);
        const struct found *r = best(found, count, true, now_s);
        put(out, &ecdsa, false, e ? e->place.not_after_s : 0);
        put(out, &rsa, true, r ? r->place.not_after_s : 0);
        if (ecdsa.id || rsa.id)
            publish_warm_name(out, name, ecdsa.id, rsa.id, make_tag(found, count));
        else
            publish_name_remove(out, name);
    }
    loaded_free(&ecdsa);
    loaded_free(&rsa);
    return result;
}

void cold_names_answer(struct cold_names *c, struct span name, struct buf *out)
{
    char text[PUBLISH_NAME_MAX + 1];
    if (!fits(name))
        return;
    memcpy(text, name.ptr, name.len);
    text[name.len] = '\0';
    if (publish_state_serves(c->certificates, text)) {
        publish_state_answer(c->certificates, text, clock_wall_s(), out);
        return;
    }
    if (answer_once(c, name, out).code == ERR_NOT_FOUND)
        (void)!result_is_ok(answer_once(c, name, out));
}

/* ---- changes -------------------------------------------------------------------------------- */

void cold_names_came(struct cold_names *c, const struct store_cert *cert, struct buf *out)
{
    for (uint32_t i = 0; i <= cert->san_count; i++) {
        const char *name = i ? cert->sans[i - 1] : cert->main;
        if (publish_state_serves(c->certificates, name))
            c->join(c->arg, cert, name);
        else
            cold_names_answer(c, span_str(name), out);
    }
}

void cold_names_went(struct cold_names *c, const char *name, struct buf *out)
{
    if (publish_state_serves(c->certificates, name) || !fits(span_str(name)))
        return;
    uint64_t tag = tag_of(c, name);
    if (tag)
        publish_cold_name(out, span_str(name), tag);
    else
        publish_name_remove(out, span_str(name));
}

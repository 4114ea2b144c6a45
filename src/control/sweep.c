/* SPDX-License-Identifier: Apache-2.0 */
/* Certificates that no configuration asks for and that ended long ago: into an archive, and out of
 * it later. */
#include "base/log.h"
#include "control/control_impl.h"

#include <stdlib.h>
#include <unistd.h>

#define EVERY_S   86400
#define KEEP_S    (30 * 86400)  /* in the store, after its end */
#define ARCHIVE_S (365 * 86400) /* in the archive, after its end */
#define MOVES_MAX 200           /* in one run: nobody else is answered meanwhile */
#define LOOK_MAX  50000         /* names of large stores, in one run */
#define LOOK_STEP 50
#define VISIT_MAX 100 /* certificates of theirs */

/* What one run takes out of a store. */
struct leftovers {
    const struct publish_candidate *items[MOVES_MAX];
    uint32_t count;
};

/* "acme.json" -> "acme.archive.json", "acme" -> "acme.archive" */
static char *archive_path(const char *storage)
{
    size_t len = strlen(storage);
    bool is_file = len >= 5 && strcmp(storage + len - 5, ".json") == 0;
    while (!is_file && len > 1 && storage[len - 1] == '/')
        len--;
    return mem_printf("%.*s.archive%s", (int)(is_file ? len - 5 : len), storage,
                      is_file ? ".json" : "");
}

/* A clock that is years ahead makes everything old, and what is deleted does not come back. So
 * something has to be valid by it; or nothing is asked for, and nothing can be. */
static bool is_likely(struct control *c, int64_t now_s)
{
    for (uint32_t i = 0; i < publish_state_count(c->certificates); i++) {
        const struct publish_candidate *found = publish_state_at(c->certificates, i);
        if (found->source == PUBLISH_SOURCE_ACME && found->leaf.not_before_s <= now_s &&
            now_s <= found->leaf.not_after_s)
            return true;
    }
    const struct wants *wants = scheduler_wants(c->scheduler);
    for (uint32_t i = 0; i < wants->count; i++) { /* of which nobody may have read anything */
        const struct want *w = &wants->items[i];
        if (w->have && w->not_before_s <= now_s && now_s <= w->not_after_s)
            return true;
    }
    return wants->count == 0;
}

/* ---- of stores that are not read as a whole ---------------------------------------------------
 */

/* A name of each certificate that ended long ago. */
struct ended {
    int64_t before_s;
    uint32_t count;
    uint64_t ids[VISIT_MAX];
    char *names[VISIT_MAX];
};

static bool is_noted(const struct ended *e, uint64_t id)
{
    for (uint32_t i = e->count; i-- > 0;)
        if (e->ids[i] == id)
            return true;
    return false;
}

static void note_ended(void *arg, struct span name, const struct store_place *places,
                       uint32_t count)
{
    struct ended *e = arg;
    for (uint32_t i = 0; i < count && e->count < VISIT_MAX; i++)
        if (places[i].not_after_s < e->before_s && !is_noted(e, places[i].id)) {
            e->ids[e->count] = places[i].id;
            e->names[e->count++] = mem_strndup((const char *)name.ptr, name.len);
        }
}

/* Makes candidates of such certificates, as many as one run takes: until certificates_leave().
 * False: those were the last. */
static bool visit_ended(struct control *c, int64_t now_s)
{
    struct ended e = {.before_s = now_s - KEEP_S};
    bool more = true;
    for (uint32_t looked = 0; more && looked < LOOK_MAX && e.count + LOOK_STEP <= VISIT_MAX;
         looked += LOOK_STEP)
        more = cold_names_walk(c->cold, &c->sweep_at, LOOK_STEP, note_ended, &e);
    for (uint32_t i = 0; i < e.count; i++) {
        certificates_visit(c, e.names[i]);
        free(e.names[i]);
    }
    return more;
}

/* The workers know these names: each ends with a 0. */
static void tell_gone(struct control *c, struct span names)
{
    struct buf out = {0};
    while (names.len) {
        const char *name = (const char *)names.ptr;
        cold_names_went(c->cold, name, &out);
        names = span_skip(names, strlen(name) + 1);
    }
    control_send_and_wipe(c, &out);
}

/* ---- into the archive ----------------------------------------------------------------------- */

/* As the store knows it. Borrows the names. */
static struct store_cert names_of(const struct publish_candidate *found)
{
    return (struct store_cert){.resolver = found->origin,
                               .main = found->leaf.names[0],
                               .sans = found->leaf.names + 1,
                               .san_count = found->leaf.name_count - 1};
}

/* Of this resolver, in its store, but nothing asks for these names. Some CAs add names to those
 * that were ordered: such a certificate is known by other names than its own, and stays. */
static bool is_left_over(struct control *c, const struct publish_candidate *found,
                         struct resolver *r)
{
    char id[ORDER_ID_LEN + 1];
    const char *const *names = (const char *const *)found->leaf.names;
    char *slot = certificates_slot(found->origin, names, found->leaf.name_count);
    bool own = strcmp(slot, found->slot) == 0;
    free(slot);
    order_id_make(r->config->name, r->config->ca_server, names, found->leaf.name_count, id);
    struct store_cert cert = names_of(found);
    return own && !wants_find((struct wants *)scheduler_wants(c->scheduler), id) &&
           store_has_cert(r->store, &cert);
}

static void collect(struct control *c, struct resolver *r, int64_t now_s, struct leftovers *ret)
{
    for (uint32_t i = publish_state_count(c->certificates); i-- > 0 && ret->count < MOVES_MAX;) {
        const struct publish_candidate *found = publish_state_at(c->certificates, i);
        if (found->source == PUBLISH_SOURCE_ACME && !strcmp(found->origin, r->config->name) &&
            found->leaf.name_count && found->leaf.not_after_s + KEEP_S < now_s &&
            is_left_over(c, found, r))
            ret->items[ret->count++] = found;
    }
}

static struct result put(const struct publish_candidate *found, struct store *archive,
                         struct why *why)
{
    struct store_cert cert = names_of(found);
    struct key *key = NULL;
    struct result r = x509_chain_to_pem(buf_span(&found->chain), &cert.chain_pem);
    if (!result_is_ok(r))
        r = why_fail(why, r.code, "the chain cannot be written");
    if (result_is_ok(r))
        r = key_from_der(buf_span(&found->key), &key, why);
    if (result_is_ok(r))
        r = key_to_pem(key, &cert.key_pem);
    if (result_is_ok(r))
        r = store_put_cert(archive, &cert, why);
    key_free(key);
    buf_free(&cert.chain_pem);
    buf_wipe_free(&cert.key_pem);
    return r;
}

/* All of them come to the disk together: one by one would take minutes. One that the archive does
 * not take stays where it is. */
static struct result put_all(struct leftovers *l, const char *storage, struct why *why)
{
    struct store *archive;
    char *path = archive_path(storage);
    struct result r = store_open(path, &archive, why);
    free(path);
    TRY(r);
    r = store_begin(archive, why);
    if (result_is_ok(r)) {
        for (uint32_t i = l->count; i-- > 0 && result_is_ok(r);) {
            r = put(l->items[i], archive, why);
            if (result_is_ok(r) || r.code == ERR_STORE)
                continue;
            log_warn("%s: cannot be archived: %s", l->items[i]->leaf.names[0], why->text);
            l->items[i] = l->items[--l->count];
            r = result_ok();
        }
        bool keep = result_is_ok(r);
        struct result end = store_end(archive, keep, keep ? why : NULL);
        r = keep ? end : r;
    }
    store_close(archive);
    return r;
}

static struct result remove_all(const struct leftovers *l, struct store *store, struct why *why)
{
    TRY(store_begin(store, why));
    struct result r = result_ok();
    for (uint32_t i = 0; i < l->count && result_is_ok(r); i++) {
        struct store_cert cert = names_of(l->items[i]);
        r = store_remove_cert(store, &cert, why);
    }
    bool keep = result_is_ok(r);
    struct result end = store_end(store, keep, keep ? why : NULL);
    return keep ? end : r;
}

/* Moves what a resolver has left over: into the archive before it is gone from the store. Returns
 * how many. gone: gets names that workers know without their certificates. */
static uint32_t sweep_resolver(struct control *c, struct resolver *r, int64_t now_s,
                               struct buf *gone)
{
    struct leftovers l = {0};
    struct why why = {""};
    collect(c, r, now_s, &l);
    if (!l.count)
        return 0;
    struct result result = put_all(&l, r->config->storage, &why);
    if (result_is_ok(result) && l.count)
        result = remove_all(&l, r->store, &why);
    if (!result_is_ok(result)) {
        log_warn("certificates that nothing asks for stay in %s: %s", r->config->storage, why.text);
        return 0;
    }
    for (uint32_t i = 0; i < l.count; i++) {
        log_info("%s: the certificate of resolver %s ended long ago and nothing asks for it: moved "
                 "to the archive beside %s",
                 l.items[i]->leaf.names[0], r->config->name, r->config->storage);
        for (uint32_t k = 0; cold_names_has(c->cold, r->store) && k < l.items[i]->leaf.name_count;
             k++)
            buf_put(gone, l.items[i]->leaf.names[k], strlen(l.items[i]->leaf.names[k]) + 1);
        char *slot = mem_strdup(l.items[i]->slot);
        publish_state_drop(c->certificates, slot);
        free(slot);
    }
    return l.count;
}

/* ---- out of the archive --------------------------------------------------------------------- */

/* Takes one out of an archive. The archive lends `cert` only until it is changed. */
static struct result delete (struct store *archive, const struct store_cert *cert, struct why *why)
{
    struct store_cert copy = {.resolver = mem_strdup(cert->resolver),
                              .main = mem_strdup(cert->main),
                              .sans = mem_zalloc((cert->san_count + 1) * sizeof *copy.sans),
                              .san_count = cert->san_count};
    for (uint32_t i = 0; i < copy.san_count; i++)
        copy.sans[i] = mem_strdup(cert->sans[i]);
    struct result r = store_remove_cert(archive, &copy, why);
    if (result_is_ok(r))
        log_info("%s: the archived certificate of resolver %s is deleted", copy.main,
                 copy.resolver);
    for (uint32_t i = 0; i < copy.san_count; i++)
        free(copy.sans[i]);
    free(copy.sans);
    free(copy.main);
    free(copy.resolver);
    return r;
}

static bool is_over(const struct store_cert *cert, int64_t now_s)
{
    struct buf chain = {0};
    struct x509 leaf = {0};
    struct why ignored;
    bool over =
        result_is_ok(x509_chain_from_pem(buf_span(&cert->chain_pem), &chain, &leaf, &ignored)) &&
        leaf.not_after_s + ARCHIVE_S < now_s;
    buf_free(&chain);
    x509_free(&leaf);
    return over;
}

/* Deletes what has been in an archive for long enough. */
static struct result sweep_archive(struct store *archive, int64_t now_s, struct why *why)
{
    uint32_t deleted = 0;
    TRY(store_begin(archive, why));
    struct result r = result_ok();
    for (uint32_t i = store_cert_count(archive);
         i-- > 0 && deleted < MOVES_MAX && result_is_ok(r);) {
        struct why unreadable;
        const struct store_cert *cert = store_cert_at(archive, i, &unreadable);
        if (!cert || !is_over(cert, now_s))
            continue;
        r = delete (archive, cert, why);
        deleted++;
    }
    bool keep = result_is_ok(r) && deleted;
    struct result end = store_end(archive, keep, result_is_ok(r) ? why : NULL);
    return result_is_ok(r) ? end : r;
}

static void sweep_archive_at(const char *storage, int64_t now_s)
{
    struct store *archive;
    struct why why;
    char *path = archive_path(storage);
    if (access(path, F_OK) == 0) {
        struct result r = store_open(path, &archive, &why);
        if (result_is_ok(r)) {
            r = sweep_archive(archive, now_s, &why);
            store_close(archive);
        }
        if (!result_is_ok(r))
            log_warn("old certificates stay in the archive %s: %s", path, why.text);
    }
    free(path);
}

bool sweep_run(struct control *c, int64_t now_s)
{
    struct resolver_set *set = &c->now->resolvers;
    struct buf gone = {0};
    uint32_t count = 0;
    /* A later time than a day from now is of a clock that was set back since. */
    if ((now_s < c->sweep_s && c->sweep_s <= now_s + EVERY_S) || !is_likely(c, now_s))
        return false;
    bool more = visit_ended(c, now_s);
    for (uint32_t i = 0; i < set->count; i++)
        if (set->items[i].store) {
            uint32_t moved = sweep_resolver(c, &set->items[i], now_s, &gone);
            sweep_archive_at(set->items[i].config->storage, now_s);
            more = more || moved == MOVES_MAX;
            count += moved;
        }
    certificates_leave(c);
    tell_gone(c, buf_span(&gone));
    buf_free(&gone);
    c->sweep_s = more ? now_s : now_s + EVERY_S;
    return count > 0;
}

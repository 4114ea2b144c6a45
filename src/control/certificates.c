/* SPDX-License-Identifier: Apache-2.0 */
/* Which certificates there are: from stores, from files, and the default one. */
#include "base/clock.h"
#include "base/log.h"
#include "control/control_impl.h"

#include <ctype.h>
#include <stdlib.h>

#define DEFAULT_KEY     "default"                 /* in STATE_KEYS */
#define DEFAULT_NAME    "ferrule-default.invalid" /* RFC 2606: nobody's */
#define DEFAULT_DAYS    3650
#define DEFAULT_SPARE_S (30 * 86400)

/* A slot is what a renewal replaces: the resolver and its set of names. */
char *certificates_slot(const char *resolver, const char *const *names, uint32_t count)
{
    char id[ORDER_ID_LEN + 1];
    order_id_make(resolver, "", names, count, id);
    return mem_printf("acme:%s", id);
}

static char *slot_of(const struct store_cert *cert)
{
    const char **names = mem_alloc((cert->san_count + 1) * sizeof *names);
    names[0] = cert->main;
    for (uint32_t i = 0; i < cert->san_count; i++)
        names[i + 1] = cert->sans[i];
    char *slot = certificates_slot(cert->resolver, names, cert->san_count + 1);
    free(names);
    return slot;
}

/* ---- in stores that are not read as a whole -------------------------------------------------- */

/* What a want's certificate is called in its store. */
static struct store_cert as_stored(const char *resolver, const char *const *names, uint32_t count)
{
    return (struct store_cert){.resolver = (char *)resolver,
                               .main = (char *)names[0],
                               .sans = (char **)names + 1,
                               .san_count = count - 1};
}

/* Finds a certificate in its resolver's store when that is one of those; false: it is not there.
 * The caller wipes the key. */
static bool find_cold(struct control *c, const struct store_cert *cert, struct buf *ret_chain,
                      struct buf *ret_key)
{
    const struct resolver *r = resolver_find(&c->now->resolvers, cert->resolver);
    uint64_t id;
    struct why why;
    struct result found = result_fail(ERR_NOT_FOUND);
    if (!r || !r->store || !cold_names_has(c->cold, r->store))
        return false;
    for (int i = 0; i < 2 && found.code == ERR_NOT_FOUND; i++) { /* see store_read() */
        if (!result_is_ok(store_find(r->store, cert, &id)))
            return false;
        found = store_read(r->store, id, ret_chain, ret_key, &why);
    }
    if (!result_is_ok(found))
        log_error("%s: %s", cert->main, why.text);
    return result_is_ok(found);
}

/* ---- the default ----------------------------------------------------------------------------- */

/* Serves the certificate that a resolver has obtained for defaultGeneratedCert, once there is one,
 * as the default one. only: when it is that slot's; NULL: in any case. */
static struct result use_generated(struct control *c, const char *only, struct why *why)
{
    const struct config *config = c->now->config;
    const struct config_domain *d = config->default_domain;
    const struct publish_candidate *added;
    if (!d)
        return result_ok();
    const char *resolver = config->resolvers[config->default_resolver].name;
    char *slot = certificates_slot(resolver, d->names, d->count);
    bool wanted = !only || strcmp(only, slot) == 0;
    const struct publish_candidate *found =
        wanted ? publish_state_find(c->certificates, slot) : NULL;
    if (found && found->before) /* it waits behind that one still */
        found = found->before;
    struct store_cert cert = as_stored(resolver, d->names, d->count);
    struct buf chain = {0}, key = {0};
    struct result r = result_ok();
    if (found)
        r = publish_state_put(c->certificates, PUBLISH_SOURCE_DEFAULT, found->origin, "default",
                              buf_span(&found->chain), buf_span(&found->key), &added, why);
    else if (wanted && find_cold(c, &cert, &chain, &key))
        r = publish_state_put(c->certificates, PUBLISH_SOURCE_DEFAULT, resolver, "default",
                              buf_span(&chain), buf_span(&key), &added, why);
    buf_free(&chain);
    buf_wipe_free(&key);
    free(slot);
    return r;
}

/* ---- from resolvers -------------------------------------------------------------------------- */

/* How the CA calls the certificate; "" = it cannot be asked about. */
static const char *ari_id_of(const struct x509 *leaf, char ret[ARI_ID_MAX + 1])
{
    ari_id_make(leaf, ret);
    return ret;
}

/* A stored certificate as the workers take it. */
struct usable {
    struct buf chain, key;
    struct x509 leaf;
};

static void usable_free(struct usable *u)
{
    buf_free(&u->chain);
    buf_wipe_free(&u->key);
    x509_free(&u->leaf);
}

/* Afterwards usable_free(), also when it fails. */
static struct result make_usable(const struct store_cert *cert, struct usable *ret, struct why *why)
{
    struct key *key = NULL;
    struct result r = x509_chain_from_pem(buf_span(&cert->chain_pem), &ret->chain, &ret->leaf, why);
    if (result_is_ok(r))
        r = key_from_pem(buf_span(&cert->key_pem), &key, why);
    if (result_is_ok(r))
        r = x509_check_key(&ret->leaf, key, why);
    if (result_is_ok(r))
        r = key_to_der(key, &ret->key);
    key_free(key);
    return r;
}

/* Is it in a store that is not read as a whole, and nowhere else? */
static bool is_cold(struct control *c, const struct store_cert *cert, const char *slot,
                    struct span chain)
{
    struct buf stored = {0}, key = {0};
    bool is = !publish_state_find(c->certificates, slot) && find_cold(c, cert, &stored, &key) &&
              span_eq(buf_span(&stored), chain);
    buf_free(&stored);
    buf_wipe_free(&key);
    return is;
}

struct result certificates_put_acme(struct control *c, const struct store_cert *cert,
                                    struct why *why)
{
    const struct publish_candidate *added = NULL;
    struct usable u = {0};
    struct buf out = {0};
    char id[ARI_ID_MAX + 1];
    char *slot = slot_of(cert);
    struct result r = make_usable(cert, &u, why);
    if (result_is_ok(r) && is_cold(c, cert, slot, buf_span(&u.chain))) {
        cold_names_came(c->cold, cert, &out);
        control_send_and_wipe(c, &out);
    } else if (result_is_ok(r)) {
        r = publish_state_put(c->certificates, PUBLISH_SOURCE_ACME, cert->resolver, slot,
                              buf_span(&u.chain), buf_span(&u.key), &added, why);
    }
    if (result_is_ok(r)) {
        scheduler_know(c->scheduler, cert, u.leaf.not_before_s, u.leaf.not_after_s,
                       x509_chain_id(buf_span(&u.chain)), ari_id_of(&u.leaf, id));
        if (!added || !added->before)
            r = use_generated(c, slot, why);
    }
    free(slot);
    usable_free(&u);
    return r;
}

void certificates_join(void *arg, const struct store_cert *cert, const char *name)
{
    struct control *c = arg;
    const struct publish_candidate *added = NULL;
    struct usable u = {0};
    struct why why;
    char *slot = slot_of(cert);
    struct result r = make_usable(cert, &u, &why);
    if (result_is_ok(r))
        r = publish_state_put_name(c->certificates, cert->resolver, slot, buf_span(&u.chain),
                                   buf_span(&u.key), name, &added, &why);
    if (!result_is_ok(r))
        log_warn("the stored certificate of %s (%s) cannot be used: %s", cert->main, cert->resolver,
                 why.text);
    free(slot);
    usable_free(&u);
}

static void visit_one(void *arg, const struct store_cert *cert, const char *name)
{
    struct control *c = arg;
    char *slot = slot_of(cert);
    if (publish_state_find(c->certificates, slot)) {
        free(slot);
        return;
    }
    certificates_join(c, cert, name);
    c->visited = mem_grow(c->visited, (c->visited_count + 1) * sizeof *c->visited);
    c->visited[c->visited_count++] = slot;
}

static void visit(struct control *c, const char *name)
{
    if (!publish_state_serves(c->certificates, name))
        cold_names_each(c->cold, name, visit_one, c);
}

void certificates_visit(struct control *c, const char *name)
{
    char *lower = mem_strdup(name);
    for (char *p = lower; *p; p++)
        *p = (char)tolower((unsigned char)*p);
    visit(c, lower);
    const char *dot = strchr(lower, '.');
    char *wildcard = dot && dot > lower ? mem_printf("*%s", dot) : NULL;
    if (wildcard)
        visit(c, wildcard);
    free(wildcard);
    free(lower);
}

void certificates_leave(struct control *c)
{
    for (uint32_t i = 0; i < c->visited_count; i++) {
        publish_state_drop(c->certificates, c->visited[i]);
        free(c->visited[i]);
    }
    free(c->visited);
    c->visited = NULL;
    c->visited_count = 0;
}

/* What the scheduler has to know of a want whose certificate nobody has read. */
static bool know_cold(struct control *c, const struct want *w)
{
    struct store_cert cert = as_stored(w->resolver->config->name, w->names, w->count);
    struct buf chain = {0}, key = {0};
    struct x509 leaf = {0};
    struct why why;
    char id[ARI_ID_MAX + 1];
    bool found = find_cold(c, &cert, &chain, &key);
    if (found) {
        struct reader in = reader_of(buf_span(&chain));
        found = result_is_ok(x509_parse(reader_bytes(&in, reader_be(&in, 3)), &leaf, &why));
    }
    if (found)
        scheduler_know_want(c->scheduler, w, leaf.not_before_s, leaf.not_after_s,
                            x509_chain_id(buf_span(&chain)), ari_id_of(&leaf, id));
    x509_free(&leaf);
    buf_free(&chain);
    buf_wipe_free(&key);
    return found;
}

/* Only the names of the store are told to the workers. */
static void use_names(struct control *c, struct store *store)
{
    const struct wants *wants = scheduler_wants(c->scheduler);
    struct why why;
    cold_names_add(c->cold, store);
    for (uint32_t i = 0; i < wants->count; i++)
        if (wants->items[i].resolver->store == store)
            (void)know_cold(c, &wants->items[i]);
    if (!result_is_ok(use_generated(c, NULL, &why)))
        log_error("the default certificate stays as it was: %s", why.text);
    log_info("%s has %u certificates: they are read when clients ask for them (cache.certificates "
             "is %u)",
             store_path(store), store_cert_count(store), c->now->config->store_keep);
}

void certificates_release(struct control *c, struct publish_candidate *candidate)
{
    struct why why;
    publish_state_release(c->certificates, candidate);
    if (!result_is_ok(use_generated(c, candidate->slot, &why)))
        log_error("the default certificate stays as it was: %s", why.text);
}

void certificates_load_store(struct control *c, struct store *store)
{
    if (store_has_index(store) && store_cert_count(store) > c->now->config->store_keep) {
        use_names(c, store);
        return;
    }
    for (uint32_t k = 0; k < store_cert_count(store); k++) {
        struct why why;
        const struct store_cert *cert = store_cert_at(store, k, &why);
        if (!cert)
            log_error("%s", why.text);
        else if (!result_is_ok(certificates_put_acme(c, cert, &why)))
            log_warn("the stored certificate of %s (%s) cannot be used: %s", cert->main,
                     cert->resolver, why.text);
    }
}

void certificates_load_stores(struct control *c, const struct resolver_set *but)
{
    const struct resolver_set *set = &c->now->resolvers;
    for (uint32_t i = 0; i < set->store_count; i++)
        if (!but || !resolver_set_has(but, set->stores[i]))
            certificates_load_store(c, set->stores[i]);
}

void certificates_drop_stores(struct control *c, const struct resolver_set *old)
{
    for (uint32_t i = 0; i < old->store_count; i++) {
        struct store *store = old->stores[i];
        if (cold_names_has(c->cold, store)) {
            if (resolver_set_has(&c->now->resolvers, store))
                continue;
            cold_names_remove(c->cold, store);
            c->stores_gone = true;
            continue;
        }
        for (uint32_t k = 0; k < store_cert_count(store); k++) {
            if (resolver_set_has(&c->now->resolvers, store))
                break;
            struct why why;
            const struct store_cert *cert = store_cert_at(store, k, &why);
            char *slot = cert ? slot_of(cert) : NULL;
            if (slot)
                publish_state_drop(c->certificates, slot);
            free(slot);
        }
    }
}

/* Whether a certificate that the scheduler knows of stands in a store that is read name by name. A
 * disk that fails for a moment takes none away. */
static bool is_kept(struct control *c, const struct want *w)
{
    struct store_cert cert = as_stored(w->resolver->config->name, w->names, w->count);
    uint64_t id;
    return w->resolver->store && cold_names_has(c->cold, w->resolver->store) &&
           store_find(w->resolver->store, &cert, &id).code != ERR_NOT_FOUND;
}

void certificates_know_wants(struct control *c)
{
    const struct wants *wants = scheduler_wants(c->scheduler);
    for (uint32_t i = 0; i < wants->count; i++) {
        const struct want *w = &wants->items[i];
        char id[ARI_ID_MAX + 1];
        char *slot = certificates_slot(w->resolver->config->name, w->names, w->count);
        const struct publish_candidate *found = publish_state_find(c->certificates, slot);
        if (!found && !(w->have ? is_kept(c, w) : know_cold(c, w)))
            scheduler_forget_want(c->scheduler, w);
        else if (found && !w->have)
            scheduler_know_want(c->scheduler, w, found->leaf.not_before_s, found->leaf.not_after_s,
                                found->id, ari_id_of(&found->leaf, id));
        free(slot);
    }
}

/* The self-signed certificate is kept, so that a restart of control changes nothing for clients.
 * Stored as chain length (4 bytes), chain, key. */
static bool use_stored_default(struct control *c)
{
    struct buf stored = {0};
    const struct publish_candidate *added = NULL;
    struct why why;
    bool good = false;
    if (result_is_ok(state_get(c->state, STATE_KEYS, SPAN_LITERAL(DEFAULT_KEY), &stored))) {
        struct reader r = reader_of(buf_span(&stored));
        struct span chain = reader_bytes(&r, reader_u32(&r));
        struct span key = span_of(r.ptr, r.left);
        good =
            !r.bad &&
            result_is_ok(publish_state_put(c->certificates, PUBLISH_SOURCE_DEFAULT, "self-signed",
                                           "default", chain, key, &added, &why)) &&
            added->leaf.not_after_s > clock_wall_s() + DEFAULT_SPARE_S;
    }
    buf_wipe_free(&stored);
    return good;
}

static struct result make_default(struct control *c, struct why *why)
{
    static const char *const names[] = {DEFAULT_NAME};
    const struct publish_candidate *added;
    struct key *key = NULL;
    struct buf cert = {0}, der = {0}, chain = {0}, stored = {0};
    TRY(key_generate(KEY_EC256, &key, why));
    struct result r = x509_self_signed(key, names, 1, DEFAULT_DAYS, &cert, why);
    if (result_is_ok(r))
        r = key_to_der(key, &der);
    if (result_is_ok(r)) {
        buf_put_be(&chain, cert.len, 3);
        buf_put_span(&chain, buf_span(&cert));
        buf_put_be(&stored, chain.len, 4);
        buf_put_span(&stored, buf_span(&chain));
        buf_put_span(&stored, buf_span(&der));
        r = publish_state_put(c->certificates, PUBLISH_SOURCE_DEFAULT, "self-signed", "default",
                              buf_span(&chain), buf_span(&der), &added, why);
        struct why ignored;
        if (!result_is_ok(state_put(c->state, STATE_KEYS, SPAN_LITERAL(DEFAULT_KEY),
                                    buf_span(&stored), &ignored)))
            log_warn("the default certificate cannot be stored: %s", ignored.text);
    }
    key_free(key);
    buf_free(&cert);
    buf_wipe_free(&der);
    buf_free(&chain);
    buf_wipe_free(&stored);
    return r;
}

struct result certificates_load_default(struct control *c, struct why *why)
{
    if (c->now->config->default_certificate)
        return result_ok();
    if (!use_stored_default(c))
        TRY(make_default(c, why));
    return use_generated(c, NULL, why);
}

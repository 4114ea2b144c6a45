/* SPDX-License-Identifier: Apache-2.0 */
/* Which certificates there are: from stores, from files, and the default one. */
#include "base/clock.h"
#include "base/log.h"
#include "control/control_impl.h"

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

/* Serves the certificate that a resolver has obtained for defaultGeneratedCert, once there is one,
 * as the default one. only: when it is that slot's; NULL: in any case. */
static struct result use_generated(struct control *c, const char *only, struct why *why)
{
    const struct config *config = c->now->config;
    const struct config_domain *d = config->default_domain;
    const struct publish_candidate *added;
    if (!d)
        return result_ok();
    char *slot =
        certificates_slot(config->resolvers[config->default_resolver].name, d->names, d->count);
    const struct publish_candidate *found =
        only && strcmp(only, slot) != 0 ? NULL : publish_state_find(c->certificates, slot);
    struct result r = result_ok();
    if (found)
        r = publish_state_put(c->certificates, PUBLISH_SOURCE_DEFAULT, found->origin, "default",
                              buf_span(&found->chain), buf_span(&found->key), &added, why);
    free(slot);
    return r;
}

/* How the CA calls the certificate; "" = it cannot be asked about. */
static const char *ari_id_of(const struct publish_candidate *candidate, char ret[ARI_ID_MAX + 1])
{
    ari_id_make(&candidate->leaf, ret);
    return ret;
}

struct result certificates_put_acme(struct control *c, const struct store_cert *cert,
                                    struct why *why)
{
    struct buf chain = {0}, der = {0};
    struct x509 leaf = {0};
    struct key *key = NULL;
    const struct publish_candidate *added = NULL;
    char id[ARI_ID_MAX + 1];
    char *slot = slot_of(cert);
    struct result r = x509_chain_from_pem(buf_span(&cert->chain_pem), &chain, &leaf, why);
    if (result_is_ok(r))
        r = key_from_pem(buf_span(&cert->key_pem), &key, why);
    if (result_is_ok(r))
        r = x509_check_key(&leaf, key, why);
    if (result_is_ok(r))
        r = key_to_der(key, &der);
    if (result_is_ok(r))
        r = publish_state_put(c->certificates, PUBLISH_SOURCE_ACME, cert->resolver, slot,
                              buf_span(&chain), buf_span(&der), &added, why);
    if (result_is_ok(r))
        scheduler_know(c->scheduler, cert, added->leaf.not_before_s, added->leaf.not_after_s,
                       added->id, ari_id_of(added, id));
    if (result_is_ok(r) && !added->before)
        r = use_generated(c, slot, why);
    free(slot);
    key_free(key);
    x509_free(&leaf);
    buf_free(&chain);
    buf_wipe_free(&der);
    return r;
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

void certificates_know_wants(struct control *c)
{
    const struct wants *wants = scheduler_wants(c->scheduler);
    for (uint32_t i = 0; i < wants->count; i++) {
        const struct want *w = &wants->items[i];
        char id[ARI_ID_MAX + 1];
        char *slot = certificates_slot(w->resolver->config->name, w->names, w->count);
        const struct publish_candidate *found = publish_state_find(c->certificates, slot);
        if (!found)
            scheduler_forget_want(c->scheduler, w);
        else if (!w->have)
            scheduler_know_want(c->scheduler, w, found->leaf.not_before_s, found->leaf.not_after_s,
                                found->id, ari_id_of(found, id));
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

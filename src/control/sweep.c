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

/* "acme.json" -> "acme.archive.json", "acme" -> "acme.archive" */
static char *archive_path(const char *storage)
{
    size_t len = strlen(storage);
    bool is_file = len >= 5 && strcmp(storage + len - 5, ".json") == 0;
    return mem_printf("%.*s.archive%s", (int)(is_file ? len - 5 : len), storage,
                      is_file ? ".json" : "");
}

/* Of a resolver of ours, but nothing asks for these names. */
static bool is_left_over(struct control *c, const struct publish_candidate *found,
                         struct resolver *r)
{
    char id[ORDER_ID_LEN + 1];
    order_id_make(r->config->name, r->config->ca_server, (const char *const *)found->leaf.names,
                  found->leaf.name_count, id);
    return !wants_find((struct wants *)scheduler_wants(c->scheduler), id);
}

/* One certificate goes: it is in the archive before it is gone from the store. */
static struct result move(const struct publish_candidate *found, struct resolver *r,
                          struct store *archive, struct why *why)
{
    struct store_cert cert = {.resolver = (char *)r->config->name,
                              .main = found->leaf.names[0],
                              .sans = found->leaf.names + 1,
                              .san_count = found->leaf.name_count - 1};
    struct key *key = NULL;
    struct result result = x509_chain_to_pem(buf_span(&found->chain), &cert.chain_pem);
    if (!result_is_ok(result))
        result = why_fail(why, result.code, "the chain cannot be written");
    if (result_is_ok(result))
        result = key_from_der(buf_span(&found->key), &key, why);
    if (result_is_ok(result))
        result = key_to_pem(key, &cert.key_pem);
    if (result_is_ok(result))
        result = store_put_cert(archive, &cert, why);
    if (result_is_ok(result))
        result = store_remove_cert(r->store, &cert, why);
    key_free(key);
    buf_free(&cert.chain_pem);
    buf_wipe_free(&cert.key_pem);
    return result;
}

/* Moves what a resolver has left over. Returns how many. */
static uint32_t sweep_resolver(struct control *c, struct resolver *r, int64_t now_s)
{
    struct store *archive = NULL;
    struct why why = {""};
    struct result result = result_ok();
    uint32_t count = 0;
    for (uint32_t i = publish_state_count(c->certificates); i-- > 0 && result_is_ok(result);) {
        const struct publish_candidate *found = publish_state_at(c->certificates, i);
        if (found->source != PUBLISH_SOURCE_ACME || strcmp(found->origin, r->config->name) != 0 ||
            !found->leaf.name_count || found->leaf.not_after_s + KEEP_S >= now_s ||
            !is_left_over(c, found, r))
            continue;
        if (!archive) {
            char *path = archive_path(r->config->storage);
            result = store_open(path, &archive, &why);
            free(path);
        }
        if (result_is_ok(result))
            result = move(found, r, archive, &why);
        if (result_is_ok(result)) {
            log_info("%s: the certificate of resolver %s ended long ago and nothing asks for it: "
                     "moved to the archive beside %s",
                     found->leaf.names[0], r->config->name, r->config->storage);
            char *slot = mem_strdup(found->slot);
            publish_state_drop(c->certificates, slot);
            free(slot);
            count++;
        }
    }
    if (!result_is_ok(result))
        log_warn("certificates that nothing asks for stay in %s: %s", r->config->storage, why.text);
    store_close(archive);
    return count;
}

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
    for (uint32_t i = 0; i < copy.san_count; i++)
        free(copy.sans[i]);
    free(copy.sans);
    free(copy.main);
    free(copy.resolver);
    return r;
}

/* Deletes what has been in an archive for long enough. */
static void sweep_archive(const char *path, int64_t now_s)
{
    struct store *archive;
    struct why why;
    if (access(path, F_OK) == -1 || !result_is_ok(store_open(path, &archive, &why)))
        return;
    for (uint32_t i = store_cert_count(archive); i-- > 0;) {
        const struct store_cert *cert = store_cert_at(archive, i, &why);
        struct buf chain = {0};
        struct x509 leaf = {0};
        if (cert &&
            result_is_ok(x509_chain_from_pem(buf_span(&cert->chain_pem), &chain, &leaf, &why)) &&
            leaf.not_after_s + ARCHIVE_S < now_s) {
            log_info("%s: the archived certificate of resolver %s is deleted", cert->main,
                     cert->resolver);
            if (!result_is_ok(delete (archive, cert, &why)))
                log_warn("%s", why.text);
        }
        buf_free(&chain);
        x509_free(&leaf);
    }
    store_close(archive);
}

bool sweep_run(struct control *c, int64_t now_s)
{
    struct resolver_set *set = &c->now->resolvers;
    uint32_t count = 0;
    if (now_s < c->sweep_s)
        return false;
    c->sweep_s = now_s + EVERY_S;
    for (uint32_t i = 0; i < set->count; i++)
        if (set->items[i].store) {
            char *path = archive_path(set->items[i].config->storage);
            count += sweep_resolver(c, &set->items[i], now_s);
            sweep_archive(path, now_s);
            free(path);
        }
    return count > 0;
}

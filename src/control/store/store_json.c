/* SPDX-License-Identifier: Apache-2.0 */
#include "control/store/store_json.h"

#include "base/must.h"
#include "control/store/store_impl.h"
#include "crypto/digest.h"
#include "crypto/key.h"

#include <stdlib.h>

static const struct {
    enum key_type type;
    const char *name; /* Traefik's spelling in the file */
} key_names[] = {{KEY_EC256, "P256"},
                 {KEY_EC384, "P384"},
                 {KEY_RSA2048, "2048"},
                 {KEY_RSA4096, "4096"},
                 {KEY_RSA8192, "8192"}};
#define KEY_NAMES (sizeof key_names / sizeof *key_names)

static const char *text_of(const json_t *object, const char *member)
{
    const char *s = json_string_value(json_object_get(object, member));
    return s ? s : "";
}

/* Decodes a base64 member. An absent one is empty. */
static bool get_base64(const json_t *object, const char *member, struct buf *out)
{
    return result_is_ok(base64_get(span_str(text_of(object, member)), out));
}

static bool read_account(const json_t *j, struct store_account *a)
{
    const json_t *registration = json_object_get(j, "Registration");
    a->email = mem_strdup(text_of(j, "Email"));
    a->registration_uri = mem_strdup(text_of(registration, "uri"));
    a->key_type = KEY_EC256;
    for (size_t i = 0; i < KEY_NAMES; i++)
        if (strcmp(text_of(j, "KeyType"), key_names[i].name) == 0)
            a->key_type = key_names[i].type;
    return get_base64(j, "PrivateKey", &a->key_der) && a->key_der.len > 0 &&
           get_base64(j, "NextPrivateKey", &a->next_key_der);
}

static bool read_cert(const char *resolver, const json_t *j, struct store_cert *c)
{
    const json_t *domain = json_object_get(j, "domain");
    const json_t *sans = json_object_get(domain, "sans"), *san;
    size_t i;
    c->resolver = mem_strdup(resolver);
    c->main = mem_strdup(text_of(domain, "main"));
    c->sans = mem_zalloc((json_array_size(sans) + 1) * sizeof *c->sans);
    json_array_foreach((json_t *)sans, i, san)
    {
        if (!json_is_string(san))
            return false;
        c->sans[c->san_count++] = mem_strdup(json_string_value(san));
    }
    return c->main[0] && get_base64(j, "certificate", &c->chain_pem) && c->chain_pem.len &&
           get_base64(j, "key", &c->key_pem) && c->key_pem.len;
}

void store_free_account(struct store_account *a)
{
    free(a->email);
    free(a->registration_uri);
    buf_wipe_free(&a->key_der);
    buf_wipe_free(&a->next_key_der);
    *a = (struct store_account){0};
}

void store_free_cert(struct store_cert *c)
{
    for (uint32_t i = 0; i < c->san_count; i++)
        free(c->sans[i]);
    free(c->sans);
    free(c->resolver);
    free(c->main);
    buf_free(&c->chain_pem);
    buf_wipe_free(&c->key_pem);
    *c = (struct store_cert){0};
}

struct store_cert store_copy_cert(const struct store_cert *c)
{
    struct store_cert ret = {.resolver = mem_strdup(c->resolver),
                             .main = mem_strdup(c->main),
                             .sans = mem_zalloc((c->san_count + 1) * sizeof *ret.sans),
                             .san_count = c->san_count};
    for (uint32_t i = 0; i < c->san_count; i++)
        ret.sans[i] = mem_strdup(c->sans[i]);
    buf_put_span(&ret.chain_pem, buf_span(&c->chain_pem));
    buf_put_span(&ret.key_pem, buf_span(&c->key_pem));
    return ret;
}

static bool lists_name(const struct store_cert *c, const char *name)
{
    bool found = strcmp(c->main, name) == 0;
    for (uint32_t i = 0; i < c->san_count && !found; i++)
        found = strcmp(c->sans[i], name) == 0;
    return found;
}

/* Same resolver and set of names, whichever is the main one. */
static bool is_same(const struct store_cert *a, const struct store_cert *b)
{
    bool same = a->san_count == b->san_count && strcmp(a->resolver, b->resolver) == 0 &&
                lists_name(a, b->main);
    for (uint32_t i = 0; i < b->san_count && same; i++)
        same = lists_name(a, b->sans[i]);
    return same;
}

void store_certs_put(struct store_certs *certs, struct store_cert cert)
{
    for (uint32_t i = 0; i < certs->count; i++)
        if (is_same(&certs->items[i], &cert)) {
            store_free_cert(&certs->items[i]);
            certs->items[i] = cert;
            return;
        }
    certs->items = mem_grow(certs->items, (certs->count + 1) * sizeof *certs->items);
    certs->items[certs->count++] = cert;
}

void store_json_free(struct store_accounts *accounts, struct store_certs *certs)
{
    for (uint32_t i = 0; i < accounts->count; i++) {
        free(accounts->items[i].resolver);
        store_free_account(&accounts->items[i].account);
    }
    for (uint32_t i = 0; i < certs->count; i++)
        store_free_cert(&certs->items[i]);
    free(accounts->items);
    free(certs->items);
    *accounts = (struct store_accounts){0};
    *certs = (struct store_certs){0};
}

static struct result read_resolver(const char *resolver, const json_t *j, const char *path,
                                   struct store_accounts *accounts, struct store_certs *certs,
                                   struct why *why)
{
    const json_t *account = json_object_get(j, "Account");
    const json_t *list = json_object_get(j, "Certificates"), *item;
    size_t i;
    if (!json_is_object(j) || (account && !json_is_object(account) && !json_is_null(account)) ||
        (list && !json_is_array(list) && !json_is_null(list)))
        return why_fail(why, ERR_FORMAT, "%s: \"%s\" is not a resolver's section", path, resolver);
    if (json_is_object(account)) {
        accounts->items =
            mem_grow(accounts->items, (accounts->count + 1) * sizeof *accounts->items);
        memset(&accounts->items[accounts->count], 0, sizeof *accounts->items);
        accounts->items[accounts->count].resolver = mem_strdup(resolver);
        if (!read_account(account, &accounts->items[accounts->count++].account))
            return why_fail(why, ERR_FORMAT, "%s: the account of \"%s\" has no readable PrivateKey",
                            path, resolver);
    }
    certs->items =
        mem_grow(certs->items, (certs->count + json_array_size(list)) * sizeof *certs->items);
    json_array_foreach((json_t *)list, i, item)
    {
        struct store_cert *c = &certs->items[certs->count++];
        memset(c, 0, sizeof *c);
        if (!read_cert(resolver, item, c))
            return why_fail(why, ERR_FORMAT,
                            "%s: certificate %zu of \"%s\" lacks a domain, certificate or key",
                            path, i + 1, resolver);
    }
    return result_ok();
}

struct result store_json_read(const json_t *root, const char *path, struct store_accounts *accounts,
                              struct store_certs *certs, struct why *why)
{
    const char *resolver;
    json_t *j;
    if (!json_is_object(root))
        return why_fail(why, ERR_FORMAT, "%s: its top level is not a JSON object", path);
    json_object_foreach((json_t *)root, resolver, j)
    {
        struct result r = read_resolver(resolver, j, path, accounts, certs, why);
        if (!result_is_ok(r)) {
            store_json_free(accounts, certs);
            return r;
        }
    }
    return result_ok();
}

/* ---- writing -------------------------------------------------------------------------------- */

/* The object member, made when it is absent or of another kind. */
static json_t *object_in(json_t *parent, const char *member)
{
    json_t *j = json_object_get(parent, member);
    if (!json_is_object(j)) {
        must(json_object_set_new(parent, member, json_object()) == 0);
        j = json_object_get(parent, member);
    }
    return j;
}

static json_t *certificates_of(json_t *root, const char *resolver)
{
    json_t *section = object_in(root, resolver);
    json_t *list = json_object_get(section, "Certificates");
    if (!json_is_array(list)) {
        must(json_object_set_new(section, "Certificates", json_array()) == 0);
        list = json_object_get(section, "Certificates");
    }
    return list;
}

static void set_text(json_t *object, const char *member, const char *text)
{
    must(json_object_set_new(object, member, json_string(text)) == 0);
}

static void set_base64(json_t *object, const char *member, struct span bytes)
{
    struct buf text = {0};
    base64_put(&text, bytes);
    set_text(object, member, buf_cstr(&text));
    buf_wipe_free(&text);
}

void store_json_put_account(json_t *root, const char *resolver, const struct store_account *account)
{
    json_t *a = object_in(object_in(root, resolver), "Account");
    json_t *registration = object_in(a, "Registration");
    set_text(a, "Email", account->email);
    json_t *body = object_in(registration, "body");
    set_text(body, "status", "valid");
    if (account->email[0]) {
        char *contact = mem_printf("mailto:%s", account->email);
        must(json_object_set_new(body, "contact", json_pack("[s]", contact)) == 0);
        free(contact);
    }
    set_text(registration, "uri", account->registration_uri);
    set_base64(a, "PrivateKey", buf_span(&account->key_der));
    if (account->next_key_der.len)
        set_base64(a, "NextPrivateKey", buf_span(&account->next_key_der));
    else
        json_object_del(a, "NextPrivateKey");
    for (size_t i = 0; i < KEY_NAMES; i++)
        if (key_names[i].type == account->key_type)
            set_text(a, "KeyType", key_names[i].name);
    certificates_of(root, resolver);
}

static bool has_name(const json_t *domain, const char *name)
{
    const json_t *sans = json_object_get(domain, "sans"), *san;
    size_t i;
    if (strcmp(text_of(domain, "main"), name) == 0)
        return true;
    json_array_foreach((json_t *)sans, i, san)
    {
        if (json_is_string(san) && strcmp(json_string_value(san), name) == 0)
            return true;
    }
    return false;
}

/* Same set of names, whichever is the main one. */
static bool same_names(const json_t *item, const struct store_cert *cert)
{
    const json_t *domain = json_object_get(item, "domain");
    if (json_array_size(json_object_get(domain, "sans")) != cert->san_count ||
        !has_name(domain, cert->main))
        return false;
    for (uint32_t i = 0; i < cert->san_count; i++)
        if (!has_name(domain, cert->sans[i]))
            return false;
    return true;
}

bool store_json_has_cert(const json_t *root, const struct store_cert *cert)
{
    const json_t *list = json_object_get(json_object_get(root, cert->resolver), "Certificates");
    const json_t *item;
    size_t i;
    json_array_foreach((json_t *)list, i, item)
    {
        if (same_names(item, cert))
            return true;
    }
    return false;
}

void store_json_put_cert(json_t *root, const struct store_cert *cert)
{
    json_t *list = certificates_of(root, cert->resolver), *item = NULL;
    size_t i;
    json_array_foreach(list, i, item)
    {
        if (same_names(item, cert))
            break;
    }
    if (i == json_array_size(list)) {
        must(json_array_append_new(list, json_object()) == 0);
        item = json_array_get(list, i);
        set_text(item, "Store", "default");
    }
    json_t *domain = object_in(item, "domain");
    set_text(domain, "main", cert->main);
    json_object_del(domain, "sans");
    if (cert->san_count) {
        json_t *sans = json_array();
        for (i = 0; i < cert->san_count; i++)
            must(json_array_append_new(sans, json_string(cert->sans[i])) == 0);
        must(json_object_set_new(domain, "sans", sans) == 0);
    }
    set_base64(item, "certificate", buf_span(&cert->chain_pem));
    set_base64(item, "key", buf_span(&cert->key_pem));
}

void store_json_remove_cert(json_t *root, const struct store_cert *cert)
{
    json_t *list = json_object_get(json_object_get(root, cert->resolver), "Certificates");
    for (size_t i = json_array_size(list); i-- > 0;)
        if (same_names(json_array_get(list, i), cert))
            json_array_remove(list, i);
}

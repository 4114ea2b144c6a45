/* SPDX-License-Identifier: Apache-2.0 */
#include "control/store/store.h"

#include "base/log.h"
#include "control/store/store_impl.h"

#include <stdlib.h>

struct result store_open(const char *path, struct store **ret, struct why *why)
{
    size_t len = strlen(path);
    bool is_file = len >= 5 && strcmp(path + len - 5, ".json") == 0;
    return is_file ? store_file_open(path, ret, why) : store_lmdb_open(path, ret, why);
}

void store_close(struct store *s)
{
    if (s)
        s->ops->close(s);
}

const struct store_account *store_account(struct store *s, const char *resolver)
{
    return s->ops->account(s, resolver);
}

struct result store_put_account(struct store *s, const char *resolver,
                                const struct store_account *account, struct why *why)
{
    return s->ops->put_account(s, resolver, account, why);
}

const char *store_account_name(struct store *s, uint32_t index)
{
    return s->ops->account_name(s, index);
}

uint32_t store_cert_count(const struct store *s)
{
    return s->ops->cert_count(s);
}

const struct store_cert *store_cert_at(struct store *s, uint32_t index, struct why *why)
{
    return s->ops->cert_at(s, index, why);
}

struct result store_put_cert(struct store *s, const struct store_cert *cert, struct why *why)
{
    return s->ops->put_cert(s, cert, why);
}

struct result store_remove_cert(struct store *s, const struct store_cert *cert, struct why *why)
{
    return s->ops->remove_cert(s, cert, why);
}

bool store_has_cert(struct store *s, const struct store_cert *cert)
{
    return s->ops->has_cert(s, cert);
}

struct result store_begin(struct store *s, struct why *why)
{
    return s->ops->begin(s, why);
}

struct result store_end(struct store *s, bool keep, struct why *why)
{
    return s->ops->end(s, keep, why);
}

/* ---- copying -------------------------------------------------------------------------------- */

static struct result copy_account(struct store *from, struct store *to, const char *name,
                                  struct store_copied *ret, struct why *why)
{
    const struct store_account *account = store_account(from, name);
    if (!account) {
        ret->left_out++;
        return result_ok();
    }
    if (account->unreadable)
        return why_fail(why, ERR_STORE, "the account of \"%s\" cannot be read", name);
    TRY(store_put_account(to, name, account, why));
    ret->accounts++;
    return result_ok();
}

static struct result copy_accounts(struct store *from, struct store *to, struct store_copied *ret,
                                   struct why *why)
{
    const char *lent;
    for (uint32_t i = 0; (lent = store_account_name(from, i)); i++) {
        char *name = mem_strdup(lent);
        struct result r =
            store_account(to, name) ? result_ok() : copy_account(from, to, name, ret, why);
        free(name);
        TRY(r);
    }
    return result_ok();
}

static struct result copy_certs(struct store *from, struct store *to, struct store_copied *ret,
                                struct why *why)
{
    for (uint32_t i = 0; i < store_cert_count(from); i++) {
        struct why problem = {""};
        const struct store_cert *cert = store_cert_at(from, i, &problem);
        if (cert && store_has_cert(to, cert))
            continue;
        struct result r = cert ? store_put_cert(to, cert, &problem) : result_fail(ERR_FORMAT);
        if (r.code == ERR_FORMAT) {
            log_warn("%s%snot copied: %s", cert ? cert->main : "", cert ? ": " : "", problem.text);
            ret->left_out++;
        } else if (!result_is_ok(r)) {
            *why = problem;
            return r;
        } else {
            ret->certs++;
        }
    }
    return result_ok();
}

struct result store_copy(struct store *from, struct store *to, struct store_copied *ret,
                         struct why *why)
{
    struct store_copied copied = {0};
    TRY(store_begin(to, why));
    struct result r = copy_accounts(from, to, &copied, why);
    if (result_is_ok(r))
        r = copy_certs(from, to, &copied, why);
    bool keep = result_is_ok(r);
    struct result end = store_end(to, keep, keep ? why : NULL);
    TRY(r);
    TRY(end);
    *ret = copied;
    return result_ok();
}

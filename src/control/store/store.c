/* SPDX-License-Identifier: Apache-2.0 */
#include "control/store/store.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/must.h"
#include "control/store/store_impl.h"

#include <stdlib.h>

struct result store_open(const char *path, struct store **ret, struct why *why)
{
    size_t len = strlen(path);
    bool is_file = len >= 5 && strcmp(path + len - 5, ".json") == 0;
    TRY(is_file ? store_file_open(path, ret, why) : store_lmdb_open(path, ret, why));
    (*ret)->path = mem_strdup(path);
    return result_ok();
}

/* ---- written by another thread -------------------------------------------------------------- */

/* A file that is written whole each time costs by its size: the thread rests four times as long as
 * it wrote, up to a second. */
#define REST_TIMES  4
#define REST_MAX_NS NS_PER_S

static void item_free(struct store_item *item)
{
    if (item->put)
        item->put->item = NULL;
    store_free_cert(&item->cert);
    free(item);
}

static void move_items(struct list *from, struct list *to)
{
    struct list *node;
    while ((node = list_pop(from)))
        list_append(to, node);
}

static void run_writing(struct loop_job *job)
{
    struct store *s = LIST_ENTRY(job, struct store, job);
    uint64_t began_ns = clock_now_ns();
    s->ops->write(s, &s->writing);
    s->took_ns = clock_now_ns() - began_ns;
}

static void plan_writing(struct store *s)
{
    loop_timer_set(s->loop, &s->start, s->rest_until_ns);
}

static void start_writing(struct loop_timer *t)
{
    struct store *s = LIST_ENTRY(t, struct store, start);
    if (!loop_job_is_idle(&s->job))
        return; /* its end plans the next one */
    move_items(&s->filling, &s->writing);
    s->ops->lend(s);
    s->lent = true;
    loop_job_start(s->loop, &s->job);
}

static void stop_lending(struct store *s)
{
    if (s->lent)
        s->ops->take_back(s, &s->writing);
    s->lent = false;
}

void store_settle(struct store *s)
{
    if (!s->lent)
        return;
    loop_job_settle(s->loop, &s->job);
    stop_lending(s);
}

static void end_writing(struct loop_job *job)
{
    struct store *s = LIST_ENTRY(job, struct store, job);
    struct list written, *node;
    uint64_t rest_ns = s->took_ns * REST_TIMES;
    stop_lending(s);
    list_init(&written);
    move_items(&s->writing, &written);
    s->rest_until_ns = clock_now_ns() + (rest_ns < REST_MAX_NS ? rest_ns : REST_MAX_NS);
    if (!list_is_empty(&s->filling))
        plan_writing(s);
    while ((node = list_pop(&written))) {
        struct store_item *item = LIST_ENTRY(node, struct store_item, node);
        struct store_put *put = item->put;
        struct why why = item->why;
        item_free(item);
        if (put)
            put->done(put, why.text[0] ? &why : NULL);
        else if (why.text[0])
            log_warn("%s", why.text);
    }
}

/* At the end: what waits is written here and now. */
static void write_rest(struct store *s)
{
    struct list *node;
    store_settle(s);
    loop_job_drop(s->loop, &s->job);
    loop_timer_cancel(s->loop, &s->start);
    while ((node = list_pop(&s->writing)))
        item_free(LIST_ENTRY(node, struct store_item, node));
    if (!list_is_empty(&s->filling)) {
        s->ops->lend(s);
        s->ops->write(s, &s->filling);
        s->ops->take_back(s, &s->filling);
    }
    while ((node = list_pop(&s->filling))) {
        struct store_item *item = LIST_ENTRY(node, struct store_item, node);
        if (item->why.text[0])
            log_warn("%s", item->why.text);
        item_free(item);
    }
}

void store_put_cert_soon(struct store *s, struct loop *loop, struct store_put *put,
                         const struct store_cert *cert,
                         void (*done)(struct store_put *put, const struct why *failure))
{
    must((!s->loop || s->loop == loop) && !put->item);
    s->loop = loop;
    struct store_item *item = mem_zalloc(sizeof *item);
    item->cert = store_copy_cert(cert);
    item->put = put;
    put->item = item;
    put->done = done;
    list_init(&item->node);
    list_append(&s->filling, &item->node);
    if (loop_job_is_idle(&s->job))
        plan_writing(s);
}

void store_put_cancel(struct store_put *put)
{
    if (put->item)
        put->item->put = NULL;
    put->item = NULL;
}

/* ---- interface ------------------------------------------------------------------------------ */

void store_init(struct store *s, const struct store_ops *ops)
{
    *s = (struct store){.ops = ops};
    list_init(&s->filling);
    list_init(&s->writing);
    loop_job_init(&s->job, run_writing, end_writing);
    loop_timer_init(&s->start, start_writing);
}

void store_close(struct store *s)
{
    if (!s)
        return;
    if (s->loop)
        write_rest(s);
    free(s->path);
    s->ops->close(s);
}

const char *store_path(const struct store *s)
{
    return s->path;
}

const struct store_account *store_account(struct store *s, const char *resolver)
{
    return s->ops->account(s, resolver);
}

struct result store_put_account(struct store *s, const char *resolver,
                                const struct store_account *account, struct why *why)
{
    store_settle(s);
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
    store_settle(s);
    return s->ops->put_cert(s, cert, why);
}

struct result store_remove_cert(struct store *s, const struct store_cert *cert, struct why *why)
{
    store_settle(s);
    return s->ops->remove_cert(s, cert, why);
}

bool store_has_cert(struct store *s, const struct store_cert *cert)
{
    store_settle(s);
    return s->ops->has_cert(s, cert);
}

struct result store_begin(struct store *s, struct why *why)
{
    store_settle(s);
    return s->ops->begin(s, why);
}

struct result store_end(struct store *s, bool keep, struct why *why)
{
    return s->ops->end(s, keep, why);
}

/* ---- the index ------------------------------------------------------------------------------ */

bool store_has_index(const struct store *s)
{
    return s->ops->places != NULL;
}

struct result store_places(struct store *s, struct span name,
                           struct store_place ret[STORE_PLACES_MAX], uint32_t *ret_count,
                           struct why *why)
{
    return s->ops->places(s, name, ret, ret_count, why);
}

struct result store_walk(struct store *s, struct buf *last, uint32_t max, store_each_name *each,
                         void *arg, bool *ret_end, struct why *why)
{
    return s->ops->walk(s, last, max, each, arg, ret_end, why);
}

struct result store_read(struct store *s, uint64_t id, struct buf *ret_chain, struct buf *ret_key,
                         struct why *why)
{
    return s->ops->read(s, id, ret_chain, ret_key, why);
}

const struct store_cert *store_cert_of(struct store *s, uint64_t id, struct why *why)
{
    return s->ops->cert_of(s, id, why);
}

struct result store_find(struct store *s, const struct store_cert *cert, uint64_t *ret_id)
{
    return s->ops->find(s, cert, ret_id);
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

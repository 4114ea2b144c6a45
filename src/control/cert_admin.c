/* SPDX-License-Identifier: Apache-2.0 */
#include "control/cert_admin.h"

#include "base/clock.h"
#include "base/list.h"
#include "base/log.h"
#include "base/secret.h"
#include "control/cert_plan.h"

#include <stdlib.h>

struct cert_admin {
    struct cert_admin_options o;
    struct resolver_set *resolvers;
    struct list tasks, plans;
    uint64_t last_task;
};

/* A plan that is being made. */
struct planning {
    struct list node;
    struct cert_admin *admin;
    uint64_t id;
    struct cert_plan *plan;
};

/* A request to a CA. */
struct task {
    struct list node;
    struct cert_admin *admin;
    uint64_t id;
    struct resolver *resolver;
    uint32_t ca; /* which of the resolver's is asked */
    struct acme_call *call;
    struct buf der; /* certificate to revoke */
    uint32_t reason;
    char *name;
};

static json_t *failure(const char *text)
{
    return json_pack("{s:b, s:s}", "ok", 0, "error", text);
}

struct cert_admin *cert_admin_create(const struct cert_admin_options *options)
{
    struct cert_admin *a = mem_zalloc(sizeof *a);
    a->o = *options;
    list_init(&a->tasks);
    list_init(&a->plans);
    return a;
}

static void task_free(struct task *t)
{
    list_remove(&t->node);
    t->resolver->running--;
    buf_free(&t->der);
    free(t->name);
    free(t);
}

void cert_admin_destroy(struct cert_admin *a)
{
    if (!a)
        return;
    while (!list_is_empty(&a->tasks)) {
        struct task *t = LIST_ENTRY(a->tasks.next, struct task, node);
        acme_call_cancel(t->call);
        task_free(t);
    }
    while (!list_is_empty(&a->plans)) {
        struct planning *p = LIST_ENTRY(list_pop(&a->plans), struct planning, node);
        cert_plan_cancel(p->plan);
        free(p);
    }
    free(a);
}

void cert_admin_use(struct cert_admin *a, struct resolver_set *resolvers)
{
    a->resolvers = resolvers;
}

/* ---- plan ----------------------------------------------------------------------------------- */

static json_t *names_of(const char *const *names, uint32_t count)
{
    json_t *list = json_array();
    for (uint32_t i = 0; i < count; i++)
        json_array_append_new(list, json_string(names[i]));
    return list;
}

static void on_planned(void *arg, json_t *answer)
{
    struct planning *p = arg;
    struct cert_admin *a = p->admin;
    uint64_t id = p->id;
    list_remove(&p->node);
    free(p);
    a->o.done(a->o.arg, id, answer);
}

void cert_admin_plan(struct cert_admin *a, uint64_t *ret_task)
{
    struct planning *p = mem_zalloc(sizeof *p);
    struct cert_plan_options options = {.loop = a->o.loop,
                                        .scheduler = a->o.scheduler,
                                        .state = a->o.state,
                                        .done = on_planned,
                                        .arg = p};
    p->admin = a;
    p->id = *ret_task = ++a->last_task;
    list_init(&p->node);
    list_append(&a->plans, &p->node);
    p->plan = cert_plan_start(&options);
}

/* ---- renew ---------------------------------------------------------------------------------- */

static const struct want *find_want(struct cert_admin *a, const char *name)
{
    const struct wants *wants = scheduler_wants(a->o.scheduler);
    for (uint32_t i = 0; i < wants->count; i++)
        for (uint32_t k = 0; k < wants->items[i].count; k++)
            if (!strcasecmp(wants->items[i].names[k], name))
                return &wants->items[i];
    return NULL;
}

json_t *cert_admin_renew(struct cert_admin *a, const char *name, bool force)
{
    const struct want *w = find_want(a, name);
    struct why why;
    if (!w)
        return failure("no certificate is configured to have this name");
    if (!scheduler_renew(a->o.scheduler, w, force, &why))
        return failure(why.text);
    log_info("%s: a certificate is obtained anew: asked through the admin socket%s", w->label,
             force ? ", by force" : "");
    return json_pack("{s:b, s:o}", "ok", 1, "names", names_of(w->names, w->count));
}

/* ---- continue ------------------------------------------------------------------------------- */

static bool has_name(const struct want *w, const char *name)
{
    for (uint32_t i = 0; i < w->count; i++)
        if (!strcasecmp(w->names[i], name))
            return true;
    return false;
}

static json_t *nothing_waits(struct cert_admin *a, const char *name)
{
    const struct want *w = name[0] ? find_want(a, name) : NULL;
    struct why why;
    if (!name[0])
        return failure("no order waits for a person");
    if (!w)
        return failure("no certificate is configured to have this name");
    if (!w->order)
        return failure("no order of this name is at work");
    (void)why_fail(&why, ERR_BUSY, "the order of this name does not wait for a person: it is %s",
                   order_step_text(order_at(w->order)));
    return failure(why.text);
}

/* Does an order of this name ("" = any) wait? */
static bool waits(const struct want *w, const char *name)
{
    return w->order && order_waits_for_person(w->order) && (!name[0] || has_name(w, name));
}

/* The first order that waits, and the main names of all that do. */
static const struct want *find_waiting(struct cert_admin *a, const char *name, struct buf *ret_list,
                                       uint32_t *ret_count)
{
    const struct wants *wants = scheduler_wants(a->o.scheduler);
    const struct want *found = NULL;
    *ret_count = 0;
    for (uint32_t i = 0; i < wants->count; i++) {
        const struct want *w = &wants->items[i];
        if (!waits(w, name))
            continue;
        found = found ? found : w;
        buf_printf(ret_list, "%s%s", (*ret_count)++ ? ", " : "", w->names[0]);
    }
    return found;
}

/* One that was told already waits still, until its values are seen: so all of the name are. */
static void continue_all(struct cert_admin *a, const char *name)
{
    const struct wants *wants = scheduler_wants(a->o.scheduler);
    for (uint32_t i = 0; i < wants->count; i++)
        if (waits(&wants->items[i], name))
            (void)order_continue(wants->items[i].order);
}

static json_t *go_on(struct cert_admin *a, const char *name, uint32_t *ret_count)
{
    struct buf list = {0};
    struct why why;
    json_t *answer;
    const struct want *w = find_waiting(a, name, &list, ret_count);
    if (!w) {
        answer = nothing_waits(a, name);
    } else if (*ret_count > 1 && !name[0]) {
        (void)why_fail(&why, ERR_BUSY,
                       "%u orders wait for a person, say which (`ferrule cert continue NAME`): "
                       "%.400s",
                       *ret_count, buf_cstr(&list));
        answer = failure(why.text);
    } else {
        continue_all(a, name);
        answer = json_pack("{s:b, s:o}", "ok", 1, "names", names_of(w->names, w->count));
    }
    buf_free(&list);
    return answer;
}

json_t *cert_admin_continue(struct cert_admin *a, const char *name)
{
    uint32_t count;
    return go_on(a, name, &count);
}

void cert_admin_enter(struct cert_admin *a)
{
    uint32_t count;
    json_t *answer = go_on(a, "", &count);
    const char *problem = json_string_value(json_object_get(answer, "error"));
    /* Whoever makes some room on the screen is not to be told about orders. */
    if (problem)
        log_line(count ? LOG_LEVEL_WARN : LOG_LEVEL_DEBUG, "%s", problem);
    json_decref(answer);
}

/* ---- import, export ------------------------------------------------------------------------- */

static struct resolver *choose_resolver(struct cert_admin *a, const char *name, struct why *why)
{
    struct resolver_set *set = a->resolvers;
    bool given = name && name[0];
    struct resolver *r = given ? resolver_find(set, name) : set->count == 1 ? &set->items[0] : NULL;
    if (r && !r->store)
        *why = r->problem;
    else if (!r)
        (void)!result_is_ok(
            why_fail(why, ERR_NOT_FOUND,
                     given ? "there is no such resolver" : "say which: --resolver NAME"));
    return r && r->store ? r : NULL;
}

/* A chain and a key that fit together, as they are stored. */
static struct result check_pair(const char *chain_pem, const char *key_pem, struct x509 *ret_leaf,
                                struct buf *ret_chain, struct buf *ret_key, struct why *why)
{
    struct buf chain = {0};
    struct key *key = NULL;
    TRY(x509_chain_from_pem(span_str(chain_pem), &chain, ret_leaf, why));
    struct result r = key_from_pem(span_str(key_pem), &key, why);
    if (result_is_ok(r))
        r = x509_check_key(ret_leaf, key, why);
    if (result_is_ok(r) && ret_leaf->not_after_s < clock_wall_s())
        r = why_fail(why, ERR_MISMATCH, "the certificate has expired");
    if (result_is_ok(r) && !ret_leaf->name_count)
        r = why_fail(why, ERR_FORMAT, "the certificate has no name of a host");
    if (result_is_ok(r))
        r = x509_chain_to_pem(buf_span(&chain), ret_chain);
    if (result_is_ok(r))
        r = key_to_pem(key, ret_key);
    key_free(key);
    buf_free(&chain);
    return r;
}

json_t *cert_admin_import(struct cert_admin *a, const char *resolver, const char *chain,
                          const char *key)
{
    struct why why;
    struct x509 leaf = {0};
    struct store_cert cert = {0};
    json_t *answer;
    struct resolver *r = choose_resolver(a, resolver, &why);
    if (!r)
        return failure(why.text);
    struct result result = check_pair(chain, key, &leaf, &cert.chain_pem, &cert.key_pem, &why);
    if (result_is_ok(result)) {
        cert.resolver = (char *)r->config->name;
        cert.main = leaf.names[0];
        cert.sans = leaf.names + 1;
        cert.san_count = leaf.name_count - 1;
        result = store_put_cert(r->store, &cert, &why);
    }
    if (result_is_ok(result))
        result = a->o.put(a->o.arg, &cert, &why);
    if (result_is_ok(result)) {
        log_info("%s: a certificate was imported for resolver %s", leaf.names[0], r->config->name);
        answer = json_pack("{s:b, s:o, s:I}", "ok", 1, "names",
                           names_of((const char *const *)leaf.names, leaf.name_count), "notAfter",
                           (json_int_t)leaf.not_after_s);
    } else {
        answer = failure(why.text);
    }
    x509_free(&leaf);
    buf_free(&cert.chain_pem);
    buf_wipe_free(&cert.key_pem);
    return answer;
}

/* The candidates of one name that are looked at. */
#define RANKS_MAX 64

/* The best certificate for a name; NULL when only the default one is there. */
static const struct publish_candidate *find_cert(struct cert_admin *a, const char *name)
{
    struct publish_rank rank;
    if (!publish_state_explain(a->o.certificates, name, clock_wall_s(), &rank, 1) ||
        rank.candidate->source == PUBLISH_SOURCE_DEFAULT)
        return NULL;
    return rank.candidate;
}

/* The best one that clients get: files of a better one may be unusable. NULL, and *ret_why says
 * why, when there is none. */
static const struct publish_candidate *find_served(struct cert_admin *a, const char *name,
                                                   const char **ret_why)
{
    struct publish_rank ranks[RANKS_MAX];
    uint32_t count =
        publish_state_explain(a->o.certificates, name, clock_wall_s(), ranks, RANKS_MAX);
    *ret_why = "there is no certificate for this name";
    for (uint32_t i = 0; i < count; i++) {
        if (ranks[i].candidate->source == PUBLISH_SOURCE_DEFAULT)
            continue;
        if (ranks[i].served)
            return ranks[i].candidate;
        *ret_why = "the certificate's files cannot be used: the log says why";
    }
    return NULL;
}

json_t *cert_admin_export(struct cert_admin *a, const char *name)
{
    const char *none;
    const struct publish_candidate *c = find_served(a, name, &none);
    struct buf chain_der = {0}, key_der = {0}, chain = {0}, key_pem = {0};
    struct key *key = NULL;
    struct why why = {"the certificate cannot be written"};
    if (!c)
        return failure(none);
    if (publish_state_read(a->o.certificates, c, &chain_der, &key_der) != PUBLISH_READ_DONE)
        return failure("the certificate's files are being changed: try again");
    struct result r = x509_chain_to_pem(buf_span(&chain_der), &chain);
    if (result_is_ok(r))
        r = key_from_der(buf_span(&key_der), &key, &why);
    buf_free(&chain_der);
    buf_wipe_free(&key_der);
    if (result_is_ok(r))
        r = key_to_pem(key, &key_pem);
    key_free(key);
    json_t *answer = result_is_ok(r) ? json_pack("{s:b, s:s, s:s}", "ok", 1, "certificate",
                                                 buf_cstr(&chain), "key", buf_cstr(&key_pem))
                                     : failure(why.text);
    buf_free(&chain);
    buf_wipe_free(&key_pem);
    log_info("%s: certificate and key were exported through the admin socket", name);
    return answer;
}

/* ---- requests to CAs ------------------------------------------------------------------------ */

static struct task *task_start(struct cert_admin *a, struct resolver *r, const char *name)
{
    struct task *t = mem_zalloc(sizeof *t);
    t->admin = a;
    t->id = ++a->last_task;
    t->resolver = r;
    t->name = mem_strdup(name);
    r->running++; /* keeps it over a reload */
    list_init(&t->node);
    list_append(&a->tasks, &t->node);
    return t;
}

static void task_end(struct task *t, json_t *answer)
{
    struct cert_admin *a = t->admin;
    uint64_t id = t->id;
    task_free(t);
    a->o.done(a->o.arg, id, answer);
}

static const struct {
    const char *name;
    uint32_t code;
} reasons[] = {
    {"", 0},           {"unspecified", 0},         {"keyCompromise", 1}, {"affiliationChanged", 3},
    {"superseded", 4}, {"cessationOfOperation", 5}};

static bool find_reason(const char *name, uint32_t *ret)
{
    for (size_t i = 0; i < sizeof reasons / sizeof *reasons; i++)
        if (!strcasecmp(reasons[i].name, name)) {
            *ret = reasons[i].code;
            return true;
        }
    return false;
}

static void ask_to_revoke(struct task *t);

static void on_revoked(void *arg, const struct acme_answer *answer)
{
    struct task *t = arg;
    struct cert_admin *a = t->admin;
    struct why why;
    t->call = NULL;
    if (answer->class != ACME_OK && t->ca + 1 < t->resolver->ca_count) {
        t->ca++; /* which of several CAs made it is not known */
        ask_to_revoke(t);
        return;
    }
    if (answer->class != ACME_OK) {
        task_end(t, failure(answer->text));
        return;
    }
    log_warn("%s: the certificate was revoked: asked through the admin socket", t->name);
    publish_state_revoked(a->o.certificates, buf_span(&t->der));
    const struct want *w = find_want(a, t->name);
    bool again = w && scheduler_renew(a->o.scheduler, w, true, &why);
    task_end(t, json_pack("{s:b, s:b}", "ok", 1, "ordered", again));
}

static void ask_to_revoke(struct task *t)
{
    t->call =
        acme_revoke(t->resolver->cas[t->ca].acme, buf_span(&t->der), t->reason, on_revoked, t);
}

json_t *cert_admin_revoke(struct cert_admin *a, const char *name, const char *reason,
                          uint64_t *ret_task)
{
    const struct publish_candidate *c = find_cert(a, name);
    uint32_t code;
    if (!find_reason(reason, &code))
        return failure("the reason must be unspecified, keyCompromise, affiliationChanged, "
                       "superseded or cessationOfOperation");
    if (!c || c->source != PUBLISH_SOURCE_ACME)
        return failure("no certificate from a CA serves this name");
    struct resolver *r = resolver_find(a->resolvers, c->origin);
    if (!r || !r->cas[0].acme)
        return failure(r ? r->problem.text : "its resolver is not configured any more");
    struct task *t = task_start(a, r, c->leaf.name_count ? c->leaf.names[0] : name);
    struct reader in = reader_of(buf_span(&c->chain));
    buf_put_span(&t->der, reader_bytes(&in, reader_be(&in, 3)));
    t->reason = code;
    ask_to_revoke(t);
    *ret_task = t->id;
    return NULL;
}

static void on_rolled(void *arg, const struct acme_answer *answer)
{
    struct task *t = arg;
    if (answer->class == ACME_OK)
        task_end(t, json_pack("{s:b, s:s}", "ok", 1, "resolver", t->resolver->config->name));
    else
        task_end(t, failure(answer->text));
}

json_t *cert_admin_roll_key(struct cert_admin *a, const char *resolver, uint64_t *ret_task)
{
    struct why why;
    struct resolver *r = choose_resolver(a, resolver, &why);
    if (!r)
        return failure(why.text);
    if (!r->cas[0].acme)
        return failure(r->problem.text);
    if (r->running)
        return failure("orders of this resolver are at work, and their answers to challenges hang "
                       "on the account's key: try again when they have ended");
    struct task *t = task_start(a, r, "");
    if (!acme_roll_key(r->cas[0].acme, on_rolled, t)) {
        task_free(t);
        return failure("that is being done already");
    }
    *ret_task = t->id;
    return NULL;
}

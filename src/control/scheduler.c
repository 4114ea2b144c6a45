/* SPDX-License-Identifier: Apache-2.0 */
#include "control/scheduler.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/must.h"
#include "control/learnt.h"

#include <stdio.h>
#include <stdlib.h>

#define ORDERS_MAX      16   /* running at once */
#define SLEEP_MAX_S     600  /* the wall clock may be set meanwhile */
#define CLEANUP_RETRY_S 3600 /* for TXT values that a provider did not remove */
#define RETRY_MIN_S     60
#define DISK_RETRY_S    10 /* our own disk: no CA is asked */
#define CLOCK_SLACK_S   60 /* a smaller step back of the wall clock changes nothing */
#define RETRY_CAP_MIN_S 600
#define REHEARSE_FAILURES                                                                          \
    2 /* in a row, before an order is tried at the CA for rehearsals first                         \
       */
#define NEXT_CA_S 1

/* One order at work: of a want, or of names that are not configured any more. */
struct running {
    struct list node;
    struct scheduler *s;
    struct want *want; /* NULL: a stray */
    struct resolver *resolver;
    struct order *order;
    char id[ORDER_ID_LEN + 1];
};

struct scheduler {
    struct scheduler_options o;
    struct wants wants;
    struct list running;
    uint32_t running_count;
    struct loop_timer timer;
    int64_t swept_s; /* wall time of the last sweep */
    struct ari_poller *ari;
    bool started;
};

static void sweep(struct scheduler *s);
static void on_ari(void *arg, const char *want_id, const struct ari *ari, bool changed);

static void wake_at(struct scheduler *s, int64_t wall_s)
{
    int64_t wait_s = wall_s - clock_wall_s();
    if (wait_s > SLEEP_MAX_S)
        wait_s = SLEEP_MAX_S;
    uint64_t wait_ns = wait_s > 0 ? (uint64_t)wait_s * NS_PER_S : 0;
    loop_timer_set(s->o.loop, &s->timer, clock_now_ns() + wait_ns);
}

static void timer_fired(struct loop_timer *t)
{
    sweep(LIST_ENTRY(t, struct scheduler, timer));
}

/* ---- orders -----------------------------------------------------------------------------------
 */

static void on_published(void *arg, const struct store_cert *cert)
{
    struct running *r = arg;
    r->s->o.publish(r->s->o.arg, cert);
}

static void on_finished(void *arg, const struct order_result *result)
{
    struct running *r = arg;
    struct scheduler *s = r->s;
    struct want *w = r->want;
    list_remove(&r->node);
    s->running_count--;
    r->resolver->running--;
    free(r);
    if (w) {
        w->order = NULL;
        w->next_s = 0;
        w->asked = w->asked && result->rehearsed;
        w->forced = w->forced && w->asked;
        w->leftovers = result->leftovers;
        w->unfinished = result->unfinished;
        /* The ledger says how long to wait; should it not be writable, this much in any case. */
        bool others = w->ca + 1 < w->resolver->ca_count && !result->unfinished;
        w->rehearsed = result->rehearsed;
        w->hold_s = result->ok || result->cleanup_only || result->rehearsed ? 0
                    : result->disk ? clock_wall_s() + DISK_RETRY_S
                    : others       ? clock_wall_s() + NEXT_CA_S
                                   : clock_wall_s() + RETRY_MIN_S;
        w->cleanup_s = clock_wall_s() + CLEANUP_RETRY_S;
    }
    wake_at(s, 0);
}

static uint32_t retry_cap(const struct want *w)
{
    if (!w || !w->have)
        return 0;
    int64_t interval = w->renewal.interval_s;
    return interval > RETRY_CAP_MIN_S ? (uint32_t)interval : RETRY_CAP_MIN_S;
}

/* In the window that the CA suggests; a replacement then costs no budget (RFC 9773). */
static bool is_suggested(const struct want *w)
{
    return w->have && w->ari && w->ari->chosen_s && w->ari->start_s <= clock_wall_s();
}

/* Only the CA that suggested knows the certificate. */
static bool is_replaced(const struct want *w)
{
    return is_suggested(w) && w->ari->ca == w->ca && !w->trial;
}

static struct running *start(struct scheduler *s, struct want *w, struct resolver *resolver,
                             const char *const *names, uint32_t count, const char *id,
                             enum order_mode mode)
{
    struct running *r = mem_zalloc(sizeof *r);
    struct order_env env = {.loop = s->o.loop,
                            .state = s->o.state,
                            .ledger = s->o.ledger,
                            .challenges = s->o.challenges,
                            .ca = w ? w->ca : 0,
                            .trial = w && w->trial,
                            .replaces = w && is_replaced(w) ? w->ari->id : NULL,
                            .budget = w && w->forced ? 0 : s->o.config->duplicate_budget,
                            .retry_cap_s = retry_cap(w),
                            .publish = on_published,
                            .finished = on_finished,
                            .arg = r};
    r->s = s;
    r->want = w;
    r->resolver = resolver;
    memcpy(r->id, id, ORDER_ID_LEN);
    list_init(&r->node);
    list_append(&s->running, &r->node);
    s->running_count++;
    resolver->running++;
    r->order = order_start(&env, resolver, names, count, id, mode);
    if (w)
        w->order = r->order;
    return r;
}

/* ---- what is due ------------------------------------------------------------------------------
 */

/* The ledger counts by CA: an id of its own for each but the first. */
static void ledger_at(const struct scheduler *s, const struct want *w, uint32_t ca,
                      struct ledger_entry *ret)
{
    char id[ORDER_ID_LEN + 1];
    const struct config_resolver *c = w->resolver->config;
    memcpy(id, w->id, sizeof id);
    if (ca)
        order_id_make(c->name, w->resolver->cas[ca].url, w->names, w->count, id);
    struct ledger_key key = {id, c->name, w->label, w->resolver->fingerprint};
    ledger_read(s->o.ledger, &key, clock_wall_s(), ret);
}

void scheduler_ledger(const struct scheduler *s, const struct want *w, struct ledger_entry *ret)
{
    ledger_at(s, w, 0, ret);
}

int64_t scheduler_due_s(const struct want *w)
{
    int64_t suggested_s =
        w->ari ? ari_due_s(w->ari, w->not_before_s, w->not_after_s, &w->renewal) : 0;
    return suggested_s ? suggested_s : w->renewal.due_s;
}

/* May this CA be asked? Else when, and why not. *ret_next: the next CA may be asked instead. */
static bool ca_allows(struct scheduler *s, const struct want *w, uint32_t ca, int64_t now_s,
                      int64_t *ret_at_s, bool *ret_next, struct ledger_entry *e, struct why *why)
{
    const struct resolver_ca *r = &w->resolver->cas[ca];
    ledger_at(s, w, ca, e);
    *ret_next = e->failures && e->is_of_ca;
    if (r->hold_until_s > now_s) {
        *ret_at_s = r->hold_until_s;
        return result_is_ok(why_fail(why, ERR_LIMIT, "the CA asks everybody to wait"));
    }
    uint32_t budget = is_suggested(w) && w->ari->ca == ca ? 0 : s->o.config->duplicate_budget;
    return ledger_allows(e, budget, now_s, ret_at_s, why);
}

/* Failures that a rehearsal can meet as well. */
static bool wants_rehearsal(const struct want *w, const struct ledger_entry *e)
{
    static const enum acme_class met[] = {ACME_MALFORMED, ACME_UNAUTHORIZED, ACME_CAA,
                                          ACME_DNS,       ACME_CONNECTION,   ACME_REJECTED};
    if (e->failures < REHEARSE_FAILURES || !w->resolver->staging.acme || w->rehearsed)
        return false;
    for (size_t i = 0; i < sizeof met / sizeof met[0]; i++)
        if (!strcmp(e->class, problem_class_name(met[i])))
            return true;
    return false;
}

/* Chooses the first CA that may be asked now; one is passed over only when it has failed. An order
 * that is to be taken up again has its CA already. */
static bool find_ca(struct scheduler *s, struct want *w, int64_t now_s)
{
    w->trial = false;
    w->next_s = INT64_MAX;
    uint32_t first = w->unfinished && w->ca < w->resolver->ca_count ? w->ca : 0;
    for (uint32_t ca = first; ca < w->resolver->ca_count; ca++) {
        struct ledger_entry e;
        struct why why;
        int64_t at_s = now_s;
        bool next;
        w->ca = ca;
        if (ca_allows(s, w, ca, now_s, &at_s, &next, &e, &why)) {
            w->trial = ca == 0 && !w->unfinished && wants_rehearsal(w, &e);
            w->waiting.text[0] = 0;
            return true;
        }
        if (at_s < w->next_s) {
            w->next_s = at_s;
            w->waiting = why;
        }
        if (!next || w->unfinished)
            break;
    }
    return false;
}

/* A certificate that was obtained within the ledger's window and is revoked already: what revokes
 * it may do so again. */
static bool is_revoked_again(struct scheduler *s, struct want *w, int64_t now_s)
{
    struct ledger_entry e;
    ledger_at(s, w, w->ca < w->resolver->ca_count ? w->ca : 0, &e);
    if (!e.cert_count)
        return false;
    w->next_s = e.certs[e.cert_count - 1] + ledger_backoff_s(e.cert_count);
    if (w->next_s <= now_s)
        return false;
    snprintf(w->waiting.text, sizeof w->waiting.text,
             "the certificate is revoked, and %u for these names were obtained in the last 168 "
             "hours",
             e.cert_count);
    return true;
}

/* May the want's order start now? Else next_s and `waiting` tell. */
static bool is_due(struct scheduler *s, struct want *w, int64_t now_s)
{
    w->waiting.text[0] = 0;
    bool replaced = w->have && w->revoked && !w->unfinished && !w->asked;
    if (replaced && is_revoked_again(s, w, now_s))
        return false;
    if (w->have && !w->unfinished && !w->asked && !replaced && scheduler_due_s(w) > now_s) {
        w->next_s = scheduler_due_s(w);
        return false;
    }
    if (!w->resolver->store) {
        w->next_s = now_s + RESOLVER_STORE_AGAIN_S;
        w->waiting = w->resolver->problem;
        return false;
    }
    if (w->forced && w->asked)
        return true;
    if (!find_ca(s, w, now_s))
        return false;
    if (w->hold_s > now_s && w->hold_s <= now_s + RETRY_MIN_S) {
        w->next_s = w->hold_s;
        return false;
    }
    w->next_s = now_s;
    return true;
}

static void sweep_cleanups(struct scheduler *s, int64_t now_s, int64_t *next_s)
{
    for (uint32_t i = 0; i < s->wants.count; i++) {
        struct want *w = &s->wants.items[i];
        if (w->order || !w->leftovers)
            continue;
        if (w->cleanup_s <= now_s)
            start(s, w, w->resolver, w->names, w->count, w->id, ORDER_MODE_CLEAN);
        else if (w->cleanup_s < *next_s)
            *next_s = w->cleanup_s;
    }
}

/* First the names without a certificate, then renewals. */
static void sweep_wants(struct scheduler *s, int64_t now_s, bool have, int64_t *next_s)
{
    for (uint32_t i = 0; i < s->wants.count; i++) {
        struct want *w = &s->wants.items[i];
        if (w->order || w->have != have)
            continue;
        if (w->next_s <= now_s && s->running_count >= ORDERS_MAX)
            continue; /* the end of an order sweeps again */
        if (w->next_s <= now_s && is_due(s, w, now_s))
            start(s, w, w->resolver, w->names, w->count, w->id, ORDER_MODE_OBTAIN);
        else if (w->next_s < *next_s)
            *next_s = w->next_s;
    }
}

/* The CA that is asked for suggestions; NULL = it cannot be asked. */
static struct acme *client_of(const struct want *w)
{
    return w->resolver->cas[w->ari->ca < w->resolver->ca_count ? w->ari->ca : 0].acme;
}

/* Asks CAs what they suggest for certificates that we have. */
static void sweep_ari(struct scheduler *s, int64_t now_s, int64_t *next_s)
{
    for (uint32_t i = 0; i < s->wants.count; i++) {
        struct want *w = &s->wants.items[i];
        if (!w->have || !w->ari || w->order || w->not_after_s < now_s || !client_of(w))
            continue;
        if (w->ari->poll_s > now_s + ARI_POLL_MAX_S)
            w->ari->poll_s = now_s; /* by a clock that was set back since */
        if (w->ari->poll_s > now_s)
            *next_s = w->ari->poll_s < *next_s ? w->ari->poll_s : *next_s;
        else if (!ari_poller_ask(s->ari, client_of(w), w->id, w->label, w->ari))
            return; /* the end of a question sweeps again */
    }
}

static void on_ari(void *arg, const char *want_id, const struct ari *ari, bool changed)
{
    struct scheduler *s = arg;
    struct want *w = wants_find(&s->wants, want_id);
    if (w && w->ari && !strcmp(w->ari->id, ari->id)) {
        *w->ari = *ari;
        /* Which of several CAs made the certificate is not known: one that does not know it passes
         * the question on. */
        if (!ari->chosen_s && w->ari->ca + 1u < w->resolver->ca_count) {
            w->ari->ca++;
            w->ari->poll_s = clock_wall_s();
        }
        w->next_s = changed ? 0 : w->next_s;
    }
    wake_at(s, 0);
}

/* The clock was set back: times that were planned by it are planned again. */
static void plan_anew(struct scheduler *s, int64_t now_s)
{
    for (uint32_t i = 0; i < s->wants.count; i++) {
        struct want *w = &s->wants.items[i];
        w->next_s = 0;
        if (w->cleanup_s > now_s + CLEANUP_RETRY_S)
            w->cleanup_s = now_s + CLEANUP_RETRY_S;
        for (uint32_t k = 0; k < w->resolver->ca_count; k++)
            w->resolver->cas[k].hold_until_s = 0;
    }
}

static void sweep(struct scheduler *s)
{
    int64_t now_s = clock_wall_s();
    int64_t next_s = now_s + SLEEP_MAX_S;
    if (now_s + CLOCK_SLACK_S < s->swept_s)
        plan_anew(s, now_s);
    s->swept_s = now_s;
    sweep_cleanups(s, now_s, &next_s);
    sweep_wants(s, now_s, false, &next_s);
    sweep_wants(s, now_s, true, &next_s);
    sweep_ari(s, now_s, &next_s);
    wake_at(s, next_s > now_s ? next_s : now_s + 1);
}

/* ---- what the journal has ----------------------------------------------------------------------
 */

static void warn_of_orphans(const struct order_record *r)
{
    for (uint32_t i = 0; i < r->txt_count; i++)
        if (r->txts[i].phase != ORDER_TXT_PLANNED)
            log_warn("%s: the TXT value %s at %s cannot be removed: resolver %s is not configured "
                     "any more",
                     r->names[0], r->txts[i].value, r->txts[i].fqdn ? r->txts[i].fqdn : "?",
                     r->resolver);
}

static bool is_running(const struct scheduler *s, const char *id)
{
    for (const struct list *n = s->running.next; n != &s->running; n = n->next)
        if (!strcmp(LIST_ENTRY(n, struct running, node)->id, id))
            return true;
    return false;
}

static void take_up(struct scheduler *s, const char *id)
{
    struct order_record r;
    if (is_running(s, id))
        return;
    struct want *w = wants_find(&s->wants, id);
    if (!result_is_ok(order_journal_get(s->o.state, id, &r))) {
        log_error("an unfinished order in the journal cannot be read: a TXT value may be left");
        return;
    }
    struct resolver *resolver = resolver_find(s->o.resolvers, r.resolver);
    if (!resolver) {
        warn_of_orphans(&r);
    } else if (!w) {
        log_info("%s: an order from before is cleaned up: these names are not configured any more",
                 r.names[0]);
        start(s, NULL, resolver, (const char *const *)r.names, r.name_count, id,
              ORDER_MODE_ABANDON);
    } else if (!r.failed && r.step != ORDER_DONE) {
        start(s, w, w->resolver, w->names, w->count, id, ORDER_MODE_OBTAIN);
    } else if (r.txt_count) {
        start(s, w, w->resolver, w->names, w->count, id, ORDER_MODE_CLEAN);
    }
    order_record_free(&r);
}

/* ---- interface ---------------------------------------------------------------------------------
 */

/* What the CA suggested for this very certificate; a newer one is asked for anew. */
static void know_ari(struct scheduler *s, struct want *w, const char *ari_id)
{
    if (!ari_id[0]) {
        free(w->ari);
        w->ari = NULL;
        return;
    }
    if (!w->ari)
        w->ari = mem_zalloc(sizeof *w->ari);
    if (strcmp(w->ari->id, ari_id) != 0)
        ari_load(s->o.state, w->id, ari_id, w->ari);
}

struct scheduler *scheduler_create(const struct scheduler_options *options)
{
    struct scheduler *s = mem_zalloc(sizeof *s);
    s->o = *options;
    list_init(&s->running);
    loop_timer_init(&s->timer, timer_fired);
    s->ari = ari_poller_create(options->state, on_ari, s);
    wants_collect(options->config, options->resolvers, &s->wants);
    return s;
}

void scheduler_destroy(struct scheduler *s)
{
    struct list *node;
    if (!s)
        return;
    while ((node = list_pop(&s->running))) {
        struct running *r = LIST_ENTRY(node, struct running, node);
        order_destroy(r->order);
        free(r);
    }
    loop_timer_cancel(s->o.loop, &s->timer);
    ari_poller_destroy(s->ari);
    wants_free(&s->wants);
    free(s);
}

static struct want *find_want(struct scheduler *s, const char *resolver, const char *const *names,
                              uint32_t count)
{
    char id[ORDER_ID_LEN + 1];
    struct resolver *r = resolver_find(s->o.resolvers, resolver);
    if (!r)
        return NULL;
    order_id_make(resolver, r->config->ca_server, names, count, id);
    return wants_find(&s->wants, id);
}

void scheduler_revoked(struct scheduler *s, const char *resolver, const char *const *names,
                       uint32_t count, int64_t not_before_s)
{
    struct want *w = find_want(s, resolver, names, count);
    if (!w || !w->have || w->revoked || w->not_before_s != not_before_s)
        return;
    w->revoked = true;
    w->next_s = 0;
    wake_at(s, 0);
}

void scheduler_know(struct scheduler *s, const struct store_cert *cert, int64_t not_before_s,
                    int64_t not_after_s, uint64_t seed, const char *ari_id)
{
    const char **names = mem_alloc((cert->san_count + 1) * sizeof *names);
    names[0] = cert->main;
    for (uint32_t i = 0; i < cert->san_count; i++)
        names[i + 1] = cert->sans[i];
    struct want *w = find_want(s, cert->resolver, names, cert->san_count + 1);
    free(names);
    if (w)
        scheduler_know_want(s, w, not_before_s, not_after_s, seed, ari_id);
}

void scheduler_forget_want(struct scheduler *s, const struct want *want)
{
    struct want *w = &s->wants.items[want - s->wants.items];
    w->have = false;
    w->next_s = 0;
}

void scheduler_know_want(struct scheduler *s, const struct want *want, int64_t not_before_s,
                         int64_t not_after_s, uint64_t seed, const char *ari_id)
{
    struct want *w = &s->wants.items[want - s->wants.items];
    /* The newest is the one in use, even when it ends before the one that it replaces. */
    if (w->have && w->not_before_s > not_before_s)
        return;
    struct why warning;
    w->revoked = w->have && w->revoked && w->not_before_s == not_before_s;
    w->have = true;
    w->not_before_s = not_before_s;
    w->not_after_s = not_after_s;
    w->seed = seed;
    w->renewal = renewal_plan(not_before_s, not_after_s,
                              w->resolver->config->certificates_duration_h, seed, &warning);
    w->next_s = 0;
    know_ari(s, w, ari_id);
    if (warning.text[0])
        log_warn("%s: %s", w->label, warning.text);
}

/* Orders in the journal that nobody works on. */
static void take_up_all(struct scheduler *s)
{
    struct buf ids = {0};
    struct why why;
    if (!result_is_ok(order_journal_ids(s->o.state, &ids, &why)))
        log_error("the journal of unfinished orders cannot be read: %s", why.text);
    for (size_t at = 0; at + ORDER_ID_LEN <= ids.len; at += ORDER_ID_LEN) {
        char id[ORDER_ID_LEN + 1] = {0};
        memcpy(id, ids.ptr + at, ORDER_ID_LEN);
        take_up(s, id);
    }
    buf_free(&ids);
}

void scheduler_start(struct scheduler *s)
{
    must(!s->started);
    s->started = true;
    ledger_prune(s->o.ledger, clock_wall_s());
    learnt_prune(s->o.state, clock_wall_s());
    take_up_all(s);
    wake_at(s, 0);
}

/* What the scheduler knew of a want that is still wanted. */
static void inherit(struct want *w, const struct want *old)
{
    struct why warning;
    w->have = old->have;
    w->ari = old->ari ? mem_dup(old->ari, sizeof *old->ari) : NULL;
    w->not_before_s = old->not_before_s;
    w->not_after_s = old->not_after_s;
    w->seed = old->seed;
    w->revoked = old->revoked;
    w->unfinished = old->unfinished;
    w->hold_s = old->hold_s;
    w->rehearsed = old->rehearsed;
    w->asked = old->asked;
    w->forced = old->forced;
    w->leftovers = old->leftovers;
    w->cleanup_s = old->cleanup_s;
    if (w->have)
        w->renewal = renewal_plan(w->not_before_s, w->not_after_s,
                                  w->resolver->config->certificates_duration_h, w->seed, &warning);
}

void scheduler_reload(struct scheduler *s, const struct config *config,
                      struct resolver_set *resolvers)
{
    struct wants old = s->wants;
    ari_poller_stop(s->ari);
    s->o.config = config;
    s->o.resolvers = resolvers;
    wants_collect(config, resolvers, &s->wants);
    for (uint32_t i = 0; i < old.count; i++) {
        struct want *w = wants_find(&s->wants, old.items[i].id);
        if (w)
            inherit(w, &old.items[i]);
    }
    for (struct list *n = s->running.next; n != &s->running; n = n->next) {
        struct running *r = LIST_ENTRY(n, struct running, node);
        r->want = wants_find(&s->wants, r->id);
        if (r->want)
            r->want->order = r->order;
        else
            log_info("an order goes on whose names are not configured any more (resolver %s)",
                     r->resolver->config->name);
    }
    wants_free(&old);
}

void scheduler_wake(struct scheduler *s)
{
    take_up_all(s);
    wake_at(s, 0);
}

void scheduler_plan(struct scheduler *s, const struct want *want, struct scheduler_plan *ret)
{
    struct want w = *want; /* looked at, not changed */
    struct ledger_entry e;
    int64_t now_s = clock_wall_s();
    *ret = (struct scheduler_plan){.budget = s->o.config->duplicate_budget};
    ret->suggested = w.have && w.ari && scheduler_due_s(&w) != w.renewal.due_s;
    ret->due =
        w.order || !w.have || w.unfinished || w.asked || w.revoked || scheduler_due_s(&w) <= now_s;
    if (!w.order && !is_due(s, &w, now_s)) {
        ret->at_s = w.next_s;
        ret->waiting = w.waiting;
    }
    w.ca = w.ca < w.resolver->ca_count ? w.ca : 0;
    ledger_at(s, &w, w.ca, &e);
    ret->used = e.cert_count;
    ret->ca = w.resolver->cas[w.ca].url;
    ret->ca_index = w.ca;
    ret->rehearsal = w.trial;
}

bool scheduler_renew(struct scheduler *s, const struct want *want, bool force, struct why *why)
{
    struct want *w = &s->wants.items[want - s->wants.items];
    struct want look = *w;
    if (w->order)
        return result_is_ok(why_fail(why, ERR_BUSY, "an order for %s is at work", w->label));
    look.asked = true;
    look.forced = false;
    look.hold_s = 0;
    if (!force && !is_due(s, &look, clock_wall_s()))
        return result_is_ok(why_fail(why, ERR_LIMIT, "%s (--force orders in any case)",
                                     look.waiting.text[0] ? look.waiting.text : "not now"));
    if (!w->resolver->store)
        return result_is_ok(why_fail(why, ERR_STORE, "%s", w->resolver->problem.text));
    w->asked = true;
    w->forced = force;
    w->hold_s = w->next_s = 0;
    wake_at(s, 0);
    return true;
}

const struct wants *scheduler_wants(const struct scheduler *s)
{
    return &s->wants;
}

uint32_t scheduler_running(const struct scheduler *s)
{
    return s->running_count;
}

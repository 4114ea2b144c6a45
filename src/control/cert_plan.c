/* SPDX-License-Identifier: Apache-2.0 */
#include "control/cert_plan.h"

#include "base/clock.h"
#include "control/preflight.h"

#include <stdlib.h>

/* One want whose surroundings are looked at. */
struct look {
    struct cert_plan *plan;
    struct resolver *resolver;
    struct preflight *preflight;
    const char **names; /* the want goes with a reload, the texts stay with the resolver */
    uint8_t *challenges;
    json_t *entry; /* of the answer; borrowed */
};

struct cert_plan {
    struct cert_plan_options o;
    json_t *list;
    struct look looks[CERT_PLAN_CHECKED];
    uint32_t look_count, open;
    struct loop_timer turn; /* the answer, at the latest */
};

static json_t *names_of(const struct want *w)
{
    json_t *list = json_array();
    for (uint32_t i = 0; i < w->count; i++)
        json_array_append_new(list, json_string(w->names[i]));
    return list;
}

static const char *reason_of(const struct want *w, const struct scheduler_plan *p)
{
    if (w->order)
        return "an order is at work";
    if (w->unfinished)
        return "the last order is to be taken up again";
    if (!w->have)
        return "there is no certificate yet";
    if (w->asked)
        return "a person asked for it";
    if (w->revoked)
        return "its CA has revoked the certificate";
    return p->suggested ? "the CA suggests this time (ARI)" : "the end of its life comes near";
}

static json_t *entry_of(const struct want *w, const struct scheduler_plan *p)
{
    json_t *o = json_pack("{s:o, s:s, s:s, s:s, s:b, s:I, s:s, s:s, s:b, s:I}", "names",
                          names_of(w), "resolver", w->resolver->config->name, "action",
                          w->have ? "renew" : "obtain", "ca", p->ca, "due", p->due, "at",
                          (json_int_t)p->at_s, "why", reason_of(w, p), "waiting", p->waiting.text,
                          "rehearsal", p->rehearsal, "certificatesIn168h", (json_int_t)p->used);
    json_int_t left = p->used < p->budget ? p->budget - p->used : 0;
    json_object_set_new(o, "budgetLeft", p->budget ? json_integer(left) : json_null());
    return o;
}

/* ---- surroundings -----------------------------------------------------------------------------
 */

static void end_look(struct look *l)
{
    if (l->resolver)
        l->resolver->running--;
    l->resolver = NULL;
    l->preflight = NULL;
    free(l->names);
    free(l->challenges);
    l->names = NULL;
    l->challenges = NULL;
}

static void take_findings(void *arg, const struct preflight_finding *findings)
{
    static const char *const verdicts[] = {"off", "good", "bad", "unknown"};
    static const char *const policies[] = {"off", "warn", "stop"};
    struct look *l = arg;
    struct cert_plan *p = l->plan;
    json_t *list = json_array();
    for (int i = 0; i < PREFLIGHT_CHECKS; i++)
        json_array_append_new(list, json_pack("{s:s, s:s, s:s, s:s}", "check",
                                              preflight_name((enum preflight_check)i), "policy",
                                              policies[findings[i].policy], "result",
                                              verdicts[findings[i].verdict], "text",
                                              findings[i].why.text));
    json_object_set_new(l->entry, "preflight", list);
    end_look(l);
    if (--p->open == 0)
        loop_timer_set(p->o.loop, &p->turn, clock_now_ns());
}

static void begin_look(struct cert_plan *p, const struct want *w, uint32_t ca, json_t *entry)
{
    struct resolver *r = w->resolver;
    if (p->look_count == CERT_PLAN_CHECKED || !r->cas[ca].acme)
        return;
    struct look *l = &p->looks[p->look_count++];
    *l = (struct look){.plan = p, .resolver = r, .entry = entry};
    l->names = mem_dup(w->names, w->count * sizeof *w->names);
    l->challenges = mem_zalloc(w->count);
    for (uint32_t i = 0; i < w->count; i++) {
        enum order_challenge challenge = ORDER_CHALLENGE_DNS;
        if (order_challenge_of(r, p->o.state, w->names[i], &challenge))
            l->challenges[i] = (uint8_t)challenge;
    }
    r->running++; /* keeps it, and with it the names' texts, over a reload */
    struct preflight_subject subject = {.loop = p->o.loop,
                                        .resolver = r,
                                        .ca = &r->cas[ca],
                                        .names = l->names,
                                        .challenges = l->challenges,
                                        .count = w->count};
    p->open++;
    l->preflight = preflight_start(&subject, take_findings, l);
}

/* ---- the whole --------------------------------------------------------------------------------
 */

static void destroy(struct cert_plan *p)
{
    loop_timer_cancel(p->o.loop, &p->turn);
    for (uint32_t i = 0; i < p->look_count; i++) {
        preflight_cancel(p->looks[i].preflight);
        end_look(&p->looks[i]);
    }
    json_decref(p->list);
    free(p);
}

static void take_turn(struct loop_timer *t)
{
    struct cert_plan *p = LIST_ENTRY(t, struct cert_plan, turn);
    struct cert_plan_options o = p->o;
    json_t *answer = json_pack("{s:b, s:O}", "ok", 1, "plan", p->list);
    destroy(p);
    o.done(o.arg, answer);
}

struct cert_plan *cert_plan_start(const struct cert_plan_options *options)
{
    struct cert_plan *p = mem_zalloc(sizeof *p);
    const struct wants *wants = scheduler_wants(options->scheduler);
    p->o = *options;
    p->list = json_array();
    loop_timer_init(&p->turn, take_turn);
    for (uint32_t i = 0; i < wants->count; i++) {
        const struct want *w = &wants->items[i];
        struct scheduler_plan plan;
        scheduler_plan(options->scheduler, w, &plan);
        json_t *entry = entry_of(w, &plan);
        json_array_append_new(p->list, entry);
        if (plan.due && !w->order)
            begin_look(p, w, plan.ca_index, entry);
    }
    uint64_t wait_ns = p->open ? CERT_PLAN_S * NS_PER_S : 0;
    loop_timer_set(options->loop, &p->turn, clock_now_ns() + wait_ns);
    return p;
}

void cert_plan_cancel(struct cert_plan *p)
{
    if (p)
        destroy(p);
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "control/order_impl.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/rand.h"
#include "control/crash_point.h"

#include <stdio.h>
#include <stdlib.h>

#define CALL_TIMEOUT_S    60 /* one value, with the host's own retries */
#define PRESENT_TRIES_MAX 3
#define CLEANUP_TRIES_MAX 4
#define RATE_WAIT_MAX_S   120
#define PROPAGATE_SLACK_S 60
#define NAME_WAIT_NS      NS_PER_S /* for a name that another order has */

static const uint32_t cleanup_wait_s[CLEANUP_TRIES_MAX] = {2, 10, 30, 0};

static enum acme_class class_of(enum provider_verdict verdict)
{
    switch (verdict) {
    case PROVIDER_OK:
        return ACME_OK;
    case PROVIDER_RETRY:
        return ACME_NETWORK;
    case PROVIDER_RATE:
        return ACME_RATE;
    case PROVIDER_AUTH:
    case PROVIDER_CONFIG:
    case PROVIDER_ZONE:
    case PROVIDER_GONE:
        break;
    }
    return ACME_CONFIG;
}

/* ---- prepare --------------------------------------------------------------------------------- */

static void on_described(void *arg, const struct provider_info *info,
                         const struct provider_answer *answer)
{
    struct order *o = arg;
    o->provider_busy = false;
    if (answer->verdict != PROVIDER_OK) {
        order_fail_challenge(o, ORDER_CHALLENGE_DNS, class_of(answer->verdict), "",
                             answer->retry_after_s, "DNS provider \"%s\": %s",
                             o->resolver->config->dns_provider, answer->text);
        return;
    }
    o->resolver->info = *info;
    order_next(o);
}

static void cannot_prove(struct order *o, const char *name)
{
    struct buf list = {0};
    order_answer_list(o, &list);
    if (o->resolver->dns_problem.text[0])
        buf_printf(&list, "; dns-01: %s", o->resolver->dns_problem.text);
    order_fail(o, ACME_CONFIG, "", 0, "no allowed challenge can prove %s: %s", name,
               buf_cstr(&list));
    buf_free(&list);
}

void order_dns_prepare(struct order *o)
{
    struct resolver *r = o->resolver;
    const char *name = order_answer_unprovable(o);
    if (!o->ca->acme || (name && r->problem.text[0])) {
        order_fail(o, ACME_CONFIG, "", 0, "%s", r->problem.text);
        return;
    }
    if (name) {
        cannot_prove(o, name);
        return;
    }
    order_say(o, "%s %s (%u name%s)",
              o->record.trial ? "rehearsing an order at" : "obtaining a certificate from",
              o->ca->url, o->record.name_count, o->record.name_count == 1 ? "" : "s");
    if (!order_answer_uses(o, ORDER_CHALLENGE_DNS)) {
        order_next(o);
        return;
    }
    o->provider_busy = true;
    provider_describe(r->provider, on_described, o);
}

/* Not a value of this order that belongs into DNS. */
static bool is_passed_over(const struct order_txt *t)
{
    return t->leftover || t->challenge != ORDER_CHALLENGE_DNS;
}

/* ... or one that is not there yet, for its name holds another one. */
static bool is_not_there(const struct order_txt *t)
{
    return is_passed_over(t) || t->phase == ORDER_TXT_PLANNED;
}

static bool has_values(const struct order *o)
{
    for (uint32_t i = 0; i < o->record.txt_count; i++)
        if (!is_passed_over(&o->record.txts[i]))
            return true;
    return false;
}

/* ---- place ----------------------------------------------------------------------------------- */

static void place_next(struct order *o);

/* Somebody is asked whether the values are visible. */
static bool is_checked(const struct order *o)
{
    const struct config_resolver *c = o->resolver->config;
    return c->propagation_authoritative || c->propagation_recursive;
}

/* Every value of a domain lives at the same place. */
static void set_place(struct order *o, const char *domain, const char *fqdn, const char *zone)
{
    for (uint32_t i = 0; i < o->record.txt_count; i++) {
        struct order_txt *t = &o->record.txts[i];
        if (t->fqdn || strcmp(t->domain, domain))
            continue;
        t->fqdn = mem_strdup(fqdn);
        t->zone = mem_strdup(zone);
    }
}

static void on_place(void *arg, const struct propagation_place *place)
{
    struct order *o = arg;
    const char *domain = o->record.txts[o->index].domain;
    o->dns = NULL;
    if (place->ok) {
        if (place->text && place->text[0])
            order_say(o, "%s", place->text);
        set_place(o, domain, place->fqdn, place->zone);
    } else if (!is_checked(o)) {
        char *fqdn = mem_printf("_acme-challenge.%s.", domain);
        log_warn("%s: %s; going on, since nobody is to be asked for the value", order_label(o),
                 place->text);
        set_place(o, domain, fqdn, "");
        free(fqdn);
    } else {
        order_fail_challenge(o, ORDER_CHALLENGE_DNS, ACME_DNS, "", 0, "%s", place->text);
        return;
    }
    place_next(o);
}

static void place_next(struct order *o)
{
    struct order_record *r = &o->record;
    while (o->index < r->txt_count &&
           (r->txts[o->index].fqdn || is_passed_over(&r->txts[o->index])))
        o->index++;
    if (o->index == r->txt_count) {
        order_next(o);
        return;
    }
    /* A value of the same domain from before the crash knows the place. */
    const char *domain = r->txts[o->index].domain;
    for (uint32_t i = 0; i < r->txt_count; i++)
        if (r->txts[i].fqdn && !strcmp(r->txts[i].domain, domain)) {
            set_place(o, domain, r->txts[i].fqdn, r->txts[i].zone ? r->txts[i].zone : "");
            place_next(o);
            return;
        }
    struct propagation_options options = resolver_propagation(o->resolver);
    char *fqdn = mem_printf("_acme-challenge.%s.", domain);
    o->dns = propagation_find(o->env.loop, &options, fqdn, on_place, o);
    free(fqdn);
}

void order_dns_place(struct order *o)
{
    place_next(o);
}

/* ---- present --------------------------------------------------------------------------------- */

static void present_next(struct order *o);

/* Of one call. A provider that could not describe itself gets the usual time. */
static uint64_t call_deadline_ns(const struct order *o)
{
    uint32_t s = o->resolver->info.call_timeout_s;
    return clock_now_ns() + (s ? s : CALL_TIMEOUT_S) * NS_PER_S;
}

static struct provider_txt txt_of(const struct order_txt *t)
{
    return (struct provider_txt){.fqdn = span_str(t->fqdn),
                                 .zone = span_str(t->zone),
                                 .value = span_str(t->value),
                                 .domain = span_str(t->domain),
                                 .token = span_str(t->token),
                                 .key_auth = span_str(t->key_auth)};
}

static void keep_state(struct order_txt *t, const struct provider_answer *answer)
{
    if (!answer->state.len || answer->state.len > PROVIDER_STATE_MAX)
        return;
    buf_wipe_free(&t->state);
    buf_put_span(&t->state, answer->state);
}

/* Nothing was made when the very first try was refused outright. */
static bool surely_absent(const struct order *o, enum provider_verdict verdict)
{
    return o->value_is_first && o->tries == 0 &&
           (verdict == PROVIDER_AUTH || verdict == PROVIDER_CONFIG || verdict == PROVIDER_ZONE);
}

static bool wait_and_retry(struct order *o, const struct provider_answer *answer, uint32_t wait_s,
                           uint32_t tries_max, void (*again)(struct order *o))
{
    if (answer->verdict != PROVIDER_RETRY && answer->verdict != PROVIDER_RATE)
        return false;
    if (++o->tries >= tries_max || answer->retry_after_s > RATE_WAIT_MAX_S)
        return false;
    uint32_t s = answer->retry_after_s > wait_s ? answer->retry_after_s : wait_s;
    order_say(o, "DNS provider: %s; trying again in %u s", answer->text, s);
    order_pause(o, s * NS_PER_S, again);
    return true;
}

static void on_presented(void *arg, const struct provider_answer *answer)
{
    struct order *o = arg;
    struct order_txt *t = &o->record.txts[o->index];
    o->provider_busy = false;
    crash_point("PRESENT", "value");
    if (answer->verdict == PROVIDER_OK) {
        t->phase = ORDER_TXT_PRESENT;
        keep_state(t, answer);
        order_say(o, "TXT value %s at %s (%.1f s)",
                  o->resolver->info.by_person ? "asked for" : "added", t->fqdn,
                  order_step_seconds(o));
        o->index++;
        o->tries = 0;
        order_save(o);
        present_next(o);
        return;
    }
    if (wait_and_retry(o, answer, 2, PRESENT_TRIES_MAX, present_next))
        return;
    if (surely_absent(o, answer->verdict))
        t->phase = ORDER_TXT_PLANNED;
    order_fail_challenge(o, ORDER_CHALLENGE_DNS, class_of(answer->verdict), "",
                         answer->retry_after_s, "DNS provider \"%s\" at %s: %s",
                         o->resolver->config->dns_provider, t->fqdn, answer->text);
}

/* ---- one value at a name ---- */

static bool is_value_of(const struct order_txt *t, const struct order_authz *a)
{
    return t->challenge == ORDER_CHALLENGE_DNS && a->domain && a->token && t->token &&
           !strcmp(t->domain, a->domain) && !strcmp(t->token, a->token);
}

bool order_dns_waits(const struct order *o, const struct order_authz *a)
{
    if (!o->resolver->info.single_value || a->challenge != ORDER_CHALLENGE_DNS)
        return false;
    for (uint32_t i = 0; i < o->record.txt_count; i++) {
        const struct order_txt *t = &o->record.txts[i];
        if (!t->leftover && t->phase == ORDER_TXT_PLANNED && is_value_of(t, a))
            return true;
    }
    return false;
}

void order_dns_proven(struct order *o, const struct order_authz *a)
{
    for (uint32_t i = 0; i < o->record.txt_count; i++)
        if (is_value_of(&o->record.txts[i], a))
            o->record.txts[i].leftover = true;
}

bool order_dns_is_left(const struct order *o)
{
    for (uint32_t i = 0; i < o->record.txt_count; i++)
        if (!is_passed_over(&o->record.txts[i]) && o->record.txts[i].phase == ORDER_TXT_PLANNED)
            return true;
    return false;
}

/* The value that stands at the name of another one; UINT32_MAX = the name is free. */
static uint32_t find_occupant(const struct order_record *r, uint32_t index)
{
    for (uint32_t i = 0; i < r->txt_count; i++)
        if (i != index && r->txts[i].fqdn && r->txts[i].phase != ORDER_TXT_PLANNED &&
            !strcasecmp(r->txts[i].fqdn, r->txts[index].fqdn))
            return i;
    return UINT32_MAX;
}

/* All names or none: nobody waits for a name while somebody waits for theirs. */
static bool hold_names(struct order *o)
{
    struct order_record *r = &o->record;
    o->holds = true;
    for (uint32_t i = 0; i < r->txt_count; i++) {
        if (is_passed_over(&r->txts[i]) || provider_hold(o->resolver->provider, r->txts[i].fqdn, o))
            continue;
        provider_release(o->resolver->provider, o);
        return false;
    }
    return true;
}

static void on_replaced(void *arg, const struct provider_answer *answer)
{
    struct order *o = arg;
    uint32_t occupant = find_occupant(&o->record, o->index);
    o->provider_busy = false;
    if (answer->verdict == PROVIDER_OK || answer->verdict == PROVIDER_GONE) {
        order_say(o, "TXT value removed at %s: the next one follows",
                  o->record.txts[o->index].fqdn);
        order_record_drop_txt(&o->record, occupant);
        o->index -= occupant < o->index;
        o->tries = 0;
        order_save(o);
        present_next(o);
        return;
    }
    if (wait_and_retry(o, answer, 2, PRESENT_TRIES_MAX, present_next))
        return;
    order_fail_challenge(o, ORDER_CHALLENGE_DNS, class_of(answer->verdict), "",
                         answer->retry_after_s, "DNS provider \"%s\" at %s: %s",
                         o->resolver->config->dns_provider, o->record.txts[o->index].fqdn,
                         answer->text);
}

/* False: the value at `index` is not to be added now; what is to be done instead has begun. */
static bool make_room(struct order *o)
{
    struct order_record *r = &o->record;
    if (!o->resolver->info.single_value)
        return true;
    if (!hold_names(o)) {
        order_say(o, "waiting: %s holds one value, and another order's is there",
                  r->txts[o->index].fqdn);
        order_pause(o, NAME_WAIT_NS + rand_below(NAME_WAIT_NS), present_next);
        return false;
    }
    uint32_t occupant = find_occupant(r, o->index);
    if (occupant == UINT32_MAX || r->txts[o->index].phase != ORDER_TXT_PLANNED)
        return true;
    if (!r->txts[occupant].leftover) {
        o->index++; /* its turn comes when the CA has seen the other one */
        present_next(o);
        return false;
    }
    struct provider_txt txt = txt_of(&r->txts[occupant]);
    o->provider_busy = true;
    provider_cleanup(o->resolver->provider, &txt, buf_span(&r->txts[occupant].state),
                     call_deadline_ns(o), on_replaced, o);
    return false;
}

static void ask_to_present(struct order *o)
{
    struct provider_txt txt = txt_of(&o->record.txts[o->index]);
    o->provider_busy = true;
    provider_present(o->resolver->provider, &txt, call_deadline_ns(o), on_presented, o);
}

static void present_next(struct order *o)
{
    struct order_record *r = &o->record;
    while (o->index < r->txt_count && is_passed_over(&r->txts[o->index]))
        o->index++;
    if (o->index == r->txt_count) {
        order_next(o);
        return;
    }
    if (!make_room(o))
        return;
    /* On disk before it is made; a value that may exist is made again, which changes nothing. */
    struct order_txt *t = &r->txts[o->index];
    if (o->tries == 0)
        o->value_is_first = t->phase == ORDER_TXT_PLANNED;
    if (t->phase == ORDER_TXT_PLANNED) {
        t->phase = ORDER_TXT_PRESENTING;
        order_save(o);
    }
    order_on_disk(o, ask_to_present);
}

void order_dns_present(struct order *o)
{
    if (has_values(o) && !o->resolver->provider) {
        order_fail(o, ACME_CONFIG, "", 0, "%s", o->resolver->dns_problem.text);
        return;
    }
    present_next(o);
}

/* ---- propagate ------------------------------------------------------------------------------- */

static void check_next(struct order *o);

static void on_progress(void *arg, const char *text)
{
    struct order *o = arg;
    order_say(o, "%s (%.1f s)", text, order_step_seconds(o));
}

static void on_checked(void *arg, const struct propagation_answer *answer)
{
    struct order *o = arg;
    const char *fqdn = o->record.txts[o->index].fqdn;
    o->dns = NULL;
    if (!answer->ok && !o->resolver->config->propagation_try) {
        order_fail_challenge(o, ORDER_CHALLENGE_DNS, ACME_DNS, "", 0, "%s", answer->text);
        return;
    }
    if (answer->ok)
        order_say(o, "TXT values visible at %s after %.1f s: %s", fqdn, order_step_seconds(o),
                  answer->text);
    else
        log_warn("%s: the CA is told to look at %s all the same (propagation.onTimeout): %s",
                 order_label(o), fqdn, answer->text);
    o->index++;
    check_next(o);
}

static bool first_of_its_name(const struct order_record *r, uint32_t index)
{
    for (uint32_t i = 0; i < index; i++)
        if (!is_not_there(&r->txts[i]) && !strcmp(r->txts[i].fqdn, r->txts[index].fqdn))
            return false;
    return true;
}

static void check_next(struct order *o)
{
    struct order_record *r = &o->record;
    while (o->index < r->txt_count &&
           (is_not_there(&r->txts[o->index]) || !first_of_its_name(r, o->index)))
        o->index++;
    if (o->index == r->txt_count) {
        order_next(o);
        return;
    }
    const char *values[ORDER_TXTS_MAX];
    uint32_t count = 0;
    const struct order_txt *t = &r->txts[o->index];
    for (uint32_t i = o->index; i < r->txt_count; i++)
        if (!is_not_there(&r->txts[i]) && !strcmp(r->txts[i].fqdn, t->fqdn))
            values[count++] = r->txts[i].value;
    struct propagation_options options = resolver_propagation(o->resolver);
    uint32_t limit_s = UINT32_MAX - PROPAGATE_SLACK_S;
    limit_s = options.timeout_s < limit_s ? options.timeout_s : limit_s;
    order_set_deadline(o, limit_s + PROPAGATE_SLACK_S);
    o->dns = propagation_check(o->env.loop, &options, t->fqdn, t->zone, values, count, on_progress,
                               on_checked, o);
}

static void check_or_skip(struct order *o)
{
    if (is_checked(o)) {
        check_next(o);
        return;
    }
    order_say(o, "nobody is asked whether the TXT values are visible: the CA is told to look");
    order_next(o);
}

/* ---- confirm: the service itself has put the values into effect -------------------------------
 */

static void confirm_next(struct order *o);

static void on_confirmed(void *arg, const struct provider_answer *answer)
{
    struct order *o = arg;
    struct propagation_options options = resolver_propagation(o->resolver);
    o->provider_busy = false;
    if (answer->verdict == PROVIDER_OK) {
        o->index++;
        confirm_next(o);
        return;
    }
    bool may_come = answer->verdict == PROVIDER_RETRY || answer->verdict == PROVIDER_RATE;
    if (may_come && order_step_seconds(o) < options.timeout_s) {
        uint32_t wait_s =
            answer->retry_after_s > options.interval_s ? answer->retry_after_s : options.interval_s;
        order_say(o, "waiting: %s (%.1f s)", answer->text, order_step_seconds(o));
        order_pause(o, wait_s * NS_PER_S, confirm_next);
        return;
    }
    if (may_come && o->resolver->config->propagation_try) {
        log_warn("%s: going on all the same (propagation.onTimeout): %s", order_label(o),
                 answer->text);
        o->index++;
        confirm_next(o);
        return;
    }
    order_fail(o, may_come ? ACME_DNS : class_of(answer->verdict), "", answer->retry_after_s,
               "DNS provider \"%s\" at %s: %s", o->resolver->config->dns_provider,
               o->record.txts[o->index].fqdn, answer->text);
}

static void confirm_next(struct order *o)
{
    struct order_record *r = &o->record;
    while (o->index < r->txt_count && is_not_there(&r->txts[o->index]))
        o->index++;
    if (!o->resolver->info.confirms || !o->resolver->provider || o->index == r->txt_count) {
        o->index = 0;
        check_or_skip(o);
        return;
    }
    struct order_txt *t = &r->txts[o->index];
    struct provider_txt txt = txt_of(t);
    o->provider_busy = true;
    provider_confirm(o->resolver->provider, &txt, buf_span(&t->state), call_deadline_ns(o),
                     on_confirmed, o);
}

static void delay_and_confirm(struct order *o)
{
    uint64_t delay_s = o->resolver->config->delay_before_check_s;
    if (!delay_s) {
        confirm_next(o);
        return;
    }
    order_say(o, "waiting %llu s (delayBeforeCheck)", (unsigned long long)delay_s);
    order_pause(o, delay_s * NS_PER_S, confirm_next);
}

/* ---- a person makes the values ----------------------------------------------------------------
 */

static void person_is_late(struct order *o)
{
    order_fail_challenge(o, ORDER_CHALLENGE_DNS, ACME_DNS, "", 0,
                         "nobody said within %u s that the TXT values are there "
                         "(`ferrule cert continue`)",
                         resolver_propagation(o->resolver).timeout_s);
}

/* Authoritative servers may be asked again and again until they have the values. Resolvers remember
 * that there was nothing, and a CA looks once: those come when the person has said so. */
static void wait_for_person(struct order *o)
{
    if (o->resolver->config->propagation_authoritative) {
        order_say(
            o,
            "waiting until a person has made the TXT values: the name servers are asked "
            "every %u s, and at once by `ferrule cert continue %s`, or Enter on ferrule's terminal",
            resolver_propagation(o->resolver).interval_s, order_label(o));
        delay_and_confirm(o);
        return;
    }
    order_say(o,
              "waiting until a person has made the TXT values and says so: `ferrule cert continue "
              "%s`, or Enter on ferrule's terminal",
              order_label(o));
    order_pause(o, resolver_propagation(o->resolver).timeout_s * NS_PER_S, person_is_late);
}

bool order_waits_for_person(const struct order *o)
{
    return o->record.step == ORDER_PROPAGATE && o->resolver->info.by_person &&
           (o->dns || o->after_pause == person_is_late || o->after_pause == confirm_next);
}

bool order_awaited(const struct order *o, uint32_t index, const char **ret_fqdn,
                   const char **ret_value)
{
    const struct order_record *r = &o->record;
    if (!order_waits_for_person(o))
        return false;
    for (uint32_t i = 0; i < r->txt_count; i++) {
        if (is_not_there(&r->txts[i]) || index-- > 0)
            continue;
        *ret_fqdn = r->txts[i].fqdn;
        *ret_value = r->txts[i].value;
        return true;
    }
    return false;
}

bool order_continue(struct order *o)
{
    if (!order_waits_for_person(o))
        return false;
    order_say(o, "a person says that the TXT values are there");
    if (o->dns)
        propagation_look_now(o->dns);
    else if (order_end_pause(o, person_is_late))
        delay_and_confirm(o);
    else if (order_end_pause(o, confirm_next))
        confirm_next(o);
    return true;
}

void order_dns_propagate(struct order *o)
{
    if (!has_values(o))
        order_next(o);
    else if (o->resolver->info.by_person)
        wait_for_person(o);
    else
        delay_and_confirm(o);
}

/* ---- clean up -------------------------------------------------------------------------------- */

static void cleanup_next(struct order *o);

static void on_removed(void *arg, const struct provider_answer *answer)
{
    struct order *o = arg;
    struct order_txt *t = &o->record.txts[o->index];
    o->provider_busy = false;
    crash_point("CLEANUP", "value");
    if (answer->verdict == PROVIDER_OK || answer->verdict == PROVIDER_GONE) {
        log_info("%s: TXT value removed at %s", order_label(o), t->fqdn);
        order_record_drop_txt(&o->record, o->index);
        o->tries = 0;
        order_save(o);
        cleanup_next(o);
        return;
    }
    if (wait_and_retry(o, answer, cleanup_wait_s[o->tries], CLEANUP_TRIES_MAX, cleanup_next))
        return;
    log_warn("%s: the TXT value %s at %s could not be removed (%s); it is tried again later",
             order_label(o), t->value, t->fqdn, answer->text);
    o->leftovers = true;
    o->index++;
    o->tries = 0;
    cleanup_next(o);
}

static void cleanup_next(struct order *o)
{
    struct order_record *r = &o->record;
    while (o->index < r->txt_count && r->txts[o->index].phase == ORDER_TXT_PLANNED) {
        order_answer_withdraw(o, &r->txts[o->index]);
        order_record_drop_txt(r, o->index);
    }
    if (o->index == r->txt_count) {
        order_next(o);
        return;
    }
    struct order_txt *t = &r->txts[o->index];
    if (!o->resolver->provider || !t->fqdn) {
        log_warn("%s: the TXT value %s of %s cannot be removed: %s", order_label(o), t->value,
                 t->domain, o->resolver->dns_problem.text);
        o->leftovers = true;
        o->index++;
        cleanup_next(o);
        return;
    }
    struct provider_txt txt = txt_of(t);
    o->provider_busy = true;
    provider_cleanup(o->resolver->provider, &txt, buf_span(&t->state), call_deadline_ns(o),
                     on_removed, o);
}

void order_dns_cleanup(struct order *o)
{
    cleanup_next(o);
}

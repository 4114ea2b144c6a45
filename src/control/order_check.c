/* SPDX-License-Identifier: Apache-2.0 */
/* Before an order goes out: what would make it fail at the CA, or spoil its certificate, is found
 * here first. Each finding warns or stops, as the configuration says. Where that is wanted, a value
 * of no meaning is added at each challenge name and removed again. */
#include "control/order_impl.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/rand.h"
#include "crypto/digest.h"

#include <stdlib.h>

#define PROBE_NS     (60 * NS_PER_S) /* one call of the provider */
#define PROBE_STEP_S 300
#define TOKEN_BYTES  32

/* ---- may the provider write? ------------------------------------------------------------------
 */

static void probe_next(struct order *o);

/* A finding about the name at `index`: false when the order ends here. */
static bool is_borne(struct order *o, enum acme_class class, const char *what, const char *text)
{
    const char *domain = o->record.names[o->index];
    if (o->resolver->config->check_txt == CONFIG_CHECK_STOP) {
        order_fail(o, class, "", 0, "a TXT value for %.100s cannot be %s: %.300s", domain, what,
                   text);
        return false;
    }
    log_warn("%s: a TXT value for %s cannot be %s: %s", order_label(o), domain, what, text);
    return true;
}

static void probe_over(struct order *o)
{
    o->index++;
    probe_next(o);
}

static struct order_txt *probe_of(struct order *o)
{
    return &o->record.txts[o->record.txt_count - 1];
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

static uint64_t call_deadline_ns(const struct order *o)
{
    uint32_t s = o->resolver->info.call_timeout_s;
    return clock_now_ns() + (s ? s * NS_PER_S : PROBE_NS);
}

/* What could not be removed stays in the journal, and is tried again at the end of the order. */
static void on_removed(void *arg, const struct provider_answer *answer)
{
    struct order *o = arg;
    o->provider_busy = false;
    if (answer->verdict == PROVIDER_OK || answer->verdict == PROVIDER_GONE) {
        order_record_drop_txt(&o->record, o->record.txt_count - 1);
        order_save(o);
        probe_over(o);
    } else if (is_borne(o, ACME_CONFIG, "removed", answer->text)) {
        probe_over(o);
    }
}

static void on_added(void *arg, const struct provider_answer *answer)
{
    struct order *o = arg;
    struct order_txt *t = probe_of(o);
    o->provider_busy = false;
    if (answer->verdict != PROVIDER_OK) {
        if (is_borne(o, ACME_CONFIG, "added", answer->text))
            probe_over(o);
        return;
    }
    t->phase = ORDER_TXT_PRESENT;
    if (answer->state.len && answer->state.len <= PROVIDER_STATE_MAX)
        buf_put_span(&t->state, answer->state);
    order_save(o);
    struct provider_txt txt = txt_of(t);
    o->provider_busy = true;
    provider_cleanup(o->resolver->provider, &txt, buf_span(&t->state), call_deadline_ns(o),
                     on_removed, o);
}

/* A value as a challenge has it, of a token that no CA gave. */
static struct order_txt *plan_probe(struct order *o, const char *domain)
{
    uint64_t random[TOKEN_BYTES / sizeof(uint64_t)];
    uint8_t hash[DIGEST_BYTES_MAX];
    struct buf token = {0}, value = {0};
    for (size_t i = 0; i < sizeof random / sizeof random[0]; i++)
        random[i] = rand_u64();
    base64url_put(&token, span_of(random, sizeof random));
    char *key_auth = mem_printf("%s.preflight", buf_cstr(&token));
    digest_once(DIGEST_SHA256, span_str(key_auth), hash);
    base64url_put(&value, span_of(hash, digest_bytes(DIGEST_SHA256)));
    struct order_txt *t = order_record_add_txt(&o->record, domain, buf_cstr(&value));
    t->challenge = ORDER_CHALLENGE_DNS;
    t->token = mem_strdup(buf_cstr(&token));
    t->key_auth = key_auth;
    t->leftover = true; /* whatever comes, it is only to be removed */
    buf_free(&token);
    buf_free(&value);
    return t;
}

static const char *domain_of(const char *name)
{
    return strncmp(name, "*.", 2) ? name : name + 2;
}

static void add_probe(struct order *o)
{
    struct provider_txt txt = txt_of(probe_of(o));
    order_say(o, "trying whether TXT values can be added and removed at %s", probe_of(o)->fqdn);
    o->provider_busy = true;
    provider_present(o->resolver->provider, &txt, call_deadline_ns(o), on_added, o);
}

static void on_place(void *arg, const struct propagation_place *place)
{
    struct order *o = arg;
    o->dns = NULL;
    if (!place->ok) {
        if (is_borne(o, ACME_DNS, "added", place->text))
            probe_over(o);
        return;
    }
    struct order_txt *t = plan_probe(o, domain_of(o->record.names[o->index]));
    t->fqdn = mem_strdup(place->fqdn);
    t->zone = mem_strdup(place->zone);
    t->phase = ORDER_TXT_PRESENTING;
    order_save(o);
    order_on_disk(o, add_probe);
}

/* Apex and wildcard have one challenge name. */
static bool is_first_of_domain(const struct order *o, uint32_t index)
{
    for (uint32_t i = 0; i < index; i++)
        if (!strcmp(domain_of(o->record.names[i]), domain_of(o->record.names[index])))
            return false;
    return true;
}

static bool is_probed(const struct order *o, uint32_t index)
{
    enum order_challenge challenge;
    return order_answer_choose(o, o->record.names[index], NULL, &challenge) &&
           challenge == ORDER_CHALLENGE_DNS && is_first_of_domain(o, index);
}

static void probe_next(struct order *o)
{
    bool wanted = o->resolver->config->check_txt != CONFIG_CHECK_OFF && o->resolver->provider;
    while (wanted && o->index < o->record.name_count && !is_probed(o, o->index))
        o->index++;
    if (!wanted || o->index == o->record.name_count || o->record.txt_count == ORDER_TXTS_MAX) {
        order_next(o);
        return;
    }
    struct propagation_options options = resolver_propagation(o->resolver);
    char *fqdn = mem_printf("_acme-challenge.%s.", domain_of(o->record.names[o->index]));
    order_set_deadline(o, PROBE_STEP_S);
    o->dns = propagation_find(o->env.loop, &options, fqdn, on_place, o);
    free(fqdn);
}

/* ---- what can be seen ------------------------------------------------------------------------ */

static void on_findings(void *arg, const struct preflight_finding *findings)
{
    struct order *o = arg;
    struct why why;
    o->preflight = NULL;
    for (int i = 0; i < PREFLIGHT_CHECKS; i++) {
        const struct preflight_finding *f = &findings[i];
        if (f->verdict == PREFLIGHT_UNKNOWN)
            log_debug("%s: %s is not known: %s", order_label(o),
                      preflight_name((enum preflight_check)i), f->why.text);
        if (f->verdict != PREFLIGHT_BAD)
            continue;
        why = f->why;
        if (f->policy == CONFIG_CHECK_STOP) {
            order_fail(o, i == PREFLIGHT_CAA ? ACME_CAA : ACME_CONFIG, "", 0, "%s", why.text);
            return;
        }
        log_warn("%s: %s", order_label(o), why.text);
    }
    o->index = 0;
    probe_next(o);
}

void order_check(struct order *o)
{
    enum order_challenge challenge = ORDER_CHALLENGE_DNS;
    free(o->challenges);
    o->challenges = mem_zalloc(o->record.name_count);
    for (uint32_t i = 0; i < o->record.name_count; i++)
        if (order_answer_choose(o, o->record.names[i], NULL, &challenge))
            o->challenges[i] = (uint8_t)challenge;
    struct preflight_subject subject = {.loop = o->env.loop,
                                        .resolver = o->resolver,
                                        .ca = o->ca,
                                        .names = (const char *const *)o->record.names,
                                        .challenges = o->challenges,
                                        .count = o->record.name_count};
    o->preflight = preflight_start(&subject, on_findings, o);
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "control/provider/trial.h"

#include "base/clock.h"
#include "control/propagation/propagation.h"
#include "control/provider/host.h"
#include "crypto/digest.h"

#include <stdio.h>
#include <stdlib.h>

#define SELF            "/proc/self/exe"
#define VALUE_BYTES     32
#define CHECK_SUCCESSES 2

struct trial {
    struct loop *loop;
    struct provider_host *host;
    struct provider *provider;
    struct provider_info info;
    struct propagation_options options;
    char *fqdn, *zone;
    struct buf token, key_auth, value, state;
    const char *domain;
    struct loop_timer confirm_timer;
    uint64_t confirm_until_ns;
    bool good; /* the last step's end */
};

/* Runs the loop until the step's callback has stopped it. */
static bool step_is_good(struct trial *t)
{
    return result_is_ok(loop_run(t->loop)) && t->good;
}

static void end_step(struct trial *t, bool good, const char *text)
{
    t->good = good;
    printf("%s%s%s\n", good ? "ok" : "FAILED", text && text[0] ? ": " : "", text ? text : "");
    loop_stop(t->loop);
}

static void begin_step(const char *what, const char *about)
{
    printf("%s%s%s ... ", what, about ? " " : "", about ? about : "");
    fflush(stdout);
}

static void take_info(void *arg, const struct provider_info *info, const struct provider_answer *a)
{
    struct trial *t = arg;
    char text[256];
    if (!info) {
        end_step(t, false, a->text);
        return;
    }
    t->info = *info;
    snprintf(text, sizeof text, "version %.60s, TTL %u s, up to %u s until values are visible",
             info->version, info->ttl_s, info->propagation_timeout_s);
    end_step(t, true, text);
}

static void take_place(void *arg, const struct propagation_place *place)
{
    struct trial *t = arg;
    if (place->ok) {
        free(t->fqdn);
        t->fqdn = mem_strdup(place->fqdn);
        t->zone = mem_strdup(place->zone);
    }
    end_step(t, place->ok, place->text[0] || !place->ok ? place->text : place->zone);
}

static void take_answer(void *arg, const struct provider_answer *a)
{
    struct trial *t = arg;
    if (a->state.len) {
        t->state.len = 0;
        buf_put_span(&t->state, a->state);
    }
    end_step(t, a->verdict == PROVIDER_OK, a->text);
}

static void take_progress(void *arg, const char *text)
{
    printf("\n  waiting: %s\n", text);
}

static void take_check(void *arg, const struct propagation_answer *a)
{
    end_step(arg, a->ok, a->text);
}

static struct provider_txt txt_of(const struct trial *t)
{
    return (struct provider_txt){.fqdn = span_str(t->fqdn),
                                 .zone = span_str(t->zone),
                                 .value = buf_span(&t->value),
                                 .domain = span_str(t->domain),
                                 .token = buf_span(&t->token),
                                 .key_auth = buf_span(&t->key_auth)};
}

static uint64_t limit_ns(const struct trial *t)
{
    return clock_now_ns() + t->info.call_timeout_s * NS_PER_S;
}

static bool prepare(struct trial *t)
{
    begin_step("plug-in", NULL);
    provider_describe(t->provider, take_info, t);
    if (!step_is_good(t))
        return false;
    t->options.timeout_s = t->info.propagation_timeout_s;
    t->options.interval_s = t->info.polling_interval_s;
    begin_step("zone of", t->fqdn);
    propagation_find(t->loop, &t->options, t->fqdn, take_place, t);
    if (!step_is_good(t))
        return false;
    struct provider_txt txt = txt_of(t);
    begin_step("credentials", NULL);
    provider_probe(t->provider, &txt, limit_ns(t), take_answer, t);
    return step_is_good(t);
}

static void take_confirmation(void *arg, const struct provider_answer *a)
{
    struct trial *t = arg;
    bool may_come = a->verdict == PROVIDER_RETRY || a->verdict == PROVIDER_RATE;
    if (may_come && clock_now_ns() < t->confirm_until_ns)
        loop_timer_set(t->loop, &t->confirm_timer,
                       clock_now_ns() + t->options.interval_s * NS_PER_S);
    else
        end_step(t, a->verdict == PROVIDER_OK, a->text);
}

static void ask_confirmation(struct loop_timer *timer)
{
    struct trial *t = LIST_ENTRY(timer, struct trial, confirm_timer);
    struct provider_txt txt = txt_of(t);
    provider_confirm(t->provider, &txt, buf_span(&t->state), limit_ns(t), take_confirmation, t);
}

/* Once a value may exist it is removed, whatever happens in between. */
static bool make_and_remove(struct trial *t)
{
    struct provider_txt txt = txt_of(t);
    begin_step("TXT value at", t->fqdn);
    provider_present(t->provider, &txt, limit_ns(t), take_answer, t);
    bool good = step_is_good(t);
    if (good && t->info.confirms) {
        begin_step("put into effect by the service", NULL);
        t->confirm_until_ns = clock_now_ns() + t->options.timeout_s * NS_PER_S;
        ask_confirmation(&t->confirm_timer);
        good = step_is_good(t);
    }
    if (good) {
        const char *value = buf_cstr(&t->value);
        begin_step("visible at every name server of", t->zone);
        propagation_check(t->loop, &t->options, t->fqdn, t->zone, &value, 1, take_progress,
                          take_check, t);
        good = step_is_good(t);
    }
    begin_step("removed again", NULL);
    provider_cleanup(t->provider, &txt, buf_span(&t->state), limit_ns(t), take_answer, t);
    return step_is_good(t) && good;
}

/* A token, a key authorization and the TXT value that belong together (RFC 8555 sections 8.1, 8.4):
 * some services are given the parts. */
static void make_challenge(struct trial *t)
{
    uint8_t bytes[VALUE_BYTES], digest[DIGEST_BYTES_MAX];
    random_bytes(bytes, sizeof bytes);
    base64url_put(&t->token, span_of(bytes, sizeof bytes));
    random_bytes(bytes, sizeof bytes);
    buf_put_span(&t->key_auth, buf_span(&t->token));
    buf_put_str(&t->key_auth, ".");
    base64url_put(&t->key_auth, span_of(bytes, sizeof bytes));
    digest_once(DIGEST_SHA256, buf_span(&t->key_auth), digest);
    base64url_put(&t->value, span_of(digest, digest_bytes(DIGEST_SHA256)));
    (void)buf_cstr(&t->value);
}

static bool run_steps(struct trial *t)
{
    make_challenge(t);
    return prepare(t) && make_and_remove(t);
}

static struct result open_trial(struct trial *t, const struct config *config,
                                const struct config_resolver *r, const char *code, struct why *why)
{
    t->options = (struct propagation_options){.port = 53, .successes = CHECK_SUCCESSES};
    if (r) {
        t->options.resolvers = r->dns_resolvers;
        t->options.resolver_count = r->dns_resolver_count;
        t->options.port = r->propagation_port;
    }
    TRY(loop_create(&t->loop, why));
    loop_timer_init(&t->confirm_timer, ask_confirmation);
    TRY(provider_host_create(t->loop, SELF, config->plugin_directories,
                             config->plugin_directory_count, &t->host, why));
    return provider_get(t->host, code, r ? r->env : NULL, r ? r->env_count : 0, &t->provider, why);
}

int trial_run(const struct config *config, const struct config_resolver *resolver, const char *code,
              const char *domain)
{
    struct trial t = {.domain = domain};
    struct why why;
    if (strncmp(domain, "*.", 2) == 0)
        t.domain = domain + 2;
    t.fqdn = mem_printf("_acme-challenge.%s.", t.domain);
    struct result r = open_trial(&t, config, resolver, code, &why);
    bool good = false;
    if (result_is_ok(r))
        good = run_steps(&t);
    else
        fprintf(stderr, "ferrule provider test: %s\n", why.text);
    if (t.host)
        provider_host_destroy(t.host);
    if (t.loop)
        loop_destroy(t.loop);
    free(t.fqdn);
    free(t.zone);
    buf_free(&t.token);
    buf_free(&t.key_auth);
    buf_free(&t.value);
    buf_free(&t.state);
    return good ? 0 : 1;
}

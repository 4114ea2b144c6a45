/* SPDX-License-Identifier: Apache-2.0 */
#include "control/resolver.h"

#include "base/clock.h"
#include "base/list.h"
#include "base/log.h"
#include "crypto/digest.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

/* A hash, so that no secret of the environment is stored; 64 bits are enough to see a change. */
static void make_fingerprint(struct resolver *r)
{
    const struct config_resolver *c = r->config;
    struct buf text = {0}, hex = {0};
    uint8_t hash[DIGEST_BYTES_MAX];
    const char *texts[] = {
        c->ca_server,    c->ca_server_name, c->email,
        c->dns_provider, c->eab_kid,        c->eab_hmac,
        c->profile,      c->storage,        c->http_challenge ? c->http_challenge_entrypoint : ""};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        buf_printf(&text, "%s\n", texts[i] ? texts[i] : "");
    buf_printf(&text, "%d\n%d\n%d\n%u\n%llu\n", c->key_type, c->no_common_name, c->tls_challenge,
               c->propagation_port, (unsigned long long)c->client_timeout_ms);
    buf_printf(&text, "%d %d %d %u %u\n", c->propagation_authoritative, c->propagation_recursive,
               c->propagation_try, c->propagation_successes, c->propagation_timeout_s);
    buf_printf(&text, "%d %d %d %d\n", c->check_caa, c->check_clock, c->check_disk, c->must_staple);
    buf_printf(&text, "%d %d %d %u\n", c->check_address, c->check_port, c->check_txt,
               c->public_address_count);
    for (uint32_t i = 0; i < c->ca_server_count; i++)
        buf_printf(&text, "%s\n", c->ca_servers[i]);
    for (uint32_t i = 0; i < c->email_address_count; i++)
        buf_printf(&text, "%s\n", c->email_addresses[i]);
    for (uint32_t i = 0; i < c->env_count; i++)
        buf_printf(&text, "%s=%s\n", c->env[i].name, c->env[i].value);
    for (uint32_t i = 0; i < c->dns_resolver_count; i++)
        buf_printf(&text, "%s\n", c->dns_resolvers[i]);
    for (uint32_t i = 0; i < c->ca_certificate_count; i++)
        buf_printf(&text, "%s\n", c->ca_certificates[i]);
    digest_once(DIGEST_SHA256, buf_span(&text), hash);
    hex_put(&hex, span_of(hash, 8));
    snprintf(r->fingerprint, sizeof r->fingerprint, "%.*s", SPAN_FMT(buf_span(&hex)));
    buf_wipe_free(&text);
    buf_free(&hex);
}

/* Folders on the way from the state directory to a storage in it; others are for a person to make.
 * What cannot be made is told when the storage is opened. */
static void make_folders(const char *state_directory, const char *storage)
{
    size_t len = strlen(state_directory);
    if (strncmp(storage, state_directory, len) != 0 || storage[len] != '/')
        return;
    for (const char *slash = storage + len + 1; (slash = strchr(slash, '/')); slash++) {
        char *folder = mem_strndup(storage, (size_t)(slash - storage));
        mkdir(folder, 0700);
        free(folder);
    }
}

static struct result open_store(struct resolver_set *set, uint32_t index, struct why *why)
{
    const char *path = set->config->resolvers[index].storage;
    for (uint32_t i = 0; i < index; i++)
        if (!strcmp(set->config->resolvers[i].storage, path)) {
            set->items[index].store = set->items[i].store;
            if (!set->items[i].store)
                return why_fail(why, ERR_STORE, "%s", set->items[i].problem.text);
            return result_ok();
        }
    make_folders(set->config->state_directory, path);
    TRY(store_pool_take(set->pool, path, &set->items[index].store, why));
    set->stores[set->store_count++] = set->items[index].store;
    return result_ok();
}

static void prepare_provider(struct resolver *r, struct provider_host *host)
{
    const struct config_resolver *c = r->config;
    bool others = c->http_challenge || c->tls_challenge;
    r->dns_problem.text[0] = 0;
    if (!c->dns_provider || !c->dns_provider[0]) {
        snprintf(r->dns_problem.text, sizeof r->dns_problem.text,
                 "resolver %s has no dnsChallenge.provider", c->name);
    } else if (!result_is_ok(provider_get(host, c->dns_provider, c->env, c->env_count, &r->provider,
                                          &r->dns_problem))) {
        r->provider = NULL;
        if (others)
            log_error("resolver %s cannot use dns-01: %s", c->name, r->dns_problem.text);
    }
    if (!r->provider && !others)
        r->problem = r->dns_problem;
}

/* The first CA's account stands under the resolver's name, as in Traefik's file. */
static struct result open_ca(struct resolver_set *set, struct resolver *r, struct resolver_ca *ca)
{
    char *account = ca == &r->cas[0] ? mem_strdup(r->config->name)
                                     : mem_printf("%s (%.*s)", r->config->name,
                                                  SPAN_FMT(acme_url_host(ca->url)));
    struct result result =
        acme_create(set->loop, r->config, ca->url, account, r->store, &ca->acme, &r->problem);
    free(account);
    return result;
}

static struct result open_cas(struct resolver_set *set, struct resolver *r)
{
    const struct config_resolver *c = r->config;
    r->ca_count = c->ca_server_count;
    for (uint32_t i = 0; i < r->ca_count; i++) {
        r->cas[i].url = c->ca_servers[i];
        TRY(open_ca(set, r, &r->cas[i]));
    }
    r->staging.url = c->ca_staging;
    return c->ca_staging[0] ? open_ca(set, r, &r->staging) : result_ok();
}

/* What is missing is this resolver's problem alone: everything else is served and renewed. */
static void prepare(struct resolver_set *set, uint32_t index)
{
    struct resolver *r = &set->items[index];
    r->config = &set->config->resolvers[index];
    r->all = set->config;
    make_fingerprint(r);
    prepare_provider(r, set->host);
    struct result result = open_store(set, index, &r->problem);
    if (result_is_ok(result))
        result = open_cas(set, r);
    if (r->problem.text[0])
        log_error("resolver %s cannot obtain certificates: %s", r->config->name, r->problem.text);
}

static bool has_no_store(const struct resolver_set *set)
{
    for (uint32_t i = 0; i < set->count; i++)
        if (!set->items[i].store)
            return true;
    return false;
}

static void plan_again(struct resolver_set *set)
{
    if (has_no_store(set))
        loop_timer_set(set->loop, &set->again, clock_now_ns() + RESOLVER_STORE_AGAIN_S * NS_PER_S);
}

static void open_again(struct resolver_set *set, uint32_t index)
{
    struct resolver *r = &set->items[index];
    struct why why;
    uint32_t before = set->store_count;
    if (!result_is_ok(open_store(set, index, &why))) {
        if (strcmp(why.text, r->problem.text) != 0)
            log_error("resolver %s cannot obtain certificates: %s", r->config->name, why.text);
        r->problem = why;
        return;
    }
    r->problem.text[0] = 0;
    if (!r->provider)
        prepare_provider(r, set->host);
    struct result result = open_cas(set, r);
    log_info("resolver %s: %s is open now%s%s", r->config->name, r->config->storage,
             result_is_ok(result) ? "" : ", but ", r->problem.text);
    if (set->store_count > before)
        set->opened(set->arg, r->store);
}

static void timer_fired(struct loop_timer *t)
{
    struct resolver_set *set = LIST_ENTRY(t, struct resolver_set, again);
    for (uint32_t i = 0; i < set->count; i++)
        if (!set->items[i].store)
            open_again(set, i);
    plan_again(set);
}

void resolver_set_open(struct loop *loop, const struct config *config, struct provider_host *host,
                       struct store_pool *pool, void (*opened)(void *arg, struct store *store),
                       void *arg, struct resolver_set *ret)
{
    *ret =
        (struct resolver_set){.items = mem_zalloc(config->resolver_count * sizeof(struct resolver)),
                              .stores = mem_zalloc(config->resolver_count * sizeof(struct store *)),
                              .count = config->resolver_count,
                              .loop = loop,
                              .config = config,
                              .host = host,
                              .pool = pool,
                              .opened = opened,
                              .arg = arg};
    loop_timer_init(&ret->again, timer_fired);
    for (uint32_t i = 0; i < config->resolver_count; i++)
        prepare(ret, i);
    plan_again(ret);
}

void resolver_set_close(struct resolver_set *set)
{
    if (set->loop)
        loop_timer_cancel(set->loop, &set->again);
    for (uint32_t i = 0; i < set->count; i++) {
        for (uint32_t k = 0; k < set->items[i].ca_count; k++)
            acme_destroy(set->items[i].cas[k].acme);
        acme_destroy(set->items[i].staging.acme);
    }
    for (uint32_t i = 0; i < set->store_count; i++)
        store_pool_give_back(set->pool, set->stores[i]);
    free(set->items);
    free(set->stores);
    *set = (struct resolver_set){0};
}

void resolver_set_rest(struct resolver_set *set)
{
    loop_timer_cancel(set->loop, &set->again);
}

void resolver_set_inherit(struct resolver_set *set, const struct resolver_set *old)
{
    for (uint32_t i = 0; i < old->count; i++) {
        struct resolver *r = resolver_find(set, old->items[i].config->name);
        for (uint32_t k = 0; r && k < old->items[i].ca_count; k++) {
            struct resolver_ca *ca = resolver_find_ca(r, old->items[i].cas[k].url);
            if (ca)
                ca->hold_until_s = old->items[i].cas[k].hold_until_s;
        }
    }
}

uint32_t resolver_set_running(const struct resolver_set *set)
{
    uint32_t running = 0;
    for (uint32_t i = 0; i < set->count; i++)
        running += set->items[i].running;
    return running;
}

bool resolver_set_has(const struct resolver_set *set, const struct store *store)
{
    for (uint32_t i = 0; i < set->store_count; i++)
        if (set->stores[i] == store)
            return true;
    return false;
}

struct resolver *resolver_find(struct resolver_set *set, const char *name)
{
    for (uint32_t i = 0; i < set->count; i++)
        if (!strcmp(set->items[i].config->name, name))
            return &set->items[i];
    return NULL;
}

struct resolver_ca *resolver_find_ca(struct resolver *r, const char *url)
{
    for (uint32_t i = 0; i < r->ca_count; i++)
        if (!strcmp(r->cas[i].url, url))
            return &r->cas[i];
    return r->staging.url && r->staging.url[0] && !strcmp(r->staging.url, url) ? &r->staging : NULL;
}

struct propagation_options resolver_propagation(const struct resolver *r)
{
    const struct config_resolver *c = r->config;
    const struct provider_info *i = &r->info;
    uint32_t timeout_s =
        c->propagation_timeout_s ? c->propagation_timeout_s : i->propagation_timeout_s;
    uint32_t interval_s =
        c->propagation_interval_s ? c->propagation_interval_s : i->polling_interval_s;
    return (struct propagation_options){
        .resolvers = c->dns_resolvers,
        .resolver_count = c->dns_resolver_count,
        .port = c->propagation_port,
        .skip_servers = !c->propagation_authoritative,
        .ask_resolvers = c->propagation_recursive,
        .successes = c->propagation_successes,
        .timeout_s = timeout_s ? timeout_s : 60,
        .interval_s = interval_s ? interval_s : 2,
    };
}

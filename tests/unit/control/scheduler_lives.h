/* SPDX-License-Identifier: Apache-2.0 */
/* The lives of a scheduler in the faked world (world.h): each begins with what the one before left
 * on disk, and ends when nothing is left to do, when its time is over, or with its death. Included
 * by scheduler_test.c behind scheduler.c. */
#pragma once

#include "unit.h"
#include "world_ca.h"

#define DAY_NS (86400 * NS_PER_S)

static const char *names[] = {"a.test", "*.a.test"};
static struct config_domain domain = {names, 2};
static struct config_resolver config_resolver = {.name = "le",
                                                 .ca_server = "https://ca/dir",
                                                 .dns_provider = "fake",
                                                 .key_type = KEY_EC256,
                                                 .certificate_timeout_s = 900,
                                                 .propagation_authoritative = true,
                                                 .propagation_port = 53};
static struct config_router router = {.tls = true, .domains = &domain, .domain_count = 1};
static struct config config = {.routers = &router,
                               .router_count = 1,
                               .resolvers = &config_resolver,
                               .resolver_count = 1,
                               .duplicate_budget = 5};
static struct scheduler *scheduler;

static void know(int64_t from_s, int64_t to_s)
{
    struct store_cert cert = {.resolver = (char *)"le",
                              .main = (char *)names[0],
                              .sans = (char **)&names[1],
                              .san_count = 1};
    scheduler_know(scheduler, &cert, from_s, to_s, 1, w->ari_id);
}

static void on_publish(void *arg, const struct store_cert *cert)
{
    w->published++;
    know(clock_wall_s(), clock_wall_s() + w->life_s - 1);
}

static bool asked, forced; /* somebody asks for a renewal */
static bool revoked;       /* the CA says so of the certificate at hand */

static void ask_for_renewal(void)
{
    struct why why = {{0}};
    const struct want *want = &scheduler_wants(scheduler)->items[0];
    if (!scheduler_renew(scheduler, want, forced, &why))
        memcpy(w->last_answer, why.text, sizeof w->last_answer);
}

static void keep_plan(void)
{
    struct scheduler_plan plan;
    if (!scheduler_wants(scheduler)->count)
        return;
    scheduler_plan(scheduler, &scheduler_wants(scheduler)->items[0], &plan);
    snprintf(w->planned_ca, sizeof w->planned_ca, "%s", plan.ca);
    w->planned_left = (int)plan.budget - (int)plan.used;
}

static bool is_settled(void)
{
    return list_is_empty(&queue) && scheduler_running(scheduler) == 0;
}

/* One life of the control process: until the limit, or settled with a certificate when `until` says
 * so, or death. */
static void live(uint64_t limit_ns, int certificates)
{
    struct resolver resolver = {
        .config = &config_resolver,
        .cas = {{.url = "https://ca/dir", .acme = (struct acme *)1},
                {.url = "https://ca2/dir", .acme = (struct acme *)2}},
        .ca_count = w->ca_count ? w->ca_count : 1,
        .staging = {.url = "https://staging/dir", .acme = w->has_staging ? (struct acme *)3 : NULL},
        .store = (struct store *)1,
        .provider = (struct provider *)1};
    struct resolver_set resolvers = {.items = &resolver, .count = 1};
    start_world();
    struct scheduler_options options = {.config = &config,
                                        .resolvers = &resolvers,
                                        .ledger = ledger_create(NULL),
                                        .publish = on_publish};
    scheduler = scheduler_create(&options);
    if (w->stored)
        know(w->stored_from_s, w->stored_to_s);
    scheduler_start(scheduler);
    if (asked)
        ask_for_renewal();
    if (revoked) {
        scheduler_revoked(scheduler, "le", names, 2, w->stored_from_s - 1); /* another one */
        must(!scheduler_wants(scheduler)->items[0].revoked);
        scheduler_revoked(scheduler, "le", names, 2, w->stored_from_s);
    }
    while (turn(limit_ns))
        if (w->stored >= certificates && is_settled() && !journal_count())
            break;
    keep_plan();
    ledger_destroy(options.ledger);
    scheduler_destroy(scheduler);
    _exit(0);
}

/* Runs one life in a process of its own; true when it died at its boundary. */
static bool life(uint64_t limit_ns, int certificates)
{
    int status;
    w->boundary = 0;
    fflush(NULL);
    pid_t child = fork();
    assert_int_not_equal(child, -1);
    if (child == 0)
        live(limit_ns, certificates);
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    assert_true(WEXITSTATUS(status) == 0 || WEXITSTATUS(status) == DIED);
    return WEXITSTATUS(status) == DIED;
}

/* Another configuration after `turns` turns of the loop: the same names (gone: none) with resolvers
 * of its own, as after a reload. Then until all has settled. */
static void live_with_reload(int turns, bool gone)
{
    struct resolver old = {.config = &config_resolver,
                           .cas = {{.url = "https://ca/dir", .acme = (struct acme *)1}},
                           .ca_count = 1,
                           .staging = {.url = ""},
                           .store = (struct store *)1,
                           .provider = (struct provider *)1};
    struct resolver new = old;
    struct resolver_set before = {.items = &old, .count = 1}, after = {.items = &new, .count = 1};
    struct config without = config;
    without.router_count = 0;
    start_world();
    struct scheduler_options options = {.config = &config,
                                        .resolvers = &before,
                                        .ledger = ledger_create(NULL),
                                        .publish = on_publish};
    scheduler = scheduler_create(&options);
    scheduler_start(scheduler);
    while (turns-- > 0 && turn(DAY_NS))
        ;
    scheduler_reload(scheduler, gone ? &without : &config, &after);
    scheduler_wake(scheduler);
    while (turn(DAY_NS))
        if ((gone || w->stored) && is_settled() && !journal_count())
            break;
    must(old.running == 0);
    ledger_destroy(options.ledger);
    scheduler_destroy(scheduler);
    _exit(0);
}

static void run_with_reload(int turns, bool gone)
{
    int status;
    fflush(NULL);
    pid_t child = fork();
    assert_int_not_equal(child, -1);
    if (child == 0)
        live_with_reload(turns, gone);
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
}

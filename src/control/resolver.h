/* SPDX-License-Identifier: Apache-2.0 */
/* control/resolver.h - one [certificatesResolvers.X] at work: its account, store and DNS provider.
 * Thread: control.   Owns: the ACME clients; stores belong to the pool, providers to their host.
 * Never: asks a CA or a provider for anything by itself. */
#pragma once

#include "control/acme/acme.h"
#include "control/propagation/propagation.h"
#include "control/provider/host.h"
#include "control/store/pool.h"

struct resolver_ca {
    const char *url;
    struct acme *acme;    /* NULL: the resolver's `problem` says why */
    int64_t hold_until_s; /* the CA asked everybody to wait; wall seconds */
};

struct resolver {
    const struct config_resolver *config;
    const struct config *all;               /* that it is a part of */
    struct resolver_ca cas[CONFIG_CAS_MAX]; /* to be tried in this order */
    uint32_t ca_count;
    struct resolver_ca staging; /* for rehearsals; url "" = none */
    struct store *store;        /* NULL: `problem` says why */
    struct provider *provider;  /* the same */
    struct why problem;         /* "" or why no order can succeed */
    struct why dns_problem;     /* "" or why dns-01 is not possible */
    struct provider_info info;  /* after the first provider_describe() */
    char fingerprint[33];       /* of the settings that decide whether an order succeeds */
    uint32_t running;           /* orders */
};

#define RESOLVER_STORE_AGAIN_S 5 /* between tries to open a store */

struct resolver_set {
    struct resolver *items;
    uint32_t count;
    struct store **stores; /* one per path */
    uint32_t store_count;
    struct loop *loop;
    const struct config *config;
    struct provider_host *host;
    struct store_pool *pool;
    struct loop_timer again; /* while a store is not open */
    /* A store could be opened after all. */
    void (*opened)(void *arg, struct store *store);
    void *arg;
};

/* Opens the stores and makes a client and a provider for each resolver. What is missing (a plug-in,
 * a CA file, a store) is logged and becomes that resolver's `problem`. A store that another process
 * holds, of the wrong owner or on a full disk is tried again every 5 s; `opened` tells then.
 * Everything is borrowed; *ret keeps its place until resolver_set_close(). */
void resolver_set_open(struct loop *loop, const struct config *config, struct provider_host *host,
                       struct store_pool *pool, void (*opened)(void *arg, struct store *store),
                       void *arg, struct resolver_set *ret);
/* It was replaced: stores that are not open are not tried any more. */
void resolver_set_rest(struct resolver_set *set);
void resolver_set_close(struct resolver_set *set);
/* What CAs asked for holds on in the set of the next configuration. */
void resolver_set_inherit(struct resolver_set *set, const struct resolver_set *old);
/* Orders that run by a resolver of the set. */
uint32_t resolver_set_running(const struct resolver_set *set);
/* True when the set uses the store. */
bool resolver_set_has(const struct resolver_set *set, const struct store *store);
/* By configured name; NULL when there is none. */
struct resolver *resolver_find(struct resolver_set *set, const char *name);
/* The CA with this directory, the one for rehearsals as well; NULL when it is none of its own. */
struct resolver_ca *resolver_find_ca(struct resolver *r, const char *url);
/* How DNS is asked for this resolver. Points into the configuration. */
struct propagation_options resolver_propagation(const struct resolver *r);

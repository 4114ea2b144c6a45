/* SPDX-License-Identifier: Apache-2.0 */
#include "control/snapshot_balance.h"

#include "base/buf.h"
#include "crypto/digest.h"

#include <stdio.h>
#include <stdlib.h>

#define SAME(name) ((int)SNAP_##name == (int)CONFIG_##name)
_Static_assert(SAME(SERVICE_SERVERS) && SAME(SERVICE_WEIGHTED) && SAME(SERVICE_HASHED) &&
                   SAME(SERVICE_FAILOVER) && SAME(STRATEGY_WRR) && SAME(STRATEGY_P2C) &&
                   SAME(STRATEGY_HRW) && SAME(STRATEGY_LEAST_TIME) &&
                   (int)SNAP_SERVICE_LEVELS == (int)CONFIG_SERVICE_LEVELS,
               "kinds are copied by their numbers");
#undef SAME

#define COOKIE_CHARS 16

/* The first half of a SHA-256 in hexadecimal: says nothing of the server's name or address, and is
 * the same in every process. */
static struct span cookie_of(const char *text)
{
    uint8_t digest[DIGEST_BYTES_MAX];
    char *hex = mem_alloc(COOKIE_CHARS + 1);
    digest_once(DIGEST_SHA256, span_str(text), digest);
    for (int i = 0; i < COOKIE_CHARS / 2; i++)
        snprintf(hex + 2 * i, 3, "%02x", digest[i]);
    return span_of(hex, COOKIE_CHARS);
}

/* Traefik names a server in its cookies by the hash of this: FNV-1 of its URL. */
static struct span server_cookie(const char *url)
{
    uint64_t h = 14695981039346656037ull;
    char text[17];
    for (const char *c = url; *c; c++)
        h = (h * 1099511628211ull) ^ (uint8_t)*c;
    snprintf(text, sizeof text, "%llx", (unsigned long long)h);
    return cookie_of(text);
}

void snapshot_balance_put(struct snapshot *s, const struct config *config)
{
    uint32_t members = 0;
    for (uint32_t i = 0; i < config->service_count; i++)
        members += config->services[i].member_count;
    s->members = mem_zalloc((members + 1) * sizeof *s->members);
    for (uint32_t i = 0; i < config->service_count; i++) {
        const struct config_service *c = &config->services[i];
        struct snap_service *out = &s->services[i];
        out->kind = c->kind;
        out->strategy = c->strategy;
        out->level = c->level;
        out->first_member = s->member_count;
        out->member_count = c->member_count;
        out->cookie_name = span_str(c->cookie_name);
        out->cookie_attributes = span_str(c->cookie_attributes);
        out->passive_failures = c->passive_failures;
        out->passive_window_ms = (uint32_t)c->passive_window_ms; /* at most a day */
        for (uint32_t k = 0; k < c->member_count; k++) {
            struct snap_member *m = &s->members[s->member_count++];
            *m = (struct snap_member){c->members[k].service, c->members[k].weight, {NULL, 0}};
            if (c->cookie_name)
                m->cookie = cookie_of(config->services[m->service].name);
        }
        for (uint32_t k = 0; k < c->server_count && c->cookie_name; k++)
            s->servers[out->first_server + k].cookie = server_cookie(c->servers[k].url);
    }
}

void snapshot_balance_free(struct snapshot *s)
{
    for (uint32_t i = 0; i < s->member_count; i++)
        free((void *)s->members[i].cookie.ptr);
    for (uint32_t i = 0; i < s->server_count; i++)
        free((void *)s->servers[i].cookie.ptr);
    free(s->members);
}

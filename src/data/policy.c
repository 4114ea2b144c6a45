/* SPDX-License-Identifier: Apache-2.0 */
#include "data/policy.h"

#include "base/buf.h"
#include "base/log.h"
#include "base/must.h"
#include "data/tls/session.h"

#include <stdlib.h>

/* FNV-1a over what a connection has to share with a host to be good for it. A reload that asks
 * for client certificates asks those that are connected too. */
static uint32_t tag_of(const struct snap_tls *tls)
{
    uint32_t h = (2166136261u ^ tls->client_auth) * 16777619u;
    for (size_t i = 0; i < tls->name.len; i++)
        h = (h ^ tls->name.ptr[i]) * 16777619u;
    return h;
}

void policy_adopt(struct policy_set *set, const struct snapshot *s)
{
    struct policy_entry *entries = mem_zalloc((s->tls_count + 1) * sizeof *entries);
    for (uint32_t i = 0; i < s->tls_count; i++)
        entries[i].tag = tag_of(&s->tls[i]);
    policy_clear(set);
    *set = (struct policy_set){entries, s->tls_count};
}

void policy_clear(struct policy_set *set)
{
    for (uint32_t i = 0; i < set->count; i++)
        tls_policy_destroy(set->entries[i].policy);
    free(set->entries);
    *set = (struct policy_set){0};
}

struct tls_policy *policy_get(struct policy_set *set, const struct snapshot *s, uint32_t tls)
{
    must(tls < set->count && set->count == s->tls_count);
    struct policy_entry *e = &set->entries[tls];
    if (e->policy || e->broken)
        return e->policy;
    struct why why = {0};
    if (!result_is_ok(tls_policy_create(&s->tls[tls], &e->policy, &why))) {
        e->broken = true;
        log_error("TLS options '%.*s': %s", SPAN_FMT(s->tls[tls].name), why.text);
        return NULL;
    }
    tls_policy_offer(e->policy, TLS_ALPN_H2 | TLS_ALPN_HTTP11);
    return e->policy;
}

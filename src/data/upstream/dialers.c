/* SPDX-License-Identifier: Apache-2.0 */
#include "data/upstream/dialers.h"

#include "base/buf.h"
#include "base/log.h"
#include "base/must.h"
#include "data/tls/dialer.h"

#include <stdlib.h>

void dialers_adopt(struct dialers *set, const struct snapshot *s)
{
    struct dialer_entry *entries = mem_zalloc((s->transport_count + 1) * sizeof *entries);
    for (uint32_t i = 0; i < s->transport_count; i++) {
        struct dialer_entry *e = &entries[i];
        e->id = s->transports[i].id;
        for (uint32_t k = 0; k < set->count && !e->dialer; k++) {
            if (set->entries[k].id != e->id)
                continue;
            e->dialer = set->entries[k].dialer;
            e->broken = set->entries[k].broken;
            set->entries[k].dialer = NULL;
        }
    }
    dialers_clear(set);
    *set = (struct dialers){entries, s->transport_count};
}

void dialers_clear(struct dialers *set)
{
    for (uint32_t i = 0; i < set->count; i++)
        tls_dialer_destroy(set->entries[i].dialer);
    free(set->entries);
    *set = (struct dialers){0};
}

struct tls_dialer *dialers_get(struct dialers *set, const struct snapshot *s, uint64_t id)
{
    must(set->count == s->transport_count);
    uint32_t i = 0;
    while (i < set->count && set->entries[i].id != id)
        i++;
    struct dialer_entry *e = i < set->count ? &set->entries[i] : NULL;
    if (!e || e->dialer || e->broken)
        return e ? e->dialer : NULL;
    struct why why = {0};
    if (result_is_ok(tls_dialer_create(s, &s->transports[i], &e->dialer, &why)))
        return e->dialer;
    e->broken = true;
    log_error("serversTransport '%.*s': %s", SPAN_FMT(s->transports[i].name), why.text);
    return NULL;
}

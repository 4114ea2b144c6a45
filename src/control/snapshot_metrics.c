/* SPDX-License-Identifier: Apache-2.0 */
#include "control/snapshot_metrics.h"

#include "base/must.h"
#include "crypto/digest.h"

#include <string.h>

_Static_assert(CONFIG_BOUNDS_MAX == SERIES_BOUNDS_MAX,
               "all bounds that may be written are counted");

/* The begin of a SHA-256: the same over restarts of control, so that a counter goes on. */
static uint64_t id_of(const char *kind, struct span name, struct span more,
                      const struct snap_metrics *m)
{
    const struct span parts[] = {span_str(kind), name, more};
    uint8_t digest[DIGEST_BYTES_MAX];
    struct buf all = {0};
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        buf_put_be(&all, parts[i].len, 8);
        buf_put_span(&all, parts[i]);
    }
    for (uint32_t i = 0; m && i < m->bound_count; i++)
        buf_put_be(&all, m->bounds_ns[i], 8);
    digest_once(DIGEST_SHA256, buf_span(&all), digest);
    buf_free(&all);
    struct reader r = reader_of(span_of(digest, 8));
    uint64_t id = reader_be(&r, 8);
    return id ? id : 1;
}

void snapshot_metrics_build(struct snapshot *s, const struct config *config)
{
    const struct config_metrics *c = &config->metrics;
    struct snap_metrics *m = &s->metrics;
    m->on = c->on;
    m->ping_status = config->ping_status;
    m->bound_count = c->bound_count;
    memcpy(m->bounds_ns, c->bounds_ns, sizeof m->bounds_ns);
    for (uint32_t i = 0; i < s->entrypoint_count; i++) {
        struct snap_entrypoint *e = &s->entrypoints[i];
        /* Connections outlive a reload that begins or ends to count requests. */
        e->open_series = id_of("open", e->name, (struct span){0}, NULL);
        if (c->entrypoints)
            e->series = id_of("entrypoint", e->name, (struct span){0}, m);
    }
    for (uint32_t i = 0; c->routers && i < s->router_count; i++) {
        struct snap_router *r = &s->routers[i];
        r->series = id_of("router", r->name, s->services[r->service].name, m);
    }
    for (uint32_t i = 0; c->services && i < s->service_count; i++)
        s->services[i].series = id_of("service", s->services[i].name, (struct span){0}, m);
}

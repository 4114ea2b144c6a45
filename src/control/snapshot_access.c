/* SPDX-License-Identifier: Apache-2.0 */
#include "control/snapshot_access.h"

#include "base/buf.h"

#include <stdlib.h>

void snapshot_access_build(struct snapshot *s, const struct config *config)
{
    const struct config_access *c = &config->access;
    s->access =
        (struct snap_access){.on = c->on,
                             .json = c->json,
                             .buffered = c->buffered,
                             .only_retried = c->only_retried,
                             .min_ms = c->min_ms > UINT32_MAX ? UINT32_MAX : (uint32_t)c->min_ms,
                             .header_mode = c->header_mode,
                             .dropped = c->dropped,
                             .path = c->path ? span_str(c->path) : (struct span){0}};
    s->access_headers = mem_zalloc((c->header_count + 1) * sizeof *s->access_headers);
    s->access_statuses = mem_zalloc((c->status_count + 1) * sizeof *s->access_statuses);
    for (uint32_t i = 0; i < c->header_count; i++)
        s->access_headers[s->access_header_count++] =
            (struct snap_access_header){span_str(c->headers[i].name), c->headers[i].mode};
    for (uint32_t i = 0; i < c->status_count; i++)
        s->access_statuses[s->access_status_count++] =
            (struct snap_access_status){c->statuses[i].first, c->statuses[i].last};
}

void snapshot_access_free(struct snapshot *s)
{
    free(s->access_headers);
    free(s->access_statuses);
}

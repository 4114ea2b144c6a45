/* SPDX-License-Identifier: Apache-2.0 */
#include "data/upstream/pick.h"

#include "data/worker.h"

enum fitness { FIT_NOT = 0, FIT_RESTING = 1, FIT_GOOD = 2 };

static enum fitness fitness_of(struct worker *w, uint32_t server)
{
    const struct server_state *state = reader_server(w->reader, w->snapshot, server);
    if (!state || state->addr_count == 0 || !state->healthy)
        return FIT_NOT;
    return w->pool.servers[server]->rest_until_ns > w->now_ns ? FIT_RESTING : FIT_GOOD;
}

uint32_t pick_server(struct worker *w, const struct snap_service *service, uint32_t not )
{
    enum fitness fittest = FIT_NOT;
    uint32_t best = SNAP_NONE;
    int64_t total = 0;
    /* Smooth weighted round robin: each gains its weight, the richest pays the sum. A server that
     * is fitter than those before makes them drop out. */
    for (uint32_t i = 0; i < service->server_count; i++) {
        uint32_t server = service->first_server + i;
        if (server == not )
            continue;
        enum fitness fit = fitness_of(w, server);
        if (fit == FIT_NOT || fit < fittest)
            continue;
        if (fit > fittest) {
            fittest = fit;
            best = SNAP_NONE;
            total = 0;
        }
        uint32_t weight = w->snapshot->servers[server].weight;
        struct pool_server *p = w->pool.servers[server];
        p->turn += weight ? weight : 1;
        total += weight ? weight : 1;
        if (best == SNAP_NONE || p->turn > w->pool.servers[best]->turn)
            best = server;
    }
    if (best != SNAP_NONE)
        w->pool.servers[best]->turn -= total;
    return best;
}

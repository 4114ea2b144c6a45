/* SPDX-License-Identifier: Apache-2.0 */
#include "data/upstream/dial.h"

#include "base/clock.h"
#include "data/exchange.h"
#include "data/upstream/pick.h"
#include "data/upstream/multi.h"
#include "data/upstream/upconn.h"

/* Servers that one request tries. */
#define SERVERS_MAX     3
#define DIAL_DEFAULT_MS 30000u
/* Exchanges that wait for one HTTP/2 connection: what a server takes that has said nothing yet. */
#define WAITING_MAX 100u

/* The next server when the present one is used up. False: none. */
static bool next_server(struct worker *w, struct exchange *x)
{
    if (!x->can_move || ++x->servers_tried >= SERVERS_MAX || x->snapshot != w->snapshot)
        return false;
    if (!pick_other(w, &x->pick))
        return false;
    pick_note(w, x->service, x->server, false);
    pool_drop(x->server);
    x->server_index = x->pick.server;
    x->server = w->pool.servers[x->server_index];
    pool_hold(x->server);
    x->addresses_tried = 0;
    return true;
}

void dial_restart(struct worker *w, struct exchange *x)
{
    x->servers_tried = 0;
    (void)next_server(w, x);
    x->servers_tried = x->addresses_tried = 0;
    x->dial_until_ns = 0;
}

static const struct net_addr *next_address(struct worker *w, struct exchange *x)
{
    const struct server_state *state = reader_server(w->reader, x->snapshot, x->server_index);
    if (!state || x->addresses_tried >= state->addr_count)
        return NULL;
    return &state->addrs[x->addresses_tried++];
}

bool dial_is_alone(const struct exchange *x)
{
    const struct tunnel *t = &x->tunnel;
    bool on_stream = t->has_accept && x->server->takes_connect;
    return t->protocol_len > 0 && !x->server->h2c && !on_stream;
}

/* A connection for itself, which may turn out to be one that others can share. */
static struct result open_own(struct worker *w, struct exchange *x, const struct net_addr *address)
{
    struct upconn *upconn = upconn_open(w, x->server, address, x->self);
    if (!upconn)
        return result_fail(ERR_NO_SLOT);
    upconn->alone = dial_is_alone(x);
    upconn->tcp = x->tcp;
    x->lease = lease_ref_of(upconn);
    limit_set(&w->wheel, &upconn->limit, x->dial_until_ns);
    return result_ok();
}

/* The server speaks HTTP/2: one connection is made for all that come meanwhile. */
static struct result open_shared(struct worker *w, struct exchange *x,
                                 const struct net_addr *address)
{
    struct upconn *upconn = x->server->dialing;
    bool fresh = !upconn || upconn->waiting_count >= WAITING_MAX;
    if (fresh)
        upconn = upconn_open(w, x->server, address, (struct handle){0});
    if (!upconn)
        return result_fail(ERR_NO_SLOT);
    if (!multi_wait(w, upconn, x->self, &x->lease)) {
        if (fresh)
            upconn_close_begin(w, upconn);
        return result_fail(ERR_NO_SLOT);
    }
    upconn->waiting_count++;
    x->server->dialing = upconn;
    limit_set(&w->wheel, &multi_lease_of(lease_get(w, x->lease))->limit, x->dial_until_ns);
    return result_ok();
}

struct result dial_start(struct worker *w, struct exchange *x)
{
    if (x->dial_until_ns == 0) {
        uint32_t ms = x->service->dial_timeout_ms;
        x->dial_until_ns = w->now_ns + (ms ? ms : DIAL_DEFAULT_MS) * NS_PER_MS;
    }
    const struct net_addr *address = next_address(w, x);
    if (!address) {
        x->server->rest_until_ns = w->now_ns + DIAL_REST_NS;
        if (!next_server(w, x) || !(address = next_address(w, x)))
            return result_fail(ERR_REMOTE);
    }
    bool shared = x->server->h2c || (x->server->speaks_h2 && !dial_is_alone(x));
    return shared ? open_shared(w, x, address) : open_own(w, x, address);
}

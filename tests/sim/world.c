/* SPDX-License-Identifier: Apache-2.0 */
#include "world.h"

#include "h2_client.h"

#include "base/clock.h"
#include "crypto/key.h"
#include "crypto/x509.h"
#include "data/tls/session.h"

#include <stdio.h>
#include <stdlib.h>

#define TURNS_MAX 400000u

void world_fail(const struct world *world, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    fprintf(stderr, "scenario %s, seed %llu: ", world->scenario, (unsigned long long)world->seed);
    vfprintf(stderr, fmt, ap);
    fprintf(stderr, "\n");
    va_end(ap);
    exit(1);
}

uint64_t world_random(struct world *world, uint64_t below)
{
    world->random ^= world->random << 13;
    world->random ^= world->random >> 7;
    world->random ^= world->random << 17;
    return below ? world->random % below : 0;
}

bool world_chance(struct world *world, unsigned n)
{
    return world_random(world, n) == 0;
}

static void feed(struct world *world, struct buf *out)
{
    size_t used;
    struct why why = {0};
    if (!result_is_ok(publisher_feed(world->publisher, buf_span(out), &used, &why)) ||
        used != out->len)
        world_fail(world, "publisher: %s", why.text);
    buf_free(out);
}

static const struct snap_h2 h2_bounds = {250, 65535, 1048576, 8, 200, 1000, 100, 100};

static void put_snapshot(struct world *world, struct buf *out)
{
    static char urls[WORLD_SERVERS][32];
    struct snap_server servers[WORLD_SERVERS] = {0};
    struct snap_entrypoint entrypoints[2] = {{
        .name = SPAN_LITERAL("web"),
        .read_timeout_ms = world->body_ms ? 0 : 20000,
        .head_timeout_ms = 3000,
        .idle_timeout_ms = 10000,
        .handshake_timeout_ms = 5000,
        .head_max_bytes = world->head_max ? world->head_max : 16384,
        .h2 = h2_bounds,
        .grace_timeout_ms = 5000,
        .router_count = 1,
    }};
    struct snap_router routers[2] = {
        {.name = SPAN_LITERAL("all"), .node_count = 1, .tls = SNAP_NONE}};
    entrypoints[1] = entrypoints[0];
    entrypoints[1].name = SPAN_LITERAL("websecure");
    entrypoints[1].first_router = 1;
    entrypoints[1].tls = true;
    routers[1] = routers[0];
    routers[1].tls = 0;
    routers[1].entrypoint = 1;
    struct snap_rule_node node = {.op = SNAP_RULE_ANY};
    struct snap_service service = {.name = SPAN_LITERAL("s"),
                                   .server_count = world->servers,
                                   .pass_host_header = true,
                                   .dial_timeout_ms = 2000,
                                   .response_header_timeout_ms = 4000,
                                   .body_timeout_ms = world->body_ms,
                                   .idle_timeout_ms = 8000,
                                   .max_idle_per_server = world->max_idle};
    struct snap_transport transport = {.id = 1, .roots = SNAP_NONE};
    struct snap_tls tls = {
        .name = SPAN_LITERAL("default"), .min_version = 0x0303, .max_version = 0x0304};
    for (uint32_t i = 0; i < world->servers; i++) {
        snprintf(urls[i], sizeof urls[i], "http://198.51.100.%u:%u", i + 1, WORLD_PORT + i);
        servers[i] = (struct snap_server){.url = span_str(urls[i]),
                                          .host = span_str(urls[i]),
                                          .port = (uint16_t)(WORLD_PORT + i),
                                          .weight = 1};
    }
    struct snapshot s = {.version = ++world->version,
                         .conns_per_worker = world->conns,
                         .store_keep = 1,
                         .store_wait_ms = 500,
                         .entrypoints = entrypoints,
                         .routers = routers,
                         .rule_nodes = &node,
                         .services = &service,
                         .servers = servers,
                         .tls = &tls,
                         .entrypoint_count = 2,
                         .router_count = 2,
                         .rule_node_count = 1,
                         .transports = &transport,
                         .transport_count = 1,
                         .service_count = 1,
                         .server_count = world->servers,
                         .tls_count = 1};
    publish_snapshot(out, &s);
    for (uint32_t i = 0; i < world->servers; i++) {
        struct net_addr a;
        (void)net_addr_parse(span_str(urls[i] + 7), 0, &a);
        publish_server(out, world->version, i, &a, 1, true);
    }
}

static struct buf chain, key_der;

static void put_cert(struct buf *out)
{
    struct publish_cert cert = {
        .id = 1, .not_after_s = INT32_MAX, .chain = buf_span(&chain), .key = buf_span(&key_der)};
    publish_cert(out, &cert);
}

/* Made once: all worlds have the same. */
static void put_certificate(struct world *world, struct buf *out)
{
    if (!chain.len) {
        struct why why = {0};
        struct key *key;
        struct buf der = {0};
        const char *name = "a.test";
        if (!result_is_ok(session_library_init(&why)) ||
            !result_is_ok(key_generate(KEY_EC256, &key, &why)) ||
            !result_is_ok(x509_self_signed(key, &name, 1, 30, &der, &why)) ||
            !result_is_ok(key_to_der(key, &key_der)))
            world_fail(world, "certificate: %s", why.text);
        buf_put_be(&chain, der.len, 3);
        buf_put_span(&chain, buf_span(&der));
        buf_free(&der);
        key_free(key);
    }
    put_cert(out);
    publish_name(out, SPAN_LITERAL("a.test"), 1, 0, 0);
    publish_name(out, SPAN_LITERAL(""), 1, 0, PUBLISH_NAME_DEFAULT);
}

void world_publish(struct world *world)
{
    struct buf out = {0};
    put_snapshot(world, &out);
    feed(world, &out);
    publisher_collect(world->publisher);
}

/* The part of control: answers questions for a cold name, or is restarted and forgets them; the
 * certificate may be gone from the workers again before they have looked. */
static void control_turn(struct world *world)
{
    struct buf asked = {0}, out = {0};
    struct publish_heard heard;
    size_t used, done = 0;
    if (world->no_control) {
        publisher_take_asked(world->publisher, NULL);
        return;
    }
    publisher_take_asked(world->publisher, &asked);
    while (result_is_ok(publish_hear(span_skip(buf_span(&asked), done), &heard, &used))) {
        done += used;
        if (!world_chance(world, world->cold))
            continue;
        if (world_chance(world, 4)) {
            publish_name_remove(&out, heard.wanted);
        } else {
            put_cert(&out);
            publish_warm_name(&out, heard.wanted, 1, 0, 1 + world_random(world, 3));
        }
    }
    if (world_chance(world, 20))
        publish_cold_name(&out, SPAN_LITERAL("a.test"), 1 + world_random(world, 3));
    if (world_chance(world, 60)) {
        publisher_reset_stream(world->publisher);
        publish_sync_begin(&out);
        put_certificate(world, &out);
        publish_cold_name(&out, SPAN_LITERAL("a.test"), 1 + world_random(world, 3));
        put_snapshot(world, &out);
        publish_sync_end(&out);
    }
    feed(world, &out);
    publisher_collect(world->publisher);
    buf_free(&asked);
}

void world_make_cold(struct world *world)
{
    struct buf out = {0};
    publish_cold_name(&out, SPAN_LITERAL("a.test"), 1);
    feed(world, &out);
}

void world_open(struct world *world)
{
    struct why why = {0};
    struct buf out = {0};
    world->random = world->seed * 0x9e3779b97f4a7c15ull | 1;
    world->sim = ring_sim_create(world->calm ? 0 : world->seed);
    ring_sim_set_current(world->sim);
    if (!result_is_ok(publisher_create(1, 16, &world->publisher, &why)))
        world_fail(world, "publisher: %s", why.text);
    world->listeners[0] = (struct listener_config){ring_sim_listener(world->sim), "web"};
    world->listeners[1] = (struct listener_config){ring_sim_listener(world->sim), "websecure"};
    world->shared.notify_fd = -1;
    world->shared.accept = true;
    world->config = (struct worker_config){
        .conns = world->conns ? world->conns : 64,
        .ring_small = world->ring_small ? world->ring_small : 64,
        .ring_large = world->ring_large ? world->ring_large : 16,
        .pipes = world->pipes ? world->pipes : (uint32_t)(world->seed % 4),
        .one_shot_accept = world->seed % 5 == 2,
        .one_shot_recv = world->seed % 5 == 3,
        .listeners = world->listeners,
        .listener_count = 2,
        .publisher = world->publisher,
        .report = &world->page,
        .shared = &world->shared,
        .wake_fd = -1,
        .host_name = "edge",
    };
    memcpy(world->config.blocks, world->blocks, sizeof world->blocks);
    if (!result_is_ok(worker_open(&world->config, &world->w, &why)))
        world_fail(world, "worker: %s", why.text);
    publish_sync_begin(&out);
    put_certificate(world, &out);
    put_snapshot(world, &out);
    publish_sync_end(&out);
    feed(world, &out);
}

struct client *world_client(struct world *world, const struct request *requests, uint32_t count,
                            bool tls)
{
    struct client *c = &world->clients[world->client_count++];
    *c = (struct client){.count = count};
    memcpy(c->requests, requests, count * sizeof *requests);
    c->peer = ring_sim_client(world->sim, world->listeners[tls].fd);
    if (tls)
        c->tls = tls_client_create(world_chance(world, 4));
    return c;
}

static void take_origins(struct world *world)
{
    uint16_t port;
    for (int peer; (peer = ring_sim_accepted(world->sim, &port)) >= 0;) {
        world->origins =
            mem_grow(world->origins, (world->origin_count + 1) * sizeof *world->origins);
        world->origins[world->origin_count++] = (struct origin){.peer = peer, .port = port};
        if (world->origins_pause)
            ring_sim_set_window(world->sim, peer, 500);
    }
}

void world_turn(struct world *world)
{
    uint64_t wait_ns = world_random(world, 4) ? 0 : NS_PER_MS;
    if (world->w)
        (void)worker_step(world->w, world->w->now_ns + wait_ns);
    if (world->cold)
        control_turn(world);
    take_origins(world);
    for (uint32_t i = 0; i < world->origin_count && !world->origins_pause; i++)
        origin_turn(world, &world->origins[i]);
    for (uint32_t i = 0; i < world->client_count; i++)
        if (world->clients[i].outcome == OUTCOME_OPEN)
            client_turn(world, &world->clients[i]);
    /* When nothing can happen but by a timer, its time comes. */
    if (ring_sim_is_idle(world->sim))
        ring_sim_sleep(world->sim, 20 * NS_PER_MS);
}

void world_run(struct world *world)
{
    for (uint32_t turn = 0; turn < TURNS_MAX; turn++) {
        bool open = false;
        world_turn(world);
        for (uint32_t i = 0; i < world->client_count; i++)
            open |= world->clients[i].outcome == OUTCOME_OPEN;
        if (!open)
            return;
    }
    for (uint32_t i = 0; i < world->client_count; i++) {
        const struct client *c = &world->clients[i];
        if (c->outcome == OUTCOME_OPEN)
            fprintf(stderr,
                    "client %u: %u of %u answered, kind %u size %u body %u, %zu in, %zu out\n", i,
                    c->answered, c->count, c->requests[c->answered].kind,
                    c->requests[c->answered].size, c->requests[c->answered].body, c->in.len,
                    c->out.len);
    }
    world_fail(world, "no end after %u turns", TURNS_MAX);
}

void world_close(struct world *world)
{
    world->shared.drain = true;
    for (uint32_t turn = 0; worker_step(world->w, world->w->now_ns + NS_PER_MS); turn++) {
        if (ring_sim_is_idle(world->sim))
            ring_sim_sleep(world->sim, 20 * NS_PER_MS);
        if (turn > TURNS_MAX)
            world_fail(world, "does not drain: %u conns, %u upconns, %u pending",
                       world->w->conns.used, world->w->upconns.used, world->w->pending);
    }
    struct worker *w = world->w;
    if (w->conns.used || w->upconns.used || w->exchanges.used || w->streams.used ||
        w->h2_conns.used)
        world_fail(world, "slots are left");
    if (ring_sim_open_fds(world->sim))
        world_fail(world, "%u descriptors are left", ring_sim_open_fds(world->sim));
    if (world->page.values[REPORT_SLOTS_NOW] || world->page.values[REPORT_BLOCKS_NOW] ||
        world->page.values[REPORT_CONNS_NOW] || world->page.values[REPORT_UPCONNS_NOW] ||
        world->page.values[REPORT_TUNNELS_NOW] || world->page.values[REPORT_COLD_WAITING_NOW])
        world_fail(world, "gauges are not back at 0");
    worker_close(w);
    if (ring_sim_open_pipes(world->sim) || world->page.values[REPORT_PIPES_NOW])
        world_fail(world, "%u pipes are left", ring_sim_open_pipes(world->sim));
    publisher_destroy(world->publisher);
    ring_sim_destroy(world->sim);
    for (uint32_t i = 0; i < world->client_count; i++) {
        buf_free(&world->clients[i].in);
        buf_free(&world->clients[i].out);
        tls_client_free(world->clients[i].tls);
        h2_client_free(world->clients[i].h2);
    }
    for (uint32_t i = 0; i < world->origin_count; i++) {
        buf_free(&world->origins[i].in);
        buf_free(&world->origins[i].out);
    }
    free(world->origins);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* tests/sim/worker_sim.c - scenarios of a whole worker, each with many seeds.
 *
 *   worker_sim [SCENARIO|all [FIRST_SEED [SEEDS]]]
 *
 * The seed that fails is printed; the same seed fails again. */
#include "h2_client.h"
#include "world.h"

#include "base/clock.h"
#include "data/conn.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static struct world world;

static struct request random_request(enum kind kinds)
{
    struct request r = {.kind = (enum kind)world_random(&world, kinds)};
    static const uint32_t sizes[] = {0, 1, 64, 2000, 5000, 70000, 300000};
    r.size = sizes[world_random(&world, sizeof sizes / sizeof *sizes)];
    r.size += (uint32_t)world_random(&world, 3);
    if (world_chance(&world, 3)) {
        r.body = sizes[1 + world_random(&world, 6)] + (uint32_t)world_random(&world, 3);
        r.chunked = world_chance(&world, 2);
    } else if (world_chance(&world, 8)) {
        r.head = true;
    }
    if (r.kind == KIND_EARLY)
        r.body += 200000;
    return r;
}

static bool with_tls, with_h2;

static void add_clients(uint32_t count, enum kind kinds)
{
    for (uint32_t i = 0; i < count; i++) {
        struct request requests[REQUESTS_MAX];
        uint32_t n = 1 + (uint32_t)world_random(&world, REQUESTS_MAX);
        for (uint32_t j = 0; j < n; j++)
            requests[j] = random_request(kinds);
        requests[n - 1].close = world_chance(&world, 3);
        requests[n - 1].old = world_chance(&world, 6) && !requests[n - 1].chunked;
        struct client *c = world_client(&world, requests, n, with_tls && world_chance(&world, 2));
        if (with_h2 && world_chance(&world, 2))
            c->h2 = h2_client_create(&world, c);
        c->pipelines = world_chance(&world, 3);
        c->slow = world_chance(&world, 4);
    }
}

/* What must work works: no failure for a request that its origin answers. */
static void all_answered(void)
{
    for (uint32_t i = 0; i < world.client_count; i++) {
        const struct client *c = &world.clients[i];
        bool may_close = c->failures > 0;
        for (uint32_t j = 0; j < c->count; j++)
            may_close |= c->requests[j].kind == KIND_CLOSE && j + 1 < c->count;
        if (c->outcome != OUTCOME_DONE && !may_close)
            world_fail(&world, "client %u: %u of %u answered", i, c->answered, c->count);
    }
}

static void good(void)
{
    world_open(&world);
    add_clients(WORLD_CLIENTS, KIND_GOOD);
    world_run(&world);
    all_answered();
}

/* Requests without body, so that every stale connection can be tried again: no failure at all. */
static void stale(void)
{
    world_open(&world);
    for (uint32_t i = 0; i < WORLD_CLIENTS; i++) {
        struct request requests[REQUESTS_MAX];
        for (uint32_t j = 0; j < REQUESTS_MAX; j++)
            requests[j] = (struct request){.kind = world_chance(&world, 2) ? KIND_STALE : KIND_LEN,
                                           .size = (uint32_t)world_random(&world, 5000)};
        world_client(&world, requests, REQUESTS_MAX, false);
    }
    world_run(&world);
    for (uint32_t i = 0; i < world.client_count; i++)
        if (world.clients[i].outcome != OUTCOME_DONE || world.clients[i].failures > 0)
            world_fail(&world, "client %u: %u answered, %u failures", i, world.clients[i].answered,
                       world.clients[i].failures);
}

/* Control answers, now and then, that there is a certificate or that there is none, or is another
 * one that has not heard of the question. Every hello goes on, at the latest when its time is over,
 * and every request is answered. */
static void cold_names(void)
{
    world.cold = 1 + (uint32_t)world_random(&world, 4);
    world_open(&world);
    world_make_cold(&world);
    add_clients(WORLD_CLIENTS, KIND_GOOD);
    for (uint32_t i = 0; i < WORLD_CLIENTS; i++)
        world.clients[i].aborts = world_chance(&world, 6);
    world_run(&world);
    if (!world.page.values[REPORT_COLD_HELLOS])
        world_fail(&world, "no hello met the cold name");
}

/* Control is gone: when the time of each hello is over its name counts as unknown, so it gets the
 * default certificate, here the same. */
static void cold_without_control(void)
{
    world.cold = 1;
    world.no_control = true;
    world_open(&world);
    world_make_cold(&world);
    add_clients(WORLD_CLIENTS, KIND_GOOD);
    world_run(&world);
    all_answered();
    if (!world.page.values[REPORT_COLD_HELLOS] ||
        world.page.values[REPORT_COLD_HELLOS] != world.page.values[REPORT_COLD_FAILED])
        world_fail(&world, "%llu hellos met the cold name, %llu in vain",
                   (unsigned long long)world.page.values[REPORT_COLD_HELLOS],
                   (unsigned long long)world.page.values[REPORT_COLD_FAILED]);
}

/* The worker is to end while hellos wait, also when nobody answers any more. */
static void cold_drain(void)
{
    world.cold = 1000;
    world_open(&world);
    world_make_cold(&world);
    add_clients(WORLD_CLIENTS, KIND_GOOD);
    for (uint32_t i = 0; !world.page.values[REPORT_COLD_WAITING_NOW]; i++) {
        if (i == 1000)
            world_fail(&world, "no hello waits");
        world_turn(&world);
    }
    world.shared.retire_ms = 1000;
    world.shared.retire = world_chance(&world, 2);
}

static void bad_origins(void)
{
    world_open(&world);
    add_clients(WORLD_CLIENTS, KIND_COUNT);
    world_run(&world);
}

static void clients_leave(void)
{
    world_open(&world);
    add_clients(WORLD_CLIENTS, KIND_COUNT);
    for (uint32_t i = 0; i < WORLD_CLIENTS; i++)
        world.clients[i].aborts = world_chance(&world, 2);
    world_run(&world);
}

/* So few provided buffers that receives starve all the time: slow, but nothing fails. */
static void short_of_buffers(void)
{
    world.ring_small = 4;
    world.ring_large = 2;
    world_open(&world);
    add_clients(WORLD_CLIENTS, KIND_GOOD);
    world_run(&world);
    all_answered();
}

/* So few pool blocks that connections wait for each other, and some run into a time limit. */
static void short_of_blocks(void)
{
    world.ring_small = 8;
    world.ring_large = 2;
    world.blocks[BLOCK_HEAD] = 64;
    world.blocks[BLOCK_RECORD] = 4;
    world.blocks[BLOCK_BODY] = 2;
    world.may_close = true;
    world_open(&world);
    add_clients(WORLD_CLIENTS, KIND_GOOD);
    world_run(&world);
}

static void few_slots(void)
{
    world.conns = 4;
    world_open(&world);
    add_clients(WORLD_CLIENTS, KIND_GOOD);
    for (uint32_t i = 0; i < WORLD_CLIENTS; i++)
        world.clients[i].aborts = true; /* most are refused: that is an end as good as any */
    world_run(&world);
}

static void servers_refuse(void)
{
    world.servers = WORLD_SERVERS;
    world_open(&world);
    ring_sim_set_connect(world.sim, WORLD_PORT, ECONNREFUSED);
    if (world_chance(&world, 2))
        ring_sim_set_connect(world.sim, WORLD_PORT + 1, EINPROGRESS);
    add_clients(WORLD_CLIENTS, KIND_GOOD);
    world_run(&world);
}

/* All kinds of failing requests of the kernel. */
static void kernel_fails(void)
{
    static const struct {
        enum op op;
        int sys;
    } faults[] = {{OP_ACCEPT, EMFILE},       {OP_ACCEPT, ECONNABORTED}, {OP_RECV, ENOBUFS},
                  {OP_RECV, ECONNRESET},     {OP_SEND, EPIPE},          {OP_CONNECT, ETIMEDOUT},
                  {OP_CONNECT, ENETUNREACH}, {OP_POLL_IN, ENOMEM},      {OP_POLL_OUT, ENOMEM}};
    world_open(&world);
    add_clients(WORLD_CLIENTS, KIND_COUNT);
    for (uint32_t i = 0; i < WORLD_CLIENTS; i++)
        world.clients[i].aborts = true;
    for (int i = 0; i < 400; i++) {
        size_t f = world_random(&world, sizeof faults / sizeof *faults);
        if (world_chance(&world, 10))
            ring_sim_fail_next(world.sim, faults[f].op, faults[f].sys);
        world_turn(&world);
    }
    world_run(&world);
}

/* Bodies that the kernel moves, both ways, and what comes before and behind them; fewer pipes than
 * there are receivers. */
static void shunts(void)
{
    world.pipes = 1 + (uint32_t)(world.seed % 5);
    world_open(&world);
    for (uint32_t i = 0; i < WORLD_CLIENTS; i++) {
        struct request requests[REQUESTS_MAX];
        for (uint32_t j = 0; j < REQUESTS_MAX; j++) {
            requests[j] = (struct request){.kind = KIND_LEN};
            uint32_t large = 140000 + (uint32_t)world_random(&world, 300000);
            requests[j].size = world_chance(&world, 4) ? 100 : large;
            requests[j].body = world_chance(&world, 2) ? 0 : large;
        }
        struct client *c = world_client(&world, requests, REQUESTS_MAX, false);
        c->pipelines = world_chance(&world, 3);
        c->slow = world_chance(&world, 4);
    }
    world_run(&world);
    all_answered();
}

/* One that takes nothing for longer than the other side has to get on: the other side, which has
 * sent as much as it could, is not blamed. */
static void receivers_pause(void)
{
    bool up = world.seed % 2;
    struct request r = {.kind = KIND_LEN, .size = up ? 10 : 300000, .body = up ? 300000 : 0};
    world.pipes = 2;
    world.body_ms = 1000;
    world.origins_pause = up;
    world_open(&world);
    struct client *c = world_client(&world, &r, 1, false);
    if (!up)
        ring_sim_set_window(world.sim, c->peer, 500);
    for (int i = 0; i < 200; i++) {
        world_turn(&world);
        if (!up && c->sent && !c->out.len)
            c->outcome = OUTCOME_CLOSED; /* nobody plays it now */
    }
    ring_sim_sleep(world.sim, (up ? 12 : 2) * NS_PER_S);
    for (int i = 0; i < 40; i++)
        world_turn(&world);
    world.origins_pause = false;
    for (uint32_t i = 0; i < world.origin_count; i++)
        ring_sim_set_window(world.sim, world.origins[i].peer, SIZE_MAX);
    ring_sim_set_window(world.sim, c->peer, SIZE_MAX);
    c->outcome = OUTCOME_OPEN;
    world_run(&world);
    all_answered();
    if (c->failures || world.page.values[REPORT_UPSTREAM_FAILED])
        world_fail(&world, "the side that waited was blamed");
}

/* The end of a request stands in a pipe, and its server takes that slowly: its time for an answer
 * begins with the last of it. One that stops has no more time than that. */
static void slow_taker(void)
{
    bool stops = world.seed % 2;
    struct request r = {.kind = KIND_LEN, .size = 10, .body = 400000};
    world.pipes = 2;
    world.calm = true;
    world_open(&world);
    struct client *c = world_client(&world, &r, 1, false);
    while (!world.origin_count)
        world_turn(&world);
    int peer = world.origins[0].peer;
    ring_sim_set_window(world.sim, peer, 40000);
    while (!c->sent || c->out.len || ring_sim_unread(world.sim, c->peer))
        world_turn(&world);
    ring_sim_set_window(world.sim, peer, 10000);
    world.origins_pause = stops;
    for (int i = 0; i < 8 && c->outcome == OUTCOME_OPEN; i++) {
        world_turn(&world);
        ring_sim_sleep(world.sim, NS_PER_S);
    }
    if ((c->outcome == OUTCOME_OPEN) == stops)
        world_fail(&world, "it has the wrong time");
    ring_sim_set_window(world.sim, peer, SIZE_MAX);
    world_run(&world);
    if (c->failures != stops)
        world_fail(&world, "%u failures", c->failures);
    if (!world.page.values[REPORT_BYTES_SPLICED])
        world_fail(&world, "nothing was shunted");
}

/* Behind a shunted body stands an answer that nobody asked for: no other request, least of all one
 * that comes in the same step, gets it. */
static void surplus(void)
{
    struct request first = {.kind = KIND_SURPLUS, .size = 200000 + 10000 * (uint32_t)world.seed};
    struct request other = {.kind = KIND_LEN, .size = 100};
    world.pipes = 2;
    world.calm = true;
    world_open(&world);
    world_client(&world, &first, 1, false);
    for (uint32_t i = 1; i < WORLD_CLIENTS; i++) {
        world_turn(&world);
        world_client(&world, &other, 1, false);
    }
    world_run(&world);
    all_answered();
    if (!world.page.values[REPORT_BYTES_SPLICED])
        world_fail(&world, "nothing was shunted");
}

static void snapshots_change(void)
{
    world.servers = 2;
    world_open(&world);
    add_clients(WORLD_CLIENTS, KIND_GOOD);
    for (int i = 0; i < 200; i++) {
        if (world_chance(&world, 10)) {
            world.servers = 1 + (uint32_t)world_random(&world, WORLD_SERVERS);
            world_publish(&world);
        }
        world_turn(&world);
    }
    world_run(&world);
    all_answered();
}

static void drain_under_load(void)
{
    world_open(&world);
    add_clients(WORLD_CLIENTS, KIND_COUNT);
    for (uint64_t i = world_random(&world, 300); i > 0; i--)
        world_turn(&world);
    world.shared.drain = true;
    for (int i = 0; i < 20; i++)
        world_turn(&world);
}

/* A connection comes in the moment in which another process takes over: whoever was woken for it,
 * it is not left waiting. */
static void retire_at_once(void)
{
    struct request r = {.kind = KIND_LEN, .size = 10};
    world_open(&world);
    for (uint64_t i = 3 + world_random(&world, 30); i > 0; i--)
        world_turn(&world);
    world_client(&world, &r, 1, false);
    if (world_chance(&world, 2))
        world_turn(&world);
    world_client(&world, &r, 1, false);
    world.shared.retire_ms = 10000;
    world.shared.retire = true;
    world_run(&world);
    all_answered();
}

/* Heads and trailers that are larger than what is decrypted of a body at a time. */
static void large_sections(void)
{
    world.head_max = CONN_HEAD_MAX;
    world_open(&world);
    for (uint32_t i = 0; i < 8; i++) {
        struct request r = {.kind = KIND_LEN, .size = 10, .body = 10, .chunked = true};
        if (i % 2)
            r.late = 33000 + (uint32_t)world_random(&world, 20000);
        else
            r.head_bytes = 33000 + (uint32_t)world_random(&world, 20000);
        world_client(&world, &r, 1, with_tls);
    }
    world_run(&world);
    all_answered();
    for (uint32_t i = 0; i < world.client_count; i++)
        if (world.clients[i].failures)
            world_fail(&world, "client %u: its request failed", i);
}

/* The time to drain ends in the middle of an answer whose end only the close tells. */
static void drain_cuts(void)
{
    struct request r = {.kind = KIND_CHUNK, .size = 300000, .old = true};
    world_open(&world);
    struct client *c = world_client(&world, &r, 1, false);
    c->slow = true;
    ring_sim_set_window(world.sim, c->peer, 500);
    for (int i = 0; i < 40; i++)
        world_turn(&world);
    world.shared.drain = true;
    world_turn(&world);
    ring_sim_sleep(world.sim, 6 * NS_PER_S);
    world_run(&world);
}

/* A client that takes nothing is not kept because it goes on sending. */
static void stalled(void)
{
    struct request r = {.kind = KIND_LEN, .size = world_chance(&world, 2) ? 60000 : 300000};
    world_open(&world);
    struct client *c = world_client(&world, &r, 1, false);
    ring_sim_set_window(world.sim, c->peer, 500);
    for (int i = 0; i < 40; i++)
        world_turn(&world);
    c->outcome = OUTCOME_CLOSED; /* nobody plays it any more */
    for (int i = 0; i < 40 && !ring_sim_is_closed(world.sim, c->peer); i++) {
        ring_sim_push(world.sim, c->peer, SPAN_LITERAL("G"));
        ring_sim_sleep(world.sim, NS_PER_S);
        for (int j = 0; j < 5; j++)
            world_turn(&world);
    }
    if (!ring_sim_is_closed(world.sim, c->peer))
        world_fail(&world, "it is still there");
}

static void add_tunnels(bool aborts)
{
    static const uint32_t sizes[] = {0, 1, 100, 5000, 70000, 300000};
    for (uint32_t i = 0; i < WORLD_CLIENTS; i++) {
        struct request requests[2] = {{.kind = KIND_LEN, .size = 100}};
        uint32_t n = (uint32_t)world_random(&world, 2);
        requests[n] = (struct request){.kind = KIND_TUNNEL, .size = sizes[world_random(&world, 6)]};
        struct client *c =
            world_client(&world, requests, n + 1, with_tls && world_chance(&world, 2));
        c->early = world_chance(&world, 2);
        c->slow = world_chance(&world, 3);
        c->aborts = aborts && world_chance(&world, 2);
    }
}

/* Every byte arrives, in both directions, also those that were sent before the tunnel stood; the
 * snapshot under which it began may go. */
static void tunnels(void)
{
    world_open(&world);
    add_tunnels(false);
    for (int i = 0; i < 100; i++)
        world_turn(&world);
    world_publish(&world);
    world_run(&world);
    for (uint32_t i = 0; i < world.client_count; i++)
        if (world.clients[i].outcome != OUTCOME_DONE)
            world_fail(&world, "client %u: %llu bytes of its tunnel", i,
                       (unsigned long long)world.clients[i].got);
}

/* Clients leave in the middle; some of the others are in the middle when the time to drain ends. */
static void tunnels_end(void)
{
    world_open(&world);
    add_tunnels(true);
    for (uint64_t i = 100 + world_random(&world, 400); i > 0; i--)
        world_turn(&world);
}

/* The client has ended its side of a tunnel, and the server takes no more of what it sent: when the
 * time for that is over, the server is let see that it has not got all. */
static void tunnel_is_cut(void)
{
    struct request r = {.kind = KIND_TUNNEL, .size = 5000};
    world_open(&world);
    struct client *c = world_client(&world, &r, 1, false);
    while (!world.origin_count || !world.origins[0].switched) {
        world_turn(&world);
        if (c->sent && !c->out.len)
            c->outcome = OUTCOME_CLOSED; /* nobody plays it until the server is ready */
    }
    struct origin *o = &world.origins[0];
    while (o->out.len)
        world_turn(&world);
    world.origins_pause = true;
    ring_sim_set_window(world.sim, o->peer, 500);
    c->outcome = OUTCOME_OPEN;
    world_run(&world);
    if (!c->gone)
        ring_sim_end(world.sim, c->peer);
    for (int i = 0; !ring_sim_is_closed(world.sim, o->peer); i++) {
        world_turn(&world);
        ring_sim_sleep(world.sim, NS_PER_S);
        if (i == 1000)
            world_fail(&world, "the server's connection is still there");
    }
    if (!ring_sim_saw_reset(world.sim, o->peer))
        world_fail(&world, "the server saw a clean end");
}

/* The server has ended its side of a tunnel and takes nothing more of the client, which still
 * sends: when the time for that is over, what the client got stays. */
static void tunnel_times_out(void)
{
    struct request r = {.kind = KIND_TUNNEL, .size = 600000};
    world.pipes = (uint32_t)(world.seed % 2);
    world_open(&world);
    struct client *c = world_client(&world, &r, 1, false);
    while (!world.origin_count || !world.origins[0].switched || world.origins[0].out.len) {
        world_turn(&world);
        if (c->sent && !c->out.len)
            c->outcome = OUTCOME_CLOSED; /* nobody plays it until the server is ready */
    }
    struct origin *o = &world.origins[0];
    world.origins_pause = true;
    ring_sim_set_window(world.sim, o->peer, 100);
    ring_sim_end(world.sim, o->peer);
    c->outcome = OUTCOME_OPEN;
    world_run(&world);
    ring_sim_sleep(world.sim, 61 * NS_PER_S);
    for (int i = 0; !ring_sim_is_closed(world.sim, c->peer); i++) {
        world_turn(&world);
        if (i == 100000)
            world_fail(&world, "the client's connection is still there");
    }
    if (c->got != r.size || ring_sim_saw_reset(world.sim, c->peer))
        world_fail(&world, "%llu bytes of the tunnel, then a reset", (unsigned long long)c->got);
}

static const struct {
    const char *name;
    void (*run)(void);
    unsigned seeds;
    bool tls; /* half of the clients */
    bool h2;  /* half of the clients */
} scenarios[] = {
    {"good", good, 30},
    {"good_tls", good, 13, true},
    {"cold_names", cold_names, 30, true},
    {"cold_without_control", cold_without_control, 10, true},
    {"cold_drain", cold_drain, 20, true},
    {"bad_origins_tls", bad_origins, 13, true},
    {"clients_leave_tls", clients_leave, 13, true},
    {"short_of_buffers_tls", short_of_buffers, 13, true},
    {"short_of_blocks_tls", short_of_blocks, 13, true},
    {"kernel_fails_tls", kernel_fails, 13, true},
    {"drain_under_load_tls", drain_under_load, 13, true},
    {"shunts", shunts, 20},
    {"receivers_pause", receivers_pause, 20},
    {"slow_taker", slow_taker, 20},
    {"surplus", surplus, 20},
    {"stale", stale, 30},
    {"bad_origins", bad_origins, 30},
    {"clients_leave", clients_leave, 50},
    {"short_of_buffers", short_of_buffers, 30},
    {"short_of_blocks", short_of_blocks, 30},
    {"few_slots", few_slots, 20},
    {"servers_refuse", servers_refuse, 20},
    {"kernel_fails", kernel_fails, 40},
    {"snapshots_change", snapshots_change, 20},
    {"drain_under_load", drain_under_load, 40},
    {"drain_cuts", drain_cuts, 10},
    {"retire_at_once", retire_at_once, 20},
    {"stalled", stalled, 10},
    {"tunnels", tunnels, 20},
    {"tunnels_tls", tunnels, 10, true},
    {"tunnels_end", tunnels_end, 20},
    {"tunnels_end_tls", tunnels_end, 10, true},
    {"tunnel_is_cut", tunnel_is_cut, 20},
    {"tunnel_times_out", tunnel_times_out, 20},
    {"good_h2", good, 30, false, true},
    {"bad_origins_h2", bad_origins, 20, false, true},
    {"clients_leave_h2", clients_leave, 20, false, true},
    {"short_of_buffers_h2", short_of_buffers, 15, false, true},
    {"short_of_blocks_h2", short_of_blocks, 120, false, true},
    {"few_slots_h2", few_slots, 10, false, true},
    {"kernel_fails_h2", kernel_fails, 20, false, true},
    {"snapshots_change_h2", snapshots_change, 10, false, true},
    {"drain_under_load_h2", drain_under_load, 20, false, true},
    {"large_sections", large_sections, 10},
    {"large_sections_tls", large_sections, 8, true},
};

/* must() aborts: say which run it was. */
static void on_abort(int sig)
{
    char text[128];
    int n = snprintf(text, sizeof text, "scenario %s, seed %llu: aborted\n", world.scenario,
                     (unsigned long long)world.seed);
    if (write(2, text, (size_t)n) < 0)
        _exit(3);
}

/* worker_sim [SCENARIO | all | even | odd [SEED [SEEDS]]]: even and odd are halves of all, so that
 * two processors have something to do. */
int main(int argc, char **argv)
{
    const char *which = argc > 1 ? argv[1] : "all";
    bool even = strcmp(which, "odd") != 0, odd = strcmp(which, "even") != 0;
    const char *only = strcmp(which, "all") != 0 && even && odd ? which : NULL;
    uint64_t first = argc > 2 ? strtoull(argv[2], NULL, 10) : 0;
    unsigned runs = 0;
    uint64_t spliced = 0;
    signal(SIGABRT, on_abort);
    for (size_t i = 0; i < sizeof scenarios / sizeof *scenarios; i++) {
        if (only && strcmp(only, scenarios[i].name) != 0)
            continue;
        unsigned seeds = argc > 3   ? (unsigned)strtoul(argv[3], NULL, 10)
                         : argc > 2 ? 1
                                    : scenarios[i].seeds;
        for (uint64_t seed = first; seed < first + seeds; seed++) {
            if (!(seed % 2 ? odd : even))
                continue;
            world = (struct world){
                .seed = seed, .scenario = scenarios[i].name, .servers = 1, .max_idle = 16};
            with_tls = scenarios[i].tls;
            with_h2 = scenarios[i].h2;
            scenarios[i].run();
            world_close(&world);
            runs++;
            spliced += world.page.values[REPORT_BYTES_SPLICED];
        }
    }
    printf("%u runs, %llu bytes past the worker\n", runs, (unsigned long long)spliced);
    return runs == 0 || (!only && spliced == 0);
}

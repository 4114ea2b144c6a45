/* SPDX-License-Identifier: Apache-2.0 */
#include "data/upstream/pick.c"

#include "unit.h"

static struct server_state states[4];

const struct server_state *reader_server(struct bridge_reader *r, const struct snapshot *s,
                                         uint32_t server)
{
    return &states[server];
}

struct bench {
    struct snap_server servers[4];
    struct snapshot snapshot;
    struct snap_service service;
    struct pool_server *pool[4];
    struct worker w;
};

static struct pool_server pool_servers[4];

static void bench_init(struct bench *b, const uint32_t weights[4])
{
    *b = (struct bench){.service = {.server_count = 4}};
    memset(pool_servers, 0, sizeof pool_servers);
    for (int i = 0; i < 4; i++) {
        b->servers[i].weight = weights[i];
        b->pool[i] = &pool_servers[i];
        states[i] = (struct server_state){.addr_count = 1, .healthy = true};
    }
    b->snapshot = (struct snapshot){.servers = b->servers, .server_count = 4};
    b->w.snapshot = &b->snapshot;
    b->w.pool = (struct pool){b->pool, 4};
    b->w.now_ns = 1000;
}

static void counts_of(struct bench *b, int rounds, int counts[4])
{
    memset(counts, 0, 4 * sizeof *counts);
    for (int i = 0; i < rounds; i++) {
        uint32_t server = pick_server(&b->w, &b->service, SNAP_NONE);
        assert_in_range(server, 0, 3);
        counts[server]++;
    }
}

static void weights_decide_shares(void **state)
{
    static struct bench b;
    int counts[4];
    bench_init(&b, (uint32_t[]){1, 1, 2, 4});
    counts_of(&b, 80, counts);
    assert_int_equal(counts[0], 10);
    assert_int_equal(counts[1], 10);
    assert_int_equal(counts[2], 20);
    assert_int_equal(counts[3], 40);
}

static void turns_are_smooth(void **state)
{
    static struct bench b;
    bench_init(&b, (uint32_t[]){1, 1, 1, 1});
    uint32_t last = SNAP_NONE;
    for (int i = 0; i < 40; i++) {
        uint32_t server = pick_server(&b.w, &b.service, SNAP_NONE);
        assert_int_not_equal(server, last);
        last = server;
    }
}

static void unfit_servers_are_left_out(void **state)
{
    static struct bench b;
    int counts[4];
    bench_init(&b, (uint32_t[]){1, 1, 1, 0});
    states[0].healthy = false;
    states[1].addr_count = 0;
    counts_of(&b, 20, counts);
    assert_int_equal(counts[2], 10);
    assert_int_equal(counts[3], 10);
    assert_int_equal(pick_server(&b.w, &b.service, 2), 3);
    pool_servers[3].rest_until_ns = 2000; /* could not be reached lately */
    counts_of(&b, 20, counts);
    assert_int_equal(counts[2], 20);
    states[2].healthy = false;
    counts_of(&b, 5, counts);
    assert_int_equal(counts[3], 5);
    states[3].healthy = false;
    assert_int_equal(pick_server(&b.w, &b.service, SNAP_NONE), SNAP_NONE);
}

UNIT_TESTS(cmocka_unit_test(weights_decide_shares), cmocka_unit_test(turns_are_smooth),
           cmocka_unit_test(unfit_servers_are_left_out))

/* SPDX-License-Identifier: Apache-2.0 */
/* Readers look up in a loop while the publisher inserts, replaces and removes: what they see is
 * whole, and nothing that they hold is ever wiped. Run it under ThreadSanitizer and
 * AddressSanitizer, too. */
#include "bridge/publisher.c"

#include "bridge/sample.h"
#include "unit.h"

#include "base/rand.h"

#include <stdio.h>
#include <sys/eventfd.h>

#ifdef RCU_TSAN
enum { ROUNDS = 10000 }; /* ten times slower */
#else
enum { ROUNDS = 20000 };
#endif
enum { READERS = 4, NAMES = 64, HELD = 8 };

static struct publisher *publisher;
static bool stop;

struct seen {
    pthread_t thread;
    uint32_t worker;
    uint64_t certs, defaults, staples, snapshots, steps;
};

static size_t name_of(uint64_t i, char text[32])
{
    return (size_t)snprintf(text, 32, "n%u.test", (unsigned)i);
}

/* One step: several lookups whose results are held and checked at its end. */
static void look(struct bridge_reader *r, struct seen *seen)
{
    const struct table_cert *held[HELD];
    struct span staples[HELD];
    for (int i = 0; i < HELD; i++) {
        char text[32];
        bool is_default;
        size_t len = name_of(rand_below(NAMES), text);
        held[i] = table_select(r, span_of(text, len), (struct span){NULL, 0}, rand_u64() & 1,
                               rand_u64() & 1, &is_default, NULL);
        must(held[i]);
        seen->defaults += is_default;
        staples[i] = table_staple(held[i], 0);
        seen->staples += staples[i].len != 0;
    }
    const struct ticket_keys *keys = reader_ticket_keys(r);
    for (int i = 0; i < HELD; i++) {
        sample_check(held[i]);
        for (size_t k = 1; k < staples[i].len; k++)
            must(staples[i].ptr[k] == staples[i].ptr[0]);
        seen->certs++;
    }
    for (uint32_t i = 0; i < keys->count; i++)
        for (size_t k = 1; k < 32; k++)
            must(keys->keys[i].aes[k] == keys->keys[i].aes[0] && keys->keys[i].aes[k]);
}

static void check_snapshot(struct bridge_reader *r, const struct snapshot *s)
{
    must(s->server_count == 3 && s->conns_per_worker == 1000);
    must(span_eq(s->servers[2].host, SPAN_LITERAL("three")));
    for (uint32_t i = 0; i < s->server_count; i++) {
        const struct server_state *state = reader_server(r, s, i);
        must(state->addr_count <= 1);
        must(!state->addr_count || net_addr_port(&state->addrs[0]) == 1000 + i);
    }
}

static void *read_loop(void *arg)
{
    struct seen *seen = arg;
    int fd = eventfd(0, EFD_NONBLOCK);
    struct bridge_reader *r = reader_join(publisher, seen->worker, fd);
    const struct snapshot *pinned = NULL;
    uint64_t keep_steps = seen->worker ? 8 : 1000; /* some exchanges are long */
    while (!__atomic_load_n(&stop, __ATOMIC_ACQUIRE)) {
        reader_online(r);
        const struct snapshot *s = reader_snapshot(r);
        check_snapshot(r, s);
        if (pinned) {
            check_snapshot(r, pinned);
            seen->snapshots += pinned != s;
        }
        if (pinned && rand_below(keep_steps) == 0) {
            reader_unpin(r, pinned);
            check_snapshot(r, pinned); /* still this step's */
            pinned = NULL;
        } else if (!pinned && (rand_u64() & 3) == 0) {
            reader_pin(r, s);
            pinned = s;
        }
        look(r, seen);
        if (rand_u64() & 1) {
            reader_quiescent(r);
            look(r, seen);
        }
        reader_offline(r);
        seen->steps++;
    }
    if (pinned)
        reader_unpin(r, pinned);
    reader_leave(r);
    close(fd);
    return NULL;
}

static void apply_now(struct buf *out)
{
    size_t used;
    must(result_is_ok(publisher_feed(publisher, buf_span(out), &used, NULL)) && used == out->len);
    out->len = 0;
}

static void put_snapshot(struct buf *out, uint64_t version)
{
    struct snapshot s = sample_snapshot(version);
    for (uint32_t i = 0; i < 3; i++) {
        struct net_addr a = {.in = {.sin_family = AF_INET}, .len = sizeof a.in};
        net_addr_set_port(&a, (uint16_t)(1000 + i));
        publish_server(out, version, i, &a, (uint32_t)(version + i) & 1, true);
    }
    publish_snapshot(out, &s);
}

static void put_tickets(struct buf *out, uint64_t round)
{
    struct ticket_keys keys = {.count = 1 + (uint32_t)round % TICKET_KEY_COUNT};
    for (uint32_t i = 0; i < keys.count; i++)
        memset(keys.keys[i].aes, 1 + (int)(round % 255), 32);
    publish_ticket_keys(out, &keys);
}

/* All bytes alike; now and then none. */
static void put_staple(struct buf *out, uint64_t round)
{
    uint8_t bytes[200];
    memset(bytes, (int)(round & 0xff), sizeof bytes);
    publish_staple(out, 1, span_of(bytes, round % 9 ? 1 + round % sizeof bytes : 0), 1);
}

static void change(struct buf *out, uint64_t round, uint64_t *version)
{
    char text[32];
    struct span name = span_of(text, name_of(rand_below(NAMES), text));
    uint64_t id = 10 + 2 * round;
    switch (rand_below(4)) {
    case 0:
        publish_name_remove(out, name);
        break;
    case 1:
        sample_publish(out, id, false);
        sample_publish(out, id + 1, true);
        publish_name(out, name, id, id + 1, 0);
        break;
    default:
        sample_publish(out, id, false);
        publish_name(out, name, id, 0, 0);
    }
    if (round % 3 == 0)
        put_staple(out, round);
    if (round % 50 == 0)
        put_snapshot(out, ++*version);
    if (round % 70 == 0)
        put_tickets(out, round);
    if (round % 1000 == 999) { /* a sync that keeps the default and one name */
        publish_sync_begin(out);
        sample_publish(out, 1, false);
        publish_name(out, (struct span){NULL, 0}, 1, 0, PUBLISH_NAME_DEFAULT);
        publish_name(out, SPAN_LITERAL("n1.test"), 1, 0, 0);
        publish_sync_end(out);
    }
}

static void readers_see_whole_things(void **state)
{
    struct seen seen[READERS] = {0};
    struct buf out = {0};
    uint64_t version = 0;
    assert_true(result_is_ok(publisher_create(READERS, NAMES, &publisher, NULL)));
    sample_publish(&out, 1, false);
    publish_name(&out, (struct span){NULL, 0}, 1, 0, PUBLISH_NAME_DEFAULT);
    put_snapshot(&out, ++version);
    apply_now(&out);
    for (uint32_t i = 0; i < READERS; i++) {
        seen[i].worker = i;
        assert_int_equal(pthread_create(&seen[i].thread, NULL, read_loop, &seen[i]), 0);
    }
    for (uint64_t round = 1; round <= ROUNDS; round++) {
        change(&out, round, &version);
        if (round % 4 == 0)
            apply_now(&out);
        if (round % 256 == 0)
            publisher_collect(publisher);
    }
    apply_now(&out);
    __atomic_store_n(&stop, true, __ATOMIC_RELEASE);
    for (uint32_t i = 0; i < READERS; i++) {
        assert_int_equal(pthread_join(seen[i].thread, NULL), 0);
        assert_true(seen[i].steps > 0 && seen[i].certs > 0 && seen[i].staples > 0);
        assert_true(i > 0 || seen[i].snapshots > 0);
    }
    publisher_collect(publisher);
    publisher_collect(publisher);
    assert_int_equal(publisher_count(publisher).snapshots, 1);
    assert_int_equal(publisher_count(publisher).dead, 0);
    publisher_destroy(publisher);
    buf_free(&out);
}

UNIT_TESTS(cmocka_unit_test(readers_see_whole_things))

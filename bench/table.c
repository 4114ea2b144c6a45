/* SPDX-License-Identifier: Apache-2.0 */
/* bench/table - what the certificate table costs: cycles per lookup, time to publish one
 * certificate, bytes per name, at 10^3 to 10^6 names. Usage: table [NAMES...] */
#include "base/clock.h"
#include "base/must.h"
#include "base/rand.h"
#include "bridge/publish.h"

#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#if defined(__x86_64__)
#include <x86intrin.h>
#define CYCLES() __rdtsc()
#else
#define CYCLES() clock_now_ns() /* ns where there is no such counter */
#endif

enum { LOOKUPS = 200000, BATCH = 1000, PUBLISHES = 2000 };

static uint8_t chain[1500] = {0, 1497 >> 8, 1497 & 255};
static uint8_t key[121];

static void put_cert(struct buf *out, uint64_t id)
{
    struct publish_cert c = {.id = id, .chain = {chain, sizeof chain}, .key = {key, sizeof key}};
    publish_cert(out, &c);
}

static struct span name_of(uint64_t i, char text[64])
{
    return span_of(text,
                   (size_t)snprintf(text, 64, "host-%07llu.example.test", (unsigned long long)i));
}

static void feed(struct publisher *p, struct buf *out)
{
    size_t used;
    must(result_is_ok(publisher_feed(p, buf_span(out), &used, NULL)) && used == out->len);
    out->len = 0;
}

static size_t heap_bytes(void)
{
    struct mallinfo2 m = mallinfo2();
    return m.uordblks + m.hblkhd;
}

/* Smallest mean of a batch: the machine is shared. miss: names that only the default matches. */
static double lookup_cycles(struct bridge_reader *r, uint64_t names, bool miss)
{
    static char texts[BATCH][64];
    struct span spans[BATCH];
    double best = 1e18;
    for (int done = 0; done < LOOKUPS; done += BATCH) {
        for (int i = 0; i < BATCH; i++) {
            spans[i] = name_of(rand_below(names), texts[i]);
            if (miss)
                texts[i][0] = 'x';
        }
        bool is_default = false;
        reader_online(r);
        uint64_t from = CYCLES();
        for (int i = 0; i < BATCH; i++)
            must(table_select(r, spans[i], (struct span){NULL, 0}, true, true, &is_default, NULL));
        uint64_t spent = CYCLES() - from;
        reader_offline(r);
        must(is_default == miss);
        if ((double)spent / BATCH < best)
            best = (double)spent / BATCH;
    }
    return best;
}

/* A new certificate for one name, from message to visible, with its share of freeing the old. */
static double publish_us(struct publisher *p, uint64_t names)
{
    struct buf out = {0};
    char text[64];
    uint64_t from = clock_now_ns();
    for (uint64_t i = 0; i < PUBLISHES; i++) {
        put_cert(&out, 100 + i);
        publish_name(&out, name_of(rand_below(names), text), 100 + i, 0, 0);
        feed(p, &out);
        if (i % 100 == 99)
            publisher_collect(p);
    }
    buf_free(&out);
    return (double)(clock_now_ns() - from) / PUBLISHES / 1e3;
}

static void measure(uint64_t names)
{
    struct publisher *p;
    struct buf out = {0};
    char text[64];
    size_t before = heap_bytes();
    must(result_is_ok(publisher_create(1, names, &p, NULL)));
    size_t empty = heap_bytes();
    struct bridge_reader *r = reader_join(p, 0, -1);
    put_cert(&out, 1);
    publish_name(&out, (struct span){NULL, 0}, 1, 0, PUBLISH_NAME_DEFAULT);
    feed(p, &out);
    uint64_t from = clock_now_ns();
    for (uint64_t i = 0; i < names; i++) {
        publish_name(&out, name_of(i, text), 1, 0, 0);
        if (i % 1000 == 999)
            feed(p, &out);
    }
    feed(p, &out);
    double insert_ns = (double)(clock_now_ns() - from) / (double)names;
    buf_free(&out);
    double bytes = (double)(heap_bytes() - empty) / (double)names;
    uint64_t buckets = 1024;
    while (buckets < names)
        buckets *= 2;
    double hit = lookup_cycles(r, names, false), miss = lookup_cycles(r, names, true);
    printf("%8llu names: %5.0f cycles a hit, %5.0f a miss (3 probes), insert %4.0f ns, publish "
           "%5.1f us, %3.0f + %2.0f bytes a name\n",
           (unsigned long long)names, hit, miss, insert_ns, publish_us(p, names), bytes,
           (double)buckets * 16 / (double)names + (double)(empty - before) / (double)names);
    reader_leave(r);
    publisher_destroy(p);
}

int main(int argc, char **argv)
{
    static const uint64_t usual[] = {1000, 10000, 100000, 1000000};
    memset(key, 7, sizeof key);
    for (int i = 1; i < argc; i++)
        measure(strtoull(argv[i], NULL, 10));
    for (size_t i = 0; argc == 1 && i < sizeof usual / sizeof *usual; i++)
        measure(usual[i]);
    return 0;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Minimum cycles of what the server's side of TLS costs: handshakes against wolfSSL's client in the
 * same process, of which only our calls are measured; records of several sizes; memory of an idle
 * session. Usage: tls_micro [ROUNDS [HANDSHAKE]]: all, or only handshakes whose name holds a text.
 * The numbers in docs/performance.md come from it. */
#include "../unit/data/tls/pair.h"

#include "data/tls/random.h"

#include <malloc.h>
#include <pthread.h>
#include <stdlib.h>
#include <unistd.h>

static int rounds = 2000;
static const char *only_named;

static uint64_t cycles(void)
{
    return __builtin_ia32_rdtsc();
}

struct cost {
    uint64_t hello, open, handshake, close, whole;
};

static void keep_min(uint64_t *best, uint64_t value)
{
    if (value < *best)
        *best = value;
}

static void serve(struct pair *p, struct cost *sum)
{
    static uint8_t room[TLS_FLIGHT_ROOM];
    uint64_t t0 = cycles();
    if (!p->session) {
        if (!result_is_ok(hello_parse(buf_span(&p->to_server), &p->hello)))
            abort();
        uint64_t t1 = cycles();
        if (!result_is_ok(session_open(p->policy, &p->hello, p->cert, p->keys, &p->session)))
            abort();
        uint64_t t2 = cycles();
        sum->hello += t1 - t0;
        sum->open += t2 - t1;
        t0 = t2;
    }
    struct writer out = writer_of(room, sizeof room);
    struct session_io io = {buf_span(&p->to_server), &out, p->keys};
    p->server = session_handshake(p->session, &io);
    sum->handshake += cycles() - t0;
    p->server_done = result_is_ok(p->server);
    buf_consume(&p->to_server, p->to_server.len - io.in.len);
    buf_put(&p->to_client, out.ptr, out.len);
}

/* One handshake; the session is left in *p when keep is set. */
static void handshake(struct pair *p, const struct pair_options *o, int group, int type,
                      const struct ticket_keys *k, struct cost *best)
{
    struct cost sum = {0};
    pair_open(p, policy, &certs[type].table, k, o);
    if (group && !o->resume) {
        wolfSSL_set_groups(p->client, &group, 1);
        wolfSSL_UseKeyShare(p->client, (word16)group);
    }
    while (!p->server_done) {
        wolfSSL_connect(p->client);
        serve(p, &sum);
        if (p->server.code == ERR_PEER_TLS)
            abort();
    }
    wolfSSL_connect(p->client);
    sum.whole = sum.hello + sum.open + sum.handshake;
    keep_min(&best->hello, sum.hello);
    keep_min(&best->open, sum.open);
    keep_min(&best->handshake, sum.handshake);
    keep_min(&best->whole, sum.whole);
}

static void measure(const char *what, uint16_t only, const char *suite, int group, int type,
                    bool tickets, bool resume)
{
    struct cost best = {UINT64_MAX, UINT64_MAX, UINT64_MAX, UINT64_MAX, UINT64_MAX};
    struct pair_options o = {.only = only, .name = NAME, .alpn = "h2,http/1.1", .suites = suite};
    struct pair p;
    const struct ticket_keys *k = tickets ? &keys : NULL;
    if (only_named && !strstr(what, only_named))
        return;
    if (resume) {
        struct cost ignored = best;
        struct buf got = {0};
        handshake(&p, &o, group, type, k, &ignored);
        pair_client_read(&p, &got);
        o.resume = wolfSSL_get1_session(p.client);
        pair_close(&p);
    }
    int n = type == PAIR_RSA ? rounds / 10 : rounds;
    for (int i = 0; i < n; i++) {
        handshake(&p, &o, group, type, k, &best);
        if (session_resumed(p.session) != resume)
            abort();
        uint64_t t = cycles();
        session_close(p.session);
        keep_min(&best.close, cycles() - t);
        p.session = NULL;
        pair_close(&p);
    }
    wolfSSL_SESSION_free(o.resume);
    printf("%-44s %8lu  (hello %lu, open %lu, handshake %lu; close %lu)\n", what, best.whole,
           best.hello, best.open, best.handshake, best.close);
}

static void records(size_t size)
{
    static uint8_t plain[TLS_RECORD_PLAIN_MAX], wire[TLS_WIRE_ROOM(TLS_RECORD_PLAIN_MAX)];
    struct cost ignored;
    struct pair_options o = {.name = NAME};
    struct pair p;
    uint64_t put = UINT64_MAX, got = UINT64_MAX;
    handshake(&p, &o, 0, PAIR_P256, &keys, &ignored);
    for (int i = 0; i < rounds * 2; i++) {
        struct writer out = writer_of(wire, sizeof wire);
        uint64_t t = cycles();
        struct result r = session_write(p.session, span_of(plain, size), &out);
        keep_min(&put, cycles() - t);
        p.to_client.len = p.to_server.len = 0;
        wolfSSL_write(p.client, plain, (int)size);
        struct session_io io = {buf_span(&p.to_server), &out, NULL};
        struct writer in = writer_of(plain, sizeof plain);
        out.len = 0;
        t = cycles();
        struct result r2 = session_read(p.session, &io, &in);
        keep_min(&got, cycles() - t);
        if (!result_is_ok(r) || (r2.code != ERR_AGAIN && r2.code != ERR_FULL) || in.len != size)
            abort();
    }
    printf("record of %5zu bytes: write %lu, read %lu\n", size, put, got);
    pair_close(&p);
}

static void idle_memory(void)
{
    enum { COUNT = 200 };
    static struct tls_session *kept[COUNT];
    struct cost ignored;
    struct pair_options o = {.name = NAME, .alpn = "http/1.1"};
    struct pair p;
    size_t before = 0;
    for (int i = 0; i < COUNT; i++) {
        handshake(&p, &o, 0, PAIR_P256, &keys, &ignored);
        kept[i] = p.session;
        p.session = NULL;
        pair_close(&p);
        if (i == COUNT / 2 - 1)
            before = mallinfo2().uordblks;
    }
    printf("idle session: %zu bytes\n", (mallinfo2().uordblks - before) / (COUNT / 2));
    for (int i = 0; i < COUNT; i++)
        session_close(kept[i]);
}

static void small_things(void)
{
    uint8_t bytes[32];
    uint64_t random = 0;
    uint64_t t = cycles();
    for (int i = 0; i < 10000; i++)
        if (!result_is_ok(random_fill(bytes, sizeof bytes)))
            abort();
    random = (cycles() - t) / 10000;
    uint64_t seal = UINT64_MAX, open = UINT64_MAX;
    for (int i = 0; i < rounds; i++) {
        uint8_t name[16], iv[16], mac[32], data[140] = {1}, binding[TICKET_BINDING_BYTES] = {2};
        struct ticket_parts parts = {name, iv, mac, data, sizeof data};
        t = cycles();
        bool good = result_is_ok(ticket_seal(&keys, binding, &parts));
        keep_min(&seal, cycles() - t);
        t = cycles();
        good &= ticket_open(&keys, binding, &parts) == TICKET_OPENED;
        keep_min(&open, cycles() - t);
        if (!good)
            abort();
    }
    printf("random, 32 bytes: %lu (mean); ticket: seal %lu, open %lu\n", random, seal, open);
}

/* As in the data process: with one thread only, malloc would not lock. */
static void *other_thread(void *arg)
{
    for (;;)
        pause();
    return NULL;
}

int main(int argc, char **argv)
{
    pthread_t other;
    if (pthread_create(&other, NULL, other_thread, NULL) != 0)
        return 2;
    if (argc > 1)
        rounds = (int)strtol(argv[1], NULL, 10);
    only_named = argc > 2 ? argv[2] : NULL;
    if (rounds < 10 || pair_setup(NULL) != 0)
        return 2;
    printf("minimum cycles of the server's side, %d rounds\n", rounds);
    measure("1.3 P-256 X25519 AES-128, ticket", 0x0304, NULL, WOLFSSL_ECC_X25519, 0, true, false);
    measure("1.3 P-256 X25519 AES-128, no ticket", 0x0304, NULL, WOLFSSL_ECC_X25519, 0, false,
            false);
    measure("1.3 P-256 X25519 AES-256, ticket", 0x0304, "TLS13-AES256-GCM-SHA384",
            WOLFSSL_ECC_X25519, 0, true, false);
    measure("1.3 P-256 X25519MLKEM768 AES-128, ticket", 0x0304, NULL, WOLFSSL_X25519MLKEM768, 0,
            true, false);
    measure("1.3 P-256 P-256 AES-128, ticket", 0x0304, NULL, WOLFSSL_ECC_SECP256R1, 0, true, false);
    measure("1.3 P-384 X25519 AES-128, ticket", 0x0304, NULL, WOLFSSL_ECC_X25519, 1, true, false);
    measure("1.3 RSA-2048 X25519 AES-128, ticket", 0x0304, NULL, WOLFSSL_ECC_X25519, 2, true,
            false);
    measure("1.3 resumed, X25519", 0x0304, NULL, WOLFSSL_ECC_X25519, 0, true, true);
    measure("1.2 P-256 X25519 AES-128, ticket", 0x0303, NULL, 0, 0, true, false);
    measure("1.2 RSA-2048 X25519 AES-128, ticket", 0x0303, NULL, 0, 2, true, false);
    measure("1.2 resumed", 0x0303, NULL, 0, 0, true, true);
    if (only_named)
        return 0;
    records(100);
    records(1400);
    records(4096);
    records(16384);
    idle_memory();
    small_things();
    return 0;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* bench/micro - what the parts of a request cost one by one, on fixed inputs.
 *
 *   micro [NAME]      minimum cycles of each case, or of those whose name holds NAME
 *   micro --count     each case once, inside measured(): tools/check_counts.py runs it under
 *                     callgrind and compares; one line per case, its name and how often it ran
 *
 * Everything is the same in each run, random numbers included: what the kernel gives is replaced
 * here (the linker puts __wrap_getrandom before it). */
#include "../tests/unit/data/tls/pair.h"

#include "base/clock.h"
#include "base/must.h"
#include "bridge/publish.h"
#include "data/http/h1.h"
#include "data/log/access_format.h"
#include "data/route/router.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>
#if defined(__x86_64__)
#include <x86intrin.h>
#define CYCLES() __rdtsc()
#else
#define CYCLES() clock_now_ns() /* ns where there is no such counter */
#endif

enum { RUNS = 64 };

static uint32_t batches = 100; /* of RUNS, the first of which warms up */

/* One run of a case; the number of the run tells inputs apart. */
typedef void run_fn(uint32_t number);

ssize_t __wrap_getrandom(void *to, size_t n, unsigned flags);

ssize_t __wrap_getrandom(void *to, size_t n, unsigned flags)
{
    static uint64_t state;
    uint8_t *out = to;
    for (size_t i = 0; i < n; i++) {
        state = state * 6364136223846793005ull + 1442695040888963407ull;
        out[i] = (uint8_t)(state >> 56);
    }
    return (ssize_t)n;
}

/* ---- ClientHello ---------------------------------------------------------------------------- */

/* Of OpenSSL 3.0: www.example.test; h2, http/1.1; X25519. */
static const uint8_t hello_bytes[] = {
    /* clang-format off */
    0x16, 0x03, 0x01, 0x01, 0x4f, 0x01, 0x00, 0x01, 0x4b, 0x03, 0x03, 0x20, 0xc1, 0x74, 0x68, 0x22,
    0xdc, 0x63, 0x9f, 0x36, 0xf3, 0xa0, 0xda, 0x27, 0x2c, 0x84, 0xd3, 0x65, 0x65, 0xb2, 0xdf, 0x0e,
    0xc9, 0x83, 0x9d, 0x6c, 0x7a, 0x08, 0x87, 0xd8, 0x27, 0xdf, 0x8a, 0x20, 0x30, 0x88, 0xe1, 0x96,
    0xeb, 0xbc, 0x8b, 0x8b, 0xeb, 0x9d, 0x6d, 0x37, 0xdc, 0x9d, 0xf2, 0xeb, 0x47, 0xce, 0xd8, 0xca,
    0x87, 0x64, 0xd3, 0x77, 0x80, 0x74, 0x1e, 0xe7, 0x96, 0x79, 0x83, 0x62, 0x00, 0x3e, 0x13, 0x02,
    0x13, 0x03, 0x13, 0x01, 0xc0, 0x2c, 0xc0, 0x30, 0x00, 0x9f, 0xcc, 0xa9, 0xcc, 0xa8, 0xcc, 0xaa,
    0xc0, 0x2b, 0xc0, 0x2f, 0x00, 0x9e, 0xc0, 0x24, 0xc0, 0x28, 0x00, 0x6b, 0xc0, 0x23, 0xc0, 0x27,
    0x00, 0x67, 0xc0, 0x0a, 0xc0, 0x14, 0x00, 0x39, 0xc0, 0x09, 0xc0, 0x13, 0x00, 0x33, 0x00, 0x9d,
    0x00, 0x9c, 0x00, 0x3d, 0x00, 0x3c, 0x00, 0x35, 0x00, 0x2f, 0x00, 0xff, 0x01, 0x00, 0x00, 0xc4,
    0x00, 0x00, 0x00, 0x15, 0x00, 0x13, 0x00, 0x00, 0x10, 0x77, 0x77, 0x77, 0x2e, 0x65, 0x78, 0x61,
    0x6d, 0x70, 0x6c, 0x65, 0x2e, 0x74, 0x65, 0x73, 0x74, 0x00, 0x0b, 0x00, 0x04, 0x03, 0x00, 0x01,
    0x02, 0x00, 0x0a, 0x00, 0x16, 0x00, 0x14, 0x00, 0x1d, 0x00, 0x17, 0x00, 0x1e, 0x00, 0x19, 0x00,
    0x18, 0x01, 0x00, 0x01, 0x01, 0x01, 0x02, 0x01, 0x03, 0x01, 0x04, 0x00, 0x23, 0x00, 0x00, 0x00,
    0x10, 0x00, 0x0e, 0x00, 0x0c, 0x02, 0x68, 0x32, 0x08, 0x68, 0x74, 0x74, 0x70, 0x2f, 0x31, 0x2e,
    0x31, 0x00, 0x16, 0x00, 0x00, 0x00, 0x17, 0x00, 0x00, 0x00, 0x0d, 0x00, 0x2a, 0x00, 0x28, 0x04,
    0x03, 0x05, 0x03, 0x06, 0x03, 0x08, 0x07, 0x08, 0x08, 0x08, 0x09, 0x08, 0x0a, 0x08, 0x0b, 0x08,
    0x04, 0x08, 0x05, 0x08, 0x06, 0x04, 0x01, 0x05, 0x01, 0x06, 0x01, 0x03, 0x03, 0x03, 0x01, 0x03,
    0x02, 0x04, 0x02, 0x05, 0x02, 0x06, 0x02, 0x00, 0x2b, 0x00, 0x09, 0x08, 0x03, 0x04, 0x03, 0x03,
    0x03, 0x02, 0x03, 0x01, 0x00, 0x2d, 0x00, 0x02, 0x01, 0x01, 0x00, 0x33, 0x00, 0x26, 0x00, 0x24,
    0x00, 0x1d, 0x00, 0x20, 0x0b, 0x41, 0x66, 0xf1, 0x5e, 0x49, 0x55, 0x44, 0x43, 0x70, 0xc7, 0x16,
    0xa2, 0xe9, 0x07, 0x03, 0xf7, 0xba, 0x18, 0x5a, 0x5d, 0x49, 0x7b, 0x4a, 0x0d, 0x57, 0xcf, 0x7e,
    0x9a, 0xc7, 0x2d, 0x74,
    /* clang-format on */
};

static void run_hello(uint32_t number)
{
    struct hello h;
    must(result_is_ok(hello_parse(span_of(hello_bytes, sizeof hello_bytes), &h)) && h.tls13);
}

/* ---- HTTP/1.1 ------------------------------------------------------------------------------- */

static const char small_request[] = "GET /64 HTTP/1.1\r\nHost: www.example.test\r\n\r\n";

static const char browser_request[] =
    "GET /assets/application/main.js?v=20260412 HTTP/1.1\r\n"
    "Host: www.example.test\r\n"
    "Connection: keep-alive\r\n"
    "sec-ch-ua: \"Chromium\";v=\"140\", \"Not=A?Brand\";v=\"24\"\r\n"
    "sec-ch-ua-mobile: ?0\r\n"
    "sec-ch-ua-platform: \"Linux\"\r\n"
    "Upgrade-Insecure-Requests: 1\r\n"
    "User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) "
    "Chrome/140.0.0.0 Safari/537.36\r\n"
    "Accept: text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*\r\n"
    "Sec-Fetch-Site: same-origin\r\n"
    "Sec-Fetch-Mode: navigate\r\n"
    "Sec-Fetch-Dest: document\r\n"
    "Referer: https://www.example.test/assets/\r\n"
    "Accept-Encoding: gzip, deflate, br, zstd\r\n"
    "Accept-Language: en-GB,en;q=0.9\r\n"
    "Cookie: session=0123456789abcdef0123456789abcdef; theme=dark; consent=yes\r\n\r\n";

static const char small_response[] = "HTTP/1.1 200 OK\r\n"
                                     "Server: nginx/1.22.1\r\n"
                                     "Date: Sun, 22 Nov 2026 10:00:00 GMT\r\n"
                                     "Content-Type: text/plain\r\n"
                                     "Content-Length: 64\r\n"
                                     "Last-Modified: Sun, 22 Nov 2026 09:00:00 GMT\r\n"
                                     "Connection: keep-alive\r\n"
                                     "ETag: \"6740a000-40\"\r\n"
                                     "Accept-Ranges: bytes\r\n\r\n";

static struct http_head head;

static void parse(enum h1_role role, const char *text, size_t len)
{
    struct h1 h1;
    size_t used;
    h1_init(&h1, role, 65536, &head);
    h1_expect(&h1, HTTP_GET);
    must(h1_feed(&h1, span_of(text, len), &used).kind == HTTP_EVENT_HEAD && used == len);
}

static void run_small_request(uint32_t number)
{
    parse(H1_SERVER, small_request, sizeof small_request - 1);
}

static void run_browser_request(uint32_t number)
{
    parse(H1_SERVER, browser_request, sizeof browser_request - 1);
}

static void run_small_response(uint32_t number)
{
    parse(H1_CLIENT, small_response, sizeof small_response - 1);
}

/* What is written is the head that was parsed last. */
static void prepare_write_request(void)
{
    static const char *const own[][2] = {
        {"X-Forwarded-For", "192.0.2.1"}, {"X-Forwarded-Host", "www.example.test"},
        {"X-Forwarded-Port", "443"},      {"X-Forwarded-Proto", "https"},
        {"X-Forwarded-Server", "edge-1"}, {"X-Real-Ip", "192.0.2.1"}};
    run_browser_request(0);
    for (size_t i = 0; i < sizeof own / sizeof *own; i++)
        must(http_head_add(&head, span_str(own[i][0]), span_str(own[i][1])));
}

static void run_write_request(uint32_t number)
{
    static uint8_t room[4096];
    struct writer out = writer_of(room, sizeof room);
    must(result_is_ok(h1_write_request(&head, head.path, &out)));
}

static void prepare_write_response(void)
{
    run_small_response(0);
}

static void run_write_response(uint32_t number)
{
    static uint8_t room[4096];
    struct writer out = writer_of(room, sizeof room);
    must(result_is_ok(h1_write_response(&head, 1, HTTP_BODY_LENGTH, true, &out)));
}

/* ---- routes --------------------------------------------------------------------------------- */

static struct snapshot routes;
static struct router_index *routers;
static char (*hosts)[32]; /* of each router; also names of the certificate table */

static void make_hosts(uint32_t count)
{
    free(hosts);
    hosts = mem_alloc(count * sizeof *hosts);
    for (uint32_t i = 0; i < count; i++)
        snprintf(hosts[i], sizeof hosts[i], "host-%05u.example.test", i);
}

/* Each router: its own host, and a prefix that most of them share. */
static void make_routes(uint32_t count)
{
    static struct snap_entrypoint entrypoint;
    struct snap_router *router = mem_zalloc(count * sizeof *router);
    struct snap_rule_node *node = mem_zalloc(3ull * count * sizeof *node);
    router_index_destroy(routers);
    free(routes.routers);
    free(routes.rule_nodes);
    make_hosts(count);
    for (uint32_t i = 0; i < count; i++) {
        router[i] = (struct snap_router){.first_node = 3 * i, .node_count = 3, .tls = SNAP_NONE};
        node[3ull * i] = (struct snap_rule_node){SNAP_RULE_HOST, span_str(hosts[i])};
        node[3ull * i + 1] =
            (struct snap_rule_node){SNAP_RULE_PATH_PREFIX, SPAN_LITERAL("/assets/")};
        node[3ull * i + 2] = (struct snap_rule_node){.op = SNAP_RULE_AND};
    }
    entrypoint.router_count = count;
    routes = (struct snapshot){.entrypoints = &entrypoint,
                               .entrypoint_count = 1,
                               .routers = router,
                               .router_count = count,
                               .rule_nodes = node,
                               .rule_node_count = 3 * count};
    routers = router_index_create(&routes);
}

static void run_route(uint32_t number)
{
    char memory[ROUTER_HOST_MAX + 1];
    uint32_t want = number * 157 % routes.router_count;
    struct router_request r = {.method = SPAN_LITERAL("GET")};
    r.host = router_host(span_str(hosts[want]), memory);
    must(result_is_ok(router_path(routers, SPAN_LITERAL("/assets/main.js?v=2026"), &r.path)));
    must(router_match(routers, &r) == &routes.routers[want]);
}

static void prepare_route_1(void)
{
    make_routes(1);
}

static void prepare_route_100(void)
{
    make_routes(100);
}

static void prepare_route_10000(void)
{
    make_routes(10000);
}

/* ---- certificate table ---------------------------------------------------------------------- */

static struct publisher *publisher;
static struct bridge_reader *reader;
static uint32_t name_count;

static void feed(struct buf *out)
{
    size_t used;
    must(result_is_ok(publisher_feed(publisher, buf_span(out), &used, NULL)) && used == out->len);
    out->len = 0;
}

static void end_table(void)
{
    reader_offline(reader);
    reader_leave(reader);
    publisher_destroy(publisher);
}

static void make_table(uint32_t count)
{
    static const uint8_t chain[1500] = {0, 1497 >> 8, 1497 & 255}, key[121] = {1};
    struct publish_cert cert = {.id = 1,
                                .chain = {chain, sizeof chain},
                                .key = {key, sizeof key},
                                .not_after_s = INT32_MAX};
    struct buf out = {0};
    make_hosts(count);
    name_count = count;
    must(result_is_ok(publisher_create(1, count, &publisher, NULL)));
    reader = reader_join(publisher, 0, -1);
    publish_cert(&out, &cert);
    publish_name(&out, (struct span){NULL, 0}, 1, 0, PUBLISH_NAME_DEFAULT);
    for (uint32_t i = 0; i < count; i++) {
        publish_name(&out, span_str(hosts[i]), 1, 0, 0);
        if (i % 1000 == 999)
            feed(&out);
    }
    feed(&out);
    buf_free(&out);
    reader_online(reader);
}

static void run_table(uint32_t number)
{
    bool is_default;
    struct span name = span_str(hosts[number * 1571 % name_count]);
    must(table_select(reader, name, (struct span){NULL, 0}, true, true, &is_default, NULL));
    must(!is_default);
}

static void prepare_table_1000(void)
{
    make_table(1000);
}

static void prepare_table_10000(void)
{
    make_table(10000);
}

static void prepare_table_100000(void)
{
    make_table(100000);
}

/* ---- TLS records ---------------------------------------------------------------------------- */

static struct pair tls;
static uint8_t plain[TLS_RECORD_PLAIN_MAX], wire[TLS_WIRE_ROOM(TLS_RECORD_PLAIN_MAX)];
static size_t record_bytes;
static struct span received;

static void prepare_tls(size_t bytes)
{
    struct pair_options o = {.name = NAME, .only = 0x0304};
    pair_open(&tls, policy, &certs[PAIR_P256].table, &keys, &o);
    pair_establish(&tls);
    tls.to_client.len = tls.to_server.len = 0;
    record_bytes = bytes;
}

static void end_tls(void)
{
    pair_close(&tls);
}

static void prepare_out_100(void)
{
    prepare_tls(100);
}

static void prepare_out_16k(void)
{
    prepare_tls(TLS_RECORD_PLAIN_MAX);
}

static void run_out(uint32_t number)
{
    struct writer out = writer_of(wire, sizeof wire);
    must(result_is_ok(session_write(tls.session, span_of(plain, record_bytes), &out)));
}

/* As many records as all runs take. */
static void prepare_in(size_t bytes)
{
    prepare_tls(bytes);
    for (uint32_t i = 0; i < RUNS * batches; i++)
        must(wolfSSL_write(tls.client, plain, (int)bytes) == (int)bytes);
    received = buf_span(&tls.to_server);
}

static void prepare_in_100(void)
{
    prepare_in(100);
}

static void prepare_in_16k(void)
{
    prepare_in(TLS_RECORD_PLAIN_MAX);
}

/* One record, as a worker gives them to it. */
static void run_in(uint32_t number)
{
    uint8_t answer[TLS_ANSWER_ROOM];
    struct writer out = writer_of(answer, sizeof answer), in = writer_of(plain, sizeof plain);
    size_t record = 5u + (size_t)(received.ptr[3] << 8 | received.ptr[4]);
    struct session_io io = {span_first(received, record), &out, NULL};
    struct result r = session_read(tls.session, &io, &in);
    must((r.code == ERR_AGAIN || r.code == ERR_FULL) && in.len == record_bytes && !io.in.len);
    received = span_skip(received, record);
}

static void run_session(uint32_t number)
{
    struct tls_session *s;
    struct hello h;
    must(result_is_ok(hello_parse(span_of(hello_bytes, sizeof hello_bytes), &h)));
    must(result_is_ok(session_open(policy, &h, &certs[PAIR_P256].table, &keys, &s)));
    session_close(s);
}

/* ---- access log ----------------------------------------------------------------------------- */

static void run_log_line(uint32_t number)
{
    static uint8_t room[4096];
    static const struct snap_access access = {.on = true};
    struct access_record r = {.start_s = 1800000000,
                              .duration_ns = 12345678,
                              .origin_ns = 12000000,
                              .client_ip = SPAN_LITERAL("192.0.2.1"),
                              .client_port = 4711,
                              .method = SPAN_LITERAL("GET"),
                              .target = SPAN_LITERAL("/assets/main.js?v=2026"),
                              .host = SPAN_LITERAL("www.example.test"),
                              .protocol = SPAN_LITERAL("HTTP/1.1"),
                              .entrypoint = SPAN_LITERAL("websecure"),
                              .router = SPAN_LITERAL("assets"),
                              .service = SPAN_LITERAL("origins"),
                              .server_url = SPAN_LITERAL("http://10.0.0.1:80"),
                              .status = 200,
                              .origin_status = 200,
                              .response_bytes = 64,
                              .number = number};
    struct writer out = writer_of(room, sizeof room);
    must(access_format(&access, &r, &out));
}

/* ---- all ------------------------------------------------------------------------------------ */

static const struct job {
    const char *name;
    run_fn *run;
    void (*prepare)(void), (*end)(void);
} jobs[] = {
    {"hello", run_hello},
    {"request-small", run_small_request},
    {"request-browser", run_browser_request},
    {"response", run_small_response},
    {"write-request", run_write_request, prepare_write_request},
    {"write-response", run_write_response, prepare_write_response},
    {"route-1", run_route, prepare_route_1},
    {"route-100", run_route, prepare_route_100},
    {"route-10000", run_route, prepare_route_10000},
    {"table-1000", run_table, prepare_table_1000, end_table},
    {"table-10000", run_table, prepare_table_10000, end_table},
    {"table-100000", run_table, prepare_table_100000, end_table},
    {"session", run_session},
    {"record-out-100", run_out, prepare_out_100, end_tls},
    {"record-out-16k", run_out, prepare_out_16k, end_tls},
    {"record-in-100", run_in, prepare_in_100, end_tls},
    {"record-in-16k", run_in, prepare_in_16k, end_tls},
    {"log-line", run_log_line},
};

/* callgrind counts what happens in here, and writes it down when it ends. */
static void measured(run_fn *run, uint32_t first)
{
    for (uint32_t i = 0; i < RUNS; i++)
        run(first + i);
}

/* Called by this alone, so that no compiler makes copies of it or puts it into its callers. */
static void (*volatile measure)(run_fn *run, uint32_t first) = measured;

/* The least of many batches: others use the machine, too. */
static double least_cycles(run_fn *run)
{
    uint64_t best = UINT64_MAX;
    for (uint32_t i = 1; i < batches; i++) {
        uint64_t from = CYCLES();
        measure(run, i * RUNS);
        uint64_t spent = CYCLES() - from;
        best = spent < best ? spent : best;
    }
    return (double)best / RUNS;
}

int main(int argc, char **argv)
{
    bool count = argc > 1 && !strcmp(argv[1], "--count");
    if (count)
        batches = 2;
    pair_setup(NULL);
    for (size_t i = 0; i < sizeof jobs / sizeof *jobs; i++) {
        const struct job *j = &jobs[i];
        if (argc > 1 && !count && !strstr(j->name, argv[1]))
            continue;
        if (j->prepare)
            j->prepare();
        for (uint32_t n = 0; n < RUNS; n++)
            j->run(n);
        if (count) {
            printf("%s %d\n", j->name, RUNS);
            measure(j->run, RUNS);
        } else {
            printf("%-16s %8.0f cycles\n", j->name, least_cycles(j->run));
        }
        fflush(stdout);
        if (j->end)
            j->end();
    }
    pair_teardown(NULL);
    return 0;
}

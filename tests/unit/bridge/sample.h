/* SPDX-License-Identifier: Apache-2.0 */
/* tests/unit/bridge/sample.h - a snapshot with something in every array, and certificates whose
 * content can be checked.
 * Thread: any.   Owns: static memory.   Never: changes. */
#pragma once

#include "base/must.h"
#include "bridge/publish.h"

static struct snap_prefix sample_prefixes[] = {{{10}, 104}, {{0xfd}, 8}};
static struct snap_entrypoint sample_entrypoints[] = {
    {.name = SPAN_LITERAL("web"),
     .redirect_status = 308,
     .redirect_scheme = SPAN_LITERAL("https"),
     .idle_timeout_ms = 180000,
     .tunnel_timeout_ms = 3600000},
    {.name = SPAN_LITERAL("websecure"),
     .head_max_bytes = 65536,
     .h2 = {250, 65535, 1048576, 8, 200, 1000, 100, 101},
     .trusted_first = 0,
     .trusted_count = 2,
     .first_router = 0,
     .router_count = 2,
     .tls = true,
     .tcp = {2, 0},
     .tcp_tls = true,
     .proxy_insecure = true,
     .proxy_trusted = {1, 1}},
};
static struct snap_rule_node sample_nodes[] = {
    {SNAP_RULE_HOST, SPAN_LITERAL("a.test")},
    {SNAP_RULE_PATH_PREFIX, SPAN_LITERAL("/api")},
    {SNAP_RULE_PATH, SPAN_LITERAL("/exact")},
    {SNAP_RULE_NOT, {NULL, 0}},
    {SNAP_RULE_OR, {NULL, 0}},
    {SNAP_RULE_AND, {NULL, 0}},
    {SNAP_RULE_ANY, {NULL, 0}},
    {SNAP_RULE_HEADER_REGEXP, {NULL, 0}, SPAN_LITERAL("X-A"), 1},
    {SNAP_RULE_AND, {NULL, 0}},
};
static struct snap_regex sample_regexes[] = {{SPAN_LITERAL("a+")}, {SPAN_LITERAL("^b")}};
static struct snap_router sample_routers[] = {
    {.name = SPAN_LITERAL("r1"), .first_node = 0, .node_count = 6, .priority = -5, .entrypoint = 1},
    {.name = SPAN_LITERAL("r2"),
     .first_node = 6,
     .node_count = 3,
     .priority = 1ll << 40,
     .access_log = true,
     .service = 1,
     .tls = SNAP_NONE,
     .entrypoint = 1,
     .steps = {2, 11}},
};
static struct snap_text sample_texts[] = {{SPAN_LITERAL("/a")}, {SPAN_LITERAL("/b")}};
static struct snap_pair sample_pairs[] = {{SPAN_LITERAL("X-A"), SPAN_LITERAL("1"), true},
                                          {SPAN_LITERAL("X-B"), {NULL, 0}, false}};
#define SAMPLE_LIMIT                                                                               \
    {                                                                                              \
        .average = 5, .period_ns = 1, .burst = 2, .amount = 3, .source = {                         \
            SNAP_SOURCE_HEADER,                                                                    \
            SPAN_LITERAL("X"),                                                                     \
            {1, {0, 2}, 64}                                                                        \
        }                                                                                          \
    }
static struct snap_middleware sample_middlewares[] = {
    {.kind = SNAP_MIDDLEWARE_REDIRECT_SCHEME,
     .redirect = {.scheme = SPAN_LITERAL("https"), .port = SPAN_LITERAL(":1"), .permanent = true}},
    {.kind = SNAP_MIDDLEWARE_REDIRECT_REGEX,
     .redirect = {.regex = SPAN_LITERAL("a"), .replacement = SPAN_LITERAL("b")}},
    {.kind = SNAP_MIDDLEWARE_HEADERS,
     .headers = {.request = {0, 1},
                 .response = {1, 1},
                 .origins = {0, 2},
                 .allow_methods = SPAN_LITERAL("GET"),
                 .vary = true}},
    {.kind = SNAP_MIDDLEWARE_STRIP_PREFIX, .path = {.list = {0, 2}, .force_slash = true}},
    {.kind = SNAP_MIDDLEWARE_STRIP_PREFIX_REGEX, .path = {.list = {1, 1}}},
    {.kind = SNAP_MIDDLEWARE_ADD_PREFIX, .path = {.text = SPAN_LITERAL("/p")}},
    {.kind = SNAP_MIDDLEWARE_REPLACE_PATH, .path = {.text = SPAN_LITERAL("/q")}},
    {.kind = SNAP_MIDDLEWARE_REPLACE_PATH_REGEX, .redirect = {.regex = SPAN_LITERAL("c")}},
    {.kind = SNAP_MIDDLEWARE_ALLOW_LIST,
     .allow = {.ranges = {1, 1}, .ip = {0, {0, 1}, 128}, .status = 403}},
    {.name = SPAN_LITERAL("rate"), .kind = SNAP_MIDDLEWARE_RATE_LIMIT, .limit = SAMPLE_LIMIT},
    {.kind = SNAP_MIDDLEWARE_IN_FLIGHT, .limit = SAMPLE_LIMIT},
    {.kind = SNAP_MIDDLEWARE_BASIC_AUTH,
     .auth = {.realm = SPAN_LITERAL("r"), .users = {0, 2}, .remove_header = true}},
    {.kind = SNAP_MIDDLEWARE_RETRY, .retry = {4, 100}},
};
static struct snap_step sample_steps[] = {{0}, {1}, {2}, {3},  {4},  {5}, {6},
                                          {7}, {8}, {9}, {10}, {11}, {12}};
static struct snap_server sample_servers[] = {
    {.url = SPAN_LITERAL("http://one:80"),
     .host = SPAN_LITERAL("one"),
     .port = 80,
     .weight = 1,
     .cookie = SPAN_LITERAL("x")},
    {.url = SPAN_LITERAL("https://two"), .host = SPAN_LITERAL("two"), .port = 443, .https = true},
    {.url = SPAN_LITERAL("http://three"), .host = SPAN_LITERAL("three"), .port = 80},
};
static struct snap_service sample_services[] = {
    {.name = SPAN_LITERAL("s1"), .first_server = 0, .server_count = 2, .pass_host_header = true},
    {.name = SPAN_LITERAL("s2"),
     .first_server = 2,
     .server_count = 1,
     .max_idle_per_server = 7,
     .transport = 1,
     .strategy = SNAP_STRATEGY_HRW,
     .cookie_name = SPAN_LITERAL("c"),
     .passive_failures = 3,
     .passive_window_ms = 10000,
     .proxy_version = 2,
     .termination_ms = 100,
     .keep_alive_ms = 15000},
    {.name = SPAN_LITERAL("s3"),
     .kind = SNAP_SERVICE_WEIGHTED,
     .level = 1,
     .first_member = 0,
     .member_count = 2},
};
static struct snap_roots sample_roots[] = {{SPAN_LITERAL("\0\0\1A\0\0\2BB")}};
static struct snap_transport sample_transports[] = {
    {.id = 1, .roots = SNAP_NONE},
    {.name = SPAN_LITERAL("mutual"),
     .id = 1ull << 63,
     .insecure = true,
     .no_http2 = true,
     .no_alpn = true,
     .server_name = SPAN_LITERAL("b.test"),
     .peer_uri = SPAN_LITERAL("spiffe://b"),
     .roots = 0,
     .chain = SPAN_LITERAL("\0\0\1C"),
     .key = SPAN_LITERAL("secret key"),
     .read_idle_timeout_ms = 5000,
     .ping_timeout_ms = 15000},
};
static struct snap_member sample_members[] = {{0, 1, SPAN_LITERAL("m")}, {1, 5, {NULL, 0}}};
static struct snap_tls sample_tls[] = {
    {.name = SPAN_LITERAL("default"),
     .min_version = 0x0303,
     .max_version = 0x0304,
     .sni_strict = true,
     .groups = SPAN_LITERAL("X25519")},
    {.name = SPAN_LITERAL("strict"),
     .min_version = 0x0304,
     .max_version = 0x0304,
     .client_auth = SNAP_CLIENT_AUTH_VERIFY,
     .ciphers = SPAN_LITERAL("TLS_AES_128_GCM_SHA256"),
     .alpn = SPAN_LITERAL("h2:http/1.1"),
     .client_cas = SPAN_LITERAL("\0\0\3abc")},
};
static struct snap_tls_host sample_tls_hosts[] = {
    {.entrypoint = 0, .tls = 1, .host = SPAN_LITERAL("a.test")},
    {.entrypoint = 0, .tls = 0, .host = SPAN_LITERAL("a.test.b")},
    {.entrypoint = 0, .tls = 1, .host = SPAN_LITERAL("b.test")},
    {.entrypoint = 1, .tls = 1, .host = SPAN_LITERAL("a.test")},
};

static inline struct snapshot sample_snapshot(uint64_t version)
{
    return (struct snapshot){
        .version = version,
        .conns_per_worker = 1000,
        .entrypoints = sample_entrypoints,
        .entrypoint_count = 2,
        .routers = sample_routers,
        .router_count = 2,
        .rule_nodes = sample_nodes,
        .rule_node_count = 9,
        .regexes = sample_regexes,
        .regex_count = 2,
        .services = sample_services,
        .service_count = 3,
        .members = sample_members,
        .member_count = 2,
        .servers = sample_servers,
        .server_count = 3,
        .transports = sample_transports,
        .transport_count = 2,
        .roots = sample_roots,
        .roots_count = 1,
        .tls = sample_tls,
        .tls_count = 2,
        .tls_hosts = sample_tls_hosts,
        .tls_host_count = 4,
        .prefixes = sample_prefixes,
        .prefix_count = 2,
        .middlewares = sample_middlewares,
        .middleware_count = 13,
        .steps = sample_steps,
        .step_count = 13,
        .texts = sample_texts,
        .text_count = 2,
        .pairs = sample_pairs,
        .pair_count = 2,
    };
}

/* Chain of one certificate of `chain_bytes`, and a key: every byte follows from the id. */
struct sample_cert {
    uint8_t chain[3 + 400];
    uint8_t key[120];
    struct publish_cert cert;
};

static inline uint8_t sample_byte(uint64_t id, size_t i)
{
    return (uint8_t)(0x80 | ((id * 31 + i * 7) >> 1)); /* never 0, as wiped memory is */
}

static inline void sample_cert(struct sample_cert *s, uint64_t id, bool is_rsa)
{
    s->chain[0] = 0;
    s->chain[1] = (sizeof s->chain - 3) >> 8;
    s->chain[2] = (sizeof s->chain - 3) & 255;
    for (size_t i = 3; i < sizeof s->chain; i++)
        s->chain[i] = sample_byte(id, i);
    for (size_t i = 0; i < sizeof s->key; i++)
        s->key[i] = sample_byte(id, i + 1000);
    s->cert = (struct publish_cert){
        .id = id,
        .is_rsa = is_rsa,
        .not_after_s = (int64_t)id * 2,
        .chain = {s->chain, sizeof s->chain},
        .key = {s->key, sizeof s->key},
    };
}

static inline void sample_check(const struct table_cert *c)
{
    must(c->chain.len == 403 && c->key.len == 120 && c->not_after_s == (int64_t)c->id * 2);
    for (size_t i = 3; i < c->chain.len; i++)
        must(c->chain.ptr[i] == sample_byte(c->id, i));
    for (size_t i = 0; i < c->key.len; i++)
        must(c->key.ptr[i] == sample_byte(c->id, i + 1000));
}

static inline void sample_publish(struct buf *out, uint64_t id, bool is_rsa)
{
    struct sample_cert s;
    sample_cert(&s, id, is_rsa);
    publish_cert(out, &s.cert);
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "control/snapshot_build.h"

#include "control/snapshot_access.h"

#include "base/buf.h"
#include "base/must.h"
#include "control/snapshot_balance.h"
#include "control/snapshot_metrics.h"
#include "control/snapshot_rules.h"
#include "crypto/digest.h"

#include <arpa/inet.h>
#include <stdlib.h>

static uint32_t ms(uint64_t value)
{
    return value > UINT32_MAX ? UINT32_MAX : (uint32_t)value;
}

static bool uses(const struct config_router *r, uint32_t entrypoint)
{
    for (uint32_t i = 0; i < r->entrypoint_count; i++)
        if (r->entrypoints[i] == entrypoint)
            return true;
    return false;
}

/* ---- entry points -----------------------------------------------------------------------------
 */

/* "10.0.0.0/8" or "::1"; IPv4 becomes IPv4-mapped. */
struct snap_prefix snapshot_build_prefix(const char *text)
{
    struct snap_prefix p = {.bits = 128};
    struct in_addr v4;
    size_t slash = strcspn(text, "/");
    char *address = mem_strndup(text, slash);
    bool is_v4 = inet_pton(AF_INET, address, &v4) == 1;
    if (is_v4) {
        p.address[10] = p.address[11] = 0xff;
        memcpy(p.address + 12, &v4, 4);
    } else {
        must(inet_pton(AF_INET6, address, p.address) == 1);
    }
    free(address);
    if (text[slash]) {
        unsigned long bits = strtoul(text + slash + 1, NULL, 10);
        must(bits <= (is_v4 ? 32 : 128));
        p.bits = (uint8_t)(bits + (is_v4 ? 96 : 0));
    }
    return p;
}

static void build_redirect(struct snap_entrypoint *e, const struct config_entrypoint *c)
{
    if (!c->redirect)
        return;
    e->redirect_status = c->redirect_permanent ? 308 : 307;
    e->redirect_scheme = span_str(c->redirect_scheme);
    e->redirect_port = c->redirect_port;
}

static bool chosen(enum config_choice choice, bool otherwise)
{
    return choice == CONFIG_UNSET ? otherwise : choice == CONFIG_YES;
}

/* A router of this entry point; true when it has TLS. */
static bool put_router(struct snapshot *s, struct snapshot_rules *rules,
                       const struct config *config, const struct config_router *r, uint32_t index,
                       const uint32_t *middlewares)
{
    static const struct config_middleware_list none = {NULL, 0};
    const struct config_entrypoint *c = &config->entrypoints[index];
    if (!uses(r, index))
        return false;
    s->routers[s->router_count++] = (struct snap_router){
        .name = span_str(r->name),
        .first_node = s->rule_node_count,
        .node_count = r->rule.node_count,
        .priority = r->priority,
        .service = r->service,
        .tls = r->tls ? r->tls_options : SNAP_NONE,
        .entrypoint = index,
        .access_log = chosen(r->access_logs, c->access_logs),
        .metrics = chosen(r->metrics, c->metrics),
        .passthrough = r->passthrough,
        .internal = r->internal,
        .steps = snapshot_build_steps(s, middlewares, r->tcp ? &none : &c->middlewares,
                                      &r->middlewares)};
    snapshot_rules_put(rules, &r->rule);
    s->entrypoints[index].internal |= r->internal;
    return r->tls;
}

static void build_entrypoint(struct snapshot *s, struct snapshot_rules *rules,
                             const struct config *config, uint32_t index,
                             const uint32_t *middlewares)
{
    const struct config_entrypoint *c = &config->entrypoints[index];
    struct snap_entrypoint *e = &s->entrypoints[index];
    *e = (struct snap_entrypoint){.name = span_str(c->name),
                                  .read_timeout_ms = ms(c->read_timeout_ms),
                                  .head_timeout_ms = ms(c->head_timeout_ms),
                                  .write_timeout_ms = ms(c->write_timeout_ms),
                                  .idle_timeout_ms = ms(c->idle_timeout_ms),
                                  .tunnel_timeout_ms = ms(c->tunnel_timeout_ms),
                                  .handshake_timeout_ms = ms(c->handshake_timeout_ms),
                                  .head_max_bytes = c->head_max_bytes,
                                  .h2 = {.streams_max = c->h2.streams_max,
                                         .stream_window_bytes = c->h2.stream_window_bytes,
                                         .conn_window_bytes = c->h2.conn_window_bytes,
                                         .head_frames = c->h2.head_frames,
                                         .resets = c->h2.resets,
                                         .control_frames = c->h2.control_frames,
                                         .empty_frames = c->h2.empty_frames,
                                         .glitches = c->h2.glitches},
                                  .keep_alive_requests = c->keep_alive_requests,
                                  .keep_alive_ms = ms(c->keep_alive_ms),
                                  .grace_timeout_ms = ms(c->grace_timeout_ms),
                                  .accept_grace_ms = ms(c->accept_grace_ms),
                                  .forwarded_insecure = c->forwarded_insecure,
                                  .trusted_first = s->prefix_count,
                                  .trusted_count = c->trusted_count,
                                  .first_router = s->router_count,
                                  .tls = c->tls};
    build_redirect(e, c);
    for (uint32_t i = 0; i < c->trusted_count; i++)
        s->prefixes[s->prefix_count++] = snapshot_build_prefix(c->trusted_ips[i]);
    e->proxy_insecure = c->proxy_insecure;
    e->proxy_trusted = (struct snap_range){s->prefix_count, c->proxy_trusted_count};
    for (uint32_t i = 0; i < c->proxy_trusted_count; i++)
        s->prefixes[s->prefix_count++] = snapshot_build_prefix(c->proxy_trusted[i]);
    /* The configuration lists routers best first. */
    for (uint32_t i = 0; i < config->router_count; i++)
        e->tls |= put_router(s, rules, config, &config->routers[i], index, middlewares);
    e->router_count = s->router_count - e->first_router;
    e->tcp.first = s->router_count;
    for (uint32_t i = 0; i < config->tcp_router_count; i++)
        e->tcp_tls |= put_router(s, rules, config, &config->tcp_routers[i], index, middlewares);
    e->tcp.count = s->router_count - e->tcp.first;
}

static void build_entrypoints(struct snapshot *s, const struct config *config,
                              const uint32_t *middlewares)
{
    uint32_t routers = 0, nodes = 0, prefixes = 0, first_prefix = s->prefix_count;
    for (uint32_t i = 0; i < config->entrypoint_count; i++)
        prefixes +=
            config->entrypoints[i].trusted_count + config->entrypoints[i].proxy_trusted_count;
    for (uint32_t i = 0; i < config->router_count + config->tcp_router_count; i++) {
        const struct config_router *r = i < config->router_count
                                            ? &config->routers[i]
                                            : &config->tcp_routers[i - config->router_count];
        routers += r->entrypoint_count;
        nodes += r->entrypoint_count * r->rule.node_count;
        prefixes += r->entrypoint_count * snapshot_rules_prefixes(&r->rule);
    }
    s->entrypoints = mem_zalloc(config->entrypoint_count * sizeof *s->entrypoints);
    s->routers = mem_zalloc(routers * sizeof *s->routers);
    s->rule_nodes = mem_zalloc(nodes * sizeof *s->rule_nodes);
    s->prefixes = mem_grow(s->prefixes, (s->prefix_count + prefixes + 1) * sizeof *s->prefixes);
    s->entrypoint_count = config->entrypoint_count;
    struct snapshot_rules *rules = snapshot_rules_create(s);
    for (uint32_t i = 0; i < config->entrypoint_count; i++)
        build_entrypoint(s, rules, config, i, middlewares);
    snapshot_rules_destroy(rules);
    must(s->router_count <= routers && s->rule_node_count <= nodes &&
         s->prefix_count <= first_prefix + prefixes);
}

/* ---- services, TLS -----------------------------------------------------------------------------
 */

static void build_services(struct snapshot *s, const struct config *config)
{
    uint32_t servers = 0;
    for (uint32_t i = 0; i < config->service_count; i++)
        servers += config->services[i].server_count;
    s->services = mem_zalloc(config->service_count * sizeof *s->services);
    s->servers = mem_zalloc(servers * sizeof *s->servers);
    s->service_count = config->service_count;
    for (uint32_t i = 0; i < config->service_count; i++) {
        const struct config_service *c = &config->services[i];
        s->services[i] =
            (struct snap_service){.name = span_str(c->name),
                                  .ping = c->internal == CONFIG_INTERNAL_PING,
                                  .first_server = s->server_count,
                                  .server_count = c->server_count,
                                  .pass_host_header = c->pass_host_header,
                                  .dial_timeout_ms = ms(c->dial_timeout_ms),
                                  .response_header_timeout_ms = ms(c->response_header_timeout_ms),
                                  .body_timeout_ms = ms(c->body_timeout_ms),
                                  .stream_timeout_ms = ms(c->stream_timeout_ms),
                                  .idle_timeout_ms = ms(c->idle_timeout_ms),
                                  .max_idle_per_server = c->max_idle_per_server,
                                  .transport = c->transport,
                                  .proxy_version = (uint8_t)c->proxy_version,
                                  .termination_ms = ms(c->termination_ms),
                                  .keep_alive_ms = ms(c->keep_alive_ms)};
        for (uint32_t k = 0; k < c->server_count; k++) {
            const struct config_server *v = &c->servers[k];
            s->servers[s->server_count++] = (struct snap_server){.url = span_str(v->url),
                                                                 .host = span_str(v->host),
                                                                 .port = v->port,
                                                                 .https = v->https,
                                                                 .h2c = v->h2c,
                                                                 .weight = v->weight};
        }
    }
}

/* Two transports with the same id are the same in all that decides about a connection. */
static uint64_t transport_id(const struct snapshot *s, const struct snap_transport *t)
{
    struct buf all = {0};
    struct span roots = t->roots == SNAP_NONE ? (struct span){0} : s->roots[t->roots].certs;
    const struct span parts[] = {t->name, t->server_name, t->peer_uri, roots, t->chain, t->key};
    uint8_t digest[DIGEST_BYTES_MAX];
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        buf_put_be(&all, parts[i].len, 8);
        buf_put_span(&all, parts[i]);
    }
    buf_put_be(&all, t->insecure, 1);
    buf_put_be(&all, t->no_http2, 1);
    buf_put_be(&all, t->no_alpn, 1);
    digest_once(DIGEST_SHA256, buf_span(&all), digest);
    buf_wipe_free(&all);
    struct reader r = reader_of(span_of(digest, 8));
    return reader_be(&r, 8);
}

static void build_transports(struct snapshot *s, const struct config *config)
{
    s->roots = mem_zalloc(config->roots_count * sizeof *s->roots);
    s->roots_count = config->roots_count;
    for (uint32_t i = 0; i < config->roots_count; i++)
        s->roots[i].certs = buf_span(&config->roots[i].certs);
    s->transports = mem_zalloc(config->transport_count * sizeof *s->transports);
    s->transport_count = config->transport_count;
    for (uint32_t i = 0; i < config->transport_count; i++) {
        const struct config_transport *c = &config->transports[i];
        struct snap_transport *t = &s->transports[i];
        *t = (struct snap_transport){.name = span_str(c->name),
                                     .insecure = c->insecure,
                                     .no_http2 = c->no_http2,
                                     .no_alpn = c->tcp,
                                     .server_name = span_str(c->server_name),
                                     .peer_uri = span_str(c->peer_uri),
                                     .roots = c->roots,
                                     .read_idle_timeout_ms = ms(c->read_idle_timeout_ms),
                                     .ping_timeout_ms = ms(c->ping_timeout_ms)};
        if (c->certificate) {
            t->chain = buf_span(&c->certificate->chain);
            t->key = buf_span(&c->certificate->key);
        }
        t->id = transport_id(s, t);
    }
}

static struct span join(const char **items, uint32_t count)
{
    struct buf text = {0};
    for (uint32_t i = 0; i < count; i++)
        buf_printf(&text, "%s%s", i ? ":" : "", items[i]);
    return buf_span(&text);
}

static uint8_t client_auth(enum config_client_auth type)
{
    switch (type) {
    case CONFIG_CLIENT_AUTH_NONE:
        return SNAP_CLIENT_AUTH_NONE;
    case CONFIG_CLIENT_AUTH_REQUEST:
        return SNAP_CLIENT_AUTH_REQUEST;
    case CONFIG_CLIENT_AUTH_REQUIRE_ANY:
        return SNAP_CLIENT_AUTH_REQUIRE_ANY;
    case CONFIG_CLIENT_AUTH_VERIFY_IF_GIVEN:
        return SNAP_CLIENT_AUTH_VERIFY_IF_GIVEN;
    case CONFIG_CLIENT_AUTH_VERIFY:
        break;
    }
    return SNAP_CLIENT_AUTH_VERIFY;
}

static void build_tls(struct snapshot *s, const struct config *config)
{
    s->tls = mem_zalloc(config->tls_option_count * sizeof *s->tls);
    s->tls_count = config->tls_option_count;
    for (uint32_t i = 0; i < config->tls_option_count; i++) {
        const struct config_tls_options *c = &config->tls_options[i];
        s->tls[i] = (struct snap_tls){.name = span_str(c->name),
                                      .min_version = c->min_version,
                                      .max_version = c->max_version,
                                      .sni_strict = c->sni_strict,
                                      .no_tickets = c->no_tickets,
                                      .client_auth = client_auth(c->client_auth),
                                      .ciphers = join(c->ciphers, c->cipher_count),
                                      .groups = join(c->groups, c->group_count),
                                      .alpn = join(c->alpn, c->alpn_count),
                                      .client_cas = c->client_cas};
    }
    s->tls_hosts = mem_zalloc(config->tls_host_count * sizeof *s->tls_hosts);
    s->tls_host_count = config->tls_host_count;
    for (uint32_t i = 0; i < config->tls_host_count; i++) {
        const struct config_tls_host *h = &config->tls_hosts[i];
        s->tls_hosts[i] = (struct snap_tls_host){h->entrypoint, h->options, span_str(h->host)};
    }
}

struct snapshot *snapshot_build(const struct config *config, uint64_t version)
{
    struct snapshot *s = mem_zalloc(sizeof *s);
    s->version = version;
    s->conns_per_worker = config->worker_connections;
    s->store_keep = config->store_keep;
    s->store_wait_ms = config->store_wait_ms;
    uint32_t *middlewares = mem_zalloc((config->middleware_count + 1) * sizeof *middlewares);
    snapshot_build_middlewares(s, config, middlewares);
    build_entrypoints(s, config, middlewares);
    free(middlewares);
    build_transports(s, config);
    build_services(s, config);
    snapshot_balance_put(s, config);
    build_tls(s, config);
    snapshot_access_build(s, config);
    snapshot_metrics_build(s, config);
    return s;
}

void snapshot_build_free(struct snapshot *s)
{
    if (!s)
        return;
    for (uint32_t i = 0; i < s->tls_count; i++) {
        free((void *)s->tls[i].ciphers.ptr);
        free((void *)s->tls[i].groups.ptr);
        free((void *)s->tls[i].alpn.ptr);
    }
    snapshot_access_free(s);
    free(s->entrypoints);
    free(s->routers);
    free(s->rule_nodes);
    snapshot_balance_free(s);
    free(s->services);
    free(s->servers);
    free(s->transports);
    free(s->roots);
    free(s->tls);
    free(s->tls_hosts);
    free(s->prefixes);
    free(s->regexes);
    free(s->middlewares);
    free(s->steps);
    free(s->texts);
    free(s->pairs);
    free(s);
}

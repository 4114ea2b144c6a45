/* SPDX-License-Identifier: Apache-2.0 */
#include "bridge/snapshot.h"

#include "base/must.h"
#include "base/secret.h"
#include "bridge/snapshot_coder.h"

#include <assert.h>
#include <stdlib.h>

#define FORMAT 1

/* ---- one description of each struct for both directions ------------------------------------ */

static void code_entrypoint(struct coder *c, struct snap_entrypoint *e)
{
    code_span(c, &e->name);
    code_u32(c, &e->redirect_status);
    code_span(c, &e->redirect_scheme);
    code_u16(c, &e->redirect_port);
    code_u32(c, &e->read_timeout_ms);
    code_u32(c, &e->head_timeout_ms);
    code_u32(c, &e->write_timeout_ms);
    code_u32(c, &e->idle_timeout_ms);
    code_u32(c, &e->tunnel_timeout_ms);
    code_u32(c, &e->handshake_timeout_ms);
    code_u32(c, &e->head_max_bytes);
    code_u32(c, &e->h2.streams_max);
    code_u32(c, &e->h2.stream_window_bytes);
    code_u32(c, &e->h2.conn_window_bytes);
    code_u32(c, &e->h2.head_frames);
    code_u32(c, &e->h2.resets);
    code_u32(c, &e->h2.control_frames);
    code_u32(c, &e->h2.empty_frames);
    code_u32(c, &e->h2.glitches);
    code_u32(c, &e->keep_alive_requests);
    code_u32(c, &e->keep_alive_ms);
    code_u32(c, &e->grace_timeout_ms);
    code_u32(c, &e->accept_grace_ms);
    code_bool(c, &e->forwarded_insecure);
    code_u32(c, &e->trusted_first);
    code_u32(c, &e->trusted_count);
    code_u32(c, &e->first_router);
    code_u32(c, &e->router_count);
    code_bool(c, &e->internal);
    code_u64(c, &e->series);
    code_u64(c, &e->open_series);
    code_bool(c, &e->tls);
    code_u32(c, &e->tcp.first);
    code_u32(c, &e->tcp.count);
    code_bool(c, &e->tcp_tls);
    code_bool(c, &e->proxy_insecure);
    code_u32(c, &e->proxy_trusted.first);
    code_u32(c, &e->proxy_trusted.count);
}

static void code_router(struct coder *c, struct snap_router *r)
{
    code_span(c, &r->name);
    code_u32(c, &r->first_node);
    code_u32(c, &r->node_count);
    code_i64(c, &r->priority);
    code_u32(c, &r->service);
    code_u32(c, &r->tls);
    code_u32(c, &r->entrypoint);
    code_bool(c, &r->access_log);
    code_bool(c, &r->metrics);
    code_bool(c, &r->passthrough);
    code_bool(c, &r->internal);
    code_u64(c, &r->series);
    code_u32(c, &r->steps.first);
    code_u32(c, &r->steps.count);
}

static void code_rule_node(struct coder *c, struct snap_rule_node *n)
{
    code_u32(c, &n->op);
    code_span(c, &n->text);
    code_span(c, &n->name);
    code_u32(c, &n->number);
}

static void code_regex(struct coder *c, struct snap_regex *r)
{
    code_span(c, &r->pattern);
}

static void code_service(struct coder *c, struct snap_service *s)
{
    code_span(c, &s->name);
    code_u64(c, &s->series);
    code_bool(c, &s->ping);
    code_u32(c, &s->first_server);
    code_u32(c, &s->server_count);
    code_bool(c, &s->pass_host_header);
    code_u32(c, &s->dial_timeout_ms);
    code_u32(c, &s->response_header_timeout_ms);
    code_u32(c, &s->idle_timeout_ms);
    code_u32(c, &s->body_timeout_ms);
    code_u32(c, &s->stream_timeout_ms);
    code_u32(c, &s->max_idle_per_server);
    code_u32(c, &s->transport);
    code_u8(c, &s->kind);
    code_u8(c, &s->strategy);
    code_u8(c, &s->level);
    code_u32(c, &s->first_member);
    code_u32(c, &s->member_count);
    code_span(c, &s->cookie_name);
    code_span(c, &s->cookie_attributes);
    code_u32(c, &s->passive_failures);
    code_u32(c, &s->passive_window_ms);
    code_u8(c, &s->proxy_version);
    code_u32(c, &s->termination_ms);
    code_u32(c, &s->keep_alive_ms);
}

static void code_transport(struct coder *c, struct snap_transport *t)
{
    code_span(c, &t->name);
    code_u64(c, &t->id);
    code_bool(c, &t->insecure);
    code_bool(c, &t->no_http2);
    code_bool(c, &t->no_alpn);
    code_span(c, &t->server_name);
    code_span(c, &t->peer_uri);
    code_u32(c, &t->roots);
    code_span(c, &t->chain);
    code_span(c, &t->key);
    code_u32(c, &t->read_idle_timeout_ms);
    code_u32(c, &t->ping_timeout_ms);
}

static void code_roots(struct coder *c, struct snap_roots *r)
{
    code_span(c, &r->certs);
}

static void code_member(struct coder *c, struct snap_member *m)
{
    code_u32(c, &m->service);
    code_u32(c, &m->weight);
    code_span(c, &m->cookie);
}

static void code_server(struct coder *c, struct snap_server *s)
{
    code_span(c, &s->url);
    code_span(c, &s->host);
    code_u16(c, &s->port);
    code_bool(c, &s->https);
    code_bool(c, &s->h2c);
    code_u32(c, &s->weight);
    code_span(c, &s->cookie);
}

static void code_tls(struct coder *c, struct snap_tls *t)
{
    code_span(c, &t->name);
    code_u16(c, &t->min_version);
    code_u16(c, &t->max_version);
    code_bool(c, &t->sni_strict);
    code_bool(c, &t->no_tickets);
    code_u8(c, &t->client_auth);
    code_span(c, &t->ciphers);
    code_span(c, &t->groups);
    code_span(c, &t->alpn);
    code_span(c, &t->client_cas);
}

static void code_tls_host(struct coder *c, struct snap_tls_host *h)
{
    code_u32(c, &h->entrypoint);
    code_u32(c, &h->tls);
    code_span(c, &h->host);
}

static void code_prefix(struct coder *c, struct snap_prefix *p)
{
    code_bytes(c, p->address, sizeof p->address);
    code_u8(c, &p->bits);
}

static void code_access(struct coder *c, struct snap_access *a)
{
    code_bool(c, &a->on);
    code_bool(c, &a->json);
    code_bool(c, &a->buffered);
    code_bool(c, &a->only_retried);
    code_u32(c, &a->min_ms);
    code_u8(c, &a->header_mode);
    code_u64(c, &a->dropped);
    code_span(c, &a->path);
}

static void code_metrics(struct coder *c, struct snap_metrics *m)
{
    code_bool(c, &m->on);
    code_u16(c, &m->ping_status);
    code_u32(c, &m->bound_count);
    for (uint32_t i = 0; i < SERIES_BOUNDS_MAX; i++)
        code_u64(c, &m->bounds_ns[i]);
}

static void code_access_header(struct coder *c, struct snap_access_header *h)
{
    code_span(c, &h->name);
    code_u32(c, &h->mode);
}

static void code_access_status(struct coder *c, struct snap_access_status *s)
{
    code_u16(c, &s->first);
    code_u16(c, &s->last);
}

/* Array members: type, member, counter, bytes of the smallest element on the wire. */
#define ARRAYS(X)                                                                                  \
    X(entrypoint, entrypoints, entrypoint_count, 143)                                              \
    X(router, routers, router_count, 52)                                                           \
    X(rule_node, rule_nodes, rule_node_count, 16)                                                  \
    X(service, services, service_count, 86)                                                        \
    X(server, servers, server_count, 20)                                                           \
    X(transport, transports, transport_count, 43)                                                  \
    X(roots, roots, roots_count, 4)                                                                \
    X(tls, tls, tls_count, 27)                                                                     \
    X(tls_host, tls_hosts, tls_host_count, 12)                                                     \
    X(prefix, prefixes, prefix_count, 17)                                                          \
    X(regex, regexes, regex_count, 4)                                                              \
    X(member, members, member_count, 12)                                                           \
    X(middleware, middlewares, middleware_count, 8)                                                \
    X(step, steps, step_count, 4)                                                                  \
    X(text, texts, text_count, 4)                                                                  \
    X(pair, pairs, pair_count, 9)                                                                  \
    X(access_header, access_headers, access_header_count, 8)                                       \
    X(access_status, access_statuses, access_status_count, 4)

#define ONE_MORE(type, member, counter, wire_bytes) +1
#define ARRAY_COUNT                                 (0 ARRAYS(ONE_MORE))

static void code_elements(struct coder *c, struct snapshot *s)
{
    code_access(c, &s->access);
    code_metrics(c, &s->metrics);
#define CODE(type, member, counter, wire_bytes)                                                    \
    for (uint32_t i = 0; i < s->counter && !c->in.bad; i++)                                        \
        code_##type(c, &s->member[i]);
    ARRAYS(CODE)
#undef CODE
}

static void code_head(struct coder *c, struct snapshot *s)
{
    code_u64(c, &s->version);
    code_u32(c, &s->conns_per_worker);
    code_u32(c, &s->store_keep);
    code_u32(c, &s->store_wait_ms);
#define CODE(type, member, counter, wire_bytes) code_u32(c, &s->counter);
    ARRAYS(CODE)
#undef CODE
}

void snapshot_encode(const struct snapshot *s, struct buf *out)
{
    must(result_is_ok(snapshot_check(s)));
    struct coder c = {.out = out};
    struct snapshot copy = *s; /* encoding only reads, through the same pointers */
    buf_put_be(out, FORMAT, 4);
    code_head(&c, &copy);
    code_elements(&c, &copy);
}

/* ---- checks -------------------------------------------------------------------------------- */

/* What a matcher of a rule has beside its operator. */
static bool operands_ok(const struct snapshot *s, const struct snap_rule_node *n)
{
    switch ((enum snap_rule_op)n->op) {
    case SNAP_RULE_HOST:
    case SNAP_RULE_PATH:
    case SNAP_RULE_PATH_PREFIX:
    case SNAP_RULE_METHOD:
    case SNAP_RULE_ALPN:
        return !n->name.len;
    case SNAP_RULE_HOST_REGEXP:
    case SNAP_RULE_PATH_REGEXP:
        return n->number < s->regex_count && !n->name.len && !n->text.len;
    case SNAP_RULE_HEADER_REGEXP:
    case SNAP_RULE_QUERY_REGEXP:
        return n->number < s->regex_count && n->name.len && !n->text.len;
    case SNAP_RULE_HEADER:
    case SNAP_RULE_QUERY:
        return n->name.len > 0;
    case SNAP_RULE_CLIENT_IP:
        return n->number < s->prefix_count && !n->name.len && !n->text.len;
    default:
        return !n->name.len && !n->text.len;
    }
}

static bool rule_ok(const struct snapshot *s, const struct snap_rule_node *nodes, uint32_t count)
{
    uint32_t depth = 0;
    for (uint32_t i = 0; i < count; i++) {
        uint32_t op = nodes[i].op;
        if (op < SNAP_RULE_HOST || op > SNAP_RULE_ALPN || !operands_ok(s, &nodes[i]))
            return false;
        bool binary = op == SNAP_RULE_AND || op == SNAP_RULE_OR;
        if (depth < (binary ? 2u : op == SNAP_RULE_NOT ? 1u : 0u))
            return false;
        if (binary)
            depth--;
        else if (op != SNAP_RULE_NOT && ++depth > SNAP_RULE_DEPTH_MAX)
            return false;
    }
    return depth == 1;
}

static bool h2_ok(const struct snap_h2 *h2)
{
    return h2->streams_max == 0 ||
           (h2->stream_window_bytes > 0 && h2->stream_window_bytes <= INT32_MAX &&
            h2->conn_window_bytes > 0 && h2->conn_window_bytes <= INT32_MAX && h2->head_frames &&
            h2->resets && h2->control_frames && h2->empty_frames && h2->glitches);
}

static bool entrypoint_ok(const struct snapshot *s, const struct snap_entrypoint *e)
{
    uint32_t status = e->redirect_status;
    if (status != 0 && status != 301 && status != 302 && status != 307 && status != 308)
        return false;
    if (!h2_ok(&e->h2) || !range_ok(e->trusted_first, e->trusted_count, s->prefix_count) ||
        !range_ok(e->first_router, e->router_count, s->router_count) ||
        !range_ok(e->tcp.first, e->tcp.count, s->router_count) ||
        !range_ok(e->proxy_trusted.first, e->proxy_trusted.count, s->prefix_count))
        return false;
    uint32_t self = (uint32_t)(e - s->entrypoints);
    for (uint32_t i = 0; i < e->router_count; i++)
        if (s->routers[e->first_router + i].entrypoint != self)
            return false;
    for (uint32_t i = 0; i < e->tcp.count; i++)
        if (s->routers[e->tcp.first + i].entrypoint != self)
            return false;
    return true;
}

/* Each server belongs to one service: ranges follow one another. */
static bool services_ok(const struct snapshot *s)
{
    uint32_t used = 0;
    for (uint32_t i = 0; i < s->service_count; i++) {
        const struct snap_service *v = &s->services[i];
        if (!range_ok(v->first_server, v->server_count, s->server_count))
            return false;
        if (v->server_count && v->first_server < used)
            return false;
        if (v->server_count)
            used = v->first_server + v->server_count;
    }
    return true;
}

static bool router_ok(const struct snapshot *s, const struct snap_router *r)
{
    return range_ok(r->first_node, r->node_count, s->rule_node_count) &&
           r->service < s->service_count && r->entrypoint < s->entrypoint_count &&
           (r->tls == SNAP_NONE || r->tls < s->tls_count) && snapshot_steps_ok(s, r->steps) &&
           rule_ok(s, s->rule_nodes + r->first_node, r->node_count);
}

static bool access_ok(const struct snapshot *s)
{
    bool ok = s->access.header_mode <= SNAP_ACCESS_REDACT;
    for (uint32_t i = 0; i < s->access_header_count; i++)
        ok = ok && s->access_headers[i].mode <= SNAP_ACCESS_REDACT;
    return ok;
}

static bool metrics_ok(const struct snap_metrics *m)
{
    bool ok = m->bound_count <= SERIES_BOUNDS_MAX && m->ping_status <= 999;
    for (uint32_t i = 1; ok && i < m->bound_count; i++)
        ok = m->bounds_ns[i - 1] < m->bounds_ns[i];
    return ok;
}

static bool service_ok(const struct snapshot *s, const struct snap_service *v)
{
    if (v->transport >= s->transport_count || v->kind > SNAP_SERVICE_FAILOVER ||
        v->strategy > SNAP_STRATEGY_LEAST_TIME || v->proxy_version > 2 ||
        v->level >= SNAP_SERVICE_LEVELS ||
        !range_ok(v->first_server, v->server_count, s->server_count) ||
        !range_ok(v->first_member, v->member_count, s->member_count))
        return false;
    if (v->kind == SNAP_SERVICE_SERVERS ? v->member_count > 0 : v->server_count > 0)
        return false;
    if (v->kind == SNAP_SERVICE_FAILOVER && v->member_count != 2)
        return false;
    for (uint32_t i = 0; i < v->member_count; i++) {
        uint32_t below = s->members[v->first_member + i].service;
        if (below >= s->service_count || s->services[below].level >= v->level)
            return false;
    }
    return true;
}

static bool tls_ok(const struct snap_tls *t)
{
    return (t->min_version == 0x0303 || t->min_version == 0x0304) &&
           (t->max_version == 0x0303 || t->max_version == 0x0304) &&
           t->min_version <= t->max_version && t->client_auth <= SNAP_CLIENT_AUTH_VERIFY;
}

static bool tls_hosts_ok(const struct snapshot *s)
{
    bool ok = true;
    for (uint32_t i = 0; i < s->tls_host_count; i++) {
        const struct snap_tls_host *h = &s->tls_hosts[i];
        ok = ok && h->entrypoint < s->entrypoint_count && h->tls < s->tls_count;
        ok = ok && (i == 0 || snapshot_tls_host_order(h - 1, h->entrypoint, h->host) < 0);
    }
    return ok;
}

int snapshot_tls_host_order(const struct snap_tls_host *h, uint32_t entrypoint, struct span host)
{
    if (h->entrypoint != entrypoint)
        return h->entrypoint < entrypoint ? -1 : 1;
    size_t common = h->host.len < host.len ? h->host.len : host.len;
    int order = common ? memcmp(h->host.ptr, host.ptr, common) : 0;
    return order ? order : (h->host.len > host.len) - (h->host.len < host.len);
}

uint32_t snapshot_tls(const struct snapshot *s, uint32_t entrypoint, struct span host)
{
    uint32_t low = 0, high = s->tls_host_count;
    while (low < high) {
        uint32_t mid = low + (high - low) / 2;
        int order = snapshot_tls_host_order(&s->tls_hosts[mid], entrypoint, host);
        if (order == 0)
            return s->tls_hosts[mid].tls;
        if (order < 0)
            low = mid + 1;
        else
            high = mid;
    }
    return 0;
}

/* Certificates behind 3-byte lengths. */
static bool certs_ok(struct span certs)
{
    struct reader r = reader_of(certs);
    while (r.left && !r.bad)
        if (reader_bytes(&r, reader_be(&r, 3)).len == 0)
            r.bad = true;
    return !r.bad;
}

static bool transport_ok(const struct snapshot *s, const struct snap_transport *t)
{
    return (t->roots == SNAP_NONE || t->roots < s->roots_count) && t->server_name.len <= 255 &&
           certs_ok(t->chain) && (t->chain.len == 0) == (t->key.len == 0);
}

struct result snapshot_check(const struct snapshot *s)
{
    bool ok = s->tls_count > 0 && services_ok(s) && access_ok(s) &&
              metrics_ok(&s->metrics); /* tls[0] is "default" */
    for (uint32_t i = 0; i < s->entrypoint_count; i++)
        ok = ok && entrypoint_ok(s, &s->entrypoints[i]);
    for (uint32_t i = 0; i < s->router_count; i++)
        ok = ok && router_ok(s, &s->routers[i]);
    for (uint32_t i = 0; i < s->service_count; i++)
        ok = ok && service_ok(s, &s->services[i]);
    for (uint32_t i = 0; i < s->transport_count; i++)
        ok = ok && transport_ok(s, &s->transports[i]);
    for (uint32_t i = 0; i < s->roots_count; i++)
        ok = ok && certs_ok(s->roots[i].certs);
    for (uint32_t i = 0; i < s->tls_count; i++)
        ok = ok && tls_ok(&s->tls[i]);
    ok = ok && tls_hosts_ok(s);
    for (uint32_t i = 0; i < s->prefix_count; i++)
        ok = ok && s->prefixes[i].bits <= 128;
    for (uint32_t i = 0; i < s->middleware_count; i++)
        ok = ok && snapshot_middleware_ok(s, &s->middlewares[i]);
    return ok ? result_ok() : result_fail(ERR_FORMAT);
}

/* ---- decoding ------------------------------------------------------------------------------ */

/* One allocation: this head, the arrays, then a copy of the input that the spans point into. */
struct arena {
    uint64_t magic;
    struct snapshot snapshot;
};
#define ARENA_MAGIC 0x736e617073686f74ull

/* Bytes for the arrays, or 0 when the input is too short for so many elements. */
static size_t arrays_bytes(const struct snapshot *s, size_t left)
{
    uint64_t wire = 0, memory = 1;
#define COUNT(type, member, counter, wire_bytes)                                                   \
    wire += (uint64_t)s->counter * (wire_bytes);                                                   \
    memory += (uint64_t)s->counter * sizeof(struct snap_##type);
    ARRAYS(COUNT)
#undef COUNT
    return wire <= left ? (size_t)memory : 0;
}

static uint8_t *place_arrays(struct snapshot *s, uint8_t *at)
{
#define PLACE(type, member, counter, wire_bytes)                                                   \
    static_assert(sizeof(struct snap_##type) % _Alignof(struct snap_##type) == 0);                 \
    s->member = (struct snap_##type *)(void *)at;                                                  \
    at += s->counter * sizeof(struct snap_##type);                                                 \
    at += -(uintptr_t)at & 7;
    ARRAYS(PLACE)
#undef PLACE
    return at;
}

struct result snapshot_decode(struct span in, struct snapshot **ret)
{
    struct coder c = {.in = reader_of(in)};
    struct snapshot head = {0};
    uint32_t format = reader_u32(&c.in);
    if (!c.in.bad && format != FORMAT)
        return result_fail(ERR_VERSION);
    code_head(&c, &head);
    size_t arrays = c.in.bad ? 0 : arrays_bytes(&head, c.in.left);
    if (!arrays)
        return result_fail(ERR_FORMAT);

    struct span body = span_of(c.in.ptr, c.in.left);
    struct arena *a = mem_zalloc(sizeof *a + arrays + ARRAY_COUNT * 8 + body.len);
    a->magic = ARENA_MAGIC;
    a->snapshot = head;
    uint8_t *copy = place_arrays(&a->snapshot, (uint8_t *)(a + 1));
    if (body.len)
        memcpy(copy, body.ptr, body.len);
    c.in = reader_of(span_of(copy, body.len));
    code_elements(&c, &a->snapshot);
    if (c.in.bad || c.in.left || !result_is_ok(snapshot_check(&a->snapshot))) {
        secret_wipe(copy, body.len);
        free(a);
        return result_fail(ERR_FORMAT);
    }
    *ret = &a->snapshot;
    return result_ok();
}

void snapshot_free(struct snapshot *s)
{
    if (!s)
        return;
    struct arena *a = (struct arena *)((char *)s - offsetof(struct arena, snapshot));
    must(a->magic == ARENA_MAGIC);
    a->magic = 0;
    for (uint32_t i = 0; i < s->transport_count; i++)
        secret_wipe((void *)s->transports[i].key.ptr, s->transports[i].key.len);
    free(a);
}

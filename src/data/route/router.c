/* SPDX-License-Identifier: Apache-2.0 */
#include "data/route/router.h"

#include "base/buf.h"
#include "base/must.h"
#include "base/regex.h"
#include "data/route/target.h"

#include <stdlib.h>

/* Depth that snapshot_decode() allows in a rule. */
#define RULE_DEPTH_MAX 32
/* How a rule of TCP begins that one label may stand before. */
#define WILDCARD SPAN_LITERAL("*.")

/* One host of one realm: an entry point's HTTP routers are one, its TCP routers another. */
struct host_slot {
    struct span host; /* into the snapshot; of a TCP wildcard what follows its star; ptr NULL =
                         empty slot */
    uint32_t realm;
    uint32_t first, count; /* range in `candidates`, best first */
};

/* Where the evaluation goes on behind a matcher that holds or does not: a node, or one of these. */
#define ACCEPT UINT32_MAX
#define REFUSE (UINT32_MAX - 1)
struct branch {
    uint32_t held, failed;
};

struct router_index {
    const struct snapshot *snapshot;
    struct branch *branches; /* of each rule node; those of operators are not used */
    struct regex **regexes;
    uint32_t regex_count;
    uint8_t *path, *param; /* memory for decoded text, `room` each */
    size_t room;
    struct host_slot *slots;
    uint32_t mask;
    uint32_t *candidates;    /* router indices by host */
    uint32_t *general;       /* routers that demand no host, by realm, best first */
    uint32_t *general_first; /* realm -> first in `general`; one more at the end */
};

/* What a rule demands of the host, found bottom-up over its postfix form: either nothing, or that
 * it is one of the hosts named in a range of nodes. Ranges may hold other nodes too. */
struct demand {
    bool any;
    uint32_t from, to; /* nodes */
    uint32_t hosts;
};

static uint64_t hash_of(struct span host, uint32_t realm)
{
    uint64_t h = 0x9e3779b97f4a7c15ull ^ realm;
    const uint8_t *p = host.ptr;
    size_t n = host.len;
    uint64_t word;
    for (; n >= 8; p += 8, n -= 8) {
        memcpy(&word, p, 8);
        h = (h ^ word) * 0xff51afd7ed558ccdull;
        h ^= h >> 32;
    }
    word = 0;
    if (n)
        memcpy(&word, p, n);
    h = (h ^ word ^ (uint64_t)host.len << 56) * 0xc4ceb9fe1a85ec53ull;
    return h ^ h >> 29;
}

static struct span without_dot(struct span host)
{
    if (host.len > 1 && host.ptr[host.len - 1] == '.')
        host.len--;
    return host;
}

static struct demand rule_demand(const struct snapshot *s, const struct snap_router *router)
{
    struct demand stack[RULE_DEPTH_MAX];
    uint32_t depth = 0;
    for (uint32_t i = 0; i < router->node_count; i++) {
        uint32_t node = router->first_node + i;
        uint32_t op = s->rule_nodes[node].op;
        if (op == SNAP_RULE_AND || op == SNAP_RULE_OR) {
            must(depth >= 2);
            struct demand b = stack[--depth], *a = &stack[depth - 1];
            if (op == SNAP_RULE_AND) {
                if (a->any || (!b.any && b.hosts < a->hosts))
                    *a = b;
            } else if (!a->any) {
                *a = b.any ? b : (struct demand){false, a->from, b.to, a->hosts + b.hosts};
            }
        } else if (op == SNAP_RULE_NOT) {
            must(depth >= 1);
            stack[depth - 1].any = true;
        } else {
            must(depth < RULE_DEPTH_MAX);
            bool host = op == SNAP_RULE_HOST;
            stack[depth++] = (struct demand){!host, node, node + 1, host};
        }
    }
    must(depth == 1);
    return stack[0];
}

static uint32_t tcp_realm(const struct router_index *x, uint32_t entrypoint)
{
    return x->snapshot->entrypoint_count + entrypoint;
}

static uint32_t realm_count(const struct router_index *x)
{
    return 2 * x->snapshot->entrypoint_count;
}

static struct host_slot *slot_find(const struct router_index *x, struct span host, uint32_t realm)
{
    uint64_t at = hash_of(host, realm);
    for (;; at++) {
        struct host_slot *slot = &x->slots[at & x->mask];
        if (!slot->host.ptr || (slot->realm == realm && span_eq(slot->host, host)))
            return slot;
    }
}

/* No name begins with a dot: so what a wildcard's star stands before is a key beside names. */
static struct span key_of(const struct router_index *x, struct span host, uint32_t realm)
{
    host = without_dot(host);
    bool wild = realm >= x->snapshot->entrypoint_count && span_starts_with(host, WILDCARD);
    return wild ? span_skip(host, 1) : host;
}

/* Calls `add` for each host that the router's rule demands. A host may come twice. */
static bool each_host(struct router_index *x, uint32_t router, uint32_t realm,
                      void (*add)(struct router_index *, struct span, uint32_t, uint32_t))
{
    const struct snapshot *s = x->snapshot;
    struct demand d = rule_demand(s, &s->routers[router]);
    if (d.any)
        return false;
    for (uint32_t node = d.from; node < d.to; node++) {
        const struct snap_rule_node *n = &s->rule_nodes[node];
        if (n->op == SNAP_RULE_HOST && n->text.len > 0) /* an empty one matches nothing */
            add(x, key_of(x, n->text, realm), router, realm);
    }
    return true;
}

static void count_host(struct router_index *x, struct span host, uint32_t router, uint32_t realm)
{
    struct host_slot *slot = slot_find(x, host, realm);
    if (!slot->host.ptr)
        *slot = (struct host_slot){.host = host, .realm = realm};
    slot->first++; /* capacity for now; place_hosts() turns it into a place */
}

static void fill_host(struct router_index *x, struct span host, uint32_t router, uint32_t realm)
{
    struct host_slot *slot = slot_find(x, host, realm);
    uint32_t *list = x->candidates + slot->first;
    if (slot->count == 0 || list[slot->count - 1] != router)
        list[slot->count++] = router;
}

static void place_hosts(struct router_index *x)
{
    uint32_t next = 0;
    for (uint32_t i = 0; i <= x->mask; i++) {
        uint32_t capacity = x->slots[i].first;
        x->slots[i].first = next;
        next += capacity;
    }
}

/* Turns a postfix program into jumps between its matchers, so that evaluation stops as soon as the
 * outcome is known: from the end on, each operator says where its operands go on. */
static void make_branches(struct router_index *x, const struct snap_router *router)
{
    const struct snapshot *s = x->snapshot;
    /* First node of the part of the program that ends with a node. */
    uint32_t *first = mem_alloc(router->node_count * sizeof *first), depth = 0;
    uint32_t starts[RULE_DEPTH_MAX];
    struct branch stack[RULE_DEPTH_MAX + 1] = {{ACCEPT, REFUSE}};
    for (uint32_t i = 0; i < router->node_count; i++) {
        uint32_t op = s->rule_nodes[router->first_node + i].op;
        if (op == SNAP_RULE_AND || op == SNAP_RULE_OR)
            depth--;
        else if (op != SNAP_RULE_NOT)
            starts[depth++] = router->first_node + i;
        first[i] = starts[depth - 1];
    }
    depth = 1;
    for (uint32_t i = router->node_count; i-- > 0;) {
        uint32_t op = s->rule_nodes[router->first_node + i].op;
        struct branch to = stack[--depth];
        if (op == SNAP_RULE_NOT) {
            stack[depth++] = (struct branch){to.failed, to.held};
        } else if (op == SNAP_RULE_AND || op == SNAP_RULE_OR) {
            uint32_t right = first[i - 1];
            must(depth + 2 <= RULE_DEPTH_MAX + 1);
            stack[depth++] = op == SNAP_RULE_AND ? (struct branch){right, to.failed}
                                                 : (struct branch){to.held, right};
            stack[depth++] = to; /* the right operand stands nearer to the end */
        } else {
            x->branches[router->first_node + i] = to;
        }
    }
    must(depth == 0);
    free(first);
}

static void compile(struct router_index *x)
{
    const struct snapshot *s = x->snapshot;
    x->room = 4096;
    for (uint32_t i = 0; i < s->entrypoint_count; i++) {
        if (s->entrypoints[i].head_max_bytes > x->room)
            x->room = s->entrypoints[i].head_max_bytes;
    }
    x->path = mem_alloc(x->room);
    x->param = mem_alloc(x->room);
    x->branches = mem_zalloc((s->rule_node_count + 1) * sizeof *x->branches);
    for (uint32_t i = 0; i < s->router_count; i++)
        make_branches(x, &s->routers[i]);
    x->regex_count = s->regex_count;
    x->regexes = mem_zalloc((s->regex_count + 1) * sizeof(struct regex *));
    for (uint32_t i = 0; i < s->regex_count; i++) {
        struct span pattern = s->regexes[i].pattern;
        struct regex_error error;
        x->regexes[i] = regex_create((const char *)pattern.ptr, pattern.len, &error);
        must(x->regexes[i]); /* control has compiled it before */
    }
}

static void index_alloc(struct router_index *x)
{
    const struct snapshot *s = x->snapshot;
    uint32_t hosts = 0;
    for (uint32_t i = 0; i < s->rule_node_count; i++)
        hosts += s->rule_nodes[i].op == SNAP_RULE_HOST;
    uint32_t size = 16;
    while (size < hosts * 2)
        size *= 2;
    x->mask = size - 1;
    x->slots = mem_zalloc(size * sizeof *x->slots);
    x->candidates = mem_zalloc((hosts + 1) * sizeof *x->candidates);
    x->general = mem_zalloc((s->router_count + 1) * sizeof *x->general);
    x->general_first = mem_zalloc((realm_count(x) + 1) * sizeof *x->general_first);
}

/* The routers of a realm, best first. */
static struct snap_range routers_of(const struct router_index *x, uint32_t realm)
{
    const struct snapshot *s = x->snapshot;
    const struct snap_entrypoint *ep = &s->entrypoints[realm % s->entrypoint_count];
    return realm < s->entrypoint_count ? (struct snap_range){ep->first_router, ep->router_count}
                                       : ep->tcp;
}

struct router_index *router_index_create(const struct snapshot *s)
{
    struct router_index *x = mem_zalloc(sizeof *x);
    x->snapshot = s;
    compile(x);
    index_alloc(x);
    uint32_t general = 0;
    for (int pass = 0; pass < 2; pass++) {
        for (uint32_t realm = 0; realm < realm_count(x); realm++) {
            struct snap_range all = routers_of(x, realm);
            if (pass)
                x->general_first[realm] = general;
            for (uint32_t router = all.first; router < all.first + all.count; router++) {
                must(s->routers[router].entrypoint == realm % s->entrypoint_count);
                if (!each_host(x, router, realm, pass ? fill_host : count_host) && pass)
                    x->general[general++] = router;
            }
        }
        if (!pass)
            place_hosts(x);
    }
    x->general_first[realm_count(x)] = general;
    return x;
}

void router_index_destroy(struct router_index *x)
{
    if (!x)
        return;
    for (uint32_t i = 0; i < x->regex_count; i++) /* the snapshot may be gone */
        regex_destroy(x->regexes[i]);
    free(x->regexes);
    free(x->branches);
    free(x->path);
    free(x->param);
    free(x->slots);
    free(x->candidates);
    free(x->general);
    free(x->general_first);
    free(x);
}

static bool regex_fits(const struct router_index *x, uint32_t i, struct span text)
{
    return regex_holds(x->regexes[i], (const char *)text.ptr, text.len);
}

static bool is_forwarded(struct span name)
{
    return span_eq_nocase(span_first(name, 12), SPAN_LITERAL("x-forwarded-")) ||
           span_eq_nocase(name, SPAN_LITERAL("x-real-ip"));
}

/* Any field of the name counts; case does not in names, and does in values. */
static bool field_holds(const struct router_index *x, const struct snap_rule_node *node,
                        const struct router_request *r)
{
    if (!r->trusted && is_forwarded(node->name))
        return false;
    for (uint32_t i = 0; i < r->field_count; i++) {
        const struct http_field *f = &r->fields[i];
        if (!span_eq_nocase(f->name, node->name))
            continue;
        if (node->op == SNAP_RULE_HEADER ? span_eq(f->value, node->text)
                                         : regex_fits(x, node->number, f->value))
            return true;
    }
    return false;
}

/* Any parameter of the name counts. */
static bool param_holds(const struct router_index *x, const struct snap_rule_node *node,
                        const struct router_request *r)
{
    struct span rest = r->query, plain;
    struct target_param p;
    while (target_next_param(&rest, &p)) {
        if (!target_param_is(p.name, node->name))
            continue;
        if (node->op == SNAP_RULE_QUERY
                ? target_param_is(p.value, node->text)
                : result_is_ok(target_param_decode(p.value, x->param, x->room, &plain)) &&
                      regex_fits(x, node->number, plain))
            return true;
    }
    return false;
}

static bool prefix_holds(const struct snap_prefix *p, const uint8_t address[16])
{
    uint32_t whole = p->bits / 8, rest = p->bits % 8;
    if (memcmp(address, p->address, whole) != 0)
        return false;
    return rest == 0 || !((address[whole] ^ p->address[whole]) & (0xff00 >> rest & 0xff));
}

static bool leaf_holds(const struct router_index *x, const struct snap_rule_node *node,
                       const struct router_request *r)
{
    switch ((enum snap_rule_op)node->op) {
    case SNAP_RULE_HOST:
        return span_eq(without_dot(node->text), r->host);
    case SNAP_RULE_HOST_REGEXP:
        return regex_fits(x, node->number, r->host);
    case SNAP_RULE_PATH:
        return span_eq(node->text, r->path);
    case SNAP_RULE_PATH_PREFIX:
        return span_starts_with(r->path, node->text);
    case SNAP_RULE_PATH_REGEXP:
        return regex_fits(x, node->number, r->path);
    case SNAP_RULE_METHOD:
        return span_eq(node->text, r->method);
    case SNAP_RULE_HEADER:
    case SNAP_RULE_HEADER_REGEXP:
        return field_holds(x, node, r);
    case SNAP_RULE_QUERY:
    case SNAP_RULE_QUERY_REGEXP:
        return param_holds(x, node, r);
    case SNAP_RULE_CLIENT_IP:
        return prefix_holds(&x->snapshot->prefixes[node->number], r->client);
    case SNAP_RULE_ANY:
        return true;
    case SNAP_RULE_ALPN: /* of TCP rules */
        return false;
    case SNAP_RULE_AND:
    case SNAP_RULE_OR:
    case SNAP_RULE_NOT:
        break;
    }
    never();
}

static bool rule_holds(const struct router_index *x, const struct snap_router *router,
                       const struct router_request *r)
{
    uint32_t at = router->first_node; /* a program begins with a matcher */
    while (at < REFUSE) {
        bool held = leaf_holds(x, &x->snapshot->rule_nodes[at], r);
        at = held ? x->branches[at].held : x->branches[at].failed;
    }
    return at == ACCEPT;
}

/* Routers that may be the one, best first. */
struct list_of {
    const uint32_t *next, *end;
};

static struct list_of of_host(const struct router_index *x, struct span host, uint32_t realm)
{
    const struct host_slot *slot = slot_find(x, host, realm);
    const uint32_t *first = x->candidates + slot->first;
    return (struct list_of){first, first + (slot->host.ptr ? slot->count : 0)};
}

/* Those that demand no host. */
static struct list_of of_rest(const struct router_index *x, uint32_t realm)
{
    return (struct list_of){x->general + x->general_first[realm],
                            x->general + x->general_first[realm + 1]};
}

/* Both lists stand in the order of the snapshot: the best priority first. SNAP_NONE: both are at
 * their end. */
static uint32_t next_of(struct list_of *a, struct list_of *b)
{
    bool has_a = a->next < a->end, has_b = b->next < b->end;
    if (!has_a && !has_b)
        return SNAP_NONE;
    return !has_b || (has_a && *a->next < *b->next) ? *a->next++ : *b->next++;
}

const struct snap_router *router_match(const struct router_index *x,
                                       const struct router_request *request)
{
    const struct snapshot *s = x->snapshot;
    uint32_t entrypoint = request->entrypoint;
    must(entrypoint < s->entrypoint_count);
    struct list_of host = of_host(x, request->host, entrypoint), rest = of_rest(x, entrypoint);
    uint32_t i;
    while ((i = next_of(&host, &rest)) != SNAP_NONE) {
        const struct snap_router *router = &s->routers[i];
        if ((router->tls != SNAP_NONE) == request->tls && rule_holds(x, router, request))
            return router;
    }
    return NULL;
}

/* A wildcard stands for one label, as in certificates. */
static bool name_fits(struct span pattern, struct span name)
{
    pattern = without_dot(pattern);
    if (span_starts_with(pattern, WILDCARD))
        return span_find(name, '.') > 0 &&
               span_eq(span_skip(pattern, 1), span_skip(name, span_find(name, '.')));
    return span_eq(pattern, name);
}

static bool offers(struct span list, struct span protocol)
{
    struct reader r = reader_of(list);
    while (r.left && !r.bad)
        if (span_eq(reader_bytes(&r, reader_u8(&r)), protocol))
            return !r.bad;
    return false;
}

static bool tcp_holds(const struct router_index *x, const struct snap_router *router,
                      const struct router_tcp *asked)
{
    const struct router_request as_request = {.host = asked->name};
    uint32_t at = router->first_node;
    while (at < REFUSE) {
        const struct snap_rule_node *n = &x->snapshot->rule_nodes[at];
        bool held;
        if (n->op == SNAP_RULE_HOST)
            held = asked->name.len && name_fits(n->text, asked->name);
        else if (n->op == SNAP_RULE_ALPN)
            held = offers(asked->alpn, n->text);
        else if (n->op == SNAP_RULE_CLIENT_IP)
            held = prefix_holds(&x->snapshot->prefixes[n->number], asked->client);
        else
            held = leaf_holds(x, n, &as_request);
        at = held ? x->branches[at].held : x->branches[at].failed;
    }
    return at == ACCEPT;
}

const struct snap_router *router_match_tcp(const struct router_index *x,
                                           const struct router_tcp *asked)
{
    const struct snapshot *s = x->snapshot;
    must(asked->entrypoint < s->entrypoint_count);
    uint32_t realm = tcp_realm(x, asked->entrypoint);
    struct span parent = span_skip(asked->name, span_find(asked->name, '.'));
    struct list_of lists[] = {of_host(x, asked->name, realm), of_host(x, parent, realm),
                              of_rest(x, realm)};
    for (;;) {
        struct list_of *best = NULL;
        for (size_t i = 0; i < sizeof lists / sizeof *lists; i++)
            if (lists[i].next < lists[i].end && (!best || *lists[i].next < *best->next))
                best = &lists[i];
        if (!best)
            return NULL;
        const struct snap_router *router = &s->routers[*best->next++];
        bool tls = router->passthrough || router->tls != SNAP_NONE;
        if (tls == asked->tls && tcp_holds(x, router, asked))
            return router;
    }
}

bool router_takes_all(const struct router_index *x, const struct snap_router *router)
{
    return router->node_count == 1 &&
           x->snapshot->rule_nodes[router->first_node].op == SNAP_RULE_ANY;
}

bool router_names_host(const struct router_index *x, uint32_t entrypoint, struct span host)
{
    const struct host_slot *slot = slot_find(x, host, entrypoint);
    for (uint32_t i = 0; slot->host.ptr && i < slot->count; i++)
        if (x->snapshot->routers[x->candidates[slot->first + i]].tls != SNAP_NONE)
            return true;
    return false;
}

uint32_t router_tls(const struct router_index *x, uint32_t entrypoint, struct span host)
{
    return snapshot_tls(x->snapshot, entrypoint, host);
}

struct span router_host(struct span authority, char memory[ROUTER_HOST_MAX + 1])
{
    struct span host = authority;
    if (host.len && host.ptr[0] == '[') {
        host = span_skip(host, 1);
        host.len = span_find(host, ']');
    } else {
        host.len = span_find(host, ':');
    }
    if (host.len > ROUTER_HOST_MAX)
        return (struct span){(const uint8_t *)memory, 0};
    for (size_t i = 0; i < host.len; i++) {
        uint8_t c = host.ptr[i];
        memory[i] = (char)(c >= 'A' && c <= 'Z' ? c + 32 : c);
    }
    return without_dot(span_of(memory, host.len));
}

struct result router_path(const struct router_index *x, struct span target, struct span *ret)
{
    if (span_eq(target, SPAN_LITERAL("*"))) /* the server as a whole goes where its root does */
        target = SPAN_LITERAL("/");
    return target_normal(target_path(target), TARGET_ROUTE, x->path, x->room, ret);
}

void router_client(const struct net_addr *address, uint8_t ret[16])
{
    if (address->sa.sa_family == AF_INET6) {
        memcpy(ret, &address->in6.sin6_addr, 16);
        return;
    }
    memset(ret, 0, 10);
    memset(ret + 10, 0xff, 2);
    memcpy(ret + 12, &address->in.sin_addr, 4);
}

const struct regex *router_regex(const struct router_index *x, uint32_t i)
{
    must(i < x->snapshot->regex_count);
    return x->regexes[i];
}

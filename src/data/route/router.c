/* SPDX-License-Identifier: Apache-2.0 */
#include "data/route/router.h"

#include "base/buf.h"
#include "base/must.h"

#include <stdlib.h>

/* Depth that snapshot_decode() allows in a rule. */
#define RULE_DEPTH_MAX 32

/* One host of one entry point. */
struct host_slot {
    struct span host; /* into the snapshot; ptr NULL = empty slot */
    uint32_t entrypoint;
    uint32_t first, count; /* range in `candidates`, best first */
};

struct router_index {
    const struct snapshot *snapshot;
    struct host_slot *slots;
    uint32_t mask;
    uint32_t *candidates;    /* router indices by host */
    uint32_t *general;       /* routers that demand no host, by entry point, best first */
    uint32_t *general_first; /* entry point -> first in `general`; one more at the end */
};

/* What a rule demands of the host, found bottom-up over its postfix form: either nothing, or that
 * it is one of the hosts named in a range of nodes. Ranges may hold other nodes too. */
struct demand {
    bool any;
    uint32_t from, to; /* nodes */
    uint32_t hosts;
};

static uint64_t hash_of(struct span host, uint32_t entrypoint)
{
    uint64_t h = 0x9e3779b97f4a7c15ull ^ entrypoint;
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

static struct host_slot *slot_find(const struct router_index *x, struct span host,
                                   uint32_t entrypoint)
{
    uint64_t at = hash_of(host, entrypoint);
    for (;; at++) {
        struct host_slot *slot = &x->slots[at & x->mask];
        if (!slot->host.ptr || (slot->entrypoint == entrypoint && span_eq(slot->host, host)))
            return slot;
    }
}

/* Calls `add` for each host that the router's rule demands. A host may come twice. */
static bool each_host(struct router_index *x, uint32_t router, const struct demand *d,
                      void (*add)(struct router_index *, struct span, uint32_t))
{
    const struct snapshot *s = x->snapshot;
    if (d->any)
        return false;
    for (uint32_t node = d->from; node < d->to; node++) {
        const struct snap_rule_node *n = &s->rule_nodes[node];
        if (n->op == SNAP_RULE_HOST && n->text.len > 0) /* an empty one matches nothing */
            add(x, without_dot(n->text), router);
    }
    return true;
}

static void count_host(struct router_index *x, struct span host, uint32_t router)
{
    uint32_t entrypoint = x->snapshot->routers[router].entrypoint;
    struct host_slot *slot = slot_find(x, host, entrypoint);
    if (!slot->host.ptr)
        *slot = (struct host_slot){.host = host, .entrypoint = entrypoint};
    slot->first++; /* capacity for now; place_hosts() turns it into a place */
}

static void fill_host(struct router_index *x, struct span host, uint32_t router)
{
    struct host_slot *slot = slot_find(x, host, x->snapshot->routers[router].entrypoint);
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
    x->general_first = mem_zalloc((s->entrypoint_count + 1) * sizeof *x->general_first);
}

struct router_index *router_index_create(const struct snapshot *s)
{
    struct router_index *x = mem_zalloc(sizeof *x);
    x->snapshot = s;
    index_alloc(x);
    uint32_t general = 0;
    for (int pass = 0; pass < 2; pass++) {
        for (uint32_t e = 0; e < s->entrypoint_count; e++) {
            const struct snap_entrypoint *ep = &s->entrypoints[e];
            if (pass)
                x->general_first[e] = general;
            for (uint32_t i = 0; i < ep->router_count; i++) {
                uint32_t router = ep->first_router + i;
                must(s->routers[router].entrypoint == e);
                struct demand d = rule_demand(s, &s->routers[router]);
                if (!each_host(x, router, &d, pass ? fill_host : count_host) && pass)
                    x->general[general++] = router;
            }
        }
        if (!pass)
            place_hosts(x);
    }
    x->general_first[s->entrypoint_count] = general;
    return x;
}

void router_index_destroy(struct router_index *x)
{
    if (!x)
        return;
    free(x->slots);
    free(x->candidates);
    free(x->general);
    free(x->general_first);
    free(x);
}

/* RFC 3986 section 3.3 paths as bytes: no decoding, case matters. */
static bool leaf_holds(const struct snap_rule_node *node, struct span host, struct span path)
{
    switch ((enum snap_rule_op)node->op) {
    case SNAP_RULE_HOST:
        return span_eq(without_dot(node->text), host);
    case SNAP_RULE_PATH:
        return span_eq(node->text, path);
    case SNAP_RULE_PATH_PREFIX:
        return span_starts_with(path, node->text);
    case SNAP_RULE_ANY:
        return true;
    default:
        never();
    }
}

static bool rule_holds(const struct snapshot *s, const struct snap_router *router, struct span host,
                       struct span path)
{
    uint64_t stack = 0; /* one bit per operand, the top in bit 0; depth <= 32 */
    const struct snap_rule_node *node = &s->rule_nodes[router->first_node];
    for (uint32_t i = 0; i < router->node_count; i++, node++) {
        switch ((enum snap_rule_op)node->op) {
        case SNAP_RULE_AND:
            stack = (stack >> 1 & ~1ull) | (stack & stack >> 1 & 1);
            break;
        case SNAP_RULE_OR:
            stack = (stack >> 1) | (stack & 1);
            break;
        case SNAP_RULE_NOT:
            stack ^= 1;
            break;
        default:
            stack = stack << 1 | leaf_holds(node, host, path);
        }
    }
    return stack & 1;
}

const struct snap_router *router_match(const struct router_index *x, uint32_t entrypoint, bool tls,
                                       struct span host, struct span path)
{
    const struct snapshot *s = x->snapshot;
    must(entrypoint < s->entrypoint_count);
    const struct host_slot *slot = slot_find(x, host, entrypoint);
    const uint32_t *a = x->candidates + slot->first, *a_end = a + slot->count;
    const uint32_t *b = x->general + x->general_first[entrypoint];
    const uint32_t *b_end = x->general + x->general_first[entrypoint + 1];
    if (!slot->host.ptr)
        a_end = a;
    while (a < a_end || b < b_end) {
        /* Both lists stand in the order of the snapshot: the best priority first. */
        uint32_t i = b == b_end || (a < a_end && *a < *b) ? *a++ : *b++;
        const struct snap_router *router = &s->routers[i];
        if ((router->tls != SNAP_NONE) == tls && rule_holds(s, router, host, path))
            return router;
    }
    return NULL;
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

/* SPDX-License-Identifier: Apache-2.0 */
#include "data/upstream/pool.h"

#include "base/buf.h"
#include "data/upstream/multi.h"
#include "data/upstream/upconn.h"

#include <stdlib.h>

/* A body above this counts as large: more than a few small buffers. */
#define LARGE_BODY_BYTES 32768u

void pool_hold(struct pool_server *server)
{
    must(server->refs > 0);
    server->refs++;
}

void pool_drop(struct pool_server *server)
{
    must(server->refs > 0);
    if (--server->refs == 0) {
        must(list_is_empty(&server->idle) && list_is_empty(&server->shared));
        tls_resume_clear(&server->resume);
        free(server);
    }
}

static void close_idle(struct worker *w, struct pool_server *server)
{
    while (!list_is_empty(&server->idle))
        upconn_close_begin(w, LIST_ENTRY(server->idle.next, struct upconn, idle));
    for (struct list *at = server->shared.next, *next; at != &server->shared; at = next) {
        next = at->next;
        multi_retire(w, LIST_ENTRY(at, struct upconn, idle));
    }
}

static void retire(struct worker *w, struct pool_server *server)
{
    server->retired = true;
    close_idle(w, server);
    pool_drop(server);
}

/* A table of the old servers by key, for the time of one adoption. */
struct by_key {
    struct pool_server **slots;
    uint32_t mask;
};

static uint64_t key_hash(struct span service, struct span url)
{
    uint64_t h = 14695981039346656037ull; /* FNV-1a */
    for (size_t i = 0; i < service.len; i++)
        h = (h ^ service.ptr[i]) * 1099511628211ull;
    for (size_t i = 0; i < url.len; i++)
        h = (h ^ url.ptr[i]) * 1099511628211ull;
    return h ^ h >> 31;
}

static struct span key_service(const struct pool_server *server)
{
    return span_of(server->key, server->service_len);
}

static struct span key_url(const struct pool_server *server)
{
    return span_of(server->key + server->service_len, server->url_len);
}

static void by_key_fill(struct by_key *table, const struct pool *pool)
{
    uint32_t size = 16;
    while (size < pool->count * 2)
        size *= 2;
    table->mask = size - 1;
    table->slots = mem_zalloc(size * sizeof(struct pool_server *));
    for (uint32_t i = 0; i < pool->count; i++) {
        struct pool_server *server = pool->servers[i];
        uint64_t at = key_hash(key_service(server), key_url(server));
        while (table->slots[at & table->mask])
            at++;
        table->slots[at & table->mask] = server;
        server->index = SNAP_NONE;
    }
}

/* The old server of this key, once each; NULL when there is none (left). One under another
 * transport is another server: its connections were made by other rules. */
static struct pool_server *by_key_take(struct by_key *table, struct span service, struct span url,
                                       uint64_t transport_id)
{
    for (uint64_t at = key_hash(service, url);; at++) {
        struct pool_server *server = table->slots[at & table->mask];
        if (!server || (server->index == SNAP_NONE && server->transport_id == transport_id &&
                        span_eq(key_service(server), service) && span_eq(key_url(server), url)))
            return server;
    }
}

static struct pool_server *server_make(struct span service, struct span url)
{
    struct pool_server *server = mem_zalloc(sizeof *server + service.len + url.len);
    list_init(&server->idle);
    list_init(&server->shared);
    server->refs = 1;
    server->service_len = service.len;
    server->url_len = url.len;
    if (service.len)
        memcpy(server->key, service.ptr, service.len);
    if (url.len)
        memcpy(server->key + service.len, url.ptr, url.len);
    return server;
}

static uint64_t transport_id(const struct snapshot *s, const struct snap_service *service,
                             const struct snap_server *server)
{
    return server->https ? s->transports[service->transport].id : 0;
}

void pool_adopt(struct worker *w, const struct snapshot *s)
{
    struct pool next = {.count = s->server_count, .dialers = w->pool.dialers};
    struct by_key old;
    next.servers = mem_zalloc((s->server_count + 1) * sizeof(struct pool_server *));
    next.member_turns = mem_zalloc((s->member_count + 1) * sizeof *next.member_turns);
    by_key_fill(&old, &w->pool);
    for (uint32_t i = 0; i < s->service_count; i++) {
        const struct snap_service *service = &s->services[i];
        for (uint32_t j = 0; j < service->server_count; j++) {
            uint32_t index = service->first_server + j;
            struct span url = s->servers[index].url;
            uint64_t id = transport_id(s, service, &s->servers[index]);
            struct pool_server *server = by_key_take(&old, service->name, url, id);
            if (!server)
                server = server_make(service->name, url);
            server->transport_id = id;
            server->h2c = s->servers[index].h2c;
            server->keep_alive_ms = service->keep_alive_ms;
            if (id || server->h2c) {
                const struct snap_transport *t = &s->transports[service->transport];
                server->read_idle_ms = t->read_idle_timeout_ms;
                server->ping_ms = t->ping_timeout_ms;
            }
            must(!next.servers[index]);
            server->index = index;
            next.servers[index] = server;
        }
    }
    for (uint32_t i = 0; i < next.count; i++) /* of no service: never picked */
        if (!next.servers[i])
            next.servers[i] = server_make((struct span){0}, s->servers[i].url);
    for (uint32_t i = 0; i < w->pool.count; i++)
        if (w->pool.servers[i]->index == SNAP_NONE)
            retire(w, w->pool.servers[i]);
    free(w->pool.servers);
    free(w->pool.member_turns);
    free(old.slots);
    dialers_adopt(&next.dialers, s);
    w->pool = next;
}

void pool_close_idle(struct worker *w)
{
    for (uint32_t i = 0; i < w->pool.count; i++)
        close_idle(w, w->pool.servers[i]);
}

void pool_clear(struct worker *w)
{
    for (uint32_t i = 0; i < w->pool.count; i++)
        retire(w, w->pool.servers[i]);
    free(w->pool.servers);
    dialers_clear(&w->pool.dialers);
    free(w->pool.member_turns);
    w->pool = (struct pool){0};
}

struct upconn *pool_shared(struct worker *w, struct pool_server *server)
{
    for (struct list *at = server->shared.next; at != &server->shared; at = at->next) {
        struct upconn *upconn = LIST_ENTRY(at, struct upconn, idle);
        if (multi_has_room(w, upconn))
            return upconn;
    }
    return NULL;
}

struct upconn *pool_take(struct worker *w, struct pool_server *server)
{
    while (!list_is_empty(&server->idle)) {
        struct upconn *upconn = LIST_ENTRY(server->idle.next, struct upconn, idle);
        if (upconn_is_good(w, upconn)) {
            pool_remove(w, server, upconn);
            return upconn;
        }
        upconn_close_begin(w, upconn); /* the server ended it in this very step */
    }
    return NULL;
}

/* A quarter of the slots is for connections in use. */
static uint32_t kept_max(const struct worker *w)
{
    return w->upconns.count - w->upconns.count / 4;
}

bool pool_put(struct worker *w, struct pool_server *server, struct upconn *upconn, uint32_t max)
{
    if (server->retired || server->idle_count >= max)
        return false;
    if (w->kept_count >= kept_max(w))
        upconn_close_begin(w, LIST_ENTRY(w->kept.next, struct upconn, kept));
    list_prepend(&server->idle, &upconn->idle);
    server->idle_count++;
    list_append(&w->kept, &upconn->kept);
    w->kept_count++;
    return true;
}

void pool_remove(struct worker *w, struct pool_server *server, struct upconn *upconn)
{
    must(server->idle_count > 0 && !list_is_empty(&upconn->idle));
    list_remove(&upconn->idle);
    list_remove(&upconn->kept);
    server->idle_count--;
    w->kept_count--;
}

void pool_note_body(struct pool_server *server, uint64_t bytes)
{
    if (bytes > LARGE_BODY_BYTES)
        server->large = server->large + 4 > 16 ? 16 : (uint8_t)(server->large + 4);
    else if (server->large)
        server->large--;
}

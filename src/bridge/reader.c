/* SPDX-License-Identifier: Apache-2.0 */
/* The workers' side of publish.h. */
#include "base/must.h"
#include "bridge/publisher.h"

#include <stdlib.h>

struct bridge_reader *reader_join(struct publisher *p, uint32_t worker, int wake_fd)
{
    must(worker < p->workers);
    struct bridge_reader *r = aligned_alloc(_Alignof(struct bridge_reader), sizeof *r);
    must(r);
    r->worker = worker;
    r->asks.put = r->asks.taken = 0;
    r->publisher = p;
    pthread_mutex_lock(&p->lock);
    must(!p->readers[worker]);
    p->readers[worker] = r;
    p->wake_fds[worker] = wake_fd;
    pthread_mutex_unlock(&p->lock);
    rcu_join();
    return r;
}

void reader_leave(struct bridge_reader *r)
{
    struct publisher *p = r->publisher;
    rcu_leave();
    pthread_mutex_lock(&p->lock);
    must(p->readers[r->worker] == r);
    p->readers[r->worker] = NULL;
    p->wake_fds[r->worker] = -1;
    pthread_mutex_unlock(&p->lock);
    free(r);
}

void reader_online(struct bridge_reader *r)
{
    rcu_online();
}

void reader_offline(struct bridge_reader *r)
{
    rcu_offline();
}

void reader_quiescent(struct bridge_reader *r)
{
    rcu_quiescent();
}

const struct snapshot *reader_snapshot(struct bridge_reader *r)
{
    must(rcu_is_online());
    const struct published *now = rcu_load(&r->publisher->current);
    return now ? now->snapshot : NULL;
}

static struct published *published_of(const struct snapshot *s)
{
    struct published *p = s->owner;
    must(p && p->magic == PUBLISHED_MAGIC);
    return p;
}

void reader_pin(struct bridge_reader *r, const struct snapshot *s)
{
    uint32_t *count = &published_of(s)->pins[r->worker].count;
    must(*count > 0 || rcu_is_online());
    must(*count < UINT32_MAX);
    __atomic_store_n(count, *count + 1, __ATOMIC_RELAXED);
}

void reader_unpin(struct bridge_reader *r, const struct snapshot *s)
{
    uint32_t *count = &published_of(s)->pins[r->worker].count;
    must(*count > 0);
    /* Release: what the exchange read of the snapshot comes before the publisher frees it. */
    __atomic_store_n(count, *count - 1, __ATOMIC_RELEASE);
}

const struct table_cert *table_select(struct bridge_reader *r, struct span name,
                                      struct span local_ip, bool ecdsa, bool rsa, bool *ret_default,
                                      struct span *ret_cold)
{
    must(rcu_is_online());
    return table_find_best(r->publisher->table, name, local_ip, ecdsa, rsa, ret_default, ret_cold);
}

bool reader_is_cold(struct bridge_reader *r, struct span name)
{
    must(rcu_is_online());
    return table_is_cold(r->publisher->table, name);
}

bool reader_ask(struct bridge_reader *r, struct span name)
{
    struct asks *a = &r->asks;
    must(name.len && name.len <= PUBLISH_NAME_MAX);
    if (a->put - __atomic_load_n(&a->taken, __ATOMIC_ACQUIRE) == ASKS_MAX)
        return false;
    a->slots[a->put % ASKS_MAX].len = (uint8_t)name.len;
    memcpy(a->slots[a->put % ASKS_MAX].name, name.ptr, name.len);
    __atomic_store_n(&a->put, a->put + 1, __ATOMIC_RELEASE);
    return true;
}

struct reader_answers reader_answers(struct bridge_reader *r)
{
    return (struct reader_answers){__atomic_load_n(&r->publisher->answered, __ATOMIC_ACQUIRE),
                                   __atomic_load_n(&r->publisher->ask_stream, __ATOMIC_ACQUIRE)};
}

const struct http_challenge *reader_http_challenge(struct bridge_reader *r, struct span token)
{
    must(rcu_is_online());
    return answers_find_http(r->publisher->answers, token);
}

const struct table_cert *reader_tls_challenge(struct bridge_reader *r, struct span name)
{
    must(rcu_is_online());
    return answers_find_tls(r->publisher->answers, name);
}

const struct ticket_keys *reader_ticket_keys(struct bridge_reader *r)
{
    static const struct ticket_keys none;
    must(rcu_is_online());
    const struct ticket_slot *now = rcu_load(&r->publisher->tickets);
    return now ? &now->keys : &none;
}

struct server_state const *reader_server(struct bridge_reader *r, const struct snapshot *s,
                                         uint32_t server)
{
    static const struct server_state unknown;
    struct published *p = published_of(s);
    must(rcu_is_online());
    must(server < p->server_count);
    const struct server_slot *slot = rcu_load(&p->servers[server]);
    return slot ? &slot->state : &unknown;
}

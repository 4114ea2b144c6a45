/* SPDX-License-Identifier: Apache-2.0 */
#include "data/sockets.h"

#include "base/buf.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

struct given {
    int fd; /* -1 = closed */
    uint64_t socket;
    uint32_t group;
    uint32_t users; /* configs that name it */
    char entrypoint[LISTENER_NAME_MAX];
    struct given *next;
};

/* One worker's: `of` says whose socket a config names, NULL = it is free. */
struct share {
    struct listener_config configs[LISTENER_CONFIGS_MAX];
    struct given *of[LISTENER_CONFIGS_MAX];
};

struct sockets {
    uint32_t workers;
    struct share *shares;
    struct given *first;
};

struct sockets *sockets_create(uint32_t workers)
{
    struct sockets *s = mem_zalloc(sizeof *s);
    s->workers = workers;
    s->shares = mem_zalloc(workers * sizeof *s->shares);
    for (uint32_t w = 0; w < workers; w++)
        for (uint32_t i = 0; i < LISTENER_CONFIGS_MAX; i++)
            atomic_init(&s->shares[w].configs[i].state, LISTENER_FREE);
    return s;
}

void sockets_close(struct sockets *s)
{
    for (struct given *g = s->first; g; g = g->next) {
        if (g->fd >= 0)
            (void)close(g->fd);
        g->fd = -1;
    }
}

void sockets_destroy(struct sockets *s)
{
    if (!s)
        return;
    sockets_close(s);
    while (s->first) {
        struct given *g = s->first;
        s->first = g->next;
        free(g);
    }
    free(s->shares);
    free(s);
}

struct listener_config *sockets_of(struct sockets *s, uint32_t worker)
{
    return s->shares[worker].configs;
}

static bool offer(struct share *share, struct given *g)
{
    for (uint32_t i = 0; i < LISTENER_CONFIGS_MAX; i++) {
        struct listener_config *c = &share->configs[i];
        if (share->of[i])
            continue;
        share->of[i] = g;
        c->fd = g->fd;
        c->entrypoint = g->entrypoint;
        c->socket = g->socket;
        g->users++;
        atomic_store_explicit(&c->state, LISTENER_OFFERED, memory_order_release);
        return true;
    }
    return false;
}

static void recall(struct listener_config *c)
{
    int offered = LISTENER_OFFERED;
    if (atomic_compare_exchange_strong(&c->state, &offered, LISTENER_FREE))
        return; /* the worker has not looked yet */
    int taken = LISTENER_TAKEN;
    (void)atomic_compare_exchange_strong(&c->state, &taken, LISTENER_RECALLED);
}

static void recall_given(struct sockets *s, const struct given *g)
{
    for (uint32_t w = 0; w < s->workers; w++)
        for (uint32_t i = 0; i < LISTENER_CONFIGS_MAX; i++)
            if (s->shares[w].of[i] == g)
                recall(&s->shares[w].configs[i]);
}

static uint64_t cookie_of(int fd)
{
    uint64_t cookie = 0;
    socklen_t len = sizeof cookie;
    return getsockopt(fd, SOL_SOCKET, SO_COOKIE, &cookie, &len) == 0 ? cookie : 0;
}

bool sockets_offer(struct sockets *s, int fd, uint32_t worker, uint32_t group,
                   struct span entrypoint)
{
    struct given *g = mem_zalloc(sizeof *g);
    bool ok = (worker < s->workers || worker == SOCKETS_ALL_WORKERS) &&
              entrypoint.len < sizeof g->entrypoint;
    g->fd = fd;
    g->socket = cookie_of(fd);
    g->group = group;
    if (ok)
        memcpy(g->entrypoint, entrypoint.ptr, entrypoint.len);
    for (uint32_t w = 0; ok && w < s->workers; w++)
        if (worker == w || worker == SOCKETS_ALL_WORKERS)
            ok = offer(&s->shares[w], g);
    g->next = s->first;
    s->first = g;
    if (!ok) {
        recall_given(s, g);
        sockets_collect(s); /* `g` may be gone */
    }
    return ok;
}

void sockets_recall(struct sockets *s, uint32_t group)
{
    for (uint32_t w = 0; w < s->workers; w++)
        for (uint32_t i = 0; i < LISTENER_CONFIGS_MAX; i++)
            if (s->shares[w].of[i] && s->shares[w].of[i]->group == group)
                recall(&s->shares[w].configs[i]);
    sockets_collect(s);
}

void sockets_collect(struct sockets *s)
{
    for (uint32_t w = 0; w < s->workers; w++) {
        struct share *share = &s->shares[w];
        for (uint32_t i = 0; i < LISTENER_CONFIGS_MAX; i++) {
            if (!share->of[i] || atomic_load_explicit(&share->configs[i].state,
                                                      memory_order_acquire) != LISTENER_FREE)
                continue;
            share->of[i]->users--;
            share->of[i] = NULL;
        }
    }
    for (struct given **at = &s->first; *at;) {
        struct given *g = *at;
        if (g->users) {
            at = &g->next;
            continue;
        }
        *at = g->next;
        if (g->fd >= 0)
            (void)close(g->fd);
        free(g);
    }
}

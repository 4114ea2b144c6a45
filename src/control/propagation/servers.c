/* SPDX-License-Identifier: Apache-2.0 */
#include "control/propagation/servers.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

struct servers_question {
    struct servers *servers;
    struct ask *ask;
    uint32_t name; /* index */
};

struct servers {
    struct loop *loop;
    struct net_addr resolvers[ASK_SERVERS_MAX];
    uint32_t resolver_count;
    const char *zone;
    uint16_t port;
    struct servers_question questions[SERVERS_MAX];
    uint32_t open; /* questions without an answer */
    struct servers_list list;
    servers_done *done;
    void *arg;
    char text[512];
};

static_assert(2 * SERVERS_NAMES_MAX <= SERVERS_MAX, "an A and an AAAA question for every name fit");

static void finish(struct servers *s)
{
    s->done(s->arg, s->list.count ? &s->list : NULL, s->text);
    free(s);
}

/* Whether this machine has a way to the address at all; without IPv6 its addresses are left out. */
static bool has_route(const struct net_addr *addr)
{
    int fd = socket(addr->sa.sa_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd == -1)
        return false;
    bool good = connect(fd, &addr->sa, addr->len) == 0 ||
                (errno != ENETUNREACH && errno != EADDRNOTAVAIL && errno != EHOSTUNREACH);
    close(fd);
    return good;
}

static void add_server(struct servers *s, uint32_t name, const struct dnsmsg *m,
                       const struct dnsmsg_record *r)
{
    struct servers_list *list = &s->list;
    struct net_addr a = {0};
    if (!dnsmsg_address(m, r, &a))
        return;
    net_addr_set_port(&a, s->port);
    for (uint32_t i = 0; i < list->count; i++)
        if (net_addr_eq(&list->items[i].addr, &a))
            return;
    if (list->count == SERVERS_MAX || !has_route(&a))
        return;
    list->items[list->count].addr = a;
    list->items[list->count++].name = name;
}

static void take_address(void *arg, const struct ask_answer *answer)
{
    struct servers_question *q = arg;
    struct servers *s = q->servers;
    struct dnsmsg m = answer->message;
    struct dnsmsg_record r;
    q->ask = NULL;
    /* A CNAME in between is not asked about: the answer section holds its target's addresses. */
    while (answer->ok && dnsmsg_next(&m, &r))
        if (r.section == DNSMSG_ANSWER)
            add_server(s, q->name, &m, &r);
    if (--s->open)
        return;
    if (!s->list.count)
        snprintf(s->text, sizeof s->text,
                 "no name server of %.200s has an address that this machine can reach (%.100s%s)",
                 s->zone, s->list.names[0], s->list.name_count > 1 ? " and others" : "");
    finish(s);
}

static void ask_addresses(struct servers *s)
{
    s->open = 2 * s->list.name_count;
    for (uint32_t i = 0; i < 2 * s->list.name_count; i++) {
        struct servers_question *q = &s->questions[i];
        q->name = i / 2;
        q->ask = ask_start(s->loop, s->resolvers, s->resolver_count, true, s->list.names[i / 2],
                           i % 2 ? DNSMSG_AAAA : DNSMSG_A, take_address, q);
    }
}

static void take_names(void *arg, const struct ask_answer *answer)
{
    struct servers_question *q = arg;
    struct servers *s = q->servers;
    struct servers_list *list = &s->list;
    q->ask = NULL;
    if (!answer->ok) {
        snprintf(s->text, sizeof s->text, "the name servers of %.200s: resolver %.200s", s->zone,
                 answer->text);
        finish(s);
        return;
    }
    struct dnsmsg m = answer->message;
    struct dnsmsg_record r;
    char name[DNSMSG_NAME_BYTES], server[NET_ADDR_TEXT_MAX];
    while (list->name_count < SERVERS_NAMES_MAX && dnsmsg_next(&m, &r))
        if (r.section == DNSMSG_ANSWER && r.type == DNSMSG_NS && dnsmsg_name_eq(r.name, s->zone) &&
            dnsmsg_target(&m, &r, name) && strlen(name) < sizeof list->names[0])
            snprintf(list->names[list->name_count++], sizeof list->names[0], "%s", name);
    if (list->name_count) {
        ask_addresses(s);
        return;
    }
    snprintf(s->text, sizeof s->text,
             "%s answers %s and no NS record when asked for those of %.200s",
             net_addr_print(&answer->server, server), dnsmsg_rcode_text(dnsmsg_rcode(&m)), s->zone);
    finish(s);
}

struct servers *servers_find(struct loop *loop, const struct net_addr *resolvers, uint32_t count,
                             const char *zone, uint16_t port, servers_done *done, void *arg)
{
    struct servers *s = mem_zalloc(sizeof *s);
    s->loop = loop;
    memcpy(s->resolvers, resolvers, count * sizeof *resolvers);
    s->resolver_count = count;
    s->zone = zone;
    s->port = port;
    s->done = done;
    s->arg = arg;
    for (uint32_t i = 0; i < SERVERS_MAX; i++)
        s->questions[i].servers = s;
    s->questions[0].ask =
        ask_start(loop, resolvers, count, true, zone, DNSMSG_NS, take_names, &s->questions[0]);
    return s;
}

void servers_cancel(struct servers *s)
{
    if (!s)
        return;
    for (uint32_t i = 0; i < SERVERS_MAX; i++)
        ask_cancel(s->questions[i].ask);
    free(s);
}

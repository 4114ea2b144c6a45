/* SPDX-License-Identifier: Apache-2.0 */
/* control/propagation/servers.h - the addresses of a zone's authoritative servers.
 * Thread: control.   Owns: its questions while they are open.
 * Never: included outside this folder; calls back from inside servers_find(); lists an address that
 * this machine has no route to. */
#pragma once

#include "control/propagation/ask.h"

#define SERVERS_NAMES_MAX 13
#define SERVERS_MAX       32

struct servers_list {
    char names[SERVERS_NAMES_MAX][256];
    uint32_t name_count;
    struct {
        struct net_addr addr;
        uint32_t name; /* index of its name */
    } items[SERVERS_MAX];
    uint32_t count;
};

struct servers;
/* list: NULL when there is none, then `text` says why. Both valid during the callback. */
typedef void servers_done(void *arg, const struct servers_list *list, const char *text);

/* Asks the resolvers for the zone's NS records and the addresses of each. port: of the servers.
 * zone: normal form, borrowed until the callback. */
struct servers *servers_find(struct loop *loop, const struct net_addr *resolvers, uint32_t count,
                             const char *zone, uint16_t port, servers_done *done, void *arg);
/* Ends it without a callback. NULL is harmless. Not after the callback. */
void servers_cancel(struct servers *s);

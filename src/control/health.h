/* SPDX-License-Identifier: Apache-2.0 */
/* control/health.h - asks servers whether they are well, as loadBalancer.healthCheck says: over
 * HTTP, or by connecting. Thread: control.   Owns: its questions and their timers. Never: waits;
 * asks DNS (the addresses are its caller's); takes a server that was not asked yet for ill. */
#pragma once

#include "base/net.h"
#include "config/config.h"
#include "control/loop.h"

struct health;

/* Another answer than before. text: why it is not well, for people. */
typedef void health_changed(void *arg, uint32_t server, bool healthy, const char *text);
/* The present addresses of a server; they are copied at once. Returns their number. */
typedef uint32_t health_addresses(void *arg, uint32_t server, const struct net_addr **ret);

/* config is borrowed for its life. */
struct health *health_create(struct loop *loop, const struct config *config,
                             health_changed *changed, health_addresses *addresses, void *arg);
void health_destroy(struct health *h);
/* One server to ask, as its service says.
 *   number    the caller's
 *   healthy   what is known of it */
void health_add(struct health *h, uint32_t number, const struct config_service *service,
                const struct config_server *server, bool healthy);
/* Begins to ask, one server soon after the other. */
void health_start(struct health *h);

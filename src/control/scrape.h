/* SPDX-License-Identifier: Apache-2.0 */
/* control/scrape.h - control's answer to a scrape of the metrics. Workers carry it there like any
 * request to a server: one that listens on the loopback address and is asked for by a name that
 * control made up and only workers were told.
 * Thread: control.   Owns: its socket and its clients.
 * Never: answers one that does not know the name; reads a body; waits for a client for long. */
#pragma once

#include "bridge/snapshot.h"
#include "control/admin_answer.h"
#include "control/loop.h"

#define SCRAPE_CLIENTS_MAX 32
#define SCRAPE_CLIENT_S    10
#define SCRAPE_HEAD_MAX    131072

struct scrape;

/* Listens. view is read at each scrape. ERR_SYSTEM. */
struct result scrape_open(struct loop *loop, const struct admin_view *view, struct scrape **ret,
                          struct why *why);
/* NULL is fine. */
void scrape_close(struct scrape *s);
/* Makes the server of a snapshot this one. */
void scrape_serve(const struct scrape *s, struct snap_server *server);

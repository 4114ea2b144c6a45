/* SPDX-License-Identifier: Apache-2.0 */
/* tests/sim/h2_client.h - a played client that speaks HTTP/2: nghttp2's own client over memory,
 * with all its requests at once. Thread: the test's.   Owns: its session.   Never: touches the
 * scripted kernel. */
#pragma once

#include "world.h"

struct h2_client;

/* Will send the requests of `c` and judge their answers. */
struct h2_client *h2_client_create(struct world *world, struct client *c);
/* NULL is fine. */
void h2_client_free(struct h2_client *h);
/* Takes c->in, appends to c->out. */
void h2_client_turn(struct h2_client *h);

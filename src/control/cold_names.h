/* SPDX-License-Identifier: Apache-2.0 */
/* control/cold_names.h - names whose certificates stay in stores with an index until a client asks
 * for them: the workers know the names alone.
 * Thread: control.   Owns: nothing but the list of these stores; no certificate, no key, no name.
 * Never: reads a certificate that nobody asks for; keeps a key when it was sent. */
#pragma once

#include "control/publish_state.h"
#include "control/store/store.h"

struct cold_names;

/* A certificate of a name that other certificates (of files, say) have as well: it is to become a
 * candidate for this name in publish_state, so that all of them are compared. */
typedef void cold_names_join(void *arg, const struct store_cert *cert, const char *name);

/* Hooks itself into `certificates`, which outlives it; both are borrowed. */
struct cold_names *cold_names_create(struct publish_state *certificates, cold_names_join *join,
                                     void *arg);
/* NULL is fine. */
void cold_names_destroy(struct cold_names *c);

/* The store has an index and outlives its place here. The workers hear of its names by the next
 * walk. */
void cold_names_add(struct cold_names *c, struct store *store);
/* Harmless when it is not there. The workers hear of it by the next sync. */
void cold_names_remove(struct cold_names *c, const struct store *store);
bool cold_names_has(const struct cold_names *c, const struct store *store);
/* Was a store added since the last walk began? */
bool cold_names_is_untold(const struct cold_names *c);
/* How many certificates these stores have. */
uint64_t cold_names_count(const struct cold_names *c);

/* Begins to tell the workers of all names; then each step appends messages for some thousand.
 * False: that was all. A change of the stores in between is told besides. */
void cold_names_begin(struct cold_names *c);
bool cold_names_step(struct cold_names *c, struct buf *out);
/* Appends what answers a worker that asks for a name: its certificates, or that there are none. A
 * disk that fails is no answer. The caller wipes `out`. */
void cold_names_answer(struct cold_names *c, struct span name, struct buf *out);
/* A certificate of one of the stores came: it is served at once. Appends messages;
 * publish_state_update() follows. */
void cold_names_came(struct cold_names *c, const struct store_cert *cert, struct buf *out);
/* One of this name went. Appends what there is of it now. */
void cold_names_went(struct cold_names *c, const char *name, struct buf *out);

/* A place among the names of all stores; zeroed: the first. When stores come or go in between, some
 * names are passed over. */
struct cold_walk {
    uint32_t store;
    struct buf last;
};
/* Calls `each` with up to `max` names from there on; it leaves the stores alone. False: those were
 * all, and the next walk begins anew; also when a store cannot be read, which the log says. */
bool cold_names_walk(struct cold_names *c, struct cold_walk *at, uint32_t max,
                     store_each_name *each, void *arg);
/* Calls `each` with the certificates that the stores have for a name. */
void cold_names_each(struct cold_names *c, const char *name, cold_names_join *each, void *arg);

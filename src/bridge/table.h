/* SPDX-License-Identifier: Apache-2.0 */
/* bridge/table.h - the certificate table: host names to certificates, read without locks.
 * Thread: table_find* in workers, online; everything else in the publisher.
 * Owns: nodes and certificates; keys are wiped when they are freed.
 * Never: used outside bridge/; copies more than the one name or certificate that changes; lets a
 * reader write. */
#pragma once

#include "bridge/publish.h"
#include "bridge/rcu.h"

struct table;

/* expected_names sizes the hash; the table grows by itself when there are more. ERR_NO_MEMORY. */
struct result table_create(uint64_t expected_names, struct table **ret);
/* No reader may be left. */
void table_destroy(struct table *t);

/* Copies a certificate in. It replaces one of the same id for names that are put from now on; a
 * certificate that no name uses lives until the next table_sweep(). What dies goes to `pen`. */
void table_put_cert(struct table *t, const struct publish_cert *cert, struct rcu_pen *pen);
/* Copies what is shown with a certificate from now on; empty: nothing. No certificate of this id:
 * nothing happens. */
void table_put_staple(struct table *t, uint64_t id, struct span response, int64_t until_s,
                      struct rcu_pen *pen);
/* Inserts or replaces one name. ecdsa, rsa: ids, 0 = none. A certificate whose last name goes dies,
 * unless it was put again since it was last named.
 * ERR_NOT_FOUND: an id that is not there; ERR_MISMATCH: an ECDSA certificate given as RSA or the
 * reverse. Then nothing changed. */
struct result table_put_name(struct table *t, struct span name, uint64_t ecdsa, uint64_t rsa,
                             struct rcu_pen *pen);
/* False when the name was not there. */
bool table_remove(struct table *t, struct span name, struct rcu_pen *pen);

/* Between begin and sweep names and staples are marked by being put; sweep removes those that were
 * not, and the certificates that no name uses. */
void table_mark_begin(struct table *t);
void table_sweep(struct table *t, struct rcu_pen *pen);

uint64_t table_names(const struct table *t);
uint64_t table_certs(const struct table *t);

/* Lock-free lookup of one node by its whole name: two certificates, either may be NULL.
 * False: no such name. Valid until the reader goes offline or quiescent. */
bool table_find(const struct table *t, struct span name, const struct table_cert **ret_ecdsa,
                const struct table_cert **ret_rsa);
/* What table_select() of publish.h promises. */
const struct table_cert *table_find_best(const struct table *t, struct span name,
                                         struct span local_ip, bool ecdsa, bool rsa,
                                         bool *ret_default);

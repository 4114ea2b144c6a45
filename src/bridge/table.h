/* SPDX-License-Identifier: Apache-2.0 */
/* bridge/table.h - the certificate table: host names to certificates, read without locks.
 * Thread: table_find* in workers, online; everything else in the publisher.
 * Owns: nodes and certificates; keys are wiped when they are freed.
 * Never: used outside bridge/; copies more than the one name or certificate that changes; lets a
 * reader write, but for the mark that says a name was used.
 *
 * A name that a store has may be here without its certificates (cold), or with them until others
 * were used more (warm). Which of the warm ones goes is found by a hand that goes round and spares
 * each that was used since it came by (the clock algorithm). */
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
/* The same for a name that can become cold again; tag: not 0. */
struct result table_put_warm(struct table *t, struct span name, uint64_t ecdsa, uint64_t rsa,
                             uint64_t tag, struct rcu_pen *pen);
/* Inserts a cold name, or makes one cold; one that is there with this tag stays as it is. */
void table_put_cold(struct table *t, struct span name, uint64_t tag, struct rcu_pen *pen);
/* So many warm names may be there at once; at first any number. */
void table_keep_warm(struct table *t, uint32_t max, struct rcu_pen *pen);
uint64_t table_warm(const struct table *t);

/* A worker wants a cold name. */
enum table_ask {
    TABLE_ASK_NOW = 0, /* control is to be asked */
    TABLE_ASK_AGAIN,   /* it was, less than again_ms ago */
    TABLE_ASK_OVER,    /* the name is not cold any more */
};
enum table_ask table_ask(struct table *t, struct span name, uint64_t now_ms, uint32_t again_ms);
/* What was asked before is not answered any more. */
void table_forget_asks(struct table *t);
/* Counts the names that were asked for and then changed. */
uint32_t table_answers(const struct table *t);

/* False when the name was not there. */
bool table_remove(struct table *t, struct span name, struct rcu_pen *pen);

/* Between begin and sweep names and staples are marked by being put; sweep removes those that were
 * not, and the certificates that no name uses. */
void table_mark_begin(struct table *t);
void table_sweep(struct table *t, struct rcu_pen *pen);

uint64_t table_names(const struct table *t);
uint64_t table_certs(const struct table *t);

/* Lock-free lookup of one node by its whole name: two certificates, either may be NULL.
 * False: no such name, or a cold one. Valid until the reader goes offline or quiescent. */
bool table_find(const struct table *t, struct span name, const struct table_cert **ret_ecdsa,
                const struct table_cert **ret_rsa);
/* What table_select() of publish.h promises. */
const struct table_cert *table_find_best(const struct table *t, struct span name,
                                         struct span local_ip, bool ecdsa, bool rsa,
                                         bool *ret_default, struct span *ret_cold);
/* True when the name is there, without certificates. */
bool table_is_cold(const struct table *t, struct span name);

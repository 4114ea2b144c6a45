/* SPDX-License-Identifier: Apache-2.0 */
/* bridge/answers.h - what the workers answer to the challenges of ACME CAs: tokens of HTTP-01 and
 * certificates of TLS-ALPN-01, read without locks.
 * Thread: answers_find_* in workers, online; everything else in the publisher.
 * Owns: the answers; keys are wiped when they are freed.
 * Never: used outside bridge/; holds more than PUBLISH_CHALLENGES_MAX; lets a stranger choose in
 * which place of the table a lookup ends. */
#pragma once

#include "bridge/publish.h"
#include "bridge/rcu.h"

struct answers;

struct answers *answers_create(void);
/* No reader may be left. */
void answers_destroy(struct answers *a);

/* Copies one in; it replaces that of the same token or name. False: there is no room. What dies
 * goes to `pen`. */
bool answers_put_http(struct answers *a, struct span token, const struct http_challenge *answer,
                      struct rcu_pen *pen);
bool answers_put_tls(struct answers *a, struct span name, struct span chain, struct span key,
                     struct rcu_pen *pen);
/* Nothing happens when it is not there. */
void answers_remove_http(struct answers *a, struct span token, struct rcu_pen *pen);
void answers_remove_tls(struct answers *a, struct span name, struct rcu_pen *pen);

/* Between begin and sweep answers are marked by being put; sweep removes those that were not. */
void answers_mark_begin(struct answers *a);
void answers_sweep(struct answers *a, struct rcu_pen *pen);
uint64_t answers_count(const struct answers *a);

/* NULL: not there. Valid until the reader goes offline or quiescent. */
const struct http_challenge *answers_find_http(const struct answers *a, struct span token);
const struct table_cert *answers_find_tls(const struct answers *a, struct span name);

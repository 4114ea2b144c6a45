/* SPDX-License-Identifier: Apache-2.0 */
/* control/snapshot_rules.h - puts the rules of routers into a snapshot; each regular expression
 * stands there once, however many rules have it.
 * Thread: control.   Owns: the index of expressions while a snapshot is being built.
 * Never: copies texts: they stay the configuration's. */
#pragma once

#include "bridge/snapshot.h"
#include "config/rule.h"

struct snapshot_rules;

/* `s` has room for the nodes and prefixes that will be put. Its regexes are made here and grow. */
struct snapshot_rules *snapshot_rules_create(struct snapshot *s);
/* The snapshot keeps its regexes: the caller frees them with it. */
void snapshot_rules_destroy(struct snapshot_rules *r);
/* Appends the nodes of a rule, with what they refer to. */
void snapshot_rules_put(struct snapshot_rules *r, const struct rule *rule);
/* Index of an expression in the snapshot's regexes. `pattern` is known to be good. */
uint32_t snapshot_rules_regex(struct snapshot_rules *r, struct span pattern);
/* How many prefixes a rule needs. */
uint32_t snapshot_rules_prefixes(const struct rule *rule);

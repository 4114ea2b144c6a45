/* SPDX-License-Identifier: Apache-2.0 */
/* config/rule_matcher.h - the matchers of the rule language: which there are, what their arguments
 * may be, and the nodes that they become.
 * Thread: any.   Owns: nothing.
 * Never: reads the rule's text. */
#pragma once

#include "config/rule_draft.h"

struct rule_matcher;

/* The matcher of that name; case does not count. Fails when the syntax has none, and says which one
 * has. `at`: where it stands, for messages. */
struct result rule_matcher_find(struct rule_draft *d, uint32_t at, const char *name,
                                enum rule_syntax syntax, const struct rule_matcher **ret);
/* Judges the arguments and appends the nodes. `at`: where the matcher stands. */
struct result rule_matcher_put(struct rule_draft *d, uint32_t at, const struct rule_matcher *m,
                               const struct rule_arg *args, uint32_t count);
const char *rule_matcher_name(const struct rule_matcher *m);

/* SPDX-License-Identifier: Apache-2.0 */
/* config/rule_template.h - the templates of Traefik's second rule syntax: "{sub:[a-z]+}.a.test".
 * Thread: any.   Owns: nothing.
 * Never: compiles an expression. */
#pragma once

#include "base/buf.h"

enum rule_template_kind {
    RULE_TEMPLATE_HOST,        /* {name} is one label; case does not count */
    RULE_TEMPLATE_PATH,        /* {name} is one segment */
    RULE_TEMPLATE_PATH_PREFIX, /* the same, and anything may follow */
    RULE_TEMPLATE_QUERY,       /* {name} is anything */
};

/* Whether the text has a placeholder at all. */
bool rule_template_is_one(struct span text);
/* Appends the regular expression that a template stands for, tied to the ends of what it is held
 * against. False: braces do not pair, or a placeholder has no name; *ret_at is the byte. */
bool rule_template_regex(struct span text, enum rule_template_kind kind, struct buf *out,
                         uint32_t *ret_at);

/* SPDX-License-Identifier: Apache-2.0 */
/* control/publish_choice.h - which of two certificates is the better one for a name (DESIGN section
 * 5).
 * Thread: any.   Owns: nothing.
 * Never: asks which name, or which kind of key. */
#pragma once

#include "control/publish_state.h"

/* Between notBefore and notAfter, wall seconds. */
bool publish_choice_is_valid(const struct publish_candidate *c, int64_t now_s);
/* > 0 when a is better than b, < 0 when b is. prefer_acme: which source wins. *ret_why says by
 * what, in static memory. */
int publish_choice_compare(bool prefer_acme, const struct publish_candidate *a,
                           const struct publish_candidate *b, int64_t now_s, const char **ret_why);

/* SPDX-License-Identifier: Apache-2.0 */
/* config/fixed.h - options that only a start or an upgrade changes: what they are now, and how a
 * reload leaves them so.
 * Thread: the loader's.   Owns: nothing (results live in the caller's arena).
 * Never: drops a change silently: each is a warning. */
#pragma once

#include "config/build.h"

/* Every written option of reload class RESTART as "path=value", the value as a flag takes it. */
const char **fixed_collect(struct arena *arena, struct place root, uint32_t *ret_count);
/* Puts the running values into the tree in the place of others; reports each difference, those of
 * options that are not written any more at `top`. The tree is judged. */
void fixed_keep(struct arena *arena, struct place root, struct config_where top,
                const char *const *running, uint32_t count, struct config_problems *problems);

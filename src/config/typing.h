/* SPDX-License-Identifier: Apache-2.0 */
/* config/typing.h - judges one value against its option and gives it its final form.
 * Thread: the loader's.   Owns: nothing.
 * Never: shows the value of a secret. */
#pragma once

#include "config/options.h"
#include "config/tree.h"

/* node->schema->option says of what type. False when it is wrong (reported). */
bool typing_value(struct arena *arena, struct node *node, struct config_problems *problems);
/* The value of a flag as a truth value. */
bool typing_flag_bool(const struct node *node, bool *ret);

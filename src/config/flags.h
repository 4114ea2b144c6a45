/* SPDX-License-Identifier: Apache-2.0 */
/* config/flags.h - dotted flags: --entryPoints.web.address=:80 is [entryPoints.web] address =
 * ":80". Thread: the loader's.   Owns: nothing. Never: knows which keys exist; shows a value in a
 * message (it may be a secret). */
#pragma once

#include "config/tree.h"

/* Sets what a flag says in the tree, over what a file says. The value is kept as text
 * (node->flag) for the check to give it a type. Without "=" the value is "true". Quotes around
 * parts of the path and around the value are taken off, "x[1].y" is an element of a list, and a
 * colon before the equals sign is ignored. A bad flag is reported. `number` is its place
 * on the command line, for the order of messages. */
void flags_set(struct arena *arena, struct node *root, const char *flag, uint32_t number,
               struct config_problems *problems);

/* SPDX-License-Identifier: Apache-2.0 */
/* config/judge.h - holds a tree of keys and values against the option table.
 * Thread: the loader's.   Owns: nothing.
 * Never: looks at more than one value at a time, at files or at references. */
#pragma once

#include "config/options.h"
#include "config/tree.h"

/* Reports unknown and foreign keys, wrong types and ranges, and in CONFIG_RUN mode options whose
 * feature is not available; such nodes become `bad`. Good nodes get their schema and their value's
 * final form: durations are TOML_INTEGER in ms, enums are spelt as in the table, flags have a type,
 * `true` for a table is an empty table. */
void judge_tree(struct arena *arena, struct node *root, const struct schema *schema,
                enum config_mode mode, struct config_problems *problems);
/* Reports what must not stand in a file that [providers.file] names: anything but http, tcp and
 * tls. */
void judge_is_dynamic(struct node *root, struct config_problems *problems);

/* SPDX-License-Identifier: Apache-2.0 */
/* control/provider/load.h - brings a plug-in into this process and checks that it fits.
 * Thread: the provider child's.   Owns: the loaded object, for the process's life.
 * Never: reads more of a plug-in than the checks so far allow; unloads. */
#pragma once

#include "base/result.h"

#include "ferrule_provider.h"

/* Loads path and finds its provider, whose code or alias must be `code`. ERR_CONFIG with a sentence
 * of its own for: no such file, not loadable, no symbol, another major version, too short a
 * structure, another name, a damaged option table. */
struct result load_plugin(const char *path, const char *code, const struct ferrule_provider **ret,
                          struct why *why);
/* Checks what load_plugin found under the symbol, `found` being what the symbol points to. */
struct result load_check(const void *found, const char *path, const char *code,
                         const struct ferrule_provider **ret, struct why *why);

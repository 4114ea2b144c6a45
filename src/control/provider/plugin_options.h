/* SPDX-License-Identifier: Apache-2.0 */
/* control/provider/plugin_options.h - a plug-in's options: from variables to checked values.
 * Thread: the provider child's.   Owns: the values, wiped by plugin_options_fini().
 * Never: ignores a value that does not fit; lets a value be seen that the plug-in did not declare.
 */
#pragma once

#include "base/buf.h"
#include "base/result.h"
#include "control/provider/redact.h"
#include "control/provider/wire.h"

#include "ferrule_provider.h"

/* One declared option and what it resolved to. */
struct option_value {
    const struct ferrule_option *option;
    bool set;        /* from a variable, a file or the default */
    struct buf text; /* normalised: seconds and numbers decimal, "true" or "false" */
    uint64_t number; /* for numbers and truth values */
};

struct plugin_options {
    struct option_value *values;
    uint32_t count;
};

/* The i-th option of a plug-in, whatever size its options were compiled with. i < option_count. */
const struct ferrule_option *plugin_options_at(const struct ferrule_provider *provider, uint32_t i);

/* Adds every variable that the plug-in's options name, and its _FILE form. ERR_TOO_LARGE. The items
 * of the list borrow from `names`. */
struct result plugin_options_names(const struct ferrule_provider *provider, struct buf *names,
                                   struct wire_list *ret);

/* Resolves every option: the overlay's variables first, then the environment's, each in the order
 * of the option's names, NAME before NAME_FILE. Secret values are added to `redact` even on
 * failure. Warnings (white space in a secret, deprecated options) are logged. ERR_CONFIG with one
 * sentence that names every missing variable, or the first wrong one. */
struct result plugin_options_resolve(const struct ferrule_provider *provider,
                                     const struct wire_list *overlay,
                                     const struct wire_list *variables, struct plugin_options *ret,
                                     struct redact *redact, struct why *why);
/* NULL when the plug-in declares no such option. */
const struct option_value *plugin_options_find(const struct plugin_options *o, const char *name);
void plugin_options_fini(struct plugin_options *o);

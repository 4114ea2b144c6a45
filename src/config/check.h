/* SPDX-License-Identifier: Apache-2.0 */
/* config/check.h - the commands that look at a configuration: `ferrule check`, `ferrule options`;
 * and what all commands with a configuration have in common on their command line.
 * Thread: main.   Owns: nothing.
 * Never: starts anything. */
#pragma once

#include "config/config.h"

/* Read when neither -c nor a dotted flag is given. */
#define CONFIG_DEFAULT_FILE "/etc/ferrule/ferrule.toml"

/* What a command line says. Pointers are into argv, but for `flags`, which check_args_free()
 * frees. */
struct check_args {
    const char *file;   /* -c FILE, --config FILE, --configFile=FILE; NULL = flags alone */
    const char **flags; /* dotted ones, as written */
    uint32_t flag_count;
    bool fragment, json, help;
};

/* Sorts out the arguments behind the command's name (argv[0] is the first of them).
 * ERR_USAGE. */
struct result check_args_parse(int argc, char **argv, struct check_args *ret, struct why *why);
void check_args_free(struct check_args *args);
/* Loads what the arguments say, prints every problem on standard error. ERR_CONFIG. */
struct result check_load(const struct check_args *args, struct config **ret);
/* As check_load(), in CONFIG_START mode. When anything is wrong, certificates are read after all:
 * all that is wrong is said at once. */
struct result check_load_start(const struct check_args *args, struct config **ret);

/* `ferrule check [--fragment] [-c FILE] [--path.to.option=value ...]` and `ferrule options
 * [--markdown]`; argv[0] is the command's name. Both return the exit code: 0 good, 1 bad, 2 usage.
 */
int config_check_main(int argc, char **argv);
int config_options_main(int argc, char **argv);

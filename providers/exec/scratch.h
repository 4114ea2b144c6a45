/* SPDX-License-Identifier: Apache-2.0 */
/* exec/scratch.h - a folder for one run of acme.sh, which wants to write files.
 * Thread: the plug-in's only one.   Owns: the folder, until scratch_close().
 * Never: leaves it behind; follows a symbolic link when it removes. */
#pragma once

#include "ferrule_provider.h"

#include <stdbool.h>

#define SCRATCH_PATH_BYTES 256

/* Makes an empty folder of mode 0700 in another one. False with errno. */
bool scratch_open(struct ferrule_str parent, char path[SCRATCH_PATH_BYTES]);
/* Removes it with all that is in it. */
void scratch_close(const char *path);

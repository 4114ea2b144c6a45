/* SPDX-License-Identifier: Apache-2.0 */
/* config/problems.h - collects what is wrong with a configuration, for one report in file order.
 * Thread: the loader's.   Owns: the list and its texts (struct config_problems).
 * Never: prints, stops at the first error, holds the value of a secret. */
#pragma once

#include "config/config.h"

/* More than this many are counted but not kept: nobody reads them. */
#define PROBLEMS_MAX 1000

/* Appends; `where` is copied with its file name. */
void problems_error(struct config_problems *p, struct config_where where, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
void problems_warn(struct config_problems *p, struct config_where where, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
/* Puts them in the order of `files` (others last: the command line, then places unknown), lines and
 * columns. */
void problems_sort(struct config_problems *p, const char *const *files, uint32_t file_count);

/* Of `count` names the one that `wrong` most probably stands for, or NULL when none is near:
 * fewest edits, at most one in three characters; case does not count. */
const char *problems_nearest(const char *wrong, const char *const *names, uint32_t count);

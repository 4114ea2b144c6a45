/* SPDX-License-Identifier: Apache-2.0 */
#include "scratch.h"

#include <errno.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>

#define DESCRIPTORS_MAX 16

bool scratch_open(struct ferrule_str parent, char path[SCRATCH_PATH_BYTES])
{
    int n = snprintf(path, SCRATCH_PATH_BYTES, "%.*s/ferrule-hook-XXXXXX", FERRULE_FMT(parent));
    if (n < 0 || n >= SCRATCH_PATH_BYTES) {
        errno = ENAMETOOLONG;
        return false;
    }
    return mkdtemp(path) != NULL;
}

static int remove_one(const char *path, const struct stat *st, int kind, struct FTW *where)
{
    (void)remove(path); /* what stays makes its folder stay; there is nobody to tell */
    return 0;
}

void scratch_close(const char *path)
{
    nftw(path, remove_one, DESCRIPTORS_MAX, FTW_DEPTH | FTW_PHYS | FTW_MOUNT);
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "control/crash_point.h"

#include "base/buf.h"
#include "base/log.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char *path;

void crash_point_init(const char *state_directory)
{
    free(path);
    path = mem_printf("%s/crash-at", state_directory);
}

void crash_point(const char *step, const char *when)
{
    char wanted[64] = "", here[64];
    FILE *f = path ? fopen(path, "re") : NULL;
    if (!f)
        return;
    size_t n = fread(wanted, 1, sizeof wanted - 1, f);
    fclose(f);
    wanted[n] = 0;
    wanted[strcspn(wanted, "\r\n")] = 0;
    snprintf(here, sizeof here, "%s:%s", step, when);
    if (strcmp(wanted, here) != 0 || unlink(path) == -1)
        return;
    log_warn("test: dying at %s", here);
    kill(getpid(), SIGKILL);
    pause();
}

/* SPDX-License-Identifier: Apache-2.0 */
/* boot/handover.h - what one supervisor leaves to the next at an upgrade, in the same process: text
 * in a memory file whose number stands in the environment, and the descriptors that it names.
 * Thread: the supervisor's.   Owns: nothing.
 * Never: holds a secret. The form is part of what versions promise each other: a key that is not
 * known is an error, a new HANDOVER_VERSION is refused by the check before the upgrade. */
#pragma once

#include "boot/supervisor_impl.h"

#define HANDOVER_VERSION 1
#define HANDOVER_ENV     "FERRULE_HANDOVER"       /* number of the memory file */
#define HANDOVER_FAILED  "FERRULE_UPGRADE_FAILED" /* set: this is the way back, and why */

/* Writes the supervisor's state into a new memory file. ERR_SYSTEM. */
struct result handover_write(const struct supervisor *s, int *ret_fd, struct why *why);
/* Reads it: listeners, children, lock, report, and of the configuration what the children need
 * (s->config, as far as it goes, and s->plan). Nothing is closed on failure. check_only: the
 * descriptors need not be there. ERR_FORMAT, ERR_VERSION. */
struct result handover_read(int fd, struct supervisor *s, bool check_only, struct why *why);
/* Every descriptor of the state, and the memory file, survives the next exec, or does not. */
void handover_keep(const struct supervisor *s, int fd, bool keep);

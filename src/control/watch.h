/* SPDX-License-Identifier: Apache-2.0 */
/* control/watch.h - tells when files have changed, however they are replaced: written in place,
 * renamed over, by a symbolic link turned to another folder, deleted and made again.
 * Thread: control's main thread.   Owns: an inotify descriptor, a timer, copies of the paths.
 * Never: reads a file; says that contents differ (only that the file is another one, or was
 * written to); blocks longer than it takes to look at each path once. */
#pragma once

#include "base/result.h"
#include "control/loop.h"

/* Changes are told when the files were quiet for so long, so that files that are written one after
 * the other come together, and WATCH_LONGEST_MS after the first one at the latest. */
#define WATCH_QUIET_MS   250
#define WATCH_LONGEST_MS 2000
/* All is looked at anew after so long without an event: network file systems tell nothing of what
 * other machines do, and the kernel may be out of watches. */
#define WATCH_POLL_MS 60000

struct watch;

struct watch_options {
    struct loop *loop;
    uint32_t quiet_ms; /* WATCH_QUIET_MS, but in tests */
    /* Paths as they were given to watch_files(), those that changed only; borrowed for the call,
     * which may call watch_files(), but not watch_destroy(). */
    void (*changed)(void *arg, const char *const *paths, uint32_t count);
    void *arg;
};

/* Watches nothing yet. ERR_SYSTEM: no inotify descriptor. */
struct result watch_create(const struct watch_options *options, struct watch **ret,
                           struct why *why);
/* NULL is fine. */
void watch_destroy(struct watch *w);
/* Watches these files in place of those before; a path may be a folder (what lies in it directly
 * and does not begin with a dot is watched, whatever its name) and need not exist. Copied.
 * since_ns: clock_file_ns() when the caller began to read them: what changed after that is told
 * as soon as the loop turns; 0 = only what changes from now on is told. For paths that were watched
 * before, what changed since they were told last is told too. */
void watch_files(struct watch *w, const char *const *paths, uint32_t count, int64_t since_ns);

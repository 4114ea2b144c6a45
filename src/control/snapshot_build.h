/* SPDX-License-Identifier: Apache-2.0 */
/* control/snapshot_build.h - from the checked configuration to the snapshot that workers read.
 * Thread: control.   Owns: what it returns, until snapshot_build_free().
 * Never: fails: the configuration has been checked. */
#pragma once

#include "bridge/snapshot.h"
#include "config/config.h"

/* Texts point into the configuration. Free with snapshot_build_free(), not snapshot_free(). */
struct snapshot *snapshot_build(const struct config *config, uint64_t version);
void snapshot_build_free(struct snapshot *s);

/* Its parts, for snapshot_build.c and its neighbours. */
/* "10.0.0.0/8" or "::1"; IPv4 becomes IPv4-mapped. */
struct snap_prefix snapshot_build_prefix(const char *text);

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
/* ret_indices: for each middleware of the configuration its place in the snapshot, SNAP_NONE for a
 * chain. */
void snapshot_build_middlewares(struct snapshot *s, const struct config *config,
                                uint32_t *ret_indices);
/* Appends the entry point's list and the router's. */
struct snap_range snapshot_build_steps(struct snapshot *s, const uint32_t *indices,
                                       const struct config_middleware_list *outer,
                                       const struct config_middleware_list *inner);

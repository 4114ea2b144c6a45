/* SPDX-License-Identifier: Apache-2.0 */
/* control/snapshot_access.h - the part of a snapshot that says what is logged and counted of
 * requests. Thread: control.   Owns: what snapshot_access_free() frees. Never: copies texts: they
 * are the configuration's. */
#pragma once

#include "bridge/snapshot.h"
#include "config/config.h"

void snapshot_access_build(struct snapshot *s, const struct config *config);
void snapshot_access_free(struct snapshot *s);

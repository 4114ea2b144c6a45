/* SPDX-License-Identifier: Apache-2.0 */
/* control/snapshot_metrics.h - what workers are to count by name, and under which ids.
 * Thread: control.   Owns: nothing.
 * Never: gives one id to two names, or to one name with other buckets. */
#pragma once

#include "bridge/snapshot.h"
#include "config/config.h"

/* Entry points, routers and services are there. */
void snapshot_metrics_build(struct snapshot *s, const struct config *config);

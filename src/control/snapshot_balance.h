/* SPDX-License-Identifier: Apache-2.0 */
/* control/snapshot_balance.h - puts into a snapshot how services share requests out.
 * Thread: control.   Owns: the names of servers in cookies while the snapshot lives.
 * Never: copies the configuration's texts. */
#pragma once

#include "bridge/snapshot.h"
#include "config/config.h"

/* The services and servers of the snapshot are there: fills in what belongs to balancing, and makes
 * the members. */
void snapshot_balance_put(struct snapshot *s, const struct config *config);
/* Frees what snapshot_balance_put() made. */
void snapshot_balance_free(struct snapshot *s);

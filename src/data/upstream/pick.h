/* SPDX-License-Identifier: Apache-2.0 */
/* data/upstream/pick.h - which server of a service gets the next request.
 * Thread: the worker's.   Owns: nothing.
 * Never: gives one that control calls unhealthy or that has no address. */
#pragma once

#include "base/result.h"
#include "bridge/snapshot.h"

#include <stdint.h>

struct worker;

/* Weighted round robin over the servers that may be used; those that lately could not be reached
 * come only when there is no other. Returns an index in snapshot.servers, or SNAP_NONE.
 *   not   a server that was tried already for this request, or SNAP_NONE */
uint32_t pick_server(struct worker *w, const struct snap_service *service, uint32_t not );

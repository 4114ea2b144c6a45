/* SPDX-License-Identifier: Apache-2.0 */
/* control/provider/exchange.h - the ABI's DNS services: one message out, one message back.
 * Thread: the provider child's only one.   Owns: its sockets, within a call.
 * Never: waits past the deadline; takes a datagram that does not answer the message. */
#pragma once

#include "ferrule_provider.h"

/* See struct ferrule_host in the ABI. */
int32_t exchange_dns(const struct ferrule_host *host, const struct ferrule_dns_exchange *x,
                     struct ferrule_buf *reply, struct ferrule_error *error);
int32_t exchange_query(const struct ferrule_host *host, const struct ferrule_dns_query *query,
                       struct ferrule_buf *reply, struct ferrule_error *error);

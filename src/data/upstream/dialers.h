/* SPDX-License-Identifier: Apache-2.0 */
/* data/upstream/dialers.h - the TLS settings towards servers of the present snapshot in one worker.
 * Thread: the worker's.   Owns: its dialers; sessions hold references of their own.
 * Never: makes a dialer before a connection needs it, or anew when a snapshot brings the same
 * transport again: reading the system's CAs costs milliseconds. */
#pragma once

#include "base/result.h"
#include "bridge/snapshot.h"

struct tls_dialer;
struct dialer_entry {
    struct tls_dialer *dialer; /* NULL until used */
    uint64_t id;               /* of its transport */
    bool broken;               /* could not be made; said once */
};

struct dialers {
    struct dialer_entry *entries; /* by index in snapshot.transports */
    uint32_t count;
};

/* Makes room for those of `s`; those of transports that stay as they were are kept. */
void dialers_adopt(struct dialers *set, const struct snapshot *s);
void dialers_clear(struct dialers *set);
/* The dialer of the transport with this id; makes it when it is not there yet. NULL: it cannot be
 * made (logged), or the transport went with an older snapshot. `s` is the one adopted last. */
struct tls_dialer *dialers_get(struct dialers *set, const struct snapshot *s, uint64_t id);

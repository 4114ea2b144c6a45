/* SPDX-License-Identifier: Apache-2.0 */
/* data/policy.h - the TLS policies of the present snapshot in one worker.
 * Thread: the worker's.   Owns: its policies; sessions hold references of their own, so a policy
 * goes with its snapshot.
 * Never: makes a policy before a connection needs it. */
#pragma once

#include "base/result.h"
#include "bridge/snapshot.h"

struct tls_policy;
struct policy_entry {
    struct tls_policy *policy; /* NULL until used */
    uint32_t tag;              /* of its name and client auth: the same in every snapshot */
    bool broken;               /* could not be made; said once */
};

struct policy_set {
    struct policy_entry *entries; /* by index in snapshot.tls */
    uint32_t count;
};

/* Drops the old policies, makes room for those of `s`. */
void policy_adopt(struct policy_set *set, const struct snapshot *s);
void policy_clear(struct policy_set *set);
/* Makes it when it is not there yet; NULL when it cannot be made (logged). */
struct tls_policy *policy_get(struct policy_set *set, const struct snapshot *s, uint32_t tls);

/* SPDX-License-Identifier: Apache-2.0 */
/* route53/rrset.h - the TXT set at one name as Route 53 shows it, and the change that adds or
 * removes one value.
 * Thread: the plug-in's only one.   Owns: nothing; a set points into the answer it was read from.
 * Never: loses a value that it does not know. */
#pragma once

#include "ferrule_provider.h"

#include <stdbool.h>

#define RRSET_VALUES_MAX  400 /* Route 53 allows as many */
#define RRSET_VALUE_BYTES 4400

struct rrset {
    uint32_t ttl_s;
    uint32_t count;                              /* 0: there is no such set */
    struct ferrule_str values[RRSET_VALUES_MAX]; /* still with entities */
    bool routed; /* one of several sets at the name, by a routing policy: not to be touched */
};

/* Reads the set of exactly this name and of type TXT out of a ListResourceRecordSets answer.
 * FERRULE_RETRY: the answer is damaged. */
int32_t rrset_read(struct ferrule_str body, struct ferrule_str name, struct rrset *ret,
                   struct ferrule_error *error);
/* The place of "value" among the values, or -1. */
int rrset_find(const struct rrset *set, struct ferrule_str value);
/* Appends the ChangeResourceRecordSets request that makes the set what it is with (or, remove,
 * without) the value; its last value's removal deletes the set as it was read. The value is known
 * not to be there, or to be there. */
void rrset_put_change(const struct ferrule_host *host, const struct rrset *set,
                      struct ferrule_str name, struct ferrule_str value, uint32_t ttl_s,
                      bool remove, struct ferrule_buf *body);
/* Whether two names are equal but for case, a final dot, and Route 53's \ooo for a byte. */
bool rrset_names_equal(struct ferrule_str a, struct ferrule_str b);

/* SPDX-License-Identifier: Apache-2.0 */
/* route53/credentials.h - where Amazon's keys come from: environment, web identity, profile files,
 * container, instance metadata (IMDSv2); and the role that is taken with them.
 * Thread: the plug-in's only one.   Owns: the keys, in memory only, until credentials_close().
 * Never: asks anybody before the first request needs keys; asks STS again before they expire;
 * prints a key. */
#pragma once

#include "ferrule_provider.h"
#include "profile.h"

#define CREDENTIALS_TOKEN_BYTES 8192

struct keys {
    char id[256], secret[256], token[CREDENTIALS_TOKEN_BYTES];
    int64_t expires_s; /* wall clock; 0 = never */
};

struct credentials {
    const struct ferrule_host *host;
    char region[64]; /* "us-east-1" unless configured */
    char profile_name[128];
    struct profile profile, source; /* the profile, and its source_profile */
    struct keys keys;               /* what requests are signed with; id empty: not asked for yet */
};

/* Reads options and files. FERRULE_CONFIG. */
int32_t credentials_open(const struct ferrule_host *host, struct credentials *ret,
                         struct ferrule_error *error);
/* Makes c->keys good for a while. */
int32_t credentials_get(struct credentials *c, struct ferrule_error *error);
/* The service says that the keys have expired: the next get asks for new ones. */
void credentials_drop(struct credentials *c);
void credentials_close(struct credentials *c);

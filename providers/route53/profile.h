/* SPDX-License-Identifier: Apache-2.0 */
/* route53/profile.h - Amazon's files of profiles: ~/.aws/credentials and ~/.aws/config.
 * Thread: the plug-in's only one.   Owns: the values, in the struct itself.
 * Never: prints a value. */
#pragma once

#include "ferrule_provider.h"

#include <stdbool.h>

#define PROFILE_VALUE_BYTES 4096

/* What one profile says; empty where it says nothing. */
struct profile {
    bool found;
    char access_key_id[256], secret_access_key[256], session_token[PROFILE_VALUE_BYTES];
    char region[64], role_arn[256], source_profile[128], external_id[256], role_session_name[128];
    char credential_source[64], web_identity_token_file[1024];
    bool other; /* it has sso_... or credential_process, which nothing here can use */
};

/* Adds what the file says of the profile to *p; what is there already stays. is_config: sections of
 * that file are named "profile NAME", except "default". A missing file says nothing. False with
 * errno when it cannot be read. */
bool profile_read(const char *path, const char *name, bool is_config, struct profile *p);

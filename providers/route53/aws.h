/* SPDX-License-Identifier: Apache-2.0 */
/* route53/aws.h - one request to a service of Amazon's, signed by the host (SigV4), and what its
 * answer means.
 * Thread: the plug-in's only one.   Owns: nothing.
 * Never: sends a request a second time that might have been done, unless doing it twice is doing it
 * once. */
#pragma once

#include "credentials.h"

#define AWS_CODE_BYTES 64

struct aws_request {
    const char *method;
    struct ferrule_str url;       /* parameters sorted by name */
    struct ferrule_str body;      /* empty: none */
    const char *content_type;     /* with a body */
    const char *service, *region; /* NULL region: not signed */
    const struct keys *keys;      /* NULL with a NULL region */
    uint32_t tries;               /* 1 or more */
};

/* Sends it and waits for an answer of 200; tries again what is worth it. On success *ret must be
 * freed with http_free(). On failure `code` is Amazon's error code or empty. */
int32_t aws_call(const struct ferrule_host *host, const struct aws_request *q,
                 const struct ferrule_http_response **ret, char code[AWS_CODE_BYTES],
                 struct ferrule_error *error);

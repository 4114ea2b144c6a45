/* SPDX-License-Identifier: Apache-2.0 */
/* control/acme/problem.h - what a CA's refusal means and what is done next (RFC 8555 section 6.7).
 * Thread: any.   Owns: nothing.
 * Never: decides when the next try is (ledger.h does). */
#pragma once

#include <stdint.h>

enum acme_class {
    ACME_OK = 0,
    ACME_NONCE,        /* repeated at once with the new nonce */
    ACME_RATE,         /* wait at least Retry-After */
    ACME_USER_ACTION,  /* a person must visit a page (new terms) */
    ACME_ACCOUNT,      /* the CA does not know the account: register again */
    ACME_MALFORMED,    /* request or object not accepted */
    ACME_UNAUTHORIZED, /* proof or account not accepted */
    ACME_CAA,
    ACME_DNS,
    ACME_CONNECTION,
    ACME_REJECTED, /* name, key or request that this CA never accepts */
    ACME_NOT_READY,
    ACME_SERVER,   /* the CA's own fault: 5xx */
    ACME_NETWORK,  /* no whole answer */
    ACME_PROTOCOL, /* an answer that is not ACME */
    ACME_CONFIG,   /* a person has to change ferrule's configuration */
    ACME_CLASSES
};

/* Class of a refusal.
 *   type    whole URN, or "" when the answer was no problem document
 *   status  HTTP status, 0 = none */
enum acme_class problem_class(const char *type, uint32_t status);
/* What a person does about it; "" for unknown types. Static memory. */
const char *problem_advice(const char *type);
/* "rate limit", "network", ... for logs and JSON. Static memory. */
const char *problem_class_name(enum acme_class c);

/* SPDX-License-Identifier: Apache-2.0 */
/* control/acme/document.h - the JSON documents of a CA, checked and bounded (RFC 8555 section 7.1).
 * Thread: any.   Owns: the texts of a parsed document, until its _free().
 * Never: hands on a URL that is not one, a token with other than base64url characters, text with
 * control bytes, or a list longer than its limit. */
#pragma once

#include "base/result.h"
#include "base/span.h"

#define DOCUMENT_URL_MAX            2048
#define DOCUMENT_TOKEN_MAX          256
#define DOCUMENT_AUTHORIZATIONS_MAX 128
#define DOCUMENT_CHALLENGES_MAX     16
#define DOCUMENT_PROFILES_MAX       16
#define DOCUMENT_CAA_MAX            8
#define DOCUMENT_TEXT_MAX           384

enum document_status {
    DOCUMENT_STATUS_UNKNOWN = 0,
    DOCUMENT_STATUS_PENDING,
    DOCUMENT_STATUS_READY,
    DOCUMENT_STATUS_PROCESSING,
    DOCUMENT_STATUS_VALID,
    DOCUMENT_STATUS_INVALID,
    DOCUMENT_STATUS_EXPIRED,
    DOCUMENT_STATUS_DEACTIVATED,
    DOCUMENT_STATUS_REVOKED,
};

/* RFC 7807, RFC 8555 section 6.7. Both texts are "" when absent. */
struct document_problem {
    char type[128];
    char detail[DOCUMENT_TEXT_MAX]; /* with the subproblems behind it */
};

/* Section 7.1.1. Optional URLs are NULL when absent. */
struct document_directory {
    char *new_nonce, *new_account, *new_order;
    char *revoke_cert, *key_change, *renewal_info, *terms;
    char *profiles[DOCUMENT_PROFILES_MAX]; /* names */
    uint32_t profile_count;
    char *caa_identities[DOCUMENT_CAA_MAX]; /* what CAA records call the CA */
    uint32_t caa_identity_count;
    bool external_account_required;
};

/* Section 7.1.3. */
struct document_order {
    enum document_status status;
    char *authorizations[DOCUMENT_AUTHORIZATIONS_MAX];
    uint32_t authorization_count;
    char *finalize;    /* never NULL */
    char *certificate; /* NULL before the order is valid */
    struct document_problem problem;
};

struct document_challenge {
    char type[32];
    char *url;   /* never NULL */
    char *token; /* NULL for types without one */
    enum document_status status;
    struct document_problem problem;
};

/* Section 7.1.4. */
struct document_authorization {
    enum document_status status;
    char *identifier; /* "a.test", without "*." */
    bool wildcard;
    struct document_challenge challenges[DOCUMENT_CHALLENGES_MAX];
    uint32_t challenge_count;
};

/* RFC 9773 section 4.2. */
struct document_renewal {
    int64_t start_s, end_s;         /* start <= end */
    char url[DOCUMENT_URL_MAX + 1]; /* explanationURL, "" when absent */
};

const char *document_status_name(enum document_status status);

/* All return ERR_FORMAT with the reason. `ret` is filled on success only; free it then. */
struct result document_directory_parse(struct span json, struct document_directory *ret,
                                       struct why *why);
void document_directory_free(struct document_directory *d);
struct result document_order_parse(struct span json, struct document_order *ret, struct why *why);
void document_order_free(struct document_order *o);
struct result document_authorization_parse(struct span json, struct document_authorization *ret,
                                           struct why *why);
void document_authorization_free(struct document_authorization *a);
/* Account objects (section 7.1.2) carry nothing but their status that is needed. */
struct result document_account_parse(struct span json, enum document_status *ret, struct why *why);
/* Nothing to free. */
struct result document_renewal_parse(struct span json, struct document_renewal *ret,
                                     struct why *why);
/* Seconds since 1970 of an RFC 3339 time; ERR_FORMAT. Fractions are cut off. */
struct result document_time_parse(const char *text, int64_t *ret);
/* A problem document; anything else gives empty texts. Nothing to free. */
void document_problem_parse(struct span json, struct document_problem *ret);
/* True for an absolute https URL (http too when `plain` is set) of printable ASCII. */
bool document_is_url(const char *text, bool plain);

/* SPDX-License-Identifier: Apache-2.0 */
/* rfc2136/tsig.h - signing DNS messages and checking the answer's signature: RFC 8945.
 * Thread: the caller's.   Owns: nothing; a key is wiped by tsig_key_wipe().
 * Never: takes an answer without a valid signature for a good one; prints a secret. */
#pragma once

#include "dns.h"

#define TSIG_SECRET_BYTES_MAX 512
#define TSIG_FUDGE_S          300
/* What signing adds at most: two names, fixed fields, the largest MAC. */
#define TSIG_BYTES_MAX (2 * DNS_NAME_BYTES + 26 + FERRULE_DIGEST_MAX)

enum {
    TSIG_ERROR_BADSIG = 16,
    TSIG_ERROR_BADKEY = 17,
    TSIG_ERROR_BADTIME = 18,
    TSIG_ERROR_BADTRUNC = 22,
};

struct tsig_key {
    struct dns_name name, algorithm;
    int32_t digest; /* enum ferrule_digest, 0 = no key */
    uint8_t secret[TSIG_SECRET_BYTES_MAX];
    size_t secret_len;
};

/* What must be remembered of a signed request to check its answer. */
struct tsig_mac {
    uint8_t bytes[FERRULE_DIGEST_MAX];
    size_t len;
};

enum tsig_verdict {
    TSIG_GOOD = 0,
    TSIG_ABSENT,    /* the answer is not signed */
    TSIG_DAMAGED,   /* it has a TSIG record that cannot be read, or not in the last place */
    TSIG_OTHER_KEY, /* signed with another key or algorithm */
    TSIG_FORGED,    /* the MAC is not that of this key */
    TSIG_CLOCK,     /* signed at a time too far from ours */
    TSIG_REFUSED,   /* the server says that it could not check ours: see error */
};

struct tsig_answer {
    enum tsig_verdict verdict;
    uint16_t error;   /* TSIG_ERROR_... of the server, 0 = none */
    int64_t server_s; /* server's clock, when it told (BADTIME) or signed; 0 = unknown */
};

/* "hmac-sha256", any case, with or without final dot. Returns the digest, 0 for an unknown one. */
int32_t tsig_algorithm(struct ferrule_str text, struct dns_name *ret);
/* Base64 as tsig-keygen prints it. False when it is none, empty, or too long. */
bool tsig_secret(struct ferrule_str base64, struct tsig_key *key);
/* Appends a TSIG record to the message in w (RFC 8945 section 4.3.3) and remembers its MAC. */
void tsig_sign(const struct ferrule_host *host, const struct tsig_key *key, int64_t now_s,
               struct dns_writer *w, struct tsig_mac *ret);
/* Checks an answer to a request with this MAC (RFC 8945 section 5.3). */
struct tsig_answer tsig_check(const struct ferrule_host *host, const struct tsig_key *key,
                              const struct tsig_mac *request, int64_t now_s,
                              const struct dns_message *answer);
void tsig_key_wipe(struct tsig_key *key);

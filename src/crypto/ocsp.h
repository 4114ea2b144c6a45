/* SPDX-License-Identifier: Apache-2.0 */
/* crypto/ocsp.h - asking whether a certificate is revoked, and judging the answer (RFC 6960).
 * Thread: any.   Owns: nothing.
 * Never: sends anything; calls an answer good whose signature, certificate or dates it has not
 * checked; asks with a nonce (responders answer from what they have signed before, RFC 5019). */
#pragma once

#include "base/buf.h"
#include "base/result.h"

#define OCSP_RESPONSE_MAX 16000 /* bytes; a longer answer is refused */
#define OCSP_CLOCK_SKEW_S 300   /* a responder's clock may be this far ahead of ours */
#define OCSP_NO_NEXT_S    3600  /* how long an answer without nextUpdate is used */
#define OCSP_REASON_NONE  0xff

enum ocsp_status { OCSP_GOOD = 1, OCSP_REVOKED, OCSP_UNKNOWN };

struct ocsp_answer {
    enum ocsp_status status;
    int64_t this_update_s;
    int64_t until_s;   /* nextUpdate, or the end of the signer's certificate; the answer may not be
                          shown from then on */
    int64_t revoked_s; /* of OCSP_REVOKED */
    uint8_t reason;    /* of OCSP_REVOKED: CRLReason (RFC 5280 section 5.3.1), or _NONE */
    /* What is signed, by which algorithm, the signature, and the certificate of the responder
     * (empty: the issuer itself has signed): parts of the response. */
    struct span signed_part, algorithm, signature, signer;
};

/* The certificate asked about and the one that signed it, both in DER. */
struct ocsp_subject {
    struct span leaf, issuer;
};

/* Appends an OCSPRequest for one certificate (section 4.1). ERR_FORMAT: one of the two is
 * damaged; ERR_MISMATCH: they are not subject and issuer. */
struct result ocsp_request_make(const struct ocsp_subject *subject, struct buf *out,
                                struct why *why);
/* Judges an OCSPResponse (section 4.2.2.2, 3.2): it is about this certificate, signed by its issuer
 * or by a responder that the issuer has named for this, and of now. Any bytes are safe.
 * ERR_REMOTE: the responder has no answer (tryLater and the like); ERR_FORMAT: damaged, or of a
 * kind nobody here knows; ERR_MISMATCH: about another certificate, or not signed by whom it has to
 * be; ERR_TIMEOUT: its time is over or has not come; ERR_TOO_LARGE. */
struct result ocsp_response_read(struct span response, const struct ocsp_subject *subject,
                                 int64_t now_s, struct ocsp_answer *ret, struct why *why);
/* Appends the response of this answer to be shown to clients: what is signed, the signature and the
 * responder's certificate. Whatever else stood beside it anybody on the way may have put there, and
 * clients that find it odd would refuse the handshake. The response is still there. */
void ocsp_answer_put(const struct ocsp_answer *answer, struct buf *out);
/* "good", "revoked" or "unknown". */
const char *ocsp_status_name(enum ocsp_status status);

/* SPDX-License-Identifier: Apache-2.0 */
#include "crypto/ocsp.h"

#include "crypto/der.h"
#include "crypto/digest.h"
#include "crypto/verify.h"

#define OID(name, bytes)                                                                           \
    static const struct span name = {(const uint8_t *)(bytes), sizeof(bytes) - 1}
OID(oid_sha1, "\x2b\x0e\x03\x02\x1a");
OID(oid_sha256, "\x60\x86\x48\x01\x65\x03\x04\x02\x01");
OID(oid_basic, "\x2b\x06\x01\x05\x05\x07\x30\x01\x01");
OID(oid_ext_key_usage, "\x55\x1d\x25");
OID(oid_ocsp_signing, "\x2b\x06\x01\x05\x05\x07\x03\x09");
OID(oid_pkcs1, "\x2a\x86\x48\x86\xf7\x0d\x01\x01"); /* what RSA's begin with */

#define STATUS_NAMES 7

/* What matters here of a certificate; spans of its DER. */
struct parts {
    struct span whole;
    struct span tbs, algorithm, signature; /* tbs with its tag; content of algorithm */
    struct span serial;                    /* content */
    struct span issuer, subject;           /* Names with their tags */
    struct span spki, key;                 /* with its tag; the bits of the key */
    int64_t not_before_s, not_after_s;
    bool ocsp_signing; /* may answer for its issuer (section 4.2.2.2) */
};

/* One answer and its frame. */
struct response {
    struct span signed_part, algorithm, oid, signature, certs; /* oid: of the algorithm */
    struct span id_name, id_key;                               /* who signed: one of the two */
    struct span singles;
};

struct single {
    struct span hash, issuer_name, issuer_key, serial;
    struct ocsp_answer answer; /* until_s 0: no nextUpdate */
};

/* ---- certificates --------------------------------------------------------------------------- */

static struct result read_purposes(struct span value, struct parts *p)
{
    struct span list, oid;
    TRY(der_get(&value, DER_SEQUENCE, &list));
    while (list.len) {
        TRY(der_get(&list, DER_OID, &oid));
        p->ocsp_signing = p->ocsp_signing || span_eq(oid, oid_ocsp_signing);
    }
    return result_ok();
}

static struct result read_extensions(struct span in, struct parts *p)
{
    struct span explicit, list, ext, oid, value;
    while (in.len && !der_is(in, DER_CONSTRUCTED(3)))
        TRY(der_any(&in, NULL, NULL, NULL)); /* unique identifiers */
    if (in.len == 0)
        return result_ok();
    TRY(der_get(&in, DER_CONSTRUCTED(3), &explicit));
    TRY(der_get(&explicit, DER_SEQUENCE, &list));
    while (list.len) {
        TRY(der_get(&list, DER_SEQUENCE, &ext));
        TRY(der_get(&ext, DER_OID, &oid));
        if (der_is(ext, DER_BOOLEAN))
            TRY(der_any(&ext, NULL, NULL, NULL));
        TRY(der_get(&ext, DER_OCTET_STRING, &value));
        if (span_eq(oid, oid_ext_key_usage))
            TRY(read_purposes(value, p));
    }
    return result_ok();
}

/* A SEQUENCE with its tag, as Names and keys are compared and hashed. */
static struct result get_whole(struct span *in, struct span *ret)
{
    return der_is(*in, DER_SEQUENCE) ? der_any(in, NULL, NULL, ret) : result_fail(ERR_FORMAT);
}

static struct result read_tbs(struct span in, struct parts *p)
{
    struct span validity, spki, algorithm;
    TRY(der_get(&in, DER_SEQUENCE, &in));
    if (der_is(in, DER_CONSTRUCTED(0)))
        TRY(der_any(&in, NULL, NULL, NULL)); /* version */
    TRY(der_get(&in, DER_INTEGER, &p->serial));
    TRY(der_get(&in, DER_SEQUENCE, &algorithm));
    if (!span_eq(algorithm, p->algorithm)) /* the one outside is not signed */
        return result_fail(ERR_FORMAT);
    TRY(get_whole(&in, &p->issuer));
    TRY(der_get(&in, DER_SEQUENCE, &validity));
    TRY(der_get_time(&validity, &p->not_before_s));
    TRY(der_get_time(&validity, &p->not_after_s));
    TRY(get_whole(&in, &p->subject));
    TRY(get_whole(&in, &p->spki));
    spki = p->spki;
    TRY(der_get(&spki, DER_SEQUENCE, &spki));
    TRY(der_get(&spki, DER_SEQUENCE, NULL));
    TRY(der_get_bits(&spki, &p->key));
    return read_extensions(in, p);
}

/* The next certificate of *in. */
static struct result read_certificate(struct span *in, struct parts *ret)
{
    struct span all;
    *ret = (struct parts){0};
    TRY(get_whole(in, &ret->whole));
    all = ret->whole;
    TRY(der_get(&all, DER_SEQUENCE, &all));
    TRY(get_whole(&all, &ret->tbs));
    TRY(der_get(&all, DER_SEQUENCE, &ret->algorithm));
    TRY(der_get_bits(&all, &ret->signature));
    return all.len ? result_fail(ERR_FORMAT) : read_tbs(ret->tbs, ret);
}

static struct result read_subject(const struct ocsp_subject *subject, struct parts *leaf,
                                  struct parts *issuer, struct why *why)
{
    struct span leaf_der = subject->leaf, issuer_der = subject->issuer;
    struct result r = read_certificate(&leaf_der, leaf);
    if (result_is_ok(r))
        r = read_certificate(&issuer_der, issuer);
    if (!result_is_ok(r))
        return why_fail(why, r.code, "the certificate or its issuer's is damaged");
    if (!span_eq(leaf->issuer, issuer->subject))
        return why_fail(why, ERR_MISMATCH,
                        "the second certificate of the chain is not the issuer of the first");
    return r;
}

/* ---- asking --------------------------------------------------------------------------------- */

static void put_hash(struct buf *out, struct span in)
{
    uint8_t digest[DIGEST_BYTES_MAX];
    digest_once(DIGEST_SHA1, in, digest);
    der_put(out, DER_OCTET_STRING, span_of(digest, digest_bytes(DIGEST_SHA1)));
}

/* SHA-1 names the issuer here, it protects nothing; responders know no other (RFC 5019 2.1.1). */
struct result ocsp_request_make(const struct ocsp_subject *subject, struct buf *out,
                                struct why *why)
{
    struct parts leaf, issuer;
    TRY(read_subject(subject, &leaf, &issuer, why));
    size_t all = der_begin(out, DER_SEQUENCE);
    size_t tbs = der_begin(out, DER_SEQUENCE);
    size_t list = der_begin(out, DER_SEQUENCE);
    size_t request = der_begin(out, DER_SEQUENCE);
    size_t id = der_begin(out, DER_SEQUENCE);
    size_t algorithm = der_begin(out, DER_SEQUENCE);
    der_put(out, DER_OID, oid_sha1);
    der_put(out, DER_NULL, span_of(NULL, 0));
    der_end(out, algorithm);
    put_hash(out, issuer.subject);
    put_hash(out, issuer.key);
    der_put(out, DER_INTEGER, leaf.serial);
    der_end(out, id);
    der_end(out, request);
    der_end(out, list);
    der_end(out, tbs);
    der_end(out, all);
    return result_ok();
}

/* ---- reading -------------------------------------------------------------------------------- */

/* OCSPResponse up to the BasicOCSPResponse. */
static struct result read_envelope(struct span in, struct span *ret_basic, struct why *why)
{
    static const char *const names[STATUS_NAMES] = {
        "", "the request is malformed",     "internal error",   "try later",
        "", "the request has to be signed", "it may not answer"};
    struct span all, status, explicit, bytes, oid;
    TRY(der_get(&in, DER_SEQUENCE, &all));
    TRY(der_get(&all, DER_ENUMERATED, &status));
    if (in.len || status.len != 1)
        return result_fail(ERR_FORMAT);
    if (status.ptr[0])
        return why_fail(why, ERR_REMOTE, "the responder says: %s (status %u)",
                        status.ptr[0] < STATUS_NAMES ? names[status.ptr[0]] : "", status.ptr[0]);
    TRY(der_get(&all, DER_CONSTRUCTED(0), &explicit));
    TRY(der_get(&explicit, DER_SEQUENCE, &bytes));
    TRY(der_get(&bytes, DER_OID, &oid));
    TRY(der_get(&bytes, DER_OCTET_STRING, ret_basic));
    return span_eq(oid, oid_basic) && !all.len ? result_ok() : result_fail(ERR_FORMAT);
}

static struct result read_basic(struct span in, struct response *ret)
{
    struct span all, data, explicit, algorithm;
    int64_t produced_s;
    *ret = (struct response){0};
    TRY(der_get(&in, DER_SEQUENCE, &all));
    TRY(get_whole(&all, &ret->signed_part));
    TRY(der_get(&all, DER_SEQUENCE, &ret->algorithm));
    algorithm = ret->algorithm;
    TRY(der_get(&algorithm, DER_OID, &ret->oid));
    TRY(der_get_bits(&all, &ret->signature));
    if (der_is(all, DER_CONSTRUCTED(0))) {
        TRY(der_get(&all, DER_CONSTRUCTED(0), &explicit));
        TRY(der_get(&explicit, DER_SEQUENCE, &ret->certs));
    }
    if (in.len || all.len)
        return result_fail(ERR_FORMAT);
    data = ret->signed_part;
    TRY(der_get(&data, DER_SEQUENCE, &data));
    if (der_is(data, DER_CONSTRUCTED(0)))
        TRY(der_any(&data, NULL, NULL, NULL)); /* version */
    if (der_is(data, DER_CONSTRUCTED(1))) {
        TRY(der_get(&data, DER_CONSTRUCTED(1), &explicit));
        TRY(get_whole(&explicit, &ret->id_name));
    } else {
        TRY(der_get(&data, DER_CONSTRUCTED(2), &explicit));
        TRY(der_get(&explicit, DER_OCTET_STRING, &ret->id_key));
    }
    TRY(der_get_time(&data, &produced_s));
    return der_get(&data, DER_SEQUENCE, &ret->singles);
}

static struct result read_status(struct span *in, struct ocsp_answer *ret)
{
    struct span v, reason;
    uint8_t tag;
    TRY(der_any(in, &tag, &v, NULL));
    ret->reason = OCSP_REASON_NONE;
    if (tag == DER_CONTEXT(0) || tag == DER_CONTEXT(2)) {
        ret->status = tag == DER_CONTEXT(0) ? OCSP_GOOD : OCSP_UNKNOWN;
        return v.len ? result_fail(ERR_FORMAT) : result_ok();
    }
    if (tag != DER_CONSTRUCTED(1))
        return result_fail(ERR_FORMAT);
    ret->status = OCSP_REVOKED;
    TRY(der_get_time(&v, &ret->revoked_s));
    if (v.len == 0)
        return result_ok();
    TRY(der_get(&v, DER_CONSTRUCTED(0), &v));
    TRY(der_get(&v, DER_ENUMERATED, &reason));
    if (reason.len != 1)
        return result_fail(ERR_FORMAT);
    ret->reason = reason.ptr[0];
    return result_ok();
}

static struct result read_single(struct span *in, struct single *ret)
{
    struct span all, id, algorithm, next;
    *ret = (struct single){0};
    TRY(der_get(in, DER_SEQUENCE, &all));
    TRY(der_get(&all, DER_SEQUENCE, &id));
    TRY(der_get(&id, DER_SEQUENCE, &algorithm));
    TRY(der_get(&algorithm, DER_OID, &ret->hash));
    TRY(der_get(&id, DER_OCTET_STRING, &ret->issuer_name));
    TRY(der_get(&id, DER_OCTET_STRING, &ret->issuer_key));
    TRY(der_get(&id, DER_INTEGER, &ret->serial));
    TRY(read_status(&all, &ret->answer));
    TRY(der_get_time(&all, &ret->answer.this_update_s));
    if (!der_is(all, DER_CONSTRUCTED(0)))
        return result_ok();
    TRY(der_get(&all, DER_CONSTRUCTED(0), &next));
    return der_get_time(&next, &ret->answer.until_s);
}

/* ---- judging -------------------------------------------------------------------------------- */

static bool hash_is(enum digest algorithm, struct span in, struct span hash)
{
    uint8_t digest[DIGEST_BYTES_MAX];
    digest_once(algorithm, in, digest);
    return span_eq(span_of(digest, digest_bytes(algorithm)), hash);
}

static bool is_about(const struct single *s, const struct parts *leaf, const struct parts *issuer)
{
    bool sha1 = span_eq(s->hash, oid_sha1);
    enum digest algorithm = sha1 ? DIGEST_SHA1 : DIGEST_SHA256;
    return (sha1 || span_eq(s->hash, oid_sha256)) && span_eq(s->serial, leaf->serial) &&
           hash_is(algorithm, issuer->subject, s->issuer_name) &&
           hash_is(algorithm, issuer->key, s->issuer_key);
}

static bool is_signer(const struct response *r, const struct parts *cert)
{
    return r->id_name.len ? span_eq(r->id_name, cert->subject)
                          : hash_is(DIGEST_SHA1, cert->key, r->id_key);
}

/* A responder of its own speaks for the issuer when the issuer itself has made it one. */
static bool is_delegate(const struct parts *cert, const struct parts *issuer, int64_t now_s)
{
    return cert->ocsp_signing && span_eq(cert->issuer, issuer->subject) &&
           cert->not_before_s <= now_s && now_s <= cert->not_after_s &&
           result_is_ok(
               verify_signature(issuer->spki, cert->algorithm, cert->tbs, cert->signature));
}

/* Who has signed, and until when that counts. A damaged certificate behind the signer's own does
 * not matter. */
static struct result check_signer(const struct response *r, const struct parts *issuer,
                                  int64_t now_s, struct ocsp_answer *a, struct why *why)
{
    struct span certs = r->certs;
    struct parts cert;
    a->signed_part = r->signed_part;
    a->algorithm = r->oid;
    a->signature = r->signature;
    if (is_signer(r, issuer) &&
        result_is_ok(verify_signature(issuer->spki, r->algorithm, r->signed_part, r->signature)))
        return result_ok();
    while (certs.len) {
        if (!result_is_ok(read_certificate(&certs, &cert)))
            return why_fail(why, ERR_FORMAT, "the responder's certificate is damaged");
        if (!is_signer(r, &cert) || !is_delegate(&cert, issuer, now_s) ||
            !result_is_ok(verify_signature(cert.spki, r->algorithm, r->signed_part, r->signature)))
            continue;
        a->signer = cert.whole;
        if (a->until_s > cert.not_after_s)
            a->until_s = cert.not_after_s;
        return result_ok();
    }
    return why_fail(why, ERR_MISMATCH,
                    "the answer is not signed by the certificate's issuer, nor by a responder that "
                    "the issuer has named");
}

static struct result check_times(const struct ocsp_answer *a, int64_t now_s, struct why *why)
{
    if (a->this_update_s > now_s + OCSP_CLOCK_SKEW_S)
        return why_fail(why, ERR_TIMEOUT,
                        "the answer is of the future, by %lld s: one of the two clocks is wrong",
                        (long long)(a->this_update_s - now_s));
    if (a->until_s <= now_s)
        return why_fail(why, ERR_TIMEOUT, "the answer is stale since %lld s",
                        (long long)(now_s - a->until_s));
    return result_ok();
}

/* Finds the answer about the certificate. Reads all of them: a damaged one is no place to stop. */
static struct result find_single(struct span singles, const struct parts *leaf,
                                 const struct parts *issuer, struct ocsp_answer *ret)
{
    struct single single;
    bool found = false;
    while (singles.len) {
        TRY(read_single(&singles, &single));
        if (found || !is_about(&single, leaf, issuer))
            continue;
        *ret = single.answer;
        found = true;
    }
    return found ? result_ok() : result_fail(ERR_MISMATCH);
}

struct result ocsp_response_read(struct span response, const struct ocsp_subject *subject,
                                 int64_t now_s, struct ocsp_answer *ret, struct why *why)
{
    struct parts leaf, issuer;
    struct response basic;
    struct span inner;
    struct ocsp_answer answer = {0};
    struct why said = {{0}};
    TRY(read_subject(subject, &leaf, &issuer, why));
    if (response.len > OCSP_RESPONSE_MAX)
        return why_fail(why, ERR_TOO_LARGE, "the answer is larger than %d bytes",
                        OCSP_RESPONSE_MAX);
    struct result r = read_envelope(response, &inner, &said);
    if (r.code == ERR_REMOTE)
        return why_fail(why, r.code, "%s", said.text);
    if (result_is_ok(r))
        r = read_basic(inner, &basic);
    if (result_is_ok(r))
        r = find_single(basic.singles, &leaf, &issuer, &answer);
    if (r.code == ERR_MISMATCH)
        return why_fail(why, r.code, "the answer is about another certificate");
    if (!result_is_ok(r))
        return why_fail(why, r.code, "the answer is no OCSP response, or a damaged one");
    if (!answer.until_s)
        answer.until_s = answer.this_update_s + OCSP_NO_NEXT_S;
    TRY(check_signer(&basic, &issuer, now_s, &answer, why));
    TRY(check_times(&answer, now_s, why));
    *ret = answer;
    return result_ok();
}

void ocsp_answer_put(const struct ocsp_answer *a, struct buf *out)
{
    size_t all = der_begin(out, DER_SEQUENCE);
    der_put(out, DER_ENUMERATED, SPAN_LITERAL("\0"));
    size_t explicit = der_begin(out, DER_CONSTRUCTED(0));
    size_t bytes = der_begin(out, DER_SEQUENCE);
    der_put(out, DER_OID, oid_basic);
    size_t string = der_begin(out, DER_OCTET_STRING);
    size_t basic = der_begin(out, DER_SEQUENCE);
    buf_put_span(out, a->signed_part);
    size_t algorithm = der_begin(out, DER_SEQUENCE);
    der_put(out, DER_OID, a->algorithm);
    if (span_starts_with(a->algorithm, oid_pkcs1))
        der_put(out, DER_NULL, span_of(NULL, 0));
    der_end(out, algorithm);
    der_put_bits(out, a->signature);
    if (a->signer.len) {
        size_t certs = der_begin(out, DER_CONSTRUCTED(0));
        der_put(out, DER_SEQUENCE, a->signer);
        der_end(out, certs);
    }
    der_end(out, basic);
    der_end(out, string);
    der_end(out, bytes);
    der_end(out, explicit);
    der_end(out, all);
}

const char *ocsp_status_name(enum ocsp_status status)
{
    return status == OCSP_GOOD ? "good" : status == OCSP_REVOKED ? "revoked" : "unknown";
}

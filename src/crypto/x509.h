/* SPDX-License-Identifier: Apache-2.0 */
/* crypto/x509.h - certificates: reading what ferrule needs of one, chains in PEM and DER, making
 * requests and self-signed certificates (RFC 5280, RFC 2986).
 * Thread: any.   Owns: what x509_free() frees.
 * Never: validates a path to a root (that is the client's business). */
#pragma once

#include "base/buf.h"
#include "base/result.h"
#include "crypto/key.h"

#define X509_NAMES_MAX 128

struct x509 {
    char **names; /* DNS names (lower case) and IP addresses in text: subjectAltName, else CN */
    uint32_t name_count;
    char *subject;    /* one line */
    char *issuer;     /* one line */
    char *issuer_cn;  /* "" when absent */
    char serial[128]; /* hex */
    int64_t not_before_s, not_after_s;
    bool is_rsa;
    uint32_t key_bits;
    uint8_t sha256[32];    /* of the DER */
    struct buf spki;       /* SubjectPublicKeyInfo DER */
    struct buf aki;        /* authority key identifier, raw; empty when absent (RFC 9773) */
    struct buf serial_der; /* serial number content bytes */
    bool must_staple;
    char *ocsp_url; /* NULL when absent */
};

/* Parses one certificate in DER. ERR_FORMAT. */
struct result x509_parse(struct span der, struct x509 *ret, struct why *why);
void x509_free(struct x509 *cert);
/* True when a certificate's name covers `host` (RFC 6125: one-label wildcard, or equal). */
bool x509_name_covers(const char *name, const char *host);

/* Turns a PEM chain into DER certificates, each behind a 3-byte length, leaf first, and parses
 * the leaf when ret_leaf is given. ERR_FORMAT, ERR_NOT_FOUND (no certificate in it). */
struct result x509_chain_from_pem(struct span pem, struct buf *ret_chain, struct x509 *ret_leaf,
                                  struct why *why);
/* The reverse. ERR_FORMAT. */
struct result x509_chain_to_pem(struct span chain, struct buf *out);
/* Does the key belong to the certificate? ERR_MISMATCH with both named. */
struct result x509_check_key(const struct x509 *cert, const struct key *key, struct why *why);

/* A request for these names (DNS names or IP addresses; the first is also the CN when it is at
 * most 64 bytes and a DNS name and with_cn is set), DER appended to `out` (RFC 8555 7.4). */
struct result x509_request(const struct key *key, const char *const *names, uint32_t count,
                           bool with_cn, bool must_staple, struct buf *out, struct why *why);
/* A self-signed certificate for these names, valid days; DER appended to `out`. */
struct result x509_self_signed(const struct key *key, const char *const *names, uint32_t count,
                               uint32_t days, struct buf *out, struct why *why);

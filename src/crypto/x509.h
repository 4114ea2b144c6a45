/* SPDX-License-Identifier: Apache-2.0 */
/* crypto/x509.h - certificates: reading what ferrule needs of one, chains in PEM and DER, making
 * requests and self-signed certificates (RFC 5280, RFC 2986).
 * Thread: any.   Owns: what x509_free() frees.
 * Never: validates a path to a root (that is the client's business). */
#pragma once

#include "base/buf.h"
#include "base/result.h"
#include "crypto/key.h"

#define X509_NAMES_MAX 1024
#define X509_NAME_MAX  253 /* bytes */

struct x509 {
    char **names; /* DNS names (lower case) and IP addresses in text: subjectAltName, else CN.
                   * What is neither (mail, URI, a name with odd bytes) is left out. */
    uint32_t name_count;
    char *subject;    /* one line */
    char *issuer;     /* one line */
    char *issuer_cn;  /* "" when absent */
    char serial[128]; /* hex */
    int64_t not_before_s, not_after_s;
    bool is_rsa, is_ec; /* neither: an Edwards curve, or what nobody here can use */
    uint32_t key_bits;
    bool is_ca;                 /* basicConstraints says so */
    bool has_issuer_url;        /* says where its issuer's certificate can be fetched */
    const char *weak_signature; /* "MD5" or "SHA-1"; NULL when it is signed well */
    uint8_t sha256[32];         /* of the DER */
    struct buf spki;            /* SubjectPublicKeyInfo DER */
    struct buf aki;             /* authority key identifier, raw; empty when absent (RFC 9773) */
    struct buf serial_der;      /* serial number content bytes */
    bool must_staple;
    char *ocsp_url; /* NULL when absent */
};

/* Parses one certificate in DER; any bytes are safe. The texts are UTF-8 without control bytes.
 * ERR_FORMAT; ERR_TOO_LARGE above X509_NAMES_MAX names. Afterwards x509_free(). */
struct result x509_parse(struct span der, struct x509 *ret, struct why *why);
void x509_free(struct x509 *cert);
/* True when `name` is one of the certificate's, as it stands there; case does not matter. */
bool x509_has_name(const struct x509 *cert, const char *name);
/* True when a certificate's name covers `host` (RFC 6125: one-label wildcard, or equal; an IP
 * address only by being equal). Case and one trailing dot of host do not matter. */
bool x509_name_covers(const char *name, const char *host);

/* Appends the certificates of a PEM text in its order (leaf first) as DER, each behind a 3-byte
 * length, and parses the leaf when ret_leaf is given. Blocks that are no certificate are passed
 * over. On failure ret_chain is as before. ERR_FORMAT, ERR_NOT_FOUND (no certificate in it). */
struct result x509_chain_from_pem(struct span pem, struct buf *ret_chain, struct x509 *ret_leaf,
                                  struct why *why);
/* The reverse: appends PEM. ERR_FORMAT (then `out` is as before). */
struct result x509_chain_to_pem(struct span chain, struct buf *out);
/* First 8 bytes of the SHA-256 of a chain as it is served, never 0. Of all of it, because a file
 * may be mended without its leaf being another. */
uint64_t x509_chain_id(struct span chain);
/* The kind of key in key_type_name()'s words: "EC256", "RSA3072"; as long as the certificate's. */
#define X509_KEY_TEXT_MAX 24
const char *x509_key_text(const struct x509 *cert, char memory[X509_KEY_TEXT_MAX]);
/* Does the key belong to the certificate? ERR_MISMATCH with both named. */
struct result x509_check_key(const struct x509 *cert, const struct key *key, struct why *why);

/* A request for these names (DNS names or IP addresses; the first is also the CN when it is at
 * most 64 bytes and a DNS name and with_cn is set), DER appended to `out` (RFC 8555 7.4).
 * count 1..X509_NAMES_MAX; emails: further subjectAltNames (ASCII); must_staple adds the TLS
 * feature status_request (RFC 7633). ERR_FORMAT (a name that is neither, named in `why`),
 * ERR_TOO_LARGE, ERR_CRYPTO. */
struct result x509_request(const struct key *key, const char *const *names, uint32_t count,
                           const char *const *emails, uint32_t email_count, bool with_cn,
                           bool must_staple, struct buf *out, struct why *why);
/* A self-signed server certificate for these names (0 is allowed: then it has a CN only), valid
 * from an hour ago for 1..36500 days; DER appended to `out`. Errors as x509_request(). */
struct result x509_self_signed(const struct key *key, const char *const *names, uint32_t count,
                               uint32_t days, struct buf *out, struct why *why);
/* A certificate that proves to an ACME CA that we have this name, a DNS name or an IP address (RFC
 * 8737 section 3, RFC 8738 section 6): as x509_self_signed(), with the extension acmeIdentifier.
 * digest: SHA-256 of the key authorization, 32 bytes. */
struct result x509_acme_proof(const struct key *key, const char *name, struct span digest,
                              uint32_t days, struct buf *out, struct why *why);

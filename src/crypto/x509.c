/* SPDX-License-Identifier: Apache-2.0 */
#include "crypto/x509.h"

#include "base/clock.h"
#include "base/must.h"
#include "crypto/der.h"
#include "crypto/digest.h"
#include "crypto/pem.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>

#define CN_MAX 64 /* ub-common-name, RFC 5280 appendix A.1 */
#define DAY_S  86400ll

/* Content bytes of the object identifiers that matter here. */
#define OID(name, bytes)                                                                           \
    static const struct span name = {(const uint8_t *)(bytes), sizeof(bytes) - 1}
OID(oid_cn, "\x55\x04\x03");
OID(oid_san, "\x55\x1d\x11");
OID(oid_aki, "\x55\x1d\x23");
OID(oid_key_usage, "\x55\x1d\x0f");
OID(oid_ext_key_usage, "\x55\x1d\x25");
OID(oid_basic_constraints, "\x55\x1d\x13");
OID(oid_server_auth, "\x2b\x06\x01\x05\x05\x07\x03\x01");
OID(oid_tls_feature, "\x2b\x06\x01\x05\x05\x07\x01\x18");
OID(oid_acme_identifier, "\x2b\x06\x01\x05\x05\x07\x01\x1f"); /* RFC 8737 section 6.1 */
OID(oid_aia, "\x2b\x06\x01\x05\x05\x07\x01\x01");
OID(oid_ocsp, "\x2b\x06\x01\x05\x05\x07\x30\x01");
OID(oid_ca_issuers, "\x2b\x06\x01\x05\x05\x07\x30\x02");
OID(oid_md5_rsa, "\x2a\x86\x48\x86\xf7\x0d\x01\x01\x04");
OID(oid_sha1_rsa, "\x2a\x86\x48\x86\xf7\x0d\x01\x01\x05");
OID(oid_sha1_ecdsa, "\x2a\x86\x48\xce\x3d\x04\x01");
OID(oid_extension_request, "\x2a\x86\x48\x86\xf7\x0d\x01\x09\x0e");
OID(oid_rsa, "\x2a\x86\x48\x86\xf7\x0d\x01\x01\x01");
OID(oid_ec, "\x2a\x86\x48\xce\x3d\x02\x01");

/* ---- names --------------------------------------------------------------------------------- */

static bool is_dns_name(struct span s)
{
    if (s.len == 0 || s.len > X509_NAME_MAX)
        return false;
    size_t label = 0;
    for (size_t i = 0; i < s.len; i++) {
        uint8_t c = s.ptr[i];
        if (c == '.') {
            if (label == 0)
                return false;
            label = 0;
            continue;
        }
        bool star = c == '*' && i == 0 && s.len > 2 && s.ptr[1] == '.';
        if (!star && !(c < 0x80 && isalnum(c)) && c != '-' && c != '_')
            return false;
        if (++label > 63)
            return false;
    }
    return label > 0;
}

/* Text form of 4 or 16 address bytes; false for any other length. */
static bool ip_text(struct span bytes, char text[INET6_ADDRSTRLEN])
{
    if (bytes.len != 4 && bytes.len != 16)
        return false;
    return inet_ntop(bytes.len == 4 ? AF_INET : AF_INET6, bytes.ptr, text, INET6_ADDRSTRLEN);
}

/* The other way; returns 4, 16, or 0 when it is no address. */
static size_t ip_bytes(const char *text, uint8_t out[16])
{
    if (inet_pton(AF_INET, text, out) == 1)
        return 4;
    return inet_pton(AF_INET6, text, out) == 1 ? 16 : 0;
}

bool x509_has_name(const struct x509 *cert, const char *name)
{
    for (uint32_t i = 0; i < cert->name_count; i++)
        if (!strcasecmp(cert->names[i], name))
            return true;
    return false;
}

bool x509_name_covers(const char *name, const char *host)
{
    uint8_t ip[16], name_ip[16];
    size_t ip_len = ip_bytes(host, ip);
    if (ip_len)
        return ip_bytes(name, name_ip) == ip_len && memcmp(ip, name_ip, ip_len) == 0;
    struct span h = span_str(host), n = span_str(name);
    if (h.len > 1 && h.ptr[h.len - 1] == '.')
        h.len--;
    if (h.len == 0)
        return false;
    if (span_eq_nocase(h, n))
        return true;
    if (!span_starts_with(n, SPAN_LITERAL("*.")))
        return false;
    size_t dot = span_find(h, '.');
    return dot > 0 && dot < h.len && span_eq_nocase(span_skip(h, dot), span_skip(n, 1));
}

/* ---- reading ------------------------------------------------------------------------------- */

static size_t utf8_length(struct span s)
{
    uint8_t c = s.ptr[0];
    size_t n = c < 0x80                ? 1
               : c >= 0xc2 && c < 0xe0 ? 2
               : c >= 0xe0 && c < 0xf0 ? 3
               : c >= 0xf0 && c < 0xf5 ? 4
                                       : 0;
    if (n == 0 || n > s.len)
        return 0;
    for (size_t i = 1; i < n; i++)
        if ((s.ptr[i] & 0xc0) != 0x80)
            return 0;
    bool overlong = (c == 0xe0 && s.ptr[1] < 0xa0) || (c == 0xf0 && s.ptr[1] < 0x90);
    bool beyond = (c == 0xed && s.ptr[1] > 0x9f) || (c == 0xf4 && s.ptr[1] > 0x8f);
    return overlong || beyond ? 0 : n;
}

/* Appends a directory string as UTF-8; bytes that are none, and control bytes, become '?'. */
static void put_text(struct buf *out, uint8_t tag, struct span v, bool escape)
{
    while (v.len) {
        size_t n = utf8_length(v), take = 1;
        uint8_t c = v.ptr[0];
        if (tag == DER_BMP_STRING) {
            take = v.len < 2 ? 1 : 2;
            n = take == 2 && v.ptr[0] == 0 && v.ptr[1] < 0x80;
            c = take == 2 ? v.ptr[1] : 0;
        }
        if (n == 0 || c < 0x20 || c == 0x7f) {
            buf_put(out, "?", 1);
        } else if (n > 1) {
            buf_put(out, v.ptr, n);
            take = n;
        } else {
            if (escape && strchr(",+\"\\", c))
                buf_put(out, "\\", 1);
            buf_put(out, &c, 1);
        }
        v = span_skip(v, take);
    }
}

static void put_attribute_name(struct buf *out, struct span oid)
{
    static const struct {
        struct span oid;
        const char *name;
    } known[] = {
        {SPAN_LITERAL("\x55\x04\x03"), "CN"},
        {SPAN_LITERAL("\x55\x04\x05"), "serialNumber"},
        {SPAN_LITERAL("\x55\x04\x06"), "C"},
        {SPAN_LITERAL("\x55\x04\x07"), "L"},
        {SPAN_LITERAL("\x55\x04\x08"), "ST"},
        {SPAN_LITERAL("\x55\x04\x0a"), "O"},
        {SPAN_LITERAL("\x55\x04\x0b"), "OU"},
        {SPAN_LITERAL("\x09\x92\x26\x89\x93\xf2\x2c\x64\x01\x19"), "DC"},
        {SPAN_LITERAL("\x2a\x86\x48\x86\xf7\x0d\x01\x09\x01"), "emailAddress"},
    };
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        if (span_eq(known[i].oid, oid)) {
            buf_put_str(out, known[i].name);
            return;
        }
    }
    buf_put_str(out, "oid#");
    hex_put(out, oid);
}

/* Name (RFC 5280 4.1.2.4) as one line, "CN=a, O=b". The first CN goes to `cn` (which may be
 * NULL). */
static struct result read_name(struct span *in, struct buf *line, struct buf *cn)
{
    struct span name, rdn, pair, oid, value;
    uint8_t tag;
    bool have_cn = false;
    TRY(der_get(in, DER_SEQUENCE, &name));
    while (name.len) {
        TRY(der_get(&name, DER_SET, &rdn));
        while (rdn.len) {
            TRY(der_get(&rdn, DER_SEQUENCE, &pair));
            TRY(der_get(&pair, DER_OID, &oid));
            TRY(der_any(&pair, &tag, &value, NULL));
            if (line->len)
                buf_put_str(line, ", ");
            put_attribute_name(line, oid);
            buf_put_str(line, "=");
            put_text(line, tag, value, true);
            if (cn && !have_cn && span_eq(oid, oid_cn)) {
                put_text(cn, tag, value, false);
                have_cn = true;
            }
        }
    }
    return result_ok();
}

static uint32_t bit_length(struct span number)
{
    while (number.len && number.ptr[0] == 0)
        number = span_skip(number, 1);
    if (number.len == 0)
        return 0;
    uint32_t top = 8;
    while (!(number.ptr[0] >> (top - 1)))
        top--;
    return (uint32_t)(number.len - 1) * 8 + top;
}

static struct result read_spki(struct span whole, struct x509 *x)
{
    struct span in, alg, oid, curve, bits, numbers, n;
    x->spki = buf_copy(whole);
    TRY(der_get(&whole, DER_SEQUENCE, &in));
    TRY(der_get(&in, DER_SEQUENCE, &alg));
    TRY(der_get(&alg, DER_OID, &oid));
    TRY(der_get_bits(&in, &bits));
    if (span_eq(oid, oid_rsa)) {
        x->is_rsa = true;
        TRY(der_get(&bits, DER_SEQUENCE, &numbers));
        TRY(der_get_unsigned(&numbers, &n));
        x->key_bits = bit_length(n);
        return result_ok();
    }
    /* Points of P-521 have 66-byte coordinates; the others' sizes are their bits. */
    x->is_ec = span_eq(oid, oid_ec);
    if (x->is_ec && result_is_ok(der_get(&alg, DER_OID, &curve)) && bits.len > 1)
        x->key_bits = bits.len == 133 ? 521 : (uint32_t)(bits.len / 2) * 8;
    else
        x->key_bits = (uint32_t)(bits.len < 0x10000 ? bits.len * 8 : 0);
    return result_ok();
}

static struct result add_name(struct x509 *x, const char *text, size_t len)
{
    if (x->name_count == X509_NAMES_MAX)
        return result_fail(ERR_TOO_LARGE);
    if ((x->name_count & (x->name_count - 1)) == 0) /* grow at each power of two */
        x->names = mem_grow(x->names, (x->name_count ? 2 * x->name_count : 1) * sizeof *x->names);
    char *copy = mem_strndup(text, len);
    for (char *c = copy; *c; c++)
        *c = (char)tolower((unsigned char)*c);
    x->names[x->name_count++] = copy;
    return result_ok();
}

static struct result read_san(struct span in, struct x509 *x)
{
    struct span list, v;
    uint8_t tag;
    TRY(der_get(&in, DER_SEQUENCE, &list));
    while (list.len) {
        char text[INET6_ADDRSTRLEN];
        TRY(der_any(&list, &tag, &v, NULL));
        if (tag == DER_CONTEXT(2) && is_dns_name(v))
            TRY(add_name(x, (const char *)v.ptr, v.len));
        else if (tag == DER_CONTEXT(7) && ip_text(v, text))
            TRY(add_name(x, text, strlen(text)));
    }
    return result_ok();
}

static struct result read_aia(struct span in, struct x509 *x)
{
    struct span list, access, oid, where;
    TRY(der_get(&in, DER_SEQUENCE, &list));
    while (list.len) {
        TRY(der_get(&list, DER_SEQUENCE, &access));
        TRY(der_get(&access, DER_OID, &oid));
        x->has_issuer_url = x->has_issuer_url || span_eq(oid, oid_ca_issuers);
        if (x->ocsp_url || !span_eq(oid, oid_ocsp) || !der_is(access, DER_CONTEXT(6)))
            continue;
        TRY(der_any(&access, NULL, &where, NULL));
        struct buf url = {0};
        put_text(&url, DER_IA5_STRING, where, false);
        x->ocsp_url = buf_cstr(&url);
    }
    return result_ok();
}

static struct result read_extension(struct span oid, struct span value, struct x509 *x)
{
    struct span list, v;
    uint32_t feature;
    if (span_eq(oid, oid_san))
        return read_san(value, x);
    if (span_eq(oid, oid_aia))
        return read_aia(value, x);
    if (span_eq(oid, oid_aki)) {
        TRY(der_get(&value, DER_SEQUENCE, &list));
        if (der_is(list, DER_CONTEXT(0)) && !x->aki.ptr) {
            TRY(der_any(&list, NULL, &v, NULL));
            x->aki = buf_copy(v);
        }
    }
    if (span_eq(oid, oid_basic_constraints)) {
        TRY(der_get(&value, DER_SEQUENCE, &list));
        if (der_is(list, DER_BOOLEAN)) {
            TRY(der_any(&list, NULL, &v, NULL));
            x->is_ca = v.len == 1 && v.ptr[0];
        }
    }
    if (span_eq(oid, oid_tls_feature)) {
        TRY(der_get(&value, DER_SEQUENCE, &list));
        while (list.len) {
            TRY(der_get_small(&list, &feature));
            if (feature == 5) /* status_request */
                x->must_staple = true;
        }
    }
    return result_ok();
}

/* What may follow the public key: two unique ids, then the extensions. */
static struct result read_extensions(struct span in, struct x509 *x)
{
    struct span explicit, list, ext, oid, value;
    uint8_t tag;
    while (in.len && !der_is(in, DER_CONSTRUCTED(3)))
        TRY(der_any(&in, &tag, NULL, NULL));
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
        TRY(read_extension(oid, value, x));
    }
    return result_ok();
}

static struct result read_serial(struct span *in, struct x509 *x)
{
    struct span serial;
    TRY(der_get(in, DER_INTEGER, &serial));
    if (serial.len == 0 || serial.len > (sizeof x->serial - 1) / 2)
        return result_fail(ERR_FORMAT);
    struct buf hex = {0};
    x->serial_der = buf_copy(serial);
    hex_put(&hex, serial);
    memcpy(x->serial, buf_cstr(&hex), hex.len + 1);
    buf_free(&hex);
    return result_ok();
}

struct x509_texts {
    struct buf subject, subject_cn, issuer, issuer_cn;
};

static struct result read_signature(struct span *in, struct x509 *x)
{
    struct span alg, oid;
    TRY(der_get(in, DER_SEQUENCE, &alg));
    TRY(der_get(&alg, DER_OID, &oid));
    if (span_eq(oid, oid_sha1_rsa) || span_eq(oid, oid_sha1_ecdsa))
        x->weak_signature = "SHA-1";
    else if (span_eq(oid, oid_md5_rsa))
        x->weak_signature = "MD5";
    return result_ok();
}

static struct result read_tbs(struct span in, struct x509 *x, struct x509_texts *t)
{
    struct span validity, spki;
    if (der_is(in, DER_CONSTRUCTED(0)))
        TRY(der_any(&in, NULL, NULL, NULL)); /* version */
    TRY(read_serial(&in, x));
    TRY(read_signature(&in, x));
    TRY(read_name(&in, &t->issuer, &t->issuer_cn));
    TRY(der_get(&in, DER_SEQUENCE, &validity));
    TRY(der_get_time(&validity, &x->not_before_s));
    TRY(der_get_time(&validity, &x->not_after_s));
    TRY(read_name(&in, &t->subject, &t->subject_cn));
    if (!der_is(in, DER_SEQUENCE))
        return result_fail(ERR_FORMAT);
    TRY(der_any(&in, NULL, NULL, &spki));
    TRY(read_spki(spki, x));
    TRY(read_extensions(in, x));
    const char *cn = buf_cstr(&t->subject_cn);
    uint8_t ip[16];
    if (x->name_count == 0 && (is_dns_name(span_str(cn)) || ip_bytes(cn, ip)))
        TRY(add_name(x, cn, strlen(cn)));
    return result_ok();
}

/* Certificate ::= SEQUENCE { tbs, algorithm, signature } and nothing behind it. */
static struct result split(struct span der, struct span *ret_tbs)
{
    struct span all, signature;
    TRY(der_get(&der, DER_SEQUENCE, &all));
    TRY(der_get(&all, DER_SEQUENCE, ret_tbs));
    TRY(der_get(&all, DER_SEQUENCE, NULL));
    TRY(der_get_bits(&all, &signature));
    return der.len || all.len ? result_fail(ERR_FORMAT) : result_ok();
}

/* A configuration may have very many certificates: no room to spare. */
static char *kept_text(struct buf *text)
{
    buf_put(text, "", 1);
    buf_fit(text);
    return (char *)text->ptr;
}

struct result x509_parse(struct span der, struct x509 *ret, struct why *why)
{
    struct span tbs;
    struct x509 x = {0};
    struct x509_texts t = {0};
    struct result r = split(der, &tbs);
    if (result_is_ok(r))
        r = read_tbs(tbs, &x, &t);
    buf_free(&t.subject_cn);
    x.subject = kept_text(&t.subject);
    x.issuer = kept_text(&t.issuer);
    x.issuer_cn = kept_text(&t.issuer_cn);
    if (!result_is_ok(r)) {
        x509_free(&x);
        if (r.code == ERR_TOO_LARGE)
            return why_fail(why, r.code, "the certificate has more than %d names", X509_NAMES_MAX);
        return why_fail(why, r.code, "not a certificate in DER, or a damaged one");
    }
    digest_once(DIGEST_SHA256, der, x.sha256);
    *ret = x;
    return r;
}

void x509_free(struct x509 *cert)
{
    for (uint32_t i = 0; i < cert->name_count; i++)
        free(cert->names[i]);
    free(cert->names);
    free(cert->subject);
    free(cert->issuer);
    free(cert->issuer_cn);
    free(cert->ocsp_url);
    buf_free(&cert->spki);
    buf_free(&cert->aki);
    buf_free(&cert->serial_der);
    *cert = (struct x509){0};
}

/* ---- chains -------------------------------------------------------------------------------- */

static bool is_certificate_label(struct span label)
{
    return span_eq(label, SPAN_LITERAL("CERTIFICATE")) ||
           span_eq(label, SPAN_LITERAL("X509 CERTIFICATE"));
}

static struct result read_chain(struct span pem, struct buf *chain, struct x509 *ret_leaf,
                                uint32_t *ret_count, struct why *why)
{
    uint32_t count = 0;
    for (;;) {
        struct pem_block block;
        struct span tbs;
        struct result r = pem_next(&pem, &block);
        if (r.code == ERR_NOT_FOUND)
            break;
        if (!result_is_ok(r))
            return why_fail(why, r.code, "PEM block behind certificate %u is damaged", count);
        if (is_certificate_label(block.label)) {
            struct span der = buf_span(&block.der);
            count++;
            r = der.len > 0xffffff ? result_fail(ERR_FORMAT) : split(der, &tbs);
            if (!result_is_ok(r))
                r = why_fail(why, r.code, "certificate %u of the PEM text is damaged", count);
            else if (count == 1 && ret_leaf)
                r = x509_parse(der, ret_leaf, why);
            buf_put_be(chain, der.len, 3);
            buf_put_span(chain, der);
        }
        buf_wipe_free(&block.der); /* it may have been a key */
        TRY(r);
    }
    *ret_count = count;
    return count ? result_ok() : why_fail(why, ERR_NOT_FOUND, "no certificate in the PEM text");
}

struct result x509_chain_from_pem(struct span pem, struct buf *ret_chain, struct x509 *ret_leaf,
                                  struct why *why)
{
    size_t start = ret_chain->len;
    uint32_t count;
    struct x509 leaf = {0};
    struct result r = read_chain(pem, ret_chain, ret_leaf ? &leaf : NULL, &count, why);
    if (!result_is_ok(r)) {
        ret_chain->len = start;
        x509_free(&leaf);
        return r;
    }
    if (ret_leaf)
        *ret_leaf = leaf;
    return r;
}

uint64_t x509_chain_id(struct span chain)
{
    uint8_t digest[32];
    digest_once(DIGEST_SHA256, chain, digest);
    struct reader r = reader_of(span_of(digest, sizeof digest));
    uint64_t id = reader_u64(&r);
    return id ? id : 1;
}

struct result x509_chain_to_pem(struct span chain, struct buf *out)
{
    size_t start = out->len;
    struct reader in = reader_of(chain);
    while (in.left) {
        struct span der = reader_bytes(&in, reader_be(&in, 3));
        if (in.bad) {
            out->len = start;
            return result_fail(ERR_FORMAT);
        }
        pem_put(out, "CERTIFICATE", der);
    }
    return result_ok();
}

const char *x509_key_text(const struct x509 *cert, char memory[X509_KEY_TEXT_MAX])
{
    if (!cert->is_rsa && !cert->is_ec)
        return cert->key_bits == 256 ? "ED25519" : "an unknown kind of key";
    snprintf(memory, X509_KEY_TEXT_MAX, "%s%u", cert->is_rsa ? "RSA" : "EC", cert->key_bits);
    return memory;
}

struct result x509_check_key(const struct x509 *cert, const struct key *key, struct why *why)
{
    struct buf spki = {0};
    struct result r = key_public_der(key, &spki);
    bool same = result_is_ok(r) && span_eq(buf_span(&spki), buf_span(&cert->spki));
    buf_free(&spki);
    TRY(r);
    if (same)
        return r;
    char kind[X509_KEY_TEXT_MAX];
    return why_fail(why, ERR_MISMATCH,
                    "the private key (%s) does not belong to the certificate of %s (%s)",
                    key_type_name(key_type_of(key)),
                    cert->name_count ? cert->names[0] : cert->subject, x509_key_text(cert, kind));
}

/* ---- writing ------------------------------------------------------------------------------- */

/* Name with one CN; "" makes the empty Name. */
static void put_name(struct buf *out, const char *cn)
{
    size_t all = der_begin(out, DER_SEQUENCE);
    if (*cn) {
        size_t set = der_begin(out, DER_SET);
        size_t pair = der_begin(out, DER_SEQUENCE);
        der_put(out, DER_OID, oid_cn);
        der_put(out, DER_UTF8_STRING, span_str(cn));
        der_end(out, pair);
        der_end(out, set);
    }
    der_end(out, all);
}

/* Opens Extension { oid, critical, OCTET STRING; closed by extension_end(). */
struct extension {
    size_t all, value;
};

static struct extension extension_begin(struct buf *out, struct span oid, bool critical)
{
    struct extension e;
    e.all = der_begin(out, DER_SEQUENCE);
    der_put(out, DER_OID, oid);
    if (critical)
        der_put(out, DER_BOOLEAN, SPAN_LITERAL("\xff"));
    e.value = der_begin(out, DER_OCTET_STRING);
    return e;
}

static void extension_end(struct buf *out, struct extension e)
{
    der_end(out, e.value);
    der_end(out, e.all);
}

static void put_extension(struct buf *out, struct span oid, bool critical, struct span value)
{
    struct extension e = extension_begin(out, oid, critical);
    buf_put_span(out, value);
    extension_end(out, e);
}

static struct result check_names(const char *const *names, uint32_t count, struct why *why)
{
    uint8_t ip[16];
    if (count > X509_NAMES_MAX)
        return why_fail(why, ERR_TOO_LARGE, "%u names; a certificate takes at most %d", count,
                        X509_NAMES_MAX);
    for (uint32_t i = 0; i < count; i++)
        if (!ip_bytes(names[i], ip) && !is_dns_name(span_str(names[i])))
            return why_fail(why, ERR_FORMAT,
                            "\"%.100s\" is neither a DNS name (in ASCII) nor an IP address",
                            names[i]);
    return result_ok();
}

static void put_san(struct buf *out, const char *const *names, uint32_t count,
                    const char *const *emails, uint32_t email_count, bool critical)
{
    struct extension e = extension_begin(out, oid_san, critical);
    size_t list = der_begin(out, DER_SEQUENCE);
    for (uint32_t i = 0; i < count; i++) {
        uint8_t ip[16];
        size_t ip_len = ip_bytes(names[i], ip);
        if (ip_len) {
            der_put(out, DER_CONTEXT(7), span_of(ip, ip_len));
            continue;
        }
        size_t at = der_begin(out, DER_CONTEXT(2));
        for (const char *c = names[i]; *c; c++)
            buf_put_be(out, (uint8_t)tolower((unsigned char)*c), 1);
        der_end(out, at);
    }
    for (uint32_t i = 0; i < email_count; i++)
        der_put(out, DER_CONTEXT(1), span_str(emails[i]));
    der_end(out, list);
    extension_end(out, e);
}

/* A CN that this name can stand in: "" when it is an address or too long. */
static const char *common_name(const char *name)
{
    uint8_t ip[16];
    return !ip_bytes(name, ip) && strlen(name) <= CN_MAX ? name : "";
}

/* Wraps `signed_part` and its signature into one SEQUENCE, appended to `out`. */
static struct result seal(const struct key *key, struct span signed_part, struct buf *out)
{
    size_t start = out->len;
    size_t all = der_begin(out, DER_SEQUENCE);
    buf_put_span(out, signed_part);
    struct result r = key_sign_der(key, signed_part, out);
    if (result_is_ok(r))
        der_end(out, all);
    else
        out->len = start;
    return r;
}

struct result x509_request(const struct key *key, const char *const *names, uint32_t count,
                           const char *const *emails, uint32_t email_count, bool with_cn,
                           bool must_staple, struct buf *out, struct why *why)
{
    must(count > 0);
    TRY(check_names(names, count, why));
    struct buf info = {0};
    const char *cn = with_cn ? common_name(names[0]) : "";
    size_t all = der_begin(&info, DER_SEQUENCE);
    der_put_unsigned(&info, SPAN_LITERAL("\x00"));
    put_name(&info, cn);
    struct result r = key_public_der(key, &info);
    size_t attributes = der_begin(&info, DER_CONSTRUCTED(0));
    size_t attribute = der_begin(&info, DER_SEQUENCE);
    der_put(&info, DER_OID, oid_extension_request);
    size_t set = der_begin(&info, DER_SET);
    size_t list = der_begin(&info, DER_SEQUENCE);
    put_san(&info, names, count, emails, email_count, *cn == 0);
    if (must_staple)
        put_extension(&info, oid_tls_feature, false, SPAN_LITERAL("\x30\x03\x02\x01\x05"));
    der_end(&info, list);
    der_end(&info, set);
    der_end(&info, attribute);
    der_end(&info, attributes);
    der_end(&info, all);
    if (result_is_ok(r))
        r = seal(key, buf_span(&info), out);
    buf_free(&info);
    return result_is_ok(r) ? r : why_fail(why, r.code, "signing the request failed");
}

static void put_time(struct buf *out, int64_t at_s)
{
    struct tm tm;
    time_t t = at_s;
    char text[32];
    must(gmtime_r(&t, &tm) && tm.tm_year < 10000 - 1900);
    bool utc = tm.tm_year < 150; /* RFC 5280 4.1.2.5: UTCTime through 2049 */
    size_t n = strftime(text, sizeof text, utc ? "%y%m%d%H%M%SZ" : "%Y%m%d%H%M%SZ", &tm);
    der_put(out, utc ? DER_UTC_TIME : DER_GENERALIZED_TIME, span_of(text, n));
}

static void put_server_extensions(struct buf *out, const struct key *key, const char *const *names,
                                  uint32_t count, struct span acme_digest)
{
    size_t explicit = der_begin(out, DER_CONSTRUCTED(3));
    size_t list = der_begin(out, DER_SEQUENCE);
    put_extension(out, oid_basic_constraints, true, SPAN_LITERAL("\x30\x00"));
    /* digitalSignature, and keyEncipherment for RSA */
    put_extension(out, oid_key_usage, true,
                  key_is_rsa(key) ? SPAN_LITERAL("\x03\x02\x05\xa0")
                                  : SPAN_LITERAL("\x03\x02\x07\x80"));
    struct extension e = extension_begin(out, oid_ext_key_usage, false);
    size_t purposes = der_begin(out, DER_SEQUENCE);
    der_put(out, DER_OID, oid_server_auth);
    der_end(out, purposes);
    extension_end(out, e);
    if (count)
        put_san(out, names, count, NULL, 0, false);
    if (acme_digest.len) {
        e = extension_begin(out, oid_acme_identifier, true);
        der_put(out, DER_OCTET_STRING, acme_digest);
        extension_end(out, e);
    }
    der_end(out, list);
    der_end(out, explicit);
}

static struct result self_signed(const struct key *key, const char *const *names, uint32_t count,
                                 struct span acme_digest, uint32_t days, struct buf *out,
                                 struct why *why)
{
    must(days >= 1 && days <= 36500);
    TRY(check_names(names, count, why));
    struct buf tbs = {0};
    uint8_t serial[16];
    int64_t from_s = clock_wall_s() - 3600;
    const char *cn = count ? common_name(names[0]) : "";
    if (!*cn)
        cn = "ferrule"; /* an issuer may not be empty (RFC 5280 4.1.2.4) */
    random_bytes(serial, sizeof serial);
    serial[0] = (serial[0] & 0x7f) | 0x40;
    size_t all = der_begin(&tbs, DER_SEQUENCE);
    size_t version = der_begin(&tbs, DER_CONSTRUCTED(0));
    der_put_unsigned(&tbs, SPAN_LITERAL("\x02"));
    der_end(&tbs, version);
    der_put_unsigned(&tbs, span_of(serial, sizeof serial));
    key_signature_alg(key, &tbs);
    put_name(&tbs, cn);
    size_t validity = der_begin(&tbs, DER_SEQUENCE);
    put_time(&tbs, from_s);
    put_time(&tbs, from_s + (int64_t)days * DAY_S);
    der_end(&tbs, validity);
    put_name(&tbs, cn);
    struct result r = key_public_der(key, &tbs);
    put_server_extensions(&tbs, key, names, count, acme_digest);
    der_end(&tbs, all);
    if (result_is_ok(r))
        r = seal(key, buf_span(&tbs), out);
    buf_free(&tbs);
    return result_is_ok(r) ? r : why_fail(why, r.code, "signing the certificate failed");
}

struct result x509_self_signed(const struct key *key, const char *const *names, uint32_t count,
                               uint32_t days, struct buf *out, struct why *why)
{
    return self_signed(key, names, count, span_of(NULL, 0), days, out, why);
}

struct result x509_acme_proof(const struct key *key, const char *name, struct span digest,
                              uint32_t days, struct buf *out, struct why *why)
{
    must(digest.len == 32);
    return self_signed(key, &name, 1, digest, days, out, why);
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "crypto/key.h"

#include "base/must.h"
#include "crypto/der.h"
#include "crypto/digest.h"
#include "crypto/pem.h"

#include <wolfssl/options.h>

#include <wolfssl/wolfcrypt/asn.h>
#include <wolfssl/wolfcrypt/ecc.h>
#include <wolfssl/wolfcrypt/ed25519.h>
#include <wolfssl/wolfcrypt/rsa.h>

#include <stdlib.h>

#define RSA_BITS_MIN  2048
#define RSA_BITS_MAX  8192
#define RSA_BYTES_MAX (RSA_BITS_MAX / 8)
#define EC_BYTES_MAX  66

enum family { FAMILY_EC, FAMILY_RSA, FAMILY_ED };

struct key {
    enum key_type type;
    enum family family;
    /* wolfCrypt keeps scratch values in its keys, so even reading functions take them writable. */
    union {
        ecc_key ec;
        RsaKey rsa;
        ed25519_key ed;
    };
};

/* clang-format off */
static const struct key_form {
    enum key_type type;
    enum family family;
    const char *name;
    const char *jws_alg;
    enum digest digest;
    uint32_t bits;
    int curve_id;
    const char *jwk_curve;
    struct span curve_oid;     /* content bytes */
    struct span signature_oid; /* content bytes */
} forms[] = {
    {KEY_EC256, FAMILY_EC, "EC256", "ES256", DIGEST_SHA256, 256, ECC_SECP256R1, "P-256",
     SPAN_LITERAL("\x2a\x86\x48\xce\x3d\x03\x01\x07"), SPAN_LITERAL("\x2a\x86\x48\xce\x3d\x04\x03\x02")},
    {KEY_EC384, FAMILY_EC, "EC384", "ES384", DIGEST_SHA384, 384, ECC_SECP384R1, "P-384",
     SPAN_LITERAL("\x2b\x81\x04\x00\x22"), SPAN_LITERAL("\x2a\x86\x48\xce\x3d\x04\x03\x03")},
    {KEY_EC521, FAMILY_EC, "EC521", "ES512", DIGEST_SHA512, 521, ECC_SECP521R1, "P-521",
     SPAN_LITERAL("\x2b\x81\x04\x00\x23"), SPAN_LITERAL("\x2a\x86\x48\xce\x3d\x04\x03\x04")},
    {KEY_RSA2048, FAMILY_RSA, "RSA2048", "RS256", DIGEST_SHA256, 2048, 0, NULL,
     {NULL, 0}, SPAN_LITERAL("\x2a\x86\x48\x86\xf7\x0d\x01\x01\x0b")},
    {KEY_RSA4096, FAMILY_RSA, "RSA4096", "RS256", DIGEST_SHA256, 4096, 0, NULL,
     {NULL, 0}, SPAN_LITERAL("\x2a\x86\x48\x86\xf7\x0d\x01\x01\x0b")},
    {KEY_RSA8192, FAMILY_RSA, "RSA8192", "RS256", DIGEST_SHA256, 8192, 0, NULL,
     {NULL, 0}, SPAN_LITERAL("\x2a\x86\x48\x86\xf7\x0d\x01\x01\x0b")},
    {KEY_ED25519, FAMILY_ED, "ED25519", "EdDSA", DIGEST_SHA512, 256, 0, "Ed25519",
     {NULL, 0}, SPAN_LITERAL("\x2b\x65\x70")},
};
/* clang-format on */
#define FORM_COUNT (sizeof forms / sizeof *forms)

static const struct span oid_ec = {(const uint8_t *)"\x2a\x86\x48\xce\x3d\x02\x01", 7};
static const struct span oid_rsa = {(const uint8_t *)"\x2a\x86\x48\x86\xf7\x0d\x01\x01\x01", 9};
static const struct span oid_ed25519 = {(const uint8_t *)"\x2b\x65\x70", 3};

static const struct key_form *form_of(enum key_type type)
{
    for (size_t i = 0; i < FORM_COUNT; i++)
        if (forms[i].type == type)
            return &forms[i];
    never();
}

static struct key *writable(const struct key *key)
{
    return (struct key *)(uintptr_t)key;
}

struct result key_type_parse(struct span text, enum key_type *ret)
{
    for (size_t i = 0; i < FORM_COUNT; i++) {
        bool traefik = forms[i].type <= KEY_RSA8192;
        if (traefik && span_eq_nocase(text, span_str(forms[i].name))) {
            *ret = forms[i].type;
            return result_ok();
        }
    }
    return result_fail(ERR_FORMAT);
}

const char *key_type_name(enum key_type type)
{
    return form_of(type)->name;
}

static struct key *key_alloc(enum key_type type)
{
    struct key *key = mem_zalloc(sizeof *key);
    key->type = type;
    key->family = form_of(type)->family;
    if (key->family == FAMILY_EC)
        must(wc_ecc_init(&key->ec) == 0);
    else if (key->family == FAMILY_RSA)
        must(wc_InitRsaKey(&key->rsa, NULL) == 0);
    else
        must(wc_ed25519_init(&key->ed) == 0);
    return key;
}

void key_free(struct key *key)
{
    if (!key)
        return;
    if (key->family == FAMILY_EC)
        wc_ecc_free(&key->ec);
    else if (key->family == FAMILY_RSA)
        wc_FreeRsaKey(&key->rsa);
    else
        wc_ed25519_free(&key->ed);
    secret_wipe(key, sizeof *key);
    free(key);
}

struct result key_generate(enum key_type type, struct key **ret, struct why *why)
{
    const struct key_form *form = form_of(type);
    struct key *key = key_alloc(type);
    WC_RNG rng;
    int rc = wc_InitRng(&rng);
    if (rc == 0) {
        if (key->family == FAMILY_EC)
            rc = wc_ecc_make_key_ex(&rng, (int)(form->bits + 7) / 8, &key->ec, form->curve_id);
        else if (key->family == FAMILY_RSA)
            rc = wc_MakeRsaKey(&key->rsa, (int)form->bits, WC_RSA_EXPONENT, &rng);
        else
            rc = wc_ed25519_make_key(&rng, ED25519_KEY_SIZE, &key->ed);
        wc_FreeRng(&rng);
    }
    if (rc != 0) {
        key_free(key);
        return why_fail(why, ERR_CRYPTO, "making a %s key failed: wolfCrypt error %d", form->name,
                        rc);
    }
    *ret = key;
    return result_ok();
}

/* ---- reading ------------------------------------------------------------------------------- */

/* Scalars shorter or longer than the curve (leading zeros) occur in the wild. */
static bool fit_scalar(struct span in, uint8_t *out, size_t size)
{
    while (in.len > size && in.ptr[0] == 0)
        in = span_skip(in, 1);
    if (in.len > size || in.len == 0)
        return false;
    memset(out, 0, size - in.len);
    memcpy(out + size - in.len, in.ptr, in.len);
    return true;
}

static int import_ec(struct key *key, const struct key_form *form, struct span scalar)
{
    uint8_t d[EC_BYTES_MAX];
    WC_RNG rng;
    size_t size = (form->bits + 7) / 8;
    if (!fit_scalar(scalar, d, size))
        return -1;
    int rc = wc_ecc_import_private_key_ex(d, (word32)size, NULL, 0, &key->ec, form->curve_id);
    secret_wipe(d, sizeof d);
    if (rc == 0)
        rc = wc_InitRng(&rng);
    if (rc != 0)
        return rc;
    rc = wc_ecc_make_pub_ex(&key->ec, NULL, &rng);
    wc_FreeRng(&rng);
    return rc;
}

static void ec_point(const struct key *key, uint8_t out[2 * EC_BYTES_MAX + 1], word32 *ret_len)
{
    *ret_len = 2 * EC_BYTES_MAX + 1;
    must(wc_ecc_export_x963(&writable(key)->ec, out, ret_len) == 0);
}

/* ECPrivateKey of RFC 5915; curve is the one that PKCS#8 named, or empty. */
static struct result read_ec(struct span in, struct span curve, struct key **ret, struct why *why)
{
    struct span scalar, params, point = {NULL, 0};
    uint32_t version;
    TRY(der_get(&in, DER_SEQUENCE, &in));
    TRY(der_get_small(&in, &version));
    TRY(der_get(&in, DER_OCTET_STRING, &scalar));
    if (version != 1)
        return result_fail(ERR_FORMAT);
    if (der_is(in, DER_CONSTRUCTED(0))) {
        struct span named;
        TRY(der_get(&in, DER_CONSTRUCTED(0), &params));
        if (!der_is(params, DER_OID))
            return why_fail(why, ERR_FORMAT, "the EC key spells its curve out; it has to name it");
        TRY(der_get(&params, DER_OID, &named));
        if (curve.len && !span_eq(curve, named))
            return result_fail(ERR_FORMAT);
        curve = named;
    }
    if (der_is(in, DER_CONSTRUCTED(1))) {
        TRY(der_get(&in, DER_CONSTRUCTED(1), &params));
        TRY(der_get_bits(&params, &point));
    }
    const struct key_form *form = NULL;
    for (size_t i = 0; i < FORM_COUNT; i++)
        if (curve.len && span_eq(forms[i].curve_oid, curve))
            form = &forms[i];
    if (!form)
        return why_fail(why, ERR_FORMAT,
                        "the EC key is on no supported curve (P-256, P-384, P-521)");
    struct key *key = key_alloc(form->type);
    if (import_ec(key, form, scalar) != 0) {
        key_free(key);
        return why_fail(why, ERR_FORMAT, "the EC key's number is out of range");
    }
    uint8_t own[2 * EC_BYTES_MAX + 1];
    word32 own_len;
    ec_point(key, own, &own_len);
    /* A compressed point cannot be compared by bytes; the computed one is used anyway. */
    if (point.len && point.ptr[0] == 4 && !span_eq(point, span_of(own, own_len))) {
        key_free(key);
        return why_fail(why, ERR_FORMAT, "the EC key's private and public halves do not match");
    }
    *ret = key;
    return result_ok();
}

/* Cheap consistency: n = p q. A full check would cost as much as a signature. */
static bool rsa_is_consistent(RsaKey *rsa)
{
    mp_int *product = mem_zalloc(sizeof *product);
    bool ok = mp_init(product) == 0 && mp_mul(&rsa->p, &rsa->q, product) == 0 &&
              mp_cmp(product, &rsa->n) == MP_EQ;
    mp_forcezero(product);
    free(product);
    return ok;
}

static struct result read_rsa(struct span in, struct key **ret, struct why *why)
{
    if (in.len > 8 * RSA_BYTES_MAX)
        return why_fail(why, ERR_FORMAT, "the RSA key is larger than %d bits", RSA_BITS_MAX);
    struct key *key = key_alloc(KEY_RSA8192);
    word32 at = 0;
    if (wc_RsaPrivateKeyDecode(in.ptr, &at, &key->rsa, (word32)in.len) != 0 || at != in.len) {
        key_free(key);
        return why_fail(why, ERR_FORMAT, "the RSA key cannot be read");
    }
    int bits = mp_count_bits(&key->rsa.n);
    if (bits < RSA_BITS_MIN || bits > RSA_BITS_MAX) {
        key_free(key);
        return why_fail(why, ERR_FORMAT, "the RSA key has %d bits; %d to %d are allowed", bits,
                        RSA_BITS_MIN, RSA_BITS_MAX);
    }
    if (!rsa_is_consistent(&key->rsa)) {
        key_free(key);
        return why_fail(why, ERR_FORMAT, "the RSA key's numbers do not belong together");
    }
    key->type = bits <= 2048 ? KEY_RSA2048 : bits <= 4096 ? KEY_RSA4096 : KEY_RSA8192;
    *ret = key;
    return result_ok();
}

static struct result read_ed(struct span in, struct key **ret, struct why *why)
{
    struct span seed;
    uint8_t pub[ED25519_PUB_KEY_SIZE];
    TRY(der_get(&in, DER_OCTET_STRING, &seed));
    if (seed.len != ED25519_KEY_SIZE)
        return result_fail(ERR_FORMAT);
    struct key *key = key_alloc(KEY_ED25519);
    int rc = wc_ed25519_import_private_only(seed.ptr, ED25519_KEY_SIZE, &key->ed);
    if (rc == 0)
        rc = wc_ed25519_make_public(&key->ed, pub, sizeof pub);
    if (rc == 0)
        rc = wc_ed25519_import_private_key(seed.ptr, ED25519_KEY_SIZE, pub, sizeof pub, &key->ed);
    if (rc != 0) {
        key_free(key);
        return why_fail(why, ERR_FORMAT, "the Ed25519 key cannot be read");
    }
    *ret = key;
    return result_ok();
}

/* What stands behind the version of OneAsymmetricKey (RFC 5958). */
static struct result read_pkcs8(struct span in, struct key **ret, struct why *why)
{
    struct span alg, oid, inner, curve = {NULL, 0};
    TRY(der_get(&in, DER_SEQUENCE, &alg));
    TRY(der_get(&in, DER_OCTET_STRING, &inner));
    TRY(der_get(&alg, DER_OID, &oid));
    if (span_eq(oid, oid_rsa))
        return read_rsa(inner, ret, why);
    if (span_eq(oid, oid_ed25519))
        return read_ed(inner, ret, why);
    if (!span_eq(oid, oid_ec))
        return why_fail(why, ERR_FORMAT, "the key is neither RSA nor EC nor Ed25519");
    if (der_is(alg, DER_OID))
        TRY(der_get(&alg, DER_OID, &curve));
    return read_ec(inner, curve, ret, why);
}

static struct result read_any(struct span der, struct key **ret, struct why *why)
{
    struct span body, rest = der;
    uint32_t version;
    TRY(der_get(&rest, DER_SEQUENCE, &body));
    if (rest.len)
        return result_fail(ERR_FORMAT);
    TRY(der_get_small(&body, &version));
    if (der_is(body, DER_SEQUENCE))
        return read_pkcs8(body, ret, why);
    if (der_is(body, DER_OCTET_STRING))
        return read_ec(der, (struct span){NULL, 0}, ret, why);
    if (der_is(body, DER_INTEGER))
        return read_rsa(der, ret, why);
    return result_fail(ERR_FORMAT);
}

struct result key_from_der(struct span der, struct key **ret, struct why *why)
{
    struct why inner = {""};
    struct result r = read_any(der, ret, &inner);
    if (!result_is_ok(r))
        return why_fail(why, r.code, "%s",
                        inner.text[0] ? inner.text
                                      : "no private key in DER (PKCS#8, SEC 1 or PKCS#1)");
    return r;
}

struct result key_from_pem(struct span pem, struct key **ret, struct why *why)
{
    static const char *const labels[] = {"PRIVATE KEY", "EC PRIVATE KEY", "RSA PRIVATE KEY"};
    struct span encrypted = span_str("ENCRYPTED PRIVATE KEY");
    for (;;) {
        struct pem_block block;
        struct result r = pem_next(&pem, &block);
        if (r.code == ERR_NOT_FOUND)
            return why_fail(why, ERR_NOT_FOUND, "no private key in the PEM text");
        if (!result_is_ok(r))
            return why_fail(why, r.code, "a PEM block is damaged (its end or its base64)");
        bool is_key = false;
        for (size_t i = 0; i < sizeof labels / sizeof *labels; i++)
            is_key = is_key || span_eq(block.label, span_str(labels[i]));
        if (span_eq(block.label, encrypted) || (is_key && block.encrypted)) {
            buf_wipe_free(&block.der);
            return why_fail(why, ERR_FORMAT,
                            "the private key is encrypted; ferrule reads keys without passphrase");
        }
        r = is_key ? key_from_der(buf_span(&block.der), ret, why) : result_ok();
        buf_wipe_free(&block.der);
        if (is_key)
            return r;
    }
}

/* ---- asking and writing -------------------------------------------------------------------- */

enum key_type key_type_of(const struct key *key)
{
    return key->type;
}

bool key_is_rsa(const struct key *key)
{
    return key->family == FAMILY_RSA;
}

static void put_ec_der(const struct key *key, struct buf *out)
{
    const struct key_form *form = form_of(key->type);
    uint8_t d[EC_BYTES_MAX], point[2 * EC_BYTES_MAX + 1];
    word32 d_len = sizeof d, point_len;
    must(wc_ecc_export_private_only(&writable(key)->ec, d, &d_len) == 0);
    ec_point(key, point, &point_len);
    size_t all = der_begin(out, DER_SEQUENCE);
    der_put_unsigned(out, SPAN_LITERAL("\x01"));
    der_put(out, DER_OCTET_STRING, span_of(d, d_len));
    size_t mark = der_begin(out, DER_CONSTRUCTED(0));
    der_put(out, DER_OID, form->curve_oid);
    der_end(out, mark);
    mark = der_begin(out, DER_CONSTRUCTED(1));
    der_put_bits(out, span_of(point, point_len));
    der_end(out, mark);
    der_end(out, all);
    secret_wipe(d, sizeof d);
}

static void put_ed_der(const struct key *key, struct buf *out)
{
    uint8_t seed[ED25519_KEY_SIZE];
    word32 len = sizeof seed;
    must(wc_ed25519_export_private_only(&key->ed, seed, &len) == 0);
    size_t all = der_begin(out, DER_SEQUENCE);
    der_put_unsigned(out, SPAN_LITERAL("\x00"));
    size_t mark = der_begin(out, DER_SEQUENCE);
    der_put(out, DER_OID, oid_ed25519);
    der_end(out, mark);
    mark = der_begin(out, DER_OCTET_STRING);
    der_put(out, DER_OCTET_STRING, span_of(seed, len));
    der_end(out, mark);
    der_end(out, all);
    secret_wipe(seed, sizeof seed);
}

struct result key_to_der(const struct key *key, struct buf *out)
{
    size_t room = key->family == FAMILY_RSA ? 8 * RSA_BYTES_MAX : 512;
    buf_reserve(out, room); /* no regrowth: it would leave copies behind */
    if (key->family == FAMILY_EC) {
        put_ec_der(key, out);
    } else if (key->family == FAMILY_ED) {
        put_ed_der(key, out);
    } else {
        int n = wc_RsaKeyToDer(&writable(key)->rsa, out->ptr + out->len, (word32)room);
        if (n <= 0)
            return result_fail(ERR_CRYPTO);
        out->len += (size_t)n;
    }
    return result_ok();
}

struct result key_to_pem(const struct key *key, struct buf *out)
{
    static const char *const labels[] = {
        [FAMILY_EC] = "EC PRIVATE KEY",
        [FAMILY_RSA] = "RSA PRIVATE KEY",
        [FAMILY_ED] = "PRIVATE KEY",
    };
    struct buf der = {0};
    struct result r = key_to_der(key, &der);
    if (result_is_ok(r))
        pem_put(out, labels[key->family], buf_span(&der));
    buf_wipe_free(&der);
    return r;
}

struct rsa_public {
    uint8_t n[RSA_BYTES_MAX], e[RSA_BYTES_MAX];
    word32 n_len, e_len;
};

static struct result rsa_public(const struct key *key, struct rsa_public *ret)
{
    ret->n_len = sizeof ret->n;
    ret->e_len = sizeof ret->e;
    if (wc_RsaFlattenPublicKey(&writable(key)->rsa, ret->e, &ret->e_len, ret->n, &ret->n_len) != 0)
        return result_fail(ERR_CRYPTO);
    return result_ok();
}

static struct result put_public_rsa(const struct key *key, struct buf *out)
{
    struct rsa_public pub;
    TRY(rsa_public(key, &pub));
    size_t all = der_begin(out, DER_SEQUENCE);
    size_t mark = der_begin(out, DER_SEQUENCE);
    der_put(out, DER_OID, oid_rsa);
    der_put(out, DER_NULL, (struct span){NULL, 0});
    der_end(out, mark);
    mark = der_begin(out, DER_BIT_STRING);
    buf_put_be(out, 0, 1);
    size_t numbers = der_begin(out, DER_SEQUENCE);
    der_put_unsigned(out, span_of(pub.n, pub.n_len));
    der_put_unsigned(out, span_of(pub.e, pub.e_len));
    der_end(out, numbers);
    der_end(out, mark);
    der_end(out, all);
    return result_ok();
}

struct result key_public_der(const struct key *key, struct buf *out)
{
    if (key->family == FAMILY_RSA)
        return put_public_rsa(key, out);
    uint8_t point[2 * EC_BYTES_MAX + 1];
    word32 len = sizeof point;
    if (key->family == FAMILY_EC)
        ec_point(key, point, &len);
    else
        must(wc_ed25519_export_public(&key->ed, point, &len) == 0);
    size_t all = der_begin(out, DER_SEQUENCE);
    size_t mark = der_begin(out, DER_SEQUENCE);
    if (key->family == FAMILY_EC) {
        der_put(out, DER_OID, oid_ec);
        der_put(out, DER_OID, form_of(key->type)->curve_oid);
    } else {
        der_put(out, DER_OID, oid_ed25519);
    }
    der_end(out, mark);
    der_put_bits(out, span_of(point, len));
    der_end(out, all);
    return result_ok();
}

/* ---- signing ------------------------------------------------------------------------------- */

void key_signature_alg(const struct key *key, struct buf *out)
{
    size_t mark = der_begin(out, DER_SEQUENCE);
    der_put(out, DER_OID, form_of(key->type)->signature_oid);
    if (key->family == FAMILY_RSA)
        der_put(out, DER_NULL, (struct span){NULL, 0});
    der_end(out, mark);
}

/* PKCS#1 v1.5: the DigestInfo of SHA-256 (RFC 8017 section 9.2) is what gets signed. */
static int sign_rsa(struct key *key, const uint8_t hash[32], WC_RNG *rng, uint8_t *out, word32 *len)
{
    uint8_t info[19 + 32] = {0x30, 0x31, 0x30, 0x0d, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01,
                             0x65, 0x03, 0x04, 0x02, 0x01, 0x05, 0x00, 0x04, 0x20};
    memcpy(info + 19, hash, 32);
    int n = wc_RsaSSL_Sign(info, sizeof info, out, *len, &key->rsa, rng);
    if (n < 0)
        return n;
    *len = (word32)n;
    return 0;
}

/* Appends the signature in X.509's form. */
static struct result sign(const struct key *key, struct span message, struct buf *out)
{
    struct key *k = writable(key);
    uint8_t hash[DIGEST_BYTES_MAX], sig[RSA_BYTES_MAX];
    word32 len = sizeof sig;
    WC_RNG rng;
    must(message.len <= UINT32_MAX);
    if (wc_InitRng(&rng) != 0)
        return result_fail(ERR_CRYPTO);
    enum digest digest = form_of(key->type)->digest;
    int rc;
    if (key->family != FAMILY_ED)
        digest_once(digest, message, hash);
    if (key->family == FAMILY_EC)
        rc = wc_ecc_sign_hash(hash, (word32)digest_bytes(digest), sig, &len, &rng, &k->ec);
    else if (key->family == FAMILY_RSA)
        rc = sign_rsa(k, hash, &rng, sig, &len);
    else
        rc = wc_ed25519_sign_msg(message.ptr, (word32)message.len, sig, &len, &k->ed);
    wc_FreeRng(&rng);
    if (rc != 0)
        return result_fail(ERR_CRYPTO);
    buf_put(out, sig, len);
    return result_ok();
}

struct result key_sign_der(const struct key *key, struct span message, struct buf *out)
{
    struct buf sig = {0};
    struct result r = sign(key, message, &sig);
    if (result_is_ok(r)) {
        key_signature_alg(key, out);
        der_put_bits(out, buf_span(&sig));
    }
    buf_free(&sig);
    return r;
}

static void put_member(struct buf *out, const char *name, struct span value)
{
    buf_printf(out, "\"%s\":\"", name);
    base64url_put(out, value);
    buf_put_str(out, "\"");
}

struct result key_jwk(const struct key *key, struct buf *out)
{
    const char *curve = form_of(key->type)->jwk_curve;
    uint8_t point[2 * EC_BYTES_MAX + 1];
    word32 len = sizeof point;
    if (key->family == FAMILY_RSA) {
        struct rsa_public pub;
        TRY(rsa_public(key, &pub));
        buf_put_str(out, "{");
        put_member(out, "e", span_of(pub.e, pub.e_len));
        buf_put_str(out, ",\"kty\":\"RSA\",");
        put_member(out, "n", span_of(pub.n, pub.n_len));
    } else if (key->family == FAMILY_EC) {
        ec_point(key, point, &len);
        buf_printf(out, "{\"crv\":\"%s\",\"kty\":\"EC\",", curve);
        put_member(out, "x", span_of(point + 1, len / 2));
        buf_put_str(out, ",");
        put_member(out, "y", span_of(point + 1 + len / 2, len / 2));
    } else {
        must(wc_ed25519_export_public(&key->ed, point, &len) == 0);
        buf_printf(out, "{\"crv\":\"%s\",\"kty\":\"OKP\",", curve);
        put_member(out, "x", span_of(point, len));
    }
    buf_put_str(out, "}");
    return result_ok();
}

const char *key_jws_alg(const struct key *key)
{
    return form_of(key->type)->jws_alg;
}

struct result key_jws_sign(const struct key *key, struct span message, struct buf *out)
{
    if (key->family != FAMILY_EC)
        return sign(key, message, out);
    struct buf der = {0};
    struct result r = sign(key, message, &der);
    if (!result_is_ok(r))
        return r;
    size_t size = (form_of(key->type)->bits + 7) / 8;
    uint8_t raw[2 * EC_BYTES_MAX] = {0};
    struct span numbers, n[2], rest = buf_span(&der);
    must(result_is_ok(der_get(&rest, DER_SEQUENCE, &numbers)));
    for (int i = 0; i < 2; i++) {
        must(result_is_ok(der_get_unsigned(&numbers, &n[i])) && n[i].len <= size);
        memcpy(raw + (size_t)i * size + size - n[i].len, n[i].ptr, n[i].len);
    }
    buf_free(&der);
    buf_put(out, raw, 2 * size);
    return result_ok();
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "crypto/verify.h"

#include "crypto/der.h"

#include <wolfssl/options.h>

#include <wolfssl/wolfcrypt/asn.h>
#include <wolfssl/wolfcrypt/asn_public.h>
#include <wolfssl/wolfcrypt/ecc.h>
#include <wolfssl/wolfcrypt/ed25519.h>
#include <wolfssl/wolfcrypt/rsa.h>
#include <wolfssl/wolfcrypt/signature.h>

#define BYTES_MAX     (1u << 20)
#define RSA_BYTES_MIN 256

/* Content bytes of the signatures' object identifiers. */
static const struct algorithm {
    struct span oid;
    enum wc_SignatureType type;
    enum wc_HashType hash;
} algorithms[] = {
    {SPAN_LITERAL("\x2a\x86\x48\x86\xf7\x0d\x01\x01\x0b"), WC_SIGNATURE_TYPE_RSA_W_ENC,
     WC_HASH_TYPE_SHA256},
    {SPAN_LITERAL("\x2a\x86\x48\x86\xf7\x0d\x01\x01\x0c"), WC_SIGNATURE_TYPE_RSA_W_ENC,
     WC_HASH_TYPE_SHA384},
    {SPAN_LITERAL("\x2a\x86\x48\x86\xf7\x0d\x01\x01\x0d"), WC_SIGNATURE_TYPE_RSA_W_ENC,
     WC_HASH_TYPE_SHA512},
    {SPAN_LITERAL("\x2a\x86\x48\xce\x3d\x04\x03\x02"), WC_SIGNATURE_TYPE_ECC, WC_HASH_TYPE_SHA256},
    {SPAN_LITERAL("\x2a\x86\x48\xce\x3d\x04\x03\x03"), WC_SIGNATURE_TYPE_ECC, WC_HASH_TYPE_SHA384},
    {SPAN_LITERAL("\x2a\x86\x48\xce\x3d\x04\x03\x04"), WC_SIGNATURE_TYPE_ECC, WC_HASH_TYPE_SHA512},
};
static const struct span oid_ed25519 = SPAN_LITERAL("\x2b\x65\x70");

static const struct algorithm *find(struct span oid)
{
    for (size_t i = 0; i < sizeof algorithms / sizeof *algorithms; i++)
        if (span_eq(algorithms[i].oid, oid))
            return &algorithms[i];
    return NULL;
}

static struct result verify_ed25519(struct span spki, struct span message, struct span signature)
{
    ed25519_key key;
    word32 at = 0;
    int good = 0;
    if (wc_ed25519_init(&key) != 0)
        return result_fail(ERR_CRYPTO);
    struct result r = result_ok();
    if (wc_Ed25519PublicKeyDecode(spki.ptr, &at, &key, (word32)spki.len) != 0)
        r = result_fail(ERR_FORMAT);
    else if (wc_ed25519_verify_msg(signature.ptr, (word32)signature.len, message.ptr,
                                   (word32)message.len, &good, &key) != 0 ||
             !good)
        r = result_fail(ERR_MISMATCH);
    wc_ed25519_free(&key);
    return r;
}

static struct result verify_with(const struct algorithm *a, void *key, word32 key_bytes,
                                 struct span message, struct span signature)
{
    int rc = wc_SignatureVerify(a->hash, a->type, message.ptr, (word32)message.len, signature.ptr,
                                (word32)signature.len, key, key_bytes);
    return rc == 0 ? result_ok() : result_fail(ERR_MISMATCH);
}

static struct result verify_ec(const struct algorithm *a, struct span spki, struct span message,
                               struct span signature)
{
    ecc_key key;
    word32 at = 0;
    if (wc_ecc_init(&key) != 0)
        return result_fail(ERR_CRYPTO);
    struct result r = wc_EccPublicKeyDecode(spki.ptr, &at, &key, (word32)spki.len) == 0
                          ? verify_with(a, &key, sizeof key, message, signature)
                          : result_fail(ERR_FORMAT);
    wc_ecc_free(&key);
    return r;
}

static struct result verify_rsa(const struct algorithm *a, struct span spki, struct span message,
                                struct span signature)
{
    RsaKey key;
    word32 at = 0;
    if (wc_InitRsaKey(&key, NULL) != 0)
        return result_fail(ERR_CRYPTO);
    struct result r = wc_RsaPublicKeyDecode(spki.ptr, &at, &key, (word32)spki.len) == 0 &&
                              wc_RsaEncryptSize(&key) >= RSA_BYTES_MIN
                          ? verify_with(a, &key, sizeof key, message, signature)
                          : result_fail(ERR_FORMAT);
    wc_FreeRsaKey(&key);
    return r;
}

struct result verify_signature(struct span spki, struct span algorithm, struct span message,
                               struct span signature)
{
    struct span oid;
    TRY(der_get(&algorithm, DER_OID, &oid));
    if (spki.len > BYTES_MAX || message.len > BYTES_MAX || signature.len > BYTES_MAX ||
        signature.len == 0)
        return result_fail(ERR_FORMAT);
    if (span_eq(oid, oid_ed25519))
        return verify_ed25519(spki, message, signature);
    const struct algorithm *a = find(oid);
    if (!a)
        return result_fail(ERR_FORMAT);
    return a->type == WC_SIGNATURE_TYPE_ECC ? verify_ec(a, spki, message, signature)
                                            : verify_rsa(a, spki, message, signature);
}

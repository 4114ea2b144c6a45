/* SPDX-License-Identifier: Apache-2.0 */
#include "data/tls/aead.h"

#include <wolfssl/options.h>

#include <wolfssl/wolfcrypt/aes.h>
#include <wolfssl/wolfcrypt/cryptocb.h>
#include <wolfssl/wolfcrypt/error-crypt.h>

#ifdef FERRULE_IPSEC_MB

#include "base/secret.h"

#include <intel-ipsec-mb.h>

#define DEVICE    1 /* any number but INVALID_DEVID */
#define IV_BYTES  12
#define TAG_BYTES 16

static IMB_MGR *library; /* its functions do not change after aead_init() */

struct prepared {
    struct gcm_key_data key; /* aligned by the library's own rule */
    struct gcm_context_data context;
};

/* The library's functions for one length of keys. */
struct functions {
    aes_gcm_pre_t prepare;
    aes_gcm_enc_dec_t encrypt, decrypt;
};

static bool find(const Aes *aes, uint32_t bytes, uint32_t iv_bytes, struct functions *ret)
{
    if (bytes < AEAD_BYTES_MIN || iv_bytes != IV_BYTES)
        return false;
    if (aes->keylen == AES_128_KEY_SIZE)
        *ret = (struct functions){library->gcm128_pre, library->gcm128_enc, library->gcm128_dec};
    else if (aes->keylen == AES_256_KEY_SIZE)
        *ret = (struct functions){library->gcm256_pre, library->gcm256_enc, library->gcm256_dec};
    else
        return false;
    return true;
}

static int encrypt(const wc_CryptoCb_AesAuthEnc *op)
{
    struct prepared p;
    struct functions f;
    if (op->authTagSz != TAG_BYTES || !find(op->aes, op->sz, op->ivSz, &f))
        return CRYPTOCB_UNAVAILABLE;
    f.prepare(op->aes->devKey, &p.key);
    f.encrypt(&p.key, &p.context, op->out, op->in, op->sz, op->iv, op->authIn, op->authInSz,
              op->authTag, TAG_BYTES);
    secret_wipe(&p, sizeof p);
    return 0;
}

static int decrypt(const wc_CryptoCb_AesAuthDec *op)
{
    struct prepared p;
    struct functions f;
    uint8_t tag[TAG_BYTES];
    if (op->authTagSz != TAG_BYTES || !find(op->aes, op->sz, op->ivSz, &f))
        return CRYPTOCB_UNAVAILABLE;
    f.prepare(op->aes->devKey, &p.key);
    f.decrypt(&p.key, &p.context, op->out, op->in, op->sz, op->iv, op->authIn, op->authInSz, tag,
              TAG_BYTES);
    secret_wipe(&p, sizeof p);
    if (secret_eq(span_of(tag, TAG_BYTES), span_of(op->authTag, TAG_BYTES)))
        return 0;
    secret_wipe(op->out, op->sz);
    return AES_GCM_AUTH_E;
}

static int answer(int device, wc_CryptoInfo *info, void *arg)
{
    if (info->algo_type != WC_ALGO_TYPE_CIPHER || info->cipher.type != WC_CIPHER_AES_GCM)
        return CRYPTOCB_UNAVAILABLE;
    return info->cipher.enc ? encrypt(&info->cipher.aesgcm_enc) : decrypt(&info->cipher.aesgcm_dec);
}

void aead_init(void)
{
    const uint64_t wanted = IMB_FEATURE_VAES | IMB_FEATURE_VPCLMULQDQ;
    IMB_MGR *found = library ? NULL : alloc_mb_mgr(0);
    if (!found)
        return;
    init_mb_mgr_auto(found, NULL);
    if (imb_get_errno(found) == 0 && (found->features & wanted) == wanted &&
        wc_CryptoCb_RegisterDevice(DEVICE, answer, NULL) == 0)
        library = found;
    else
        free_mb_mgr(found);
}

int aead_device(void)
{
    return library ? DEVICE : INVALID_DEVID;
}

#else

void aead_init(void)
{
}

int aead_device(void)
{
    return INVALID_DEVID;
}

#endif

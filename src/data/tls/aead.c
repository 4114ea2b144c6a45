/* SPDX-License-Identifier: Apache-2.0 */
#include "data/tls/aead.h"

#include "base/must.h"

#include <wolfssl/options.h>

#include <wolfssl/wolfcrypt/aes.h>
#include <wolfssl/wolfcrypt/cryptocb.h>
#include <wolfssl/wolfcrypt/error-crypt.h>

#ifdef FERRULE_IPSEC_MB

#include "base/secret.h"

#include <intel-ipsec-mb.h>

#define DEVICE           1 /* any number but INVALID_DEVID */
#define TAG_BYTES        16
#define HEADER_BYTES     5
#define APPLICATION_DATA 0x17

static IMB_MGR *library; /* its functions do not change after aead_init() */

struct prepared {
    struct gcm_key_data key; /* aligned by the library's own rule */
    struct gcm_context_data context;
};

/* The library's functions for one length of keys. */
struct functions {
    aes_gcm_pre_t prepare;
    aes_gcm_enc_dec_t encrypt, decrypt;
    aes_gcm_init_t begin; /* a record in pieces */
    aes_gcm_enc_dec_update_t add;
    aes_gcm_enc_dec_finalize_t end;
};

static bool find(size_t key_bytes, struct functions *ret)
{
    if (key_bytes == AES_128_KEY_SIZE)
        *ret = (struct functions){library->gcm128_pre,        library->gcm128_enc,
                                  library->gcm128_dec,        library->gcm128_init,
                                  library->gcm128_enc_update, library->gcm128_enc_finalize};
    else if (key_bytes == AES_256_KEY_SIZE)
        *ret = (struct functions){library->gcm256_pre,        library->gcm256_enc,
                                  library->gcm256_dec,        library->gcm256_init,
                                  library->gcm256_enc_update, library->gcm256_enc_finalize};
    else
        return false;
    return true;
}

/* What wolfSSL asks about and is better done here. */
static bool takes(const Aes *aes, uint32_t bytes, uint32_t iv_bytes, struct functions *ret)
{
    return bytes >= AEAD_BYTES_MIN && iv_bytes == AEAD_IV_BYTES && find((size_t)aes->keylen, ret);
}

static int encrypt(const wc_CryptoCb_AesAuthEnc *op)
{
    struct prepared p;
    struct functions f;
    if (op->authTagSz != TAG_BYTES || !takes(op->aes, op->sz, op->ivSz, &f))
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
    if (op->authTagSz != TAG_BYTES || !takes(op->aes, op->sz, op->ivSz, &f))
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

/* RFC 8446 section 5.3: the number, as long as the IV, XORed with it. */
static void make_nonce(const uint8_t *iv, uint64_t sequence, uint8_t ret[AEAD_IV_BYTES])
{
    memcpy(ret, iv, AEAD_IV_BYTES);
    for (int i = 0; i < 8; i++)
        ret[AEAD_IV_BYTES - 1 - i] ^= (uint8_t)(sequence >> 8 * i);
}

void aead_seal_records(const struct aead_records *as, struct span plain, struct writer *out)
{
    static const uint8_t type = APPLICATION_DATA;
    struct prepared p;
    struct functions f;
    must(find(as->key.len, &f));
    f.prepare(as->key.ptr, &p.key);
    uint8_t nonce[AEAD_IV_BYTES];
    for (uint64_t number = as->sequence; plain.len; number++) {
        struct span part = span_first(plain, AEAD_PLAIN_MAX);
        size_t sealed = part.len + sizeof type + TAG_BYTES;
        uint8_t *record = out->ptr + out->len;
        must(!out->bad && out->cap - out->len >= HEADER_BYTES + sealed);
        const uint8_t header[HEADER_BYTES] = {APPLICATION_DATA, 3, 3, (uint8_t)(sealed >> 8),
                                              (uint8_t)sealed};
        memcpy(record, header, sizeof header);
        make_nonce(as->iv, number, nonce);
        f.begin(&p.key, &p.context, nonce, header, sizeof header);
        f.add(&p.key, &p.context, record + HEADER_BYTES, part.ptr, part.len);
        f.add(&p.key, &p.context, record + HEADER_BYTES + part.len, &type, sizeof type);
        f.end(&p.key, &p.context, record + HEADER_BYTES + part.len + sizeof type, TAG_BYTES);
        out->len += HEADER_BYTES + sealed;
        plain = span_skip(plain, part.len);
    }
    secret_wipe(nonce, sizeof nonce);
    secret_wipe(&p, sizeof p);
}

#else

void aead_init(void)
{
}

int aead_device(void)
{
    return INVALID_DEVID;
}

void aead_seal_records(const struct aead_records *as, struct span plain, struct writer *out)
{
    must(!"a caller has asked aead_device()");
}

#endif
